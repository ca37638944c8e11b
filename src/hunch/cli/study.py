"""`hunch study`: many runs as one study, in a folder that any number of workers may work on."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from hunch import interrupts
from hunch.cli.config import toml_of
from hunch.cli.options import (
    WholeNumber,
    debug_option,
    imported,
    json_option,
    load_torch,
    quiet_option,
    speaker,
)
from hunch.studies.executors import EXECUTORS
from hunch.studies.study import STUDY_FILE

if TYPE_CHECKING:
    from hunch.studies import Status, Study

INTERRUPTED: Final = 130  # what shells say of a program that Ctrl-C ended
_COMMANDS: Final = ("run", "work", "status")

_EPILOG = """\b
A study's file:
  agents = ["dqn", "noisy-dqn"]
  envs = ["CartPole-v1", "Acrobot-v1"]
  seeds = 5
  steps = 50000

\b
Example: hunch study STUDY.toml --workers 4
         hunch study STUDY.toml --out /shared/first
         hunch study work /shared/first
         hunch study status /shared/first --csv > first.csv
"""


class _Study(click.Group):
    """`hunch study STUDY.toml` is short for `hunch study run STUDY.toml`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in (*_COMMANDS, "-h", "--help", "--debug"):
            near = get_close_matches(args[0], _COMMANDS, n=1)
            if near and not Path(args[0]).exists():
                raise click.UsageError(
                    f"{args[0]!r} is no file and no command; did you mean {near[0]!r}?", ctx
                )
            args = ["run", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_Study, epilog=_EPILOG, subcommand_metavar="STUDY.toml | COMMAND [ARGS]...")
def study() -> None:
    """Do many runs as one study: agents, environments, settings and seeds of STUDY.

    The folder is the only state. Finished work is skipped; what a dead worker left is taken up from
    its last checkpoint; any number of workers may join, on any machine that sees the folder. Ctrl-C
    leaves a study that goes on when the same is typed again.
    """


def _workers_option(command: Any) -> Any:
    return click.option(
        "--workers",
        type=WholeNumber(1, 1024),
        help="Jobs at a time, each on one thread.  [default: one for each core]",
    )(command)


def _import_option(command: Any) -> Any:
    def remembered(
        context: click.Context, parameter: click.Parameter, modules: Sequence[str]
    ) -> Sequence[str]:
        imported(context, parameter, modules)
        return modules

    return click.option(
        "--import",
        "imports",
        multiple=True,
        metavar="MODULE",
        callback=remembered,
        help="Import this module of yours first, which defines an agent or registers an "
        "environment; may be repeated.",
    )(command)


def _retry_option(command: Any) -> Any:
    return click.option(
        "--retry-failed", is_flag=True, help="Try jobs anew that have failed for good."
    )(command)


@study.command(epilog="Example: hunch study STUDY.toml --workers 4")
@click.argument("file", type=click.Path(), metavar="STUDY.toml")
@click.option(
    "--out", type=click.Path(), help="Folder of the study.  [default: below studies/, as STUDY]"
)
@_workers_option
@click.option("--slurm", is_flag=True, help="Let Slurm run the workers (extra slurm).")
@click.option(
    "--slurm-set",
    multiple=True,
    metavar="KEY=VALUE",
    help="Of submitit, such as slurm_partition=short or timeout_min=600; may be repeated.",
)
@click.option("--ray", metavar="ADDRESS", help="Let a Ray cluster run the workers (extra ray).")
@click.option("--dask", metavar="ADDRESS", help="Let a Dask cluster run them (extra dask).")
@_retry_option
@_import_option
@json_option
@quiet_option
@click.pass_context
def run(
    context: click.Context,
    /,
    file: str,
    out: str | None,
    workers: int | None,
    retry_failed: bool,
    imports: Sequence[str],
    as_json: bool,
    quiet: bool,
    **executors: Any,
) -> int:
    """Begin the study of a file, or go on with it, until all is done.

    The file has agents, envs and seeds, and any option of `hunch train` for all of them, or for
    some: in place of a word there may be a table, as {agent = "dqn", label = "fast", set =
    {learning_rate = 1e-3}}. Each [[settings]] table multiplies the study. [[fit]] tables have data,
    target and any option of `hunch fit`; reproduce = ["chain"] runs claims. Of jobs: retries (2),
    time-limit in seconds, memory-limit in MiB.
    """
    executor = _executor(context, executors)
    if Path(file, STUDY_FILE).is_file():
        raise click.UsageError(
            f"{file!r} is the folder of a study, which goes on by: hunch study work {file}", context
        )
    toml_of(file)  # what cannot be read is said before torch is loaded
    load_torch(speaker(quiet))
    from hunch.cli.study_file import read_study
    from hunch.studies import Study

    read = read_study(context, file)
    place = out or Path("studies", Path(file).stem)
    begun = Study.begin(place, read.cells, read.limits)
    own = {"own": read.own, "imports": [*imports, *read.imports]}
    if retry_failed:
        begun.forget_failures()
    again = shlex.join(["hunch", "study", file, *(["--out", out] if out else [])])
    count = len(begun.jobs)
    speaker(quiet)(f"{count:,} {'job' if count == 1 else 'jobs'} in {shlex.quote(str(place))}")
    if executor is not None:
        name, options = executor
        return _ended(
            begun,
            again,
            lambda: EXECUTORS[name](
                begun, workers, own, options, progress=not quiet, tell=speaker(False)
            ),
            as_json=as_json,
        )
    return _worked(begun, workers, own, again, as_json=as_json, quiet=quiet)


