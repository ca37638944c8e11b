"""What is said of many seeds in several environments: robust means, profiles, who is ahead.

Scores are an array `(…, seeds, environments)`, or where environments have unlike numbers of seeds
a mapping from their names to arrays `(…, seeds)`. Axes in front, such as one of resamples, stay.
All of it follows Agarwal et al. (2021), "Deep reinforcement learning at the edge of the statistical
precipice", and gives the figures of its authors' library rliable.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hunch.errors import DataError, ShapeError
from hunch.validation import real_number

Array = npt.NDArray[np.float64]
Scores = npt.ArrayLike | Mapping[str, npt.ArrayLike]

_TRIMMED: Final = 0.25  # of the scores, from either end


def by_environment(scores: Scores) -> dict[str, Array]:
    """Scores as a mapping from environments to arrays `(…, seeds)`.

    Raises:
        ShapeError: if there are no seeds or no environments, or axes in front differ.
        DataError: if a score is not finite.

    Example:
        >>> {name: own.tolist() for name, own in by_environment([[1, 2], [3, 4]]).items()}
        {'0': [1.0, 3.0], '1': [2.0, 4.0]}
    """
    if isinstance(scores, Mapping):
        found = {str(name): np.asarray(own, np.float64) for name, own in scores.items()}
    else:
        array = np.asarray(scores, np.float64)
        if array.ndim < 2:
            raise ShapeError(
                f"`scores` got an array of shape {array.shape}; expected (seeds, environments), a "
                "column for each environment, or a mapping from environments to scores."
            )
        found = {str(i): array[..., i] for i in range(array.shape[-1])}
    if not found or any(own.ndim < 1 or not own.shape[-1] for own in found.values()):
        raise ShapeError("`scores` got no seed of some environment; expected at least one of each.")
    if len({own.shape[:-1] for own in found.values()}) > 1:
        raise ShapeError("`scores` got axes in front of the seeds that differ by environment.")
    for name, own in found.items():
        if not np.isfinite(own).all():
            raise DataError(
                f"`scores` got a score that is not finite in environment {name!r}; expected the "
                "return of every seed: leave a failed seed out on purpose, or give it the score "
                "that a failure deserves."
            )
    return found


def interquartile_mean(scores: Scores) -> Any:
    """Mean of the middle half of all scores of all environments.

    Of N scores the floor(N / 4) lowest and as many highest are left out. It moves less with single
    seeds than the mean and uses more of them than the median.

    Args:
        scores: as in `hunch.comparison.statistics`.

    Returns:
        A float, or an array of the axes in front.

    Raises:
        ShapeError: if there are no seeds or no environments.
        DataError: if a score is not finite.

    Example:
        >>> interquartile_mean([[0.0], [1.0], [2.0], [300.0]])
        1.5

    Reference:
        Agarwal et al. (2021), section 4.3; the trimmed mean of 25 %.

    Note:
        Where environments have unlike numbers of seeds, each score counts as much as any other, so
        an environment with more seeds counts for more.
    """
    values = np.sort(np.concatenate(list(by_environment(scores).values()), axis=-1), axis=-1)
    cut = int(_TRIMMED * values.shape[-1])
    return _plain(values[..., cut : values.shape[-1] - cut].mean(-1))


def mean_score(scores: Scores) -> Any:
    """Mean over environments of the mean over seeds.

    Args:
        scores: as in `hunch.comparison.statistics`.

    Returns:
        A float, or an array of the axes in front.

    Raises:
        ShapeError: if there are no seeds or no environments.
        DataError: if a score is not finite.

    Example:
        >>> mean_score([[0.0, 1.0], [2.0, 1.0]])
        1.0
    """
    return _plain(_means(scores).mean(-1))


def median_score(scores: Scores) -> Any:
    """Median over environments of the mean over seeds.

    Args:
        scores: as in `hunch.comparison.statistics`.

    Returns:
        A float, or an array of the axes in front.

    Raises:
        ShapeError: if there are no seeds or no environments.
        DataError: if a score is not finite.

    Example:
        >>> median_score([[0.0, 1.0, 9.0], [2.0, 1.0, 9.0]])
        1.0
    """
    return _plain(np.median(_means(scores), axis=-1))


def optimality_gap(scores: Scores, goal: float = 1.0) -> Any:
    """How far scores stay below a goal, in the mean; what is beyond the goal makes up for nothing.

    Args:
        scores: as in `hunch.comparison.statistics`.
        goal: in units of the scores.

    Returns:
        A float, or an array of the axes in front: 0 where every seed reaches the goal.

    Raises:
        ShapeError: if there are no seeds or no environments.
        DataError: if a score is not finite.

    Example:
        >>> optimality_gap([[0.5], [2.0]])
        0.25

    Reference:
        Agarwal et al. (2021), section 4.3.
    """
    goal = real_number("goal", goal)
    values = np.concatenate(list(by_environment(scores).values()), axis=-1)
    return _plain(goal - np.minimum(values, goal).mean(-1))


def probability_of_improvement(scores: Scores, other: Scores) -> Any:
    """How likely a seed of one agent scores higher than a seed of another, mean over environments.

    In each environment it is the share of pairs of seeds in which the first one wins, ties counted
    half: Mann and Whitney's U over the number of pairs.

    Args:
        scores: of the agent that may be better, as in `hunch.comparison.statistics`.
        other: of the other one, in the same environments.

    Returns:
        A float from 0 to 1, or an array of the axes in front; 0.5 where neither is ahead.

    Raises:
        ShapeError: if there are no seeds or environments, or environments differ.
        DataError: if a score is not finite.

    Example:
        >>> probability_of_improvement([[1.0], [3.0]], [[2.0], [0.0]])
        0.75

    Reference:
        Agarwal et al. (2021), section 4.3.
    """
    first, second = by_environment(scores), by_environment(other)
    if first.keys() != second.keys():
        raise ShapeError(
            f"`scores` got environments {', '.join(first)}, `other` {', '.join(second)}; expected "
            "the same."
        )
    wins = [_wins(first[name], second[name]) for name in first]
    return _plain(np.mean(wins, axis=0))


def performance_profile(scores: Scores, thresholds: npt.ArrayLike) -> Array:
    """Share of all seeds of all environments that score above each threshold.

    Args:
        scores: as in `hunch.comparison.statistics`.
        thresholds: in units of the scores, `(thresholds,)`.

    Returns:
        `(…, thresholds)`, from 0 to 1 and falling.

    Raises:
        ShapeError: if there are no seeds or no environments.
        DataError: if a score is not finite.

    Example:
        >>> performance_profile([[1.0], [3.0]], [0.0, 2.0, 4.0]).tolist()
        [1.0, 0.5, 0.0]

    Reference:
        Agarwal et al. (2021), eq. 3, the distribution of scores of single seeds.
    """
    values = np.sort(np.concatenate(list(by_environment(scores).values()), axis=-1), axis=-1)
    bounds = np.asarray(thresholds, np.float64)
    rows = values.reshape(-1, values.shape[-1])
    below = np.stack([np.searchsorted(row, bounds, side="right") for row in rows])
    shares: Array = 1.0 - below / values.shape[-1]
    return shares.reshape(*values.shape[:-1], len(bounds))


def _means(scores: Scores) -> Array:
    return np.stack([own.mean(-1) for own in by_environment(scores).values()], axis=-1)


def _wins(first: Array, second: Array) -> Array:
    """Share of pairs in which the first is higher, ties counted half."""
    ahead = first[..., :, None] - second[..., None, :]
    share: Array = ((ahead > 0).mean((-2, -1)) + (ahead >= 0).mean((-2, -1))) / 2
    return share


def _plain(values: Any) -> Any:
    return float(values) if np.ndim(values) == 0 else values
