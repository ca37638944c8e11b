"""How errors grow with the time since training, seen from earlier times.

A model of a series is asked about times that its training does not hold. How it fares there is
seen where the truth is known: it is trained anew on what came before an earlier time, the origin,
and asked about what came after. Its errors there, in units of the size that it said, give a factor
for that size, which may grow with the distance from the origin, and how far intervals must reach.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hunch.sklearn.noise import weighted_quantiles
from hunch.sklearn.rows import Floats
from hunch.sklearn.state import Arrays

_ORIGINS: Final = (0.5, 0.625, 0.75, 0.875)  # shares of the rows that come before
_FURTHEST: Final = 0.5  # of the time from the first row to the origin, that is asked about
_HALF_LIFE: Final = 0.25  # of the rows, after which an origin counts half
_FEWEST: Final = 10  # rows to train on
_MOST_ASKED: Final = 1_000  # rows after an origin
_LEAST: Final = 1e-3  # of the mean square, below which no variance is taken to be
_CAUTION: Final = 3.0  # times what origins seem to share they may share, seen from four of them
_ROUNDS: Final = 15  # after which a growth no longer changes
_DOUBLINGS: Final = 40

IntervalAbout = Callable[[Floats, Floats, float], tuple[Floats, Floats]]
Fitted = Callable[[npt.NDArray[np.intp]], Any]


@dataclass(frozen=True)
class Horizon(Arrays):
    """By how much the errors of later rows are larger than a model says; never smaller.

    Distances in time are in units of the time that training covers, from its first row to its last:
    what is twice as long ago is twice as far for a model of ten years than for one of five.

    Args:
        start: time of the first training row.
        end: time of the last.
        growth: coefficients of 1, distance and distance² in the square of the factor.
        mean: predictions for rows after the origins, `(asked,)`.
        std: the size of their errors, as said by the models, times the factor.
        y: their targets.
        weight: how much each counts.
        independent: how many rows that tell nothing of each other say as much as these.
    """

    start: Floats
    end: Floats
    growth: Floats
    mean: Floats
    std: Floats
    y: Floats
    weight: Floats
    independent: Floats

    def factor(self, times: Floats) -> Floats:
        """What to multiply the size of errors by at some times; before the end it is constant."""
        found: Floats = np.sqrt(_powers(_distance(times, self.start, self.end)) @ self.growth)
        return found

    def reach(self, interval_about: IntervalAbout, coverage: float) -> float:
        """By how much further intervals must reach out than the size of errors says, at least 1.

        For each row that was asked about it is found from which size on its interval would have
        held the truth; the answer is the quantile of these numbers, beyond the outermost as of a
        Gaussian.

        Args:
            interval_about: lower and upper ends, given means, sizes of errors and a coverage.
            coverage: of the intervals.
        """
        needed = _needed(lambda size: interval_about(self.mean, size, coverage), self.std, self.y)
        both, weight = np.concatenate([needed, -needed]), np.tile(self.weight, 2)
        new = float(self.weight.sum() / self.independent)
        level = np.array([(1 + coverage) / 2])
        return max(float(weighted_quantiles(both, weight, new, level)[0]), 1.0)


def learn_horizon(fitted: Fitted, times: Floats, x: Floats, y: Floats) -> Horizon | None:
    """Train at four earlier times, and see how errors grow from there.

    Args:
        fitted: an estimator of some of the training rows.
        times: of all of them.
        x: their features.
        y: their targets.

    Returns:
        None if the rows are too few to train on some of them.

    Example:
        >>> from hunch import RandomizedPriorRegressor
        >>> times, few = np.arange(80.0), RandomizedPriorRegressor(4, max_iter=2, random_state=0)
        >>> x, y = times[:, None] / 80, np.random.default_rng(0).normal(size=80)
        >>> horizon = learn_horizon(lambda rows: few.fit(x[rows], y[rows]), times, x, y)
        >>> near, far = horizon.factor(np.array([80.0, 800.0]))
        >>> bool(near <= far), len(horizon.y)
        (True, 73)
    """
    start, ordered = times.min(), np.sort(times)
    found = []
    for share in _ORIGINS:
        origin = ordered[round(share * len(times)) - 1]
        before = np.flatnonzero(times <= origin)
        distance = _distance(times, start, origin)
        after = np.flatnonzero((times > origin) & (distance <= _FURTHEST))
        after = after[np.argsort(times[after], kind="stable")]
        after = after[:: -(-len(after) // _MOST_ASKED) or 1]
        if len(before) < _FEWEST or not len(after) or len(np.unique(y[before])) < 2:
            continue
        mean, std = fitted(before).predict(x[after], return_std=True)
        counts = 2 ** ((share - 1) / _HALF_LIFE)
        weight = np.full(len(after), counts / len(after))
        found.append((mean, std, y[after], distance[after], weight))
    if not found:
        return None
    means, stds, truths, distances, weights = map(np.concatenate, zip(*found, strict=True))
    growth = _growth((truths - means) / stds, distances, weights)
    sizes = stds * np.sqrt(_powers(distances) @ growth)
    origins = np.repeat(np.arange(len(found)), [len(part[0]) for part in found])
    independent = _independent((truths - means) / sizes, weights, origins)
    return Horizon(
        np.asarray(start),
        np.asarray(times.max()),
        growth,
        means,
        sizes,
        truths,
        weights,
        np.asarray(independent),
    )


def _distance(times: Floats, start: Floats, origin: Floats) -> Floats:
    """From an origin to later times, in units of what came before; of earlier times 0."""
    # A start that is the origin has nothing before it, and no time is far from it.
    span = max(float(origin - start), np.finfo(np.float64).tiny)
    found: Floats = np.maximum(times - origin, 0) / span
    return found


def _powers(distance: Floats) -> Floats:
    return np.stack([np.ones_like(distance), distance, distance**2], axis=1)


def _growth(score: Floats, distance: Floats, weight: Floats) -> Floats:
    """Coefficients of the likeliest variance that is a sum of powers of the distance.

    Least squares on the squares, each round with the variances of the last for weights.
    """
    from sklearn.linear_model import LinearRegression

    line = LinearRegression(fit_intercept=False, positive=True)
    squares, powers = score**2, _powers(distance)
    mean = float(np.average(squares, weights=weight))
    least = max(_LEAST * mean, np.finfo(np.float64).tiny)
    variance = np.full(len(score), max(mean, least))
    found = np.array([mean, 0.0, 0.0])
    for _ in range(_ROUNDS):
        line.fit(powers, squares, weight * (variance.min() / variance) ** 2)
        found = np.array(line.coef_, dtype=np.float64)
        variance = np.maximum(powers @ found, least)
    # A model of fewer rows may be less sure than it need be, which is nothing to learn from.
    found[0] = max(found[0], 1.0)
    return found


def _independent(score: Floats, weight: Floats, origin: npt.NDArray[np.intp]) -> float:
    """How many scores that tell nothing of each other say as much, at least one an origin.

    What scores after one origin share shows in their means, and in the means of their sizes: these
    then differ by more than those of as many scores that share nothing.
    """
    count = len(np.unique(origin))
    size = np.abs(score)
    found = float(len(score))
    for value in (score, size - np.average(size, weights=weight)):
        total = np.bincount(origin, weight)
        mean = np.bincount(origin, weight * value) / total
        between = np.average(mean**2, weights=total)
        within = np.average(value**2, weights=weight)
        shared = _CAUTION * max(between, np.finfo(np.float64).tiny)
        found = min(found, count * within / shared)
    return max(found, float(count))


def _needed(interval: Callable[[Floats], tuple[Floats, Floats]], std: Floats, y: Floats) -> Floats:
    """The least multiple of each size of errors from which on an interval holds the truth."""

    def holds(times: Floats) -> npt.NDArray[np.bool_]:
        low, high = interval(times * std)
        inside: npt.NDArray[np.bool_] = (low <= y) & (y <= high)
        return inside

    high = np.ones(len(y))
    for _ in range(_DOUBLINGS):
        if (outside := ~holds(high)).any():
            high[outside] *= 2
    low = np.zeros(len(y))
    for _ in range(_DOUBLINGS):
        middle = (low + high) / 2
        inside = holds(middle)
        low, high = np.where(inside, low, middle), np.where(inside, middle, high)
    return high
