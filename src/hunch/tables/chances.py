"""How often chance alone makes two samples of rows differ so much, also where cells are rare."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt
import torch

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_FILLED: Final = (
    5.0  # rows that are expected in each cell where Pearson's statistic is a chi-square
)
_RARE: Final = 3  # rows of both samples; a cell of fewer is put together with others
_MOST_CELLS: Final = 100  # that are permuted; the rarer ones are put together
_AT_ONCE: Final = 500  # permutations
_MOST: Final = 20_000
_EXCEEDED: Final = 20  # permutations that differ as much, after which more of them tell nothing
_SLOPES: Final = np.geomspace(1e-3, 100.0, 400)  # of bounds, of which each one holds


def of_a_difference(before: Counts, after: Counts) -> float:
    """How often samples of the same rows differ by as much as these counts, at most.

    Pearson's statistic is a chi-square where 100 rows are expected in each cell; of fewer its tail
    is up to twice as heavy if one sample is much larger. Elsewhere rows change places at random
    between the samples, always in the same way, which sees many small differences; and Fisher's
    exact test sees the cell that the second sample has most in excess. The smaller chance counts
    twice. Cells with fewer than three rows of both samples are put together; beyond 20,000
    permutations the tail of a gamma variable goes on.

    Args:
        before: of one sample, by cells `(cells,)`.
        after: of the other, `(cells,)`.

    Example:
        >>> of_a_difference(np.array([50, 50]), np.array([90, 10])) < 1e-8
        True
        >>> of_a_difference(np.array([3, 2, 1, 0]), np.array([1, 1, 0, 1])) > 0.5
        True
    """
    table = _with_rare_ones_together(np.stack([before, after]))
    total, drawn = table.sum(axis=0), int(table[1].sum())
    if len(total) < 2 or not 0 < drawn < total.sum():
        return 1.0
    expected = total * (drawn / total.sum())
    # Of both samples: what one has more the other has less.
    scale = 1.0 / expected + 1.0 / (total - expected)
    found = float(((table[1] - expected) ** 2 * scale).sum())
    if min(expected.min(), (total - expected).min()) >= _FILLED:
        return _gamma_tail((len(total) - 1) / 2, found / 2)
    one = min(
        of_so_many(int(table[1, i]), int(total[i]), (int(table[0].sum()), drawn))
        for i in range(len(total))
    )
    return min(1.0, 2 * min(len(total) * one, _permuted(total, drawn, expected, scale, found)))


def _permuted(total: Counts, drawn: int, expected: Floats, scale: Floats, found: float) -> float:
    """How often rows that change places make Pearson's statistic as large as was found."""
    generator = np.random.default_rng(0)
    seen: list[Floats] = []
    count = exceeded = 0
    while count < _MOST and exceeded < _EXCEEDED:
        anew = generator.multivariate_hypergeometric(
            total, drawn, size=_AT_ONCE, method="marginals"
        )
        seen.append(((anew - expected) ** 2 * scale).sum(axis=1))
        count += _AT_ONCE
        exceeded += int(np.count_nonzero(seen[-1] >= found * (1 - 1e-9)))
    if exceeded:
        return (exceeded + 1) / (count + 1)
    permuted = np.concatenate(seen)
    mean, variance = float(permuted.mean()), float(permuted.var())
    further = _gamma_tail(mean**2 / variance, found * mean / variance) if variance else 0.0
    return min(1 / (count + 1), further)


def of_new_values(before: Counts, after: Counts, rows: tuple[int, int]) -> float:
    """How often so many rows of one sample have values that the other sample has not, at most.

    Whether all rows of a value are in one sample is decided for each value, and if it is so for one
    it is less likely for others; so Chernoff's bound holds as if they were independent. Beside it
    stands the new value of most rows, alone; the smaller chance counts twice.

    Args:
        before: rows with each value in the first sample, `(values,)`.
        after: in the second, of which it is asked, `(values,)`.
        rows: of each sample, with those that have no value.

    Example:
        >>> many, few = np.array([300, 299, 1, 0]), np.array([12, 12, 0, 6])
        >>> of_new_values(many, few, (600, 30)) < 1e-6  # six rows with one new value
        True
        >>> old, new = np.array([5, 2, 1, 1, 1, 0, 0]), np.array([4, 2, 0, 0, 0, 1, 1])
        >>> of_new_values(old, new, (10, 8)) > 0.5
        True
    """
    new = int(after[before == 0].sum())
    if not new:
        return 1.0
    sizes, times = np.unique(before + after, return_counts=True)
    drawn, total = rows[1], sum(rows)
    most = np.array([after[before == 0].max()])
    one = math.exp((_log_choose(drawn, most) - _log_choose(total, most))[0]) * int(times.sum())
    possible = (sizes > 0) & (sizes <= drawn)
    sizes, times = sizes[possible], times[possible]
    whole = _log_choose(drawn, sizes) - _log_choose(total, sizes)
    not_whole = np.log(np.maximum(-np.expm1(np.minimum(whole, 0.0)), 1e-300))
    each = np.logaddexp(not_whole, whole + _SLOPES[:, None] * sizes)
    bound = (each * times).sum(axis=1) - _SLOPES * new
    several = math.exp(min(0.0, float(bound.min())))
    return min(1.0, 2 * min(one, several))


