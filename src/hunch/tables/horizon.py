"""How errors grow with the time since training, seen from earlier times.

A model of a series is asked about times that its training does not hold. How it fares there is
seen where the truth is known: it is trained anew on what came before an earlier time, the origin,
and asked about what came after. Its errors there, in units of the size that it said, give a factor
for that size, which may grow with the distance from the origin, and how far intervals must reach.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
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
        shared: which share of an error's square is shared by all rows after an origin, 0 to 1.
        origins: how many there were.
    """

    start: Floats
    end: Floats
    growth: Floats
    mean: Floats
    std: Floats
    y: Floats
    weight: Floats
    shared: Floats
    origins: Floats

    def factor(self, times: Floats) -> Floats:
        """What to multiply the size of errors by at some times; before the end it is constant."""
        found: Floats = np.sqrt(_powers(_distance(times, self.start, self.end)) @ self.growth)
        return found

    def reach(self, interval_about: IntervalAbout, coverage: float) -> float:
        """By how much further intervals must reach out than the size of errors says, at least 1.

        For each row that was asked about it is found from which size on its interval would have
        held the truth; the answer is the quantile of these numbers. Of the part of an error that
        rows share there are only as many examples as origins: it is taken to be that much longer
        than seen as a quantile of Student's distribution is than the Gaussian's.

        Args:
            interval_about: lower and upper ends, given means, sizes of errors and a coverage.
            coverage: of the intervals.
        """
        needed = _needed(lambda size: interval_about(self.mean, size, coverage), self.std, self.y)
        both, weight = np.concatenate([needed, -needed]), np.tile(self.weight, 2)
        level = (1 + coverage) / 2
        seen = weighted_quantiles(both, weight, float(self.weight.mean()), np.array([level]))
        longer = _student_to_normal(level, float(self.origins)) ** 2 - 1
        return max(float(seen[0] * np.sqrt(1 + self.shared * longer)), 1.0)


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
    shared = _shared((truths - means) / sizes, weights, origins)
    return Horizon(
        np.asarray(start),
        np.asarray(times.max()),
        growth,
        means,
        sizes,
        truths,
        weights,
        np.asarray(shared),
        np.asarray(float(len(found))),
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


def _shared(score: Floats, weight: Floats, origin: npt.NDArray[np.intp]) -> float:
    """Which share of scores' squares all of one origin may have in common.

    It shows in their means, and in the means of their sizes, which come out far from those of
    all. Seen from few origins it may by chance look smaller than it is.
    """
    size, total = np.abs(score), np.bincount(origin, weight)
    found = 0.0
    for value in (score, size - np.average(size, weights=weight)):
        mean = np.bincount(origin, weight * value) / total
        common = np.average(mean**2, weights=total)
        all_of_it = max(float(np.average(value**2, weights=weight)), np.finfo(np.float64).tiny)
        found = max(found, float(common / all_of_it))
    return min(_CAUTION * found, 1.0)


def _student_to_normal(level: float, freedom: float) -> float:
    """A quantile of Student's distribution over that of the normal one, by its known expansion.

    Example:
        >>> round(_student_to_normal(0.95, 4.0), 2)  # 2.13 / 1.64
        1.29

    Reference:
        Abramowitz & Stegun (1964), "Handbook of mathematical functions", 26.7.5.
    """
    square = NormalDist().inv_cdf(level) ** 2
    terms = (
        (square + 1) / 4,
        (5 * square**2 + 16 * square + 3) / 96,
        (3 * square**3 + 19 * square**2 + 17 * square - 15) / 384,
    )
    return 1 + sum(term / freedom ** (i + 1) for i, term in enumerate(terms))


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
