"""What a policy's outputs mean: a distribution over actions, to be drawn from and scored.

Actions are kept as they were drawn, "raw": an index of a finite set, or a point before it is
squashed or clipped into the environment's box. Log-probabilities are asked of raw actions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final, Literal, Protocol

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from hunch.errors import ConfigurationError

Floats = NDArray[np.float32]
Bounds = Literal["squashed", "clipped"]

LOG_STD: Final = (-5.0, 2.0)  # beyond these a log-std is held and gets no gradient


class ActionDistribution(Protocol):
    """A family of distributions; a row of `outputs` numbers names one of them."""

    outputs: int

    def sample(self, outputs: Floats, rngs: Sequence[np.random.Generator]) -> NDArray[Any]:
        """Raw actions `(replicas, envs, …)`; each replica draws from its own stream."""

    def best(self, outputs: Floats) -> NDArray[Any]:
        """The raw action to take where none is to be left to chance."""

    def to_env(self, raw: NDArray[Any]) -> NDArray[Any]:
        """What the environment is given; first actions other than 0 are the caller's business."""

    def log_prob(self, outputs: Tensor, raw: Tensor) -> Tensor:
        """Log-probability of raw actions, in nats, shape `(…)` for outputs `(…, outputs)`."""

    def entropy(self, outputs: Tensor) -> Tensor:
        """Entropy in nats, shape `(…)`."""


class Categorical:
    """One of a finite set; outputs are unnormalised log-probabilities.

    Args:
        actions: how many there are.

    Example:
        >>> Categorical(2).log_prob(torch.zeros(1, 2), torch.tensor([1])).exp()
        tensor([0.5000])
    """

    def __init__(self, actions: int) -> None:
        self.outputs = actions

    def sample(self, outputs: Floats, rngs: Sequence[np.random.Generator]) -> NDArray[np.int64]:
        """Indices `(replicas, envs)`, by inverting the distribution function."""
        logits = outputs.astype(np.float64)
        weight = np.exp(logits - logits.max(-1, keepdims=True))
        below = weight.cumsum(-1)
        draws = np.stack([rng.random(outputs.shape[1]) for rng in rngs]) * below[..., -1]
        index: NDArray[np.int64] = (below[..., :-1] <= draws[..., None]).sum(-1)
        return index

    def best(self, outputs: Floats) -> NDArray[np.int64]:
        """The most likely index."""
        index: NDArray[np.int64] = outputs.argmax(-1)
        return index

    def to_env(self, raw: NDArray[Any]) -> NDArray[Any]:
        """The index itself."""
        return raw

    def log_prob(self, outputs: Tensor, raw: Tensor) -> Tensor:
        """The entry of log softmax that `raw` names."""
        return F.log_softmax(outputs, -1).gather(-1, raw.unsqueeze(-1)).squeeze(-1)

    def entropy(self, outputs: Tensor) -> Tensor:
        """−Σ p log p."""
        log = F.log_softmax(outputs, -1).clamp(min=torch.finfo(outputs.dtype).min)
        return -(log.exp() * log).sum(-1)  # nothing of a logit of -∞, which masks an action


