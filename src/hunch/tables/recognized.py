"""Whether a file holds rows that a model was trained on, whose scores would be too good."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from hunch.errors import DataError
from hunch.tables.cells import Floats
from hunch.tables.columns import Columns
from hunch.tables.target import Target

Marks = npt.NDArray[np.int64]

NO_MARKS: Final[Marks] = np.empty(0, np.int64)
_KEPT: Final = 1_000  # marks of training rows, which tell as much as those of all
_SHARE: Final = 0.1  # of them, from which a file is said to hold training rows
_FEWEST: Final = 5


def marks_of(features: Floats, y: Floats) -> Marks:
    """A number for each row, the same for rows that hold the same, `(rows,)`.

    Args:
        features: `(rows, features)`.
        y: targets `(rows,)`.

    Example:
        >>> marks = marks_of(np.array([[1.0], [2.0], [1.0]]), np.zeros(3))
        >>> bool(marks[0] == marks[2]), bool(marks[0] == marks[1])
        (True, False)
    """
    rows = np.column_stack([features, y]) + 0.0  # no -0, whose bits are others
    digests = [hashlib.blake2b(row.tobytes(), digest_size=8).digest() for row in rows]
    return np.frombuffer(b"".join(digests), np.int64)


def marks_to_keep(features: Floats, y: Floats) -> Marks:
    """Those of some training rows: the smallest, whose choice is as good as chance.

    Rows that a table holds several times, as one of few categories does, tell nothing.
    """
    marks, counts = np.unique(marks_of(features, y), return_counts=True)
    kept: Marks = marks[counts == 1][:_KEPT]
    return kept


@dataclass
class Recognized:
    """Which of the kept marks a file has, gone over part by part.

    Args:
        kept: of training rows.
        columns: the rules of the columns.
        target: what is predicted.

    Example:
        >>> table = pa.table({"x": [float(i) for i in range(9)], "y": [0.0] * 9})
        >>> columns, x = Columns.learn_and_encode(table.select(["x"]))
        >>> seen = Recognized(marks_to_keep(x, np.zeros(9)), columns, Target("y", "regression"))
        >>> seen.add(table)
        >>> seen.notes[0][:62]
        '9 of 9 training rows that are looked for are in this file: the'
    """

    kept: Marks
    columns: Columns
    target: Target
    found: set[int] = field(default_factory=set, init=False)

    def add(self, table: pa.Table, first_row: int = 0) -> None:
        """Look at one more part.

        Args:
            table: its rows.
            first_row: how many rows came before.
        """
        if not len(self.kept) or self.target.name not in table.column_names:
            return
        try:
            truth = self.target.truth(table[self.target.name], first_row)[0]
        except DataError:  # which is said where rows are scored
            return
        known = ~np.isnan(truth)
        if known.any():
            features = self.columns.encode(table.filter(pa.array(known)), first_row)[0]
            marks = marks_of(features, truth[known])
            self.found.update(marks[np.isin(marks, self.kept)].tolist())

    @property
    def notes(self) -> list[str]:
        """What the user should know about them."""
        found, of = len(self.found), len(self.kept)
        if found < max(_FEWEST, _SHARE * of):
            return []
        return [
            f"{found:,} of {of:,} training rows that are looked for are in this file: the model "
            "has seen them, and scores with them are too good; those of rows held out are in the "
            "report"
        ]
