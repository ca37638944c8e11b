"""Code that a user names by a word: `file.py:function` or `package.module:function`.

Only for words that somebody typed: what a folder says is no reason to run code.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import os
import sys
from pathlib import Path
from traceback import extract_tb
from types import ModuleType
from typing import Any, Final

from hunch.errors import ConfigurationError, kind_and_sentence

_OURS: Final = f"{Path(__file__).parent}{os.sep}"


def named(reference: str, what: str = "a function or a class") -> Any:
    """What a word names.

    Args:
        reference: `file.py:name` or `package.module:name`; a name may have dots.
        what: what is expected there, for the message.

    Raises:
        ConfigurationError: if there is no such file, module or name, or it fails as it is imported.

    Example:
        >>> named("fractions:Fraction.from_float").__name__
        'from_float'
    """
    place, _, name = reference.rpartition(":")
    found: Any = module_named(place)
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise ConfigurationError(
                f"{place!r} has no {name!r}; expected {what}{_nearest(part, found)}."
            ) from None
    return found


def _nearest(name: str, holder: Any) -> str:
    own = [n for n, value in vars(holder).items() if callable(value) and not n.startswith("_")]
    close = difflib.get_close_matches(name, own, n=1, cutoff=0.5)
    return f"; the nearest name is {close[0]!r}" if close else ""


def module_named(place: str) -> ModuleType:
    """The module of a name, or of a file whose name ends with `.py`.

    A file is run anew at each call, with the files beside it within its reach.

    Raises:
        ConfigurationError: if there is none, or it fails; where, if that is in code of the user's.

    Example:
        >>> module_named("fractions").__name__
        'fractions'
    """
    if place.endswith(".py"):
        return _of_file(place)
    if place.startswith("."):
        raise ConfigurationError(f"{place!r} is relative; write the module's full name.")
    try:
        return importlib.import_module(place or " ")  # an empty name is none that can be asked for
    except ModuleNotFoundError as error:
        if error.name is None or not f"{place}.".startswith(f"{error.name}."):
            raise _failed(place, error) from error  # it is there; what it imports is not
        raise ConfigurationError(
            f"there is no module {place!r} ({kind_and_sentence(error).rstrip('.')}): a module is "
            "found if it is installed or in the folder that hunch is started in; for a file write "
            "its name with .py and a colon."
        ) from None
    except Exception as error:  # whatever a foreign module raises
        raise _failed(place, error) from error


def _of_file(place: str) -> ModuleType:
    path = Path(place).expanduser().absolute()
    if not path.is_file():
        raise ConfigurationError(f"there is no file {place!r}.")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ConfigurationError(f"{place!r} cannot be imported as Python.")
    try:
        spec.loader.get_code(path.stem)  # type: ignore[attr-defined]
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ConfigurationError(f"{place!r} is no Python: {said_and_where(error)}.") from error
    module = importlib.util.module_from_spec(spec)
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))  # last, so that nothing stands in for what is installed
    known = sys.modules.get(path.stem)
    if known is None or getattr(known, "__file__", None) == str(path):
        sys.modules[path.stem] = module  # dataclasses look their module up there
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise _failed(place, error) from error
    except SystemExit as error:
        raise ConfigurationError(f"{place!r} ended the program as it was imported.") from error
    return module


def _failed(place: str, error: Exception) -> ConfigurationError:
    return ConfigurationError(f"{place!r} cannot be imported: {said_and_where(error)}.")


def said_and_where(error: BaseException) -> str:
    """The last line of an error's traceback, and the place in the user's own code, if it is there.

    Example:
        >>> said_and_where(ValueError("no such level"))
        'ValueError: no such level'
    """
    text, kind = " ".join(str(error).split()).rstrip("."), type(error).__name__
    if isinstance(error, SyntaxError):
        text = str(error.msg)
    where = place_of(error)
    said = f"{kind}: {text}" if text else kind
    return f"{said} (in {where})" if where else said


def place_of(error: BaseException) -> str | None:
    """File and line of the user's own code where an error arose; None if that was not in it.

    Example:
        >>> place_of(ValueError("never raised")) is None
        True
    """
    if isinstance(error, SyntaxError) and error.filename and is_a_users(error.filename):
        return f"{_short(error.filename)}, line {error.lineno}"
    frames = extract_tb(error.__traceback__)
    known = [f for f in frames if is_ours(f.filename) or is_a_users(f.filename)]
    if not known or is_ours(known[-1].filename):
        return None
    return f"{_short(known[-1].filename)}, line {known[-1].lineno}"


def own_code(function: object) -> bool:
    """Whether a function was written in a file of the user's.

    Example:
        >>> own_code(module_named), own_code(len)
        (False, False)
    """
    code = getattr(function, "__code__", None)
    return code is not None and is_a_users(code.co_filename)


def place_of_code(function: Any) -> str:
    """File and line of a function that is written in Python.

    Example:
        >>> place_of_code(module_named).rpartition(os.sep)[2].partition(",")[0]
        'named_code.py'
    """
    return f"{_short(function.__code__.co_filename)}, line {function.__code__.co_firstlineno}"


def _short(file: str) -> str:
    """A file's name as short as it can be from here."""
    try:
        return str(Path(file).relative_to(Path.cwd()))
    except (ValueError, OSError):
        return file


def is_ours(file: str) -> bool:
    """Whether a file is one of hunch's.

    Example:
        >>> is_ours(__file__), is_ours("lake.py")
        (True, False)
    """
    return file.startswith(_OURS)


def is_a_users(file: str) -> bool:
    """Whether a file is neither installed nor part of Python.

    Example:
        >>> is_a_users(os.__file__), is_a_users(os.path.abspath("lake.py"))
        (False, True)
    """
    from sysconfig import get_path

    # Compiled code and what is frozen in have names that are no paths.
    installed = tuple(get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib"))
    return os.path.isabs(file) and not file.startswith((*installed, _OURS))
