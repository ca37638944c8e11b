"""CSV files, written a part at a time and whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from hunch.errors import FolderError

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


def csv_lines(columns: Sequence[pa.Array]) -> bytes:
    r"""Rows as CSV in UTF-8, in quotation marks only where a cell needs them.

    pyarrow's own writer sets every text between quotation marks, and a number that was read as text
    would no longer look like the cell it was.

    Args:
        columns: at least one, all of one length; a null becomes an empty cell.

    Example:
        >>> csv_lines([pa.array(["007", 'a "b", c', None]), pa.array([0.5, 1.0, 2.0])])
        b'007,0.5\n"a ""b"", c",1\n,2\n'
    """
    rows = pc.binary_join_element_wise(*map(_cells, columns), ",")
    return "".join(f"{row}\n" for row in rows.to_pylist()).encode()


def _cells(column: pa.Array) -> pa.Array:
    text = column.cast(pa.string()).fill_null("")
    special = pc.match_substring_regex(text, _NEEDS_QUOTES)
    if not pc.any(special, min_count=0).as_py():
        return text
    doubled = pc.replace_substring(text, '"', '""')
    return pc.if_else(special, pc.binary_join_element_wise('"', doubled, '"', ""), text)
