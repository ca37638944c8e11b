"""What the networks learn in place of the target, and where its values may lie.

Prices, counts and durations are skewed, and never below zero. Their logarithm is often the better
thing to learn; the data decide. Quantiles go through the inverse as they are, means do not: the
mean of a skewed quantity lies above its median, and is taken over the whole distribution.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hunch.errors import ConfigurationError, DataError
from hunch.sklearn.rows import Floats
from hunch.sklearn.state import Arrays

Support = tuple[float | None, float | None]

_ENOUGH_TO_TELL: Final = 40  # rows, all of whose targets are whole numbers
_LEVELS: Final = np.arange(1, 20) / 20  # at which two ways to see a target are compared
_SMALL: Final = 0.05  # the quantile of values above zero that is added before the logarithm
_WIDE: Final = 1_000.0  # largest over smallest value up to which nothing needs to be added


@dataclass(frozen=True)
class TargetForm(Arrays):
    """How each output is seen by the networks, and the ends of its support.

    Args:
        shift: what is added before the logarithm is taken, `(outputs,)`; NaN for no logarithm.
        top: up to where it is taken. Beyond, targets go on straight, since an exponential that is
            off by a little would be off by any amount.
        low: least value there can be; -inf for none.
        high: largest.
        whole: whether there are only whole numbers.

    Example:
        >>> ends = np.array([0.0]), np.array([np.inf]), np.array([True])
        >>> form = TargetForm(np.array([1.0]), np.array([7.0]), *ends)
        >>> form.inverse(torch.tensor([[-5.0], [0.0], [np.log(8.0) + 1]])).ravel()
        tensor([ 0.0000,  0.0000, 15.0000], dtype=torch.float64)
    """

    shift: Floats
    top: Floats
    low: Floats
    high: Floats
    whole: npt.NDArray[np.bool_]

    @classmethod
    def plain(cls, low: Floats, high: Floats, whole: npt.NDArray[np.bool_]) -> TargetForm:
        """Targets as they are, within these ends."""
        return cls(np.full(len(low), np.nan), np.full(len(low), np.inf), low, high, whole)

    @property
    def is_plain(self) -> bool:
        """Whether targets are learned as they are, and may be any number."""
        free = np.isinf(self.low).all() and np.isinf(self.high).all()
        return bool(np.isnan(self.shift).all() and free)

    def apply(self, y: Floats) -> Floats:
        """Targets `(rows, outputs)` as the networks see them."""
        seen = y.copy()
        for j in np.flatnonzero(~np.isnan(self.shift)):
            # A value below what was trained on, as `partial_fit` may meet, is taken for the least.
            above = np.maximum(y[:, j] + self.shift[j], np.finfo(np.float64).tiny)
            most = self.top[j] + self.shift[j]
            seen[:, j] = np.log(np.minimum(above, most)) + np.maximum(above - most, 0) / most
        return seen

    def inverse(self, seen: Tensor) -> Tensor:
        """Values `(..., outputs)` in units of y, between the ends of the support."""
        if self.is_plain:
            return seen.double()
        logged, shift, top = self._logarithms()
        most = top + shift
        below = torch.minimum(seen, most.log())
        bent = below.exp() - shift + most * (seen - below)
        values = torch.where(logged, bent, seen.double())
        low, high = torch.from_numpy(self.low), torch.from_numpy(self.high)
        return torch.minimum(torch.maximum(values, low), high)

    def possible(self, values: Tensor) -> Tensor:
        """The values `(..., outputs)` next to these that y may take."""
        if not self.whole.any():
            return values
        return torch.where(torch.from_numpy(self.whole), values.round(), values)

    def log_slope(self, y: Tensor) -> Tensor:
        """Logarithm of the derivative of what is seen by y, `(..., outputs)`."""
        logged, shift, top = self._logarithms()
        return torch.where(logged, -(torch.minimum(y, top) + shift).clamp_min(1e-300).log(), 0.0)

    def _logarithms(self) -> tuple[Tensor, Tensor, Tensor]:
        """Where they are taken, with numbers for those where not."""
        logged = ~np.isnan(self.shift)
        shift, top = np.where(logged, self.shift, 0.0), np.where(logged, self.top, 1.0)
        return torch.from_numpy(logged), torch.from_numpy(shift), torch.from_numpy(top)


def ends_of(y: Floats, support: str | Support | None) -> tuple[Floats, Floats]:
    """The ends of the support of each output, `(outputs,)`.

    `"auto"`: targets none of which is below zero have no values there, and those of which all are
    shares, from 0 to 1 and not all whole, none above 1. A pair names the ends, None for none.

    Raises:
        ConfigurationError: if the ends are none.
        DataError: if a target lies beyond them.

    Example:
        >>> ends_of(np.array([[0.0, 0.2], [7.0, 0.9]]), "auto")
        (array([0., 0.]), array([inf,  1.]))
    """
    low, high = np.full(y.shape[1], -np.inf), np.full(y.shape[1], np.inf)
    if support is None:
        return low, high
    if isinstance(support, str):
        if support != "auto":
            raise ConfigurationError(
                f"`support` got {support!r}; expected 'auto', a pair of ends, or None."
            )
        low[y.min(axis=0) >= 0] = 0.0
        shares = (low == 0) & (y.max(axis=0) <= 1) & (y != np.floor(y)).any(axis=0)
        high[shares] = 1.0
        return low, high
    first, last = _checked(support)
    if y.min() < first or y.max() > last:
        wrong = y.min() if y.min() < first else y.max()
        raise DataError(f"`y` holds {wrong:.6g}; expected values from {first:g} to {last:g}.")
    return np.full_like(low, first), np.full_like(high, last)


def whole_in(y: Floats, support: str | Support | None) -> npt.NDArray[np.bool_]:
    """Which outputs are counts and the like: whole numbers in every one of enough rows.

    Example:
        >>> y = np.arange(100.0)[:, None]
        >>> whole_in(y, "auto"), whole_in(y / 2, "auto"), whole_in(y, None)
        (array([ True]), array([False]), array([False]))
    """
    if support is None or len(y) < _ENOUGH_TO_TELL:
        return np.zeros(y.shape[1], bool)
    found: npt.NDArray[np.bool_] = (y == np.floor(y)).all(axis=0)
    return found


def _checked(support: Support) -> tuple[float, float]:
    try:
        low, high = support
        first = -np.inf if low is None else float(low)
        last = np.inf if high is None else float(high)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            f"`support` got {support!r}; expected 'auto', a pair of ends, or None."
        ) from error
    if not first < last:
        raise ConfigurationError(f"`support` got {support!r}; expected the lower end first.")
    return first, last


def logarithm_of(y: Floats, low: float) -> float:
    """What to add to an output `(rows,)` before its logarithm is taken; NaN if it has none.

    Only skewed values above zero come in question, which have their mean well above their median.

    Example:
        >>> logarithm_of(np.array([0.0, 1.0, 2.0, 30.0]), 0.0), logarithm_of(np.arange(4.0), 0.0)
        (1.0, nan)
    """
    if low < 0 or y.min() < 0 or not (y > 0).any():
        return float("nan")
    spread = y.std()
    skew = float(np.mean((y - y.mean()) ** 3)) / max(spread**3, np.finfo(np.float64).tiny)
    if skew < 1:
        return float("nan")
    return _shift(y)


def asked_logarithm_of(y: Floats) -> float:
    """The same where the logarithm is asked for.

    Raises:
        DataError: if there is none.
    """
    if y.min() < 0 or not (y > 0).any():
        raise DataError(
            f"`logarithm` got True and `y` holds {y.min():.6g}; expected no value below 0 and some "
            "above."
        )
    return _shift(y)


def _shift(y: Floats) -> float:
    """Nothing, unless values are 0 or much closer to it than others."""
    if y.min() > 0 and y.max() <= _WIDE * y.min():
        return 0.0
    return float(np.quantile(y[y > 0], _SMALL, method="lower"))


def better_as_logarithm(
    y: Floats, weight: Floats | None, plain: Floats, logged: Floats, shift: float
) -> bool:
    """Whether an output is predicted better by way of its logarithm, by the pinball loss.

    Args:
        y: one output, `(rows,)`.
        weight: of each row, or None.
        plain: predictions of it by a model that has not seen the row.
        logged: the same of the logarithm.
        shift: what was added before it was taken.
    """
    errors = np.log(y + shift) - logged
    straight = plain[:, None] + np.quantile(y - plain, _LEVELS)
    bent = np.exp(logged[:, None] + np.quantile(errors, _LEVELS)) - shift
    return _pinball(bent, y, weight) < _pinball(straight, y, weight)


def _pinball(quantiles: Floats, y: Floats, weight: Floats | None) -> float:
    apart = y[:, None] - quantiles
    loss = np.maximum(_LEVELS * apart, (_LEVELS - 1) * apart).mean(axis=1)
    return float(np.average(loss, weights=weight))
