"""`hunch predict`: a model of a table on new rows."""

from __future__ import annotations

import dataclasses
import sys

import click

from hunch.cli.options import (
    check_model,
    coverage_option,
    json_option,
    load_torch,
    quiet_option,
    sheet_option,
    speaker,
    table_of_scores,
)
from hunch.errors import ConfigurationError

_EPILOG = """\b
Example: hunch predict model/ new.csv --out predictions.csv --coverage 0.9
         zcat new.csv.gz | hunch predict model/ - --out - | head
"""


@click.command(epilog=_EPILOG)
@click.argument("model", type=click.Path())
@click.argument("data", type=click.Path())
@click.option(
    "--out", type=click.Path(), required=True, help="CSV file to write; - is standard output."
)
@coverage_option
@sheet_option
@json_option
@quiet_option
def predict(
    model: str,
    data: str,
    out: str,
    coverage: float,
    sheet: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Predict each row of DATA with MODEL's folder.

    DATA is a CSV or Parquet file of any length, a spreadsheet, or - for standard input.

    OUT holds the rows and columns of DATA as they stand, and behind them, for a number: mean, std
    and its parts epistemic and aleatoric, and the interval lower to upper; for classes: predicted,
    the probability of each, and entropy with its parts. Rows far outside the training data are
    marked in the column outside, and outside_because names the cells that make them so. If DATA has
    one of these names already, all of them begin with hunch_ instead.

    If DATA holds the target's column, predictions are scored on the rows that have a value in it:
    the share of intervals that hold the truth, and errors.
    """
    if out == "-" and as_json:
        raise ConfigurationError(
            "--out - and --json both write to standard output; expected one of them."
        )
    say = speaker(quiet)
    from hunch.tables.reading import check_there

    check_there(data)
    check_model(model, data)
    load_torch(say)
    from hunch.storage import dump_json
    from hunch.tables import TableModel, predict_table

    loaded = TableModel.load(model)
    place = sys.stdout.buffer if out == "-" else out
    found = predict_table(
        loaded, data, place, coverage=coverage, sheet=sheet, progress=not quiet, say=say
    )
    if found.outside:
        say(f"{found.outside:,} of {found.rows:,} rows are far outside the training data")
    if as_json:
        result = {**dataclasses.asdict(found), "out": out}
        click.echo(dump_json(result), nl=False)
        return
    if out == "-":
        return
    click.echo(f"{found.rows:,} rows predicted into {out}")
    if found.scores:
        scores = dict(found.scores)
        click.echo(f"On {scores.pop('rows'):,} rows whose {loaded.target.name!r} is known:")
        for line in table_of_scores({"hunch": scores}):
            click.echo(line)
