"""CSV and Parquet files, a bounded number of rows at a time; what is wrong is one sentence."""

from __future__ import annotations

import os
import re
import shutil
import stat
import tempfile
import weakref
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from hunch.errors import DataError, HunchError
from hunch.progress import progress_bar
from hunch.storage import expanded
from hunch.tables.cells import is_flat, is_text, unwrapped
from hunch.tables.choices import near_names
from hunch.tables.headers import Header, read_header

CHUNK_ROWS: Final = 20_000
_BLOCK: Final = 2**23  # bytes of CSV parsed at once; a row must fit
_MOST: Final = 2**28  # bytes that rows of a Parquet file may unpack to at once
_PARQUET: Final = b"PAR1"


@dataclass
class Source:
    """A table in a file.

    Args:
        path: the file.
        schema: its columns; those of a CSV file are text.
        header: where the rows of a CSV file begin and what stands between cells; None for a Parquet
            file.
        spooled: what holds the rows of a pipe.
        held: the rows, where they are in memory.
        parts: of several files that are read as one.
        percent_read: how much of the file `chunks` has gone through, from 0 to 100.
    """

    path: Path
    schema: pa.Schema
    header: Header | None
    spooled: IO[bytes] | None = None
    held: pa.Table | None = None
    parts: tuple[Source, ...] = ()
    percent_read: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if self.spooled is not None:
            weakref.finalize(self, self.spooled.close)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the columns."""
        return tuple(self.schema.names)

    @property
    def title(self) -> str:
        """The name of the file, or of the first of several."""
        more = f" and {len(self.parts) - 1} more" if self.parts else ""
        return f"{self.path.name}{more}"

    @property
    def delimiter(self) -> str | None:
        """Between the cells of a row; None where there is none, or not the same in all parts."""
        if self.parts:
            marks = {part.delimiter for part in self.parts}
            return marks.pop() if len(marks) == 1 else None
        return self.header.delimiter if self.header else None

    @property
    def left_out(self) -> dict[str, pa.DataType]:
        """Columns that `chunks` does not read, since no cell of theirs is a number or text."""
        return {f.name: f.type for f in self.schema if not is_flat(f.type)}

    def chunks(self) -> Iterator[pa.Table]:
        """The rows, at most `CHUNK_ROWS` at a time, of all columns but those `left_out`.

        Raises:
            DataError: as soon as a row cannot be read; it says which. At the end, if the file has
                another number of rows than came out.
        """
        self.percent_read = 0
        if self.parts:
            yield from self._several()
            return
        with _refusing(self.path, self.header.lines if self.header else 0):
            if self.held is not None:
                yield from self._slices(self.held)
            else:
                yield from self._parquet() if self.header is None else self._csv(self.header)
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

    def _several(self) -> Iterator[pa.Table]:
        for done, part in enumerate(self.parts):
            for table in part.chunks():
                yield table.select([name for name in self.names if name not in self.left_out])
                self.percent_read = (100 * done + part.percent_read) // len(self.parts)
        self.percent_read = 100

    def _slices(self, held: pa.Table) -> Iterator[pa.Table]:
        names = [name for name in self.names if name not in self.left_out]
        for start in range(0, held.num_rows, CHUNK_ROWS):
            table = held.select(names).slice(start, CHUNK_ROWS)
            _check_text(self.path, table, start)
            yield table
            self.percent_read = 100 * start // held.num_rows

    @property
    def _place(self) -> Path:
        """Where the bytes are."""
        return self.path if self.spooled is None else Path(f"/dev/fd/{self.spooled.fileno()}")

    def _parquet(self) -> Iterator[pa.Table]:
        names = [name for name in self.names if name not in self.left_out]
        # Text stays coded as it is in the file, where a long one that repeats stands once.
        coded = [f.name for f in self.schema if f.name in set(names) and _is_coded(f.type)]
        with _parquet_file(self._place, coded) as file:
            seen, expected = 0, file.metadata.num_rows
            rows = _rows_at_once(file.metadata)
            for batch in file.iter_batches(rows, columns=names, use_threads=False):
                table = pa.Table.from_batches([batch]).select(names)
                _check_text(self.path, table, seen)
                yield table
                seen += batch.num_rows
                self.percent_read = 100 * seen // max(1, expected)
        self._check_count(seen, expected)

    def _csv(self, header: Header) -> Iterator[pa.Table]:
        lines = _count_lines(self._place, header.end)
        seen, last = 0, None
        with _content(self._place) as stream:
            _first(stream, header.end)
            reader = pyarrow.csv.open_csv(
                stream,
                # With threads the reader cannot tell the number of a row.
                read_options=pyarrow.csv.ReadOptions(
                    use_threads=False, block_size=_BLOCK, column_names=self.names
                ),
                parse_options=pyarrow.csv.ParseOptions(
                    delimiter=header.delimiter,
                    newlines_in_values=True,
                    # An empty cell of an only column is an empty line.
                    ignore_empty_lines=len(self.names) > 1,
                ),
                convert_options=pyarrow.csv.ConvertOptions(
                    column_types=dict.fromkeys(self.names, pa.string()),
                    strings_can_be_null=False,
                ),
            )
            for block, batch in enumerate(reader, start=1):
                for start in range(0, batch.num_rows, CHUNK_ROWS):
                    last = batch.slice(start, CHUNK_ROWS)
                    self.percent_read = int(100 * min(1, block * _BLOCK / max(1, lines.bytes)))
                    yield pa.Table.from_batches([last])
                    seen += last.num_rows
        if lines.quotes % 2 and last is not None and _ends_in_newline(last):
            raise DataError(
                f"{str(self.path)!r} has a quotation mark that is never closed, so rows behind "
                "it were read as one cell; close it, or double it where it is meant as text."
            )
        if not lines.quotes:
            self._check_count(seen, lines.filled if len(self.names) > 1 else lines.all)

    def _check_count(self, seen: int, expected: int) -> None:
        """Each row of the file came out; another number would set predictions behind wrong rows."""
        if seen != expected:
            raise DataError(
                f"{str(self.path)!r} has {expected:,} rows, and {seen:,} could be read; write it "
                "anew, as CSV with all cells in quotation marks."
            )


def open_table(path: str | os.PathLike[str]) -> Source:
    r"""Look at a file: is it a table, and which columns has it?

    Parquet files are known by their first bytes. Anything else must be UTF-8 text, maybe packed by
    gzip, with a header; the delimiter is the one of comma, semicolon, tab and bar that divides the
    first lines into equally many cells, or the one that a first line such as `sep=;` names.

    Args:
        path: the file; `-`, or a pipe below `/dev`, is read to its end into a temporary file first.

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
    place = Path("/dev/stdin") if str(path) == "-" else Path(path).expanduser()
    with _refusing(place):
        source = Source(place, pa.schema([]), None, _spooled(place))
        with source._place.open("rb") as file:
            begin = file.read(len(_PARQUET))
        if begin == _PARQUET:
            with _parquet_file(source._place) as table:
                source.schema = table.schema_arrow
            check_names(place, source.schema.names)
            return source
        if place.suffix.lower() in (".parquet", ".pq"):
            raise DataError(
                f"{str(path)!r} is not a Parquet file, though it is called one; expected a file "
                f"that begins with {_PARQUET.decode()}, or CSV under another name."
            )
        with _content(source._place) as stream:
            source.header = read_header(str(path), _first(stream, _BLOCK), whole_below=_BLOCK)
    source.schema = pa.schema([(name, pa.string()) for name in source.header.names])
    check_names(place, source.schema.names)
    return source


