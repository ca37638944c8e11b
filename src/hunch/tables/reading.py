"""CSV and Parquet files, a bounded number of rows at a time; what is wrong is one sentence."""

from __future__ import annotations

import csv
import gzip
import io
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from hunch.errors import DataError
from hunch.progress import progress_bar

CHUNK_ROWS: Final = 20_000
_BLOCK: Final = 2**23  # bytes of CSV parsed at once; a row must fit
_HEAD: Final = 2**16  # bytes looked at to tell what a file is
_DELIMITERS: Final = ",;\t|"
_PARQUET: Final = b"PAR1"
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


@dataclass
class Source:
    """A table in a file.

    Args:
        path: the file.
        schema: its columns; those of a CSV file are text.
        delimiter: between the cells of a row; None for a Parquet file.
        percent_read: how much of the file `chunks` has gone through, from 0 to 100.
    """

    path: Path
    schema: pa.Schema
    delimiter: str | None
    percent_read: int = field(default=0, init=False)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the columns."""
        return tuple(self.schema.names)

    def chunks(self) -> Iterator[pa.Table]:
        """The rows, at most `CHUNK_ROWS` at a time.

        Raises:
            DataError: as soon as a row cannot be read; it says which.
        """
        self.percent_read = 0
        with _refusing(self.path):
            yield from self._parquet() if self.delimiter is None else self._csv()
        self.percent_read = 100

    def chunks_with_bar(self, doing: str, *, progress: bool) -> Iterator[pa.Table]:
        """As `chunks`, with a bar on standard error that says what is done to the file.

        Args:
            doing: a word such as "reading".
            progress: whether to show it.
        """
        done = 0
        with progress_bar(100, f"{doing} {self.path.name}", "%", enabled=progress) as bar:
            for table in self.chunks():
                yield table
                bar.update(self.percent_read - done)
                done = self.percent_read
            bar.update(100 - done)

    def _parquet(self) -> Iterator[pa.Table]:
        with pyarrow.parquet.ParquetFile(self.path, pre_buffer=False) as file:
            seen = 0
            for batch in file.iter_batches(CHUNK_ROWS, use_threads=False):
                yield pa.Table.from_batches([batch])
                seen += batch.num_rows
                self.percent_read = 100 * seen // max(1, file.metadata.num_rows)

    def _csv(self) -> Iterator[pa.Table]:
        with _Watched(self.path) as stream:
            reader = pyarrow.csv.open_csv(
                stream,
                # With threads the reader cannot tell the number of a row.
                read_options=pyarrow.csv.ReadOptions(use_threads=False, block_size=_BLOCK),
                parse_options=pyarrow.csv.ParseOptions(
                    delimiter=self.delimiter, newlines_in_values=True
                ),
                convert_options=pyarrow.csv.ConvertOptions(
                    column_types=dict.fromkeys(self.names, pa.string()),
                    strings_can_be_null=False,
                ),
            )
            last = None
            for block, batch in enumerate(reader, start=1):
                for start in range(0, batch.num_rows, CHUNK_ROWS):
                    last = batch.slice(start, CHUNK_ROWS)
                    self.percent_read = stream.percent(block * _BLOCK)
                    yield pa.Table.from_batches([last])
            if stream.quotes % 2 and last is not None and _ends_in_newline(last):
                raise DataError(
                    f"{str(self.path)!r} has a quotation mark that is never closed, so rows behind "
                    "it were read as one cell; close it, or double it where it is meant as text."
                )


def open_table(path: str | os.PathLike[str]) -> Source:
    r"""Look at a file: is it a table, and which columns has it?

    Parquet files are known by their first bytes. Anything else must be UTF-8 text, maybe packed by
    gzip, with a header; the delimiter is the one of comma, semicolon, tab and bar that occurs most
    often in the header.

    Args:
        path: the file.

    Raises:
        DataError: if it cannot be read as a table; the message says why.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.csv"
        >>> _ = path.write_text("size;price\n1;2\n")
        >>> source = open_table(path)
        >>> source.names, source.delimiter, [chunk.num_rows for chunk in source.chunks()]
        (('size', 'price'), ';', [1])
    """
    place = Path(path).expanduser()
    if place.is_dir():
        raise DataError(f"{str(path)!r} is a folder; expected a CSV or Parquet file.")
    with _refusing(place):
        with place.open("rb") as file:
            begin = file.read(len(_PARQUET))
        if begin == _PARQUET:
            with pyarrow.parquet.ParquetFile(place) as table:
                schema, delimiter = table.schema_arrow, None
        elif place.suffix.lower() in (".parquet", ".pq"):
            raise DataError(
                f"{str(path)!r} is not a Parquet file, though it is called one; expected a file "
                f"that begins with {_PARQUET.decode()}, or CSV under another name."
            )
        else:
            names, delimiter = _header(place)
            schema = pa.schema([(name, pa.string()) for name in names])
    _check_names(place, schema.names)
    return Source(place, schema, delimiter)


def _header(path: Path) -> tuple[tuple[str, ...], str]:
    with _Watched(path) as stream:
        head = stream.read(_HEAD)
    if not head.strip():
        raise DataError(f"{str(path)!r} is empty; expected a header and rows.")
    for begin, advice in _STRANGERS.items():
        if head.startswith(begin):
            raise DataError(f"{str(path)!r} {advice}.")
    if b"\0" in head:
        raise DataError(f"{str(path)!r} is not text; expected CSV in UTF-8, or Parquet.")
    text = head.decode("utf-8-sig", errors="replace")
    first = text.lstrip("\r\n").splitlines()[0]
    if "\ufffd" in first:
        raise DataError(f"{str(path)!r} is not UTF-8 text; save it as UTF-8.")
    delimiter = max(_DELIMITERS, key=first.count)
    names = next(csv.reader(io.StringIO(text.lstrip("\r\n")), delimiter=delimiter))
    return tuple(names), delimiter


def _check_names(path: Path, names: Sequence[str]) -> None:
    if not names:
        raise DataError(f"{str(path)!r} has no columns; expected some.")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(
            f"{str(path)!r} has {names.count(twice[0])} columns named {twice[0]!r}; rename them so "
            "that each name stands once."
        )


class _Watched(io.RawIOBase):
    """A file, unpacked where it is packed, that counts its quotation marks as it is read."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._file: BinaryIO = path.open("rb")
        self._size = max(1, path.stat().st_size)
        packed = self._file.read(2) == b"\x1f\x8b"
        self._file.seek(0)
        self._content: Any = gzip.GzipFile(fileobj=self._file) if packed else self._file
        self.quotes = self._count = 0

    def read(self, size: int | None = -1) -> bytes:
        part: bytes = self._content.read(size)
        self.quotes += part.count(b'"')
        self._count += len(part)
        return part

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._file.close()
        super().close()

    def percent(self, used: int) -> int:
        """Of the file, up to the byte `used` of its content: the reader is some blocks ahead."""
        return int(100 * self._file.tell() / self._size * min(1, used / self._count))


