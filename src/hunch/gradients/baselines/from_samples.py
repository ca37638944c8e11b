"""Baselines made of the other samples of the same call."""

from __future__ import annotations

import torch
from torch import Tensor

from hunch.errors import ConfigurationError, ShapeError
from hunch.gradients.checks.costs import wide
from hunch.gradients.checks.masks import check_mask, scored_cost

_DECAY = 0.9  # of "ema", as of EMA()


def leave_one_out(cost: Tensor, dim: int = 0, mask: Tensor | None = None) -> Tensor:
    """Baseline of each sample: the mean cost of the other samples.

    With `n` samples along `dim`, `b_i = (sum_j cost_j - cost_i) / (n - 1)`. It does not depend on
    sample `i`, so the gradient stays unbiased; a mean that includes the sample itself would shrink
    the gradient by the factor `1 - 1/n`.

    Args:
        cost: costs, with independent samples of the same distribution along `dim`; at least two.
        dim: the sample axis.
        mask: booleans like `cost`, true where a sample was scored. The others play no part, and
            their costs may be NaN; a sample that was scored alone gets its own cost, so that it
            weighs nothing.

    Returns:
        The baselines, in the units and the shape of `cost`.

    Raises:
        ConfigurationError: if there are fewer than two samples.
        ShapeError: if `cost` has no dimension `dim`, or `mask` another shape.

    Example:
        >>> leave_one_out(torch.tensor([1.0, 3.0, 8.0]))
        tensor([5.5000, 4.5000, 2.0000])

    Reference:
        Kool, van Hoof & Welling (2019), "Buy 4 REINFORCE samples, get a baseline for free!".
    """
    if not -cost.dim() <= dim < cost.dim():
        raise ShapeError(
            f"`dim` got {dim} for a `cost` of shape {tuple(cost.shape)}; expected one of its "
            "dimensions, the one along which the samples lie."
        )
    n = cost.shape[dim]
    if n < 2:
        raise ConfigurationError(
            f"`cost` got {n} sample(s) along dim {dim} (shape {tuple(cost.shape)}); leave-one-out "
            "needs at least 2, because a sample's baseline is the mean of the others; draw more "
            "samples per input, or use no baseline."
        )
    if mask is not None:
        return _leave_one_out_of_scored(cost, dim, check_mask(mask, cost.shape))
    if n == 2 and cost.is_floating_point():
        return cost.flip(dim)  # the other one
    values = wide(cost)
    others = (values.sum(dim, keepdim=True) - values) / (n - 1)
    return others.to(cost.dtype) if cost.is_floating_point() else others


def _leave_one_out_of_scored(cost: Tensor, dim: int, scored: Tensor) -> Tensor:
    kept = wide(scored_cost(cost, scored))
    others = scored.sum(dim, keepdim=True) - scored.long()
    mean = (kept.sum(dim, keepdim=True) - kept) / others.clamp_min(1)
    found = torch.where(others > 0, mean, kept)
    return found.to(cost.dtype) if cost.is_floating_point() else found


def leave_group_out(cost: Tensor, groups: int) -> Tensor:
    """Baseline of each sample: the mean cost of the samples that are independent of it.

    Mirrored pairs and Sobol points depend on each other, so `leave_one_out` would be biased there:
    what is left out is the whole group.

    Args:
        cost: shape `(n, *batch)`, the first axis `(size, groups)` flattened.
        groups: groups of samples that are independent of each other; `n` of them is leave-one-out.

    Example:
        >>> leave_group_out(torch.tensor([1.0, 2.0, 3.0, 4.0]), groups=2)  # pairs (1, 3) and (2, 4)
        tensor([3., 2., 3., 2.])
    """
    if groups == cost.shape[0]:
        return leave_one_out(cost)
    grouped = wide(cost).unflatten(0, (-1, groups))
    left = leave_one_out(grouped.mean(0)).to(cost.dtype)
    return left.expand_as(grouped).flatten(0, 1)


def earlier_average(cost: Tensor, groups: int) -> Tensor:
    """Baseline of each sample: the moving average of the samples before it in the same call.

    The first has none before it and gets the mean of the others. Weights fall by a tenth from a
    sample to the one before. It keeps no state, so it says less than `leave_group_out`, which may
    look at all others; `EMA` is the average that lives from call to call.

    Args:
        cost: shape `(n, *batch)`.
        groups: as in `leave_group_out`.

    Example:
        >>> earlier_average(torch.tensor([1.0, 3.0, 8.0]), groups=3)
        tensor([5.5000, 1.0000, 2.0526])
    """
    grouped = wide(cost).unflatten(0, (-1, groups))
    mean = grouped.mean(0)
    place = torch.arange(groups, device=cost.device)
    age = place.unsqueeze(1) - place  # (reader, read), positive for what came before
    weight = torch.where(age > 0, _DECAY ** (age - 1).clamp_min(0).to(mean.dtype), 0.0)
    weight[0, 1:] = 1
    weight = weight / weight.sum(1, keepdim=True)
    earlier: Tensor = torch.tensordot(weight, mean, 1).to(cost.dtype)
    return earlier.expand_as(grouped).flatten(0, 1)