def _spooled(path: Path) -> IO[bytes] | None:
    """What comes out of a pipe, in a file without a name; None for a file of the disk."""
    kind = path.stat().st_mode
    if stat.S_ISREG(kind):
        return None
    if stat.S_ISDIR(kind):
        raise DataError(f"{str(path)!r} is a folder; expected a CSV or Parquet file.")
    # A pipe with a name waits for a writer that may never come; those below /dev are open already.
    if not (stat.S_ISFIFO(kind) and str(path).startswith("/dev/")):
        raise DataError(f"{str(path)!r} is no file; expected a CSV or Parquet file.")
    spooled = tempfile.TemporaryFile(prefix="hunch-")  # noqa: SIM115  # lives as the source does
    with path.open("rb") as pipe:
        shutil.copyfileobj(pipe, spooled)
    spooled.flush()
    return spooled


def _content(path: Path) -> pa.NativeFile:
    """The bytes of a file, unpacked where it is packed.

    Not a file of Python's: the reader's threads may hold on to theirs until the interpreter ends.
    """
    file = pa.OSFile(os.fsencode(path))
    file.seek(0)
    packed = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    return pa.CompressedInputStream(file, "gzip") if packed else file


def _first(stream: pa.NativeFile, count: int) -> bytes:
    """So many bytes, or all there are."""
    parts = []
    while count and (part := stream.read(min(count, _BLOCK))):
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


