"""The month after: whether a model of a table still holds on new rows."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import torch

from hunch.errors import DataError
from hunch.storage import as_written, open_folder, read_json, write_json
from hunch.tables import chances
from hunch.tables.choices import few
from hunch.tables.column import Column
from hunch.tables.columns import Columns
from hunch.tables.data import Data, open_data
from hunch.tables.drift import (
    Drift,
    Kept,
    Tally,
    chance_of_far,
    drift,
    kept_of_training,
    tally_of_rows,
)
from hunch.tables.model import KIND, TableModel
from hunch.tables.recognized import Recognized
from hunch.tables.scoring import Scores
from hunch.tables.streaming import Later

TRAINING_FILE: Final = "training.json"
SUMMARY_FILE: Final = "summary.json"
FALSE_ALARMS: Final = 0.01  # a quarter each for drift, cells far outside, coverage and errors
_SHARE: Final = FALSE_ALARMS / 4
_FEWEST: Final = 30  # rows whose truth is known, or that are compared with training
_DRIFTED: Final = 0.1  # distance from which it is worth a word, if chance does not explain it
_COVERAGE_LOST: Final = 0.03
_ERROR_GROWN: Final = 1.1
_OUTSIDE: Final = 0.05  # share of rows


def put_training(folder: Path, columns: Columns, table: pa.Table) -> None:
    """Keep in a model's folder what `monitor_table` compares new rows with.

    Args:
        folder: that is being filled.
        columns: the rules.
        table: the training rows, of which they were learned.
    """
    kept = {name: own.to_json() for name, own in kept_of_training(columns, table).items()}
    values = {"rows": table.num_rows, "columns": kept}
    write_json(folder / TRAINING_FILE, values)


def monitor_table(
    path: str | os.PathLike[str],
    data: Data,
    *,
    coverage: float = 0.9,
    sheet: str | None = None,
    progress: bool = True,
    say: Callable[[str], object] = lambda line: None,
) -> dict[str, Any]:
    """Hold new rows against what a model promised when it was fitted.

    Args:
        path: the model's folder.
        data: new rows, as `fit_table` takes them, with the target's column if the truth is known.
        coverage: of the intervals.
        sheet: of a spreadsheet.
        progress: show a bar on standard error.
        say: takes notes for the user.

    Returns:
        `verdict`, one of `"keep"`, `"watch"`, `"retrain"`, and `sentence`, which gives the numbers
        it stands on; `rows`, `outside`, and `outside_by`: how many rows are outside by which
        column, and how often chance alone makes it as many; `scores` as `Scores.result` has them,
        None without truth; `promised`: the same on rows held out at fit; `columns`: how each
        drifted but dates and ids, which go on, None for a folder of an earlier version; `later`:
        how many rows have later dates, by column; `false_alarms`: how often anything but "keep"
        comes of rows that are drawn as those of training were.

    Raises:
        DataError: if the rows cannot be read as those of training were.
        FolderError: if the folder is none.
    """
    folder = open_folder(path, KIND)
    model = TableModel.load(path)
    training = _training(folder, say)
    source = open_data(data, sheet, say)
    model.columns.check_names(source.names)
    scores, later = Scores(model.target, coverage), Later(model.columns)
    recognized = Recognized(model.seen, model.columns, model.target)
    kept = {name: Kept.from_json(own) for name, own in training.get("columns", {}).items()}
    edges = {name: own.edges for name, own in kept.items()}
    tallies: dict[str, Tally] = {}
    rows = outside = 0
    for table in source.chunks_with_bar("reading", progress=progress):
        if model.target.name in table.column_names:
            found = model.predict(table, coverage=coverage, first_row=rows)
            scores.add(found, table[model.target.name], first_row=rows)
            far = found["outside"].to_numpy()
        else:
            far = model.columns.encode(table, rows)[1]
        if kept:
            for name, own in tally_of_rows(model.columns, table, edges).items():
                tallies[name] = tallies[name] + own if name in tallies else own
        later.add(table)
        recognized.add(table, rows)
        rows, outside = rows + table.num_rows, outside + int(np.count_nonzero(far))
    if not rows:
        raise DataError(f"{str(source.path)!r} has a header and no rows; expected some to look at.")
    for note in [*later.notes, *scores.notes, *recognized.notes]:
        say(note)
    drifts = {
        column.name: drift(column, kept[column.name].tally, tallies[column.name])
        for column in _compared(model.columns)
        if column.name in kept
    }
    far = _far(model.columns, kept, tallies)
    known, promised = scores.result(), _promised(folder)
    verdict, sentence = _verdict(
        rows, outside, known, promised, drifts, far, coverage, training.get("rows", 0)
    )
    return {
        "verdict": verdict,
        "sentence": sentence,
        "rows": rows,
        "outside": outside,
        "outside_by": {
            name: {"rows": tallies[name].far, "p_value": p_value}
            for name, p_value in far.items()
            if tallies[name].far
        },
        "scores": known,
        "promised": promised,
        "later": later.rows,
        "columns": {name: dataclasses.asdict(own) for name, own in drifts.items()} or None,
        "false_alarms": FALSE_ALARMS,
    }


def _compared(columns: Columns) -> list[Column]:
    """Those whose cells may be as in training: time goes on, and ids are counted on."""
    return [
        column
        for column in columns.used
        if column.kind != "date" and not column.counts and column.name not in columns.said.time
    ]


def _far(
    columns: Columns, kept: Mapping[str, Kept], tallies: Mapping[str, Tally]
) -> dict[str, float]:
    """By column how often chance alone makes so many cells far outside."""
    return {
        column.name: chance_of_far(column, kept[column.name].tally, tallies[column.name])
        for column in columns.used
        if column.name in tallies
    }


def _training(folder: Path, say: Callable[[str], object]) -> dict[str, Any]:
    if (folder / TRAINING_FILE).exists():
        return dict(read_json(folder / TRAINING_FILE))
    say(
        "the model is of an earlier version, which did not keep what its training rows looked "
        "like: drift cannot be told; fit it anew"
    )
    return {}


def _promised(folder: Path) -> dict[str, Any] | None:
    """The model's scores on rows held out at fit, and how many these were."""
    if not (folder / SUMMARY_FILE).exists():
        return None
    summary = read_json(folder / SUMMARY_FILE)
    with as_written(folder / SUMMARY_FILE, "fit the model anew"):
        return {"rows": int(summary["rows"]["test"]), **summary["test"]["scores"]["hunch"]}