class Gaussian:
    """Independent Gaussians, brought into the environment's box.

    Outputs are the means and then the logs of the standard deviations, both for a box of ±1; the
    box of the environment is a shift and a scale of that. An action is drawn as u ~ N(mean, std).

    - `"squashed"`: the environment gets tanh(u); its log-probability has the Jacobian in it.
    - `"clipped"`: the environment gets u clipped; the log-probability is that of u, so the clipping
      counts as part of the environment. Sides without a bound are left as they are.

    Where the box has no width the action is what it has to be: that side counts neither in the
    log-probability nor in the entropy, so nothing is learned there.

    Args:
        box: the environment's actions.
        bounds: which of the two.

    Raises:
        ConfigurationError: if actions are to be squashed into a box without bounds.

    Example:
        >>> actions = Gaussian(spaces.Box(-2, 2, (1,)), "squashed")
        >>> actions.to_env(np.array([100.0]))
        array([2.], dtype=float32)

    Reference:
        Haarnoja et al. (2018), "Soft actor-critic", appendix C, for the squashed log-probability.
    """

    def __init__(self, box: spaces.Box, bounds: Bounds) -> None:
        if not np.issubdtype(box.dtype, np.floating) or len(box.shape) != 1:
            raise ConfigurationError(
                f"`env` has actions {box}; expected a Box of one axis of floating numbers, or a "
                "Discrete: wrap it in gymnasium.wrappers.TransformAction."
            )
        if bounds not in ("squashed", "clipped"):
            raise ConfigurationError(
                f'`bounds` got {bounds!r}; expected "squashed" or "clipped", what is done with '
                "actions outside the environment's box."
            )
        low, high = box.low.astype(np.float64), box.high.astype(np.float64)
        bounded = np.isfinite(low) & np.isfinite(high)
        if bounds == "squashed" and not bounded.all():
            raise ConfigurationError(
                f"`env` has actions {box} without bounds, into which nothing can be squashed; "
                'expected bounds="clipped".'
            )
        self.bounds = bounds
        self.outputs = 2 * box.shape[0]
        self._low, self._high, self._dtype = box.low, box.high, box.dtype
        with np.errstate(invalid="ignore"):  # ∞ − ∞ on a side without bounds, not taken
            self._middle = np.where(bounded, (low + high) / 2, 0.0)
            self._half = np.where(bounded, (high - low) / 2, 1.0)
        self._wide = self._half > 0

    def sample(self, outputs: Floats, rngs: Sequence[np.random.Generator]) -> Floats:
        """Raw actions `(replicas, envs, actions)`."""
        mean, log_std = np.split(outputs, 2, axis=-1)
        shape = mean.shape[1:]
        draws = np.stack([rng.standard_normal(shape, np.float32) for rng in rngs])
        raw: Floats = mean + np.exp(log_std.clip(*LOG_STD)) * draws
        return raw

    def best(self, outputs: Floats) -> Floats:
        """The mean, which squashed is the median."""
        return np.split(outputs, 2, axis=-1)[0]

    def to_env(self, raw: NDArray[Any]) -> NDArray[Any]:
        """Squashed or clipped into the box."""
        inside = np.tanh(raw) if self.bounds == "squashed" else raw
        # Rounding may carry a squashed action over the edge, too.
        action: NDArray[Any] = (self._middle + self._half * inside).clip(self._low, self._high)
        return action.astype(self._dtype)

    def log_prob(self, outputs: Tensor, raw: Tensor) -> Tensor:
        """Log-density of the action in the environment's units; unless squashed, of u's."""
        mean, log_std = outputs.chunk(2, -1)
        log_std = log_std.clamp(*LOG_STD)
        error = (raw - mean) * torch.exp(-log_std)
        log = -0.5 * error.square() - log_std - 0.5 * math.log(2 * math.pi)
        if self.bounds == "squashed":
            # log(1 − tanh² u) without the cancellation.
            log = log - 2 * (math.log(2) - raw - F.softplus(-2 * raw))
        # Where there is no width 1 instead, and then nothing.
        half = np.where(self._wide, self._half, 1.0)
        width = torch.as_tensor(half, dtype=log.dtype, device=log.device)
        return self._sum(log - width.log())

    def entropy(self, outputs: Tensor) -> Tensor:
        """Of the Gaussian of u; that of the squashed action has no closed form."""
        log_std = outputs.chunk(2, -1)[1].clamp(*LOG_STD)
        return self._sum(log_std + 0.5 * math.log(2 * math.pi * math.e))

    def _sum(self, by_side: Tensor) -> Tensor:
        """Over the sides of the box that have a width."""
        if self._wide.all():
            return by_side.sum(-1)
        return by_side[..., torch.from_numpy(self._wide).to(by_side.device)].sum(-1)