@dataclass
class _Lines:
    """What a CSV file holds behind its header, seen without regard to quotation marks."""

    bytes: int = 0
    quotes: int = 0
    filled: int = 0
    all: int = 0


def _count_lines(path: Path, start: int) -> _Lines:
    found = _Lines()
    last = ord("\n")
    with _content(path) as stream:
        _first(stream, start)
        while part := stream.read(_BLOCK):
            here = np.frombuffer(part, np.uint8)
            at = np.flatnonzero((here == ord("\n")) | (here == ord("\r")))
            before = here[at - 1]
            before[at == 0] = last
            after_end = (before == ord("\n")) | (before == ord("\r"))
            pairs = (here[at] == ord("\n")) & (before == ord("\r"))
            found.bytes += len(part)
            found.quotes += part.count(b'"')
            found.filled += int(np.count_nonzero(~after_end))
            found.all += int(len(at) - np.count_nonzero(pairs))
            last = part[-1]
    open_end = found.bytes > 0 and last not in b"\r\n"
    found.filled += open_end
    found.all += open_end
    return found


def _parquet_file(path: Path, coded: Sequence[str] = ()) -> pyarrow.parquet.ParquetFile:
    file = pa.OSFile(os.fsencode(path))
    return pyarrow.parquet.ParquetFile(file, pre_buffer=False, read_dictionary=list(coded))


def _is_coded(kind: pa.DataType) -> bool:
    """Whether a column of this type can be read coded."""
    return is_text(kind) and not pa.types.is_dictionary(kind)


