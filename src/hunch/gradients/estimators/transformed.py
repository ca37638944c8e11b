"""A transform that is not trained belongs to the cost: the score function needs only the base.

The log-probability of `T(x)` is that of `x` and a term without parameters. Computed from `T(x)` it
is lost where `T` rounds: tanh of 10 is 1 in single precision, whose inverse is infinite, and a
sigmoid of 20 is clamped to what belongs to 16.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, TransformedDistribution

from hunch.gradients.baselines.given import is_named
from hunch.gradients.checks.costs import Cost, check_path
from hunch.gradients.checks.distributions import parameter_of
from hunch.gradients.checks.gradient_flow import carries_gradient
from hunch.gradients.estimators.request import Request


def untransformed(request: Request) -> Request:
    """A request for the same expectation, without transforms that are not trained.

    Example:
        >>> squashed = TransformedDistribution(
        ...     torch.distributions.Normal(0.0, 1.0), torch.distributions.TanhTransform())
        >>> plain = untransformed(Request(torch.square, squashed, 2))
        >>> plain.dist, round(plain.f(torch.tensor(0.5)).item(), 3)  # tanh(0.5)²
        (Normal(loc: 0.0, scale: 1.0), 0.214)
    """
    # The mode that the self-critical baseline asks is that of the whole.
    if is_named(request.baseline, "self-critical"):
        return request
    f, dist = _untransformed(request.f, request.dist)
    return request if dist is request.dist else request._replace(f=f, dist=dist)


def _untransformed(f: Cost, dist: Distribution) -> tuple[Cost, Distribution]:
    if isinstance(dist, Independent):
        inner, base = _untransformed(f, dist.base_dist)
        if base is dist.base_dist:
            return f, dist
        return inner, Independent(base, dist.reinterpreted_batch_ndims)
    if not isinstance(dist, TransformedDistribution):
        return f, dist
    base = dist.base_dist
    if base.batch_shape != dist.batch_shape or _trained(dist):
        return f, dist

    def cost(x: Tensor) -> Tensor:
        z = _applied(dist, x)
        if z.requires_grad:
            check_path(z, dist)
        return f(z)

    return _untransformed(cost, base)


def _applied(dist: TransformedDistribution, x: Tensor) -> Tensor:
    for transform in dist.transforms:
        x = transform(x)
    return x


def _trained(dist: TransformedDistribution) -> bool:
    """Whether a transform carries a gradient to parameters, or hides whether it does."""
    like = parameter_of(dist)
    if like is None:
        return True
    shape = dist.base_dist.batch_shape + dist.base_dist.event_shape
    image = _applied(dist, torch.zeros(shape, dtype=like.dtype, device=like.device))
    return carries_gradient(image)
