"""What ties rows of a table together: a group that they are of, or the order of time.

What is promised of new rows must be tried on rows that are as new: of groups that no training row
is of, or later than all of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from hunch.errors import DataError
from hunch.seeding import numpy_generator
from hunch.tables.cells import Flags, Floats, NotThatKindError, clean, words
from hunch.tables.choices import Choices
from hunch.tables.target import Target
from hunch.tables.ways import Way

MOST_TEST_ROWS: Final = 10_000
TEST_SHARE: Final = 0.2
_FEWEST_GROUPS: Final = 5
_MOST_NUMBERS: Final = 10  # different ones, of which each is a kind of rows
_FEWEST_LATER: Final = 4  # rows to judge on

Rows = npt.NDArray[np.intp]
Names = npt.NDArray[np.object_]


@dataclass(frozen=True)
class Ties:
    """What ties the rows of a table together, if anything does.

    Args:
        column: that says it; empty if rows are taken to be alike in any order.
        groups: the name of each row's group; None if they come in none.
        times: when each row was, in days or in the column's numbers; None if that is not said.
        dates: whether times are days since 1970.
        kinds: of columns that were asked for, which of their values each row has.
    """

    column: str = ""
    groups: Names | None = None
    times: Floats | None = None
    dates: bool = False
    kinds: Mapping[str, Names] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        table: pa.Table,
        ways: Mapping[str, Way],
        choices: Choices,
        rows: Rows | None = None,
    ) -> Ties:
        """Of the rows of a table, by what the user says of its columns.

        Args:
            table: with the columns that are spoken of.
            ways: how they are read.
            choices: what is said.
            rows: where each row stands in the file, for messages; None if as it stands here.

        Raises:
            DataError: if a row has no group or time, or the column names too few.
        """
        kinds = {name: _kinds(table[name], ways.get(name)) for name in choices.subgroups}
        for name in choices.groups:
            return cls(name, groups=_names(name, table[name], rows), kinds=kinds)
        for name in choices.time:
            if ways[name].kind not in ("date", "number"):
                raise DataError(
                    f"--time names {name!r}, which holds {_such(table[name])}; expected dates or "
                    "numbers."
                )
            dates = ways[name].kind == "date"
            return cls(name, times=_times(name, ways[name], table, rows), dates=dates, kinds=kinds)
        return cls(kinds=kinds)

    @property
    def by(self) -> str:
        """What is held out: whole `"groups"`, what comes last in `"time"`, or single `"rows"`."""
        return "groups" if self.groups is not None else "rows" if self.times is None else "time"

    def of_rows(self, rows: Rows) -> Ties:
        """Of some of the rows."""
        return Ties(
            self.column,
            None if self.groups is None else self.groups[rows],
            None if self.times is None else self.times[rows],
            self.dates,
            {name: values[rows] for name, values in self.kinds.items()},
        )

    def apart(self, copies: Rows) -> Rows:
        """Groups of copies, parted where copies are of different groups or times.

        Example:
            >>> Ties("day", times=np.array([1.0, 1.0, 2.0])).apart(np.array([0, 0, 0]))
            array([0, 0, 1])
        """
        if self.by == "rows":
            return copies
        values: Any = self.times if self.groups is None else self.groups
        tied = np.unique(values, return_inverse=True)[1]
        both = copies * len(copies) + tied
        _, first, place = np.unique(both, return_index=True, return_inverse=True)
        return np.argsort(np.argsort(first))[place]

    def split(self, y: Floats, target: Target, seed: int) -> tuple[Rows, Rows]:
        """Rows to train on and rows to judge on: a fifth of the groups, or the last fifth.

        Raises:
            DataError: if there are too few for that.

        Example:
            >>> later = Ties("day", times=np.array([5.0, 1.0, 2.0, 4.0, 3.0] * 4))
            >>> later.split(np.arange(20.0), Target("y", "regression"), seed=0)[1]
            array([ 0,  5, 10, 15])
        """
        if self.groups is not None:
            return _split_groups(self.column, self.groups, y, target, seed)
        return self._split_time(y, target)

    def told(self, train: Rows, test: Rows) -> dict[str, Any]:
        """How the rows were divided, as plain values.

        Example:
            >>> Ties().told(np.arange(4), np.arange(1))
            {'by': 'rows', 'column': None}
        """
        found: dict[str, Any] = {"by": self.by, "column": self.column or None}
        for name, rows in (("train", train), ("test", test)):
            if self.groups is not None:
                found[name] = len(set(self.groups[rows]))
            if self.times is not None and len(rows):
                ends = self.times[rows].min(), self.times[rows].max()
                found[name] = [self.when(end) for end in ends]
        return found

    def shared(self, judged: Ties) -> str:
        """What is said of rows to judge on that are no new ones in this respect; mostly nothing.

        Example:
            >>> first, later = (Ties("day", times=np.array(t)) for t in ([1.0, 2.0], [2.0, 3.0]))
            >>> first.shared(later), later.of_rows(np.array([1])).shared(Ties())
            ("1 of 2 rows to judge on are no later by 'day' than all training rows", '')
        """
        if self.groups is not None and judged.groups is not None:
            old = int(np.isin(judged.groups, self.groups).sum())
            what, of = f"are of groups by {self.column!r} that training has", len(judged.groups)
        elif self.times is not None and judged.times is not None:
            old, of = int((judged.times <= self.times.max()).sum()), len(judged.times)
            what = f"are no later by {self.column!r} than all training rows"
        else:
            return ""
        return f"{old:,} of {of:,} rows to judge on {what}" if old else ""

    def when(self, time: float) -> str | float:
        """A time as a plain value: a date as text, a number as it is.

        Example:
            >>> Ties(dates=True).when(14_689.0), Ties(dates=True).when(0.5), Ties().when(3.0)
            ('2010-03-21', '1970-01-01T12:00:00', 3.0)
        """
        if not self.dates:
            return float(time)
        moment = np.datetime64(round(time * 86_400), "s")
        return str(moment.astype("M8[D]") if time == np.floor(time) else moment)

    def _split_time(self, y: Floats, target: Target) -> tuple[Rows, Rows]:
        times = self.times if self.times is not None else np.arange(float(len(y)))
        size = min(round(TEST_SHARE * len(y)), MOST_TEST_ROWS)
        last = np.sort(times)[-size - 1]  # of the training rows; those of one time stay together
        train, test = np.flatnonzero(times <= last), np.flatnonzero(times > last)
        if len(test) < _FEWEST_LATER:
            raise DataError(
                f"--time: {len(test)} rows are later than the first four fifths by "
                f"{self.column!r}; expected at least {_FEWEST_LATER}."
            )
        lacking = np.setdiff1d(y[test], y[train])
        if target.task == "classification" and len(lacking):
            raise DataError(
                f"--time: all rows of class {target.classes[int(lacking[0])]!r} of "
                f"{target.name!r} are among the last, which are judged on; expected some before."
            )
        return train, test


NO_TIES: Final = Ties()


def _split_groups(
    column: str, groups: Names, y: Floats, target: Target, seed: int
) -> tuple[Rows, Rows]:
    """Whole groups, a fifth of them drawn by chance, of which no class is in need."""
    names, place = np.unique(groups, return_inverse=True)
    if len(names) < _FEWEST_GROUPS:
        raise DataError(
            f"--groups: column {column!r} names {len(names)} "
            f"{'group' if len(names) == 1 else 'groups'}; expected at least {_FEWEST_GROUPS}."
        )
    order = numpy_generator(seed, "split").permutation(len(names))
    if target.task == "classification":
        rank = np.argsort(order)[place]
        needed = np.unique([rank[y == c].min() for c in np.unique(y)])
        order = np.delete(order, needed)
    size = np.cumsum(np.bincount(place)[order])
    count = min(max(round(TEST_SHARE * len(names)), 1), int((size <= MOST_TEST_ROWS).sum()))
    held = np.isin(place, order[: max(count, 1)])
    if not held.any():
        raise DataError(
            f"--groups: each group of {column!r} is the only one to train on for some class of "
            f"{target.name!r}; expected more groups."
        )
    return np.flatnonzero(~held), np.flatnonzero(held)


def _names(name: str, column: pa.ChunkedArray, rows: Rows | None) -> Names:
    cells = words(clean(column))
    if cells.null_count:
        empty = cells.is_null().to_numpy(zero_copy_only=False)
        raise DataError(
            f"--groups: column {name!r} {_empty_in(empty, rows)}; expected the name of a group in "
            "each: fill them in, each by a name of its own if nothing is known, or leave the rows "
            "out."
        )
    return np.asarray(cells.to_pylist(), dtype=object)


def _kinds(column: pa.ChunkedArray, way: Way | None) -> Names:
    """The value of each row; of a number that takes many, between which quarters it is."""
    cells = clean(column)
    if way is not None and way.kind == "number":
        values = way.read(cells)
        known = values[np.isfinite(values)]
        if len(np.unique(known)) > _MOST_NUMBERS:
            ends = np.quantile(known, [0, 0.25, 0.5, 0.75, 1])
            place = np.clip(np.searchsorted(ends, values, side="left") - 1, 0, 3)
            names = [f"{low:.4g} to {high:.4g}" for low, high in itertools.pairwise(ends)]
            named = np.array(names, dtype=object)[place]
            return np.where(np.isfinite(values), named, "missing")
    return np.asarray([text or "missing" for text in words(cells).to_pylist()], dtype=object)


def _times(name: str, way: Way, table: pa.Table, rows: Rows | None) -> Floats:
    try:
        times = way.read(clean(table[name]))
    except NotThatKindError as error:
        raise DataError(
            f"--time: column {name!r} holds {error.value!r} in row "
            f"{_in_file(error.row, rows):,}; expected {way.expected}."
        ) from error
    if not np.isfinite(times).all():
        raise DataError(
            f"--time: column {name!r} {_empty_in(~np.isfinite(times), rows)}; expected a time in "
            "each: fill them in, or leave the rows out."
        )
    return times


def _empty_in(empty: Flags, rows: Rows | None) -> str:
    """How many cells are empty, and in which row of the file the first."""
    row, count = f"{_in_file(int(empty.argmax()), rows):,}", int(empty.sum())
    return f"is empty in {f'{count:,} rows, first in ' if count > 1 else ''}row {row}"


def _in_file(row: int, rows: Rows | None) -> int:
    """Its number in the file, from 1."""
    return (row if rows is None else int(rows[row])) + 1


def _such(column: pa.ChunkedArray) -> str:
    known = words(clean(column)).drop_null()
    return f"cells such as {known[0].as_py()!r}" if len(known) else "nothing"
