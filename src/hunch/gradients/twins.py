"""A distribution made anew from changed tensors: constants, or numbers of another precision."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.distributions.transforms import Transform

Change = Callable[[Tensor], Tensor]


def remade(thing: Any, change: Change, kind: Callable[[type], type] = lambda kind: kind) -> Any:
    """A twin of a distribution, or of what one is made of, with other tensors.

    Modules inside of transforms stay as they are.

    Args:
        thing: a distribution, a transform, a list of them, or anything else, which is handed back.
        change: what becomes of each tensor.
        kind: what becomes of each distribution's class.

    Example:
        >>> dist = torch.distributions.LogNormal(torch.tensor(0.0), torch.tensor(1.0))
        >>> remade(dist, torch.Tensor.double).loc.dtype, dist.loc.dtype
        (torch.float64, torch.float32)
    """
    if isinstance(thing, Tensor):
        return change(thing)
    if type(thing) in (list, tuple):
        return type(thing)(remade(part, change, kind) for part in thing)
    if isinstance(thing, Distribution):
        twin: Any = Distribution.__new__(kind(type(thing)))
    elif isinstance(thing, Transform):
        twin = copy.copy(thing)
    else:
        return thing
    for name, value in vars(thing).items():
        twin.__dict__[name] = remade(value, change, kind)
    if isinstance(thing, Transform):
        twin._cached_x_y = None, None
        # An inverse holds its original; an original has a weak reference, which would lead back.
        twin._inv = twin._inv if isinstance(twin._inv, Transform) else None
    return twin


def tensors_of(thing: object) -> Iterator[Tensor]:
    """The tensors that a distribution or a transform is made of.

    Example:
        >>> dist = torch.distributions.LogNormal(torch.tensor(1.0), torch.tensor(2.0))
        >>> sorted(x.item() for x in tensors_of(dist))
        [1.0, 2.0]
    """
    if isinstance(thing, Tensor):
        yield thing
    elif isinstance(thing, nn.Module):
        yield from thing.parameters()
    elif type(thing) in (list, tuple):
        for part in thing:  # type: ignore[attr-defined]
            yield from tensors_of(part)
    elif isinstance(thing, Distribution | Transform):
        for part in vars(thing).values():
            yield from tensors_of(part)


def in_single(dist: Distribution) -> Distribution:
    """The same distribution in single precision.

    Example:
        >>> half = torch.distributions.Normal(torch.zeros(2).half(), torch.ones(2).half())
        >>> in_single(half).sample().dtype
        torch.float32
    """
    twin: Distribution = remade(dist, lambda x: x.float() if x.is_floating_point() else x)
    return twin
