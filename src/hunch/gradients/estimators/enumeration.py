"""The exact expectation: all values a distribution can take, and their probabilities."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import (
    Bernoulli,
    Categorical,
    Distribution,
    OneHotCategorical,
)

from hunch.errors import ConfigurationError
from hunch.gradients.checks.cautions import caution_edge
from hunch.gradients.checks.costs import check_density, wide
from hunch.gradients.checks.distributions import base_of, own_probs
from hunch.gradients.estimators.request import Request

MOST = 1024  # outcomes that coordinates in `Independent` may have together: those of ten coins


def enumerate_support(request: Request) -> Tensor:
    """The exact expectation over a finite support: no sample is drawn, `n` plays no part.

    `f` gets every value of the support along its first axis.

    Raises:
        ConfigurationError: if the support cannot be enumerated, or if a baseline was given.

    Example:
        >>> p = torch.tensor(0.25, requires_grad=True)
        >>> dist = torch.distributions.Bernoulli(p)
        >>> enumerate_support(Request(lambda z: 8 * z, dist, 1)).item()
        2.0
    """
    request.refuse_baseline("enumerate")
    if request.sampler != "iid":
        raise ConfigurationError(
            f"`sampler` got {request.sampler!r} with estimator='enumerate'; expected 'iid', "
            "because no sample is drawn."
        )
    dist = request.dist
    values = outcomes(dist)
    cost = request.cost(values)
    probability = probabilities(dist, values)
    value = wide(probability * cost).sum(0).to(cost.dtype)
    check_density(value, cost, probability, dist)
    return value


def outcomes(dist: Distribution) -> Tensor:
    """Every value of the support, shape `(outcomes, *batch, *event)`.

    Coordinates that `Independent` joins have every combination of their values, `MOST` at most.

    Raises:
        ConfigurationError: if torch cannot list the support, or it is too large.

    Example:
        >>> coins = torch.distributions.Independent(Bernoulli(torch.full((2,), 0.5)), 1)
        >>> outcomes(coins).tolist()
        [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]
    """
    base, joined = _unwrapped(dist)
    try:
        values = base.enumerate_support(expand=False)
    except NotImplementedError:
        raise ConfigurationError(
            f"`estimator` got 'enumerate' for {type(base).__name__}, whose support torch cannot "
            "list; expected a finite support such as Categorical's, or a class of yours with "
            "enumerate_support(expand), which returns all values; use estimator='score'."
        ) from None
    values = values.reshape(len(values), *base.event_shape)
    kinds, coordinates = len(values), joined.numel()
    if joined and kinds > 1 and kinds**coordinates > MOST:
        raise ConfigurationError(
            f"`estimator` got 'enumerate' for {coordinates} coordinates of {kinds} values in one "
            f"Independent, {kinds}**{coordinates} outcomes; expected at most {MOST}; use "
            "estimator='score' or 'measure'."
        )
    if joined:
        choice = torch.arange(kinds, device=values.device)
        picks = [choice] * coordinates or [choice[:1]]
        index = torch.cartesian_prod(*picks).view(-1, len(picks))[:, :coordinates]
        values = values[index.reshape(len(index), *joined)]
    shape = (len(values), *[1] * len(dist.batch_shape), *dist.event_shape)
    return values.view(shape).expand(-1, *dist.batch_shape, *dist.event_shape)


def probabilities(dist: Distribution, values: Tensor) -> Tensor:
    """Of these values, shape `(outcomes, *batch)`; exact where a probability is 0 or 1.

    Example:
        >>> coin = Bernoulli(torch.tensor(1.0))
        >>> probabilities(coin, outcomes(coin))
        tensor([0., 1.])
    """
    base, joined = _unwrapped(dist)
    probs = own_probs(base)
    # Torch's log-probability keeps away from 0 and 1, where its gradient is lost.
    if probs is None or not isinstance(base, Bernoulli | Categorical | OneHotCategorical):
        caution_edge(base)
        return dist.log_prob(values).exp()
    if isinstance(base, Bernoulli):
        each = torch.where(values > 0, probs, 1 - probs)
    elif isinstance(base, Categorical):
        each = probs.expand(*values.shape, -1).gather(-1, values.unsqueeze(-1)).squeeze(-1)
    else:
        each = (probs * values).sum(-1)
    return each.flatten(-len(joined)).prod(-1) if joined else each


def _unwrapped(dist: Distribution) -> tuple[Distribution, torch.Size]:
    """The distribution without its `Independent`, and the dimensions that this joined."""
    base = base_of(dist)
    return base, dist.event_shape[: len(dist.event_shape) - len(base.event_shape)]
