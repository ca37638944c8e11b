"""Numbers in the order of time, smoothed or read off at other times."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def running_mean(values: npt.ArrayLike, width: int) -> npt.NDArray[np.float64]:
    """Mean of each value and up to `width - 1` before it.

    Example:
        >>> running_mean([1.0, 3.0, 5.0], 2).tolist()
        [1.0, 2.0, 4.0]
    """
    sums = np.cumsum(np.concatenate([[0.0], values]))
    ends = np.arange(1, len(sums))
    starts = np.maximum(ends - width, 0)
    mean: npt.NDArray[np.float64] = (sums[ends] - sums[starts]) / (ends - starts)
    return mean


def held(
    grid: npt.ArrayLike, steps: npt.ArrayLike, values: npt.ArrayLike
) -> npt.NDArray[np.float64]:
    """The latest value at each point of a grid, NaN before the first.

    Example:
        >>> held([0, 1, 2, 3], [1, 3], [5.0, 7.0]).tolist()
        [nan, 5.0, 5.0, 7.0]
    """
    known = np.asarray(values, np.float64)
    index = np.searchsorted(steps, grid, side="right") - 1
    if not len(known):
        return np.full(index.shape, np.nan)
    return np.where(index >= 0, known[np.maximum(index, 0)], np.nan)
