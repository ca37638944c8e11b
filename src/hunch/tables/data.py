"""Whatever holds a table: a file, several of them, a sheet, or a DataFrame in memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from hunch.errors import DataError
from hunch.tables.choices import few
from hunch.tables.excel import SUFFIXES, read_sheet
from hunch.tables.frames import as_arrow, is_frame
from hunch.tables.reading import Source, check_names, check_there, open_table

Data = Any  # a path, a sequence of paths, or what `frames.is_frame` knows


def open_data(
    data: Data, sheet: str | None = None, say: Callable[[str], object] = lambda line: None
) -> Source:
    """Look at a table: which columns has it?

    Args:
        data: a path as `open_table` takes it, or of a spreadsheet; several paths, of which the rows
            become one table; or a DataFrame.
        sheet: of a spreadsheet.
        say: takes notes for the user.

    Raises:
        DataError: if it cannot be read as a table; the message says why.
        FolderError: if no file can be called so, as an address on the web.

    Example:
        >>> open_data({"size": [1, 2], "price": [3, 4]}).names
        ('size', 'price')
    """
    if is_frame(data):
        return held_source(Path("the table"), as_arrow(data))
    if isinstance(data, Sequence) and not isinstance(data, str | bytes):
        return _one_of_several([open_data(part, sheet, say) for part in data])
    if not isinstance(data, str | os.PathLike):
        raise DataError(
            f"the data are of type {type(data).__name__}; expected the path of a file, paths of "
            "several, or a table of pandas, polars or Arrow: write an array to one, or fit a "
            "RandomizedPriorRegressor or -Classifier on it."
        )
    check_there(str(data))
    path = Path(data).expanduser()
    if path.suffix.lower() in SUFFIXES and path.is_file():
        return held_source(path, read_sheet(path, sheet, say))
    if sheet is not None:
        raise DataError(
            f"--sheet (`sheet`) got {sheet!r}, and {str(data)!r} has no sheets; leave it out, or "
            f"give a spreadsheet ({', '.join(SUFFIXES)})."
        )
    return open_table(data)


def held_source(path: Path, table: pa.Table) -> Source:
    """A table in memory, under the name that messages call it.

    Example:
        >>> held_source(Path("a"), pa.table({"x": [1]})).names
        ('x',)
    """
    check_names(path, table.column_names)
    return Source(path, table.schema, None, held=table)


def _one_of_several(sources: Sequence[Source]) -> Source:
    """The rows of all, in their order, under the columns of the first."""
    if not sources:
        raise DataError("the data are of no file; expected one or more.")
    first, *others = sources
    for other in others:
        if set(other.names) != set(first.names):
            odd = sorted(set(first.names) ^ set(other.names))
            raise DataError(
                f"{str(first.path)!r} and {str(other.path)!r} have not the same columns: "
                f"{few(odd)} are in one only; rename or remove them."
            )
        for name in first.names:
            own, kind = first.schema.field(name).type, other.schema.field(name).type
            if own != kind:
                raise DataError(
                    f"column {name!r} is of type {own} in {str(first.path)!r} and of {kind} in "
                    f"{str(other.path)!r}; write both files in the same way."
                )
    if not others:
        return first
    return Source(first.path, first.schema, None, parts=tuple(sources))
