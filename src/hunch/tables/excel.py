"""Sheets of spreadsheet files as tables (extra `excel`)."""

from __future__ import annotations

import datetime
import importlib
import io
import re
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from hunch.errors import DataError, MissingDependencyError
from hunch.tables.choices import few

SUFFIXES: Final = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")
_HIDDEN: Final = re.compile(rb'<(?:row|col)\b[^>]*\bhidden="(?:1|true)"')
_NOT_COMPUTED: Final = re.compile(rb"</f>(?:<v\s*/>|<v></v>)?\s*</c>")
_BLOCK: Final = 2**20
_OVERLAP: Final = 2**12  # bytes of the block before, in which what is sought may begin
_TYPES: Final[dict[type, pa.DataType]] = {
    bool: pa.bool_(),
    float: pa.float64(),
    datetime.datetime: pa.timestamp("us"),
    datetime.time: pa.time64("us"),
    datetime.timedelta: pa.duration("us"),
}


def read_sheet(path: Path, sheet: str | None, say: Callable[[str], object]) -> pa.Table:
    """The table in a sheet: its first row that holds anything has the names of the columns.

    Columns of numbers, dates or truth values keep their type; if text is among them, all cells
    become text, which is read as that of a CSV file. Formulas are the values that were saved with
    them; cells with an error are missing. Cells merged within a column all hold its value.

    Args:
        path: the file.
        sheet: the name; None: the only one that holds anything.
        say: takes notes for the user.

    Raises:
        DataError: if there is no such sheet, several to choose from, or no table in it.
        MissingDependencyError: without python-calamine.
    """
    try:
        python_calamine = importlib.import_module("python_calamine")
    except ImportError as error:
        raise MissingDependencyError(
            "spreadsheets need python-calamine, which is not installed; "
            'install it with: pip install "torch-hunch[excel]"'
        ) from error
    try:
        with python_calamine.CalamineWorkbook.from_path(str(path)) as book:
            found = _chosen(book, sheet, path)
            rows, merged = found.to_python(), found.merged_cell_ranges or []
            top, left = found.start or (0, 0)
    except python_calamine.PasswordError as error:
        raise DataError(f"{str(path)!r} is locked by a password; save it without one.") from error
    except python_calamine.CalamineError as error:
        what = (str(error).splitlines() or ["damaged"])[0]
        raise DataError(f"{str(path)!r} is no spreadsheet that can be read: {what}.") from error
    where = f"sheet {found.name!r} of {str(path)!r}"
    if not rows:
        raise DataError(f"{where} is empty; expected a header and rows.")
    _fill_merged(rows, merged, (top, left), where)
    _say_what_is_hidden(path, say)
    return _table(rows, where)


def _chosen(book: Any, sheet: str | None, path: Path) -> Any:
    names = list(book.sheet_names)
    if sheet is not None:
        if sheet not in names:
            raise DataError(
                f"{str(path)!r} has no sheet {sheet!r}; its sheets are {few(names, most=8)}."
            )
        return book.get_sheet_by_name(sheet)
    filled = [s for name in names if (s := book.get_sheet_by_name(name)).start is not None]
    if len(filled) > 1:
        raise DataError(
            f"{str(path)!r} has {len(filled)} sheets, {few([s.name for s in filled], most=8)}; say "
            "with --sheet (`sheet`) which of them."
        )
    return filled[0] if filled else book.get_sheet_by_index(0)


def _fill_merged(
    rows: list[list[Any]], merged: Sequence[Any], start: tuple[int, int], where: str
) -> None:
    """Give each cell of a merged range its value, which the file holds in the first alone."""
    for (top, left), (bottom, right) in merged:
        first, last = top - start[0], min(bottom - start[0], len(rows) - 1)
        column, end = left - start[1], min(right - start[1], len(rows[0]) - 1)
        if first > last or column > end or first < 0 or column < 0:
            continue
        if right > left and end > column:
            raise DataError(
                f"{where} has cells merged across columns in row {top + 1}; expected one line of "
                "headers and a cell for each column: unmerge them, and remove titles."
            )
        for row in range(first + 1, last + 1):
            rows[row][column] = rows[first][column]


def _table(rows: list[list[Any]], where: str) -> pa.Table:
    header, *body = rows
    while body and all(cell == "" for cell in body[-1]):
        body.pop()
    names = [_text(cell) or "" for cell in header]
    for i, name in reversed([*enumerate(names)]):
        if not name and all(row[i] == "" for row in body):  # formatted, but without anything
            del names[i]
            for row in body:
                del row[i]
    if not body:
        raise DataError(f"{where} has a header and no rows.")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(
            f"{where} has {names.count(twice)} columns named {twice!r} in its first row; expected "
            "one name for each: rename them, and remove titles above the header."
        )
    columns = [_column([row[i] for row in body]) for i in range(len(names))]
    return pa.table(columns, names=names)


def _column(cells: list[Any]) -> pa.Array:
    plain = [None if cell == "" else _plain(cell) for cell in cells]
    kinds = {type(cell) for cell in plain if cell is not None}
    kind = next(iter(kinds)) if len(kinds) == 1 else str
    if kind is float and all(map(_is_whole, plain)):
        return pa.array([None if cell is None else int(cell) for cell in plain], pa.int64())
    if kind in _TYPES:
        return pa.array(plain, _TYPES[kind])
    return pa.array([_text(cell) for cell in plain], pa.string())


def _is_whole(cell: float | None) -> bool:
    return cell is None or (cell.is_integer() and abs(cell) < 2**53)


def _plain(cell: Any) -> Any:
    """A cell as one of few types: whole numbers are numbers, days are moments."""
    if isinstance(cell, bool | float | str | datetime.datetime | datetime.time):
        return cell
    if isinstance(cell, int):
        return float(cell)
    if isinstance(cell, datetime.date):
        return datetime.datetime.combine(cell, datetime.time())
    return cell


def _text(cell: Any) -> str | None:
    """A cell as text, of which it cannot be doubted which number or date it was."""
    if cell is None or isinstance(cell, str):
        return cell
    if isinstance(cell, bool):
        return "TRUE" if cell else "FALSE"
    if isinstance(cell, float):
        if cell.is_integer() and abs(cell) < 1e15:
            return str(int(cell))
        text = repr(cell)
        # Three places might be a group of digits elsewhere.
        return f"{text}0" if re.fullmatch(r"-?[0-9]{1,3}\.[0-9]{3}", text) else text
    return str(cell).removesuffix(" 00:00:00")


def _say_what_is_hidden(path: Path, say: Callable[[str], object]) -> None:
    """What the reader does not tell of a file: hidden rows, and formulas nobody computed."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if not re.fullmatch(r"xl/worksheets/[^/]+\.xml", name):
                continue
            with archive.open(name) as file:
                hidden, blank = _sought(file)
            if hidden:
                say(f"{path.name!r} has hidden rows or columns, which are read like all others")
            if blank:
                say(
                    f"{path.name!r} has formulas whose values were not saved, which are taken for "
                    "missing: open it in a spreadsheet program and save it again"
                )


def _sought(file: Any) -> tuple[bool, bool]:
    reader, before = io.BufferedReader(file), b""
    hidden = blank = False
    while part := reader.read(_BLOCK):
        both = before + part
        hidden = hidden or _HIDDEN.search(both) is not None
        blank = blank or _NOT_COMPUTED.search(both) is not None
        before = part[-_OVERLAP:]
    return hidden, blank
