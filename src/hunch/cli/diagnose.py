"""`hunch diagnose`: how noisy is the gradient of a sample's cost, by every estimator there is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from hunch.cli.options import WholeNumber, json_option, load_torch, seed_option

if TYPE_CHECKING:
    from hunch.gradients import Diagnosis

_SUFFIXES = (".html", ".svg", ".png", ".pdf")
_MARK: Final = "hunch diagnose"
_NAMED_IN: Final = {".png": "Software", ".pdf": "Creator"}
_EPILOG = """\b
Example: hunch diagnose forum -n 4 --out forum.html
         hunch diagnose my_model.py:problem --json
"""


@click.command(epilog=_EPILOG)
@click.argument("problem", required=False)
@click.option(
    "-n",
    "samples",
    type=WholeNumber(1),
    default=16,
    show_default=True,
    help="Samples per call of an estimator.",
)
@click.option(
    "--repeats",
    type=WholeNumber(10),
    default=1000,
    show_default=True,
    help="Calls of each estimator; variances are known to about sqrt(2 / repeats).",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False),
    help=f"File for a report ({_SUFFIXES[0]}) or a figure of it ({', '.join(_SUFFIXES[1:])}); "
    "replaces one that it wrote.",
)
@seed_option
@json_option
@click.pass_context
def diagnose(
    context: click.Context,
    problem: str | None,
    samples: int,
    repeats: int,
    out: str | None,
    seed: int,
    as_json: bool,
) -> None:
    """Bias, variance, cost and time of every gradient estimator on PROBLEM, and what to use.

    PROBLEM is one of the built-in ones, which are listed if it is left out, or a function of yours,
    as module:function or file.py:function. It takes no arguments and returns (f, dist_fn, params):
    a cost of samples, parameters to a torch distribution, and the parameters. The exit code is 1 if
    no estimator that applies is right.
    """
    if out is not None:
        from hunch.storage import check_writable, written_with

        if Path(out).suffix not in _SUFFIXES:
            raise click.UsageError(f"--out got {out!r}; expected {' or '.join(_SUFFIXES)}", context)
        check_writable(out, written_with(_MARK), _MARK)
    load_torch()
    from hunch.experiments.gradients.gradient_problems import PROBLEMS, find_problem

    if problem is None:
        for name, built_in in PROBLEMS.items():
            click.echo(f"{name:12} {built_in.about}")
        return
    chosen = find_problem(problem)
    found = chosen.diagnose(samples, repeats=repeats, seed=seed)
    if chosen.about:
        click.echo(f"{problem}: {chosen.about}.\n", err=as_json)
    click.echo(f"{found}", err=as_json)
    if as_json:
        from hunch.storage import dump_json

        click.echo(dump_json(found.to_json()), nl=False)
    if out is not None:
        if Path(out).suffix == ".html":
            _write_report(found, out, problem, chosen.about)
            click.echo(f"Report: {out}", err=as_json)
        else:
            _write_figure(found, out)
            click.echo(f"Figure: {out}", err=as_json)
    if not found.usable:
        context.exit(1)


def _write_report(found: Diagnosis, place: str, problem: str, about: str) -> None:
    from hunch.plots.diagnosis_page import diagnosis_page
    from hunch.storage import new_file, written_with

    with new_file(place, written_with(_MARK), _MARK) as file:
        page = diagnosis_page(found, f"The gradient of {problem}", about)
        file.write_text(f"{page}<!-- {_MARK} -->\n", encoding="utf-8")


def _write_figure(found: Diagnosis, place: str) -> None:
    from hunch.plots import diagnosis_figure, to_svg
    from hunch.storage import new_file, written_with

    figure, _ = diagnosis_figure(found)
    with new_file(place, written_with(_MARK), _MARK) as file:
        suffix = Path(place).suffix
        if suffix == ".svg":
            file.write_text(f"{to_svg(figure)}\n<!-- {_MARK} -->\n", encoding="utf-8")
        else:
            named = {_NAMED_IN[suffix]: _MARK}
            figure.savefig(file, format=suffix[1:], dpi=150, metadata=named)
