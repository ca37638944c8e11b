"""How far a figure of few seeds is known: seeds drawn again, environment by environment."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hunch.charts import plain_number
from hunch.comparison.statistics import Array, Scores, by_environment
from hunch.seeding import numpy_generator
from hunch.validation import real_number, whole_number

RESAMPLES: Final = 10_000
_AT_ONCE: Final = 1 << 20  # numbers that are held


@dataclass(frozen=True)
class Interval:
    """A figure, and between which ends it is known to lie.

    Args:
        value: of the scores as they are.
        low: lower end; None where a single seed of each environment tells nothing of spread.
        high: upper end, or None.

    Example:
        >>> str(Interval(0.5, 0.25, 0.75)), str(Interval(0.5))
        ('0.5 (0.25 to 0.75)', '0.5')
    """

    value: float
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return plain_number(_rounded(self.value))
        low, value, high = (
            plain_number(_rounded(end)) for end in (self.low, self.value, self.high)
        )
        return f"{value} ({low} to {high})"

    def to_json(self) -> dict[str, float | None]:
        """Plain values."""
        return {"value": self.value, "low": self.low, "high": self.high}


def bootstrap_interval(
    statistic: Callable[..., Any],
    *scores: Scores,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """A confidence interval of a figure, by the stratified percentile bootstrap.

    Of every environment as many seeds as there are are drawn again, with replacement; the interval
    holds the middle `confidence` of the figures of all draws. With several `scores` each is drawn
    again by itself.

    Args:
        statistic: from scores, with an axis of resamples in front, to a figure each: such as
            `interquartile_mean` or, of two scores, `probability_of_improvement`.
        scores: as in `hunch.comparison.statistics`, without axes in front.
        confidence: between 0 and 1.
        resamples: draws, at least 1.
        seed: of the draws.

    Returns:
        The figure of the scores themselves, and the interval; without ends if there is but one
        seed of each environment.

    Raises:
        ConfigurationError: if a number is out of range.
        ShapeError: if there are no seeds or no environments.
        DataError: if a score is not finite.

    Example:
        >>> from hunch.comparison import interquartile_mean
        >>> found = bootstrap_interval(interquartile_mean, [[0.0], [1.0], [2.0], [3.0]])
        >>> found.value, found.low < 1.5 < found.high
        (1.5, True)

    Reference:
        Agarwal et al. (2021), section 4.1.

    Note:
        Of few seeds it is too narrow: `docs/comparing-agents.md` says how much.
    """
    value, low, high = bootstrap_band(
        statistic, *scores, confidence=confidence, resamples=resamples, seed=seed
    )
    if not has_spread(*scores):
        return Interval(float(value))
    return Interval(float(value), float(low), float(high))


def bootstrap_band(
    statistic: Callable[..., Any],
    *scores: Scores,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[Array, Array, Array]:
    """As `bootstrap_interval`, for a statistic of several figures, such as a profile.

    Returns:
        The figures, and the lower and upper ends of their intervals, each by itself.

    Example:
        >>> from hunch.comparison import performance_profile
        >>> profile = lambda scores: performance_profile(scores, [0.0, 2.0])
        >>> share, low, high = bootstrap_band(profile, [[1.0], [3.0]])
        >>> share.tolist(), low.tolist(), high.tolist()
        ([1.0, 0.5], [1.0, 0.0], [1.0, 1.0])
    """
    confidence = real_number("confidence", confidence, above=0.0, below=1.0)
    samples = [by_environment(own) for own in scores]
    values = np.concatenate(
        [np.asarray(statistic(*drawn)) for drawn in _draws(samples, resamples, seed)]
    )
    low, high = percentile_ends(values, confidence)
    return np.asarray(statistic(*samples), np.float64), low, high


def has_spread(*scores: Scores) -> bool:
    """Whether there is an environment with several seeds.

    Example:
        >>> has_spread([[1.0, 2.0]]), has_spread([[1.0, 2.0]], [[1.0, 2.0], [0.0, 2.0]])
        (False, True)
    """
    return any(len(own) > 1 for sample in scores for own in by_environment(sample).values())


def percentile_ends(values: npt.ArrayLike, confidence: float) -> tuple[Array, Array]:
    """Between what ends the middle `confidence` of the figures of all resamples lies.

    Args:
        values: `(resamples, …)`.
        confidence: between 0 and 1.

    Example:
        >>> low, high = percentile_ends([0.0, 1.0, 2.0, 3.0, 4.0], 0.5)
        >>> float(low), float(high)
        (1.0, 3.0)
    """
    outside = (1.0 - confidence) / 2
    low, high = np.quantile(np.asarray(values, np.float64), [outside, 1.0 - outside], axis=0)
    return low, high


def drawn_again(
    scores: Mapping[str, Array], indices: Mapping[str, npt.NDArray[np.int64]]
) -> dict[str, Array]:
    """The scores of the seeds that each resample drew, `(resamples, seeds)` by environment.

    Example:
        >>> draws = {"a": np.array([[0, 0], [1, 0]])}
        >>> drawn_again({"a": np.array([5.0, 7.0])}, draws)["a"].tolist()
        [[5.0, 5.0], [7.0, 5.0]]
    """
    return {name: own[indices[name]] for name, own in scores.items()}


def _rounded(value: float) -> float:
    """To three digits that count, and whole where it is large."""
    return float(f"{value:.3g}") if abs(value) < 100 else float(f"{value:.1f}")


def _draws(
    samples: list[dict[str, Array]], resamples: int, seed: int
) -> Iterator[list[dict[str, Array]]]:
    """All resamples, some at once so that they have room."""
    left = whole_number("resamples", resamples, at_least=1)
    streams = [
        {name: numpy_generator(seed, "bootstrap", i, name) for name in own}
        for i, own in enumerate(samples)
    ]
    # Pairs of seeds are compared in some statistics.
    room = math.prod(max(len(scores) for scores in own.values()) for own in samples)
    size = max(1, _AT_ONCE // (room * max(map(len, samples))))
    while left > 0:
        count = min(size, left)
        left -= count
        yield [
            drawn_again(
                own,
                {n: streams[i][n].integers(len(s), size=(count, len(s))) for n, s in own.items()},
            )
            for i, own in enumerate(samples)
        ]
