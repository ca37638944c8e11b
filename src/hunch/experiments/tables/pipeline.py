"""What `hunch fit` learns of a table and `hunch predict` says, without files and reports."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from hunch.sklearn import RandomizedPriorClassifier
from hunch.storage import scratch_folder
from hunch.tables.columns import Columns
from hunch.tables.model import train
from hunch.tables.reading import open_table
from hunch.tables.rows import read_rows
from hunch.tables.target import Task, learn_target
from hunch.tables.ways import learn_ways

Array = npt.NDArray[Any]
Rows = npt.NDArray[np.intp]
_ALL: Final = 1_000_000  # rows


class Said(NamedTuple):
    """Of the test rows of one split."""

    y: Array  # the truth, numbers or class numbers
    mean: Array  # for numbers, `(rows,)`; empty for classes
    quantiles: Array  # for numbers `(rows, levels)`, for classes probabilities `(rows, classes)`


def fit_and_predict(
    frame: Any,
    target: str,
    task: Task,
    rows: tuple[Rows, Rows],
    *,
    levels: Array,
    members: int | None = None,
    seed: int = 0,
) -> Said:
    """Learn from some rows of a table as `hunch fit` does at its defaults, and ask about others.

    The table goes through a CSV file, since that is what the command line reads.

    Args:
        frame: a pandas DataFrame.
        target: name of the column to predict, without missing cells.
        task: what it is.
        rows: to learn from, and to ask about.
        levels: of the quantiles of numbers.
        members: networks; None for the default.
        seed: decides every draw.
    """
    with scratch_folder("hunch-table") as folder:
        path = Path(folder) / "table.csv"
        frame.to_csv(path, index=False)
        source = open_table(path)
        table, _ = read_rows(source, _ALL, 0, False)
    ways = learn_ways(table, delimiter=source.delimiter)
    goal, y = learn_target(target, table[target], task, ways[target])
    others = table.drop_columns([target])
    known, asked = rows
    columns, x = Columns.learn_and_encode(others.take(known), ways=ways, left_out=source.left_out)
    model = train(columns, goal, x, y[known], members=members, seed=seed, progress=False)
    new = columns.encode(others.take(asked))[0]
    estimator = model.estimator
    if isinstance(estimator, RandomizedPriorClassifier):
        probabilities = estimator.predict_distribution(new).probs.numpy()
        return Said(y[asked].astype(int), np.zeros(0), probabilities)
    return Said(
        y[asked], np.asarray(estimator.predict(new)), estimator.predict_quantiles(new, levels)
    )
