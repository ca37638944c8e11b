"""What stands at the end of a network: streams side by side, a Gaussian, quantiles."""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hunch.errors import ConfigurationError, ShapeError
from hunch.nn.batched import batched, run_batched
from hunch.validation import real_number


class Streams(nn.Module):
    """Two networks on the same features, their outputs side by side.

    The shape of a dueling network: one stream for the value of the observation, one for the
    advantages of the actions. What they add up to is the reader's business.

    Args:
        value: from features `(…, in)` to `(…, p)`.
        advantage: from features `(…, in)` to `(…, q)`.

    Shape:
        `(…, in)` to `(…, p + q)`.

    Example:
        >>> Streams(nn.Linear(4, 1), nn.Linear(4, 2))(torch.zeros(5, 4)).shape
        torch.Size([5, 3])

    Reference:
        Wang et al. (2016), "Dueling network architectures for deep reinforcement learning",
        figure 1.
    """

    def __init__(self, value: nn.Module, advantage: nn.Module) -> None:
        super().__init__()
        self.value = value
        self.advantage = advantage

    def forward(self, features: Tensor) -> Tensor:
        """Return the outputs of both streams, the value's first."""
        return torch.cat([self.value(features), self.advantage(features)], dim=-1)


@batched(Streams)
def _streams(net: Streams, x: Tensor) -> Tensor:
    return torch.cat([run_batched(net.value, x), run_batched(net.advantage, x)], dim=-1)


class _Head(nn.Module):
    """Two networks on the same inputs, whose outputs a subclass joins."""

    def __init__(self, location: nn.Module, spread: nn.Module) -> None:
        super().__init__()
        self.location, self.spread = location, spread

    def forward(self, *inputs: Any, **kwargs: Any) -> Tensor:
        """Return the outputs of both networks, joined."""
        return self.join(self.location(*inputs, **kwargs), self.spread(*inputs, **kwargs))

    @abstractmethod
    def join(self, location: Tensor, spread: Tensor) -> Tensor:
        """The head's output, given what its two networks return."""


class GaussianHead(_Head):
    """A mean and a standard deviation for each output, both learned.

    The standard deviation is `floor + softplus(spread(x))`, never 0. `hunch.inference.fit` trains
    it with `loss="gaussian_nll"` or `"beta_nll"`; `predict` takes it for the observation noise.

    Args:
        location: from inputs to the mean, `(…, *out)`. A `RandomizedPrior` belongs here: it makes
            members disagree about the mean alone, not about the noise.
        spread: from the same inputs to `(…, *out)`, the standard deviation before softplus.
        floor: the least standard deviation, in units of y; above 0.

    Shape:
        that of `location` with one more axis, `(…, *out, 2)`: mean, standard deviation.

    Raises:
        ConfigurationError: if `floor` is not above 0.
        ShapeError: when called, if location and spread differ in shape.

    Note:
        The trap of a learned variance: early in training a mean that is still wrong looks like
        noise, the likelihood answers with a large variance, and the large variance takes the
        gradient from the mean, which then stays wrong there. `"beta_nll"` gives it back.

        Two networks rather than two outputs of one: what the noise needs to learn does not bend
        what the mean learns. For a shared trunk: `nn.Sequential(trunk, GaussianHead(…, …))`.

    Example:
        >>> from hunch.nn import MLP, RandomizedPrior
        >>> mean = RandomizedPrior(MLP(1, [20], 1), prior=MLP(1, [20], 1))
        >>> head = GaussianHead(mean, MLP(1, [20], 1))
        >>> head(torch.zeros(5, 1)).shape
        torch.Size([5, 1, 2])

    Reference:
        Nix & Weigend (1994), "Estimating the mean and variance of the target probability
        distribution"; Seitzer et al. (2022), "On the pitfalls of heteroscedastic uncertainty
        estimation with probabilistic neural networks", for the trap.
    """

    def __init__(self, location: nn.Module, spread: nn.Module, *, floor: float = 1e-3) -> None:
        super().__init__(location, spread)
        self.floor = real_number("floor", floor, above=0.0)

    def join(self, location: Tensor, spread: Tensor) -> Tensor:
        """The head's output, given what its two networks return."""
        if location.shape != spread.shape:
            raise ShapeError(
                f"`spread` returned shape {tuple(spread.shape)} and `location` "
                f"{tuple(location.shape)}; expected the same."
            )
        return torch.stack([location, self.floor + F.softplus(spread)], dim=-1)

    def extra_repr(self) -> str:
        """The floor."""
        return f"floor={self.floor}"


