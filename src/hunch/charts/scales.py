"""Where a value lies on an axis, and which values are written beside it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Format = Callable[[float], str]

_STEPS: Final = (1.0, 2.0, 2.5, 5.0, 10.0)
_MOST: Final = 6  # values beside an axis
_LENGTH: Final = 4.5  # digits of the usual number, for how many fit


@dataclass(frozen=True)
class Scale:
    """Values to places: `low` is drawn at `start`, `high` at `end`.

    Example:
        >>> Scale(0.0, 10.0, 100.0, 200.0)(np.array([0.0, 5.0])).tolist()
        [100.0, 150.0]
        >>> Scale(1.0, 100.0, 0.0, 20.0, log=True)(np.array([10.0])).tolist()
        [10.0]
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, values: npt.ArrayLike) -> Array:
        """The places of values."""
        found = np.asarray(values, np.float64)
        low, high = self.low, self.high
        if self.log:
            found, low, high = np.log(found), math.log(low), math.log(high)
        placed: Array = self.start + (found - low) / (high - low) * (self.end - self.start)
        return placed


def plain_number(value: float) -> str:
    """A number on an axis, at most four digits that count.

    Example:
        >>> plain_number(0.123456), plain_number(123456.7), plain_number(-0.0), plain_number(2.5e9)
        ('0.1235', '123,457', '0', '2.5e9')
    """
    if value == 0:
        return "0"
    if 1e-4 <= abs(value) < 1e9:
        return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"
    return f"{value:.4g}".replace("e+", "e").replace("e0", "e").replace("e-0", "e-")


def limits_of(
    values: Sequence[Array], log: bool, *, firm_at_zero: bool, share: float = 0.05
) -> tuple[float, float]:
    """The ends of an axis that holds all values, with a margin.

    Args:
        values: of all that is drawn; what is not finite does not count.
        log: whether the axis is logarithmic, on which only what is above 0 has a place.
        firm_at_zero: whether an axis that begins or ends at 0 has no margin there.
        share: of the span, the margin.

    Example:
        >>> limits_of([np.array([0.0, 10.0])], False, firm_at_zero=True)
        (0.0, 10.5)
    """
    found = np.concatenate([np.ravel(v) for v in values]) if values else np.zeros(0)
    found = found[np.isfinite(found) & ((found > 0) | (not log))]
    if not len(found):
        return (1.0, 10.0) if log else (0.0, 1.0)
    low, high = float(found.min()), float(found.max())
    if log:
        margin = (high / low) ** share if high > low else 2.0
        return low / margin, high * margin
    # Of a single value, or of values that differ by rounding alone, a span is made.
    margin = (high - low) * share
    if margin <= 1e-12 * max(abs(low), abs(high)):
        margin = 0.5 * abs(low) or 0.5
    return (
        low if firm_at_zero and low == 0 else low - margin,
        high if firm_at_zero and high == 0 else high + margin,
    )


def ticks(low: float, high: float, most: int, *, log: bool = False) -> list[float]:
    """Round values between two ends, at most so many and one more.

    Example:
        >>> ticks(0.0, 10.5, 5), ticks(0.3, 250.0, 5, log=True)
        ([0.0, 2.5, 5.0, 7.5, 10.0], [1.0, 10.0, 100.0])
    """
    if log:
        return _powers(low, high, most)
    raw = (high - low) / max(1, most)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(s * power for s in _STEPS if s * power >= raw * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    # Products of decimals end in digits of rounding, which the step does not have.
    return [float(f"{i * step:.12g}") for i in range(first, last + 1)]


def _powers(low: float, high: float, most: int) -> list[float]:
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    if last - first >= 1:
        apart = -(-(last - first) // max(1, most - 1))
        return [10.0**k for k in range(first, last + 1, apart)]
    between = [s * 10.0**k for k in range(first - 1, last + 1) for s in (1, 2, 5)]
    inside = [v for v in between if low <= v <= high]
    return inside if len(inside) > 1 else ticks(low, high, most)


def fitting_ticks(
    low: float, high: float, room: float, letter: float, show: Format, *, log: bool = False
) -> list[float]:
    """Round values whose text, side by side, has room.

    Args:
        low: one end.
        high: the other.
        room: for all of them.
        letter: how wide a letter is.
        show: makes text of a value.
        log: whether the axis is logarithmic.

    Example:
        >>> fitting_ticks(0.0, 9e5, 200.0, 7.0, "{:,.0f}".format)
        [0.0, 500000.0]
    """
    found: list[float] = []
    for most in range(_MOST, 0, -1):
        found = ticks(low, high, most, log=log)
        if sum(len(show(v)) + 2 for v in found) * letter <= room:
            break
    return found
