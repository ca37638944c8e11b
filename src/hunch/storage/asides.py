"""Files and folders in the making, beside the place where they will be.

Their maker holds a lock on them, which the system lets go of when it dies, however: whatever
nobody holds was left by a kill, and is swept when hunch next writes to the same folder. Where
there are no such locks, a day decides.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from hunch.storage.replacing import recover_all

_NAME: Final = re.compile(r"\..*\.hunch-[0-9a-f]{8}", re.DOTALL)
_DAY: Final = 86_400.0  # seconds


@contextmanager
def aside_file(place: Path) -> Iterator[Path]:
    """A new empty file beside `place`, deleted at the end if it is still there.

    Its mode is what the umask leaves of read and write for all, as of any file a program makes.
    """
    with _aside(place, _make_file, _delete_file) as aside:
        yield aside


@contextmanager
def aside_folder(place: Path) -> Iterator[Path]:
    """The same for a folder."""
    with _aside(place, os.mkdir, _delete_folder) as aside:
        yield aside


@contextmanager
def scratch_folder(name: str) -> Iterator[Path]:
    """A folder among the system's temporary ones, swept there if a kill leaves it.

    Example:
        >>> with scratch_folder("video") as folder:
        ...     _ = (folder / "a.txt").write_text("hello")
        >>> folder.exists()
        False
    """
    with aside_folder(Path(tempfile.gettempdir()) / name) as folder:
        yield folder


def sweep(folder: Path) -> None:
    """Delete what killed processes left in the making in a folder, and recover what they replaced.

    Example:
        >>> sweep(Path("a-folder-that-does-not-exist"))
    """
    recover_all(folder)
    with suppress(OSError), os.scandir(folder) as entries:
        left = [Path(entry.path) for entry in entries if _NAME.fullmatch(entry.name)]
        for aside in left:
            with suppress(OSError):  # somebody else holds it, or was quicker
                _sweep_one(aside)


def _sweep_one(aside: Path) -> None:
    found = os.lstat(aside)
    folder = stat.S_ISDIR(found.st_mode)
    if not (folder or stat.S_ISREG(found.st_mode)):
        return
    if hasattr(os, "getuid") and found.st_uid != os.getuid():
        return
    handle = _lock(aside)
    try:
        if handle is not None or time.time() - found.st_mtime > _DAY:
            (_delete_folder if folder else _delete_file)(aside)
    finally:
        if handle is not None:
            os.close(handle)


@contextmanager
def _aside(
    place: Path, make: Callable[[Path], None], delete: Callable[[Path], None]
) -> Iterator[Path]:
    aside, handle = _made_and_locked(place, make)
    try:
        yield aside
    finally:
        delete(aside)
        if handle is not None:
            os.close(handle)


def _made_and_locked(place: Path, make: Callable[[Path], None]) -> tuple[Path, int | None]:
    while True:
        # Short, since the name in the end may be as long as names can be.
        aside = place.with_name(f".{place.name[:40]}.hunch-{os.urandom(4).hex()}")
        try:
            make(aside)
        except FileExistsError:
            continue
        try:
            handle = _lock(aside)
        except (FileNotFoundError, BlockingIOError):
            continue  # another process swept it before it was held
        if handle is None or _is_at(handle, aside):
            return aside, handle
        os.close(handle)


def _is_at(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.lstat(path))
    except FileNotFoundError:
        return False


def _lock(aside: Path) -> int | None:
    """Hold it until the descriptor returned is closed; None where there are no such locks.

    Raises:
        BlockingIOError: if another process holds it.
    """
    try:
        import fcntl
    except ImportError:  # Windows: nothing like it
        return None
    try:
        handle = os.open(aside, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except PermissionError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        if isinstance(error, BlockingIOError):
            raise
        return None
    return handle


def _make_file(path: Path) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))


def _delete_file(path: Path) -> None:
    path.unlink(missing_ok=True)


def _delete_folder(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
