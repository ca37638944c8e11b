"""What the estimators take as X: numbers with gaps, and data frames with text in them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, Literal

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
            with _naming_text(X):
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
            checked: Floats = check_array(
                self._encoded(cells, asked=True), estimator=self, input_name="X"
            )
            return checked
        with _naming_text(X):
            cells = validate_data(self, X, reset=False, **kind)
        return self._encoded(cells, asked=True)

    def _is_mixed(self, X: Any, reset: bool) -> bool:
        """Whether X holds text or other things that are numbers only once `_columns` says so."""
        if reset:
            return holds_text(X)
        return self._columns is not None and (self._columns.text or holds_text(X))

    def _finite(self, reset: bool) -> bool | Literal["allow-nan"]:
        """What scikit-learn is to refuse; a model of an earlier version cannot fill gaps."""
        return "allow-nan" if reset or self._columns is not None else True

    def _encoded(self, cells: Any, *, silent: bool = False, asked: bool = False) -> Floats:
        if self._columns is None:
            numbers: Floats = cells
            return numbers
        features, gaps = self._columns.features_and_gaps(cells)
        if gaps and not silent:
            self._warn_of_gaps(gaps, self._columns)
        if asked:
            self._warn_of_unseen(features, gaps, self._columns)
        return features

    def _warn_of_unseen(self, features: Floats, gaps: dict[int, int], table: MixedTable) -> None:
        found = {}
        for category in table.categories:
            column = table.owners[category.start]
            none = ~features[:, category.start : category.stop].any(axis=1)
            count = int(none.sum()) - gaps.get(column, 0)
            if count:
                found[column] = count
        if found:
            first, *others = found
            more = f", as in {len(others)} more columns" if others else ""
            warn_user(
                f"`X` has a value in column {self._name_of(first)!r} in {found[first]} rows that "
                f"no row of `fit` had{more}: it may be like any that is known, and predictions "
                "there are as unsure as these differ."
            )

    def _warn_of_gaps(self, gaps: dict[int, int], table: MixedTable) -> None:
        first, *others = gaps
        more = f", as in {len(others)} more columns" if others else ""
        kind = "any of its values" if table.columns[first].middle is None else "its median"
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
            kind = "" if called or len(column.values) < 2 else _written_as(column.values)
            if kind:
                warn_user(
                    f"`X` holds {kind} as text in column {self._name_of(j)!r}, such as "
                    f"{column.values[0]!r}: text counts as categories, each of which is alone. "
                    f"{_READ[kind]} if {kind} are meant, astype('category') if not."
                )
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


_READ: Final = {
    "dates": "Use pandas.to_datetime, or parse_dates of read_csv,",
    "percentages": "Remove the signs and use astype(float)",
}
_WRITTEN: Final = {
    "dates": re.compile(
        r"\d{4}([-/.])\d{1,2}\1\d{1,2}([T ].*)?|\d{1,2}([-/.])\d{1,2}\3\d{2,4}( .*)?"
    ),
    "percentages": re.compile(r"[-+]?\d+([.,]\d+)? ?%"),
}


def _written_as(values: Sequence[str]) -> str:
    """What texts that look like something else than categories look like; empty if they do not."""
    for kind, pattern in _WRITTEN.items():
        if all(pattern.fullmatch(value.strip()) for value in values):
            return kind
    return ""


@contextmanager
def _naming_text(X: Any) -> Iterator[None]:
    """Say of an array of text, of which no column has a type, that a data frame has them."""
    try:
        yield
    except ValueError as error:
        if "could not convert string to float" in str(error):
            raise DataError(
                f"`X` holds text in an array: {error}; pass a data frame, as pandas.DataFrame(X) "
                "or the one that its values came from: it says what each column is."
            ) from error
        raise


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
