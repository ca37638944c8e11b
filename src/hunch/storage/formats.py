"""JSON and safetensors, and how to see that they are as they were written."""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hunch.errors import FolderError, HunchError

if TYPE_CHECKING:
    from torch import Tensor

FORMAT: Final = 2  # 1 had no seals, and did not say its number
_WRONG: Final = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError)


@contextmanager
def as_written(place: Path, remedy: str = "put back a copy if there is one") -> Iterator[None]:
    """Within this block, values of a wrong type or size are one sentence about `place`.

    A checksum says that nothing was damaged; who writes a file of his own writes its checksum too.

    Raises:
        FolderError: instead of what such values raise.

    Example:
        >>> with as_written(Path("run.json")):  # doctest: +IGNORE_EXCEPTION_DETAIL
        ...     {}["steps"]
        Traceback (most recent call last):
        hunch.errors.FolderError: 'run.json' is not as hunch writes it (KeyError: 'steps'); …
    """
    try:
        yield
    except HunchError:
        raise
    except (*_WRONG, RuntimeError, MemoryError) as error:
        said = " ".join(str(error).split())[:200]
        raise FolderError(
            f"{str(place)!r} is not as hunch writes it ({type(error).__name__}: {said}); {remedy}."
        ) from error


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
    r"""Plain values as indented JSON text.

    Names of files that are not UTF-8 are read back as they were: Python holds such a byte as half
    of a pair, which cannot be encoded, but which JSON can write as an escape.

    Example:
        >>> print(dump_json({"a": 1}), end="")
        {
          "a": 1
        }
        >>> json.loads(dump_json("caf\udce9")) == "caf\udce9"
        True
    """
    text = json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "backslashreplace").decode() + "\n"


def read_json(path: Path) -> Any:
    """Read what `write_json` wrote; see `open_folder` for an example.

    Raises:
        FolderError: if the file cannot be read.
    """
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for
            raise FolderError(f"{str(path)!r} cannot be read as JSON: it is no ordinary file.")
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, FolderError):
            raise
        raise FolderError(f"{str(path)!r} cannot be read as JSON: {error}.") from error


def sealed(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values, with a number of their format before them and a checksum behind.

    Example:
        >>> list(sealed({"steps": 3}))
        ['format', 'steps', 'seal']
        >>> unsealed(json.loads(json.dumps(sealed({"steps": 3}))), Path("run.json"))
        {'steps': 3}
    """
    whole = {"format": FORMAT, **values}
    return {**whole, "seal": _seal(whole)}


def unsealed(found: Any, place: Path) -> dict[str, Any]:
    """The values that were sealed, once they are seen to be those.

    What an older hunch wrote has neither number nor checksum, and is taken as it is; one of the two
    alone is damage.

    Args:
        found: what JSON says.
        place: the file, for messages.

    Raises:
        FolderError: if they are not, or a newer hunch sealed them.
    """
    if not isinstance(found, dict):
        raise FolderError(f"{str(place)!r} was not written by hunch.")
    if "format" not in found and "seal" not in found:
        return found
    whole = {name: value for name, value in found.items() if name != "seal"}
    number = found.get("format")
    with as_written(place):
        matches = found.get("seal") == _seal(whole)
    if matches and isinstance(number, int) and number > FORMAT:
        raise FolderError(
            f"{str(place)!r} is of format {number}, and this hunch reads up to {FORMAT}; bring it "
            "up to date with: pip install --upgrade torch-hunch"
        )
    if not matches or number != FORMAT:
        raise FolderError(
            f"{str(place)!r} is not as hunch wrote it (damaged or changed); put back a copy of it "
            "if there is one."
        )
    del whole["format"]
    return whole


def _seal(values: object) -> str:
    # Read back before it is hashed: a key that is a number is text in JSON.
    plain = json.loads(json.dumps(values, allow_nan=False))
    return _digest(json.dumps(plain, allow_nan=False).encode())


def _digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def checksum(file: Path) -> str:
    """What `hunch.json` holds of a file.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "a.txt"
        >>> _ = file.write_text("hello")
        >>> checksum(file)[:15]
        'sha256:2cf24dba'
    """
    with file.open("rb") as content:
        return "sha256:" + hashlib.file_digest(content, "sha256").hexdigest()


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
    path.touch()
    mode = stat.S_IMODE(path.stat().st_mode)  # what the umask leaves; safetensors' own is 0600
    try:
        save_file(
            {name: _in_memory_of_its_own(tensor, taken) for name, tensor in tensors.items()}, path
        )
        path.chmod(mode)
    except SafetensorError as error:  # what it makes of a full disk
        raise FolderError(f"cannot write {path.name!r}: {error}.") from error


def _in_memory_of_its_own(tensor: Tensor, taken: set[int]) -> Tensor:
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
    from safetensors.torch import load, load_file

    try:
        if str(path).isprintable():
            return load_file(path)
        return load(path.read_bytes())  # a name that is not UTF-8 is none to safetensors
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
