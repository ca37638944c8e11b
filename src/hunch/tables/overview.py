"""What a table holds, before anything is learned from it."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

import numpy as np

from hunch.tables.cells import Floats
from hunch.tables.columns import Columns
from hunch.tables.target import Target

_BINS: Final = 24


def overview(columns: Columns, target: Target, x: Floats, y: Floats) -> dict[str, Any]:
    """Kinds of columns, how much of each is missing, and how the target is distributed.

    Args:
        columns: the rules.
        target: what is predicted.
        x: features of the training rows.
        y: their targets, numbers or class numbers.

    Returns:
        `kinds`: columns of each kind, those that are not used among them; `missing`: the share of
        training rows without a value, for each column that has some; `target`: of a number its
        `quantiles`, `mean`, and `counts` between `edges`; of classes the rows of each in `counts`.

    Example:
        >>> import pyarrow as pa
        >>> columns, x = Columns.learn_and_encode(pa.table({"a": [1.0, None, 3.0, 4.0]}))
        >>> found = overview(columns, Target("y", "regression"), x, np.arange(4.0))
        >>> found["kinds"], found["missing"], found["target"]["mean"]
        ({'number': 1}, {'a': 0.25}, 1.5)
    """
    kinds = Counter(column.kind for column in columns.used)
    missing = {
        column.name: float(x[:, place.stop - 1].mean())
        for column, place in zip(columns.used, columns.groups().values(), strict=True)
        if column.missing
    }
    return {
        "kinds": dict(kinds) | ({"not used": len(columns.dropped)} if columns.dropped else {}),
        "missing": dict(sorted(missing.items(), key=lambda item: -item[1])),
        "target": _numbers(y) if target.task == "regression" else _classes(target, y),
    }


def _numbers(y: Floats) -> dict[str, Any]:
    levels = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
    quantiles = np.quantile(y, levels)
    # A few values far away would leave all others in one bar.
    low, high = np.quantile(y, [0.005, 0.995])
    counts, edges = (
        np.histogram(np.clip(y, low, high), _BINS) if low < high else ([len(y)], [low, high])
    )
    return {
        "quantiles": {f"{level:g}": float(q) for level, q in zip(levels, quantiles, strict=True)},
        "mean": float(y.mean()),
        "edges": [float(edge) for edge in edges],
        "counts": [int(count) for count in counts],
        "beyond": int(((y < low) | (y > high)).sum()),
    }


def _classes(target: Target, y: Floats) -> dict[str, Any]:
    counts = np.bincount(y.astype(int), minlength=len(target.classes))
    return {"counts": dict(zip(target.classes, counts.tolist(), strict=True))}
