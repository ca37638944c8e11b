"""`hunch sample`: a table to type the first `hunch fit` along."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Final

import click

SAMPLES: Final = ("flats.csv", "flats-new.csv")

_EPILOG = """\b
Example: hunch sample
         hunch fit flats.csv --target price --ids flat
         hunch predict model flats-new.csv --out predictions.csv
"""


@click.command(epilog=_EPILOG)
@click.option(
    "--out", type=click.Path(), default=".", show_default=True, help="Folder to write to."
)
def sample(out: str) -> None:
    """Write a table to try `hunch fit` on: flats.csv, and flats-new.csv to predict.

    The first holds 480 flats that were sold, the second 8 without a price. None is real: prices
    were drawn from size, district, year and the rest, with more noise for larger flats, and some
    cells are missing, as they are in tables of one's own. Other files of these names stay.
    """
    from hunch.storage import check_writable, folder_place, new_file

    folder_place(out)
    places = {name: Path(out) / name for name in SAMPLES}
    for name, place in places.items():  # before the first is written, so that it is both or none
        check_writable(place, _same_as(name))
    for name, place in places.items():
        with new_file(place, _same_as(name)) as file:
            file.write_bytes(_content(name))
        click.echo(f"{place}: {len(_content(name).splitlines()) - 1} flats")
    click.echo(f"Next: hunch fit {shlex.quote(str(places['flats.csv']))} --target price --ids flat")


def _content(name: str) -> bytes:
    return resources.files("hunch").joinpath("samples", name).read_bytes()


def _same_as(name: str) -> Callable[[Path], bool]:
    """Whether a file is the sample itself, so that nothing is lost if it is written anew."""
    return lambda file: file.read_bytes() == _content(name)
