"""CSV files with the rows of a table and what is said about them, written part by part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from hunch.tables.cells import words

_PREFIX: Final = "hunch_"
_SPECIAL: Final = '[",\r\n]|^\\s|\\s$'  # what a cell cannot hold without quotation marks
_COMMA, _QUOTE, _NOTHING = (pa.scalar(text, pa.large_string()) for text in (",", '"', ""))


def unused_names(wanted: Sequence[str], taken: Sequence[str]) -> list[str]:
    """The names wanted; if any of them is taken, all with as many `hunch_` in front as it takes.

    All or none, because a `mean` of somebody else's next to our `std` would be read as a pair.

    Example:
        >>> unused_names(["mean", "std"], ["size"])
        ['mean', 'std']
        >>> unused_names(["mean", "std"], ["size", "std"])
        ['hunch_mean', 'hunch_std']
    """
    names = list(wanted)
    while not set(names).isdisjoint(taken):
        names = [_PREFIX + name for name in names]
    return names


def csv_header(names: Sequence[str]) -> bytes:
    r"""The first line.

    Example:
        >>> csv_header(["size", "price, net"])
        b'size,"price, net"\n'
    """
    return csv_rows(pa.table([[name] for name in names], names=list(map(str, range(len(names))))))


def csv_rows(table: pa.Table) -> bytes:
    r"""Rows as lines: comma, full stop, and quotation marks only around cells that need them.

    pyarrow's own writer puts every text in quotation marks, and the cells of a CSV file are all
    text to us, so a number would not come out as it came in.

    Example:
        >>> csv_rows(pa.table({"x": ["1.50", "a, b"], "y": [0.25, None]}))
        b'1.50,0.25\n"a, b",\n'
    """
    lines = pc.binary_join_element_wise(*[_cells(column) for column in table.columns], _COMMA)
    return "".join(f"{line}\n" for line in lines.to_pylist()).encode()


def _cells(column: pa.ChunkedArray) -> pa.Array:
    text = pc.fill_null(words(column), "")
    special = pc.match_substring_regex(text, _SPECIAL)
    if not pc.any(special, min_count=0).as_py():
        return text
    doubled = pc.replace_substring(text, '"', '""')
    return pc.if_else(special, pc.binary_join_element_wise(_QUOTE, doubled, _QUOTE, _NOTHING), text)
