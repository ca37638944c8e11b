"""Whether the columns of new rows are as those of training were: counts, and tests of them."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from hunch.tables import chances
from hunch.tables.cells import Floats, clean, flags, words
from hunch.tables.column import Column
from hunch.tables.columns import Columns

Counts = npt.NDArray[np.int64]

_PARTS: Final = 10  # of a number's training rows, of equal size
_NUMBERS_OF_ALL: Final = 64  # that all texts of a column have, which a folder keeps
_NUMBERS_OF_NEW: Final = 16_384  # that texts have which training has not: hardly two have the same


@dataclass(frozen=True)
class Drift:
    """How a column of new rows differs from training.

    Args:
        distance: half the sum of differences between shares: what share of rows would have to hold
            something else for both to be alike; 0 to 1.
        p_value: how often chance alone makes a difference as clear, if rows are drawn alike.
        missing: share of cells without a value.
        missing_before: the same in training.
        new: share of cells with a category that training did not have or put among the rest; None
            for other columns.
    """

    distance: float
    p_value: float
    missing: float
    missing_before: float
    new: float | None


@dataclass
class Tally:
    """How many rows hold what in one column; tallies of chunks add up.

    Args:
        counts: by part: of a number, parts between `edges`; of a category, its values and then all
            others; cells without a value last.
        far: rows whose cell is far outside the training data, as `Column.encode` has it.
        texts: rows by a number that each text has, whatever training holds: of a category with a
            part of rare values all its texts, of another one those that training has not seen;
            empty for other columns.
    """

    counts: Counts
    far: int
    texts: Counts

    def __add__(self, other: Tally) -> Tally:
        """Both together."""
        return Tally(self.counts + other.counts, self.far + other.far, self.texts + other.texts)

    @property
    def rows(self) -> int:
        """How many there are."""
        return int(self.counts.sum())


@dataclass(frozen=True)
class Kept:
    """What a model's folder keeps of one column of its training rows.

    Args:
        edges: between the parts of a number.
        tally: of all rows.
    """

    edges: Floats
    tally: Tally

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        values = {"edges": self.edges.tolist(), "counts": self.tally.counts.tolist()}
        texts = {"texts": self.tally.texts.tolist()} if self.tally.texts.any() else {}
        return {**values, "far": self.tally.far, **texts}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Kept:
        """What `to_json` was called on; an earlier version kept edges and counts alone.

        Example:
            >>> Kept.from_json({"edges": [], "counts": [2, 1, 0, 0]}).tally.far
            0
        """
        texts = np.array(values.get("texts", ()), np.int64)
        tally = Tally(np.array(values["counts"], np.int64), int(values.get("far", 0)), texts)
        return cls(np.array(values["edges"], float), tally)


def kept_of_training(columns: Columns, table: pa.Table) -> dict[str, Kept]:
    """What `model/training.json` keeps of the training rows, by column: how many hold what.

    Args:
        columns: the rules, learned of these rows.
        table: the rows.

    Example:
        >>> table = pa.table({"k": ["a", "b", "a"]})
        >>> kept_of_training(Columns.learn(table), table)["k"].to_json()
        {'edges': [], 'counts': [2, 1, 0, 0], 'far': 0}
    """
    edges = {}
    for column in columns.used:
        if column.kind != "category":
            values = column.way.read(clean(table[column.name]))
            edges[column.name] = _edges(values[np.isfinite(values)])
    tallies = tally_of_rows(columns, table, edges)
    return {name: Kept(edges.get(name, np.zeros(0)), own) for name, own in tallies.items()}


def tally_of_rows(
    columns: Columns, table: pa.Table, edges: Mapping[str, Floats]
) -> dict[str, Tally]:
    """The same of new rows, in the parts of training.

    Args:
        columns: the rules.
        table: the rows, of which `Columns.encode` has said that they can be read.
        edges: between the parts of each number.
    """
    found = {}
    for column in columns.used:
        cells = clean(table[column.name])
        if column.kind == "category":
            own = _of_words(column, cells)
        else:
            values = column.way.read(cells)
            far = int(np.count_nonzero(column.far_numbers(values)))
            own = Tally(_of_values(values, edges[column.name]), far, np.zeros(0, np.int64))
        found[column.name] = replace(own, far=0) if column.name in columns.said.time else own
    return found


def drift(column: Column, before: Tally, after: Tally) -> Drift:
    """Compare how many rows hold what.

    Args:
        column: the rules of the column.
        before: of training.
        after: of new rows.

    Example:
        >>> column = Column("k", "category", values=("a", "b"))
        >>> none = np.zeros(0, np.int64)
        >>> old, new = (Tally(np.array(c), 0, none) for c in ([50, 50, 0, 0], [90, 10, 0, 0]))
        >>> found = drift(column, old, new)
        >>> found.distance, found.p_value < 1e-8
        (0.4, True)
    """
    old, new = before.counts / before.counts.sum(), after.counts / after.counts.sum()
    return Drift(
        distance=float(np.abs(old - new).sum() / 2),
        p_value=chances.of_a_difference(*_cells(column, before, after)),
        missing=float(new[-1]),
        missing_before=float(old[-1]),
        new=float(new[-2]) if column.kind == "category" else None,
    )


def chance_of_far(column: Column, before: Tally, after: Tally) -> float:
    """How often rows that are drawn alike have so many cells far outside the training data.

    Args:
        column: the rules of the column.
        before: of training.
        after: of new rows.
    """
    rows = before.rows, after.rows
    if column.kind == "category" and column.other:
        return chances.of_so_many(after.far, before.far + after.far, rows)
    if column.kind == "category":
        known, unseen = before.counts[:-2], after.texts[after.texts > 0]
        values = np.append(known, 0 * unseen), np.append(after.counts[:-2], unseen)
        return chances.of_new_values(*values, rows)
    one_sided = column.kind == "date" or column.counts
    return chances.of_far_numbers(before.far, after.far, rows, ends=1 if one_sided else 2)


def _cells(column: Column, before: Tally, after: Tally) -> tuple[Counts, Counts]:
    """Counts by cells that are not chosen by what training holds often, or not at all."""
    if column.kind != "category":
        return before.counts, after.counts
    if not column.other:
        known, unseen = [np.delete(t.counts, -2) for t in (before, after)], after.texts
        unseen = unseen[unseen > 0]
        return np.append(known[0], 0 * unseen), np.append(known[1], unseen)
    if not len(before.texts):  # an earlier version kept none
        return before.counts, after.counts
    return (
        np.append(before.texts, before.counts[-1]),
        np.append(after.texts, after.counts[-1]),
    )


def _edges(values: Floats) -> Floats:
    return np.unique(np.quantile(values, np.arange(1, _PARTS) / _PARTS))


def _of_values(values: Floats, edges: Floats) -> Counts:
    known = values[np.isfinite(values)]
    # Of a value that many rows share, all fall on the same side.
    parts = np.bincount(np.searchsorted(edges, known, side="right"), minlength=len(edges) + 1)
    return np.append(parts, len(values) - len(known))


def _of_words(column: Column, cells: pa.Array) -> Tally:
    text = words(cells)
    place = pc.index_in(text, value_set=pa.array(column.values, pa.large_string()))
    found = place.drop_null().to_numpy(zero_copy_only=False).astype(np.int64)
    counts = np.bincount(found, minlength=len(column.values) + 2)
    counts[-1] = cells.null_count
    counts[-2] = len(cells) - cells.null_count - len(found)
    unknown = flags(pc.and_(place.is_null(), text.is_valid()))
    asked = text if column.other else text.filter(place.is_null())
    return Tally(
        counts,
        far=int(np.count_nonzero(column.far_words(cells, unknown))),
        texts=_by_number(asked, _NUMBERS_OF_ALL if column.other else _NUMBERS_OF_NEW),
    )


def _by_number(text: pa.Array, numbers: int) -> Counts:
    """Rows by a number that each text has."""
    each = text.drop_null().value_counts()
    own = [zlib.crc32(one.encode()) % numbers for one in each.field("values").to_pylist()]
    times = each.field("counts").to_numpy(zero_copy_only=False)
    return np.bincount(own, weights=times, minlength=numbers).astype(np.int64)