def _executor(
    context: click.Context, given: Mapping[str, Any]
) -> tuple[str, dict[str, Any]] | None:
    from hunch.cli.values import literal, pairs

    words = {k: literal(v) for k, v in pairs("--slurm-set", given["slurm_set"]).items()}
    asked: list[tuple[str, dict[str, Any]]] = []
    if given["slurm"]:
        asked.append(("slurm", words))
    elif words:
        raise click.UsageError("--slurm-set has no use without --slurm", context)
    asked += [(n, {"address": given[n]}) for n in ("ray", "dask") if given[n] is not None]
    if len(asked) > 1:
        raise click.UsageError("give one of --slurm, --ray and --dask", context)
    return asked[0] if asked else None


@study.command(epilog="Example: hunch study work /shared/first --workers 2")
@click.argument("folder", type=click.Path())
@_workers_option
@click.option(
    "--own",
    multiple=True,
    metavar="CODE",
    help="An environment or wrapper of yours that the study uses, as file.py:make_env; may be "
    "repeated. A folder is no reason to run code.",
)
@click.option(
    "--trust",
    is_flag=True,
    help="Run whatever code FOLDER names. Only for folders whose makers you would let run programs "
    "here.",
)
@_retry_option
@_import_option
@json_option
@quiet_option
def work(
    folder: str,
    workers: int | None,
    own: Sequence[str],
    trust: bool,
    retry_failed: bool,
    imports: Sequence[str],
    as_json: bool,
    quiet: bool,
) -> int:
    """Join the study of FOLDER with workers of this machine, until all is done."""
    from hunch.studies import Study

    joined = Study.open(folder)
    if retry_failed:
        joined.forget_failures()
    vouched = {"own": own, "imports": imports, "trust": trust}
    again = shlex.join(["hunch", "study", "work", folder, *_as_typed(vouched)])
    return _worked(joined, workers, vouched, again, as_json=as_json, quiet=quiet)


def _as_typed(vouched: Mapping[str, Any]) -> list[str]:
    words = [w for own in vouched["own"] for w in ("--own", own)]
    words += [w for module in vouched["imports"] for w in ("--import", module)]
    return [*words, *(["--trust"] if vouched["trust"] else [])]


def _worked(
    begun: Study,
    workers: int | None,
    vouched: Mapping[str, Any],
    again: str,
    *,
    as_json: bool,
    quiet: bool,
) -> int:
    from hunch.studies.work import cores, work

    def do() -> Status:
        return work(begun, workers or cores(), progress=not quiet, tell=speaker(False), **vouched)

    return _ended(begun, again, do, as_json=as_json)


def _ended(begun: Study, again: str, do: Any, *, as_json: bool) -> int:
    try:
        do()
    except KeyboardInterrupt:
        interrupts.heard()
        speaker(False)(f"interrupted; go on with: {again}")
        return INTERRUPTED
    return _shown(begun, as_json=as_json)


@study.command(epilog="Example: hunch study status /shared/first --csv > first.csv")
@click.argument("folder", type=click.Path())
@click.option("--csv", "as_csv", is_flag=True, help="A line for each job, on standard output.")
@json_option
@click.pass_context
def status(context: click.Context, folder: str, as_csv: bool, as_json: bool) -> int:
    """Show where the study of FOLDER stands, and its results; exit with 1 if a job failed."""
    from hunch.studies import Study

    if as_csv and as_json:
        raise click.UsageError("give one of --csv and --json", context)
    opened = Study.open(folder)
    if as_csv:
        from hunch.studies.records import as_csv as in_lines

        rows = opened.rows()
        click.echo(in_lines(rows), nl=False)
        return int(any(row["state"] == "failed" for row in rows))
    return _shown(opened, as_json=as_json)


def _shown(begun: Study, *, as_json: bool) -> int:
    """Say where a study stands; 1 if a job failed."""
    from hunch.storage import dump_json
    from hunch.studies import Status
    from hunch.studies.tables import lines_of

    rows = begun.rows()
    states = [row["state"] for row in rows]
    if as_json:
        found = {"folder": str(begun.folder), **asdict(Status.of_states(states)), "jobs": rows}
        click.echo(dump_json(found), nl=False)
    else:
        for line in lines_of(rows):
            click.echo(line)
    return int("failed" in states)


for command in (run, work, status):
    debug_option(command)
