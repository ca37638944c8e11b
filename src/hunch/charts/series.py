"""Numbers in the order of time, smoothed."""

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
