"""Which rows of a table are copies of each other, and so one datum that came several times.

What a member leaves out tests it only if it has no twin among what the member sees. So copies share
one number, to which their bootstrap draw is tied, and stay together wherever a table is split.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hunch.errors import DataError, ShapeError
from hunch.inference.bootstrap import scattered

Numbers = npt.NDArray[Any]
Keys = npt.NDArray[np.uint64]

_FINENESS: Final = 2.0**-20  # of a column's width: what a network in float32 hardly tells apart
_AT_ODDS: Final = (
    0.05  # of the features that repeat have several targets; with fewer all are copies
)
_BEYOND_CHANCE: Final = 10.0  # times as many equal targets as rows drawn at random have


def copy_ids(x: npt.ArrayLike, y: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """A number for each row, the same for copies of a row, to be the `ids` of `fit`.

    Rows are copies if their features and targets are the same, up to a millionth of the width of a
    column. Two people of the same age and sex are not: where rows of equal features have targets
    that differ, as they do in a table of a few categories, equal rows are observations that happen
    to agree, and each has a number of its own. If such a table is written down several times over,
    as many of each row as there are times still share a number.

    Args:
        x: features `(data, …)`, finite numbers.
        y: targets `(data, …)`, finite numbers.

    Returns:
        `(data,)`. A number depends on what rows hold, not on where they stand, so that rows which
        come again later have their numbers again.

    Raises:
        DataError: if there are no rows, or one holds NaN or an infinity.
        ShapeError: if `x` and `y` differ in length.

    Note:
        Where features repeat and decide the target, equal rows count as copies although they may
        be observations: out-of-bag figures are then those of new features, and err on the safe
        side. Observations of one subject whose features or targets differ are not recognized.

    Example:
        >>> x, y = np.array([[0.5], [0.7], [0.5]]), np.array([1.0, 2.0, 1.0])
        >>> ids = copy_ids(x, y)
        >>> bool(ids[0] == ids[2]), bool(ids[0] == ids[1])
        (True, False)
    """
    features, targets = _columns("x", x), _columns("y", y)
    if len(features) != len(targets):
        raise ShapeError(
            f"`x` has {len(features)} rows and `y` has {len(targets)}; expected as many."
        )
    order = np.lexsort(np.hstack([features, targets]).T)
    found = np.empty(len(order), np.int64)
    found[order] = ids_in_order(features[order], targets[order])
    return found


def ids_in_order(x: Numbers, y: Numbers) -> npt.NDArray[np.int64]:
    """As `copy_ids`, of checked columns `(data, columns)` whose equal rows follow each other."""
    grid = _rounded(x), _rounded(y)
    keys = _hashed(*grid)
    if all_differ(keys):  # as in most tables
        return _hashed(x, y).view(np.int64)
    _, first, group, counts = np.unique(
        keys, return_index=True, return_inverse=True, return_counts=True
    )
    ids = _hashed(x[first], y[first])[group]
    if counts.max() > 1 and _coincide(grid[0][first], grid[1][first], counts):
        # As many of a row as there are times are one observation; the next ones are another. In
        # another table such rows would be others again: so the table has its say in their numbers.
        times = np.gcd.reduce(counts)
        table = (_hashed(x[first], y[first]) * (counts // times).astype(np.uint64)).sum()
        position = np.empty(len(x), np.int64)
        by_group = np.argsort(group, kind="stable")
        position[by_group] = np.arange(len(x)) - np.repeat(np.cumsum(counts) - counts, counts)
        later = (position // times).astype(np.uint64)
        ids = np.where(later == 0, ids, ids ^ scattered(table + later))
    return ids.view(np.int64)


def all_differ(keys: Numbers) -> bool:
    """Whether no number comes twice.

    A sort with vectors is several times as fast as the hash table of `numpy.unique` where a million
    integers all differ.

    Example:
        >>> all_differ(np.array([3, 1, 2])), all_differ(np.array([3, 1, 3]))
        (True, False)
    """
    ordered = np.sort(keys)
    return not bool((ordered[1:] == ordered[:-1]).any())


def ids_within(x: Numbers, y: Numbers, group: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """A number for each row, the same for rows of one group with the same features and targets.

    Rows of a group share their bootstrap draw in any case, so that it does not matter whether
    equal ones are copies or observations that happen to agree.

    Example:
        >>> one = np.ones((3, 1))
        >>> ids = ids_within(one, one, np.array([5, 5, 8]))
        >>> bool(ids[0] == ids[1]), bool(ids[0] == ids[2])
        (True, False)
    """
    return scattered(_hashed(_rounded(x), _rounded(y)) + group.view(np.uint64)).view(np.int64)


def coincide(x: Numbers, y: Numbers, count: npt.NDArray[np.intp]) -> bool:
    """Whether equal rows are observations that happen to agree, rather than copies.

    Copies with the same features have the same target. Of observations some differ wherever they
    are many, and of a target that takes many values hardly any two agree by chance.

    Args:
        x: features `(data, columns)`.
        y: targets `(data, columns)`.
        count: how often each row came, `(data,)`.

    Example:
        >>> one, once = np.zeros((100, 1)), np.full(100, 1)
        >>> coincide(one, np.tile([[0.0], [1.0]], (50, 1)), once)  # two answers, one question
        True
        >>> coincide(one, one, once)
        False
    """
    x, y = _rounded(x), _rounded(y)
    _, first, group = np.unique(_hashed(x, y), return_index=True, return_inverse=True)
    return _coincide(x[first], y[first], np.bincount(group, count).astype(np.intp))


def _coincide(x: Numbers, y: Numbers, count: npt.NDArray[np.intp]) -> bool:
    """As `coincide`, of different rows."""
    size = count / np.gcd.reduce(count)
    cell, target = (np.unique(_hashed(part), return_inverse=True)[1] for part in (x, y))
    of_cell = np.bincount(cell, size)
    repeats, at_odds = int((of_cell > 1).sum()), int((np.bincount(cell) > 1).sum())
    by_chance = float(np.square(np.bincount(target) / len(target)).sum())
    few_agree = _pairs(size) <= _BEYOND_CHANCE * by_chance * _pairs(of_cell)
    return 0 < repeats and at_odds > _AT_ODDS * repeats and few_agree


def _pairs(sizes: Numbers) -> float:
    return float((sizes * (sizes - 1)).sum() / 2)


def _columns(name: str, values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim == 0 or not len(array):
        raise DataError(f"`{name}` got shape {array.shape}; expected at least one row: (data, …).")
    if not np.isfinite(array).all():
        raise DataError(f"`{name}` holds NaN or infinite values; expected finite numbers.")
    return array.reshape(len(array), -1)


def _rounded(columns: Numbers) -> npt.NDArray[np.float64]:
    """Columns in whole steps so small that they are noise, whatever a few odd cells hold.

    A step is a share of the middle half of a column's different values: how often a value comes
    must not matter, or a row twice would not be the same as two rows.
    """
    found = np.empty(columns.shape, order="F")  # it is written and read by column
    for column, out in zip(np.asarray(columns, dtype=np.float64).T, found.T, strict=True):
        low, middle, high = np.quantile(np.unique(column), [0.25, 0.5, 0.75])
        step = (high - low) * _FINENESS
        with np.errstate(over="ignore"):
            out[:] = np.rint((column - middle) / step) if step > 0 else column
    return found


def _hashed(*parts: Numbers) -> Keys:
    """Rows of numbers as 64 bits each: equal rows alike, others by a chance of 2⁻⁶⁴ a pair."""
    keys = np.zeros(len(parts[0]), np.uint64)
    for part in parts:
        for column in np.ascontiguousarray(part.T, dtype=np.float64):
            keys = scattered(keys + (column + 0.0).view(np.uint64) + _ODD)  # +0.0: -0 is 0
    return keys


_ODD: Final = np.uint64(0x9E3779B97F4A7C15)
