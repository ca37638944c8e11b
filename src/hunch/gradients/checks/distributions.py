"""What a distribution is made of, and the same distribution made of other tensors."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor, nn
from torch.distributions import Distribution, Gumbel, Independent
from torch.distributions.transforms import Transform, _InverseTransform

Change = Callable[[Tensor], Tensor]
Instead = Callable[[Distribution], Distribution | None]


def base_of(dist: Distribution) -> Distribution:
    """The distribution without its `Independent`.

    Example:
        >>> import torch
        >>> coins = torch.distributions.Bernoulli(torch.full((3,), 0.5))
        >>> base_of(Independent(coins, 1)) is coins
        True
    """
    while isinstance(dist, Independent):
        dist = dist.base_dist
    return dist


def innermost(dist: Distribution) -> Distribution:
    """The distribution without `Independent` and without transforms."""
    while "base_dist" in vars(dist):
        dist = dist.base_dist  # type: ignore[attr-defined]
    return dist


def own_probs(dist: Distribution) -> Tensor | None:
    """The probabilities that a distribution was given; None if it was given logits, or neither.

    Example:
        >>> import torch
        >>> own_probs(torch.distributions.Bernoulli(torch.tensor(0.5)))
        tensor(0.5000)
    """
    # What was not given is computed once and then kept under the same name.
    inner = vars(vars(dist).get("_categorical", dist))
    probs = inner.get("probs")
    return probs if isinstance(probs, Tensor) and probs is inner.get("_param") else None


def parameter_of(dist: Distribution) -> Tensor | None:
    """One floating-point parameter, which tells the device and the precision.

    Example:
        >>> import torch
        >>> parameter_of(torch.distributions.Normal(0.5, 1.0))
        tensor(0.5000)
    """
    dist = innermost(dist)
    values = (vars(dist).get(name) for name in dist.arg_constraints)
    found = next((v for v in values if isinstance(v, Tensor) and v.is_floating_point()), None)
    if found is None:  # Beta keeps its own in another distribution
        found = next((v for v in tensors_of(dist) if v.is_floating_point()), None)
    return found


def remade(thing: Any, change: Change, instead: Instead = lambda dist: None) -> Any:
    """A copy of a distribution, or of what one is made of, with other tensors.

    Modules inside of transforms stay as they are.

    Args:
        thing: a distribution, a transform, a list of them, or anything else, which is handed back.
        change: what becomes of each tensor.
        instead: another distribution to take for one; None to make its copy.

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
        made: Any = instead(thing)
        if made is not None:
            return made
        made = Distribution.__new__(type(thing))
    elif isinstance(thing, Transform):
        made = copy.copy(thing)
    else:
        return thing
    for name, value in _parts(thing).items():
        made.__dict__[name] = remade(value, change, instead)
    if isinstance(thing, Transform):
        made._cached_x_y = None, None
    return made


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
    made: Distribution = remade(dist, _single, _single_gumbel)
    return made


def _single(x: Tensor) -> Tensor:
    return x.float() if x.is_floating_point() else x


def _single_gumbel(dist: Distribution) -> Distribution | None:
    # Torch cuts its tail where the precision of the parameters ends when it is built.
    if type(dist) is not Gumbel:
        return None
    return Gumbel(dist.loc.float(), dist.scale.float(), validate_args=False)
