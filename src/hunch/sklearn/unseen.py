"""What is said of a row whose category training has not seen: as much as the seen ones differ.

A network is told nothing of such a value but that it is none of those it knows, which lies in
their midst, where it is sure. Yet the new value may be like any of them. So the row is asked about
with each known value in its place. The mean of the answers is predicted, and how much they differ
is part of what is not known.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hunch.seeding import derive, numpy_generator
from hunch.sklearn.rows import Floats

Places = npt.NDArray[np.intp]

_MOST: Final = 64  # rows that are asked about in the place of one
_AT_ONCE: Final = 4_096  # of them


@dataclass(frozen=True)
class Category:
    """Where the features of a column of categories are.

    Args:
        start: the first of them.
        values: how many stand for one value each, two at least; they come first.
        stop: behind the last, which may say that the cell is missing.
    """

    start: int
    values: int
    stop: int


@dataclass(frozen=True)
class StandIns:
    """Rows in the place of those that hold values which training has not seen.

    Args:
        rows: which rows these are, `(unseen,)`.
        x: they with known values, scaled, `(stand-ins, unseen, features)`.
        values: known values of the column that has the fewest.
        seed: decides which member takes which.
    """

    rows: Places
    x: Tensor
    values: int
    seed: int

    def flat(self) -> Tensor:
        """All of them, `(stand-ins · unseen, features)`."""
        return self.x.flatten(0, 1)

    def members(self, center: Tensor, deviations: Tensor) -> Tensor:
        """What each member says of the rows themselves, `(members, unseen, outputs)`.

        Members take one stand-in each, as evenly dealt as can be. Then what they say is moved and
        stretched so that its mean is that of all stand-ins, and the variance between these is that
        of one more value, given the n that are known: (n + 1)/(n − 1) times the mean square about
        the mean.

        Args:
            center: what all say together of each stand-in, `(stand-ins · unseen, outputs)`.
            deviations: each member's from it, `(members, stand-ins · unseen, outputs)`.
        """
        shape = self.x.shape[:2]
        center = center.unflatten(0, shape)
        every = torch.arange(len(deviations))
        dealt = _dealt(len(deviations), len(center), self.seed)
        own = deviations.unflatten(1, shape)[every, dealt]
        mean = _mean(center)
        variance = _mean((center - mean).square()).sum(dim=-1, keepdim=True)
        variance = variance * (self.values + 1) / (self.values - 1)
        away = center[dealt]
        away = away - _mean(away)
        spread = _mean(away.square()).sum(dim=-1, keepdim=True) * len(own) / max(len(own) - 1, 1)
        longer = torch.where(spread > 0, variance / spread, 0.0).sqrt()
        found: Tensor = mean + (own - _mean(own)) + longer * away
        return found

    def noise(self, noise: Tensor) -> Tensor:
        """The root of the mean square over stand-ins, `(unseen, outputs)`.

        Args:
            noise: of each of them, `(stand-ins · unseen, outputs)`.
        """
        square: Tensor = noise.unflatten(0, self.x.shape[:2]).square()
        return _mean(square).sqrt()


def _mean(values: Tensor) -> Tensor:
    """The mean over the first axis, in an order that does not depend on how many rows there are."""
    last = np.ascontiguousarray(np.moveaxis(values.numpy(), 0, -1))
    found: Tensor = torch.from_numpy(last.mean(axis=-1))
    return found


def _dealt(members: int, stand_ins: int, seed: int) -> Tensor:
    """Which stand-in each member takes, `(members,)`."""
    generator = numpy_generator(seed, "members")
    place = generator.permutation(members) % stand_ins
    return torch.from_numpy(generator.permutation(stand_ins)[place])


def stand_ins(
    x: Tensor, categories: Sequence[Category], zero: Floats, one: Floats, seed: int
) -> Iterator[StandIns]:
    """Rows in the place of those whose features name no value of a column, some at a time.

    Args:
        x: scaled features `(rows, features)`.
        categories: the columns that may have such cells.
        zero: what 0 becomes in each feature, `(features,)`.
        one: what 1 becomes.
        seed: decides which values are taken where they are too many to take all.

    Example:
        >>> x = torch.tensor([[1.0, 0.0, 5.0], [0.0, 0.0, 7.0]], dtype=torch.float64)
        >>> (found,) = stand_ins(x, [Category(0, 2, 2)], np.zeros(3), np.ones(3), 0)
        >>> found.rows, found.flat()
        (array([1]), tensor([[1., 0., 7.],
                [0., 1., 7.]], dtype=torch.float64))
    """
    nothing = torch.from_numpy(zero)
    of_none = [(x[:, c.start : c.stop] == nothing[c.start : c.stop]).all(dim=1) for c in categories]
    if not any(bool(flags.any()) for flags in of_none):
        return
    kinds = torch.stack(of_none, dim=1).numpy()
    for kind in np.unique(kinds[kinds.any(axis=1)], axis=0):
        unseen = [c for c, flag in zip(categories, kind, strict=True) if flag]
        own = derive(seed, "unseen", *(c.start for c in unseen))
        chosen = _chosen([c.values for c in unseen], own)
        rows = np.flatnonzero((kinds == kind).all(axis=1))
        for some in np.array_split(rows, math.ceil(len(rows) * len(chosen) / _AT_ONCE)):
            filled = x[some].repeat(len(chosen), 1, 1)
            for column, places in zip(unseen, chosen.T, strict=True):
                at = torch.from_numpy(column.start + places)
                filled[torch.arange(len(chosen)), :, at] = torch.from_numpy(one)[at].unsqueeze(1)
            yield StandIns(some, filled, min(c.values for c in unseen), own)


def _chosen(sizes: Sequence[int], seed: int) -> Places:
    """Which value of each column each stand-in has, `(stand-ins, columns)`.

    All that there are together, if they are few; else as many as can be asked about, each value of
    a column as often as the others.

    Example:
        >>> _chosen([2, 2], 0).tolist(), _chosen([500], 0).shape
        ([[0, 0], [0, 1], [1, 0], [1, 1]], (64, 1))
    """
    if math.prod(sizes) <= _MOST:
        return np.indices(sizes).reshape(len(sizes), -1).T
    generator = numpy_generator(seed, "values")
    dealt = [
        generator.permutation(generator.permutation(max(size, _MOST))[:_MOST] % size)
        for size in sizes
    ]
    return np.stack(dealt, axis=1)
