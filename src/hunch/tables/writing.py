"""CSV files, written a part at a time and whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from hunch.errors import FolderError
from hunch.tables.cells import is_flat

_OURS: Final = "hunch_"
_NEEDS_QUOTES: Final = '[",\r\n]'


@contextmanager
def new_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A file to fill, which takes the name `path` when the block ends without an error.

    Raises:
        FolderError: if it cannot be written, or the disk is full.

    Example:
        >>> place = Path(tempfile.mkdtemp()) / "a.txt"
        >>> with new_file(place) as file:
        ...     _ = file.write_text("hello")
        >>> place.read_text(), len(list(place.parent.iterdir()))
        ('hello', 1)
    """
    target = Path(path).expanduser()
    aside = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        os.close(handle)
        aside = Path(name)
        aside.chmod(0o644)  # mkstemp's own mode shuts everybody else out
        yield aside
        aside.replace(target)
    except OSError as error:
        if isinstance(error, FolderError):
            raise
        raise FolderError(f"cannot write {str(path)!r}: {error.strerror or error}.") from error
    finally:
        if aside is not None:
            aside.unlink(missing_ok=True)


def fits_in_a_cell(kind: pa.DataType) -> bool:
    """Whether cells of this type have a text that stands for them.

    Example:
        >>> fits_in_a_cell(pa.date32()), fits_in_a_cell(pa.binary())
        (True, False)
    """
    return is_flat(kind)


def unused_names(names: Sequence[str], taken: Collection[str]) -> list[str]:
    """The names, or if one of them is taken, all of them with `hunch_` before them.

    Example:
        >>> unused_names(["mean", "std"], ["size"]), unused_names(["mean", "std"], ["mean"])
        (['mean', 'std'], ['hunch_mean', 'hunch_std'])
    """
    found = list(names)
    while set(found) & set(taken):
        found = [_OURS + name for name in found]
    return found


def csv_header(names: Sequence[str]) -> bytes:
    r"""The first line.

    Example:
        >>> csv_header(["size", "a, b"])
        b'size,"a, b"\n'
    """
    return _lines([pa.array([name]) for name in names])


def csv_rows(table: pa.Table) -> bytes:
    r"""Rows in UTF-8, in quotation marks only where a cell needs them; a null is an empty cell.

    pyarrow's own writer sets every text between quotation marks, so that cells which were read as
    text would not come out as they went in.

    Example:
        >>> csv_rows(pa.table({"a": ["007", 'a "b", c', None], "b": [0.5, 1.0, 2.0]}))
        b'007,0.5\n"a ""b"", c",1\n,2\n'
    """
    return _lines([column.combine_chunks() for column in table.columns])


def _lines(columns: Sequence[pa.Array]) -> bytes:
    rows = pc.binary_join_element_wise(*map(_cells, columns), ",")
    return "".join(f"{row}\n" for row in rows.to_pylist()).encode()


def _cells(column: pa.Array) -> pa.Array:
    text = column.cast(pa.string()).fill_null("")
    special = pc.match_substring_regex(text, _NEEDS_QUOTES)
    if not pc.any(special, min_count=0).as_py():
        return text
    doubled = pc.replace_substring(text, '"', '""')
    return pc.if_else(special, pc.binary_join_element_wise('"', doubled, '"', ""), text)
