"""Kinds of rows, by the values of some columns, whose errors are told apart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hunch.errors import ConfigurationError
from hunch.sklearn.rows import Floats
from hunch.sklearn.state import Arrays

Ints = npt.NDArray[np.intp]
By = int | str | Sequence[int | str]
_GIVEN: Final = (int, str, np.integer)


@dataclass(frozen=True)
class Strata(Arrays):
    """Which values of some features make a stratum.

    Args:
        place: of these features among all, `(deciding,)`.
        value: of each stratum, `(strata, deciding)`.

    Example:
        >>> x = np.array([[0.0, 7.0], [1.0, 8.0], [0.0, 9.0]])
        >>> Strata.of(x, np.array([0])).at(np.array([[1.0, 7.0], [2.0, 7.0]]))
        array([ 1, -1])
    """

    place: Ints
    value: Floats

    @classmethod
    def of(cls, x: Floats, place: Ints) -> Strata:
        """Those that some rows are of."""
        return cls(place, np.unique(_deciding(x, place), axis=0))

    def at(self, x: Floats) -> Ints:
        """The number of each row's stratum, `(rows,)`; -1 for one that was not there."""
        number = {row.tobytes(): k for k, row in enumerate(self.value)}
        rows = _deciding(x, self.place)
        return np.array([number.get(row.tobytes(), -1) for row in rows], dtype=np.intp)


def _deciding(x: Floats, place: Ints) -> Floats:
    return np.ascontiguousarray(x[:, place]) + 0.0  # no -0, whose bits are others


def columns_by(by: By, names: Sequence[Any], owners: Sequence[int]) -> Ints:
    """The features that columns became, given by number or name.

    Args:
        by: one column or several.
        names: of all columns; their numbers if they have none.
        owners: the column that each feature comes from.

    Raises:
        ConfigurationError: if there is no such column, or nothing is known of it.

    Example:
        >>> columns_by("size", ["city", "size"], [0, 0, 1])
        array([2])
    """
    asked = list(by) if isinstance(by, Iterable) and not isinstance(by, str) else [by]
    if not asked:
        raise ConfigurationError("`calibrate_by` got no column; expected one at least, or None.")
    known = {name: j for j, name in enumerate(names)} | {j: j for j in range(len(names))}
    for column in asked:
        if isinstance(column, bool) or not isinstance(column, _GIVEN) or column not in known:
            raise ConfigurationError(
                f"`calibrate_by` got {column!r}; expected the name of a column of X, or its "
                f"number, up to {len(names) - 1}."
            )
        if known[column] not in owners:
            raise ConfigurationError(
                f"`calibrate_by` got {column!r}, a column that holds nothing; expected another."
            )
    return np.flatnonzero(np.isin(owners, [known[column] for column in asked]))
