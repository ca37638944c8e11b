"""Single test rows: what was said of them, and what was true."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from hunch.seeding import numpy_generator
from hunch.tables.cells import Floats, clean, words
from hunch.tables.target import Target

_EXAMPLES: Final = 10
_DRAWN: Final = 200  # rows of a picture; more hide each other
_CELLS: Final = 3  # columns beside the ids
_LONGEST: Final = 40  # characters of a cell


@dataclass(frozen=True)
class Named:
    """The cells of test rows as they stand in their file.

    Args:
        places: the number of each row, counted from 0.
        table: their cells.
        ids: what names them.
    """

    places: npt.NDArray[np.intp]
    table: pa.Table
    ids: pa.Table


def _cells(table: pa.Table, row: int, names: Sequence[str]) -> dict[str, str]:
    return {name: _cell(table[name].slice(row, 1)) for name in names}


def _cell(column: pa.ChunkedArray) -> str:
    text = words(clean(column))[0].as_py() or ""
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def examples(
    target: Target,
    said: Mapping[str, Any],
    y: Floats,
    named: Named | None,
    foremost: Sequence[str],
    seed: int,
) -> list[dict[str, Any]]:
    """Ten test rows drawn at random, in the order of the file.

    Args:
        target: what is predicted.
        said: what the model says of all test rows.
        y: their truth.
        named: their cells; None where only features are known.
        foremost: columns, of which the first three that the table holds are shown.
        seed: decides the rows.

    Returns:
        For each `row`, counted from 1; `ids` and `cells`; `actual`, `predicted`; of a number
        `lower` and `upper` ends of its 90 % interval and whether the truth is `inside`; of classes
        the `probability` of the predicted one and of the `actual` one, and whether it is `right`.
    """
    drawn = np.sort(numpy_generator(seed, "examples").permutation(len(y))[:_EXAMPLES])
    have = [] if named is None else named.table.column_names
    shown = [name for name in foremost if name in have][:_CELLS]
    found = []
    for row in map(int, drawn):
        record: dict[str, Any] = {"row": row + 1, "ids": {}, "cells": {}}
        if named is not None:
            record["row"] = int(named.places[row]) + 1
            record["ids"] = _cells(named.ids, row, named.ids.column_names)
            record["cells"] = _cells(named.table, row, shown)
        found.append(record | _of_row(target, said, y, row))
    return found


def _of_row(target: Target, said: Mapping[str, Any], y: Floats, row: int) -> dict[str, Any]:
    if target.task == "regression":
        lower, upper, actual = (float(v[row]) for v in (said["lower"], said["upper"], y))
        return {
            "actual": actual,
            "predicted": float(said["mean"][row]),
            "lower": lower,
            "upper": upper,
            "inside": lower <= actual <= upper,
        }
    probabilities = [float(said[f"probability_{name}"][row]) for name in target.classes]
    actual_class, best = int(y[row]), int(np.argmax(probabilities))
    return {
        "actual": target.classes[actual_class],
        "predicted": target.classes[best],
        "probability": probabilities[best],
        "probability_of_actual": probabilities[actual_class],
        "right": best == actual_class,
    }


def scatter(said: Mapping[str, Floats], y: Floats, seed: int) -> dict[str, list[float]]:
    """Truth, prediction and interval of at most 200 test rows, for a picture."""
    rows = numpy_generator(seed, "scatter").permutation(len(y))[:_DRAWN]
    rows = rows[np.argsort(said["mean"][rows], kind="stable")]
    return {
        "actual": [float(v) for v in y[rows]],
        "predicted": [float(v) for v in said["mean"][rows]],
        "lower": [float(v) for v in said["lower"][rows]],
        "upper": [float(v) for v in said["upper"][rows]],
    }


def confusion(probs: Floats, y: npt.NDArray[np.int64]) -> list[list[int]]:
    """How many test rows of each class (row) were taken for each (column).

    Example:
        >>> confusion(np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]]), np.array([0, 1, 1]))
        [[1, 0], [1, 1]]
    """
    classes = probs.shape[1]
    places = y * classes + probs.argmax(axis=1)
    counts = np.bincount(places, minlength=classes**2).reshape(classes, classes)
    return [[int(count) for count in row] for row in counts]
