"""The rows of a file that are learned from, and those that are held out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from hunch.errors import DataError
from hunch.seeding import numpy_generator
from hunch.tables.cells import Floats, clean, words
from hunch.tables.choices import few
from hunch.tables.columns import Columns
from hunch.tables.examples import Named
from hunch.tables.reading import Source
from hunch.tables.suspects import count_copies, judged_copies_in_words
from hunch.tables.target import Target, check_none_missing, without_target_in_words
from hunch.tables.ties import MOST_TEST_ROWS, NO_TIES, TEST_SHARE, Ties

_FEWEST_TEST_ROWS: Final = 4  # as many as are held out of the shortest table


def read_rows(source: Source, max_rows: int, seed: int, progress: bool) -> tuple[pa.Table, int]:
    """All rows, or a random sample in the file's order, and how many there were.

    Args:
        source: the file.
        max_rows: of more rows a sample of so many is taken.
        seed: decides the sample.
        progress: show a bar on standard error.

    Raises:
        DataError: if there are none, or one cannot be read.
    """
    kept: pa.Table | None = None
    keys = np.zeros(0)
    rows = 0
    for i, chunk in enumerate(source.chunks_with_bar("reading", progress=progress)):
        kept = chunk if kept is None else pa.concat_tables([kept, chunk])
        drawn = numpy_generator(seed, "sample", i).random(chunk.num_rows)
        keys, rows = np.concatenate([keys, drawn]), rows + chunk.num_rows
        if len(keys) > 2 * max_rows:
            kept, keys = _smallest(kept, keys, max_rows)
    if kept is None:
        raise DataError(f"{str(source.path)!r} has a header and no rows.")
    if len(keys) > max_rows:
        kept, _ = _smallest(kept, keys, max_rows)
    return kept, rows


def _smallest(
    table: pa.Table, keys: npt.NDArray[np.float64], count: int
) -> tuple[pa.Table, npt.NDArray[np.float64]]:
    chosen = np.sort(np.argpartition(keys, count)[:count])
    return table.take(chosen), keys[chosen]


def split_groups(
    group: npt.NDArray[np.intp], y: npt.NDArray[np.float64], target: Target, seed: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Rows to train on and rows to test on, copies on one side; a test row comes once.

    Args:
        group: of copies, that each row is in.
        y: numbers or class numbers.
        target: what they are.
        seed: decides which rows are held out.

    Raises:
        DataError: if there are too few rows for so many classes.

    Example:
        >>> y = np.arange(10.0)
        >>> train, test = split_groups(np.arange(10), y, Target("y", "regression"), seed=0)
        >>> len(train), len(test)
        (8, 2)
    """
    first = np.unique(group, return_index=True)[1]
    train_groups, test_groups = _split(y[first], target, seed)
    return np.flatnonzero(np.isin(group, train_groups)), first[test_groups]


def _split(
    y: npt.NDArray[np.float64], target: Target, seed: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Rows to train on and rows to test on; of each class there is one to train on."""
    order = numpy_generator(seed, "split").permutation(len(y))
    size = min(round(TEST_SHARE * len(y)), MOST_TEST_ROWS)
    if target.task == "classification":
        _, first = np.unique(y[order], return_index=True)
        order = np.concatenate([np.delete(order, first), order[first]])
        size = min(size, len(order) - len(first))
    if not 2 <= size:
        raise DataError(
            f"target {target.name!r} has {len(target.classes)} classes in {len(y)} rows; expected "
            "several rows a class. For a number use --task regression."
        )
    test, rest = np.split(order, [size])
    return np.sort(rest), np.sort(test)


@dataclass(frozen=True)
class Judged:
    """Rows to judge on.

    Args:
        x: features `(rows, features)`.
        y: numbers or class numbers.
        named: their cells.
        file: the name of their own file; empty if they were held out.
        copies: how many of them are copies of training rows.
        notes: what the user should know about them.
        ties: what ties them together.
    """

    x: Floats
    y: Floats
    named: Named
    file: str = ""
    copies: int = 0
    notes: tuple[str, ...] = ()
    ties: Ties = NO_TIES


def read_judged(
    source: Source,
    columns: Columns,
    target: Target,
    train: tuple[Floats, Floats],
    ties: Ties,
    *,
    allow_missing: bool,
    seed: int,
    progress: bool,
) -> Judged:
    """The rows of a file, read by the rules of the training rows.

    Args:
        source: the file; of more than 10,000 rows a random sample is taken.
        columns: the rules.
        target: what is predicted.
        train: features and targets of the training rows.
        ties: of the training rows.
        allow_missing: leave rows without a target out.
        seed: decides the sample.
        progress: show a bar on standard error.

    Raises:
        DataError: if the file lacks a column, or its cells are of another kind or class.
    """
    with _naming(source):
        columns.check_names(source.names)
    table, num_rows = read_rows(source, MOST_TEST_ROWS, seed, progress)
    with _naming(source):
        y, strange = target.truth(table[target.name])
        if strange.any():
            raise DataError(_stranger(target, table, int(strange.argmax())))
        missing = np.isnan(y)
        if not allow_missing:
            check_none_missing(target.name, missing)
        x, y = columns.encode(table)[0][~missing], y[~missing]
        ids = table.select([name for name in columns.said.ids if name in table.column_names])
        rows = np.flatnonzero(~missing)
        named = Named(rows, table.take(rows), ids.take(rows))
        _check_judged(target, y)
        known = columns.said.groups + columns.said.time + columns.said.subgroups
        own = NO_TIES
        if set(known) <= set(table.column_names):
            ways = {column.name: column.way for column in columns.used}
            own = Ties.of(table.filter(pa.array(~missing)), ways, columns.said)
    copies = count_copies(columns, *train, x, y)
    notes = []
    if table.num_rows < num_rows:
        notes.append(f"judging on a random sample of {table.num_rows:,} of its {num_rows:,} rows")
    if missing.any():
        notes.append(without_target_in_words(int(missing.sum()), len(missing)))
    if copies:
        notes.append(judged_copies_in_words(copies, len(y)))
    if seen := ties.shared(own):
        notes.append(seen)
    name = source.path.name
    return Judged(x, y, named, name, copies, tuple(f"{name!r}: {note}" for note in notes), own)


def _check_judged(target: Target, y: Floats) -> None:
    if len(y) < _FEWEST_TEST_ROWS:
        raise DataError(
            f"{len(y)} {'row' if len(y) == 1 else 'rows'} to judge on; expected at least "
            f"{_FEWEST_TEST_ROWS}."
        )
    if target.task == "regression" and y.min() == y.max():
        raise DataError(f"target {target.name!r} is {y[0]:g} in every row; expected it to vary.")


@contextmanager
def _naming(source: Source) -> Iterator[None]:
    """Say which of two files it is that cannot be used."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{str(source.path)!r}: {error}") from error


def _stranger(target: Target, table: pa.Table, row: int) -> str:
    cell = words(clean(table[target.name].slice(row, 1)))[0].as_py()
    return (
        f"target {target.name!r} holds {cell!r} in row {row + 1}, which is no class of the "
        f"training rows; expected {few(target.classes)}."
    )
