"""Whether code that is named now is the code that a run was trained in.

A folder says by which word it was named then: `parking.py:make_env`, from wherever that was typed.
The same may be named in other words, from another folder, or as a module; and the file may have
changed since.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from hunch.storage import checksum, expanded

# Ids such as module:Name-v0 are none: Gymnasium makes what they name.
_WORD: Final = re.compile(r"(.*?\.py|[^:(]+):([A-Za-z_][\w.]*)(\(.*\))?", re.DOTALL)


def code_of(words: Iterable[str]) -> dict[str, str]:
    """The checksums of the files in which words name code that is imported by now.

    Example:
        >>> code_of(["CartPole-v1", "TimeLimit(200)"])
        {}
    """
    files = {word: _file(_parts(word)[0]) for word in words}
    return {word: checksum(file) for word, file in files.items() if file is not None}


def changed_code(code: Mapping[str, object], said: Sequence[str], used: Sequence[str]) -> list[str]:
    """The files that are no longer as `code_of` found them.

    Args:
        code: what it found; empty of a folder that is older.
        said: the words of then.
        used: the words of now, in the same order.
    """
    now = code_of(used)
    pairs = zip(said, used, strict=True)
    files = [_parts(new)[0] for old, new in pairs if old in code and now.get(new) != code[old]]
    return list(dict.fromkeys(files))


def same_code(
    said: str, typed: str, folder: str | os.PathLike[str], code: Mapping[str, object]
) -> bool:
    """Whether two words name the same function or class, as far as can be told without running it.

    The name has to be the same, and the file's or module's own name; not so two files that are both
    there and differ.

    Args:
        said: the word in a run's folder.
        typed: the word on the command line.
        folder: the run's.
        code: what `code_of` found when it was begun; empty of a folder that is older.

    Example:
        >>> same_code("lake.py:make_env", "envs/lake.py:make_env", "runs/a", {})
        True
        >>> same_code("lake.py:make_env", "lake:make_env", "runs/a", {})
        True
        >>> same_code("lake.py:make_env", "lake.py:Lake", "runs/a", {})
        False
    """
    if said == typed:
        return True
    (place, *then), (new_place, *now) = _parts(said), _parts(typed)
    if not place or not new_place or then != now or _own_name(place) != _own_name(new_place):
        return False
    file = _file(new_place)
    if file is None or checksum(file) == code.get(said):
        return True
    known = [path for path in (_file(place), _above(place, folder)) if path is not None]
    return not known or any(
        os.path.samefile(path, file) or checksum(path) == checksum(file) for path in known
    )


def from_here(said: str, folder: str | os.PathLike[str]) -> str:
    """A word of a run's folder as it is typed here: its file is looked for above the folder too.

    Example:
        >>> from_here("no_such_file.py:make_env", "runs/a")
        'no_such_file.py:make_env'
    """
    place, name, rest = _parts(said)
    found = None if _file(place) else _above(place, folder)
    if found is None:
        return said
    relative = os.path.relpath(found)
    return f"{found if relative.startswith('..') else relative}:{name}{rest}"


def _above(place: str, folder: str | os.PathLike[str]) -> Path | None:
    """The file in a folder above the run's, below which most runs are made."""
    if not place.endswith(".py") or Path(place).is_absolute():
        return None
    return next((p / place for p in expanded(folder).parents if (p / place).is_file()), None)


def _parts(word: str) -> tuple[str, str, str]:
    """File or module, the name in it, and the arguments behind; nothing of what is no such code."""
    match = _WORD.fullmatch(word)
    if match is None:
        return "", "", ""
    place, name, arguments = match.groups()
    return place, name, "".join((arguments or "").split())


def _own_name(place: str) -> str:
    if not place.endswith(".py"):
        return place.rpartition(".")[2]
    path = expanded(place)
    return path.parent.name if path.stem == "__init__" else path.stem


def _file(place: str) -> Path | None:
    """The file of a place, without anything being imported; None if it is not found so."""
    if place.endswith(".py"):
        path = expanded(place)
        return path if path.is_file() else None
    if place in sys.modules:
        origin = getattr(sys.modules[place], "__file__", None)
    elif not place or "." in place:  # to find it would import its package
        return None
    else:
        try:
            spec = importlib.util.find_spec(place)
        except (ImportError, ValueError, AttributeError):
            return None
        origin = spec.origin if spec else None
    return Path(origin) if origin and Path(origin).is_file() else None
