"""Where an output may go: one answer for every command.

`~` is the user's home. The last part of a name may not be a link, a device, a pipe or a socket:
what such a name stands for is not seen in it, so it has to be named itself. A file or folder that
is there is replaced only if hunch wrote it.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

from hunch.errors import FolderError

Ours = Callable[[Path], bool]

_ADDRESS: Final = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)  # `C:` is a disk of Windows
_ENDS: Final = 4096  # bytes at either end of a file in which a mark of hunch's stands


def expanded(path: str | os.PathLike[str]) -> Path:
    """The absolute path that a name stands for, `~` expanded.

    Raises:
        FolderError: if there is no such user, no file can be called so, or it is an address such
            as `https://host/a.csv`.

    Example:
        >>> expanded("~") == Path.home()
        True
    """
    if _ADDRESS.match(str(path)):  # of which a path would keep one slash, and be a folder here
        raise FolderError(
            f"{str(path)!r} is an address, and hunch reads and writes on this machine alone; name "
            "a file or folder here."
        )
    try:
        place = Path(path).expanduser().absolute()
    except RuntimeError as error:
        raise FolderError(
            f"{str(path)!r} begins with the home folder of a user that is not known; write the "
            "path out, or put ./ in front of it."
        ) from error
    except OSError as error:  # the working folder is gone
        raise FolderError(f"cannot find {str(path)!r}: {error.strerror}.") from error
    if "\0" in str(place):
        raise FolderError(f"{str(path)!r} has a null character in it; choose another name.")
    return place


def file_place(
    path: str | os.PathLike[str], ours: Ours = lambda file: False, by: str = "hunch"
) -> Path:
    """Where a file may be written.

    Args:
        path: its name as the user gave it.
        ours: says of an ordinary file that is there whether hunch wrote it, so that it may be
            replaced. It may raise a sentence of its own instead.
        by: what would have written it, for the message.

    Returns:
        The absolute path.

    Raises:
        FolderError: if anything else is there.

    Example:
        >>> import tempfile
        >>> thesis = Path(tempfile.mkdtemp()) / "thesis.tex"
        >>> _ = thesis.write_text("years")
        >>> file_place(thesis)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        hunch.errors.FolderError: '...thesis.tex' is there and hunch did not write it; ...
    """
    place = expanded(path)
    mode = _mode(place, path)
    if mode is None:
        return place
    if stat.S_ISDIR(mode):
        raise FolderError(f"{str(path)!r} is a folder; expected the name of a file to write.")
    _check_plain(mode, place, path)
    try:
        replaceable = ours(place)
    except OSError as error:
        if isinstance(error, FolderError):
            raise
        raise FolderError(f"cannot read {str(path)!r}: {error.strerror or error}.") from error
    if not replaceable:
        raise FolderError(
            f"{str(path)!r} is there and {by} did not write it; choose another name, or move it "
            "away."
        )
    return place


def folder_place(path: str | os.PathLike[str]) -> Path:
    """Where a folder may be written, as far as its name and kind go.

    Raises:
        FolderError: if anything but a folder is there.

    Example:
        >>> folder_place("a-new-folder") == Path("a-new-folder").absolute()
        True
    """
    place = expanded(path)
    mode = _mode(place, path)
    if mode is None or stat.S_ISDIR(mode):
        return place
    _check_plain(mode, place, path)
    raise FolderError(f"{str(path)!r} is a file; expected a folder, or a new name.")


def check_own_file(file: Path) -> None:
    """Refuse to write a file of a folder of hunch's if its name stands for something else.

    Folders come from strangers too: a link in one would lead to a file of the user's.

    Raises:
        FolderError: if it is there and no ordinary file.

    Example:
        >>> check_own_file(Path("run/summary.json"))
    """
    file_place(file, any_file)


def check_own_folder(folder: Path) -> None:
    """The same for a folder within a folder of hunch's.

    Example:
        >>> check_own_folder(Path("run/logs"))
    """
    folder_place(folder)


def any_file(file: Path) -> bool:
    """Of a file within a folder of hunch's: it is hunch's.

    Example:
        >>> any_file(Path("run/summary.json"))
        True
    """
    return True


def written_with(mark: str) -> Ours:
    """Whether a mark of hunch's stands at the beginning or the end of a file.

    Example:
        >>> import tempfile
        >>> note = Path(tempfile.mkdtemp()) / "note.md"
        >>> _ = note.write_text("<!-- hunch bench dqn -->")
        >>> written_with("hunch bench")(note), written_with("hunch reproduce")(note)
        (True, False)
    """

    def ours(file: Path) -> bool:
        with file.open("rb") as content:
            ends = content.read(_ENDS)
            content.seek(max(0, os.fstat(content.fileno()).st_size - _ENDS))
            return mark.encode() in ends or mark.encode() in content.read(_ENDS)

    return ours


def _mode(place: Path, path: str | os.PathLike[str]) -> int | None:
    try:
        return os.lstat(place).st_mode
    except FileNotFoundError:
        return None
    except OSError as error:
        raise FolderError(
            f"cannot write to {str(path)!r}: {error.strerror}; choose another name."
        ) from error


def _check_plain(mode: int, place: Path, path: str | os.PathLike[str]) -> None:
    if stat.S_ISLNK(mode):
        raise FolderError(
            f"{str(path)!r} is a link to {os.readlink(place)!r}; name what it points to."
        )
    if not stat.S_ISREG(mode):
        raise FolderError(
            f"{str(path)!r} is a device, a pipe or a socket; expected an ordinary file, or a new "
            "name."
        )
