"""The self-critical baseline: what the most probable sample would have cost."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Distribution

from hunch.errors import ConfigurationError
from hunch.gradients.checks.costs import Cost, all_finite, checked
from hunch.gradients.checks.distributions import base_of


def greedy_cost(f: Cost, dist: Distribution) -> Tensor:
    """The cost of the distribution's mode, which depends on no sample.

    Args:
        f: the cost function of `hunch.gradients.expectation`; it gets one sample, the mode.
        dist: the distribution.

    Returns:
        Costs of shape `(*batch,)`, without gradient.

    Raises:
        ConfigurationError: if the distribution has no mode, or not just one.

    Example:
        >>> dist = torch.distributions.Categorical(torch.tensor([0.2, 0.7, 0.1]))
        >>> greedy_cost(lambda z: 10.0 * z, dist)
        tensor(10.)

    Reference:
        Rennie et al. (2017), "Self-Critical Sequence Training for Image Captioning".
    """
    with torch.no_grad():
        try:
            mode = _mode(dist)
        except NotImplementedError:
            mode = None
        if mode is None or all_finite(mode) is False:
            raise ConfigurationError(
                f"`baseline` got 'self-critical' for {type(dist).__name__}, whose mode is not one "
                "known point; expected a distribution with a mode; use baseline='loo'."
            )
        mode = mode.detach().unsqueeze(0)
        return checked(f(mode), mode, dist).squeeze(0)


def _mode(dist: Distribution) -> Tensor:
    base = base_of(dist)
    if isinstance(base, Bernoulli):
        # Torch's own is NaN where both are equally probable; either will do.
        return (base.probs > 0.5).to(base.probs.dtype)
    return dist.mode
