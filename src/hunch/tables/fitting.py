"""From a table file to a folder with a model and a report."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import pyarrow as pa

from hunch.errors import ConfigurationError, DataError, FolderError, HunchWarning
from hunch.storage import check_replaceable, new_folder, write_json
from hunch.tables.assessment import Split, assess
from hunch.tables.bounds import read_weights, with_bounds
from hunch.tables.cells import Floats
from hunch.tables.choices import Choices, check_column
from hunch.tables.columns import Columns
from hunch.tables.data import Data, open_data
from hunch.tables.doubted import check_predictions
from hunch.tables.examples import Named
from hunch.tables.hints import hints
from hunch.tables.model import KIND, replaced_model, train
from hunch.tables.monitoring import put_training
from hunch.tables.overview import overview
from hunch.tables.reading import Source
from hunch.tables.report import table_report
from hunch.tables.rows import Judged, read_judged, read_rows, split_groups
from hunch.tables.strays import check_headers, check_sums
from hunch.tables.suspects import copies_in_words, groups_of_copies, odd_cell_notes, suspects
from hunch.tables.target import (
    Target,
    Task,
    check_target_type,
    learn_target,
    without_target_in_words,
)
from hunch.tables.ties import Ties
from hunch.tables.ways import DateOrder, Decimal, learn_ways, told

REPORT: Final = "report.html"
SUMMARY_FILE: Final = "summary.json"
MOST_ROWS: Final = 200_000
_FEWEST_ROWS: Final = 20
_MOST_STRATA: Final = 200


def fit_table(
    data: Data,
    target: str,
    out: str | os.PathLike[str],
    *,
    task: Literal["auto"] | Task = "auto",
    members: int | None = None,
    max_rows: int = MOST_ROWS,
    seed: int = 0,
    decimal: Decimal = "auto",
    date_order: DateOrder = "auto",
    prediction: str | None = None,
    drop: str | Iterable[str] = (),
    ids: str | Iterable[str] = (),
    categorical: str | Iterable[str] = (),
    numeric: str | Iterable[str] = (),
    weights: str | None = None,
    lower: float | None = None,
    upper: float | None = None,
    groups: str | None = None,
    time: str | None = None,
    subgroups: str | Iterable[str] = (),
    calibrate_by: str | None = None,
    drop_missing_target: bool = False,
    test: Data | None = None,
    sheet: str | None = None,
    progress: bool = True,
    say: Callable[[str], object] = lambda line: None,
) -> dict[str, Any]:
    r"""Learn to predict a column of a table; write the model and a report into a folder.

    A fifth of the rows, at most 10,000, are held out; the model is trained on the rest and judged
    on them. With `test` it is trained on all, and judged on the rows of that file.

    Args:
        data: the path of a CSV or Parquet file or of a spreadsheet; several paths, whose rows are
            read as one table; or a table of pandas, polars or Arrow, or columns by name.
        target: name of the column to predict.
        out: the folder, new, empty, or of an older model of the same target and columns, which is
            replaced.
        task: `"auto"` decides by the target's values.
        members: networks; None: 50, and 20 beyond 20,000 rows.
        max_rows: of a longer file a random sample of so many rows is taken.
        seed: decides every draw.
        decimal: what marks decimals in columns that leave it open, as `3,606` does: `"point"` or
            `"comma"`; `"auto"` asks by an error where nothing in the file tells.
        date_order: of day, month and year in columns that leave it open, as `03/04/2011` does:
            `"dmy"`, `"mdy"` or `"ymd"`; `"auto"` likewise.
        prediction: column that holds what another model predicts for each row, none of which it was
            trained on. It stays the prediction to the bit; learned is how far off it may be.
        drop: name or names of columns that are not learned from.
        ids: likewise, but they name rows where notes and the report speak of some.
        categorical: columns whose cells are taken for text, whatever they look like, as numbers of
            districts.
        numeric: columns whose cells must be numbers.
        groups: column that names the group of each row, such as a patient, if what is wanted are
            predictions for rows of new groups: a fifth of the groups are held out, the column is
            not learned from, and intervals and scores are those of new groups.
        time: column of dates or numbers that tells when a row was, if what is wanted are
            predictions for later rows: the last fifth of the rows are held out.
        subgroups: columns, learned from or not, for each value of which figures are given.
        calibrate_by: column of few values, for each of which the intervals of a number are to hold,
            not only over all rows.
        drop_missing_target: leave rows out whose target is missing, which else are an error.
        weights: column that says how much a row counts in training; figures count all rows alike.
        lower: least possible value of a number that is predicted; no prediction is below.
        upper: largest possible value.
        test: data with the same columns, whose rows, or 10,000 of them, are judged on.
        sheet: of a spreadsheet with several.
        progress: show bars on standard error.
        say: takes notes for the user, one line each.

    Returns:
        All figures of the report, as plain values.

    Raises:
        DataError: if the table cannot be used; the message says why.
        FolderError: if `out` cannot be written.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> rows = "".join(f"{i},{i % 7},{2 * i + 0.5}\n" for i in range(60))
        >>> _ = (folder / "a.csv").write_text("size,day,price\n" + rows)
        >>> found = fit_table(
        ...     folder / "a.csv", "price", folder / "model", members=4, progress=False
        ... )
        >>> found["rows"], sorted(p.name for p in (folder / "model").iterdir())[2:4]
        ({'file': 60, 'used': 60, 'train': 48, 'test': 12}, ['model.safetensors', 'report.html'])
    """
    check_replaceable(out, KIND)
    source = _open(data, target, sheet, say)
    path = source.path
    choices = Choices.of(
        drop=drop,
        ids=ids,
        categorical=categorical,
        numeric=numeric,
        weights=weights or (),
        groups=groups or (),
        time=time or (),
        subgroups=subgroups,
        calibrate_by=calibrate_by or (),
        prediction=prediction or (),
    )
    choices.check(source.schema, source.path, target)
    if prediction and time:
        raise ConfigurationError(
            "--prediction and --time are both given; expected one of them: how errors grow with "
            "time is learned of our own models alone."
        )
    judge = None if test is None else _open(test, target, None, say)
    if (older := replaced_model(out, target, source.names)) is not None:
        say(older)
    table, num_rows = read_rows(source, max_rows, seed, progress)
    _check_enough(path, table.num_rows)
    named = table.select(choices.ids)
    tied = table.select(dict.fromkeys(choices.groups + choices.time + choices.subgroups))
    weight = _weights(table, choices, decimal, source.delimiter)
    table = table.drop_columns([name for name in choices.why_dropped if name in table.column_names])
    if table.num_rows < num_rows:
        say(f"{table.num_rows:,} of {num_rows:,} rows are taken, and numbered among themselves")
    check_headers(table)
    ways = learn_ways(
        table,
        decimal=decimal,
        date_order=date_order,
        delimiter=source.delimiter,
        kinds=choices.kinds,
    )
    if said := check_sums(table, ways, whole=table.num_rows == num_rows):
        say(said)
    goal, y = learn_target(
        target, table[target], task, ways[target], allow_missing=drop_missing_target
    )
    goal = with_bounds(goal, y, lower, upper)
    say(f"{goal.task}, since {goal.why}")
    # The predictions first: of columns that are the same the first one stays.
    others = table.drop_columns([target, *choices.prediction])
    others = pa.table({name: table[name] for name in (*choices.prediction, *others.column_names)})
    kept = np.flatnonzero(~np.isnan(y))
    without = len(y) - len(kept)
    if without:
        say(without_target_in_words(without, len(y)))
        _check_enough(path, len(kept), f" with a value of {target!r}")
        others, tied, y = others.take(kept), tied.take(kept), y[kept]
        weight = None if weight is None else weight[kept]
    ties = Ties.of(tied, ways, choices, kept)
    learn = partial(Columns.learn_and_encode, ways=ways, left_out=source.left_out, said=choices)
    group = ties.apart(groups_of_copies(*learn(others), y))
    copies = len(group) - int(group.max()) - 1
    if copies:
        say(copies_in_words(copies))
    train_rows, test_rows = np.arange(len(y)), np.arange(0)
    if judge is None and ties.by == "rows":
        train_rows, test_rows = split_groups(group, y, goal, seed)
    elif judge is None:
        train_rows, test_rows = ties.split(y, goal, seed)
        test_rows = test_rows[np.sort(np.unique(group[test_rows], return_index=True)[1])]
    columns, x = learn(others.take(train_rows))
    _check_calibrate_by(columns, goal, x)
    for name in choices.prediction:
        check_predictions(name, goal, columns, others)
        say(f"the prediction is column {name!r}; learning how far off it may be")
    train_y = y[train_rows]
    if judge is None:
        held_out = others.take(test_rows)
        named_rows = Named(kept[test_rows], held_out, named.take(kept[test_rows]))
        x_of_test = columns.encode(held_out)[0]
        judged = Judged(x_of_test, y[test_rows], named_rows, ties=ties.of_rows(test_rows))
    else:
        judged = read_judged(
            judge,
            columns,
            goal,
            (x, train_y),
            ties,
            allow_missing=drop_missing_target,
            seed=seed,
            progress=progress,
        )
        for line in judged.notes:
            say(line)
    for line in told(ways, [target, *(column.name for column in columns.used)]):
        say(line)
    for column in columns.used:
        if column.counts:
            say(
                f"column {column.name!r} is used as a number, and looks as if it named rows; if it "
                "does, say --ids"
            )
    for dropped in columns.dropped:
        say(f"not using column {dropped.name!r}: {dropped.why}")
    with _saying_what_fails(out), _saying_warnings(say), new_folder(out, KIND) as folder:
        say(f"training on {len(train_rows):,} rows, {len(columns.features)} features")
        once = np.unique(group[train_rows], return_index=True)[1]
        found = suspects(x[once], train_y[once], columns, goal, seed)
        found = {name: why for name, why in found.items() if name not in choices.prediction}
        odd = odd_cell_notes(x, train_y, columns, goal, kept[train_rows], named)
        tied_unsaid = hints(others, ways, y, goal, seed) if ties.by == "rows" else []
        named_so = [f"column {name!r} {why}" for name, why in found.items()]
        for note in named_so + odd + tied_unsaid:
            say(note)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "X holds", UserWarning)  # said already, by name
            model = train(
                columns,
                goal,
                x,
                train_y,
                weight=None if weight is None else weight[train_rows],
                ties=ties.of_rows(train_rows),
                members=members,
                seed=seed,
                progress=progress,
            )
        say("judging against the baselines")
        of_once = ties.of_rows(train_rows[once])
        split = Split(
            x[once], train_y[once], judged.x, judged.y, of_once, judged.ties, judged.named
        )
        summary = {
            "data": source.title,
            "target": goal.to_json(),
            "rows": {
                "file": num_rows,
                "used": len(y),
                "train": len(train_rows),
                "test": len(judged.y),
            },
            "split": ties.told(train_rows, test_rows) | ({"by": "file"} if judged.file else {}),
            "test_file": judged.file or None,
            "test_copies": judged.copies,
            "without_target": without,
            "copies": copies,
            "suspects": found,
            "odd_cells": odd,
            "dependence": tied_unsaid,
            "seed": seed,
            "members": model.members,
            "epochs": model.estimator.n_iter_,
            "features": len(columns.features),
            "columns": columns.to_json(),
            "overview": overview(columns, goal, x, train_y),
            "test": assess(model, split, seed),
        }
        model.put(folder)
        write_json(folder / SUMMARY_FILE, summary)
        put_training(folder, columns, others.take(train_rows))
        report = table_report(summary)
        (folder / REPORT).write_text(report, encoding="utf-8", errors="backslashreplace")
    return summary


def _check_calibrate_by(columns: Columns, goal: Target, x: Floats) -> None:
    for name in columns.said.calibrate_by:
        if goal.task == "classification":
            raise ConfigurationError(
                f"--calibrate-by is of intervals, and target {goal.name!r} is of classes; leave it "
                "out, or say --task regression."
            )
        count = len(np.unique(x[:, columns.groups()[name]], axis=0))
        if count > _MOST_STRATA:
            raise DataError(
                f"--calibrate-by names {name!r}, which takes {count:,} values; expected at most "
                f"{_MOST_STRATA}, each of which many rows have."
            )


def _check_enough(path: Path, count: int, of: str = "") -> None:
    if count < _FEWEST_ROWS:
        raise DataError(
            f"{str(path)!r} has {count} {'row' if count == 1 else 'rows'}{of}; expected at least "
            f"{_FEWEST_ROWS}."
        )


@contextmanager
def _saying_warnings(say: Callable[[str], object]) -> Iterator[None]:
    """Hunch's own warnings as notes."""
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always", HunchWarning)
        yield
    for one in heard:
        if issubclass(one.category, HunchWarning):
            say(str(one.message))
        else:
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)


@contextmanager
def _saying_what_fails(out: str | os.PathLike[str]) -> Iterator[None]:
    """One sentence where the disk is full, whichever file it stops."""
    try:
        yield
    except FolderError:
        raise
    except OSError as error:
        raise FolderError(f"cannot write to {str(out)!r}: {error.strerror or error}.") from error


def _weights(
    table: pa.Table, choices: Choices, decimal: Decimal, delimiter: str | None
) -> Floats | None:
    for name in choices.weights:
        return read_weights(name, table[name], decimal, delimiter)
    return None


def _open(data: Data, target: str, sheet: str | None, say: Callable[[str], object]) -> Source:
    source = open_data(data, sheet, say)
    check_column(target, source.names, source.path)
    check_target_type(target, source.schema.field(target).type)
    return source
