"""Which `rsample()`s are true paths: samples whose gradient is that of the distribution.

`has_rsample` promises it. Of torch's own, three break the promise, as comparing each with a closed
form shows (`tests/gradients/test_matrix.py`); that of any other distribution is trusted.
"""

from __future__ import annotations

from typing import Final

from torch.distributions import (
    Beta,
    ContinuousBernoulli,
    Dirichlet,
    Distribution,
    Independent,
    Normal,
    OneHotCategoricalStraightThrough,
    TransformedDistribution,
    Wishart,
    transforms,
)

from hunch.draws import untraced
from hunch.gradients.checks.gradient_flow import in_transform, underlying

_WRAPPED: Final = (Independent, TransformedDistribution)


def lacks_path(dist: Distribution) -> str:
    """Why a sample of the distribution has no path to its parameters; empty if it has one.

    Example:
        >>> from torch.distributions import Normal, Poisson
        >>> lacks_path(Normal(0.0, 1.0))
        ''
        >>> lacks_path(Poisson(1.0))
        'which has no rsample()'
    """
    if not dist.has_rsample:
        return "which has no rsample()"
    while isinstance(dist, _WRAPPED):
        dist = dist.base_dist
    if type(dist) is Normal:
        return ""
    if isinstance(dist, OneHotCategoricalStraightThrough):
        return "whose rsample() is the biased straight-through sample"
    if isinstance(dist, ContinuousBernoulli) and _near_half(dist):
        return "whose rsample() loses its gradient for probabilities near one half"
    if isinstance(dist, Beta | Dirichlet) and in_transform():
        return "whose rsample() torch cannot differentiate inside this transform"
    if isinstance(dist, Wishart):
        return "whose rsample() torch cannot differentiate"
    return ""


@untraced
def _near_half(dist: ContinuousBernoulli) -> bool:
    """Where torch takes the sample of probability one half, which depends on no parameter."""
    low, high = dist._lims
    probs = underlying(dist.probs)
    return bool(((probs > low) & (probs <= high)).any())


def has_own_steps(dist: Distribution) -> bool:
    """Whether the sample passes a transform that is none of torch's, which may round it.

    Example:
        >>> from torch.distributions import LogNormal
        >>> has_own_steps(LogNormal(0.0, 1.0))
        False
    """
    while isinstance(dist, _WRAPPED):
        steps = getattr(dist, "transforms", ())
        if any(type(step).__module__ != transforms.__name__ for step in steps):
            return True
        dist = dist.base_dist
    return False
