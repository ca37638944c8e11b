"""What `hunch fit` learns of a table and `hunch predict` says, without files and reports."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from hunch.inference import ClassPredictive
from hunch.storage import scratch_folder
from hunch.tables.choices import Choices
from hunch.tables.columns import Columns
from hunch.tables.model import train
from hunch.tables.reading import open_table
from hunch.tables.rows import read_rows
from hunch.tables.target import Task, learn_target
from hunch.tables.ties import Ties
from hunch.tables.ways import learn_ways

Array = npt.NDArray[Any]
Rows = npt.NDArray[np.intp]
_ALL: Final = 1_000_000  # rows
_COVERAGE: Final = 0.9
_MIDDLE: Final = 0.5 - 1e-9  # a level below the median's


class Said(NamedTuple):
    """Of the test rows of one split."""

    y: Array  # the truth, numbers or class numbers
    mean: Array  # for numbers, `(rows,)`; empty for classes
    quantiles: Array  # for numbers `(rows, levels)`, for classes probabilities `(rows, classes)`
    ends: tuple[Array, Array] | None = None  # for numbers, of the 90 % interval


def fit_and_predict(
    frame: Any,
    target: str,
    task: Task,
    rows: tuple[Rows, Rows],
    *,
    levels: Array,
    time: str | None = None,
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
        levels: of the quantiles of numbers, as many above 0.5 as below.
        time: what `--time` names, if rows to ask about are later ones.
        members: networks; None for the default.
        seed: decides every draw.
    """
    with scratch_folder("hunch-table") as folder:
        path = Path(folder) / "table.csv"
        frame.to_csv(path, index=False)
        source = open_table(path)
        table, _ = read_rows(source, _ALL, 0, False)
    choices = Choices(time=(time,) if time else ())
    ways = learn_ways(table, delimiter=source.delimiter)
    goal, y = learn_target(target, table[target], task, ways[target])
    ties = Ties.of(table, ways, choices)
    others = table.drop_columns([target])
    known, asked = rows
    columns, x = Columns.learn_and_encode(
        others.take(known), ways=ways, left_out=source.left_out, said=choices
    )
    model = train(
        columns,
        goal,
        x,
        y[known],
        ties=ties.of_rows(known),
        members=members,
        seed=seed,
        progress=False,
    )
    new = columns.encode(others.take(asked))[0]
    p = model.estimator.predict_distribution(new)
    if isinstance(p, ClassPredictive):
        probabilities = p.probs.numpy()
        return Said(y[asked].astype(int), np.zeros(0), probabilities)
    mean, quantiles = p.mean.numpy(), p.quantiles(np.asarray(levels)).numpy()
    (ends,) = model.intervals(new, [_COVERAGE])
    if time:  # what has grown since training is in the model's intervals alone
        halves = model.intervals(new, [1 - 2 * level for level in levels if level < _MIDDLE])
        lower, upper = (np.stack(side, axis=1) for side in zip(*halves, strict=True))
        middle = quantiles[:, lower.shape[1] : len(levels) - upper.shape[1]]
        quantiles = np.concatenate([lower, middle, upper[:, ::-1]], axis=1)
    return Said(y[asked], mean, quantiles, ends)
