"""`hunch reproduce`: run a claim's own settings and say whether it holds."""

from __future__ import annotations

import difflib

import click

from hunch.cli.options import WholeNumber, json_option, one_thread, seed_option


@click.command(epilog="Example: hunch reproduce linear-posterior")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option(
    "--out",
    type=click.Path(file_okay=False),
    help="Folder that gets NAME.json and NAME.md; none if left out.",
)
@click.option(
    "--figures",
    type=click.Path(file_okay=False),
    metavar="OUT",
    help="Run nothing: draw from NAME.json of an earlier run into this folder.",
)
@click.option(
    "--from",
    "source",
    type=click.Path(file_okay=False),
    default="results",
    show_default=True,
    metavar="FOLDER",
    help="Where --figures finds NAME.json.",
)
@click.option(
    "--jobs",
    type=WholeNumber(1, 256),
    default=1,
    show_default=True,
    help="Runs at a time, each in a process of its own, where a claim has many runs.",
)
@click.option(
    "--data",
    type=click.Path(file_okay=False, exists=True),
    metavar="FOLDER",
    help="Where a claim about tables on disk finds them: a folder with one for each UCI table.",
)
@click.option(
    "--keep",
    type=click.Path(file_okay=False),
    metavar="FOLDER",
    help="Keep what single runs found there, and take up what is there of the same code.",
)
@seed_option
@json_option
@click.pass_context
def reproduce(
    context: click.Context,
    names: tuple[str, ...],
    out: str | None,
    figures: str | None,
    source: str,
    jobs: int,
    data: str | None,
    keep: str | None,
    seed: int,
    as_json: bool,
) -> int:
    """Run published claims at their full settings; exit with 1 if one does not hold.

    Without a NAME, list the claims. NAME may be "all", which leaves out those that need --data
    where it is not given. With --figures, nothing is run.
    """
    from hunch.experiments.claims.registry import EXPERIMENTS, describe

    if not names:
        for name in EXPERIMENTS:
            click.echo(f"{name}\n    {describe(name)}")
        return 0
    chosen = list(EXPERIMENTS) if "all" in names else list(names)
    unknown = [name for name in chosen if name not in EXPERIMENTS]
    if unknown:
        near = difflib.get_close_matches(unknown[0], EXPERIMENTS, n=1)
        known = f"did you mean {near[0]}?" if near else f"there are: {', '.join(EXPERIMENTS)}"
        raise click.UsageError(f"no claim is called {unknown[0]!r}; {known}", context)
    _check_combination(context, figures is not None)
    if figures is not None:
        return _draw(chosen, source, figures, as_json)
    chosen = _with_data(context, chosen, data, all_of_them="all" in names)
    _check_taken(context, chosen, {"data": data, "keep": keep})
    one_thread()
    from hunch.experiments.claims.registry import check_places, reproduce_claim
    from hunch.storage import dump_json

    check_places(chosen, out)  # before the first claim is run, and not after the last
    reports = {}
    for name in chosen:
        report = reproduce_claim(
            name, seed=seed, out=out, jobs=jobs, data=data or "", keep=keep or ""
        )
        reports[name] = report.results
        click.echo(report.text, err=as_json)
    if as_json:
        click.echo(dump_json(reports), nl=False)
    return 0 if all(r["holds"] for r in reports.values()) else 1


def _check_combination(context: click.Context, draws: bool) -> None:
    """Refuse options of a run where none is made, and of figures where none is drawn."""
    foreign = ("out", "jobs", "data", "keep", "seed") if draws else ("source",)
    given = click.core.ParameterSource.COMMANDLINE
    for parameter in context.command.params:
        if parameter.name in foreign and context.get_parameter_source(parameter.name) is given:
            why = "--figures runs nothing" if draws else "it says where --figures finds results"
            raise click.UsageError(f"{parameter.opts[0]} has no use here: {why}", context)


def _with_data(
    context: click.Context, names: list[str], data: str | None, *, all_of_them: bool
) -> list[str]:
    """Claims that can be run; one that lacks its folder is left out of all, and refused alone."""
    from hunch.experiments.claims.registry import takes

    without = [name for name in names if data is None and takes(name, "data")]
    if without and not all_of_them:
        raise click.UsageError(
            f"{without[0]} reads tables from a folder; name it: "
            f"hunch reproduce {without[0]} --data FOLDER",
            context,
        )
    for name in without:
        click.echo(f"{name} is left out, since no --data is given", err=True)
    return [name for name in names if name not in without]


def _check_taken(context: click.Context, names: list[str], given: dict[str, str | None]) -> None:
    """Refuse an option that none of the chosen claims has a use for."""
    from hunch.experiments.claims.registry import takes

    for option, value in given.items():
        if value is not None and not any(takes(name, option) for name in names):
            raise click.UsageError(
                f"--{option} has no use here: {' and '.join(names)} cannot take it", context
            )


def _draw(names: list[str], source: str, place: str, as_json: bool) -> int:
    """Draw claims from what was written; the answer to `--json` is each figure's caption."""
    from hunch.experiments.claims.drawing import draw_claim
    from hunch.storage import dump_json

    captions = {name: draw_claim(name, source, place) for name in names}
    for files in captions.values():
        for file, caption in files.items():
            click.echo(f"{file}\n    {caption}", err=as_json)
    if as_json:
        click.echo(dump_json(captions), nl=False)
    return 0
