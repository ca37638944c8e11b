"""Every exception the library raises, and its one warning, on one screen.

Each one inherits from `HunchError` and from the built-in a caller would expect, so both
`except HunchError` and `except ValueError` work. Messages name the argument, what it was, what was
expected and what to do.
"""

from __future__ import annotations


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
