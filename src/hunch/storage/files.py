"""One file, written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hunch.errors import FolderError, HunchError
from hunch.storage.asides import aside_file, sweep
from hunch.storage.places import Ours, any_file, file_place
from hunch.storage.replacing import flush


@contextmanager
def new_file(
    path: str | os.PathLike[str], ours: Ours = lambda file: False, by: str = "hunch"
) -> Iterator[Path]:
    """A file to fill, which takes the name `path` when the block ends without an error.

    Args:
        path: the name; its folder is made if it is not there. As `places.file_place` has it.
        ours: whether hunch wrote a file that is there, as there.
        by: what writes it, for messages.

    Raises:
        FolderError: before the block if `path` is somebody else's or cannot be written; after it
            if the disk is full.

    Example:
        >>> import tempfile
        >>> place = Path(tempfile.mkdtemp()) / "a.txt"
        >>> with new_file(place) as file:
        ...     _ = file.write_text("hello")
        >>> place.read_text(), len(list(place.parent.iterdir()))
        ('hello', 1)
    """
    with _in_the_making(path, ours, by) as (aside, place):
        yield aside
        flush(aside)
        file_place(path, ours, by)  # somebody may have put a file there meanwhile
        aside.replace(place)
        flush(place.parent)


@contextmanager
def _in_the_making(
    path: str | os.PathLike[str], ours: Ours, by: str
) -> Iterator[tuple[Path, Path]]:
    place = file_place(path, ours, by)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        sweep(place.parent)
        with aside_file(place) as aside:
            yield aside, place
    except OSError as error:
        if isinstance(error, HunchError | BrokenPipeError):
            raise
        raise FolderError(f"cannot write {str(path)!r}: {error.strerror or error}.") from error


def check_writable(
    path: str | os.PathLike[str], ours: Ours = lambda file: False, by: str = "hunch"
) -> None:
    """Refuse before a long work what `new_file` would refuse after it; the folder is made.

    Example:
        >>> import tempfile
        >>> place = Path(tempfile.mkdtemp()) / "a.txt"
        >>> check_writable(place)
        >>> place.exists()
        False
    """
    with _in_the_making(path, ours, by):
        pass


def write_text(
    place: str | os.PathLike[str],
    content: str,
    ours: Ours = lambda file: False,
    by: str = "hunch",
) -> None:
    """Write a text file as `new_file` does.

    Raises:
        FolderError: if it cannot be written, or is somebody else's.

    Example:
        >>> import tempfile
        >>> place = Path(tempfile.mkdtemp()) / "below" / "note.md"
        >>> write_text(place, "a note")
        >>> place.read_text()
        'a note'
    """
    with new_file(place, ours, by) as file:
        # A name of a file may hold bytes that are not UTF-8.
        file.write_text(content, encoding="utf-8", errors="backslashreplace")


def write_own_text(place: Path, content: str) -> None:
    """Write a text file of a folder that is hunch's, where an older one is replaced.

    Raises:
        FolderError: if it cannot be written, or is a link or the like; see `check_own_file`.

    Example:
        >>> import tempfile
        >>> place = Path(tempfile.mkdtemp()) / "summary.json"
        >>> write_own_text(place, "1")
        >>> write_own_text(place, "2")
        >>> place.read_text()
        '2'
    """
    write_text(place, content, any_file)
