"""Whether intervals and probabilities hold in parts of the test rows, not only over all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hunch.tables.cells import Floats
from hunch.tables.columns import Columns
from hunch.tables.drivers import rows_of_values
from hunch.tables.losses import wilson

_DECILES: Final = 10
_LEAST_IN_BIN: Final = 20  # test rows; a mean of fewer errors says little
_LEAST_IN_SUBGROUP: Final = 20
_MOST_SUBGROUPS: Final = 60


def equal_groups(values: Floats) -> list[npt.NDArray[np.intp]]:
    """Rows by their value in groups of equal size, of which there are fewer where rows are few."""
    count = min(max(len(values) // _LEAST_IN_BIN, 2), _DECILES)
    return np.array_split(np.argsort(values, kind="stable"), count)


def by_size(values: Floats, right: npt.NDArray[np.bool_]) -> dict[str, list[Any]]:
    """How often something holds, in groups of rows of equal size by a value.

    Args:
        values: of each row.
        right: whether it holds for the row.

    Returns:
        `at`, the mean value of each group; `rows`; `share` that holds, with the ends `low` and
        `high` of its range.

    Example:
        >>> found = by_size(np.arange(40.0), np.arange(40) < 30)
        >>> found["at"], found["share"]
        ([9.5, 29.5], [1.0, 0.5])
    """
    parts = equal_groups(values)
    shares = [float(right[part].mean()) for part in parts]
    ranges = [wilson(share, len(part)) for share, part in zip(shares, parts, strict=True)]
    return {
        "at": [float(values[part].mean()) for part in parts],
        "rows": [len(part) for part in parts],
        "share": shares,
        "low": [low for low, _ in ranges],
        "high": [high for _, high in ranges],
    }


def by_subgroup(
    columns: Columns, x: Floats, right: npt.NDArray[np.bool_], others: Mapping[str, Floats]
) -> list[dict[str, Any]]:
    """The same by the values of categories and booleans that at least 20 rows have.

    Args:
        columns: the rules.
        x: features of the rows.
        right: whether it holds for the row.
        others: what else of each row is averaged, by its name.

    Returns:
        A record a value: `column`, `value`, `rows`, `share`, `low`, `high` and the others; of very
        many values those of most rows.
    """
    found: list[dict[str, Any]] = []
    for column, place in zip(columns.used, columns.groups().values(), strict=True):
        if column.kind not in ("category", "boolean"):
            continue
        for value, rows in rows_of_values(column, x[:, place]).items():
            if len(rows) < _LEAST_IN_SUBGROUP:
                continue
            share = float(right[rows].mean())
            low, high = wilson(share, len(rows))
            means = {name: float(values[rows].mean()) for name, values in others.items()}
            found.append(
                {
                    "column": column.name,
                    "value": value,
                    "rows": len(rows),
                    "share": share,
                    "low": low,
                    "high": high,
                    **means,
                }
            )
    if len(found) <= _MOST_SUBGROUPS:
        return found
    least = sorted((record["rows"] for record in found), reverse=True)[_MOST_SUBGROUPS - 1]
    return [record for record in found if record["rows"] >= least][:_MOST_SUBGROUPS]
