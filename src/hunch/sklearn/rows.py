"""Training rows in an order that does not depend on how they came, and their scales."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from hunch.errors import DataError
from hunch.inference.copies import all_differ, coincide, ids_in_order, ids_within
from hunch.inference.groups import shares_of_groups
from hunch.inference.training import as_evidence
from hunch.sklearn.state import Arrays

Floats = npt.NDArray[np.float64]
Numbers = npt.NDArray[Any]

LARGEST = 1e150  # of which the square is a number
_NEAR = 0.99  # of a column's cells, from which its width is known
_FAR = 30.0  # widths
_MOST_CODES = 5  # for "unknown" at one end of a column
_CLOSE = 0.05  # of the gap to all other values, within which codes lie
_MANY = 1_000  # cells, of which a look at so many mostly tells
_VARIED = 10  # different values; of fewer any may be rare
_LARGEST_WHOLE = 2.0**53  # up to which floating-point numbers hold every whole one
_MOST_REPEATED = 1_000_000  # rows; more are not written out but weighed


@dataclass(frozen=True)
class Rows:
    """What a training sees: each datum once, however often it came.

    Args:
        x: features `(rows, features)`.
        y: targets `(rows, outputs)`, or class numbers `(rows,)`.
        weight: how much each row counts in training, with mean 1; None if all count alike.
        ids: one number for each row, to which its bootstrap draw is tied.
        grouped: whether rows with one of these numbers are a group, and groups count alike.
        source: of each of the caller's rows that has a weight, its position there, `(given,)`.
        place: which row it became, `(given,)`.
        calm: whether it is known that `odd_cells` finds none in `x`.
    """

    x: Floats
    y: Numbers
    weight: Floats | None
    ids: npt.NDArray[np.int64]
    source: npt.NDArray[np.intp]
    place: npt.NDArray[np.intp]
    grouped: bool = False
    calm: bool = False

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def groups(self) -> npt.NDArray[np.int64] | None:
        """Which group each row is in; None if each stands for itself."""
        return self.ids if self.grouped else None

    @property
    def evidence(self) -> Floats | None:
        """How much each row counts where errors are judged; None if all count alike."""
        if self.grouped:
            weight = np.ones(len(self)) if self.weight is None else self.weight
            shares = shares_of_groups(self.ids, weight)
            even: Floats = shares / shares.mean()
            return even
        if self.weight is None:
            return None
        found: Floats = as_evidence(torch.from_numpy(self.weight)).numpy()
        return found


def as_rows(
    x: Floats,
    y: Numbers,
    sample_weight: Floats | None,
    groups: npt.NDArray[np.int64] | None = None,
    calm: bool = False,
) -> Rows:
    """Put copies together and sort rows, so that a training is a function of the set of rows.

    Copies become one row of their total weight, with one bootstrap draw, so that whoever leaves it
    out has seen none of them. "Weight 2" and "twice in the table" are the same to the last bit, and
    only the proportions of weights matter: a table in which each row has weight 5, or which was
    written down five times, is the table itself. See `hunch.inference.copies` for equal rows that
    are no copies; there a row of whole-number weight becomes that many.

    Args:
        x: features `(data, features)`.
        y: targets `(data, outputs)` or class numbers `(data,)`.
        sample_weight: `(data,)`, at least 0; None if all count alike.
        groups: a number for each row's group, `(data,)`, whose rows share one bootstrap draw;
            copies in different groups are different rows. None if each row stands for itself.
        calm: whether `odd_cells` found none in `x`.

    Raises:
        DataError: if no row has a weight.

    Example:
        >>> x, y = np.array([[2.0], [1.0], [3.0], [1.0]]), np.zeros(4)
        >>> rows = as_rows(x, y, np.array([3.0, 2.0, 0.0, 1.0]))
        >>> rows.x.ravel(), rows.weight, rows.source, rows.place
        (array([1., 2.]), None, array([3, 1, 0]), array([0, 0, 1]))
    """
    weight = np.ones(len(x)) if sample_weight is None else sample_weight
    source = np.flatnonzero(weight)
    if not len(source):
        raise DataError("`sample_weight` is 0 in every row; expected at least one above 0.")
    targets = y.reshape(len(y), -1)
    apart = [weight] if groups is None else [weight, groups]  # equal rows
    source = source[_order([key[source] for key in (*apart, *x.T, *targets.T)])]
    weight = weight[source]
    whole = bool((weight == np.floor(weight)).all()) and weight.sum() <= _MOST_REPEATED
    whole &= groups is None  # rows of a group share a draw, be they copies or not
    if whole and weight.max() > 1 and coincide(x[source], targets[source], weight.astype(np.intp)):
        source = np.repeat(source, weight.astype(np.intp))
        weight = np.ones(len(source))
    features = x[source]
    if groups is None:
        ids = ids_in_order(features, targets[source])
    else:
        ids = ids_within(features, targets[source], groups[source])
    first = place = np.arange(len(ids))
    if not all_differ(ids):
        _, first, place = np.unique(ids, return_index=True, return_inverse=True)
        order = np.argsort(first)
        first, place = first[order], np.argsort(order)[place]
        features = features[first]
    total = np.bincount(place, weight)
    if (total == np.floor(total)).all() and total.max() < _LARGEST_WHOLE:
        total = total / np.gcd.reduce(total.astype(np.int64))  # proportions, before anything rounds
    return Rows(
        features,
        y[source[first]],
        None if (total == total[0]).all() else total / total.mean(),
        ids[first] if groups is None else groups[source[first]],
        source,
        place,
        groups is not None,
        calm and len(first) == len(x),  # the same cells in another order
    )


def _order(keys: Sequence[Numbers]) -> npt.NDArray[np.intp]:
    """As `np.lexsort`; keys but the last are looked at where it does not decide.

    Example:
        >>> _order([np.array([3, 2, 1, 0]), np.array([5, 4, 5, 4])])
        array([3, 1, 2, 0])
    """
    last = keys[-1]
    order = np.argsort(last, kind="stable")
    same = last[order[1:]] == last[order[:-1]]
    tied = np.flatnonzero(np.append(same, False) | np.append(False, same))
    some = order[tied]
    order[tied] = some[np.lexsort([key[some] for key in keys])]
    return order


@dataclass(frozen=True)
class Scale(Arrays):
    """Where columns lie and how wide they are: `(values - mean) / std` is around 0 and of size 1.

    Args:
        mean: `(columns,)`.
        std: `(columns,)`; 1 for a column that holds one value.
        odd: which scaled values are odd, `(2, columns)`: those up to the first and those from the
            second. None if there are none.
        place: how far from 0 the odd ones are put, `(columns,)`; None if there are none.

    Example:
        >>> Scale.of(np.array([[1.0, 5.0], [3.0, 5.0]]), None)
        Scale(mean=array([2., 5.]), std=array([1., 1.]), odd=None, place=None)
    """

    mean: Floats
    std: Floats
    odd: Floats | None = None
    place: Floats | None = None

    @classmethod
    def of(cls, values: Floats, weight: Floats | None) -> Scale:
        """The scale of columns `(rows, columns)`."""
        mean = np.average(values, axis=0, weights=weight)
        std = np.sqrt(np.average((values - mean) ** 2, axis=0, weights=weight))
        # Rounding leaves a little of a constant column, more with more rows and uneven weights,
        # which division would make large.
        constant = (values == values[:1]).all(axis=0)
        constant |= std <= 10 * np.finfo(np.float64).eps * np.abs(mean)
        return cls(mean, np.where(constant, 1.0, std))

    @classmethod
    def without_odd_cells(cls, values: Floats, weight: Floats | None, calm: bool = False) -> Scale:
        """The scale of all cells but the odd ones, which must not take a column's scale away.

        They are put twice as far out as the farthest other cell: there the row still is unusual,
        and its other cells still say what they say. So are cells of later rows that lie as far out
        as an odd one, or farther; all nearer ones stay where they are. With `calm` it is known that
        there are none.

        Example:
            >>> values = np.append(np.linspace(-1, 1, 100), -999.0)[:, None]
            >>> scale = Scale.without_odd_cells(values, None)
            >>> scale.std.round(2), scale.apply(values)[-1].round(2)
            (array([0.58]), array([-3.43]))
        """
        scale = cls.of(values, weight)
        if calm:
            return scale
        odd = odd_cells(values)
        columns = np.flatnonzero(odd.any(axis=0))
        if not len(columns):
            return scale
        mean, std, place = scale.mean.copy(), scale.std.copy(), np.full(len(scale.mean), np.inf)
        ends = np.outer([-np.inf, np.inf], np.ones(len(mean)))
        for j in columns:
            kept = ~odd[:, j]
            rest = values[kept, j : j + 1]
            own = cls.of(rest, None if weight is None else weight[kept])
            mean[j], std[j] = own.mean[0], own.std[0]
            place[j] = 2 * np.abs(own.apply(rest)).max()
            far = own.apply(values[~kept, j : j + 1])
            ends[:, j] = far[far < 0].max(initial=-np.inf), far[far > 0].min(initial=np.inf)
        return cls(mean, std, ends, place)

    def apply(self, values: Floats) -> Floats:
        """Columns in units of their width."""
        scaled: Floats = (values - self.mean) / self.std
        if self.odd is None or self.place is None:
            return scaled
        scaled = np.where(scaled <= self.odd[0], -self.place, scaled)
        return np.where(scaled >= self.odd[1], self.place, scaled)


def odd_cells(values: Floats) -> npt.NDArray[np.bool_]:
    """Which cells lie so far out that they hardly are of the same kind, such as −999 for "unknown".

    Those are cells more than 30 widths from the median, where the width is the standard deviation
    of the nearest 99 % of the cells, if they are at most one in a hundred and at least ten others
    differ from each other. The least or largest value is also odd where several cells hold it, up
    to half of all, and it lies as far from all others: a code for "unknown" is written often. So
    are up to five whole numbers close to each other, such as −999, −998 and −997.

    Args:
        values: `(rows, columns)`.

    Example:
        >>> odd_cells(np.append(np.linspace(0, 1, 100), -999.0)[:, None]).nonzero()[0]
        array([100])
    """
    odd = np.zeros(values.shape, bool)
    for j, column in enumerate(np.ascontiguousarray(values.T)):
        far = _far_from(column, column)
        if 0 < far.sum() <= max(1, (1 - _NEAR) * len(values)):
            odd[:, j] = far
        ends = [_code_cells(column, _least(column)), _code_cells(column, -_least(-column))]
        codes = np.any([end for end in ends if end.sum() > 1] or [np.zeros_like(far)], axis=0)
        if codes.any() and 2 * codes.sum() <= len(codes):
            odd[:, j] |= codes & _far_from(column[~codes], column)
    return odd


def _least(cells: Floats) -> Floats:
    """The least different values, rising: as many as may be codes, and the next one."""
    few = cells if len(cells) <= _MANY else np.partition(cells, _MANY)[:_MANY]
    found = np.unique(few)[: _MOST_CODES + 1]
    if len(found) > _MOST_CODES or few is cells:
        return found
    return np.unique(cells)[: _MOST_CODES + 1]


def _code_cells(cells: Floats, different: Floats) -> npt.NDArray[np.bool_]:
    """Which cells hold the first value, or whole ones close to it before a wide gap.

    Args:
        cells: of a column.
        different: its outermost values, from the end on.
    """
    steps = np.abs(np.diff(different))
    count = 1 + int(steps.argmax()) if len(steps) else 1
    group = different[:count]
    close = count > 1 and np.ptp(group) <= _CLOSE * steps[count - 1]
    whole = bool((group == np.floor(group)).all())
    found: npt.NDArray[np.bool_] = np.isin(cells, group if close and whole else group[:1])
    return found


def _far_from(some: Floats, cells: Floats) -> npt.NDArray[np.bool_]:
    """Which cells lie many widths from the median of some; none if those hardly vary."""
    middle = np.median(some)
    distance = np.abs(some - middle)
    core = some[distance <= np.quantile(distance, _NEAR)]
    if len(np.unique(core[:_MANY])) < _VARIED and len(np.unique(core)) < _VARIED:
        return np.zeros(len(cells), bool)
    far: npt.NDArray[np.bool_] = np.abs(cells - middle) > _FAR * core.std()
    return far


def check_size(name: str, values: Floats, owners: Sequence[int] | None = None) -> None:
    """Refuse numbers whose squares would overflow, before anything is trained on them.

    Args:
        name: of the argument.
        values: `(rows,)` or `(rows, columns)`.
        owners: what the caller calls each column; None if as it is counted here.

    Raises:
        DataError: naming the first.
    """
    if not (values.size and -LARGEST <= values.min() and values.max() <= LARGEST):
        large = np.abs(values) > LARGEST
        if not large.any():
            return
        place = tuple(int(i) for i in np.argwhere(large)[0])
        columns = range(values.shape[-1]) if owners is None else owners
        column = f", column {columns[place[1]]}" if len(place) > 1 else ""
        raise DataError(
            f"`{name}` holds {values[place]:.4g} in row {place[0]}{column}; expected numbers of at "
            f"most {LARGEST:.0e} in size: correct the cell, or use other units."
        )


def back_to_source(values: Floats, rows: Rows, num_data: int) -> Floats:
    """What is said of training rows, for the caller's rows: the mean over what they became.

    Args:
        values: `(rows, columns)`; NaN for rows of which nothing is known.
        rows: the training rows.
        num_data: how many rows the caller gave.

    Returns:
        `(num_data, columns)`; NaN where nothing is known.

    Example:
        >>> rows = as_rows(np.array([[2.0], [1.0], [2.0]]), np.zeros(3), np.array([1.0, 0.0, 1.0]))
        >>> back_to_source(np.array([[5.0]]), rows, 3).ravel()
        array([ 5., nan,  5.])
    """
    values = values[rows.place]
    known = ~np.isnan(values).any(axis=1)
    totals = np.zeros((num_data, values.shape[1]))
    np.add.at(totals, rows.source[known], values[known])
    counts = np.bincount(rows.source[known], minlength=num_data)
    out = np.full_like(totals, np.nan)
    np.divide(totals, counts[:, None], out=out, where=counts[:, None] > 0)
    return out
