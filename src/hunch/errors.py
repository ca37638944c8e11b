"""Every exception the library raises, and its one warning, on one screen.

Each one inherits from `HunchError` and from the built-in a caller would expect, so both
`except HunchError` and `except ValueError` work. Messages name the argument, what it was, what was
expected and what to do.
"""

from __future__ import annotations

import sys
import warnings


class HunchError(Exception):
    """Base of everything hunch raises on purpose."""


class ConfigurationError(HunchError, ValueError):
    """An argument has a value that cannot work."""


class ShapeError(HunchError, ValueError):
    """A tensor has the wrong shape."""


class DataError(HunchError, ValueError):
    """Data hold values that cannot be used, such as NaN, or nothing at all."""


class FolderError(HunchError, OSError):
    """A folder cannot be written, or holds files that hunch did not write."""


class MissingDependencyError(HunchError, ImportError):
    """An optional package is not installed."""


class HunchWarning(UserWarning):
    """A use that works and is very likely a mistake; said once for each line that does it."""


def warn_user(message: str) -> None:
    """Say a `HunchWarning` of the first line outside of the library, which is the user's.

    Example:
        >>> with warnings.catch_warnings(record=True) as said:
        ...     warnings.simplefilter("always")
        ...     warn_user("this is very likely a mistake")
        >>> said[0].category.__name__, str(said[0].message)
        ('HunchWarning', 'this is very likely a mistake')
    """
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and _ours(str(frame.f_globals.get("__name__"))):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, HunchWarning, stacklevel=level)


def _ours(module: str) -> bool:
    # torch stands between two lines of ours where a function runs without gradients.
    return module.partition(".")[0] in ("hunch", "torch")


def sentence(error: Exception) -> str:
    """The first line of what an error says, with a full stop.

    Example:
        >>> sentence(ValueError("no such thing")), sentence(KeyError())
        ('no such thing.', 'KeyError.')
    """
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return text if text.endswith((".", "?", "!")) else text + "."


def kind_and_sentence(error: Exception) -> str:
    """The same with the error's kind in front, as Python shows it.

    Example:
        >>> kind_and_sentence(OSError("no display")), kind_and_sentence(NotImplementedError())
        ('OSError: no display.', 'NotImplementedError.')
    """
    text, kind = sentence(error), type(error).__name__
    return text if text == f"{kind}." else f"{kind}: {text}"
