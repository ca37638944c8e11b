"""The score function for samples and costs that exist already."""

from __future__ import annotations

import torch
from torch import Tensor

from hunch.errors import ConfigurationError, ShapeError
from hunch.gradients.baselines.given import given_baseline
from hunch.gradients.checks.cautions import caution_weights
from hunch.gradients.checks.costs import check_finite, wide
from hunch.gradients.checks.masks import check_mask, scored_cost, scored_mean
from hunch.gradients.estimators.score import score_terms


def surrogate(
    log_prob: Tensor,
    cost: Tensor,
    baseline: Tensor | float | None = None,
    dim: int | None = 0,
    *,
    mask: Tensor | None = None,
    samples: Tensor | None = None,
) -> Tensor:
    """A loss whose value is the mean cost and whose gradient is the score-function gradient.

    For samples and costs that exist already, such as those of a rollout; `expectation` draws its
    own. The samples must come from `dist.sample()`. Those of `rsample()`, or the mean taken for a
    sample, give a wrong gradient that no look at `log_prob` can tell from a right one; give the
    `samples` too, and those that carry a gradient are refused.

    Args:
        log_prob: log-probability of each sample in nats, a differentiable function of parameters.
        cost: cost of each sample, the same shape. Its own gradient, if any, is kept.
        baseline: what is subtracted from the cost: a number, a tensor shaped like `cost`, or one
            shaped like `cost` without its sample axis. It gets no gradient, and what is subtracted
            from a sample's cost must not depend on that sample.
        dim: the sample axis, over which the mean is taken; None for the mean over everything.
        mask: booleans like `cost`, true where a sample was scored; the mean is over those, and what
            stands in `cost` and `baseline` elsewhere plays no part. A factor with none has the
            value 0, and a sample scored alone no gradient if its baseline is leave-one-out's, so
            that over many calls the gradient is the true one times the probability of two or more.
        samples: what `log_prob` was computed for, only to be looked at.

    Returns:
        The mean cost over `dim`, to be minimized.

    Raises:
        ShapeError: if the shapes differ; nothing is broadcast silently.
        ConfigurationError: if `log_prob` carries no gradient, or `samples` do.
        DataError: if `cost` or `log_prob` holds NaN or infinity.

    Warns:
        HunchWarning: if `baseline` is the mean of the costs, each sample's own included, or `cost`
            holds standardized advantages.

    Example:
        >>> from hunch.gradients import leave_one_out
        >>> mu = torch.tensor(0.0, requires_grad=True)
        >>> dist = torch.distributions.Normal(mu, 1.0)
        >>> z = torch.tensor([-1.0, 2.0])  # dist.sample((2,))
        >>> cost = (z - 1.0) ** 2
        >>> loss = surrogate(dist.log_prob(z), cost, baseline=leave_one_out(cost, dim=0))
        >>> loss.backward()
        >>> loss.item(), mu.grad.item()
        (2.5, -4.5)

    Reference:
        Williams (1992), "Simple statistical gradient-following algorithms for connectionist
        reinforcement learning".
    """
    if isinstance(baseline, str):
        raise ConfigurationError(
            f"`baseline` got {baseline!r}; expected numbers; pass leave_one_out(cost, dim) itself."
        )
    if log_prob.shape != cost.shape:
        raise ShapeError(
            f"`cost` got shape {tuple(cost.shape)}; expected {tuple(log_prob.shape)}, the shape of "
            "`log_prob`, because broadcasting would pair each cost with other samples; squeeze it, "
            "or sum `log_prob` over the dimensions that share a cost (Independent does)."
        )
    if samples is not None and samples.requires_grad:
        raise ConfigurationError(
            "`samples` got a tensor that carries a gradient, as rsample() gives it; expected "
            "constants, because the score function would count their path as well; draw them with "
            "sample(), or detach() them before `log_prob` and `cost` are computed."
        )
    if not cost.is_floating_point():
        cost = cost.to(log_prob.dtype)
    if mask is not None:
        check_mask(mask, cost.shape)
        cost, log_prob = scored_cost(cost, mask), scored_cost(log_prob, mask)
    readable = check_finite(cost, "`cost`") and check_finite(log_prob, "`log_prob`")
    # Inside vmap a tensor does not say whether it carries a gradient further out.
    if readable and torch.is_grad_enabled() and not log_prob.requires_grad:
        raise ConfigurationError(
            "`log_prob` carries no gradient; expected a differentiable function of the parameters; "
            "compute it with gradients on, from parameters that are not detached."
        )
    constant = None if baseline is None else given_baseline(baseline, cost, dim)
    caution_weights(cost, constant if isinstance(baseline, Tensor) else None, dim, mask)
    if mask is None:
        terms = score_terms(log_prob, cost, constant)
        values = wide(terms)
        return (values.mean() if dim is None else values.mean(dim)).to(terms.dtype)
    if constant is not None:
        constant = scored_cost(constant.expand_as(cost), mask)
    return scored_mean(score_terms(log_prob, cost, constant), mask, dim)
