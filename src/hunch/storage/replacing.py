"""A folder put in another one's place, without a moment in which there is none.

Linux and macOS exchange two names in one step. Where that cannot be, the old folder steps aside
under a name from which it is recovered, if a kill comes before the new one has taken its place.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import shutil
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Final

_OLD: Final = re.compile(r"\.(.+)\.hunch-old", re.DOTALL)
_AT_FDCWD: Final = -100  # of Linux: names are relative to the working folder
_RENAME_EXCHANGE, _RENAME_SWAP = 2, 2  # of Linux and of macOS
# What a kernel or a file system says that has no such call.
_CANNOT: Final = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EPERM)


def replace_folder(new: Path, target: Path) -> None:
    """Put `new` in the place of `target`; what was there is at `new` afterwards, or gone.

    Example:
        >>> import tempfile
        >>> new, target = Path(tempfile.mkdtemp()), Path(tempfile.mkdtemp())
        >>> (new / "a").touch()
        >>> replace_folder(new, target)
        >>> (target / "a").exists()
        True
    """
    if not target.exists():
        os.rename(new, target)
    elif not exchange(new, target):
        _step_by_step(new, target)


def exchange(a: Path, b: Path) -> bool:
    """Let two names change places in one step; False where the system or the disk cannot."""
    call = _exchange_call()
    if call is None:
        return False
    if call(os.fsencode(a), os.fsencode(b)) == 0:
        return True
    code = ctypes.get_errno()
    if code in _CANNOT:
        return False
    raise OSError(code, os.strerror(code), str(b))


@cache
def _exchange_call() -> Callable[[bytes, bytes], int] | None:
    if sys.platform not in ("linux", "darwin"):
        return None
    system = ctypes.CDLL(None, use_errno=True)
    try:
        if sys.platform == "darwin":
            swap = system.renamex_np
            return lambda a, b: int(swap(a, b, ctypes.c_uint(_RENAME_SWAP)))
        rename = system.renameat2
    except AttributeError:  # a C library that is older, or another one
        return None
    return lambda a, b: int(rename(_AT_FDCWD, a, _AT_FDCWD, b, ctypes.c_uint(_RENAME_EXCHANGE)))


def _step_by_step(new: Path, target: Path) -> None:
    old = _old_of(target)
    shutil.rmtree(old, ignore_errors=True)
    os.rename(target, old)
    try:
        os.rename(new, target)
    except OSError:
        os.rename(old, target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def recovered(target: Path) -> Path:
    """Where a folder is: at its place, to which it is brought back if a kill left it beside it.

    Example:
        >>> recovered(Path("a-folder-that-does-not-exist"))
        PosixPath('a-folder-that-does-not-exist')
    """
    old = _old_of(target)
    if os.path.lexists(target) or not old.is_dir():
        return target
    try:
        os.rename(old, target)
    except OSError:  # a disk that is not to be written to; it can be read as it is
        return old
    return target


def recover_all(folder: Path) -> None:
    """Bring back every folder that a kill left beside its place, and delete what was replaced."""
    try:
        found = [_OLD.fullmatch(name) for name in os.listdir(folder)]
    except OSError:
        return
    for match in filter(None, found):
        if os.path.lexists(folder / match[1]):
            shutil.rmtree(folder / match[0], ignore_errors=True)
        else:
            recovered(folder / match[1])


def _old_of(target: Path) -> Path:
    return target.with_name(f".{target.name}.hunch-old")


def flush(path: Path) -> None:
    """Have a file, or the names in a folder, written to the disk itself.

    Example:
        >>> import tempfile
        >>> flush(Path(tempfile.mkdtemp()))
    """
    if os.name == "nt" and path.is_dir():  # which cannot be opened there
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _CANNOT:  # as some network disks have it of folders
            raise
    finally:
        os.close(handle)
