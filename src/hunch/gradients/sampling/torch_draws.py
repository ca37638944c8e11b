"""Torch's own draws, also inside the transforms of `torch.func` and in forward mode.

There torch cannot draw from many of its distributions: a draw made in place has no copy for each
row of `vmap`, Dirichlet's has no rule for any transform, Gamma's none for forward mode. A draw for
the score function needs no derivative, so it is made from constants; and what is drawn in place is
drawn anew.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Dirichlet, Distribution
from torch.overrides import TorchFunctionMode

from hunch.errors import ConfigurationError
from hunch.gradients.checks.distributions import remade
from hunch.gradients.checks.gradient_flow import in_transform


def torch_draw(dist: Distribution, shape: torch.Size, differentiable: bool) -> Tensor:
    """Samples of shape `(*shape, *batch, *event)` by `rsample` or `sample`.

    Raises:
        ConfigurationError: if torch cannot draw from the distribution inside this transform.

    Example:
        >>> beta = torch.distributions.Beta(torch.ones(3), torch.ones(3), validate_args=False)
        >>> def mean(row):
        ...     return torch_draw(beta, torch.Size([100]), differentiable=False).mean() * row
        >>> torch.func.vmap(mean, randomness="different")(torch.ones(2)).shape
        torch.Size([2])
    """
    if not in_transform():
        return dist.rsample(shape) if differentiable else dist.sample(shape)
    drawn = dist if differentiable else remade(dist, Tensor.detach, _drawable)
    method = drawn.rsample if differentiable else drawn.sample
    try:
        return method(shape)
    except RuntimeError:
        pass
    try:
        with _Anew():
            return method(shape)
    except RuntimeError as error:
        remedy = "" if not differentiable else "use estimator='score', or "
        text = str(error).strip().splitlines()[0]
        raise ConfigurationError(
            f"`dist` got {type(dist).__name__}, which torch cannot draw from inside this transform "
            f"({text}); expected a distribution that it can; {remedy}call expectation outside of "
            "the transform, with one row of parameters for each of its rows."
        ) from error


# ------------------------------------------------------------------ constants


def _drawable(dist: Distribution) -> Distribution | None:
    if isinstance(dist, Dirichlet) and type(dist).rsample is Dirichlet.rsample:
        return _Simplex(dist.concentration.detach(), validate_args=False)
    return None


class _Simplex(Dirichlet):
    """Torch's draw is one operation that no transform knows; this one is made of gammas."""

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """As `Dirichlet.sample`."""
        return self.rsample(sample_shape)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """As `Dirichlet.sample`: no gradient flows through."""
        shape = self._extended_shape(sample_shape)
        size = self.concentration.expand(shape)
        # A gamma of a small shape underflows: its logarithm, through one of a shape larger by one,
        # does not.
        larger = torch._standard_gamma(size + 1)
        share = torch.rand(shape, dtype=torch.float64, device=size.device).log().to(size.dtype)
        return (larger.log() + share / size).softmax(-1)


# ------------------------------------------------------------------ draws in place


def _uniform(like: Tensor, low: float = 0.0, high: float = 1.0) -> Tensor:
    # In double, whose smallest number leaves room for tails.
    unit = torch.rand(like.shape, dtype=torch.float64, device=like.device)
    return low + (high - low) * unit


def _normal(like: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
    return mean + std * torch.randn(like.shape, dtype=like.dtype, device=like.device)


def _exponential(like: Tensor, rate: float = 1.0) -> Tensor:
    return -(-_uniform(like)).log1p() / rate


def _cauchy(like: Tensor, median: float = 0.0, sigma: float = 1.0) -> Tensor:
    return median + sigma * (math.pi * (_uniform(like) - 0.5)).tan()


_ANEW: dict[Any, Callable[..., Tensor]] = {
    Tensor.normal_: _normal,
    Tensor.uniform_: _uniform,
    Tensor.exponential_: _exponential,
    Tensor.cauchy_: _cauchy,
}


class _Anew(TorchFunctionMode):
    """Within this block draws in place give a new tensor, of which `vmap` makes one for each row.

    Torch's distributions use what the draw returns, never what it was made in.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """The operation itself, or its replacement."""
        anew = _ANEW.get(func)
        if anew is None:
            return func(*args, **(kwargs or {}))
        return anew(*args, **(kwargs or {})).to(args[0].dtype)
