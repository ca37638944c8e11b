"""The rows of a file that are learned from, and those that are held out."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from hunch.errors import DataError
from hunch.seeding import numpy_generator
from hunch.tables.reading import Source
from hunch.tables.target import Target

MOST_TEST_ROWS: Final = 10_000
_TEST_SHARE: Final = 0.2


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
    size = min(round(_TEST_SHARE * len(y)), MOST_TEST_ROWS)
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