def drifted(drifts: Mapping[str, Drift]) -> list[str]:
    """Columns that differ by more than chance and by enough to matter, the farthest first.

    If rows are drawn as those of training were, any column is named in at most one of 400 files.

    Example:
        >>> drifted({"a": Drift(0.4, 1e-9, 0.0, 0.0, None), "b": Drift(0.4, 0.2, 0.0, 0.0, None)})
        ['a']
    """
    level = _SHARE / max(1, len(drifts))
    far = [n for n, own in drifts.items() if own.p_value < level and own.distance >= _DRIFTED]
    return sorted(far, key=lambda name: -drifts[name].distance)


def _verdict(
    rows: int,
    outside: int,
    known: Mapping[str, Any] | None,
    promised: Mapping[str, Any] | None,
    drifts: Mapping[str, Drift],
    far: Mapping[str, float],
    coverage: float,
    trained: int,
) -> tuple[str, str]:
    """Keep, watch or retrain, and why, in one sentence."""
    enough = known is not None and known["rows"] >= _FEWEST
    errors, worse = _errors(known, promised, coverage, trained) if enough and known else ([], False)
    moved = drifted(drifts) if rows >= _FEWEST else []
    said = [f"{name!r} by {drifts[name].distance:.0%}" for name in moved[:3]]
    more = f" and {len(moved) - 3} more" if len(moved) > 3 else ""
    facts = list(errors)
    if not enough:
        facts.append(
            "no truth to judge by"
            if known is None
            else f"truth of {known['rows']} rows only, fewer than {_FEWEST}"
        )
    if rows < _FEWEST:
        facts.append(f"{rows} rows are too few to tell drift")
    elif drifts:
        facts.append(f"drifted: {', '.join(said)}{more}" if moved else "no column has drifted")
    many, why = _outside(rows, outside, far)
    facts.append(f"{outside / rows:.1%} of {rows:,} rows are outside the training data{why}")
    if worse:
        return "retrain", f"Retrain: {'; '.join(facts)}."
    if moved or many:
        return "watch", f"Watch: {'; '.join(facts)}."
    return "keep", f"Keep: {'; '.join(facts)}."


