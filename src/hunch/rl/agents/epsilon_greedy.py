"""The best actions by their values, or now and then others at random."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hunch.rl.agents.divergence import check_outputs_known
from hunch.rl.agents.schedules import Linear

DEFAULT_EPSILON: Final = Linear(1.0, 0.05, steps=10_000)
DEFAULT_RANDOM_STEPS: Final = 10_000


def random_share(random_steps: int, step: int) -> float:
    """The share of random actions with which agents begin that explore by other means than ε.

    Args:
        random_steps: environment steps within which it falls from 1 to 0; 0 for none at all.
        step: environment steps made so far.

    Example:
        >>> random_share(100, 0), random_share(100, 50), random_share(100, 100), random_share(0, 0)
        (1.0, 0.5, 0.0, 0.0)
    """
    return max(0.0, 1.0 - step / random_steps) if random_steps else 0.0


def epsilon_greedy(
    best: Callable[[], NDArray[np.int64]],
    epsilon: float,
    rngs: Sequence[np.random.Generator],
    envs: int,
    actions: int,
) -> NDArray[np.int64]:
    """Indices of actions `(replicas, envs)`: random ones with probability ε, else the best.

    Args:
        best: gives the best ones, `(replicas, envs)`; not asked if all are random.
        epsilon: ε, from 0 to 1; for 0 nothing is drawn.
        rngs: a stream for each replica.
        envs: environments of each.
        actions: number of actions.

    Example:
        >>> rngs = [np.random.default_rng(0)]
        >>> epsilon_greedy(lambda: np.array([[1, 0]]), 0.0, rngs, envs=2, actions=3)
        array([[1, 0]])
    """
    shape = len(rngs), envs
    random, chosen = np.zeros(shape, np.bool_), np.zeros(shape, np.int64)
    for r, rng in enumerate(rngs if epsilon > 0.0 else ()):
        random[r] = rng.random(envs) < epsilon
        if np.count_nonzero(random[r]):
            chosen[r] = rng.integers(actions, size=envs)
    if np.count_nonzero(random) < random.size:
        chosen = np.where(random, chosen, best())
    return chosen


def highest(values: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
    """The action of the highest value in each row of `(…, actions)`.

    Raises:
        DataError: if a value is NaN.

    Example:
        >>> highest(np.array([[0.0, 2.0, 1.0]]))
        array([1])
    """
    check_outputs_known(values)
    best: NDArray[np.int64] = values.argmax(-1)  # a tenth of torch's time on so few
    return best
