"""Returns that rewards seen so far add up to, and those that they make likely."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]

TIMES_AS_LONG: Final = 10  # an episode may come to last this many times as long as it did


def discounted_returns(reward: Doubles, ended: NDArray[Any], discount: float) -> Doubles:
    """Σ γʲ rⱼ from each step to the end of its episode, or to the last step there is.

    Args:
        reward: in order of time on axis 0.
        ended: where an episode ended.
        discount: γ.

    Example:
        >>> discounted_returns(np.ones(3), np.array([False, True, False]), 0.5)
        array([1.5, 1. , 1. ])
    """
    returns, goes_on = reward.copy(), ~ended
    # From windows of 1, 2, 4, … steps: the whole takes few operations, however long it is.
    span = 1
    while span < len(returns):
        returns[:-span] += np.where(goes_on[:-span], discount**span * returns[span:], 0.0)
        goes_on[:-span] &= goes_on[span:]
        goes_on[-span:] = False
        span *= 2
    return returns


def lasting_returns(
    reward: Doubles,
    terminated: NDArray[Any],
    ended: NDArray[Any],
    discount: float,
    times: int = TIMES_AS_LONG,
) -> Doubles:
    """What the mean reward of each episode would bring if it lasted `times` as long.

    A reward for reaching an end can come only once and does not count.

    Args:
        reward: in order of time on axis 0.
        terminated: where the environment ended an episode.
        ended: where an episode ended in any way.
        discount: γ.
        times: how many times as long.

    Returns:
        At the first step of each episode; 0 elsewhere.

    Example:
        >>> no = np.zeros(3, bool)
        >>> lasting_returns(np.ones(3), no, no, 1.0)
        array([30.,  0.,  0.])
    """
    step = np.arange(len(reward)).reshape(-1, *[1] * (reward.ndim - 1))
    last = np.where(ended, step, len(reward) - 1)
    last = np.minimum.accumulate(last[::-1], 0)[::-1]
    once = np.where(terminated, 0.0, reward)
    total = once.cumsum(0)
    sums = np.take_along_axis(total, last, 0) - total + once
    length = last - step + 1 - np.take_along_axis(terminated, last, 0)
    steps = times * length
    factor = steps if discount == 1.0 else (1.0 - discount**steps) / (1.0 - discount)
    first = np.concatenate([np.ones_like(ended[:1]), ended[:-1]])
    lasting: Doubles = np.where(first, sums / np.maximum(length, 1) * factor, 0.0)
    return lasting


def ends_of(*returns: Doubles) -> Doubles:
    """The least and the greatest of them and of 0, which is worth what follows an end.

    Example:
        >>> ends_of(np.array([1.0, 2.0]), np.array([3.0]))
        array([0., 3.])
    """
    least, greatest = [r.min() for r in returns], [r.max() for r in returns]
    return np.array([min(0.0, *least), max(0.0, *greatest)])
