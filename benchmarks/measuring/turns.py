"""CPU time of several ways to do something, which take turns so that a busy machine slows all."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

Way = Callable[[], object]


class Spread(NamedTuple):
    """The median of some numbers, and between which the middle half of them lies."""

    median: float
    low: float
    high: float


def turns(
    ways: Mapping[str, Way], rounds: int, *, calls: int = 1, warm: int = 1
) -> dict[str, list[float]]:
    """CPU seconds of a call of each way, `(rounds,)`; the first `warm` rounds are left out."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds + warm):
        for name, way in ways.items():
            start = time.process_time()
            for _ in range(calls):
                way()
            times[name].append((time.process_time() - start) / calls)
    return {name: found[warm:] for name, found in times.items()}


def spread(values: Sequence[float]) -> Spread:
    """Median and middle half."""
    low, median, high = np.quantile(values, (0.25, 0.5, 0.75))
    return Spread(float(median), float(low), float(high))


def ratio(times: Sequence[float], of: Sequence[float]) -> Spread:
    """How many times as long, round by round."""
    return spread([a / b for a, b in zip(times, of, strict=True)])
