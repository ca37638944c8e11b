"""Gradients through discrete samples that pretend they were continuous: biased, and often useful.

Nothing in this file is unbiased. The estimators are here to be compared with those that are, and
because a little bias is at times worth a much lower variance. `hunch.gradients.diagnose` measures
both on a problem of yours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.distributions import (
    Bernoulli,
    Distribution,
    Independent,
    OneHotCategorical,
    RelaxedBernoulli,
    RelaxedOneHotCategorical,
)

from hunch.errors import ConfigurationError
from hunch.gradients.checks.costs import checked, mean_cost
from hunch.gradients.checks.distributions import base_of
from hunch.gradients.checks.softened import softened_cost
from hunch.gradients.estimators.request import Request
from hunch.validation import real_number


@dataclass(frozen=True)
class StraightThrough:
    """The straight-through gradient, biased: that of `f` at the sample, taken for the mean's.

    The value is unbiased. The gradient is right for costs that are linear in the sample, and wrong
    by the cost's curvature otherwise. Bernoulli and OneHotCategorical.

    Example:
        >>> p = torch.tensor(0.25, requires_grad=True)
        >>> dist = torch.distributions.Bernoulli(p)
        >>> StraightThrough()(Request(lambda z: 3 * z, dist, 4)).backward()
        >>> p.grad
        tensor(3.)

    Reference:
        Bengio et al. (2013), "Estimating or Propagating Gradients Through Stochastic Neurons for
        Conditional Computation".
    """

    biased: ClassVar[bool] = True

    def __call__(self, request: Request) -> Tensor:
        """The estimate, for `hunch.gradients.expectation`.

        Raises:
            ConfigurationError: for another distribution, a baseline, or a cost without a gradient.
        """
        request.refuse_baseline("straight_through")
        dist = request.dist
        softened_family(dist, "straight_through")
        # The difference is zero and has the mean's gradient.
        return _through(request, request.draw(groups=1) + (dist.mean - dist.mean.detach()))


@dataclass(frozen=True)
class Gumbel:
    """The Gumbel-softmax gradient, biased: samples softened until a gradient flows.

    Give an instance as `estimator`; the name `"gumbel"` stands for `Gumbel()`. The cost is asked at
    points between the values of the distribution, so it must make sense there, and both value and
    gradient belong to the softened problem. Bernoulli and OneHotCategorical.

    Args:
        temperature: above 0. Towards 0 the bias goes and the variance grows without bound.
        hard: the cost sees the exact sample, its gradient is passed on to the soft one. The value
            is unbiased then, the gradient is not.

    Raises:
        ConfigurationError: if `temperature` is not above 0.

    Example:
        >>> from hunch.gradients import expectation
        >>> logits = torch.zeros(3, requires_grad=True)
        >>> dist = torch.distributions.OneHotCategorical(logits=logits)
        >>> g = torch.Generator().manual_seed(0)
        >>> how = Gumbel(temperature=0.3)
        >>> loss = expectation(lambda z: z[..., 0], dist, 1000, estimator=how, generator=g)
        >>> loss.backward()  # exactly: 1/3, with the gradient 2/9, -1/9, -1/9
        >>> round(loss.item(), 1), [round(x, 1) for x in logits.grad.tolist()]
        (0.3, [0.2, -0.1, -0.1])

    Reference:
        Jang et al. (2017), "Categorical Reparameterization with Gumbel-Softmax"; Maddison et al.
        (2017), "The Concrete Distribution".
    """

    temperature: float = 0.5
    hard: bool = False
    biased: ClassVar[bool] = True

    def __post_init__(self) -> None:
        real_number("temperature", self.temperature, above=0.0)

    def __call__(self, request: Request) -> Tensor:
        """The estimate, for `hunch.gradients.expectation`."""
        request.refuse_baseline("gumbel")
        softened_family(request.dist, "gumbel")
        relaxed = request._replace(dist=_relaxed(request.dist, self.temperature))
        soft = relaxed.draw(differentiable=True, groups=1)
        if not self.hard:
            return _through(request, soft)
        sharp = _sharpened(soft.detach(), request.dist)
        return _through(request, sharp + (soft - soft.detach()))


def _through(request: Request, samples: Tensor) -> Tensor:
    cost = checked(softened_cost(request.f, samples), samples, request.dist)
    if samples.requires_grad and not cost.requires_grad:
        raise ConfigurationError(
            "`f` returned a cost that carries no gradient of its samples, which this estimator "
            "lives on; expected a differentiable cost; use estimator='score'."
        )
    return mean_cost(cost)


def softened_family(dist: Distribution, estimator: str) -> Bernoulli | OneHotCategorical:
    """The distribution without its `Independent`, if it is one that can be softened.

    Raises:
        ConfigurationError: if it is not.

    Example:
        >>> coins = Bernoulli(torch.full((3,), 0.5))
        >>> softened_family(Independent(coins, 1), "gumbel") is coins
        True
    """
    base = base_of(dist)
    if not isinstance(base, Bernoulli | OneHotCategorical):
        raise ConfigurationError(
            f"`estimator` got {estimator!r} for {type(base).__name__}; expected Bernoulli or "
            "OneHotCategorical, whose samples are numbers a gradient can flow into (the indices of "
            "Categorical are not); use estimator='score'."
        )
    return base


def _relaxed(dist: Distribution, temperature: float) -> Distribution:
    if isinstance(dist, Independent):
        base = _relaxed(dist.base_dist, temperature)
        return Independent(base, dist.reinterpreted_batch_ndims)
    logits = dist.logits  # type: ignore[attr-defined]
    heat = torch.as_tensor(temperature, dtype=logits.dtype, device=logits.device)
    if isinstance(dist, Bernoulli):
        return RelaxedBernoulli(heat, logits=logits)
    return RelaxedOneHotCategorical(heat, logits=logits)


def _sharpened(soft: Tensor, dist: Distribution) -> Tensor:
    """The exact sample that belongs to a soft one."""
    if isinstance(softened_family(dist, "gumbel"), Bernoulli):
        return (soft > 0.5).to(soft.dtype)
    return torch.zeros_like(soft).scatter_(-1, soft.argmax(-1, keepdim=True), 1.0)
