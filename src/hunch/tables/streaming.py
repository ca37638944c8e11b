"""From one table file to another, a bounded number of rows at a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hunch.errors import DataError, FolderError
from hunch.storage import expanded, new_file
from hunch.tables.cells import clean
from hunch.tables.choices import few
from hunch.tables.columns import Columns
from hunch.tables.data import open_data
from hunch.tables.model import TableModel
from hunch.tables.moments import day_in_words
from hunch.tables.reading import Source, open_table
from hunch.tables.recognized import Recognized
from hunch.tables.scoring import Scores
from hunch.tables.writing import csv_header, csv_rows, unused_names

_NOT_CSV: Final = (".parquet", ".pq", ".gz", ".xlsx")


@dataclass(frozen=True)
class Predicted:
    """What `predict_table` did.

    Args:
        rows: rows predicted.
        outside: how many of them are far outside the training data.
        scores: what `Scores.result` gives, if the file holds the truth.
    """

    rows: int
    outside: int
    scores: dict[str, float | None] | None = None


def predict_table(
    model: TableModel,
    path: str | os.PathLike[str],
    out: str | os.PathLike[str] | IO[bytes],
    *,
    coverage: float = 0.9,
    sheet: str | None = None,
    progress: bool = True,
    say: Callable[[str], object] = lambda line: None,
) -> Predicted:
    r"""Copy a file to a CSV file with what the model says of each row in further columns.

    Rows and columns keep their order, and cells of a CSV file their text. Predictions stand behind
    them, under the names that `TableModel.predict` gives; if the file has one of these already, all
    of ours begin with `hunch_`. The file at `out` appears when it is complete. One that is there
    already is replaced only if its header is the one that would be written. If the file has the
    target's column, predictions are scored on the rows in which it is known.

    Args:
        model: what predicts.
        path: CSV or Parquet, of any length, or a spreadsheet. (`TableModel.predict` takes tables
            in memory.)
        out: the CSV file to write, or an open one, which gets the rows as they are predicted.
        coverage: of the intervals, between 0 and 1, ends excluded.
        sheet: of a spreadsheet with several.
        progress: show a bar on standard error.
        say: takes notes for the user, one line each.

    Raises:
        DataError: if the file lacks a column or a cell is of another kind than in training.
        FolderError: if `out` cannot be written.

    Example:
        >>> from hunch.tables.columns import Columns
        >>> from hunch.tables.model import train
        >>> from hunch.tables.target import Target
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> table = pa.table({"x": [i / 40 for i in range(40)], "y": [i / 20 for i in range(40)]})
        >>> rules, x = Columns.learn_and_encode(table.select(["x"]))
        >>> target, y = Target("y", "regression"), table["y"].to_numpy()
        >>> model = train(rules, target, x, y, members=4, progress=False)
        >>> _ = (folder / "new.csv").write_text("name,x\nnear,0.5\nfar,7\n")
        >>> predict_table(model, folder / "new.csv", folder / "out.csv", progress=False)
        Predicted(rows=2, outside=1, scores=None)
        >>> [line.split(",")[:3] for line in (folder / "out.csv").read_text().splitlines()][0]
        ['name', 'x', 'mean']
    """
    source = open_data(path, sheet, say)
    copied, answers = _plan(model, source, say)
    header = [*copied, *answers]
    scores, later = Scores(model.target, coverage), Later(model.columns)
    recognized = Recognized(model.seen, model.columns, model.target)
    ours = partial(_holds_such, header=header, source=source.path)
    rows = outside = endless = 0
    with _opened(out, ours) as file:
        file.write(csv_header(header))
        for table in source.chunks_with_bar("predicting", progress=progress):
            found = model.predict(table, coverage=coverage, first_row=rows)
            both = [*table.select(copied).columns, *found.columns]
            file.write(csv_rows(pa.table(both, names=header)))
            if model.target.name in table.column_names:
                scores.add(found, table[model.target.name], first_row=rows)
            later.add(table)
            recognized.add(table, rows)
            rows += table.num_rows
            outside += pc.sum(found["outside"]).as_py() or 0
            endless += _not_finite(found)
        if not rows:
            raise DataError(f"{str(path)!r} has a header and no rows; expected some to predict.")
    if endless:
        say(
            f"of {endless:,} rows some predictions are inf or nan: their numbers are so far from "
            "the training data that no float holds the answer"
        )
    for note in [*later.notes, *scores.notes, *recognized.notes]:
        say(note)
    return Predicted(rows, outside, scores.result())


@dataclass
class Later:
    """Which rows have dates behind the last one of training, as new rows mostly have.

    Args:
        columns: the rules of the columns.

    Example:
        >>> from hunch.tables.column import Column
        >>> later = Later(Columns((Column("d", "date", high=10.0),), ()))
        >>> later.add(pa.table({"d": ["1970-01-05", "1970-02-01"]}))
        >>> later.notes
        ["1 row has dates in 'd' later than the last of training, 1970-01-11, up to 1970-02-01"]
    """

    columns: Columns
    rows: dict[str, int] = field(default_factory=dict, init=False)
    last: dict[str, float] = field(default_factory=dict, init=False)

    def add(self, table: pa.Table) -> None:
        """Go over one more part."""
        for column in self.columns.used:
            if column.kind != "date":
                continue
            days = column.way.read(clean(table[column.name]))
            late = days[days > column.high]
            if len(late):
                self.rows[column.name] = self.rows.get(column.name, 0) + len(late)
                self.last[column.name] = max(self.last.get(column.name, -np.inf), late.max())

    @property
    def notes(self) -> list[str]:
        """A sentence for each column that has some."""
        highs = {column.name: column.high for column in self.columns.used}
        return [
            f"{count:,} {'row has' if count == 1 else 'rows have'} dates in {name!r} later than "
            f"the last of training, {day_in_words(highs[name])}, up to "
            f"{day_in_words(self.last[name])}"
            for name, count in self.rows.items()
        ]


def _not_finite(found: pa.Table) -> int:
    """How many rows have an answer that is no finite number."""
    finite = np.ones(found.num_rows, bool)
    for column in found.columns:
        if pa.types.is_floating(column.type):
            finite &= np.isfinite(column.to_numpy())
    return int(np.count_nonzero(~finite))


def _plan(
    model: TableModel, source: Source, say: Callable[[str], object]
) -> tuple[list[str], list[str]]:
    """Which columns to copy and under which names to predict; says what is out of the ordinary."""
    extra = [n for n in model.columns.check_names(source.names) if n != model.target.name]
    if extra:
        say(f"not used, since training did not have them: {few(extra)}")
    left_out = source.left_out
    copied = [name for name in source.names if name not in left_out]
    if left_out:
        say(f"not copied, since no cell of a CSV file can hold them: {few(list(left_out))}")
    plain = model.output_names
    answers = unused_names(plain, source.names)
    if answers != plain:
        taken = set(source.names)
        twice = [name for name in plain if name in taken]
        say(f"predictions are called {few(answers)}, since the file has {few(twice)} already")
    return copied, answers


@contextmanager
def _opened(
    out: str | os.PathLike[str] | IO[bytes], ours: Callable[[Path], bool]
) -> Iterator[IO[bytes]]:
    if not isinstance(out, str | os.PathLike):
        yield out
        out.flush()
        return
    _check_name(expanded(out))
    with new_file(out, ours) as place, place.open("wb") as file:
        yield file


def _check_name(out: Path) -> None:
    if out.suffix.lower() in _NOT_CSV:
        raise FolderError(f"{str(out)!r} would hold CSV; expected a name that says so, as 'p.csv'.")


def _holds_such(out: Path, header: Sequence[str], source: Path) -> bool:
    """Whether a file holds older predictions of such a file, which may be replaced."""
    if out.samefile(source):
        raise FolderError(f"{str(out)!r} is the file to predict; choose another name.")
    try:
        written = open_table(out).names
    except DataError:
        written = ()
    # An earlier version did not say what makes a row be outside.
    if list(written) not in (list(header), list(header[:-1])):
        raise FolderError(
            f"{str(out)!r} exists and does not hold predictions of such a file by such a model; "
            "choose another name, or move it away."
        )
    return True
