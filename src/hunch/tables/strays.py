"""Rows that are no rows of a table: a second line of headers, headers again, sums at the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hunch.errors import DataError
from hunch.tables.cells import Floats, NotThatKindError, clean, flags, is_text, words
from hunch.tables.choices import few
from hunch.tables.moments import look_at_dates
from hunch.tables.numerals import look_at_numbers
from hunch.tables.ways import Way

_FEWEST: Final = 10  # cells of numbers below a word that is a header
_CLOSE: Final = 1e-6  # of a sum, to which it may be rounded
_VARIED: Final = 3  # values that a sum is of
_SUMS: Final = (
    *("total", "totals", "grand total", "sum", "summe", "gesamt", "gesamtsumme", "insgesamt"),
    *("totale", "totaal", "total general", "total général", "suma", "somma", "somme", "soma"),
    *("ensemble", "összesen", "razem", "итого", "всего", "合计", "合計", "总计", "計"),
    *("mean", "average", "avg", "mittel", "mittelwert", "durchschnitt", "moyenne", "media"),
    *("promedio", "média", "gemiddelde", "medel"),
)


def check_headers(table: pa.Table) -> None:
    """Refuse a table whose rows hold headers.

    Raises:
        DataError: naming the row.

    Example:
        >>> check_headers(pa.table({"a": ["1", "a"], "b": ["2", "b"]}))
        Traceback (most recent call last):
        hunch.errors.DataError: row 2 repeats the names of the columns; remove it, ...
    """
    texts = {name: clean(table[name]) for name in table.column_names if is_text(table[name].type)}
    if not texts:
        return
    again = np.ones(table.num_rows, bool)
    for name, cells in texts.items():
        again &= flags(pc.fill_null(pc.equal(words(cells), name.strip()), False))
    if again.any():
        raise DataError(
            f"row {again.argmax() + 1} repeats the names of the columns; remove it, and look at "
            "the place: were two files put together?"
        )
    named = _headers_of_the_first_row(texts)
    if named:
        raise DataError(
            f"row 1 holds {few(named)} above numbers, and looks like a second line of headers; "
            "remove it, or put its words into the first line."
        )


def _headers_of_the_first_row(texts: Mapping[str, pa.Array]) -> list[str]:
    """Words of the first row above columns of numbers; none if it may be a row like the others."""
    first = {name: cells.slice(0, 1) for name, cells in texts.items()}
    filled = {name: cell for name, cell in first.items() if not cell.null_count}
    if not filled or any(map(_is_measure, filled.values())):
        return []
    above = [name for name in filled if _are_numbers(texts[name].slice(1))]
    if not above or (len(above) == 1 and len(filled) > 1):
        return []
    return [str(words(filled[name])[0].as_py()) for name in above]


def _is_measure(cell: pa.Array) -> bool:
    alone = clean(pa.chunked_array([words(cell)]))
    return _reads(look_at_numbers, alone) or _reads(look_at_dates, alone)


def _are_numbers(cells: pa.Array) -> bool:
    if len(cells) - cells.null_count < _FEWEST:
        return False
    return _reads(look_at_numbers, clean(pa.chunked_array([words(cells)])))


def _reads(look: Callable[[pa.DictionaryArray], object], cells: pa.DictionaryArray) -> bool:
    try:
        look(cells)
    except NotThatKindError:
        return False
    return True


def check_sums(table: pa.Table, ways: Mapping[str, Way], *, whole: bool) -> str:
    """Refuse a table whose last row is the sum of the others.

    Args:
        table: the rows.
        ways: how they are read.
        whole: whether these are all rows of the file.

    Returns:
        What to say of a last row that only calls itself a sum or a mean; empty if it does not.

    Raises:
        DataError: if it is the sum.

    Example:
        >>> from hunch.tables.ways import learn_ways
        >>> table = pa.table({"k": ["a", "b", "c", "Total"], "n": ["1", "2", "4", "7"]})
        >>> check_sums(table, learn_ways(table), whole=True)
        Traceback (most recent call last):
        hunch.errors.DataError: row 4 ('Total') is the sum of the rows above, by 'n'; remove it.
    """
    if not table.num_rows or not whole:
        return ""
    row = table.num_rows
    labels = [words(clean(table[name].slice(row - 1)))[0].as_py() for name in _texts(ways)]
    said = [text for text in labels if text and text.lower().rstrip(": ") in _SUMS]
    blank = bool(labels) and not any(labels)
    summed = [
        name
        for name, way in ways.items()
        if way.kind == "number" and _ends_in_its_sum(way.read(clean(table[name])))
    ]
    if summed and (said or blank or len(summed) > 1):
        label = f" ({said[0]!r})" if said else ""
        raise DataError(
            f"row {row:,}{label} is the sum of the rows above, by {few(summed)}; remove it."
        )
    if said:
        return (
            f"row {row:,}, the last, says {said[0]!r}: if it is no row like the others, remove it"
        )
    return ""


def _texts(ways: Mapping[str, Way]) -> list[str]:
    return [name for name, way in ways.items() if way.kind == "category"]


def _ends_in_its_sum(values: Floats) -> bool:
    above, last = values[:-1], values[-1]
    known = above[np.isfinite(above)]
    if len(np.unique(known)) < _VARIED or not np.isfinite(last) or last == 0.0:
        return False
    return bool(abs(known.sum() - last) <= _CLOSE * abs(last))
