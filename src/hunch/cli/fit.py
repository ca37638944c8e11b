"""`hunch fit`: a model of a table, with a report on how far it can be trusted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hunch.cli.config import config_option
from hunch.cli.options import (
    WholeNumber,
    json_option,
    load_torch,
    quiet_option,
    seed_option,
    sheet_option,
    speaker,
    table_of_scores,
)

_EPILOG = """\b
Example: hunch fit houses.csv --target price
         hunch fit forecasts.csv --target sales --prediction our_forecast
         hunch fit patients.parquet --target outcome --task classification --out trial/
         hunch fit 2023.csv 2024.csv --target cost --config settings.toml
         hunch fit visits.csv --target cost --ids visit --groups patient --categorical clinic
         hunch fit demand.csv --target load --time day
"""


@click.command(epilog=_EPILOG)
@click.argument("data", type=click.Path(), nargs=-1, required=True)
@click.option("--target", required=True, metavar="COLUMN", help="The column to predict.")
@click.option(
    "--task",
    type=click.Choice(["auto", "regression", "classification"]),
    default="auto",
    show_default=True,
    help="Predict a number or a class; auto looks at the target.",
)
@click.option(
    "--prediction",
    metavar="COLUMN",
    help="Holds what a model of yours predicts for rows new to it: says how far off that may be.",
)
@click.option(
    "--drop", multiple=True, metavar="COLUMN", help="Not to be learned from; may be repeated."
)
@click.option(
    "--ids",
    multiple=True,
    metavar="COLUMN",
    help="Names rows where the report speaks of some, and is not learned from; may be repeated.",
)
@click.option(
    "--categorical",
    multiple=True,
    metavar="COLUMN",
    help="Text, even if all cells are numbers, as those of districts are; may be repeated.",
)
@click.option(
    "--numeric",
    multiple=True,
    metavar="COLUMN",
    help="Numbers; a cell that is none is an error; may be repeated.",
)
@click.option(
    "--weights",
    metavar="COLUMN",
    help="How much a row counts in training, from 0 on; not learned from.",
)
@click.option("--lower", type=float, help="Least possible value of a number.")
@click.option("--upper", type=float, help="Largest possible value of a number.")
@click.option(
    "--groups",
    metavar="COLUMN",
    help="Names the group of a row, as a patient, where new rows will be of new groups.",
)
@click.option(
    "--time",
    metavar="COLUMN",
    help="Tells when a row was, by dates or numbers, where new rows will be later ones.",
)
@click.option(
    "--subgroups",
    multiple=True,
    metavar="COLUMN",
    help="Gives figures for each of its values too; may be repeated.",
)
@click.option(
    "--calibrate-by",
    metavar="COLUMN",
    help="Of few values, for each of which intervals are to hold, not only over all rows.",
)
@click.option(
    "--drop-missing-target",
    is_flag=True,
    help="Leave rows without a target out, which else are an error.",
)
@click.option(
    "--test",
    type=click.Path(),
    metavar="FILE",
    help="Rows to judge on, in place of a fifth of DATA, which then is all learned from.",
)
@click.option(
    "--out", type=click.Path(), default="model", show_default=True, help="Folder of the model."
)
@click.option(
    "--members",
    type=WholeNumber(2, 10_000),
    help="Networks.  [default: 20]",
)
@click.option(
    "--max-rows",
    type=WholeNumber(20),
    default=200_000,
    show_default=True,
    help="Of a longer file a random sample of so many rows is taken.",
)
@click.option(
    "--decimal",
    type=click.Choice(["auto", "point", "comma"]),
    default="auto",
    show_default=True,
    help="Mark of decimals in columns that leave it open, as 3,606 does.",
)
@click.option(
    "--date-order",
    type=click.Choice(["auto", "dmy", "mdy", "ymd"]),
    default="auto",
    show_default=True,
    help="Of day, month and year in columns that leave it open, as 03/04/2011 does.",
)
@sheet_option
@config_option()
@seed_option
@json_option
@quiet_option
def fit(data: tuple[str, ...], as_json: bool, quiet: bool, **options: Any) -> None:
    """Learn to predict a column of DATA, and how far off it may be.

    DATA is a CSV or Parquet file, a spreadsheet, or - for standard input; the rows of several, as
    of last year and of this month, are read as one table.

    What each column is taken for is said, and kept in the model: numbers with decimal commas,
    groups of digits, percent signs or currencies, dates such as 14/03/2011. Where the whole file
    leaves open which number or date a cell is, the command stops and asks for --decimal or
    --date-order.

    The folder gets the model and report.html: a verdict, and what it stands on, on rows held out or
    those of --test: scores beside a linear model, gradient boosting, a Gaussian process and a
    constant, predicted and actual values, what drives the prediction and the doubt, and what is
    said far from the data. `hunch sample` writes a table to try it on.
    """
    say = speaker(quiet)
    from hunch.tables.reading import check_there

    check_there(*data, *filter(None, [options["test"]]))
    load_torch(say)
    from hunch.storage import dump_json
    from hunch.tables import fit_table

    out = options.pop("out")
    files = data[0] if len(data) == 1 else data
    summary = fit_table(files, options.pop("target"), out, say=say, progress=not quiet, **options)
    if as_json:
        click.echo(dump_json(summary), nl=False)
    else:
        for line in _lines(summary):
            click.echo(line)
    if not (as_json and quiet):
        click.echo(f"Report: {Path(out) / 'report.html'}", err=as_json)


def _lines(summary: dict[str, Any]) -> list[str]:
    """The scores as a table for a terminal, and the verdict."""
    from hunch.tables.verdict import verdict

    where = f"of {summary['test_file']}" if summary.get("test_file") else "held out"
    scores = table_of_scores(summary["test"]["scores"])
    worth = verdict(summary).replace("`", "'")
    return [f"On {summary['rows']['test']:,} rows {where}{_tied(summary)}:", *scores, worth]


def _tied(summary: dict[str, Any]) -> str:
    """How the rows held out differ from those trained on, other than by chance."""
    split = summary["split"]
    if split["by"] == "groups":
        return f", all of {split['test']:,} new groups by {split['column']!r}"
    if split["by"] == "time":
        return f", later by {split['column']!r} than all others"
    return ""
