"""What several arguments of an agent have to be beside each other."""

from __future__ import annotations

from typing import Any, Final, SupportsIndex

import gymnasium
import numpy as np
from numpy.typing import NDArray

from hunch.errors import ConfigurationError
from hunch.rl.fast.one_hot_layer import is_one_hot
from hunch.rl.networks.feature_layers import is_pixels
from hunch.rl.networks.observation_scale import BoundsScale, ObservationScale
from hunch.validation import whole_number

# What is beyond is no bound, but how large a number may be that has none.
_LARGEST_BOUND: Final = 1e6
_MOST_UPDATES: Final = 1_000  # for each step; more would keep a round from ending


def updates_in_a_round(value: SupportsIndex, update_period: int) -> int:
    """Return `updates_per_round`, or say what is wrong with it.

    Args:
        value: what was given.
        update_period: environment steps from one round to the next.

    Raises:
        ConfigurationError: if it is no integer of at least 1, or a round would not end.

    Example:
        >>> updates_in_a_round(4, update_period=1)
        4
    """
    return whole_number(
        "updates_per_round",
        value,
        at_least=1,
        at_most=_MOST_UPDATES * update_period,
        since=f"{_MOST_UPDATES:,} for each of the {update_period} steps of `update_period`",
    )


def check_sizes(
    min_replay_size: int | None, batch_size: int, replay_capacity: int, n_step: int
) -> int:
    """Return how many transitions are stored before the first update, or say what does not fit.

    Args:
        min_replay_size: what was given; None is `batch_size`.
        batch_size: transitions per gradient update.
        replay_capacity: transitions kept.
        n_step: number of rewards summed.

    Raises:
        ConfigurationError: if the agent could never learn.

    Example:
        >>> check_sizes(None, 32, 1000, 1)
        32
    """
    capacity = whole_number("replay_capacity", replay_capacity, at_least=1)
    if batch_size > capacity:
        raise ConfigurationError(
            f"`batch_size` got {batch_size}; expected at most `replay_capacity`={capacity}."
        )
    size = batch_size
    if min_replay_size is not None:
        size = whole_number("min_replay_size", min_replay_size, at_least=1)
    for name, value in (("min_replay_size", size), ("n_step", n_step)):
        if value > capacity:
            raise ConfigurationError(
                f"`{name}` got {value}; expected at most `replay_capacity`={capacity}, or the "
                "agent would never learn."
            )
    return size


def observation_scale(
    normalize: object,
    env: gymnasium.Env[Any, Any],
    shape: tuple[int, ...],
    dtype: type[np.generic],
    replicas: int,
) -> ObservationScale | None:
    """What brings an agent's observations to a common scale; None if nothing is to do so.

    Args:
        normalize: whether their statistics are; None for narrow bounds, if they have such.
        env: where they come from.
        shape: of one of them.
        dtype: in which they are kept.
        replicas: agents that live side by side.

    Raises:
        ConfigurationError: if they have a scale already.

    Example:
        >>> env = gymnasium.make("CartPole-v1")
        >>> observation_scale(True, env, (4,), np.float32, replicas=2).mean.shape
        (2, 4)
    """
    if normalize is None:
        size = _narrow_bounds(env.observation_space)
        return None if size is None else BoundsScale(size, replicas)
    if not normalize:
        return None
    what = "images in bytes, which" if is_pixels(dtype) else "one-hot observations, which"
    if is_pixels(dtype) or is_one_hot(env):
        raise ConfigurationError(
            f"`normalize` got {normalize!r} for {what} have one scale already; expected False: "
            "leave it out."
        )
    return ObservationScale(shape, replicas)


def _narrow_bounds(space: gymnasium.Space[Any]) -> NDArray[np.float64] | None:
    """The largest size of each number where that is below 1, otherwise 1.

    None if all are 1, if a number has no bounds, or if observations are no rows of numbers.
    """
    if not isinstance(space, gymnasium.spaces.Box) or len(space.shape) != 1:
        return None
    ends = np.stack([space.low, space.high]).astype(np.float64)
    size: NDArray[np.float64] = np.abs(ends).max(0)
    narrow = (size > 0) & (size < 1)
    if not (size <= _LARGEST_BOUND).all() or not narrow.any():
        return None
    # Wide bounds say little of how large a number is, and what it is divided by is lost.
    return np.where(narrow, size, 1.0)
