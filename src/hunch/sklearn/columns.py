"""What the estimators take as X: numbers with gaps, and data frames with text in them."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from sklearn.utils.validation import _check_sample_weight, check_array, check_X_y, validate_data

from hunch.errors import DataError, warn_user
from hunch.sklearn.mixed import MANY, MixedTable, categories_of, holds_text
from hunch.sklearn.rows import Floats


class TakesColumns:
    """An estimator that sees numbers without gaps, whatever the table has.

    Numbers that are all there stay the very array that scikit-learn has checked.
    """

    n_features_in_: int
    _columns: MixedTable | None

    def _learned_from(
        self, X: Any, y: Any, sample_weight: npt.ArrayLike | None, *, reset: bool, **checks: Any
    ) -> tuple[Floats, Any]:
        """Training rows as numbers, with nothing missing, and y, both checked.

        Args:
            X: as the caller gave it.
            y: likewise.
            sample_weight: likewise.
            reset: whether these rows decide what becomes of each column.
            checks: what `validate_data` is to look at besides.
        """
        mixed = self._is_mixed(X, reset)
        kind = {"dtype": np.float64, "ensure_all_finite": self._finite(reset), **checks}
        if mixed:
            cells, y = validate_data(self, X, y, reset=reset, skip_check_array=True)
        else:
            cells, y = validate_data(self, X, y, reset=reset, **kind)
        if reset:
            names = getattr(self, "feature_names_in_", None)
            weight = weights_of(sample_weight, cells)
            self._columns = MixedTable.of(cells, weight, MANY, names)
            self._warn_of_empty_columns(self._columns)
            if mixed:
                self._warn_of_written_numbers(X, self._columns)
        features = self._encoded(cells, silent=reset)  # rows of no weight may have new gaps
        return check_X_y(features, y, estimator=self, **kind) if mixed else (features, y)

    def _asked_about(self, X: Any) -> Floats:
        """Rows to predict as numbers, with nothing missing, checked."""
        kind = {"dtype": np.float64, "ensure_all_finite": self._finite(reset=False)}
        if self._is_mixed(X, reset=False):
            cells = validate_data(self, X, reset=False, skip_check_array=True)
            checked: Floats = check_array(self._encoded(cells), estimator=self, input_name="X")
            return checked
        return self._encoded(validate_data(self, X, reset=False, **kind))

    def _is_mixed(self, X: Any, reset: bool) -> bool:
        """Whether X holds text or other things that are numbers only once `_columns` says so."""
        if reset:
            return holds_text(X)
        return self._columns is not None and (self._columns.text or holds_text(X))

    def _finite(self, reset: bool) -> bool | Literal["allow-nan"]:
        """What scikit-learn is to refuse; a model of an earlier version cannot fill gaps."""
        return "allow-nan" if reset or self._columns is not None else True

    def _encoded(self, cells: Any, *, silent: bool = False) -> Floats:
        if self._columns is None:
            numbers: Floats = cells
            return numbers
        features, gaps = self._columns.features_and_gaps(cells)
        if gaps and not silent:
            self._warn_of_gaps(gaps, self._columns)
        return features

    def _warn_of_gaps(self, gaps: dict[int, int], table: MixedTable) -> None:
        first, *others = gaps
        more = f", as in {len(others)} more columns" if others else ""
        kind = "none of its values" if table.columns[first].middle is None else "its median"
        warn_user(
            f"`X` has nothing in column {self._name_of(first)!r} in {gaps[first]} rows, where "
            f"every row of `fit` had something{more}: they count as {kind} there."
        )

    def _warn_of_empty_columns(self, table: MixedTable) -> None:
        empty = [j for j, column in enumerate(table.columns) if not column.width]
        if not empty:
            return
        name = self._name_of(empty[0])
        if len(empty) == len(table.columns):
            raise DataError("`X` holds nothing in any column; expected a number or text in some.")
        more = f", nor in {len(empty) - 1} more columns" if len(empty) > 1 else ""
        warn_user(f"`X` holds nothing in column {name!r}{more}; the model leaves it out.")

    def _warn_of_written_numbers(self, X: Any, table: MixedTable) -> None:
        for j, (column, called) in enumerate(zip(table.columns, categories_of(X), strict=True)):
            if column.other and not called and all(_is_number(value) for value in column.values):
                warn_user(
                    f"`X` holds numbers as text in column {self._name_of(j)!r}, and more than "
                    f"{MANY.most} different ones: text counts as categories, of which the rarer "
                    "are one. Use astype(float) if numbers are meant, astype('category') if not."
                )

    def _name_of(self, column: int) -> Any:
        return getattr(self, "feature_names_in_", range(self.n_features_in_))[column]


def weights_of(sample_weight: npt.ArrayLike | None, X: Any) -> Floats | None:
    """How much each row of X counts; None if all count alike."""
    if sample_weight is None:
        return None
    found: Floats = _check_sample_weight(
        sample_weight, X, dtype=np.float64, ensure_non_negative=True
    )
    return found


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
