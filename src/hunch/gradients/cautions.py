"""Uses that work and are very likely mistakes: one warning for each line of yours that does it.

Python's own filter keeps a warning from being said twice for one line, so the texts hold no figures
that change from call to call. Where values cannot be read, inside `torch.func.vmap` and while
`torch.compile` traces, nothing is said.
"""

from __future__ import annotations

import sys
import warnings

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent

from hunch.errors import HunchWarning

_NARROW = 1e-3  # of the span of all samples: the spread at which a missing baseline is spoken of
_MUCH_ALIKE = 100.0  # squared mean over variance of the costs of one input

COLLAPSE = (
    "the spread of the distribution is collapsing under a score function without a baseline: its "
    "gradient's variance grows as (cost / spread)² while the gradient itself does not, so training "
    "drowns in noise; draw n >= 2 samples with baseline='loo', or use estimator='pathwise' if the "
    "cost is differentiable, or an EMA or Critic for one sample. (baseline=0.0 says: on purpose.)"
)
SELF = (
    "`baseline` is the mean cost of the samples, each sample's own cost included, which shrinks "
    "the gradient by the factor 1 - 1/n; give baseline=leave_one_out(cost, dim)."
)
STANDARDIZED = (
    "`cost` has mean 0 and standard deviation 1 along the samples, as standardized advantages "
    "have: the gradient is biased, differently for each input, and blows up where all samples cost "
    "nearly the same; give the costs themselves with baseline=leave_one_out(cost, dim), or "
    "rloo_advantages()."
)


def caution_collapse(dist: Distribution, samples: Tensor, cost: Tensor) -> None:
    """Warn about a spread that is trained, without a baseline, down to where noise rules.

    With several samples per input the costs tell: their mean is far larger than what they differ
    by. With one sample, the spread is held against the span of all samples.

    Args:
        dist: the distribution; only those with a location and a scale are looked at.
        samples: shape `(n, *batch, *event)`.
        cost: shape `(n, *batch)`.

    Example:
        >>> caution_collapse(torch.distributions.Poisson(3.0), torch.ones(1, 4), torch.ones(1, 4))
    """
    while isinstance(dist, Independent):
        dist = dist.base_dist
    scale = vars(dist).get("scale")
    if not isinstance(scale, Tensor) or not scale.requires_grad or "loc" not in vars(dist):
        return
    if not torch.compiler.is_compiling() and _readable(_collapses(scale, samples, cost)):
        _say(COLLAPSE)


def caution_baseline(baseline: Tensor, cost: Tensor, dim: int | None) -> None:
    """Warn about a baseline that is the mean of the very costs it is subtracted from.

    Args:
        baseline: shaped so that it broadcasts against `cost`.
        cost: the costs.
        dim: the sample axis; None for all of them.

    Example:
        >>> caution_baseline(torch.tensor(0.3), torch.tensor([1.0, 3.0]), 0)
    """
    if _tells_nothing(cost, dim):
        return
    with torch.no_grad():
        mean = cost.mean() if dim is None else cost.mean(dim, keepdim=True)
        away = (baseline - mean).abs().amax()
        same = (away <= 1e-5 * cost.abs().amax()) & (cost - mean).any()
    if _readable(same):
        _say(SELF)


def caution_standardized(cost: Tensor, dim: int | None) -> None:
    """Warn about costs that were divided by the spread of the group they belong to.

    Args:
        cost: the costs.
        dim: the sample axis; None for all of them.

    Example:
        >>> caution_standardized(torch.tensor([1.0, 3.0, 4.0]), 0)
    """
    if _tells_nothing(cost, dim):
        return
    with torch.no_grad():
        values = cost.flatten() if dim is None else cost.movedim(dim, 0)
        wide, narrow = values.std(0), values.std(0, correction=0)
        varied = narrow > 0
        one = ((wide - 1).abs() < 1e-2) | ((narrow - 1).abs() < 1e-2)
        centered = values.mean(0).abs() < 1e-4
        # Costs of plus and minus one look like it by themselves.
        signs = (values.abs() == 1).all() if len(values) > 2 else varied.new_zeros(())
        found = varied.any() & (one | ~varied).all() & centered.all() & ~signs
    if _readable(found):
        _say(STANDARDIZED)


def _collapses(scale: Tensor, samples: Tensor, cost: Tensor) -> Tensor:
    with torch.no_grad():
        if len(cost) == 1:
            low, high = samples.aminmax()
            return scale.amin() < _NARROW * (high - low)
        variance, mean = torch.var_mean(cost, 0)
        return mean.square().mean() > _MUCH_ALIKE * variance.mean()


def _tells_nothing(cost: Tensor, dim: int | None) -> bool:
    size = cost.numel() if dim is None else cost.shape[dim]
    return size < 2 or cost.numel() == 0 or torch.compiler.is_compiling()


def _readable(answer: Tensor) -> bool:
    try:
        return bool(answer)
    except RuntimeError:  # how vmap answers a question about the value of one of its tensors
        return False


def _say(message: str) -> None:
    """Blame the first line outside of this room."""
    level, frame = 3, sys._getframe(1)
    while frame.f_back is not None and _ours(str(frame.f_back.f_globals.get("__name__"))):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, HunchWarning, stacklevel=level)


def _ours(module: str) -> bool:
    return module.startswith("hunch.gradients")
