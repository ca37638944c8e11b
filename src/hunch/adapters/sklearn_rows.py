"""Training rows in an order that does not depend on how they came, and their scales."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hunch.errors import DataError

Floats = npt.NDArray[np.float64]
Numbers = npt.NDArray[Any]

_MOST_REPEATED = 1_000_000  # rows; more are not written out but weighed


@dataclass(frozen=True)
class Rows:
    """What a training sees.

    Args:
        x: features `(rows, features)`.
        y: targets `(rows, outputs)`, or class numbers `(rows,)`.
        weight: how much each row counts, with mean 1; None if all count alike.
        source: which of the caller's rows each is, `(rows,)`.
    """

    x: Floats
    y: Numbers
    weight: Floats | None
    source: npt.NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.source)


def as_rows(x: Floats, y: Numbers, sample_weight: Floats | None) -> Rows:
    """Sort rows by what they hold, so that a training is a function of the set of rows.

    A row of whole-number weight becomes that many rows, and one of weight 0 none, which makes
    "weight 2" and "twice in the table" the same to the last bit. Other weights weigh.

    Args:
        x: features `(data, features)`.
        y: targets `(data, outputs)` or class numbers `(data,)`.
        sample_weight: `(data,)`, at least 0; None if all count alike.

    Raises:
        DataError: if no row has a weight.

    Example:
        >>> x, y = np.array([[2.0], [1.0], [3.0]]), np.array([[0.0], [0.0], [0.0]])
        >>> as_rows(x, y, np.array([1.0, 2.0, 0.0])).source
        array([1, 1, 0])
    """
    source = np.arange(len(x))
    weight = sample_weight
    if weight is not None:
        if not weight.any():
            raise DataError("`sample_weight` is 0 in every row; expected at least one above 0.")
        if (weight == np.floor(weight)).all() and weight.sum() <= _MOST_REPEATED:
            source, weight = np.repeat(source, weight.astype(np.intp)), None
        else:
            source = np.flatnonzero(weight)
            weight = weight[source] / weight[source].mean()
    columns = [x[source], y[source].reshape(len(source), -1)]
    keys = [*np.hstack(columns).T, *([] if weight is None else [weight])]
    order = np.lexsort(keys)
    source = source[order]
    return Rows(x[source], y[source], None if weight is None else weight[order], source)


@dataclass(frozen=True)
class Scale:
    """Where columns lie and how wide they are: `(values - mean) / std` is around 0 and of size 1.

    Args:
        mean: `(columns,)`.
        std: `(columns,)`; 1 for a column that holds one value.

    Example:
        >>> Scale.of(np.array([[1.0, 5.0], [3.0, 5.0]]), None)
        Scale(mean=array([2., 5.]), std=array([1., 1.]))
    """

    mean: Floats
    std: Floats

    @classmethod
    def of(cls, values: Floats, weight: Floats | None) -> Scale:
        """The scale of columns `(rows, columns)`."""
        mean = np.average(values, axis=0, weights=weight)
        std = np.sqrt(np.average((values - mean) ** 2, axis=0, weights=weight))
        # Rounding leaves a little of a constant column, which division would make large.
        constant = std <= 10 * np.finfo(np.float64).eps * np.abs(mean)
        return cls(mean, np.where(constant, 1.0, std))

    def apply(self, values: Floats) -> Floats:
        """Columns in units of their width."""
        return (values - self.mean) / self.std


def back_to_source(values: Floats, rows: Rows, num_data: int) -> Floats:
    """What is said of training rows, for the caller's rows: the mean over repetitions.

    Args:
        values: `(rows, columns)`; NaN for rows of which nothing is known.
        rows: the training rows.
        num_data: how many rows the caller gave.

    Returns:
        `(num_data, columns)`; NaN where nothing is known.

    Example:
        >>> rows = Rows(np.zeros((3, 1)), np.zeros(3), None, np.array([1, 1, 0]))
        >>> back_to_source(np.array([[1.0], [3.0], [5.0]]), rows, 3).ravel()
        array([ 5.,  2., nan])
    """
    known = ~np.isnan(values).any(axis=1)
    totals = np.zeros((num_data, values.shape[1]))
    np.add.at(totals, rows.source[known], values[known])
    counts = np.bincount(rows.source[known], minlength=num_data)
    out = np.full_like(totals, np.nan)
    np.divide(totals, counts[:, None], out=out, where=counts[:, None] > 0)
    return out
