"""Results as plain values and back: a field of a result is an entry of `results/NAME.json`."""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import typing
from dataclasses import dataclass
from typing import Any, Final, Self, TypeVar

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
_Built = TypeVar("_Built")
Metadata = typing.Mapping[str, Any]


NOT_WRITTEN: Final[Metadata] = {"written": False}  # of a field, as one that depends on the clock


def written(
    *, decimals: int | None = None, digits: int | None = None, none: float = math.nan
) -> Metadata:
    """Metadata of a field that is rounded where it is written, or that may be without a number.

    Args:
        decimals: numbers are written to so many places behind the point.
        digits: numbers are written to so many significant digits.
        none: the number that is written as null, and read back from it: `nan` or `inf`.
    """
    return {"decimals": decimals, "digits": digits, "none": none}


@dataclass(frozen=True)
class SavedResult:
    """What an experiment found: all fields but `settings` are what its file holds.

    A subclass has a field `settings` of its own.
    """

    def derived(self) -> dict[str, Any]:
        """What follows from the fields and is written for the reader of the file."""
        return {}

    def to_json(self) -> dict[str, Any]:
        """Plain values, the same for the same seed; nothing that depends on the clock."""
        own = plain(self)
        own.pop("settings")
        return {**plain_values(self.derived(), {}), **own}

    @classmethod
    def from_json(cls, values: dict[str, Any], settings: Any, seed: int = 0) -> Self:
        """The result that `to_json` wrote; what a file does not hold is missing.

        Args:
            values: what `to_json` gave.
            settings: what the experiment was run with.
            seed: likewise.
        """
        return built(cls, values, settings=settings)


def plain(value: Any) -> dict[str, Any]:
    """The fields of a dataclass as plain values, without those that are not written.

    Example:
        >>> @dataclass
        ... class Trial:
        ...     kl: float = dataclasses.field(metadata=written(none=math.inf))
        ...     curve: np.ndarray = dataclasses.field(metadata=written(decimals=1))
        ...     seconds: float = dataclasses.field(metadata=NOT_WRITTEN)
        >>> plain(Trial(math.inf, np.array([0.25, 1.0]), 3.0))
        {'kl': None, 'curve': [0.2, 1.0]}
    """
    return {
        part.name: plain_values(getattr(value, part.name), part.metadata)
        for part in dataclasses.fields(value)
        if part.metadata.get("written", True)
    }


def plain_values(value: Any, how: Metadata) -> Any:
    """Any value of a result as JSON takes it.

    Args:
        value: numbers, words, arrays, dataclasses, and lists and dicts of them.
        how: metadata of its field; see `written`.
    """
    if dataclasses.is_dataclass(value):
        return plain(value)
    if isinstance(value, dict):
        return {name: plain_values(one, how) for name, one in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        decimals = how.get("decimals")
        rounded = value if decimals is None else np.round(value, decimals)  # in its own precision
        return plain_values(rounded.tolist(), {**how, "decimals": None})
    if isinstance(value, tuple | list):
        return [plain_values(one, how) for one in value]
    if not isinstance(value, float):
        return value
    if not math.isfinite(value):
        return None
    if how.get("digits"):
        return float(f"{value:.{how['digits']}g}")
    return value if how.get("decimals") is None else float(np.round(value, how["decimals"]))


def built(kind: type[_Built], values: dict[str, Any], **more: Any) -> _Built:
    """A dataclass from plain values, by the types of its fields.

    Args:
        kind: the dataclass.
        values: what `plain` gave; entries that are no fields are passed over.
        more: fields that are given as they are.

    Example:
        >>> from hunch.experiments.claims.checks import Check
        >>> built(Check, plain(Check("a", 1.0, "<=", 2.0))).holds
        True
    """
    types_of = _types(typing.cast(typing.Hashable, kind))
    read = {
        part.name: _read(types_of[part.name], values[part.name], part.metadata)
        for part in dataclasses.fields(kind)  # type: ignore[arg-type]
        if part.name in values and part.name not in more and part.metadata.get("written", True)
    }
    return kind(**read, **more)


@functools.cache
def _types(kind: typing.Hashable) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _read(kind: Any, value: Any, how: Metadata) -> Any:
    origin, of = typing.get_origin(kind), typing.get_args(kind)
    if value is None:
        return how.get("none", math.nan) if kind is float else None
    if origin in (types.UnionType, typing.Union):
        (kind,) = (one for one in of if one is not type(None))
        return _read(kind, value, how)
    if dataclasses.is_dataclass(kind):
        return built(typing.cast(type, kind), value)
    if origin is np.ndarray or kind is np.ndarray:
        return np.array(value, dtype=float)  # null becomes NaN
    if origin is tuple:
        return tuple(_read(of[0], one, how) for one in value)
    if origin is dict:
        return {name: _read(of[1], one, how) for name, one in value.items()}
    return value
