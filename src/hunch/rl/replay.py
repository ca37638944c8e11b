"""The replay buffer: the latest transitions, sampled uniformly."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from hunch.errors import ConfigurationError, ShapeError
from hunch.rl.arguments import whole_number


class Transitions(NamedTuple):
    """A batch of transitions; every field has the batch on axis 0.

    `terminated` is True where the environment ended the episode. A time limit leaves it False, and
    `next_observation` is then the last observation of the episode, never the first of the next.
    """

    observation: NDArray[Any]
    action: NDArray[np.int64]
    reward: NDArray[np.float32]
    next_observation: NDArray[Any]
    terminated: NDArray[np.bool_]


class Replay:
    """The last `capacity` transitions, of which any is as likely to be drawn as another.

    Args:
        capacity: number of transitions kept, at least 1; the oldest make room for new ones.
        observation_shape: shape of one observation.
        observation_dtype: type in which observations are stored.

    Raises:
        ConfigurationError: if `capacity` is below 1.

    Example:
        >>> import numpy as np
        >>> replay = Replay(capacity=100, observation_shape=(4,))
        >>> replay.add(np.zeros(4), 1, 0.5, np.ones(4), terminated=False)
        >>> batch = replay.sample(32, np.random.default_rng(0))
        >>> len(replay), batch.observation.shape, batch.reward[0].item()
        (1, (32, 4), 0.5)
    """

    def __init__(
        self,
        capacity: int,
        observation_shape: tuple[int, ...],
        observation_dtype: DTypeLike = np.float32,
    ) -> None:
        self.capacity = whole_number("capacity", capacity, at_least=1)
        # Zeros are given by the system page by page, so an unused part costs no memory.
        shape = (self.capacity, *observation_shape)
        self._data = Transitions(
            observation=np.zeros(shape, observation_dtype),
            action=np.zeros(self.capacity, np.int64),
            reward=np.zeros(self.capacity, np.float32),
            next_observation=np.zeros(shape, observation_dtype),
            terminated=np.zeros(self.capacity, np.bool_),
        )
        self._added = 0

    def __len__(self) -> int:
        """Number of transitions stored."""
        return min(self._added, self.capacity)

    def add(
        self,
        observation: ArrayLike,
        action: int,
        reward: float,
        next_observation: ArrayLike,
        terminated: bool,
    ) -> None:
        """Store a copy of one transition, over the oldest one if the buffer is full.

        Raises:
            ShapeError: if an observation has another shape than the buffer was made for.
        """
        expected = self._data.observation.shape[1:]
        for name, given in (("observation", observation), ("next_observation", next_observation)):
            # Numpy would repeat a short observation until it fits.
            if np.shape(given) != expected:
                raise ShapeError(
                    f"`{name}` got shape {np.shape(given)}; expected {expected}, "
                    "the shape that the buffer was made for."
                )
        i = self._added % self.capacity
        data = self._data
        data.observation[i] = observation
        data.action[i] = action
        data.reward[i] = reward
        data.next_observation[i] = next_observation
        data.terminated[i] = terminated
        self._added += 1

    def sample(self, batch_size: int, rng: np.random.Generator) -> Transitions:
        """Draw `batch_size` transitions uniformly, with replacement.

        Args:
            batch_size: number of transitions, at least 1.
            rng: source of the draw.

        Raises:
            ConfigurationError: if the buffer is empty.

        Note:
            Drawing without replacement costs ten times as much at 10,000 transitions and changes
            a batch of 128 in one row on average.
        """
        if not len(self):
            raise ConfigurationError("The replay buffer is empty: add a transition first.")
        rows = rng.integers(len(self), size=batch_size)
        data = self._data
        return Transitions(
            data.observation.take(rows, axis=0),
            data.action.take(rows, axis=0),
            data.reward.take(rows, axis=0),
            data.next_observation.take(rows, axis=0),
            data.terminated.take(rows, axis=0),
        )
