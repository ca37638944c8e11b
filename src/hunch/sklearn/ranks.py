"""Features by their rank, for columns whose values lie close together here and far apart there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch

from hunch.kernel import kernel
from hunch.sklearn.rows import Floats
from hunch.sklearn.state import Arrays

_KNOTS: Final = 64  # of a column at most


@dataclass(frozen=True)
class Ranks(Arrays):
    """A rising line through some values of each column, on which training values are Gaussian.

    Unlike ranks it tells any two values apart: between knots and beyond the outermost ones it is
    straight, with the slope 1 outside.

    Args:
        value: values of each column, `(knots, columns)`, rising; the last is repeated where a
            column has fewer.
        score: what becomes of them.

    Example:
        >>> ranks = Ranks.of(np.array([[0.0], [1.0], [2.0], [1000.0]]), None)
        >>> ranks.apply(np.array([[0.0], [1000.0], [1002.0]])).round(2).ravel()
        array([-1.36,  1.36,  3.36])
    """

    value: Floats
    score: Floats

    @classmethod
    def of(cls, x: Floats, weight: Floats | None) -> Ranks:
        """The lines of columns `(rows, columns)`."""
        columns = [_knots(column, weight) for column in x.T]
        most = max(len(values) for values, _ in columns)
        padded = [[np.pad(a, (0, most - len(a)), "edge") for a in pair] for pair in columns]
        value, score = np.stack(padded, axis=-1)
        return cls(value, score)

    def apply(self, x: Floats) -> Floats:
        """Scores of `(rows, columns)`."""
        found = self._compiled(x)
        return self._plainly(x) if found is None else found

    def _compiled(self, x: Floats) -> Floats | None:
        """By the compiled kernel, to the same bits; None if it is not there."""
        library = kernel()
        if library is None or x.shape[1:] != self.value.shape[1:] or not len(self.value):
            return None
        x, found = np.ascontiguousarray(x, np.float64), np.empty(x.shape)
        knots = [np.ascontiguousarray(own.T, np.float64) for own in (self.value, self.score)]
        if knots[0].shape != knots[1].shape:
            return None
        library.hunch_ranks(
            x.ctypes.data,
            *x.shape,
            *(own.ctypes.data for own in knots),
            len(self.value),
            found.ctypes.data,
        )
        return found

    def _plainly(self, x: Floats) -> Floats:
        columns = np.array(x.T, order="C")  # a copy, each column in one piece
        for j, column in enumerate(columns):
            value, score = self.value[:, j], self.score[:, j]
            beyond = np.minimum(column - value[0], 0) + np.maximum(column - value[-1], 0)
            column[:] = np.interp(column, value, score) + beyond
        return np.ascontiguousarray(columns.T)


def _knots(column: Floats, weight: Floats | None) -> tuple[Floats, Floats]:
    """Values of a column and their scores, which have a mean of 0 and a size of 1."""
    if weight is None:  # a sort without its order is quick
        values, total = np.unique(column, return_counts=True)
    else:
        values, place = np.unique(column, return_inverse=True)
        total = np.bincount(place, weight)
    share = total / total.sum()
    knots, middle = values, np.cumsum(share) - share / 2
    if len(values) > _KNOTS:
        kept = np.searchsorted(middle, np.linspace(0, 1, _KNOTS)).clip(0, len(values) - 1)
        kept = np.unique(np.concatenate([[0], kept, [len(values) - 1]]))
        knots, middle = values[kept], middle[kept]
    score = torch.special.ndtri(torch.from_numpy(middle)).numpy()
    at = np.interp(values, knots, score)
    center = np.average(at, weights=share)
    size = np.sqrt(np.average((at - center) ** 2, weights=share))
    return knots, (score - center) / (size if size > 0 else 1.0)
