"""A folder written whole or not at all.

What hunch writes goes to a new folder beside the place and is renamed when complete, so a kill
leaves either the old folder or the new one. Each such folder holds `hunch.json`, a list of its
files with their checksums: a folder without it, or with files that are not as listed, is somebody
else's and is never replaced.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hunch.errors import FolderError

if TYPE_CHECKING:
    from torch import Tensor

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
            before the block runs, so no work is lost.

    Example:
        >>> import tempfile
        >>> place = Path(tempfile.mkdtemp()) / "out"
        >>> with new_folder(place, "demo") as folder:
        ...     _ = (folder / "page.html").write_text("<p>hello</p>")
        >>> sorted(p.name for p in place.iterdir())
        ['hunch.json', 'page.html']
    """
    target = Path(path).expanduser()
    target = target.resolve() if target.is_symlink() else target.absolute()
    check_replaceable(target, kind)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        aside.chmod(0o755)  # mkdtemp's own mode shuts everybody else out
    except OSError as error:
        raise FolderError(
            f"cannot write to {str(path)!r}: {error.strerror}; choose a folder you may write to."
        ) from error
    try:
        yield aside
        _write_manifest(aside, kind)
        check_replaceable(target, kind)  # somebody may have put files there meanwhile
        _swap(aside, target)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def check_replaceable(path: str | os.PathLike[str], kind: str) -> None:
    """Refuse a place whose content would be lost.

    Raises:
        FolderError: naming what is in the way.

    Example:
        >>> check_replaceable("a-folder-that-does-not-exist", "demo")
    """
    target = Path(path)
    try:
        if not target.exists():
            return
        if not target.is_dir():
            raise FolderError(f"{str(path)!r} is a file; expected a folder, or a new name.")
        names = {p.name for p in target.iterdir()}
    except OSError as error:
        if isinstance(error, FolderError):
            raise
        raise FolderError(f"cannot read {str(path)!r}: {error.strerror}.") from error
    if not names:
        return
    manifest = read_manifest(target)
    advice = "; choose another folder, or move these files away."
    if manifest is None or manifest.get("kind") != kind:
        raise FolderError(f"{str(path)!r} is not empty and hunch's {kind} did not write it{advice}")
    listed = manifest.get("files", {})
    for name in sorted(names - {MANIFEST}):
        file = target / name
        if name not in listed or not file.is_file():
            raise FolderError(f"{str(path)!r} holds {name!r}, which hunch did not write{advice}")
        if _checksum(file) != listed[name]:
            raise FolderError(f"{str(file)!r} was changed since hunch wrote it{advice}")


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """What `hunch.json` in the folder says, or None if there is none that can be read.

    Example:
        >>> read_manifest(Path("a-folder-that-does-not-exist")) is None
        True
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return manifest if isinstance(manifest, dict) else None


def write_json(path: Path, values: object) -> None:
    """Write plain values as JSON, the same bytes for the same values; NaN is refused.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.json"
        >>> write_json(path, {"b": 1, "a": [1.5]})
        >>> json.loads(path.read_text())
        {'b': 1, 'a': [1.5]}
    """
    path.write_text(dump_json(values), encoding="utf-8")


def dump_json(values: object) -> str:
    """Plain values as indented JSON text.

    Example:
        >>> print(dump_json({"a": 1}), end="")
        {
          "a": 1
        }
    """
    return json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _write_manifest(folder: Path, kind: str) -> None:
    files = {p.name: _checksum(p) for p in sorted(folder.iterdir())}
    write_json(folder / MANIFEST, {"written_by": "hunch", "kind": kind, "files": files})


def _checksum(file: Path) -> str:
    with file.open("rb") as content:
        return "sha256:" + hashlib.file_digest(content, "sha256").hexdigest()


def _swap(new: Path, target: Path) -> None:
    """Put `new` in the target's place; on failure the old folder comes back."""
    try:
        if not target.exists():
            new.rename(target)
            return
        old = Path(tempfile.mkdtemp(prefix=f".{target.name}.old.", dir=target.parent))
        target.rename(old / target.name)
        try:
            new.rename(target)
        except OSError:
            (old / target.name).rename(target)
            raise
        finally:
            shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise FolderError(f"cannot write to {str(target)!r}: {error.strerror}.") from error


