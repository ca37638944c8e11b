"""From one table file to another, a bounded number of rows at a time."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv

from hunch.errors import DataError, FolderError
from hunch.progress import progress_bar
from hunch.tables.model import TableModel
from hunch.tables.reading import Source, open_table


@dataclass(frozen=True)
class Predicted:
    """What `predict_table` did.

    Args:
        rows: rows predicted.
        outside: how many of them are far outside the training data.
    """

    rows: int
    outside: int


def predict_table(
    model: TableModel,
    path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    coverage: float = 0.9,
    progress: bool = True,
    say: Callable[[str], object] = lambda line: None,
) -> Predicted:
    r"""Predict every row of a file into a CSV file, in the same order.

    The file at `out` appears when it is complete. One that is there already is replaced only if its
    header is that of this model's predictions.

    Args:
        model: what predicts.
        path: CSV or Parquet, of any length.
        out: the CSV file to write.
        coverage: of the intervals, between 0 and 1, ends excluded.
        progress: show a bar on standard error.
        say: takes notes for the user, one line each.

    Raises:
        DataError: if the file lacks a column or a cell is of another kind than in training.
        FolderError: if `out` cannot be written.

    Example:
        >>> from hunch.tables.columns import Columns
        >>> from hunch.tables.model import train
        >>> from hunch.tables.target import Target
        >>> folder = Path(tempfile.mkdtemp())
        >>> table = pa.table({"x": [i / 40 for i in range(40)], "y": [i / 20 for i in range(40)]})
        >>> rules, target = Columns.learn(table.select(["x"])), Target("y", "regression")
        >>> model = train(rules, target, table, members=4, progress=False)
        >>> _ = (folder / "new.csv").write_text("x\n0.5\n7\n")
        >>> predict_table(model, folder / "new.csv", folder / "out.csv", progress=False)
        Predicted(rows=2, outside=1)
    """
    source = open_table(path)
    extra = [n for n in model.columns.check_names(source.names) if n != model.target.name]
    if extra:
        say(f"ignoring {len(extra)} columns that training did not have: {_few(extra)}")
    names = model.output_names
    _check_replaceable(Path(out), names, source.path)
    rows = outside = 0
    with new_file(out) as file, _writer(file) as write:
        for table in _with_bar(source, [c.name for c in model.columns.used], progress):
            found = model.predict(table, coverage=coverage, first_row=rows)
            write(found)
            rows += found.num_rows
            outside += sum(found["outside"].to_pylist())
        if not rows:
            raise DataError(f"{str(path)!r} has a header and no rows; expected some to predict.")
    return Predicted(rows, outside)


@contextmanager
def new_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A file to fill, which takes the name `path` when the block ends without an error.

    Raises:
        FolderError: if it cannot be written, or the disk is full.

    Example:
        >>> place = Path(tempfile.mkdtemp()) / "a.txt"
        >>> with new_file(place) as file:
        ...     _ = file.write_text("hello")
        >>> place.read_text(), len(list(place.parent.iterdir()))
        ('hello', 1)
    """
    target = Path(path).expanduser()
    aside = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        os.close(handle)
        aside = Path(name)
        aside.chmod(0o644)  # mkstemp's own mode shuts everybody else out
        yield aside
        aside.replace(target)
    except OSError as error:
        if isinstance(error, FolderError):
            raise
        raise FolderError(f"cannot write {str(path)!r}: {error.strerror or error}.") from error
    finally:
        if aside is not None:
            aside.unlink(missing_ok=True)


@contextmanager
def _writer(file: Path) -> Iterator[Callable[[pa.Table], object]]:
    """Writes tables one behind the other; the first one decides the columns."""
    writers: list[Any] = []

    def write(table: pa.Table) -> None:
        if not writers:
            writers.append(pyarrow.csv.CSVWriter(file, table.schema))
        writers[0].write_table(table)

    try:
        yield write
    finally:
        for writer in writers:
            writer.close()


def _with_bar(source: Source, columns: Sequence[str], progress: bool) -> Iterator[pa.Table]:
    done = 0.0
    with progress_bar(100, f"predicting {source.path.name}", "%", enabled=progress) as bar:
        for table in source.chunks(columns):
            yield table
            bar.update(round(100 * source.share_read - done, 1))
            done = 100 * source.share_read


def _check_replaceable(out: Path, names: Sequence[str], source: Path) -> None:
    """Refuse an output in whose place there is anything but older predictions."""
    if out.is_dir():
        raise FolderError(f"{str(out)!r} is a folder; expected the name of a file to write.")
    if not out.exists():
        return
    if out.samefile(source):
        raise FolderError(f"{str(out)!r} is the file to predict; choose another name.")
    try:
        written = open_table(out).names
    except DataError:
        written = ()
    if list(written) != list(names):
        raise FolderError(
            f"{str(out)!r} exists and does not hold predictions of such a model; choose another "
            "name, or move it away."
        )


def _few(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:5])
    return shown + (f" and {len(names) - 5} more" if len(names) > 5 else "")