def _outside(rows: int, outside: int, far: Mapping[str, float]) -> tuple[bool, str]:
    """Whether more rows are outside than matters and than chance makes so, and a word on it."""
    if outside <= _OUTSIDE * rows:
        return False, ""
    if not far:  # a folder of an earlier version, which cannot tell what chance does
        return True, ""
    # Of fewer rows nothing else is judged.
    level = (_SHARE if rows >= _FEWEST else FALSE_ALARMS) / len(far)
    beyond = sorted((p_value, name) for name, p_value in far.items() if p_value < level)
    if not beyond:
        return False, ", which chance explains"
    return True, f", by {few([name for _, name in beyond], most=3)}"


def _errors(
    known: Mapping[str, Any],
    promised: Mapping[str, Any] | None,
    coverage: float,
    trained: int,
) -> tuple[list[str], bool]:
    """What errors say, and whether they are worse than promised, by more than chance."""
    rows = known["rows"]
    facts, worse = [], False
    if "coverage" in known:
        observed = known["coverage"]
        # What was promised was set by a sample too.
        missed = round((1 - observed) * rows)
        chance = chances.of_misses(missed, rows, 1 - coverage, max(1, trained))
        worse |= chance < _SHARE and coverage - observed > _COVERAGE_LOST
        facts.append(
            f"{coverage * 100:g} % intervals hold {observed:.1%} of {rows:,} rows whose truth is "
            "known"
        )
    name = "mae" if "mae" in known else "accuracy"
    now, before = known[name], (promised or {}).get(name)
    if before is None or now is None:
        return facts, worse
    others = promised["rows"] if promised else 0
    if name == "mae":
        # The mean square of sizes less the square of their mean is their variance.
        parts = [(known["rmse"], now, rows), (promised["rmse"], before, others)] if promised else []
        spread = math.sqrt(sum(max(rmse**2 - mae**2, 0.0) / n for rmse, mae, n in parts))
        grown, matters = now - before, now > _ERROR_GROWN * before
        chance = _tail(grown / spread if spread else math.inf)
        facts.append(f"the mean error is {now:.4g}, {before:.4g} on rows held out at fit")
    else:
        wrong, before_wrong = round((1 - now) * rows), round((1 - before) * others)
        matters = 1 - now > _ERROR_GROWN * (1 - before)
        chance = chances.of_so_many(wrong, wrong + before_wrong, (others, rows))
        facts.append(f"{now:.1%} of classes are right, {before:.1%} of rows held out at fit")
    return facts, worse or (matters and chance < _SHARE)


def _tail(z: float) -> float:
    """How often a normal variable is above."""
    return float(torch.special.ndtr(torch.tensor(-z, dtype=torch.float64)))


def in_lines(found: Mapping[str, Any]) -> list[str]:
    """What `monitor_table` found, for a terminal.

    Example:
        >>> in_lines({"sentence": "Keep: all is well.", "columns": None})
        ['Keep: all is well.']
    """
    lines = [str(found["sentence"])]
    columns = found["columns"] or {}
    own = {name: Drift(**values) for name, values in columns.items()}
    far = drifted(own)
    if not own:
        return lines
    for name in far:
        values = own[name]
        new = f", new values {values.new:.1%}" if values.new is not None else ""
        lines.append(
            f"{name}: distance {values.distance:.3f}, p {values.p_value:.2g}, missing "
            f"{values.missing:.1%} (training {values.missing_before:.1%}){new}"
        )
    rest = [name for name in own if name not in far]
    if rest:
        lines.append(f"not drifted: {few(rest, most=8)}")
    return lines
