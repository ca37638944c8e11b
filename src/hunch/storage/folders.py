"""A folder written whole or not at all, with `hunch.json`, a sealed list of its files' checksums.

A folder without that list, or with files that are not as listed, is somebody else's: it is never
replaced, and never read.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

from hunch.errors import FolderError, HunchError
from hunch.storage.asides import aside_folder, sweep
from hunch.storage.formats import checksum, read_json, sealed, unsealed, write_json
from hunch.storage.places import expanded, folder_place
from hunch.storage.replacing import flush, recovered, replace_folder

MANIFEST: Final = "hunch.json"


@contextmanager
def new_folder(path: str | os.PathLike[str], kind: str) -> Iterator[Path]:
    """A folder to fill, which takes the name `path` when the block ends without an error.

    Args:
        path: where the folder shall be. It may not exist yet, be empty, or be one of this kind that
            hunch wrote and nobody changed, which is then replaced.
        kind: what is written, such as `"demo"`.

    Yields:
        The folder to write into.

    Raises:
        FolderError: if `path` cannot be written or holds anything of somebody else's. It is raised
            before the block runs, so no work is lost; after it, if the disk is full.

    Example:
        >>> import tempfile
        >>> place = Path(tempfile.mkdtemp()) / "out"
        >>> with new_folder(place, "demo") as folder:
        ...     _ = (folder / "page.html").write_text("<p>hello</p>")
        >>> sorted(p.name for p in place.iterdir())
        ['hunch.json', 'page.html']
    """
    with _making(path, partial(check_replaceable, path, kind), replace_folder) as aside:
        yield aside
        _write_manifest(aside, kind)


@contextmanager
def first_folder(path: str | os.PathLike[str], check: Callable[[], None]) -> Iterator[Path]:
    """A folder to fill, which takes the name `path` if there is nothing but an empty folder.

    Args:
        path: where the folder shall be.
        check: refuses what is there.

    Raises:
        FolderError: as `check` does, or if `path` cannot be written.

    Example:
        >>> import tempfile
        >>> place = Path(tempfile.mkdtemp()) / "run"
        >>> with first_folder(place, lambda: None) as folder:
        ...     write_json(folder / "run.json", 1)
        >>> read_json(place / "run.json")
        1
    """
    with _making(path, check, _take_the_name) as aside:
        yield aside


@contextmanager
def _making(
    path: str | os.PathLike[str],
    check: Callable[[], None],
    put: Callable[[Path, Path], None],
) -> Iterator[Path]:
    target = folder_place(path)
    try:
        sweep(target.parent)
        check()
        target.parent.mkdir(parents=True, exist_ok=True)
        with aside_folder(target) as aside:
            yield aside
            for file in aside.iterdir():
                flush(file)
            flush(aside)
            check()  # somebody may have put files there meanwhile
            put(aside, target)
            flush(target.parent)
    except OSError as error:
        if isinstance(error, HunchError | BrokenPipeError):
            raise
        raise FolderError(
            f"cannot write to {str(path)!r}: {error.strerror or error}; choose a folder you may "
            "write to, on a disk with room."
        ) from error


def _take_the_name(new: Path, target: Path) -> None:
    if os.name == "nt" and target.exists():
        target.rmdir()  # empty, as was seen; elsewhere a folder takes an empty one's place
    os.rename(new, target)


def check_replaceable(path: str | os.PathLike[str], kind: str) -> None:
    """Refuse a place whose content would be lost.

    Raises:
        FolderError: naming what is in the way.

    Example:
        >>> check_replaceable("a-folder-that-does-not-exist", "demo")
    """
    target = folder_place(path)
    try:
        if not target.exists():
            return
        names = {p.name for p in target.iterdir()}
    except OSError as error:
        raise FolderError(f"cannot read {str(path)!r}: {error.strerror}.") from error
    if not names:
        return
    advice = "; choose another folder, or move these files away."
    manifest = read_manifest(target)
    if manifest is None or manifest["kind"] != kind:
        raise FolderError(f"{str(path)!r} is not empty and hunch's {kind} did not write it{advice}")
    for name in sorted(names - {MANIFEST}):
        file = target / name
        if name not in manifest["files"] or file.is_symlink() or not file.is_file():
            raise FolderError(f"{str(path)!r} holds {name!r}, which hunch did not write{advice}")
        if _checksum(file) != manifest["files"][name]:
            raise FolderError(f"{str(file)!r} was changed since hunch wrote it{advice}")


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """What `hunch.json` in the folder says: `written_by`, `kind` and `files`; None without one.

    One that is damaged counts as none.

    Raises:
        FolderError: if it may not be read, which is no damage.

    Example:
        >>> read_manifest(Path("a-folder-that-does-not-exist")) is None
        True
    """
    place = folder / MANIFEST
    try:
        found = unsealed(read_json(place), place)
    except FolderError as error:
        if is_of_the_system(error):
            raise
        return None
    whole = found.keys() == {"written_by", "kind", "files"} and found["written_by"] == "hunch"
    return found if whole and isinstance(found["files"], dict) else None


def is_of_the_system(error: FolderError) -> bool:
    """Whether the disk, or a right that is missing, was in the way of reading, and not damage.

    Example:
        >>> is_of_the_system(FolderError("truncated"))
        False
    """
    cause = error.__cause__
    return isinstance(cause, OSError) and not isinstance(cause, FileNotFoundError)


def existing_folder(path: str | os.PathLike[str]) -> Path:
    """Where a folder is, seen without a look into it; one that a kill left beside it is put back.

    Args:
        path: its name as the user gave it.

    Raises:
        FolderError: if there is none.

    Example:
        >>> existing_folder("a-folder-that-does-not-exist")
        Traceback (most recent call last):
        hunch.errors.FolderError: there is no folder 'a-folder-that-does-not-exist'; expected one...
    """
    folder = recovered(expanded(path))
    if folder.is_file():
        raise FolderError(f"{str(path)!r} is a file; expected a folder that hunch wrote.")
    if not folder.is_dir():
        raise FolderError(f"there is no folder {str(path)!r}; expected one that hunch wrote.")
    return folder


def open_folder(path: str | os.PathLike[str], kind: str) -> Path:
    """A folder that hunch wrote, once every file in it is seen to be as it was written.

    One that a kill left beside its place, while it was being replaced, is put back.

    Args:
        path: the folder.
        kind: what must be in it, as given to `new_folder`.

    Raises:
        FolderError: if there is none, it holds something else, or a file is missing or changed.

    Example:
        >>> import tempfile
        >>> place = Path(tempfile.mkdtemp()) / "out"
        >>> with new_folder(place, "demo") as folder:
        ...     write_json(folder / "a.json", 1)
        >>> read_json(open_folder(place, "demo") / "a.json")
        1
    """
    folder = existing_folder(path)
    manifest = read_manifest(folder)
    if manifest is None:
        raise FolderError(
            f"{str(path)!r} has no readable {MANIFEST}, so hunch did not write it or it is "
            f"damaged; expected a folder of kind {kind!r}."
        )
    if manifest["kind"] != kind:
        raise FolderError(
            f"{str(path)!r} is a folder of kind {manifest['kind']!r}; expected {kind!r}."
        )
    for name, listed in manifest["files"].items():
        file = folder / name
        if Path(name).name != name or not file.is_file():
            raise FolderError(f"{str(file)!r} is missing; the folder is damaged, use another one.")
        if _checksum(file) != listed:
            raise FolderError(
                f"{str(file)!r} is not as hunch wrote it (truncated or changed); use another one."
            )
    return folder


def _write_manifest(folder: Path, kind: str) -> None:
    files = {p.name: _checksum(p) for p in sorted(folder.iterdir())}
    listed = {"written_by": "hunch", "kind": kind, "files": files}
    write_json(folder / MANIFEST, sealed(listed))


def _checksum(file: Path) -> str:
    try:
        return checksum(file)
    except OSError as error:
        raise FolderError(f"cannot read {str(file)!r}: {error.strerror}.") from error
