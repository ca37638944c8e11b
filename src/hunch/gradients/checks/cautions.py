"""Uses that work and are very likely mistakes: one warning for each line of yours that does it.

Python's own filter keeps a warning from being said twice for one line, so the texts hold no figures
that change from call to call. Where values cannot be read, inside `torch.func.vmap` and while
`torch.compile` traces, nothing is said.
"""

from __future__ import annotations

import math
import sys
import warnings

import torch
from torch import Tensor
from torch.distributions import Beta, Dirichlet, Distribution, Gamma

from hunch.errors import HunchWarning
from hunch.gradients.checks.costs import wide
from hunch.gradients.checks.distributions import base_of, innermost, own_probs
from hunch.gradients.checks.masks import scored_cost, scored_mean

# Of what the locations span, and the widest spread on top: the spread that is called collapsing,
# by itself for one sample, and where the costs of one input are much alike.
_NARROW, _NARROW_AND_ALIKE = 1e-3, 0.05
_MUCH_ALIKE = 100.0  # squared mean over variance of the costs of one input
_RARE = 0.01  # the share of samples that may be wrong without a word
_CONCENTRATED = (Gamma, Beta, Dirichlet)
_SMALL = 0.012  # the sum of concentrations below which torch's draws are lost too often

COLLAPSE = (
    "the spread of the distribution is collapsing under a score function without a baseline: its "
    "gradient's variance grows as (cost / spread)² while the gradient itself does not, so training "
    "drowns in noise; draw n >= 2 samples with baseline='loo', or use estimator='pathwise' if the "
    "cost is differentiable, or an EMA or Critic for one sample. (baseline=0.0 says: on purpose.)"
)
CERTAIN = (
    "a trained probability is closer to 0 or 1 than its precision tells apart: torch's "
    "log-probability stays the same there, so that the score function's gradient of it is 0; use "
    "estimator='measure' or 'enumerate', or train logits."
)
UNDERFLOW = (
    "a trained concentration is so small that more than one sample in a hundred lies closer to the "
    "edge of the support than its precision can hold, where the log-probability, and so the score "
    "function's gradient, is wrong; use estimator='pathwise', or 'measure' for Gamma, or double "
    "precision."
)
LOST = (
    "trained concentrations are so small together that torch's own draws underflow, by which its "
    "pathwise gradient of Beta and Dirichlet is several times too large; keep their sum above "
    "0.012."
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


def caution_collapse(dist: Distribution, cost: Tensor) -> None:
    """Warn about a spread that is trained, without a baseline, down to where noise rules.

    It is held against what the locations of all inputs span, and the widest spread of any: a
    distance that matters to the cost; where there is one location, against its size. With several
    samples per input the costs `(n, *batch)` tell as well, and earlier: their mean is far larger
    than what they differ by. That alone is no collapse: a cost of 1000 + z² has it at any spread.
    """
    dist = base_of(dist)
    loc, scale = vars(dist).get("loc"), vars(dist).get("scale")
    if not isinstance(scale, Tensor) or not scale.requires_grad or not isinstance(loc, Tensor):
        return
    if torch.compiler.is_compiling() or not cost.numel():
        return
    limit = _NARROW
    if cost.shape[0] > 1:
        if not _readable(_much_alike(cost)):
            return
        limit = _NARROW_AND_ALIKE
    if _narrow(loc, scale, limit):
        _say(COLLAPSE)


def caution_edge(dist: Distribution) -> None:
    """Warn about trained parameters at which torch's log-probability misses what the score needs.

    Looked at are those that hold probabilities, and Gamma, Beta and Dirichlet.
    """
    dist = innermost(dist)
    if isinstance(dist, _CONCENTRATED):
        if not torch.compiler.is_compiling() and _underflows(dist):
            _say(UNDERFLOW)
        return
    probs = own_probs(dist)
    if probs is None or not probs.requires_grad or torch.compiler.is_compiling():
        return
    with torch.no_grad():
        eps = torch.finfo(probs.dtype).eps  # what torch clamps them by
        # One of two outcomes has no probability of its own.
        least = torch.minimum(probs, 1 - probs) if "_num_events" not in vars(dist) else probs
        none = (least < eps).any()
    if _readable(none):
        _say(CERTAIN)


def caution_path(dist: Distribution) -> None:
    """Warn about trained parameters at which torch's `rsample` gives a wrong gradient.

    Looked at are Beta and Dirichlet. All of their Gamma numbers underflow at once, even in the
    double precision that torch draws them in, with a probability of the smallest number to the sum
    of the concentrations.
    """
    dist = innermost(dist)
    if not isinstance(dist, Beta | Dirichlet) or torch.compiler.is_compiling():
        return
    parts = vars(dist).get("_dirichlet", dist).concentration
    if parts.requires_grad and _readable((parts.detach().sum(-1) < _SMALL).any()):
        _say(LOST)


def caution_weights(
    cost: Tensor, baseline: Tensor | None, dim: int | None, mask: Tensor | None = None
) -> None:
    """Warn about costs that were standardized, and about a baseline that is their own mean.

    Args:
        cost: the costs, with samples along `dim`; None for all of them.
        baseline: what is subtracted, in a shape that broadcasts; None for nothing to be looked at.
        dim: the sample axis.
        mask: true where a sample was scored; None for all of them.

    Example:
        >>> caution_weights(torch.tensor([1.0, 3.0, 4.0]), torch.tensor(0.3), 0)
    """
    size = cost.numel() if dim is None else cost.shape[dim]
    if size < 2 or cost.numel() == 0 or torch.compiler.is_compiling():
        return
    with torch.no_grad():
        mean, broad, narrow = _moments(cost, dim, mask)
        varied = narrow > 0
        one = ((broad - 1).abs() < 1e-2) | ((narrow - 1).abs() < 1e-2)
        # Costs of plus and minus one look like it by themselves.
        sign = cost.abs() == 1 if mask is None else (cost.abs() == 1) | ~mask
        signs = sign.all() if size > 2 else varied.new_zeros(())
        centered = (mean.abs() < 1e-4).all() & ~signs
        standardized = varied.any() & (one | ~varied).all() & centered
        own = None if baseline is None else _is_mean(baseline, mean, cost, dim, mask)
    if _readable(standardized):
        _say(STANDARDIZED)
    if own is not None and _readable(own):
        _say(SELF)


def _is_mean(
    baseline: Tensor, mean: Tensor, cost: Tensor, dim: int | None, mask: Tensor | None
) -> Tensor:
    mean = mean if dim is None else mean.unsqueeze(dim)
    away, differ = (baseline - mean).abs(), cost - mean
    if mask is not None:
        away, differ = scored_cost(away, mask), scored_cost(differ, mask)
    return (away <= 1e-5 * cost.abs().amax()).all() & differ.any()


def _narrow(loc: Tensor, scale: Tensor, limit: float) -> bool:
    # Four numbers are read and compared here in less time than four tensors would take.
    ends = (*loc.detach().aminmax(), *scale.detach().aminmax())
    try:
        low, high, narrowest, widest = (end.item() for end in ends)
    except RuntimeError:  # as in `_readable`
        return False
    return narrowest < limit * ((high - low or abs(high)) + widest)


def _much_alike(cost: Tensor) -> Tensor:
    with torch.no_grad():
        variance, mean = torch.var_mean(wide(cost), 0)
        return mean.square().mean() > _MUCH_ALIKE * variance.mean()


def _underflows(dist: Gamma | Beta | Dirichlet) -> bool:
    """Whether a share of the samples is lost: `P(z < t)` is about `t` to the concentration."""
    if isinstance(dist, Beta):
        edges = [(dist.concentration1, "tiny"), (dist.concentration0, "eps")]  # 1 - z is rounded
    else:
        edges = [(dist.concentration, "tiny")]
    for concentration, edge in edges:
        if concentration.requires_grad:
            least = math.log(_RARE) / math.log(getattr(torch.finfo(concentration.dtype), edge))
            if _readable((concentration.detach() < least).any()):
                return True
    return False


def _moments(cost: Tensor, dim: int | None, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and standard deviation along the samples, the latter with and without correction."""
    values = wide(cost.flatten() if dim is None else cost.movedim(dim, 0))
    if mask is None:
        return values.mean(0), values.std(0), values.std(0, correction=0)
    scored = mask.flatten() if dim is None else mask.movedim(dim, 0)
    count = scored.sum(0)
    mean = scored_mean(values, scored, 0)
    squares = torch.where(scored, values - mean, 0.0).square().sum(0)
    spreads = (squares / (count - off).clamp_min(1) for off in (1, 0))
    broad, narrow = (variance.sqrt() for variance in spreads)
    return mean, broad, narrow


def _readable(answer: Tensor) -> bool:
    try:
        return bool(answer)
    except RuntimeError:  # how vmap answers a question about the value of one of its tensors
        return False


def _say(message: str) -> None:
    """Blame the first line outside of `hunch.gradients`."""
    level, frame = 3, sys._getframe(1)
    while frame.f_back is not None and _ours(str(frame.f_back.f_globals.get("__name__"))):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, HunchWarning, stacklevel=level)


def _ours(module: str) -> bool:
    return module.startswith("hunch.gradients")
