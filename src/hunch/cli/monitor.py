"""`hunch monitor`: whether a model of a table still holds on new rows."""

from __future__ import annotations

import click

from hunch.cli.options import (
    check_model,
    coverage_option,
    json_option,
    load_torch,
    quiet_option,
    sheet_option,
    speaker,
)

_EPILOG = """\b
Example: hunch monitor model/ march.csv
"""


@click.command(epilog=_EPILOG)
@click.argument("model", type=click.Path())
@click.argument("data", type=click.Path())
@coverage_option
@sheet_option
@json_option
@quiet_option
def monitor(
    model: str, data: str, coverage: float, sheet: str | None, as_json: bool, quiet: bool
) -> None:
    """Hold DATA, rows of a later time, against what MODEL's folder promised.

    It says to keep the model, to watch it or to retrain it, with the numbers behind that: if DATA
    has the target's column, whether intervals hold and errors have grown; which columns have
    drifted; how many rows are outside the training data. Of rows drawn as those of training were,
    one file in a hundred is called anything but keep by chance. A model is retrained with hunch fit
    on the old file and the new one. Whatever it finds, it exits with 0.
    """
    say = speaker(quiet)
    from hunch.tables.reading import check_there

    check_there(data)
    check_model(model, data)
    load_torch(say)
    from hunch.storage import dump_json
    from hunch.tables.monitoring import in_lines, monitor_table

    found = monitor_table(model, data, coverage=coverage, sheet=sheet, progress=not quiet, say=say)
    if as_json:
        click.echo(dump_json(found), nl=False)
        return
    for line in in_lines(found):
        click.echo(line)
