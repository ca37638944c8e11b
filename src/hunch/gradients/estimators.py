"""The estimators by name, each one function of `f`, a distribution and a number of samples.

Add here: a function with the signature of `score` and a line in `ESTIMATORS`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch import Tensor
from torch.distributions import Distribution

from hunch.errors import ConfigurationError
from hunch.gradients.baselines import Baseline, resolve_baseline
from hunch.gradients.continuity import dependence
from hunch.gradients.greedy import greedy_cost
from hunch.gradients.guards import check_cost, check_generator
from hunch.gradients.score_function import score_terms
from hunch.seeding import drawing_from

Cost = Callable[[Tensor], Tensor]
Estimator = Callable[[Cost, Distribution, int, Baseline, torch.Generator | None], Tensor]


def score(
    f: Cost, dist: Distribution, n: int, baseline: Baseline, generator: torch.Generator | None
) -> Tensor:
    """The score function: any distribution with a density, any cost.

    Raises:
        ConfigurationError: if the support moves with parameters that are to be trained.

    Example:
        >>> dist = torch.distributions.Poisson(torch.tensor(3.0))
        >>> score(lambda z: 0 * z, dist, 4, "loo", None)
        tensor(0.)
    """
    samples = _draw(dist, n, generator, differentiable=False)
    return _score(f, _checked(f(samples), samples, dist), samples, dist, baseline)


def pathwise(
    f: Cost, dist: Distribution, n: int, baseline: Baseline, generator: torch.Generator | None
) -> Tensor:
    """The pathwise gradient, through `rsample`: for costs that are continuous in the sample.

    Raises:
        ConfigurationError: if the distribution has no `rsample`, if the cost lets no gradient
            through, or if a baseline was given.

    Example:
        >>> mu = torch.tensor(0.5, requires_grad=True)
        >>> pathwise(lambda z: 3 * z, torch.distributions.Normal(mu, 1.0), 4, None, None).backward()
        >>> mu.grad
        tensor(3.)

    Reference:
        Kingma & Welling (2014), "Auto-Encoding Variational Bayes"; Figurnov et al. (2018),
        "Implicit Reparameterization Gradients", for Gamma, Beta and Dirichlet.
    """
    _refuse_baseline(baseline, "pathwise")
    if not dist.has_rsample:
        raise ConfigurationError(
            f"`estimator` got 'pathwise' for {type(dist).__name__}, which has no rsample(); "
            "expected a reparameterized distribution; use estimator='score'."
        )
    samples = _draw(dist, n, generator, differentiable=True)
    cost = _checked(f(samples), samples, dist)
    if samples.requires_grad and not cost.requires_grad:
        raise ConfigurationError(
            "`f` returned a cost that carries no gradient of its samples, so the pathwise gradient "
            "is lost; expected a differentiable cost; use estimator='score'."
        )
    return _mean(cost)


def enumerate_support(
    f: Cost, dist: Distribution, n: int, baseline: Baseline, generator: torch.Generator | None
) -> Tensor:
    """The exact expectation over a finite support: no sample is drawn, `n` plays no part.

    `f` gets every value of the support along its first axis.

    Raises:
        ConfigurationError: if the support cannot be enumerated, or if a baseline was given.

    Example:
        >>> p = torch.tensor(0.25, requires_grad=True)
        >>> dist = torch.distributions.Bernoulli(p)
        >>> enumerate_support(lambda z: 8 * z, dist, 1, None, None).item()
        2.0
    """
    _refuse_baseline(baseline, "enumerate")
    try:
        values = dist.enumerate_support(expand=True)
    except NotImplementedError:
        raise ConfigurationError(
            f"`estimator` got 'enumerate' for {type(dist).__name__}, whose support torch cannot "
            "list; expected a finite support such as Categorical's; use estimator='score'."
        ) from None
    cost = _checked(f(values), values, dist)
    return (dist.log_prob(values).exp() * cost).sum(0)


def auto(
    f: Cost, dist: Distribution, n: int, baseline: Baseline, generator: torch.Generator | None
) -> Tensor:
    """Pathwise where the distribution and the cost allow it, else the score function.

    Example:
        >>> mu = torch.tensor(0.5, requires_grad=True)
        >>> auto(lambda z: 3 * z, torch.distributions.Normal(mu, 1.0), 4, "auto", None).backward()
        >>> mu.grad
        tensor(3.)
    """
    if not dist.has_rsample:
        return score(f, dist, n, baseline, generator)
    samples = _draw(dist, n, generator, differentiable=True)
    if samples.is_leaf:  # such as a parameter itself: give the draw a graph node of its own
        samples = samples.view_as(samples)
    cost = _checked(f(samples), samples, dist)
    way = dependence(cost, samples)
    if way == "smooth":
        return _mean(cost)
    fixed = samples.detach()
    # The pathwise part of a cost with jumps must not be added to the score: ask again without it.
    if way == "jump":
        cost = _checked(f(fixed), fixed, dist)
    return _score(f, cost, fixed, dist, baseline)


ESTIMATORS: dict[str, Estimator] = {
    "auto": auto,
    "score": score,
    "pathwise": pathwise,
    "enumerate": enumerate_support,
}


def _draw(
    dist: Distribution, n: int, generator: torch.Generator | None, *, differentiable: bool
) -> Tensor:
    # A sample axis of length 1 would make every operation of the draw broadcast, and its backward
    # pass sum over nothing: a view adds it for less.
    shape = torch.Size([n] if n > 1 else [])
    with drawing_from(generator) if generator is not None else nullcontext():
        samples = dist.rsample(shape) if differentiable else dist.sample(shape).detach()
    check_generator(generator, samples)
    return samples if n > 1 else samples.unsqueeze(0)


def _checked(cost: Tensor, samples: Tensor, dist: Distribution) -> Tensor:
    dtype = samples.dtype if samples.is_floating_point() else torch.get_default_dtype()
    return check_cost(cost, samples.shape[0], dist.batch_shape, dtype)


def _score(
    f: Cost, cost: Tensor, samples: Tensor, dist: Distribution, baseline: Baseline
) -> Tensor:
    _refuse_moving_support(dist)
    if isinstance(baseline, str) and baseline == "self-critical":
        baseline = greedy_cost(f, dist)
    constant = resolve_baseline(baseline, cost)
    if len(samples) > 1:
        return score_terms(dist.log_prob(samples), cost, constant).mean(0)
    # One sample is its own mean: without its axis two steps of the backward pass fall away.
    if constant is not None and constant.dim() > 0:
        constant = constant.reshape(dist.batch_shape)
    return score_terms(dist.log_prob(samples.squeeze(0)), cost.squeeze(0), constant)


def _mean(cost: Tensor) -> Tensor:
    """Over the samples; one sample is its own mean."""
    return cost.squeeze(0) if len(cost) == 1 else cost.mean(0)


def _refuse_moving_support(dist: Distribution) -> None:
    """Where the support moves with a parameter the score misses what crosses its border."""
    try:
        support: object = dist.support
    except NotImplementedError:
        return
    while hasattr(support, "base_constraint"):
        support = support.base_constraint
    bounds = [bound for bound in vars(support).values() if isinstance(bound, Tensor)]
    if any(bound.requires_grad for bound in bounds):
        raise ConfigurationError(
            f"`dist` got {type(dist).__name__}, whose support moves with a trained parameter; the "
            "score function is biased there; use estimator='pathwise' with a continuous cost."
        )


def _refuse_baseline(baseline: Baseline, estimator: str) -> None:
    if not (baseline is None or (isinstance(baseline, str) and baseline == "auto")):
        raise ConfigurationError(
            f"`baseline` was given with estimator={estimator!r}; expected None or 'auto', because "
            "only the score function has a use for a baseline."
        )
