"""Where the header of a CSV file ends, what it names, and what stands between cells."""

from __future__ import annotations

import csv
import io
import itertools
import re
from dataclasses import dataclass
from typing import Final

from hunch.errors import DataError

_DELIMITERS: Final = "\t|;,"
_LOOKED_AT: Final = 50  # rows that tell the delimiter
_PROBE: Final = 2**16  # bytes of rows among which they are sought
_MARK: Final = b"\xef\xbb\xbf"
_LINE: Final = re.compile(rb"[^\r\n]*(?:\r\n|\r|\n|$)")
# How some spreadsheets say what stands between cells.
_SAID: Final = re.compile(rb'"?sep=([\t|;,])"?')
# First bytes of files that are taken for tables by mistake, and what to do about each.
_STRANGERS: Final = {
    b"\xff\xfe": "is UTF-16 text; save it as UTF-8",
    b"\xfe\xff": "is UTF-16 text; save it as UTF-8",
    b"PK\x03\x04": "is a ZIP archive or a spreadsheet; unpack it, or save it as CSV",
    b"\xd0\xcf\x11\xe0": "is an old spreadsheet; save it as CSV",
    b"ARROW1": "is an Arrow file; save it as Parquet or CSV",
    b"BZh": "is packed by bzip2; unpack it, or pack it by gzip",
    b"\xfd7zXZ": "is packed by xz; unpack it, or pack it by gzip",
    b"\x28\xb5\x2f\xfd": "is packed by zstd; unpack it, or pack it by gzip",
}


@dataclass(frozen=True)
class Header:
    """The first row of a CSV file.

    Args:
        names: of the columns.
        delimiter: between cells.
        end: byte of the (unpacked) file where the rows begin.
        lines: of the file up to there.
    """

    names: tuple[str, ...]
    delimiter: str
    end: int
    lines: int


def read_header(name: str, head: bytes, *, whole_below: int) -> Header:
    r"""Look at the beginning of a CSV file.

    Args:
        name: of the file, for messages.
        head: its beginning.
        whole_below: a shorter `head` is the whole file.

    Raises:
        DataError: if it is no text or has no header; the message says why.

    Example:
        >>> read_header("a.csv", b"sep=;\nsize;net, gross\n1;2,5\n", whole_below=99)
        Header(names=('size', 'net, gross'), delimiter=';', end=22, lines=2)
    """
    _refuse_strangers(name, head)
    start = len(_MARK) if head.startswith(_MARK) else 0
    lines, said = 0, None
    while True:
        line = _line(head, start)
        text = line.strip(b"\r\n")
        said = said or _SAID.fullmatch(text)
        if text and not _SAID.fullmatch(text):
            break
        start, lines = start + len(line), lines + 1
        if not line:
            raise DataError(f"{name!r} is empty; expected a header and rows.")
    end, more = _row_end(head, start)
    if end == len(head) and len(head) >= whole_below:
        raise DataError(
            f"{name!r} has a header of more than {whole_below >> 20} MB; expected names of columns "
            "in the first line."
        )
    try:
        row = head[start:end].decode("utf-8")
    except UnicodeDecodeError:
        raise DataError(f"{name!r} is not UTF-8 text; save it as UTF-8.") from None
    delimiter = said[1].decode() if said else _delimiter(row, head[end : end + _PROBE])
    return Header(tuple(_cells(row, delimiter)), delimiter, end, lines + more)


def _refuse_strangers(name: str, head: bytes) -> None:
    if not head.strip():
        raise DataError(f"{name!r} is empty; expected a header and rows.")
    for begin, advice in _STRANGERS.items():
        if head.startswith(begin):
            raise DataError(f"{name!r} {advice}.")
    if b"\0" in head[:_PROBE]:
        raise DataError(f"{name!r} is not text; expected CSV in UTF-8, or Parquet.")


def _line(head: bytes, start: int) -> bytes:
    found = _LINE.match(head, start)
    return found[0] if found else b""


def _row_end(head: bytes, start: int) -> tuple[int, int]:
    """Where the row that begins at `start` ends, and of how many lines it is."""
    first = end = start + len(_line(head, start))
    quotes, lines = head.count(b'"', start, end), 1
    while quotes % 2 and end < len(head):
        line = _line(head, end)
        quotes, end, lines = quotes + line.count(b'"'), end + len(line), lines + 1
    # A mark that nothing closes is an inch, not a quotation.
    return (end, lines) if quotes % 2 == 0 else (first, 1)


def _delimiter(header: str, rows: bytes) -> str:
    """What divides the header and the first rows into the same number of cells, more than one."""
    counts = {mark: len(_cells(header, mark)) for mark in _DELIMITERS}
    whole, _, rest = rows.rpartition(b"\n")
    text = (whole or rest).decode("utf-8", errors="replace")
    even = [mark for mark, count in counts.items() if count > 1 and _even(text, mark, count)]
    # Of equals the first: a comma also stands in numbers and in names.
    return max(even or reversed(_DELIMITERS), key=counts.__getitem__)


def _even(text: str, delimiter: str, count: int) -> bool:
    """Whether the first rows have so many cells each."""
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        return all(len(row) == count for row in itertools.islice(rows, _LOOKED_AT) if row)
    except csv.Error:
        return False


def _cells(row: str, delimiter: str) -> list[str]:
    row = row.rstrip("\r\n")
    if '"' not in row:
        return row.split(delimiter)
    try:
        return next(csv.reader(io.StringIO(row, newline=""), delimiter=delimiter))
    except csv.Error:
        # Too long for Python's reader where nothing divides it; pyarrow has the last word.
        return [row]
