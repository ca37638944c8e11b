"""Samples that could not be scored: left out of costs, baselines and means."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from hunch.errors import ConfigurationError, ShapeError
from hunch.gradients.checks.costs import wide

Mask = Tensor | Callable[[Tensor], Tensor]


def check_mask(mask: object, shape: torch.Size) -> Tensor:
    """The mask, if it says for each of so many costs whether it counts.

    Raises:
        ConfigurationError: if it is no tensor of booleans.
        ShapeError: if it has another shape; nothing is broadcast silently.

    Example:
        >>> check_mask(torch.tensor([True, False]), torch.Size([2]))
        tensor([ True, False])
    """
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
        kind = mask.dtype if isinstance(mask, Tensor) else type(mask).__name__
        raise ConfigurationError(
            f"`mask` got {kind}; expected booleans, true where a sample was scored; compare, as in "
            "mask > 0, or give torch.isfinite for costs that are NaN where there is none."
        )
    if mask.shape != shape:
        raise ShapeError(
            f"`mask` got shape {tuple(mask.shape)}; expected {tuple(shape)}, one per cost; expand "
            "it to that shape."
        )
    return mask


def scored_cost(cost: Tensor, scored: Tensor) -> Tensor:
    """The costs, with zeros where there is none, whatever stood there.

    Example:
        >>> cost = torch.tensor([2.0, torch.nan])
        >>> scored_cost(cost, cost.isfinite())
        tensor([2., 0.])
    """
    return torch.where(scored, cost, torch.zeros_like(cost))


def scored_mean(values: Tensor, scored: Tensor, dim: int | None) -> Tensor:
    """The mean over what was scored; zero where nothing was.

    Example:
        >>> scored_mean(torch.tensor([2.0, 7.0]), torch.tensor([True, False]), 0)
        tensor(2.)
    """
    kept = wide(scored_cost(values, scored))
    if dim is None:
        return (kept.sum() / scored.sum().clamp_min(1)).to(values.dtype)
    return (kept.sum(dim) / scored.sum(dim).clamp_min(1)).to(values.dtype)
