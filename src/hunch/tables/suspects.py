"""Columns that may give the target away, and rows that are there several times."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from hunch.inference import copy_ids
from hunch.seeding import derive, numpy_generator
from hunch.sklearn.rows import odd_cells
from hunch.tables.cells import Floats
from hunch.tables.choices import row_in_words
from hunch.tables.columns import Columns
from hunch.tables.moments import day_in_words
from hunch.tables.target import Target

_ALONE: Final = 0.99  # of the target, which a column explains that is all but the target
_COUNTED: Final = 0.2  # of the target, which no honest number of a row explains
_MOST_ROWS: Final = 5_000  # that are asked
_MOST_COLUMNS: Final = 500
_FOLDS: Final = 3
_VARIED: Final = 10  # different values of a column, of fewer any may be a code
_GAP: Final = 5.0  # times the widest gap elsewhere lies a code apart
_WIDE: Final = 0.25  # of the range of all other values, likewise
_OFTEN: Final = 3  # cells hold a code
_MIDDLE: Final = 0.6827  # of the cells, within a standard deviation if they are Gaussian
_TAIL: Final = 5.0  # of these
_NEXT: Final = 3.0  # times as large as the next is a value of a tail at most
_CLOSE: Final = 2.0  # times as wide as rows are many is a series of numbers at most


def groups_of_copies(columns: Columns, features: Floats, y: Floats) -> npt.NDArray[np.intp]:
    """Which rows are copies of each other: `(rows,)`, groups counted in the order of the rows.

    Numbers of rows and ids tell copies apart, and do not count.
    """
    kept = _without_counts(columns, features, features)
    if not kept.shape[1]:
        return np.arange(len(features))
    _, first, group = np.unique(copy_ids(kept, y), return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[group]


def count_copies(columns: Columns, x: Floats, y: Floats, test_x: Floats, test_y: Floats) -> int:
    """How many test rows are copies of training rows, as `groups_of_copies` knows them.

    Example:
        >>> x, y = np.linspace(0, 1, 9)[:, None], np.arange(9.0)
        >>> columns = Columns.learn(pa.table({"x": x[:, 0]}))
        >>> count_copies(columns, x, y, np.array([[0.125], [0.2]]), np.array([1.0, 1.0]))
        1
    """
    parts = [_without_counts(columns, x, part) for part in (x, test_x)]
    if not parts[0].shape[1]:
        return 0
    ids = copy_ids(np.concatenate(parts), np.concatenate([y, test_y]))
    return int(np.isin(ids[len(y) :], ids[: len(y)]).sum())


def _without_counts(columns: Columns, x: Floats, features: Floats) -> Floats:
    """Features of rows but those that number the training rows, whose features are `x`."""
    counts = [place for place in columns.groups().values() if _numbers_rows(x[:, place])]
    return np.delete(features, np.r_[*counts], axis=1) if counts else features


def odd_cell_notes(
    features: Floats,
    y: Floats,
    columns: Columns,
    target: Target,
    rows: npt.NDArray[np.intp],
    ids: pa.Table | None = None,
) -> list[str]:
    """A sentence for each column with cells that hardly belong there, with the first of them.

    Args:
        features: of the rows.
        y: their targets.
        columns: their rules.
        target: what is predicted.
        rows: where they stand in the table.
        ids: what names the rows of the table.
    """
    places = zip(columns.used, columns.groups().values(), strict=True)
    kinds = ("number", "date")
    measured = [(c, features[:, place.start]) for c, place in places if c.kind in kinds]
    found = [
        f"{said}; if it stands for a missing value, leave the cell empty"
        for column, cells in measured
        if (said := _odd_cells_said(f"column {column.name!r}", cells, rows, ids, column.kind))
    ]
    if target.task == "regression" and (
        said := _odd_cells_said(f"target {target.name!r}", y, rows, ids)
    ):
        found.append(
            f"{said}, and decides most of the figures; if it stands for a missing value, remove "
            "the row"
        )
    return found


def _odd_cells_said(
    what: str,
    cells: Floats,
    rows: npt.NDArray[np.intp],
    ids: pa.Table | None,
    kind: str = "number",
) -> str:
    show = day_in_words if kind == "date" else "{:.6g}".format
    odd = np.flatnonzero(odd_cells(cells[:, None])[:, 0])
    if not len(odd) or _is_a_tail(cells, odd):
        return _codes_said(what, cells, show)
    more = f" and {len(odd) - 1} more such cell{'s' * (len(odd) > 2)}" if len(odd) > 1 else ""
    return (
        f"{what} holds {show(cells[odd[0]])} in {row_in_words(ids, int(rows[odd[0]]))}{more}, far "
        "from all other values"
    )


def _is_a_tail(cells: Floats, odd: npt.NDArray[np.intp]) -> bool:
    """Whether odd cells are the end of a skewed column, as a large firm's among small ones.

    On a scale of logarithms they lie within five widths, each at most three times the next one.
    """
    if not (cells > 0).all() or len(np.unique(cells[odd])) < len(odd):
        return False
    logs = np.log(cells)
    away = np.abs(logs - np.median(logs))
    ends = np.unique([np.delete(cells, odd).max(), *cells[odd]])
    close = bool((ends[1:] <= _NEXT * ends[:-1]).all())
    return close and bool(away[odd].max() <= _TAIL * np.quantile(away, _MIDDLE))


def _codes_said(what: str, cells: Floats, show: Callable[[float], str]) -> str:
    """The least or largest value, if it looks like a code: held often, behind a gap in the rest."""
    values, counts = np.unique(cells, return_counts=True)
    if len(values) < _VARIED:
        return ""
    steps = np.diff(values)
    for end, step in ((0, steps[0]), (-1, steps[-1])):
        rest = steps[1:] if end == 0 else steps[:-1]
        wide = step >= max(_GAP * rest.max(), _WIDE * rest.sum())
        if wide and counts[end] >= max(_OFTEN, 2 * np.median(counts)):
            return (
                f"{what} holds {show(values[end])} in {counts[end]:,} cells and nothing between "
                f"that and {show(values[1 if end == 0 else -2])}"
            )
    return ""


def suspects(
    features: Floats, y: Floats, columns: Columns, target: Target, seed: int
) -> dict[str, str]:
    """Columns that may give the target away, and why, judged one by one on rows left out.

    A column that numbers rows is named if it tells a fifth of the target, for then rows are sorted
    by it; any column, if it tells all but a hundredth of the target by itself, or of its ranks.

    Args:
        features: of the training rows.
        y: their targets.
        columns: the rules.
        target: what is predicted.
        seed: decides the rows that are asked and left out.

    Example:
        >>> import pyarrow as pa
        >>> rows = np.arange(90.0)
        >>> table = pa.table({"no": rows, "size": np.sin(9 * rows)})
        >>> columns = Columns.learn(table)
        >>> goal = Target("y", "regression")
        >>> list(suspects(columns.encode(table)[0], rows**2, columns, goal, seed=0))
        ['no']
    """
    order = numpy_generator(seed, "suspects").permutation(len(y))[:_MOST_ROWS]
    classes = target.task == "classification"
    ranks = np.unique(y[order], return_inverse=True)[1].astype(np.float64)
    found = {}
    for name, place in list(columns.groups().items())[:_MOST_COLUMNS]:
        part = features[:, place]
        share = _told(part[order], y[order], classes, seed)
        if not classes and share < _ALONE:  # of a skewed target a few values are most of it
            share = max(share, _told(part[order], ranks, classes, seed))
        if _numbers_rows(part) and share >= _COUNTED:
            found[name] = f"numbers the rows, and tells {share:.0%} of the target by itself"
        elif share >= _ALONE:
            found[name] = f"tells {100 * share:.1f} % of the target by itself"
    return found


def cautions(summary: Mapping[str, Any]) -> list[str]:
    """What a reader must know before any figure, a sentence or two for each thing.

    Args:
        summary: what `hunch.tables.fit_table` returns.

    Example:
        >>> cautions({"suspects": {}, "copies": 2, "odd_cells": []})
        ['2 rows are copies of others; copies count as one row.']
    """
    said = [
        f"Column `{name}` {why}: unless it is known before the target is, leave it out "
        f"(`--drop {name}`), for figures with it are too good."
        for name, why in summary.get("suspects", {}).items()
    ]
    copies = summary.get("copies", 0)
    if copies:
        said.append(f"{copies_in_words(copies)}.")
    if summary.get("test_copies"):
        said.append(f"{judged_copies_in_words(summary['test_copies'], summary['rows']['test'])}.")
    notes = [*summary.get("dependence", []), *summary.get("odd_cells", [])]
    return said + [f"{note[0].upper()}{note[1:]}." for note in notes]


def copies_in_words(copies: int) -> str:
    """How many rows are copies of others, as the terminal and the report say it."""
    are = "row is a copy of another" if copies == 1 else "rows are copies of others"
    return f"{copies:,} {are}; copies count as one row"


def judged_copies_in_words(copies: int, of: int) -> str:
    """How many rows to judge on are no new rows, as the terminal and the report say it.

    Example:
        >>> judged_copies_in_words(1, 50)
        '1 of 50 rows to judge on is a copy of a training row; figures with it are too good'
    """
    are, it = (
        ("is a copy of a training row", "it")
        if copies == 1
        else ("are copies of training rows", "them")
    )
    return f"{copies:,} of {of:,} rows to judge on {are}; figures with {it} are too good"


def _numbers_rows(part: Floats) -> bool:
    """Whether whole numbers that all differ count rows: without large gaps, or in their order."""
    if part.shape[1] != 1 or (part != np.floor(part)).any():
        return False
    values = part[:, 0]
    if len(np.unique(values)) < len(values):
        return False
    steps = np.diff(values)
    close = np.ptp(values) <= _CLOSE * len(values)
    return bool(close or (steps > 0).all() or (steps < 0).all())


def _told(part: Floats, y: Floats, classes: bool, seed: int) -> float:
    """The share of the target that one column tells: R², or of the commonest class's errors."""
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    kind = DecisionTreeClassifier if classes else DecisionTreeRegressor
    guess, between = np.empty(len(y)), np.empty(len(y))
    for rows in np.array_split(np.arange(len(y)), _FOLDS):
        rest = np.delete(np.arange(len(y)), rows)
        tree = kind(min_samples_leaf=3, random_state=derive(seed, "suspects") % 2**31)
        guess[rows] = tree.fit(part[rest], y[rest]).predict(part[rows])
        at, place = np.unique(part[rest, 0], return_inverse=True)
        mean = np.bincount(place, y[rest]) / np.bincount(place)
        between[rows] = np.interp(part[rows, 0], at, mean)
    if classes:
        others = 1 - np.unique(y, return_counts=True)[1].max() / len(y)
        return float(1 - np.mean(guess != y) / max(others, 1e-12))
    # Steps are too coarse for a smooth copy of the target, lines too rough for a noisy one.
    error = min(np.mean((guess - y) ** 2), np.mean((between - y) ** 2))
    return float(1 - error / max(np.var(y), np.finfo(float).tiny))