def open_folder(path: str | os.PathLike[str], kind: str) -> Path:
    """A folder that hunch wrote, once every file in it is seen to be as it was written.

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
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise FolderError(f"there is no folder {str(path)!r}; expected one that hunch wrote.")
    manifest = read_manifest(folder)
    if manifest is None or manifest.get("written_by") != "hunch":
        raise FolderError(
            f"{str(path)!r} has no readable {MANIFEST}, so hunch did not write it or it is "
            f"damaged; expected a folder of kind {kind!r}."
        )
    if manifest.get("kind") != kind:
        raise FolderError(
            f"{str(path)!r} is a folder of kind {manifest.get('kind')!r}; expected {kind!r}."
        )
    for name, checksum in manifest.get("files", {}).items():
        file = folder / name
        if not file.is_file():
            raise FolderError(f"{str(file)!r} is missing; the folder is damaged, use another one.")
        if _checksum(file) != checksum:
            raise FolderError(
                f"{str(file)!r} is not as hunch wrote it (truncated or changed); use another one."
            )
    return folder


def read_json(path: Path) -> Any:
    """Read what `write_json` wrote; see `open_folder` for an example.

    Raises:
        FolderError: if the file cannot be read.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FolderError(f"{str(path)!r} cannot be read as JSON: {error}.") from error


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors by name as a safetensors file.

    Example:
        >>> import tempfile, torch
        >>> path = Path(tempfile.mkdtemp()) / "a.safetensors"
        >>> write_tensors(path, {"a": torch.ones(2)})
        >>> read_tensors(path)
        {'a': tensor([1., 1.])}
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    taken: set[int] = set()
    try:
        save_file({name: _alone(tensor, taken) for name, tensor in tensors.items()}, path)
    except SafetensorError as error:  # what it makes of a full disk
        raise FolderError(f"cannot write {path.name!r}: {error}.") from error


def _alone(tensor: Tensor, taken: set[int]) -> Tensor:
    """The tensor in memory of its own, as safetensors wants it; `taken` is what others have."""
    # A conjugate or a negative may be a mark on the memory of another tensor, which is not written.
    own = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
    memory = own.untyped_storage()
    if memory.nbytes() != own.numel() * own.itemsize or memory.data_ptr() in taken:
        own = own.clone()
    taken.add(own.untyped_storage().data_ptr())
    return own


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read what `write_tensors` wrote; see there for an example.

    Raises:
        FolderError: if the file cannot be read.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise FolderError(f"{str(path)!r} cannot be read as safetensors: {error}.") from error


def versions() -> dict[str, str]:
    """The versions that a result may depend on.

    Example:
        >>> sorted(versions())
        ['gymnasium', 'hunch', 'numpy', 'python', 'torch']
    """
    import platform
    from importlib import metadata

    packages = {"hunch": "torch-hunch", "torch": "torch", "numpy": "numpy"}
    packages["gymnasium"] = "gymnasium"
    found = {"python": platform.python_version()}
    for name, package in packages.items():
        try:
            found[name] = metadata.version(package)
        except metadata.PackageNotFoundError:  # a source tree that nobody installed
            found[name] = "unknown"
    return found


def write_text(place: Path, content: str) -> None:
    """Write a text file whole or not at all; its folder is made if it is not there.

    Raises:
        FolderError: if it cannot be written.

    Example:
        >>> import tempfile
        >>> place = Path(tempfile.mkdtemp()) / "below" / "note.md"
        >>> write_text(place, "a note")
        >>> place.read_text()
        'a note'
    """
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        aside = place.with_name(f".{place.name}.{os.getpid()}")
        aside.write_text(content, encoding="utf-8")
        aside.replace(place)
    except OSError as error:
        raise FolderError(f"cannot write {str(place)!r}: {error.strerror}.") from error
