"""Observations brought to a common scale before any network of values is called."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hunch.rl.replay.transitions import Transitions

Doubles = NDArray[np.float64]
Floats = NDArray[np.float32]

_CLIP: Final = np.float32(10.0)  # standard deviations, as of `hunch.nn.Normalizer`
# A number that varies by less than this share of its mean varies by rounding to single precision.
_LEAST_SHARE: Final = 1e-6
_LEAST_VARIANCE: Final = 1e-30  # of a mean of 0; its root is a number in single precision


class ObservationScale:
    """Each number of an observation shifted and scaled by its mean and variance so far.

    Calling it changes nothing: `take_in` says what was seen. Until then observations pass as they
    are, only clipped to ±10. Each replica has statistics of its own, which do not depend on how
    many others there are, to the bit.

    Args:
        shape: of one observation.
        replicas: agents that live side by side.

    Example:
        >>> scale = ObservationScale((1,))
        >>> scale.take_in(np.array([[[1.0], [3.0]]]), np.ones((1, 2), bool))
        >>> scale(np.array([[[3.0], [2.0]]], np.float32))
        array([[[1.],
                [0.]]], dtype=float32)
    """

    def __init__(self, shape: tuple[int, ...], replicas: int = 1) -> None:
        self._shape = tuple(shape)
        self._count = np.zeros((replicas, 1))
        self._mean = np.zeros((replicas, math.prod(shape)))
        self._spread = np.zeros_like(self._mean)  # squares of distances from the mean, added up
        self._line: tuple[Floats, Floats] | None = None

    @property
    def count(self) -> NDArray[np.int64]:
        """How many observations were taken in, `(replicas,)`."""
        return self._count[:, 0].astype(np.int64)

    @property
    def mean(self) -> Doubles:
        """Of what was taken in, `(replicas, *shape)`; 0 before there is any."""
        return self._mean.reshape(-1, *self._shape).copy()

    @property
    def variance(self) -> Doubles:
        """Of what was taken in, `(replicas, *shape)`; 1 before there is any."""
        return self._variance().reshape(-1, *self._shape)

    def take_in(self, observation: NDArray[Any], counts: NDArray[np.bool_]) -> None:
        """Let the statistics be those of more observations.

        Args:
            observation: `(replicas, envs, *shape)`.
            counts: which of them count, `(replicas, envs)`.

        Reference:
            Chan, Golub & LeVeque (1983), "Algorithms for computing the sample variance".
        """
        seen = observation.reshape(*counts.shape, -1).astype(np.float64)
        new, mean, around = _moments(seen, counts)
        total = self._count + new
        away = mean - self._mean
        moved = away * (new / np.maximum(total, 1.0))
        self._spread += around + away * moved * self._count
        self._mean += moved
        self._count[:] = total
        self._line = None

    def __call__(self, observation: NDArray[Any]) -> Floats:
        """Observations `(replicas, batch, *shape)` at a common scale, by the statistics of now."""
        mean, factor = self._line or self._drawn()
        return _scaled(observation, mean[:, None], factor[:, None])

    def of_batch(self, batch: Transitions) -> Transitions:
        """A batch that was stored as it was seen, by the statistics of now."""
        return batch._replace(
            observation=self(batch.observation), next_observation=self(batch.next_observation)
        )

    def of(self, observation: Tensor, replica: int) -> Tensor:
        """As a call, of observations `(batch, *shape)` of one replica."""
        mean, factor = self._line or self._drawn()
        found = _scaled(observation.cpu().numpy(), mean[replica], factor[replica])
        return torch.from_numpy(found).to(observation.device)

    def _variance(self) -> Doubles:
        return np.where(self._count > 0, self._spread / np.maximum(self._count, 1.0), 1.0)

    def _drawn(self) -> tuple[Floats, Floats]:
        """What is taken from each number, and what the rest is multiplied with."""
        least = self._mean * self._mean * _LEAST_SHARE**2 + _LEAST_VARIANCE
        both = self._mean, 1.0 / np.sqrt(self._variance() + least)
        mean, factor = (own.astype(np.float32).reshape(-1, *self._shape) for own in both)
        self._line = mean, factor
        return self._line

    def state_dict(self) -> dict[str, Doubles]:
        """The statistics themselves, not copies of them; each has replicas on axis 0."""
        return {"count": self._count, "mean": self._mean, "spread": self._spread}

    def load_state_dict(self, state: Mapping[str, Doubles]) -> None:
        """Go on with the statistics in `state`."""
        for name, own in self.state_dict().items():
            own[...] = state[name]
        self.refresh()

    def refresh(self) -> None:
        """Take notice of what was written into the statistics."""
        self._line = None


class BoundsScale(ObservationScale):
    """Each number of an observation divided by one of its own, such as the largest it can be.

    So 0 stays 0, and nothing has to be seen first.

    Args:
        size: what each number is divided by, above 0.
        replicas: agents that live side by side.

    Example:
        >>> BoundsScale(np.array([4.0, 0.5]))(np.array([[[1.0, 0.25]]], np.float32))
        array([[[0.25, 0.5 ]]], dtype=float32)
    """

    def __init__(self, size: NDArray[Any], replicas: int = 1) -> None:
        super().__init__(size.shape, replicas)
        self._spread[:] = np.square(size.reshape(-1).astype(np.float64))
        self._count[:] = 1.0

    def take_in(self, observation: NDArray[Any], counts: NDArray[np.bool_]) -> None:
        """Nothing: bounds do not depend on what is seen."""


def _moments(seen: Doubles, counts: NDArray[np.bool_]) -> tuple[Any, Doubles, Any]:
    """Number, mean and summed squares around it of what counts of `seen (replicas, envs, …)`."""
    if seen.shape[1] == 1 and np.count_nonzero(counts) == counts.size:
        return 1.0, seen[:, 0], 0.0
    weight = counts[..., None].astype(np.float64)
    new = weight.sum(1)
    mean = _added_up(seen * weight) / np.maximum(new, 1.0)
    return new, mean, _added_up((seen - mean[:, None]) ** 2 * weight)


def _added_up(values: Doubles) -> Doubles:
    """Sums over axis 1, one after another: how `sum` rounds depends on the other axes."""
    total: Doubles = np.add.accumulate(values, axis=1)[:, -1]
    return total


def _scaled(observation: NDArray[Any], mean: Floats, factor: Floats) -> Floats:
    found: Floats = np.subtract(observation, mean, dtype=np.float32)
    found *= factor
    np.minimum(found, _CLIP, out=found)
    return np.maximum(found, -_CLIP, out=found)
