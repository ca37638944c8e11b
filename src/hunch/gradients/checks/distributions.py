"""A distribution made anew from changed tensors: constants, or numbers of another precision."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor, nn
from torch.distributions import Distribution, Gumbel
from torch.distributions.transforms import Transform, _InverseTransform

Change = Callable[[Tensor], Tensor]
Instead = Callable[[Distribution], Distribution | None]


def remade(thing: Any, change: Change, instead: Instead = lambda dist: None) -> Any:
    """A twin of a distribution, or of what one is made of, with other tensors.

    Modules inside of transforms stay as they are.

    Args:
        thing: a distribution, a transform, a list of them, or anything else, which is handed back.
        change: what becomes of each tensor.
        instead: another distribution to take for one, None to make its twin.

    Example:
        >>> import torch
        >>> dist = torch.distributions.LogNormal(torch.tensor(0.0), torch.tensor(1.0))
        >>> remade(dist, torch.Tensor.double).loc.dtype, dist.loc.dtype
        (torch.float64, torch.float32)
    """
    if isinstance(thing, Tensor):
        return change(thing)
    if type(thing) in (list, tuple):
        return type(thing)(remade(part, change, instead) for part in thing)
    if isinstance(thing, Distribution):
        twin: Any = instead(thing)
        if twin is not None:
            return twin
        twin = Distribution.__new__(type(thing))
    elif isinstance(thing, Transform):
        twin = copy.copy(thing)
    else:
        return thing
    for name, value in _parts(thing).items():
        twin.__dict__[name] = remade(value, change, instead)
    if isinstance(thing, Transform):
        twin._cached_x_y = None, None
    return twin


def tensors_of(thing: object) -> Iterator[Tensor]:
    """The tensors that a distribution or a transform is made of.

    Example:
        >>> import torch
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
        for part in _parts(thing).values():
            yield from tensors_of(part)


def _parts(thing: Distribution | Transform) -> dict[str, Any]:
    parts = dict(vars(thing))
    # An inverse is made of its original, which remembers it.
    if isinstance(thing, Transform) and not isinstance(thing, _InverseTransform):
        parts["_inv"] = None
    return parts


def in_single(dist: Distribution) -> Distribution:
    """The same distribution in single precision.

    Example:
        >>> import torch
        >>> half = torch.distributions.Normal(torch.zeros(2).half(), torch.ones(2).half())
        >>> in_single(half).sample().dtype
        torch.float32
    """
    twin: Distribution = remade(dist, _single, _single_gumbel)
    return twin


def _single(x: Tensor) -> Tensor:
    return x.float() if x.is_floating_point() else x


def _single_gumbel(dist: Distribution) -> Distribution | None:
    # Torch cuts its tail where the precision of the parameters ends when it is built.
    if type(dist) is not Gumbel:
        return None
    return Gumbel(dist.loc.float(), dist.scale.float(), validate_args=False)
