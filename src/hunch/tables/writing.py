"""CSV files with the rows of a table and what is said about them, written part by part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

_PREFIX: Final = "hunch_"
_SPECIAL: Final = '[",\r\n]|^\\s|\\s$'  # what a cell cannot hold without quotation marks


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


def fits_in_a_cell(kind: pa.DataType) -> bool:
    """Whether values of this type can be written as text.

    Example:
        >>> fits_in_a_cell(pa.date32()), fits_in_a_cell(pa.list_(pa.int8()))
        (True, False)
    """
    # Bytes can be cast, and fail as soon as they are not UTF-8.
    bytes_of = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary)
    if any(test(kind) for test in bytes_of):
        return False
    try:
        pa.nulls(0, kind).cast(pa.string())
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
        return False
    return True


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
    lines = pc.binary_join_element_wise(*[_cells(column) for column in table.columns], ",")
    return "".join(f"{line}\n" for line in lines.to_pylist()).encode()


def _cells(column: pa.ChunkedArray) -> pa.ChunkedArray:
    text = pc.fill_null(column.cast(pa.string()), "")
    special = pc.match_substring_regex(text, _SPECIAL)
    if not pc.any(special, min_count=0).as_py():
        return text
    doubled = pc.replace_substring(text, '"', '""')
    return pc.if_else(special, pc.binary_join_element_wise('"', doubled, '"', ""), text)
