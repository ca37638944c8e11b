"""The score function: any distribution with a density, any cost.

The gradient of `E[f(z)]` is `E[f(z) * grad log p(z)]`. Written with the factor
`exp(log p - stop(log p))`, which equals one but has the score as its derivative, one expression
has the right value and the right gradient at every order, also where the cost depends on the
parameters itself.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Distribution, Normal

from hunch.errors import ConfigurationError, ShapeError
from hunch.gradients.baselines.from_samples import leave_one_out
from hunch.gradients.baselines.given import FROM_OTHERS, LEARNED, is_named
from hunch.gradients.checks.cautions import caution_collapse, caution_edge
from hunch.gradients.checks.costs import COST, check_density, check_finite, mean_cost, shaped
from hunch.gradients.checks.masks import Mask, check_mask, scored_cost, scored_mean
from hunch.gradients.checks.moving_supports import refuse_moving_support
from hunch.gradients.estimators.request import Request
from hunch.gradients.estimators.transformed import untransformed


def score_terms(log_prob: Tensor, cost: Tensor, baseline: Tensor | None) -> Tensor:
    """One unbiased term per sample: `box * (cost - baseline) + baseline`, `box` being 1.

    Adding the baseline again outside the box keeps the value, and makes the Hessian right: in the
    naive surrogate `log_prob * (cost - baseline)` it is wrong with and without a baseline.

    Example:
        >>> score_terms(torch.tensor([-1.0]), torch.tensor([3.0]), torch.tensor(2.0))
        tensor([3.])

    Reference:
        Foerster et al. (2018), "DiCE: The Infinitely Differentiable Monte Carlo Estimator", for the
        box; Mao et al. (2019), "A Baseline for Any Order Gradient Estimation", for the baseline.
    """
    box = torch.exp(log_prob - log_prob.detach())
    if baseline is None:
        return box * cost
    return torch.addcmul(baseline, box, cost - baseline)


def score(request: Request) -> Tensor:
    """The score function's estimate.

    Raises:
        ConfigurationError: if the support moves with parameters that are to be trained.

    Example:
        >>> dist = torch.distributions.Poisson(torch.tensor(3.0))
        >>> score(Request(lambda z: 0 * z, dist, 4, "loo"))
        tensor(0.)
    """
    request = untransformed(request)
    samples = request.draw()
    # What is not finite shows in the value, which is looked at once for costs and densities.
    return score_of(request, samples, shaped(request.f(samples), samples, request.dist))


def score_of(request: Request, samples: Tensor, cost: Tensor) -> Tensor:
    """The estimate from samples that were drawn already, and their costs.

    Raises:
        ConfigurationError: as for `score`.
    """
    dist, baseline = request.dist, request.baseline
    refuse_moving_support(dist, samples)
    if isinstance(baseline, LEARNED):  # which would learn from what is not finite
        check_finite(cost, COST)
    if baseline is None or (is_named(baseline, *FROM_OTHERS) and request.groups < 2):
        caution_collapse(dist, cost)
    caution_edge(dist)
    constant = request.baseline_for(cost)
    if samples.shape[0] > 1:  # `len` of a tensor is slower
        log_prob = own_log_prob(dist, samples)
        value = mean_cost(score_terms(log_prob, cost, constant))
    else:
        # One sample is its own mean: without its axis two steps of the backward pass fall away.
        constant = None if constant is None else constant.squeeze(0)
        log_prob = own_log_prob(dist, samples.squeeze(0))
        value = score_terms(log_prob, cost.squeeze(0), constant)
    check_density(value, cost, log_prob, dist)
    return value


def masked_score(request: Request, mask: Mask) -> Tensor:
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
        >>> masked_score(Request(lambda z: 1 / z, dist, 9, "loo", g), torch.isfinite) < 1
        tensor(True)
    """
    if isinstance(request.baseline, LEARNED) or is_named(request.baseline, "ema"):
        raise ConfigurationError(
            "`baseline` got an average or a critic together with a mask; expected 'loo', "
            "'self-critical', None, a number or a tensor, because it would learn from costs that "
            "do not count."
        )
    request = untransformed(request)
    dist, samples = request.dist, request.draw()
    cost = shaped(request.f(samples), samples, dist)
    scored = check_mask(mask if isinstance(mask, Tensor) else mask(cost), cost.shape)
    cost = scored_cost(cost, scored)
    check_finite(cost, "the scored cost returned by `f`")
    refuse_moving_support(dist, samples)
    if not is_named(request.baseline, *FROM_OTHERS):
        constant = request.baseline_for(cost)
    else:
        constant = leave_one_out(cost, mask=scored) if request.n > 1 else None
    caution_edge(dist)
    log_prob = scored_cost(own_log_prob(dist, samples), scored)
    value = scored_mean(score_terms(log_prob, cost, constant), scored, 0)
    check_density(value, cost, log_prob, dist)
    return value


def own_log_prob(dist: Distribution, samples: Tensor) -> Tensor:
    """Log-probability of samples that `dist` drew itself, which need no look whether it could.

    That of Normal is without its constant, of which no gradient knows.

    Raises:
        ConfigurationError: if torch has no log-probability, or none inside this transform.
        ShapeError: if it is not one number per sample.

    Example:
        >>> dist = torch.distributions.Exponential(torch.tensor(1.0))
        >>> own_log_prob(dist, torch.tensor(2.0))
        tensor(-2.)
    """
    if type(dist) is Normal:  # by two thirds of torch's steps, and in range where its square is not
        away = (samples - dist.loc) / dist.scale
        return -torch.add(dist.scale.log(), away.square(), alpha=0.5)
    try:
        log_prob = _trusting(dist).log_prob(samples)
    except RuntimeError as error:  # NotImplementedError is one, and has no text
        why = str(error).strip().split("\n")[0] or "it has none"
        raise ConfigurationError(
            f"`dist` got {type(dist).__name__}, which gives no log_prob() here ({why}); expected a "
            "distribution with a density, which the score function needs; use "
            "estimator='pathwise' if it has rsample()."
        ) from error
    # Torch's own for some stacked transforms is not summed over the event, and would broadcast.
    expected = samples.shape[: samples.dim() - len(dist.event_shape)]
    if log_prob.shape != expected:
        raise ShapeError(
            f"`dist` got {type(dist).__name__}, whose log_prob() has shape {tuple(log_prob.shape)} "
            f"for {tuple(expected)} samples; expected one number per sample; sum it over the event "
            "in a distribution of your own, or use estimator='pathwise'."
        )
    return log_prob


def _trusting(dist: Distribution) -> Distribution:
    """A twin that does not validate: that costs as much as the log-probability itself."""
    state = dist.__dict__
    twin = Distribution.__new__(type(dist))
    twin.__dict__.update(state, _validate_args=False)
    if "base_dist" in state:
        twin.__dict__["base_dist"] = _trusting(state["base_dist"])
    return twin
