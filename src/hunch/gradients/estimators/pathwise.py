"""The path: gradients through `rsample`, and the rule that takes it wherever it is right."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Distribution

from hunch.errors import ConfigurationError
from hunch.gradients.checks.continuity import dependence, jumps_on_the_way, looked_into
from hunch.gradients.checks.costs import mean_cost
from hunch.gradients.checks.distributions import tensors_of
from hunch.gradients.checks.gradient_flow import (
    carries_gradient,
    hides_gradient,
    in_forward_mode,
)
from hunch.gradients.checks.paths import has_own_steps, lacks_path
from hunch.gradients.estimators.request import Request
from hunch.gradients.estimators.score import score, score_of
from hunch.gradients.estimators.transformed import untransformed


def pathwise(request: Request) -> Tensor:
    """The pathwise gradient, through `rsample`: for costs that are continuous in the sample.

    Raises:
        ConfigurationError: if the distribution has no `rsample`, if the cost lets no gradient
            through, or if a baseline was given.

    Example:
        >>> mu = torch.tensor(0.5, requires_grad=True)
        >>> dist = torch.distributions.Normal(mu, 1.0)
        >>> pathwise(Request(lambda z: 3 * z, dist, 4)).backward()
        >>> mu.grad
        tensor(3.)

    Reference:
        Kingma & Welling (2014), "Auto-Encoding Variational Bayes"; Figurnov et al. (2018),
        "Implicit Reparameterization Gradients", for Gamma, Beta and Dirichlet.
    """
    request.refuse_baseline("pathwise")
    dist = request.dist
    lack = lacks_path(dist)
    if lack:
        raise ConfigurationError(
            f"`estimator` got 'pathwise' for {type(dist).__name__}, {lack}; "
            "expected a reparameterized distribution; use estimator='score'."
        )
    samples = request.draw(differentiable=True, groups=1)
    if has_own_steps(dist) and jumps_on_the_way(samples):
        raise ConfigurationError(
            f"`estimator` got 'pathwise' for {type(dist).__name__}, one of whose transforms "
            "rounds; expected a continuous one; use estimator='score'."
        )
    cost = request.cost(samples)
    if not cost.requires_grad and carries_gradient(samples) and not carries_gradient(cost):
        raise ConfigurationError(
            "`f` returned a cost that carries no gradient of its samples, so the pathwise gradient "
            "is lost; expected a differentiable cost; use estimator='score'."
        )
    return mean_cost(cost)


def auto(request: Request) -> Tensor:
    """Pathwise where the distribution and the cost allow it, else the score function.

    Example:
        >>> mu = torch.tensor(0.5, requires_grad=True)
        >>> auto(Request(lambda z: 3 * z, torch.distributions.Normal(mu, 1.0), 4)).backward()
        >>> mu.grad
        tensor(3.)
    """
    if lacks_path(request.dist) or _forward_only(request.dist):
        return score(request)
    request = untransformed(request)
    f, samples = request.f, request.draw(differentiable=True)
    if samples.is_leaf:  # such as a parameter itself: give the draw a graph node of its own
        samples = samples.view_as(samples)
    cost = None
    if torch.compiler.is_compiling():  # the graph is hidden there: look before it is compiled
        way = looked_into(f, samples)
    else:
        cost = request.cost(samples)
        way = dependence(cost, samples)
        if way == "opaque":
            way = looked_into(f, samples)
    if has_own_steps(request.dist) and jumps_on_the_way(samples):
        way = "jump"
    if way == "smooth":
        return mean_cost(request.cost(samples) if cost is None else cost)
    fixed = samples.detach()
    # A path must not be added to the score, neither that of a cost with jumps nor one that a
    # transform hides: ask again without it.
    if cost is None or way != "none" or hides_gradient(samples):
        cost = request.cost(fixed)
    return score_of(request, fixed, cost)


def _forward_only(dist: Distribution) -> bool:
    """Whether forward mode alone differentiates, where no graph shows what the cost does."""
    return in_forward_mode() and not any(p.requires_grad for p in tensors_of(dist))
