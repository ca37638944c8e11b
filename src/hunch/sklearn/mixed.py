"""Whatever table a model takes, as numbers: the doubt about a model looks at its rows too."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hunch.errors import DataError
from hunch.sklearn.rows import Floats

_MOST_VALUES: Final = 20  # of a column of text, each a feature; the rest are alike
_FEWEST_ROWS: Final = 5  # with a value that is a feature
_SECONDS_OF_A_DAY: Final = 86_400.0

Cells = npt.NDArray[Any]


@dataclass(frozen=True)
class MixedColumn:
    """What one column becomes.

    Args:
        name: as the table calls it, or its number.
        middle: what stands for a missing number; None for a column of text.
        values: texts that are features of their own.
        missing: whether a missing cell is a feature of its own.
    """

    name: str
    middle: float | None
    values: tuple[str, ...] = ()
    missing: bool = False

    def features(self, cells: Cells) -> Floats:
        """`(rows, features)`.

        Raises:
            DataError: if the column held numbers, and now holds text.
        """
        numbers = _as_numbers(cells)
        if self.middle is None:
            text = _as_text(cells)
            own = [text == value for value in self.values]
            absent = text == ""
        elif numbers is None:
            raise DataError(
                f"`X` holds text in column {self.name!r}; expected numbers, as in `fit`."
            )
        else:
            absent = np.isnan(numbers)
            own = [np.where(absent, self.middle, numbers)]
        columns = [*own, absent] if self.missing else own
        return (
            np.stack(columns, axis=1).astype(np.float64) if columns else np.empty((len(cells), 0))
        )


@dataclass(frozen=True)
class MixedTable:
    """How the columns of a table become numbers, with nothing missing.

    A number stays one, a date counts days, a truth value is 0 or 1. Where numbers are missing the
    median stands, and a further feature says so. Of text each of the 20 most frequent values that
    5 rows have is a feature; all others are alike, as are those that come later.

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
    def of(cls, X: Any) -> MixedTable:
        """Look at the rows of `fit`.

        Raises:
            DataError: if X is no table.
        """
        names, columns = _columns(X)
        known = names or [str(i) for i in range(len(columns))]
        learned = (_learn(name, cells) for name, cells in zip(known, columns, strict=True))
        return cls(tuple(learned), names is not None)

    def features(self, X: Any) -> Floats:
        """The features of rows, `(rows, features)`.

        Raises:
            DataError: if a column is missing or holds something else.
        """
        names, columns = _columns(X)
        if self.named and names is not None:
            found = dict(zip(names, columns, strict=True))
            absent = [c.name for c in self.columns if c.name not in found]
            if absent:
                raise DataError(f"`X` has no column {absent[0]!r}; expected the columns of `fit`.")
            columns = [found[column.name] for column in self.columns]
        if len(columns) != len(self.columns):
            raise DataError(
                f"`X` has {len(columns)} columns; expected {len(self.columns)}, as in `fit`."
            )
        parts = [c.features(cells) for c, cells in zip(self.columns, columns, strict=True)]
        return np.concatenate(parts, axis=1)

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return dataclasses.asdict(self)

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


def _learn(name: str, cells: Cells) -> MixedColumn:
    numbers = _as_numbers(cells)
    if numbers is not None:
        absent = np.isnan(numbers)
        middle = 0.0 if absent.all() else float(np.median(numbers[~absent]))
        return MixedColumn(name, middle, missing=bool(absent.any()))
    text = _as_text(cells)
    absent = text == ""
    values, counts = np.unique(text[~absent], return_counts=True)
    often = np.argsort(-counts, kind="stable")[:_MOST_VALUES]
    kept = sorted(str(value) for value in values[often[counts[often] >= _FEWEST_ROWS]])
    return MixedColumn(name, None, tuple(kept), bool(absent.any()))


def _columns(X: Any) -> tuple[list[str] | None, list[Cells]]:
    """The names of the columns, if they have some, and their cells."""
    names = getattr(X, "column_names", None)  # Arrow's; there `columns` are the cells
    if names is None:
        names = getattr(X, "columns", None)
    if names is not None:
        return [str(name) for name in names], [_cells(X[name]) for name in names]
    if hasattr(X, "toarray"):
        raise DataError("`X` is a sparse matrix; expected a table: X.toarray() makes one.")
    rows = np.asarray(X)
    if rows.ndim != 2:
        raise DataError(
            f"`X` got shape {rows.shape}; expected a table (n_samples, n_features): numbers, or a "
            "data frame, of which the doubt can learn where the model is off."
        )
    return None, list(rows.T)


def _cells(column: Any) -> Cells:
    convert = getattr(column, "to_numpy", None)
    return np.asarray(column if convert is None else convert())


def _as_numbers(cells: Cells) -> Floats | None:
    """Cells as numbers, NaN where one is missing; None if they are text."""
    if cells.dtype.kind in "mM":
        unit = "datetime64" if cells.dtype.kind == "M" else "timedelta64"
        seconds = cells.astype(f"{unit}[s]")
        whole = seconds.astype(np.int64) / _SECONDS_OF_A_DAY
        return np.where(np.isnat(seconds), np.nan, whole)
    if cells.dtype.kind in "biuf":
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
    return np.array(["" if no else str(c) for c, no in zip(cells, absent, strict=True)], object)


def _missing(cells: Cells) -> npt.NDArray[np.bool_]:
    """Where a cell is None, pandas' NA or not equal to itself."""
    return np.array([c is None or str(c) == "<NA>" or c != c for c in cells], bool)
