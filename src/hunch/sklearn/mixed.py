"""Whatever table is given, as numbers: gaps filled and marked, text as a feature for each value."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hunch.errors import DataError
from hunch.sklearn.rows import Floats
from hunch.sklearn.unseen import Category

_SECONDS_OF_A_DAY: Final = 86_400.0
_ROUNDING: Final = 1e-12  # of a sum of weights
_NUMBERS: Final = "biuf"  # numpy's kinds

Cells = npt.NDArray[Any]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Choice:
    """Which values of text become features of their own.

    Args:
        most: so many at most, the most frequent.
        fewest: of those that so many rows have.
        other: whether the rest, if there are more, share one feature.
    """

    most: int
    fewest: float
    other: bool


FREQUENT: Final = Choice(20, 5, other=False)
MANY: Final = Choice(64, 0, other=True)


@dataclass(frozen=True)
class MixedColumn:
    """What one column becomes.

    Args:
        name: as the table calls it, or its number.
        middle: what stands for a missing number; None for a column of text.
        values: texts that are features of their own.
        missing: whether a missing cell is a feature of its own.
        other: whether texts without a feature of their own share one.
    """

    name: str
    middle: float | None
    values: tuple[str, ...] = ()
    missing: bool = False
    other: bool = False

    @property
    def width(self) -> int:
        """How many features it becomes."""
        return len(self.values) + (self.middle is not None) + self.other + self.missing

    def features(self, cells: Cells) -> tuple[Floats, Bools]:
        """`(rows, features)`, and which cells are missing.

        Raises:
            DataError: if the column held numbers, and now holds text.
        """
        found = np.zeros((len(cells), self.width))
        if not self.width:
            return found, np.zeros(len(cells), bool)
        if self.middle is None:
            text = _as_text(cells)
            absent = text == ""
            place = {value: j for j, value in enumerate(self.values)}
            value = np.array([place.get(cell, -1) for cell in text], np.intp)
            known = np.flatnonzero(value >= 0)
            found[known, value[known]] = 1.0
            if self.other:
                found[(value < 0) & ~absent, len(self.values)] = 1.0
        else:
            numbers = _as_numbers(cells)
            if numbers is None:
                raise DataError(
                    f"`X` holds text in column {self.name!r}; expected numbers, as in `fit`."
                )
            absent = np.isnan(numbers)
            found[:, 0] = np.where(absent, self.middle, numbers)
        if self.missing:
            found[absent, -1] = 1.0
        return found, absent

    def to_json(self) -> dict[str, Any]:
        """As plain values; without what an earlier version does not know, where unused."""
        values = dataclasses.asdict(self)
        return values if self.other else {k: v for k, v in values.items() if k != "other"}


@dataclass(frozen=True)
class MixedTable:
    """How the columns of a table become numbers, with nothing missing.

    A number stays one, a date counts days, a truth value is 0 or 1. Where numbers are missing the
    median stands, and a further feature says so. Of text, or of what a data frame calls categories,
    frequent values are features; all others are alike, as are those that come later. A column
    without any value becomes nothing.

    Args:
        columns: in their order.
        named: whether the table has names for them, by which they are found again.

    Example:
        >>> table = MixedTable.of(np.array([[1.0, np.nan], [2.0, 5.0], [4.0, 7.0]]))
        >>> table.features(np.array([[3.0, np.nan]]))
        array([[3., 6., 1.]])
    """

    columns: tuple[MixedColumn, ...]
    named: bool

    @classmethod
    def of(
        cls,
        X: Any,
        weight: Floats | None = None,
        choice: Choice = FREQUENT,
        names: Sequence[str] | None = None,
    ) -> MixedTable:
        """Look at the rows of `fit`.

        Args:
            X: the rows.
            weight: how much each counts, in medians and frequencies; None if all count alike.
            choice: which values of text become features.
            names: of the columns of an array.

        Raises:
            DataError: if X is no table.
        """
        own, columns = _columns(X)
        names = own or names
        known = names if names is not None else [str(i) for i in range(len(columns))]
        if weight is not None and not weight.any():
            weight = None  # refused where rows are counted
        if weight is not None:
            rows, weight = np.flatnonzero(weight), weight[weight != 0]
        learned = []
        for name, column in zip(known, columns, strict=True):
            cells = _cells(column) if weight is None else _cells(column)[rows]
            numbers = None if _is_category(column) else _as_numbers(cells)
            learned.append(
                _learn_text(name, _as_text(cells), weight, choice)
                if numbers is None
                else _learn_numbers(name, numbers, weight)
            )
        return cls(tuple(learned), names is not None)

    @cached_property
    def plain(self) -> bool:
        """Whether features are the numbers themselves wherever none is missing."""
        return all(c.middle is not None and not c.missing for c in self.columns)

    @cached_property
    def text(self) -> bool:
        """Whether some column is of text."""
        return any(c.middle is None and c.width for c in self.columns)

    @cached_property
    def owners(self) -> tuple[int, ...]:
        """The column that each feature comes from."""
        return tuple(j for j, c in enumerate(self.columns) for _ in range(c.width))

    @cached_property
    def categories(self) -> tuple[Category, ...]:
        """Where the columns of text are of which a later cell may be none of the values."""
        ends = np.cumsum([0, *(c.width for c in self.columns)])
        return tuple(
            Category(int(start), len(c.values), int(start) + c.width)
            for c, start in zip(self.columns, ends, strict=False)
            if len(c.values) > 1 and not c.other  # of one nothing is known but itself
        )

    def features(self, X: Any) -> Floats:
        """The features of rows, `(rows, features)`.

        Raises:
            DataError: if a column is missing or holds something else.
        """
        return self.features_and_gaps(X)[0]

    def features_and_gaps(self, X: Any) -> tuple[Floats, dict[int, int]]:
        """Features, and in how many rows which columns lack a cell that none of `fit` lacked."""
        if self.plain and _as_they_are(X, len(self.columns)):
            return X, {}
        parts, gaps = [], {}
        for j, (column, cells) in enumerate(zip(self.columns, self._found(X), strict=True)):
            own, absent = column.features(_cells(cells))
            parts.append(own)
            if column.width and not column.missing and absent.any():
                gaps[j] = int(absent.sum())
        return np.concatenate(parts, axis=1), gaps

    def _found(self, X: Any) -> list[Any]:
        """The columns of `fit`, in their order there."""
        names, columns = _columns(X)
        if self.named and names is not None and names != [c.name for c in self.columns]:
            found = dict(zip(names, columns, strict=True))
            absent = [c.name for c in self.columns if c.name not in found]
            if absent:
                raise DataError(f"`X` has no column {absent[0]!r}; expected the columns of `fit`.")
            columns = [found[column.name] for column in self.columns]
        if len(columns) != len(self.columns):
            raise DataError(
                f"`X` has {len(columns)} columns; expected {len(self.columns)}, as in `fit`."
            )
        return columns

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {"columns": [c.to_json() for c in self.columns], "named": self.named}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> MixedTable:
        """What `to_json` was called on.

        Example:
            >>> table = MixedTable.of(np.array([["a", 1], ["b", None]], dtype=object))
            >>> MixedTable.from_json(table.to_json()) == table
            True
        """
        columns = [MixedColumn(**{**c, "values": tuple(c["values"])}) for c in values["columns"]]
        return cls(tuple(columns), values["named"])


def holds_text(X: Any) -> bool:
    """Whether X is a data frame of which some column is of another type than numbers.

    Example:
        >>> holds_text(np.ones((2, 2))), holds_text([["a"]])
        (False, False)
    """
    types = getattr(X, "dtypes", None)  # a column of pandas has one, not several
    if not isinstance(types, Iterable):
        return hasattr(X, "column_names")
    return any(getattr(dtype, "kind", "O") not in _NUMBERS for dtype in types)


def _as_they_are(X: Any, columns: int) -> bool:
    """Whether X is an array of numbers, with that many columns and nothing missing."""
    numbers = isinstance(X, np.ndarray) and X.dtype == np.float64 and X.ndim == 2
    return numbers and X.shape[1] == columns and not np.isnan(X).any()


def categories_of(X: Any) -> list[bool]:
    """Which columns a data frame calls categories, be their cells numbers or text."""
    return [_is_category(column) for column in _columns(X)[1]]


def _is_category(column: Any) -> bool:
    return hasattr(getattr(column, "dtype", None), "categories")


def _learn_numbers(name: str, numbers: Floats, weight: Floats | None) -> MixedColumn:
    absent = np.isnan(numbers)
    if absent.all():
        return MixedColumn(name, None)
    middle = median_of(numbers[~absent], None if weight is None else weight[~absent])
    return MixedColumn(name, middle, missing=bool(absent.any()))


def _learn_text(name: str, text: Cells, weight: Floats | None, choice: Choice) -> MixedColumn:
    absent = text == ""
    if absent.all():
        return MixedColumn(name, None)
    values, place = np.unique(text[~absent], return_inverse=True)
    share = np.ones(len(place)) if weight is None else weight[~absent]
    order = np.lexsort((share, place))  # sums round by the order, and that of rows means nothing
    counts = np.bincount(place[order], share[order], minlength=len(values))
    often = np.argsort(-counts, kind="stable")[: choice.most]
    kept = sorted(str(value) for value in values[often[counts[often] >= choice.fewest]])
    other = choice.other and len(kept) < len(values)
    return MixedColumn(name, None, tuple(kept), bool(absent.any()), other)


def median_of(values: Floats, weight: Floats | None) -> float:
    """The value below which half the weight lies; between two, their mean, as of rows alike.

    Example:
        >>> median_of(np.array([1.0, 5.0, 2.0]), np.array([2.0, 1.0, 1.0]))
        1.5
    """
    if weight is None:
        return float(np.median(values))
    order = np.lexsort((weight, values))
    total = np.cumsum(weight[order])
    half = total[-1] / 2 * (1 + _ROUNDING * np.array([-1, 1]))
    low, high = values[order][np.searchsorted(total, half)]
    return float((low + high) / 2)


def _columns(X: Any) -> tuple[list[str] | None, list[Any]]:
    """The names of the columns, if they have some, and the columns."""
    names = getattr(X, "column_names", None)  # Arrow's; there `columns` are the cells
    if names is None:
        names = getattr(X, "columns", None)
    if names is not None:
        return [str(name) for name in names], [X[name] for name in names]
    if hasattr(X, "toarray"):
        raise DataError("`X` is a sparse matrix; expected a table: X.toarray() makes one.")
    rows = np.asarray(X)
    if rows.ndim != 2:
        raise DataError(
            f"`X` got shape {rows.shape}; expected a table (n_samples, n_features): numbers, or a "
            "data frame."
        )
    return None, list(rows.T)


def _cells(column: Any) -> Cells:
    if _is_category(column) and hasattr(column, "astype"):
        column = column.astype(object)  # pandas would make floats of whole numbers with gaps
    convert = getattr(column, "to_numpy", None)
    return np.asarray(column if convert is None else convert())


def _as_numbers(cells: Cells) -> Floats | None:
    """Cells as numbers, NaN where one is missing; None if they are text."""
    if cells.dtype.kind in "mM":
        unit = "datetime64" if cells.dtype.kind == "M" else "timedelta64"
        seconds = cells.astype(f"{unit}[s]")
        whole = seconds.astype(np.int64) / _SECONDS_OF_A_DAY
        return np.where(np.isnat(seconds), np.nan, whole)
    if cells.dtype.kind in _NUMBERS:
        return cells.astype(np.float64)
    if cells.dtype.kind != "O":
        return None
    present = ~_missing(cells)
    if any(isinstance(cell, str | bytes) for cell in cells[present]):
        return None
    numbers = np.full(len(cells), np.nan)
    try:
        numbers[present] = cells[present].astype(np.float64)
    except (TypeError, ValueError):
        return None
    return numbers


def _as_text(cells: Cells) -> Cells:
    """Cells as text, empty where one is missing."""
    absent: Iterable[bool] = _missing(cells)
    return np.array(["" if no else _word(c) for c, no in zip(cells, absent, strict=True)], object)


def _word(cell: Any) -> str:
    """A cell as text; a whole number is the same word however it is held."""
    if isinstance(cell, float | np.floating) and cell.is_integer():
        return str(int(cell))
    return str(cell)


def _missing(cells: Cells) -> npt.NDArray[np.bool_]:
    """Where a cell is None, pandas' NA or not equal to itself."""
    return np.array([c is None or str(c) == "<NA>" or c != c for c in cells], bool)
