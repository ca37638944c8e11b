"""The estimators by name, each one function of `f`, a distribution and a number of samples.

Add here: a function with the signature of `score` and a line in `ESTIMATORS`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import Distribution

from hunch.errors import ConfigurationError
from hunch.gradients.baselines.from_samples import Baseline, leave_one_out, resolve_baseline
from hunch.gradients.baselines.learned import EMA, Critic
from hunch.gradients.baselines.self_critical import greedy_cost
from hunch.gradients.checks.cautions import caution_collapse, caution_edge
from hunch.gradients.checks.continuity import dependence, jumps_on_the_way, looked_into
from hunch.gradients.checks.costs import (
    COST,
    Cost,
    check_density,
    check_finite,
    checked,
    mean_cost,
    refuse_baseline,
    shaped,
    wide,
)
from hunch.gradients.checks.distributions import tensors_of
from hunch.gradients.checks.gradient_flow import carries_gradient, hides_gradient, in_forward_mode
from hunch.gradients.checks.masks import Mask, check_mask, scored_cost, scored_mean
from hunch.gradients.checks.moving_supports import refuse_moving_support
from hunch.gradients.checks.paths import has_own_steps, lacks_path
from hunch.gradients.estimators.enumeration import outcomes, probabilities
from hunch.gradients.estimators.measure import measure
from hunch.gradients.estimators.relax import Relax
from hunch.gradients.estimators.relaxations import Gumbel, straight_through
from hunch.gradients.estimators.transformed import untransformed
from hunch.gradients.sampling.samplers import draw, independent_groups, own_log_prob
from hunch.gradients.score_function import score_terms

Estimator = Callable[[Cost, Distribution, int, Baseline, torch.Generator | None, str], Tensor]


def score(
    f: Cost,
    dist: Distribution,
    n: int,
    baseline: Baseline,
    generator: torch.Generator | None,
    sampler: str = "iid",
) -> Tensor:
    """The score function: any distribution with a density, any cost.

    Raises:
        ConfigurationError: if the support moves with parameters that are to be trained.

    Example:
        >>> dist = torch.distributions.Poisson(torch.tensor(3.0))
        >>> score(lambda z: 0 * z, dist, 4, "loo", None)
        tensor(0.)
    """
    f, dist = _plain(f, dist, baseline)
    groups = independent_groups(sampler, n, baseline)
    samples = draw(dist, n, generator, differentiable=False, sampler=sampler, groups=groups)
    # What is not finite shows in the value, which is looked at once for costs and densities.
    return _score(f, shaped(f(samples), samples, dist), samples, dist, baseline, groups)


def masked_score(
    f: Cost,
    dist: Distribution,
    n: int,
    baseline: Baseline,
    generator: torch.Generator | None,
    mask: Mask,
) -> Tensor:
    """The score function where some samples cannot be scored: `E[f(z)]` over those that can.

    With leave-one-out the gradient is that of the conditional expectation, also where it depends on
    the sample whether it can be scored: what `log P(scored)` would add to each score is the same
    for all of them, and a baseline made of the others cancels it. With any other baseline it does
    not cancel. Given, in all this, that two were scored: a factor with fewer has no gradient.

    Raises:
        ConfigurationError: if the mask is none, or the baseline would learn from what is masked.

    Example:
        >>> dist = torch.distributions.Poisson(torch.tensor(3.0))
        >>> g = torch.Generator().manual_seed(0)
        >>> masked_score(lambda z: 1 / z, dist, 9, "loo", g, torch.isfinite) < 1
        tensor(True)
    """
    if isinstance(baseline, EMA | Critic) or (isinstance(baseline, str) and baseline == "ema"):
        raise ConfigurationError(
            "`baseline` got an average or a critic together with a mask; expected 'loo', "
            "'self-critical', None, a number or a tensor, because it would learn from costs that "
            "do not count."
        )
    f, dist = _plain(f, dist, baseline)
    samples = draw(dist, n, generator, differentiable=False)
    cost = shaped(f(samples), samples, dist)
    scored = check_mask(mask if isinstance(mask, Tensor) else mask(cost), cost.shape)
    cost = scored_cost(cost, scored)
    check_finite(cost, "the scored cost returned by `f`")
    refuse_moving_support(dist, samples)
    if isinstance(baseline, str) and baseline == "self-critical":
        baseline = greedy_cost(f, dist)
    if isinstance(baseline, str):
        constant = leave_one_out(cost, mask=scored) if n > 1 else None
    else:
        constant = resolve_baseline(baseline, cost)
    caution_edge(dist)
    log_prob = scored_cost(own_log_prob(dist, samples), scored)
    value = scored_mean(score_terms(log_prob, cost, constant), scored, 0)
    check_density(value, cost, log_prob, dist)
    return value


def pathwise(
    f: Cost,
    dist: Distribution,
    n: int,
    baseline: Baseline,
    generator: torch.Generator | None,
    sampler: str = "iid",
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
    refuse_baseline(baseline, "pathwise")
    lack = lacks_path(dist)
    if lack:
        raise ConfigurationError(
            f"`estimator` got 'pathwise' for {type(dist).__name__}, {lack}; "
            "expected a reparameterized distribution; use estimator='score'."
        )
    samples = draw(dist, n, generator, differentiable=True, sampler=sampler)
    if has_own_steps(dist) and jumps_on_the_way(samples):
        raise ConfigurationError(
            f"`estimator` got 'pathwise' for {type(dist).__name__}, one of whose transforms "
            "rounds; expected a continuous one; use estimator='score'."
        )
    cost = checked(f(samples), samples, dist)
    if not cost.requires_grad and carries_gradient(samples) and not carries_gradient(cost):
        raise ConfigurationError(
            "`f` returned a cost that carries no gradient of its samples, so the pathwise gradient "
            "is lost; expected a differentiable cost; use estimator='score'."
        )
    return mean_cost(cost)


def enumerate_support(
    f: Cost,
    dist: Distribution,
    n: int,
    baseline: Baseline,
    generator: torch.Generator | None,
    sampler: str = "iid",
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
    refuse_baseline(baseline, "enumerate")
    if sampler != "iid":
        raise ConfigurationError(
            f"`sampler` got {sampler!r} with estimator='enumerate'; expected 'iid', because no "
            "sample is drawn."
        )
    values = outcomes(dist)
    cost = checked(f(values), values, dist)
    probability = probabilities(dist, values)
    value = wide(probability * cost).sum(0).to(cost.dtype)
    check_density(value, cost, probability, dist)
    return value


def auto(
    f: Cost,
    dist: Distribution,
    n: int,
    baseline: Baseline,
    generator: torch.Generator | None,
    sampler: str = "iid",
) -> Tensor:
    """Pathwise where the distribution and the cost allow it, else the score function.

    Example:
        >>> mu = torch.tensor(0.5, requires_grad=True)
        >>> auto(lambda z: 3 * z, torch.distributions.Normal(mu, 1.0), 4, "auto", None).backward()
        >>> mu.grad
        tensor(3.)
    """
    if lacks_path(dist) or _forward_only(dist):
        return score(f, dist, n, baseline, generator, sampler)
    f, dist = _plain(f, dist, baseline)
    groups = independent_groups(sampler, n, baseline)
    samples = draw(dist, n, generator, differentiable=True, sampler=sampler, groups=groups)
    if samples.is_leaf:  # such as a parameter itself: give the draw a graph node of its own
        samples = samples.view_as(samples)
    cost = None
    if torch.compiler.is_compiling():  # the graph is hidden there: look before it is compiled
        way = looked_into(f, samples)
    else:
        cost = checked(f(samples), samples, dist)
        way = dependence(cost, samples)
        if way == "opaque":
            way = looked_into(f, samples)
    if has_own_steps(dist) and jumps_on_the_way(samples):
        way = "jump"
    if way == "smooth":
        return mean_cost(checked(f(samples), samples, dist) if cost is None else cost)
    fixed = samples.detach()
    # A path must not be added to the score, neither that of a cost with jumps nor one that a
    # transform hides: ask again without it.
    if cost is None or way != "none" or hides_gradient(samples):
        cost = checked(f(fixed), fixed, dist)
    return _score(f, cost, fixed, dist, baseline, groups)


def _forward_only(dist: Distribution) -> bool:
    """Whether forward mode alone differentiates, where no graph shows what the cost does."""
    return in_forward_mode() and not any(p.requires_grad for p in tensors_of(dist))


ESTIMATORS: dict[str, Estimator] = {
    "auto": auto,
    "score": score,
    "pathwise": pathwise,
    "enumerate": enumerate_support,
    "measure": measure,
    "rebar": Relax(),
    "straight_through": straight_through,
    "gumbel": Gumbel(),
}


def _score(
    f: Cost,
    cost: Tensor,
    samples: Tensor,
    dist: Distribution,
    baseline: Baseline,
    groups: int,
) -> Tensor:
    refuse_moving_support(dist, samples)
    if isinstance(baseline, str) and baseline == "self-critical":
        baseline = greedy_cost(f, dist)
    if isinstance(baseline, EMA | Critic):  # which would learn from what is not finite
        check_finite(cost, COST)
    if baseline is None or (isinstance(baseline, str) and groups < 2):
        caution_collapse(dist, cost)
    caution_edge(dist)
    constant = resolve_baseline(baseline, cost, groups)
    if len(samples) > 1:
        log_prob = own_log_prob(dist, samples)
        value = mean_cost(score_terms(log_prob, cost, constant))
    else:
        # One sample is its own mean: without its axis two steps of the backward pass fall away.
        if constant is not None and constant.dim() > 0:
            constant = constant.reshape(dist.batch_shape)
        log_prob = own_log_prob(dist, samples.squeeze(0))
        value = score_terms(log_prob, cost.squeeze(0), constant)
    check_density(value, cost, log_prob, dist)
    return value


def _plain(f: Cost, dist: Distribution, baseline: Baseline) -> tuple[Cost, Distribution]:
    # The mode that the self-critical baseline asks is that of the whole.
    if isinstance(baseline, str) and baseline == "self-critical":
        return f, dist
    return untransformed(f, dist)