class QuantileHead(_Head):
    """Quantiles of each output that cannot cross.

    The middle level is `location(x)`; each step away from it adds a softplus of one output of
    `spread`. `hunch.inference.fit` trains it with `loss="quantile"`, and `predict` gives members'
    quantiles: their mean is the answer, their `epistemic` how far members disagree about it.

    Args:
        location: from inputs to the middle quantile, `(…, out)`. A `RandomizedPrior` belongs here:
            it moves all quantiles of a member together.
        spread: from the same inputs to `(…, out · (levels − 1))`.
        levels: at least two probabilities, in increasing order.

    Shape:
        `(…, out, levels)`.

    Raises:
        ConfigurationError: if the levels are not increasing, or not between 0 and 1.
        ShapeError: when called, if the networks' outputs do not fit.

    Example:
        >>> from hunch.nn import MLP
        >>> head = QuantileHead(MLP(1, [20], 1), MLP(1, [20], 2), levels=(0.05, 0.5, 0.95))
        >>> low, middle, high = head(torch.zeros(5, 1)).unbind(-1)
        >>> bool((low < middle).all() and (middle < high).all())
        True

    Reference:
        Koenker & Bassett (1978), "Regression quantiles".
    """

    def __init__(self, location: nn.Module, spread: nn.Module, *, levels: Sequence[float]) -> None:
        super().__init__(location, spread)
        edges = [0.0, *levels, 1.0]
        if len(levels) < 2 or any(not p < q for p, q in itertools.pairwise(edges)):
            raise ConfigurationError(
                f"`levels` got {list(levels)}; expected at least two probabilities between 0 and 1 "
                "in increasing order."
            )
        self.levels = tuple(float(q) for q in levels)

    def join(self, location: Tensor, spread: Tensor) -> Tensor:
        """The head's output, given what its two networks return."""
        steps = len(self.levels) - 1
        out = location.shape[-1]
        if spread.shape != (*location.shape[:-1], out * steps):
            raise ShapeError(
                f"`spread` returned shape {tuple(spread.shape)} for {len(self.levels)} levels; "
                f"expected {(*location.shape[:-1], out * steps)}."
            )
        gaps = F.softplus(spread).unflatten(-1, (out, steps))
        middle = len(self.levels) // 2
        start = location.unsqueeze(-1)
        above = start + gaps[..., middle:].cumsum(-1)
        below = start - gaps[..., :middle].flip(-1).cumsum(-1).flip(-1)
        return torch.cat([below, start, above], dim=-1)

    def extra_repr(self) -> str:
        """The levels."""
        return f"levels={self.levels}"


@batched(GaussianHead, QuantileHead)
def _heads(net: GaussianHead | QuantileHead, x: Tensor) -> Tensor:
    return net.join(run_batched(net.location, x), run_batched(net.spread, x))


def head_of(module: nn.Module) -> GaussianHead | QuantileHead | None:
    """The head that a network ends with: the network itself or the last of a sequence.

    Example:
        >>> head_of(nn.Sequential(nn.Linear(2, 1))) is None
        True
    """
    while type(module) is nn.Sequential and len(module):
        module = module[-1]
    return module if isinstance(module, GaussianHead | QuantileHead) else None
