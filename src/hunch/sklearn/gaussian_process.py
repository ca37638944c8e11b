"""A Gaussian process beside the networks, for targets that vary smoothly with few features.

Its mean is a weighted sum of one bump about each of some thousand rows, and what it would say of a
row without having seen it follows from the same factorisation, so nothing is fitted twice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hunch.inference.bootstrap import scattered
from hunch.seeding import derive
from hunch.sklearn.compiled_process import Knots, laid_out, mean_compiled
from hunch.sklearn.rows import Floats
from hunch.sklearn.state import Arrays

Ints = npt.NDArray[np.int64]

_MOST: Final = 3_000  # rows that it knows; time grows with their cube
_LEARNED_FROM: Final = 1_000  # rows that lengths are learned from
_LONG: Final = 2_000  # rows, from which on no row decides them
_PARTS: Final = 3  # of a shorter table, each judged by lengths learned without it
_FIRST_FROM: Final = 500  # of them, to begin with
_FIRST_STEPS: Final = 40  # of learning lengths there, at most
_STEPS: Final = 8  # then from all of them
_TIMID: Final = 0.1  # how strongly logarithms of lengths and sizes are held to where they start
_JITTER: Final = 1e-6  # in units of the targets' variance; keeps the factorisation possible
_AT_ONCE: Final = 2**18  # pairs of rows whose distances are held at a time, in the cache
_HOPELESS: Final = 1e10  # where a covariance can't be factorised; a search needs a number
_ROOT: Final = math.sqrt(3)


@dataclass(frozen=True)
class GaussianProcess(Arrays):
    """The mean of a Gaussian process, given data.

    Args:
        knot: scaled features of the rows that it knows, each in units of its length,
            `(rows, features)`.
        share: how much each one's bump adds, `(rows,)`.
        length: of each feature, `(features,)`.

    Example:
        >>> x = np.linspace(-2, 2, 60)[:, None]
        >>> gp, left_out = gaussian_process(x, np.sin(x[:, 0]), None, np.arange(60), [0], seed=0)
        >>> bool(abs(gp.at(np.array([[0.5]]))[0] - np.sin(0.5)) < 0.01)
        True
        >>> bool(np.abs(left_out - np.sin(x[:, 0])).max() < 0.1)
        True
    """

    knot: Floats
    share: Floats
    length: Floats

    def at(self, x: Floats) -> Floats:
        """Its mean at rows `(rows, features)`, `(rows,)`; far from all data it is 0."""
        found = mean_compiled(self._knots, x / self.length)
        if found is not None:
            return found
        # Torch's own memory lies alike each time, and sums round the same way.
        knot, share = torch.tensor(self.knot), torch.tensor(self.share)
        size = max(1, _AT_ONCE // max(1, len(knot)))
        parts = (torch.tensor(x) / torch.from_numpy(self.length)).split(size)
        said: Floats = torch.cat([_bumps(part, knot)[0] @ share for part in parts]).numpy()
        return said

    @cached_property
    def _knots(self) -> Knots | None:
        return laid_out(self.knot, self.share)

    def at_others(self, x: Floats) -> Floats:
        """The same; NaN for a row that it knows, of which it would say too much."""
        known = {row.tobytes() for row in self.knot}
        seen = [row.tobytes() in known for row in x / self.length]
        return np.where(seen, np.nan, self.at(x))


def gaussian_process(
    x: Floats, y: Floats, weight: Floats | None, ids: Ints, owners: Sequence[int], seed: int
) -> tuple[GaussianProcess, Floats]:
    """A process for a scaled target, and what it says of each row without its like.

    Lengths, one for each column, the size of the function and that of the noise maximise the
    likelihood of some thousand rows; a weak hold keeps those that data say nothing of where they
    start.

    Args:
        x: scaled features `(rows, features)`.
        y: targets with mean 0 and size 1, `(rows,)`.
        weight: of each row; the noise of a row of weight 2 is half as large. None if alike.
        ids: rows with one number are left out together.
        owners: the column that each feature comes from; its features share a length.
        seed: decides which rows of a long table are taken.

    Returns:
        The process, and `(rows,)`.

    Reference:
        Rasmussen & Williams (2006), "Gaussian processes for machine learning", equations 2.25, 4.17
        (Matérn, ν = 3/2), 5.8 to 5.9; 5.12 for rows left out, here for groups as well.
    """
    share = np.ones(len(x)) if weight is None else weight
    place = np.unique(owners, return_inverse=True)[1]
    data = _Data(*map(torch.from_numpy, (x, y, 1 / share, place)))
    chosen = _some(ids, _MOST, seed)
    # Lengths that a row had a say in are too good for it; of many rows each has next to none.
    part = np.zeros(len(x), int) if len(x) > _LONG else _hashed(ids, seed, "parts") % _PARTS
    left_out = np.empty(len(x))
    found = []
    for number in range(int(part.max()) + 1):
        own = part == number
        others = np.arange(len(x)) if own.all() else np.flatnonzero(~own)
        found.append(_learned(data.of(others), ids[others], seed))
        process, misses = _conditioned(found[-1], data.of(chosen), ids[chosen])
        said = y.copy()
        said[chosen] -= misses
        rest = np.setdiff1d(np.flatnonzero(own), chosen)
        said[rest] = process.at(x[rest])
        left_out[own] = said[own]
    if len(found) > 1:
        process, _ = _conditioned(torch.stack(found).mean(dim=0), data.of(chosen), ids[chosen])
    return process, left_out


@dataclass(frozen=True)
class _Data:
    """Rows of which a process is learned.

    Args:
        x: scaled features `(rows, features)`.
        y: targets `(rows,)`.
        noisy: how much more than the noise's variance each row's is, `(rows,)`.
        place: which length each feature has, `(features,)`.
    """

    x: Tensor
    y: Tensor
    noisy: Tensor
    place: Tensor

    def of(self, rows: npt.NDArray[np.intp]) -> _Data:
        return _Data(self.x[rows], self.y[rows], self.noisy[rows], self.place)


def _conditioned(logs: Tensor, data: _Data, ids: Ints) -> tuple[GaussianProcess, Floats]:
    """A process that knows data, and by how much each row's target is missed without its like."""
    size, noise = (2 * logs[-2:]).exp()
    length = logs[:-2].exp()[data.place]
    knot = data.x / length
    covariance = size * _bumps(knot, knot)[0]
    covariance.diagonal().add_(noise * data.noisy + _JITTER)
    factor = torch.linalg.cholesky(covariance)
    solved = torch.cholesky_solve(data.y.unsqueeze(1), factor).squeeze(1)
    misses = _misses(torch.cholesky_inverse(factor), solved, ids)
    knot = knot.contiguous()
    process = GaussianProcess(knot.numpy(), (size * solved).numpy(), length.numpy())
    return process, misses.numpy()