def _ends_in_newline(batch: pa.RecordBatch) -> bool:
    """Whether a cell of the last row spans lines."""
    return any("\n" in str(column[-1].as_py()) for column in batch.columns if len(column))


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    """Turn what readers raise into one sentence."""
    try:
        yield
    except DataError:
        raise
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{str(path)!r} is a damaged or cut-off gzip file: {error}.") from error
    except pa.ArrowInvalid as error:
        raise DataError(f"{str(path)!r} {_in_words(str(error))}") from error
    except csv.Error as error:
        raise DataError(f"the header of {str(path)!r} cannot be read: {error}.") from error
    except FileNotFoundError as error:
        raise DataError(f"there is no file {str(path)!r}.") from error
    except OSError as error:
        what = error.strerror or str(error).splitlines()[0]
        raise DataError(f"cannot read {str(path)!r}: {what}.") from error


def _in_words(said: str) -> str:
    """What Arrow says of a file, in words that say what to do."""
    ragged = re.search(r"Row #(\d+): Expected (\d+) columns, got (\d+)", said)
    if ragged:
        row, expected, got = ragged.groups()
        return (
            f"has {got} cells in line {row}, but {expected} columns; a cell with a delimiter in it "
            "stands in quotation marks."
        )
    if "invalid UTF8" in said:
        row = re.search(r"Row #(\d+)", said)
        where = f" in line {row[1]}" if row else ""
        return f"is not UTF-8 text{where}; save it as UTF-8."
    if "Empty CSV" in said:
        return "has a header and no rows."
    if "straddling" in said:
        return f"has a row of more than {_BLOCK >> 20} MB: is a quotation mark never closed?"
    return f"cannot be read: {said.splitlines()[0].rstrip('.')}."