def of_far_numbers(before: int, after: int, rows: tuple[int, int], *, ends: int = 2) -> float:
    """How often so many of the numbers farthest out are in the second of two samples, at most.

    Args:
        before: numbers of the first sample that are as far out.
        after: of the second.
        rows: of each sample.
        ends: at how many ends of a column numbers may be far out, 1 or 2; where the farthest ones
            are shared out between two is left open.

    Example:
        >>> round(610 * of_far_numbers(0, 1, (600, 10), ends=1), 9)
        10.0
        >>> of_far_numbers(0, 4, (600, 30)) < 1e-4
        True
    """
    if not after:
        return 1.0
    own = of_so_many(after, before + after, rows)
    return min(1.0, own * (before + after + 1 if ends == 2 else 1))


def of_so_many(found: int, marked: int, rows: tuple[int, int]) -> float:
    """How often the second of two samples has so many or more of the marked rows of both.

    Fisher's exact test, one-sided.

    Args:
        found: marked rows in the second sample.
        marked: in both.
        rows: of each sample.

    Example:
        >>> round(of_so_many(3, 3, (3, 3)), 12)
        0.05
    """
    first, second = rows
    counts = np.arange(found, min(marked, second) + 1)
    log = _log_choose(second, counts) + _log_choose(first, marked - counts)
    log -= _log_choose(first + second, np.array([marked]))
    return float(min(1.0, np.exp(log).sum()))


def of_misses(found: int, rows: int, share: float, trained: int) -> float:
    """How often intervals miss so many rows or more, where a sample promised what share they miss.

    Args:
        found: rows outside their intervals.
        rows: that intervals were held against.
        share: of rows that they are to miss, between 0 and 1, ends excluded.
        trained: rows of the sample by which they were set, at least 1.

    Example:
        >>> of_misses(0, 30, 0.1, 600)
        1.0
        >>> of_misses(8, 30, 0.1, 10**9) > of_misses(9, 30, 0.1, 10**9) > 0.001
        True
    """
    if not found:
        return 1.0
    a, b = share * trained, (1 - share) * trained
    counts = np.arange(found, rows + 1)
    hit, missed = rows - counts.astype(np.float64), counts.astype(np.float64)
    log = _log_choose(rows, counts) + _log_beta(missed + a, hit + b)
    log -= _log_beta(np.array([a]), np.array([b]))
    return float(min(1.0, np.exp(log).sum()))


def _with_rare_ones_together(table: Counts) -> Counts:
    """Samples by cells; which are rare is told by both together, so that none is favoured."""
    total = table.sum(axis=0)
    order = np.argsort(-total, kind="stable")
    kept = order[: np.count_nonzero(total >= _RARE)][:_MOST_CELLS]
    rest = np.setdiff1d(order, kept)
    merged = np.append(table[:, kept], table[:, rest].sum(axis=1, keepdims=True), axis=1)
    found: Counts = merged[:, merged.sum(axis=0) > 0]
    return found


def _gamma_tail(shape: float, value: float) -> float:
    ends = (torch.tensor(number, dtype=torch.float64) for number in (shape, value))
    return float(torch.special.gammaincc(*ends))


def _log_choose(total: int, chosen: npt.NDArray[np.int64]) -> Floats:
    """Logarithms of binomial coefficients, minus infinity where there is no such choice."""
    possible = (chosen >= 0) & (chosen <= total)
    inside = np.where(possible, chosen, 0).astype(np.float64)
    found = _log_gamma(np.array([total + 1.0])) - _log_gamma(inside + 1)
    return np.where(possible, found - _log_gamma(total - inside + 1), -np.inf)


def _log_beta(a: Floats, b: Floats) -> Floats:
    return _log_gamma(a) + _log_gamma(b) - _log_gamma(a + b)


def _log_gamma(values: Floats) -> Floats:
    found: Floats = torch.lgamma(torch.from_numpy(np.asarray(values, np.float64))).numpy()
    return found
