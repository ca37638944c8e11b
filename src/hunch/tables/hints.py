"""Signs that rows are not alike in any order, though nobody said so: they look dated, or grouped.

A sign is one beyond chance, and large: the same target in another order of the rows would show it
less than once in 10,000 tables. Whether new rows will be later ones, or of new groups, no table
tells; so it is said what to say then.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from hunch.seeding import numpy_generator
from hunch.tables.cells import Floats, NotThatKindError, clean, is_flat, words
from hunch.tables.target import Target
from hunch.tables.ways import Way

_MOST_ROWS: Final = 20_000  # that are looked at
_FEWEST_GROUPS: Final = 15
_FEWEST_IN_GROUP: Final = 2.0  # rows, in the mean
_CLOSE: Final = 2.0  # times as wide as they are many are numbers that count something at most
_ALIKE: Final = 0.2  # of the target's variance is between groups, or shared with the next row
_BEYOND: Final = 6.0  # standard deviations of chance

Codes = npt.NDArray[np.intp]


def hints(
    table: pa.Table, ways: Mapping[str, Way], y: Floats, target: Target, seed: int
) -> list[str]:
    """At most two sentences: by which column rows look dated, and by which they look grouped.

    Args:
        table: the columns that are not the target.
        ways: how their cells are read.
        y: numbers or class numbers.
        target: what they are.
        seed: decides which rows of many are looked at.

    Example:
        >>> from hunch.tables.ways import learn_ways
        >>> rng = np.random.default_rng(0)
        >>> who = np.arange(200) % 20
        >>> table = pa.table({"who": [f"p{i}" for i in who], "age": rng.normal(size=200)})
        >>> y = rng.normal(size=20)[who] + 0.1 * rng.normal(size=200)
        >>> hints(table, learn_ways(table), y, Target("cost", "regression"), seed=0)[0][:50]
        "rows look grouped by 'who': 'cost' is alike within"
    """
    rng = numpy_generator(seed, "hints")
    rows = rng.permutation(len(y))[:_MOST_ROWS]
    if target.task == "classification":
        y = (y == np.bincount(y.astype(np.intp)).argmax()).astype(np.float64)
    value = np.unique(y[rows], return_inverse=True)[1].astype(np.float64)
    if value.std() == 0:
        return []
    value = (value - value.mean()) / value.std()
    dated: dict[str, float] = {}
    grouped: dict[str, tuple[float, int]] = {}
    for name, way in ways.items():
        if name == target.name or name not in table.column_names:
            continue
        cells = table[name].take(rows)
        if way.kind == "date":
            times = _read(way, cells)
            share = 0.0 if times is None else _shared_with_the_next(value, times)
            if share:
                dated[name] = share
        elif is_flat(cells.type) and way.kind in ("category", "number"):
            codes = _codes(way, cells)
            share = 0.0 if codes is None else _alike_within(value, codes, way.kind == "number")
            if share and codes is not None:
                grouped[name] = share, int(codes.max()) + 1
    said = []
    if dated:
        name = max(dated, key=lambda name: dated[name])
        said.append(
            f"rows look dated by {name!r}: {target.name!r} goes on from one to the next "
            f"(correlation {dated[name]:.2f}); if new rows will be later ones, say --time {name}"
        )
    if grouped:
        name = max(grouped, key=lambda name: grouped[name])
        share, count = grouped[name]
        said.append(
            f"rows look grouped by {name!r}: {target.name!r} is alike within its {count:,} values "
            f"(intra-class correlation {share:.2f}); if new rows will have new ones, say --groups "
            f"{name}"
        )
    return said


def _read(way: Way, cells: pa.ChunkedArray) -> Floats | None:
    try:
        values = way.read(clean(cells))
    except NotThatKindError:  # it will be refused elsewhere, by a sentence that names the cell
        return None
    return values if np.isfinite(values).all() else None


def _codes(way: Way, cells: pa.ChunkedArray) -> Codes | None:
    """A number for each value, in the order of the values; None if they are not such as repeat.

    Numbers that name something count it: there are no large gaps between them.
    """
    if way.kind == "number":
        values = _read(way, cells)
        if values is None or (values != np.floor(values)).any():
            return None
        different, found = np.unique(values, return_inverse=True)
        if np.ptp(different) > _CLOSE * len(different):
            return None
    else:
        text = words(clean(cells))
        if text.null_count:
            return None
        found = np.unique(np.asarray(text.to_pylist(), dtype=object), return_inverse=True)[1]
    groups = int(found.max()) + 1
    fits = groups >= _FEWEST_GROUPS and len(found) >= _FEWEST_IN_GROUP * groups
    return found if fits else None


def _shared_with_the_next(value: Floats, times: Floats) -> float:
    """The correlation of rows that follow each other in time, 0 if it may be chance.

    Rows of one time stand as they come, which is at random.
    """
    ordered = value[np.argsort(times, kind="stable")]
    if len(np.unique(times)) < _FEWEST_GROUPS:
        return 0.0
    correlation = float(np.mean(ordered[1:] * ordered[:-1]))
    return correlation if correlation > max(_ALIKE, _BEYOND / np.sqrt(len(value))) else 0.0


def _alike_within(value: Floats, codes: Codes, ordered: bool) -> float:
    """The share of the variance that is between groups, 0 if it may be chance.

    Of numbers what counts is how far groups next to each other differ: what varies slowly along
    them is what a number tells, and no sign of groups.
    """
    size = np.bincount(codes)
    mean = np.bincount(codes, value) / size
    within = float((value**2).sum() - (size * mean**2).sum()) / (len(value) - len(size))
    by_chance = within / size
    if ordered:
        between = np.diff(mean) ** 2 / 2
        by_chance = (by_chance[1:] + by_chance[:-1]) / 2
    else:
        between = (mean - np.average(mean, weights=size)) ** 2
    excess = float(np.mean(between - by_chance))
    ratio = between / np.maximum(by_chance, np.finfo(np.float64).tiny)
    # By chance a ratio is 1 in the mean, with a variance of 2, or 3 where means are in two of them.
    beyond = (ratio.mean() - 1) / np.sqrt((3.0 if ordered else 2.0) / len(ratio))
    share = excess / (excess + within) if excess > 0 else 0.0
    return share if share > _ALIKE and beyond > _BEYOND else 0.0
