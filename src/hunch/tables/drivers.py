"""Which columns a prediction depends on, and which ones its doubt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hunch.seeding import numpy_generator
from hunch.tables.cells import Floats
from hunch.tables.column import Column
from hunch.tables.columns import Columns
from hunch.tables.model import TableModel

_MOST_DRIVERS: Final = 200  # columns, of which each takes a prediction of all probed rows
_MOST_TIED: Final = 12  # columns that are held against each other
_TIED: Final = 0.7  # correlation from which shuffling one of two columns makes rows that cannot be
_BINS: Final = 10
_ALL_BUT_CONSTANT: Final = 1e-9

QUANTITIES: Final = ("prediction", "epistemic", "aleatoric")


def quantities(model: TableModel, x: Floats) -> dict[str, Floats]:
    """What of a prediction may depend on columns: `(rows, outputs)` each.

    `prediction` is the mean of a number or the probabilities of classes, the others are the two
    parts of the doubt.
    """
    said = model.predict_features(x)
    if model.target.task == "regression":
        outputs = [said["mean"]]
    else:
        outputs = [said[f"probability_{name}"] for name in model.target.classes]
    return {
        "prediction": np.stack(outputs, axis=1),
        "epistemic": said["epistemic"][:, None],
        "aleatoric": said["aleatoric"][:, None],
    }


def drivers(model: TableModel, x: Floats, seed: int) -> dict[str, dict[str, float]]:
    """Each column's share in how the prediction and the parts of its doubt vary, largest first.

    Of very many columns those are tried that vary most with one of them, for each takes a
    prediction of all rows. Shuffling a column among rows leaves everything but its tie to the row;
    half the mean squared change over the variance is the column's total share after Sobol', from 0
    to about 1.

    Args:
        model: the model.
        x: test rows `(rows, features)`.
        seed: decides how columns are shuffled.

    Returns:
        Column to share, for each of `QUANTITIES`.
    """
    before = quantities(model, x)
    found: dict[str, dict[str, float]] = {key: {} for key in QUANTITIES}
    for name, place in _foremost(model.columns.groups(), x, before).items():
        shuffled = x.copy()
        order = numpy_generator(seed, "shuffled", name).permutation(len(x))
        shuffled[:, place] = x[order, place]
        for key, values in quantities(model, shuffled).items():
            found[key][name] = _share(before[key], values)
    return {
        key: dict(sorted(shares.items(), key=lambda item: -item[1]))
        for key, shares in found.items()
    }


def _share(before: Floats, after: Floats) -> float:
    variance = float(before.var(axis=0).sum())
    if variance <= (_ALL_BUT_CONSTANT * np.abs(before).max()) ** 2:
        return 0.0  # what differs by rounding alone depends on no column
    return float(((after - before) ** 2).mean(axis=0).sum()) / (2 * variance)


def _foremost(groups: dict[str, slice], x: Floats, found: Mapping[str, Floats]) -> dict[str, slice]:
    """At most 200 columns, those that go most with a prediction or its doubt."""
    if len(groups) <= _MOST_DRIVERS:
        return groups
    distance = np.abs(x - x.mean(axis=0))
    tie = np.maximum.reduce(
        [
            _correlation(x, found["prediction"]),
            *(_correlation(distance, found[key]) for key in ("epistemic", "aleatoric")),
        ]
    )
    best = sorted(groups, key=lambda name: -float(tie[groups[name]].max()))[:_MOST_DRIVERS]
    return {name: groups[name] for name in best}


def _correlation(x: Floats, y: Floats) -> Floats:
    """The largest one of each column of `x` with any of `y`, without its sign."""
    a, b = x - x.mean(axis=0), y - y.mean(axis=0)
    size = np.linalg.norm(a, axis=0)[:, None] * np.linalg.norm(b, axis=0)
    strength: Floats = np.abs(a.T @ b) / np.maximum(size, np.finfo(np.float64).tiny)
    largest: Floats = strength.max(axis=1)
    return largest


def tied(columns: Columns, x: Floats, names: list[str]) -> list[list[Any]]:
    """Pairs of columns of which one says much of the other, the strongest first.

    Args:
        columns: the rules.
        x: rows `(rows, features)`.
        names: of the columns that are asked, of many the first twelve.

    Returns:
        Two names and the largest correlation between their features, at least 0.7.

    Example:
        >>> import pyarrow as pa
        >>> a = np.linspace(0, 1, 30)
        >>> table = pa.table({"a": a, "b": 5 - 2 * a, "c": np.sin(50 * a)})
        >>> columns, x = Columns.learn_and_encode(table)
        >>> tied(columns, x, ["a", "b", "c"])
        [['a', 'b', 1.0]]
    """
    groups, asked = columns.groups(), names[:_MOST_TIED]
    found = []
    for i, one in enumerate(asked):
        for other in asked[i + 1 :]:
            # The first feature of a date is its day, and its phases follow from it.
            strength = float(_correlation(x[:, groups[one]], x[:, groups[other]]).max())
            if strength >= _TIED:
                found.append([one, other, round(strength, 3)])
    return sorted(found, key=lambda pair: -pair[2])


def along(
    model: TableModel, test_x: Floats, epistemic: Floats, shares: Mapping[str, float]
) -> dict[str, Any]:
    """For the three columns that drive it most, the epistemic part along their values."""
    found: dict[str, Any] = {}
    columns = {column.name: column for column in model.columns.used}
    for name in list(shares)[:3]:
        column, place = columns[name], model.columns.groups()[name]
        values = test_x[:, place]
        # Rows without a value hold the median, and are a group of their own.
        absent = values[:, -1] == 1 if column.missing else np.zeros(len(values), bool)
        present = np.flatnonzero(~absent)
        if column.kind in ("number", "date"):
            parts = [present[part] for part in _bins(values[present, 0])]
            at: list[Any] = [float(np.median(values[part, 0])) for part in parts]
        else:
            rows = rows_of_values(column, values)
            at, parts = list(rows), list(rows.values())
        kept = [i for i, part in enumerate(parts) if len(part)]
        found[name] = {
            "kind": column.kind,
            "at": [at[i] for i in kept],
            "epistemic": [float(epistemic[parts[i]].mean()) for i in kept],
            "missing": float(epistemic[absent].mean()) if absent.any() else None,
        }
    return found


def rows_of_values(column: Column, values: Floats) -> dict[str, npt.NDArray[np.intp]]:
    """The rows of each value of a category or boolean, and of those where it is missing.

    Args:
        column: the rule.
        values: its features `(rows, features)`.
    """
    absent = values[:, -1] == 1 if column.missing else np.zeros(len(values), bool)
    if column.kind == "boolean":
        found = {
            said: np.flatnonzero(~absent & (values[:, 0] == v))
            for v, said in enumerate(("false", "true"))
        }
    else:
        names = [feature.removeprefix(f"{column.name} = ") for feature in column.features]
        names = names[:-1] if column.missing else names
        found = {name: np.flatnonzero(values[:, i]) for i, name in enumerate(names)}
    return found | {"missing": np.flatnonzero(absent)}


def _bins(values: Floats) -> list[npt.NDArray[np.intp]]:
    """Rows by their value; where there are many, in ten parts of equal size."""
    different = np.unique(values)
    if len(different) <= _BINS:
        return [np.flatnonzero(values == value) for value in different]
    return np.array_split(np.argsort(values, kind="stable"), _BINS)
