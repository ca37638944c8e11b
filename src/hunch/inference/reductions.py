"""Sums, extremes and order statistics over members of all ranks, each the same to the bit.

A sum of floating-point numbers depends on its order, and so on who has which members. Here numbers
become integers in units of 2⁻ᵇ times the largest of all, and integers may be added in any order:
b is such that the sum of all members fits into 64 bits, which is finer than float32 by far. Only
numbers of the size of one member's prediction travel, never the members.

Reference:
    Demmel & Nguyen (2015), "Parallel reproducible summation", for sums in a common unit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor

from hunch.nn.ranks import Share

Term = Callable[[slice], Tensor]
"""From some of this process's members to what is summed of them, `(members, *shape)`."""

_AT_ONCE: Final = 2**18  # numbers of a term that are there at a time
_LOST: Final = 2000  # an exponent that no number has: of NaN or infinity


def total(share: Share, term: Term, like: Tensor, top: int | None = None) -> Tensor:
    """The sum over all members, float64; NaN where a member's number is not finite.

    Args:
        share: this process's members.
        term: of what.
        like: one member's, `shape`.
        top: all are at most 2 to this power; None finds it, with a message more between ranks.

    Example:
        >>> from hunch.nn import Ranks
        >>> members = torch.tensor([[1e8], [1.0], [-1e8]])
        >>> total(Share(Ranks(), 3), lambda rows: members[rows], members[0])
        tensor([1.], dtype=torch.float64)
    """
    exponent = torch.full(like.shape, -_LOST if top is None else top, dtype=torch.int32)
    exponent = exponent.to(like.device)
    parts = parts_of(share, like)
    if top is None:
        for part in parts:
            exponent = torch.maximum(exponent, _exponent(term(part).double()))
        exponent = share.reduced(exponent, "max")
    bits = 62 - math.ceil(math.log2(share.total)) if share.total > 1 else 62
    # 2 to the power of more than 1,023 is no float64; numbers so small have no such bits anyway.
    power = (bits - exponent.double()).clamp(max=960)
    unit, sums = torch.pow(2.0, power), torch.zeros(like.shape, dtype=torch.int64)
    sums = sums.to(like.device)
    for part in parts:
        values = term(part).double().nan_to_num(0.0, 0.0, 0.0)
        sums += (values * unit).round().to(torch.int64).sum(dim=0)
    found = share.reduced(sums, "sum").double() / unit
    return torch.where(exponent == _LOST, torch.nan, found)


def parts_of(share: Share, like: Tensor) -> list[slice]:
    """Some of this process's members at a time, never of two blocks.

    The same members stand together whoever has them: last bits of an exponential may depend on
    where in a tensor a number stands.
    """
    size, first = max(1, _AT_ONCE // max(1, like.numel())), share.members.start
    return [
        slice(start - first, min(start + size, block.stop) - first)
        for block in share.blocks
        for start in range(block.start, block.stop, size)
    ]


def _exponent(values: Tensor) -> Tensor:
    """The power of 2 that no number of a column reaches, `shape`."""
    finite = values.isfinite()
    largest = torch.where(finite, values.abs(), 0.0).amax(dim=0)
    exponent = torch.where(largest > 0, torch.frexp(largest).exponent, -_LOST)
    return torch.where(finite.all(dim=0), exponent, _LOST).to(torch.int32)


def ordered(share: Share, members: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """The member that so many are below, at each point, and the one after it.

    By bisection: in each turn ranks tell each other how many of their members are not above a
    number, as many turns as the numbers have bits at most. It is exact.

    Args:
        share: this process's members.
        members: what they say, `(members, *shape)`.
        rank: from 0 to `total - 1`.

    Example:
        >>> from hunch.nn import Ranks
        >>> ordered(Share(Ranks(), 3), torch.tensor([[3.0], [1.0], [2.0]]), 1)
        (tensor([2.]), tensor([3.]))
    """
    keys = _keys(members)
    low, high = share.reduced(keys.amin(0), "min"), share.reduced(keys.amax(0), "max")
    while bool((low < high).any()):
        middle = (low & high) + ((low ^ high) >> 1)  # their mean, which may be too large to add up
        enough = _not_above(share, keys, middle) > rank
        low, high = torch.where(enough, low, middle + 1), torch.where(enough, middle, high)
    several = _not_above(share, keys, low) > rank + 1
    last = torch.iinfo(keys.dtype).max
    above = share.reduced(torch.where(keys > low, keys, last).amin(0), "min")
    after = torch.where(several | (above == last), low, above)
    return _values(low, members.dtype), _values(after, members.dtype)


def _not_above(share: Share, keys: Tensor, middle: Tensor) -> Tensor:
    return share.reduced((keys <= middle).sum(dim=0, dtype=torch.int32), "sum")


def _keys(values: Tensor) -> Tensor:
    """Integers in the order of the numbers: those below zero have their bits but the sign's turned.

    Zero of either sign is one number.
    """
    small = values.dtype in (torch.float16, torch.bfloat16)
    bits = (values.float() if small else values).add(0.0).contiguous()
    keys = bits.view(torch.int32 if bits.dtype == torch.float32 else torch.int64)
    return torch.where(keys < 0, keys ^ torch.iinfo(keys.dtype).max, keys)


def _values(keys: Tensor, dtype: torch.dtype) -> Tensor:
    bits = torch.where(keys < 0, keys ^ torch.iinfo(keys.dtype).max, keys)
    kind = torch.float32 if keys.dtype == torch.int32 else torch.float64
    return bits.view(kind).to(dtype)
