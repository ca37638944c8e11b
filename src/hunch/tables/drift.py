"""Whether the columns of new rows are as those of training were: counts, and a test of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import torch

from hunch.tables.cells import Floats, clean, words
from hunch.tables.column import Column
from hunch.tables.columns import Columns

Counts = npt.NDArray[np.int64]

_PARTS: Final = 10  # of a number's training rows, of equal size
_LEAST: Final = 5.0  # rows that are expected in a part, of fewer parts are put together


@dataclass(frozen=True)
class Drift:
    """How a column of new rows differs from training.

    Args:
        distance: half the sum of differences between shares: what share of rows would have to hold
            something else for both to be alike; 0 to 1.
        p_value: how often chance alone makes a difference as clear, if rows are drawn alike.
        missing: share of cells without a value.
        missing_before: the same in training.
        new: share of cells with a category that training did not have or put among the rest; None
            for other columns.
    """

    distance: float
    p_value: float
    missing: float
    missing_before: float
    new: float | None


def counts_of_training(columns: Columns, features: Floats) -> dict[str, dict[str, Any]]:
    """What `model/training.json` keeps of the training rows, by column: how many hold what.

    Args:
        columns: the rules.
        features: of the rows, `(rows, features)`.

    Example:
        >>> columns, x = Columns.learn_and_encode(pa.table({"k": ["a", "b", "a"]}))
        >>> counts_of_training(columns, x)
        {'k': {'edges': [], 'counts': [2, 1, 0, 0]}}
    """
    found = {}
    for column, place in zip(columns.used, columns.groups().values(), strict=True):
        own = features[:, place]
        if column.kind == "category":
            counts = np.zeros(len(column.values) + 2, np.int64)
            seen = own.sum(axis=0).astype(np.int64)
            counts[: len(column.values)] = seen[: len(column.values)]
            counts[-2] = seen[len(column.values)] if column.other else 0
            counts[-1] = seen[-1] if column.missing else 0
            found[column.name] = {"edges": [], "counts": counts.tolist()}
            continue
        values = np.where(own[:, -1] == 1, np.nan, own[:, 0]) if column.missing else own[:, 0]
        edges = _edges(values[np.isfinite(values)])
        found[column.name] = {
            "edges": edges.tolist(),
            "counts": _of_values(values, edges).tolist(),
        }
    return found


def counts_of_rows(
    columns: Columns, table: pa.Table, edges: Mapping[str, Sequence[float]]
) -> dict[str, Counts]:
    """The same of new rows, in the parts of training."""
    found = {}
    for column in columns.used:
        cells = clean(table[column.name])
        if column.kind == "category":
            found[column.name] = _of_words(column, cells)
        else:
            found[column.name] = _of_values(
                column.way.read(cells), np.asarray(edges[column.name], float)
            )
    return found


def drift(before: Counts, after: Counts, *, words: bool) -> Drift:
    """Compare counts by parts, of which the last is of cells without a value.

    The test is Pearson's of homogeneity; parts in which few rows are expected are put together.

    Args:
        before: of training `(parts,)`.
        after: of new rows `(parts,)`.
        words: whether they are of categories, of which the last but one part is of all others.

    Example:
        >>> found = drift(np.array([50, 50, 0, 0]), np.array([90, 10, 0, 0]), words=True)
        >>> found.distance, found.p_value < 1e-8
        (0.4, True)
    """
    old, new = before / before.sum(), after / after.sum()
    return Drift(
        distance=float(np.abs(old - new).sum() / 2),
        p_value=_p_value(before, after),
        missing=float(new[-1]),
        missing_before=float(old[-1]),
        new=float(new[-2]) if words else None,
    )


def _p_value(before: Counts, after: Counts) -> float:
    total = before + after
    share = after.sum() / total.sum()
    order = np.argsort(total, kind="stable")
    expected = np.cumsum(total[order]) * min(share, 1 - share)
    rare = order[expected < _LEAST]
    rest = np.setdiff1d(order, rare)
    parts = [np.append(c[rest], c[rare].sum()) for c in (before, after)]
    table = np.stack([part[parts[0] + parts[1] > 0] for part in parts]).astype(float)
    if table.shape[1] < 2:
        return 1.0
    fit = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    statistic = float(((table - fit) ** 2 / fit).sum())
    degrees = torch.tensor((table.shape[1] - 1) / 2, dtype=torch.float64)
    half = torch.tensor(statistic / 2, dtype=torch.float64)
    return float(torch.special.gammaincc(degrees, half))


def _edges(values: Floats) -> Floats:
    return np.unique(np.quantile(values, np.arange(1, _PARTS) / _PARTS))


def _of_values(values: Floats, edges: Floats) -> Counts:
    known = values[np.isfinite(values)]
    # Of a value that many rows share, all fall on the same side.
    parts = np.bincount(np.searchsorted(edges, known, side="right"), minlength=len(edges) + 1)
    return np.append(parts, len(values) - len(known))


def _of_words(column: Column, cells: pa.Array) -> Counts:
    place = pc.index_in(words(cells), value_set=pa.array(column.values, pa.large_string()))
    found = place.drop_null().to_numpy(zero_copy_only=False).astype(np.int64)
    counts = np.bincount(found, minlength=len(column.values) + 2)
    counts[-1] = cells.null_count
    counts[-2] = len(cells) - cells.null_count - len(found)
    return counts