def _hashed(ids: Ints, seed: int, what: str) -> npt.NDArray[np.uint64]:
    return scattered(ids.astype(np.uint64) ^ np.uint64(derive(seed, what) % 2**63))


def _some(ids: Ints, most: int, seed: int) -> npt.NDArray[np.intp]:
    """At most so many rows, drawn by their numbers: those with the same one stay together."""
    if len(ids) <= most:
        return np.arange(len(ids))
    drawn = _hashed(ids, seed, "process")
    order = np.argsort(drawn, kind="stable")
    last = drawn[order[most]]
    kept = order[:most]
    whole = kept[drawn[kept] != last]
    return np.sort(whole if len(whole) else kept)


def _bumps(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """`(1 + r) exp(-r)` and `exp(-r)` of the distances r, times √3, between rows of a and of b."""
    squared = a.square().sum(dim=1, keepdim=True) + b.square().sum(dim=1)
    distance = squared.addmm_(a, b.T, alpha=-2).clamp_min_(0).sqrt_().mul_(_ROOT)
    fall = torch.exp(-distance)
    return distance.add_(1).mul_(fall), fall


def _learned(data: _Data, ids: Ints, seed: int) -> Tensor:
    """Logarithms of the lengths of columns, of the function's size, and of the noise's.

    Most steps look at half of the rows, which costs an eighth; the last ones look at all.
    """
    columns = int(data.place.max()) + 1
    start = torch.zeros(columns + 2, dtype=torch.float64)
    start[:columns] = math.log(columns) / 2
    start[-1] = math.log(0.3)
    rows = _some(ids, _LEARNED_FROM, seed)
    few = rows[_some(ids[rows], _FIRST_FROM, seed)]
    logs = _searched(data.of(few), start, start, _FIRST_STEPS)
    return logs if len(few) == len(rows) else _searched(data.of(rows), start, logs, _STEPS)


def _searched(data: _Data, start: Tensor, logs: Tensor, steps: int) -> Tensor:
    """The best found in so many steps from some logarithms, held to where all of them start."""
    from scipy.optimize import minimize

    best = (math.inf, logs)

    def loss(at: Floats) -> tuple[float, Floats]:
        nonlocal best
        logs = torch.tensor(at)
        value, slope = _surprise(logs, data)
        away = logs - start
        value += _TIMID * float(away.square().sum())
        if value < best[0]:
            best = (value, logs)
        return min(value, _HOPELESS), (slope + 2 * _TIMID * away).numpy()

    minimize(
        loss,
        logs.numpy(),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": steps, "maxcor": 20, "ftol": 1e-6, "gtol": 1e-3},
    )
    return best[1]


def _surprise(logs: Tensor, data: _Data) -> tuple[float, Tensor]:
    """The negative logarithm of the likelihood, and its slope; infinite where it has none."""
    scaled = data.x / logs[:-2].exp()[data.place]
    size, noise = (2 * logs[-2:]).exp()
    covariance, fall = _bumps(scaled, scaled)
    covariance, fall = covariance.mul_(size), fall.mul_(3 * size)
    bumps = covariance.clone()
    covariance.diagonal().add_(noise * data.noisy + _JITTER)
    factor, failed = torch.linalg.cholesky_ex(covariance)
    if failed or not logs.isfinite().all():
        return math.inf, torch.zeros_like(logs)
    solved = torch.cholesky_solve(data.y.unsqueeze(1), factor).squeeze(1)
    value = 0.5 * data.y @ solved + factor.diagonal().log().sum()
    # What the likelihood loses where an entry of the covariance grows, twice.
    excess = torch.cholesky_inverse(factor).addr_(solved, solved, alpha=-1)
    slope = torch.zeros_like(logs)
    slope[-2] = (excess * bumps).sum()
    slope[-1] = noise * (excess.diagonal() * data.noisy).sum()
    pull = fall.mul_(excess)
    by_feature = pull.sum(dim=1) @ scaled.square() - (scaled * (pull @ scaled)).sum(dim=0)
    slope.index_add_(0, data.place, by_feature)
    return float(value), slope


def _misses(inverse: Tensor, solved: Tensor, ids: Ints) -> Tensor:
    """By how much each row's target is missed by all rows with other numbers."""
    misses = solved / inverse.diagonal()
    values, place, count = np.unique(ids, return_inverse=True, return_counts=True)
    if len(values) == len(ids):
        return misses
    rows = np.split(np.argsort(place, kind="stable"), np.cumsum(count)[:-1])
    for own in (torch.from_numpy(r) for r in rows if len(r) > 1):
        misses[own] = torch.linalg.solve(inverse[own][:, own], solved[own])
    return misses