def _rows_at_once(file: Any) -> int:
    """As many rows of a Parquet file as are sure to fit into memory, going by what it says."""
    widest = 1
    for i in range(file.num_row_groups):
        group = file.row_group(i)
        widest = max(widest, group.total_byte_size // max(1, group.num_rows))
    return max(1, min(CHUNK_ROWS, int(_MOST // (widest + 8 * file.num_columns))))


def _check_text(path: Path, table: pa.Table, seen: int) -> None:
    """Refuse text that is not UTF-8, or would be of gigabytes where it is written down."""
    for name in table.column_names:
        if not is_text(table[name].type):
            continue
        coded = unwrapped(table[name])
        try:
            coded.dictionary.validate(full=True)
        except pa.ArrowInvalid:
            raise DataError(
                f"column {name!r} of {str(path)!r} holds text that is not UTF-8 in row {seen + 1} "
                "or behind it; save it as UTF-8, or as bytes."
            ) from None
        size = pc.sum(pc.binary_length(coded.dictionary).take(coded.indices)).as_py() or 0
        if size > _MOST:
            raise DataError(
                f"column {name!r} of {str(path)!r} unpacks to {size >> 20:,} MB of text in "
                f"{table.num_rows:,} rows; expected at most {_MOST >> 20} MB; leave it out or "
                "shorten its cells."
            )


def check_names(path: Path, names: Sequence[str]) -> None:
    """Refuse a table without columns, or with two of one name.

    Raises:
        DataError: naming the first.

    Example:
        >>> check_names(Path("a.csv"), ["x", "x"])
        Traceback (most recent call last):
        hunch.errors.DataError: 'a.csv' has 2 columns named 'x'; rename them so that each name ...
    """
    if not names:
        raise DataError(f"{str(path)!r} has no columns; expected some.")
    name, count = min(Counter(names).items(), key=lambda item: (item[1] == 1, item[0]))
    if count > 1 and not name.strip():
        raise DataError(
            f"{str(path)!r} has {count} columns without a name in its first line; if that is a "
            "title, remove the lines above the header, else name these columns or remove them."
        )
    if count > 1:
        raise DataError(
            f"{str(path)!r} has {count} columns named {name!r}; rename them so "
            "that each name stands once."
        )


def _ends_in_newline(batch: pa.RecordBatch) -> bool:
    """Whether a cell of the last row spans lines."""
    return any("\n" in str(column[-1].as_py()) for column in batch.columns if len(column))


@contextmanager
def _refusing(path: Path, lines: int = 0) -> Iterator[None]:
    """Turn what readers raise into one sentence."""
    try:
        yield
    except DataError:
        raise
    except FileNotFoundError as error:
        raise _not_there(path) from error
    except UnicodeDecodeError as error:
        raise DataError(f"{str(path)!r} is not UTF-8 text; save it as UTF-8.") from error
    except OSError as error:
        what = error.strerror or str(error).splitlines()[0]
        if "zlib" in what or "compressed stream" in what:
            raise DataError(
                f"{str(path)!r} is a damaged or cut-off gzip file: {what.rstrip('.')}."
            ) from error
        raise DataError(f"cannot read {str(path)!r}: {what}.") from error
    except pa.ArrowException as error:
        raise DataError(f"{str(path)!r} {_in_words(str(error), lines)}") from error


def check_there(*paths: str) -> None:
    """Refuse names that no file has, before anything is loaded to read one; - is standard input.

    Raises:
        DataError: naming the first, and a file of nearly that name.
        FolderError: if no file can be called so, as an address on the web.

    Example:
        >>> check_there("-")
    """
    for path in paths:
        try:
            if path != "-":
                expanded(path).stat()
        except FileNotFoundError as error:
            raise _not_there(Path(path)) from error
        except HunchError:
            raise
        except OSError:
            return  # whoever reads it says what is wrong


def _not_there(path: Path) -> DataError:
    return DataError(f"there is no file {str(path)!r}.{_named_alike(path)}")


def _named_alike(path: Path) -> str:
    """A file of nearly that name beside it, as a question."""
    try:
        names = [file.name for file in path.absolute().parent.iterdir() if file.is_file()]
    except OSError:
        return ""
    near = near_names(path.name, names)
    return f" Did you mean {near[0]!r}?" if near else ""


def _in_words(said: str, lines: int) -> str:
    """What Arrow says of a file, in words that say what to do; the header is of so many lines."""
    ragged = re.search(r"Row #(\d+): Expected (\d+) columns, got (\d+)", said)
    if ragged:
        row, expected, got = map(int, ragged.groups())
        return (
            f"has {got} cells in line {lines + row}, but {expected} columns; a cell with a "
            "delimiter in it stands in quotation marks."
        )
    if "invalid UTF8" in said:
        bad = re.search(r"Row #(\d+)", said)
        where = f" in line {lines + int(bad[1])}" if bad else ""
        return f"is not UTF-8 text{where}; save it as UTF-8."
    if "Empty CSV" in said:
        return "has a header and no rows."
    if "straddling" in said:
        return f"has a row of more than {_BLOCK >> 20} MB: is a quotation mark never closed?"
    return f"cannot be read: {said.splitlines()[0].rstrip('.')}."
