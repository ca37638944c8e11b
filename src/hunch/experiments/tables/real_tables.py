"""Real tables that ship inside PyPI packages: `hunch fit` beside six methods at their defaults.

Each table is cut at random into five parts, each of which is the test once, after training on the
other four; the one in the order of time is tested on its last fifth, and on fifths that end
earlier, with only what came before known. All methods get the same rows and none is tuned: each has
the defaults of its library and one fit a split, ours those of `hunch fit`. Ours were chosen on
other tables (`real.TABLES` with the role "tuning", never shown here). Tables whose package is not
installed are left out, as are methods; the claim holds only with all of them.

Scored is what each says at 19 levels from 5 to 95 %, by pinball loss; of classes the log loss, with
probabilities of at least 1e-6 for all alike. CV+ gives no probabilities. A table's best peer is the
one with the least mean over its splits. The geometric mean of pinball losses leaves out the table
in the order of time, where peers that cannot extrapolate are far behind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from hunch.errors import MissingDependencyError
from hunch.experiments.claims.checks import Check
from hunch.experiments.claims.kept import Kept
from hunch.experiments.claims.markdown import cells
from hunch.experiments.claims.markdown import table as markdown_table
from hunch.experiments.claims.parallel import collect
from hunch.experiments.claims.saved import SavedResult
from hunch.experiments.tables.peers import (
    LEVELS,
    NEEDS,
    PEERS,
    Features,
    peers_here,
    predict_classes,
    predict_numbers,
    predicts,
)
from hunch.experiments.tables.real import NAMED, SPLITS, TABLES, RealTable, split
from hunch.experiments.tables.scores import LEAST, score_classes, score_numbers

CLAIM = (
    "On at least 20 real tables from at least six PyPI packages, 5 splits each, beside six methods "
    "at the defaults of their libraries, `hunch fit` at its own has a geometric mean of pinball "
    "loss over the best peer's of at most 1.00 on tables of numbers, of log loss of at most 1.02 "
    "on tables of classes; its 90 % intervals cover 88 to 92 % on at least 90 % of the tables, and "
    "their score is ahead of each single peer's on at least 60 % of them."
)
OURS: Final = "hunch fit"
METHODS: Final = (OURS, *PEERS)
_LOSS: Final = {"regression": "pinball", "classification": "log_loss"}


@dataclass(frozen=True)
class Settings:
    """Which tables, how often."""

    tables: tuple[str, ...] = tuple(t.name for t in TABLES if t.role == "shown")  # of `real.NAMED`
    splits: int = SPLITS  # of each
    members: int | None = None  # networks of ours; None for the default
    jobs: int = 1  # methods at a time, each on a split in a process of its own
    keep: str = ""  # folder of what earlier runs have done already; empty for none

    @classmethod
    def quick(cls) -> Settings:
        """The two tables of scikit-learn once, with few networks."""
        return cls(tables=("diabetes", "breast cancer"), splits=1, members=4)


@dataclass(frozen=True)
class Trial:
    """One method on one split."""

    table: str  # its name
    method: str  # of `METHODS`
    split: int  # number of the split
    scores: dict[str, float]  # as `scores` has them; none where a peer failed


@dataclass(frozen=True)
class Shown:
    """A table and how all methods did."""

    package: str  # with its version
    task: str  # "regression" or "classification"
    rows: int  # of the table, at most 10,000
    by_time: bool  # tested on rows that come later
    scores: dict[str, dict[str, float]]  # means over splits, by method

    @property
    def ratios(self) -> dict[str, float]:
        """Loss of ours over that of each peer; above 1 the peer is better."""
        loss = _LOSS[self.task]
        own = self.scores[OURS][loss]
        return {m: own / s[loss] for m, s in self.scores.items() if m != OURS}

    @property
    def best(self) -> str:
        """The peer with the least loss."""
        return max(self.ratios, key=self.ratios.__getitem__)


@dataclass(frozen=True)
class Result(SavedResult):
    """All tables."""

    settings: Settings  # which tables, how often
    tables: dict[str, Shown]  # by name
    missing: tuple[str, ...]  # packages of tables or peers that are not installed
    failed: tuple[str, ...] = ()  # which peer raised an error on which split

    def of(self, task: str) -> dict[str, Shown]:
        """Those of a task."""
        return {name: shown for name, shown in self.tables.items() if shown.task == task}

    def geometric_mean(self, task: str) -> float:
        """Of the losses over the best peer's, without tables in the order of time."""
        ratios = [s.ratios[s.best] for s in self.of(task).values() if not s.by_time]
        return float(np.exp(np.mean(np.log(ratios)))) if ratios else float("nan")

    def ahead(self, peer: str) -> float:
        """Share of the tables of numbers where our intervals score better than a peer's."""
        pairs = [
            (s.scores[OURS]["interval"], s.scores[peer]["interval"])
            for s in self.of("regression").values()
            if peer in s.scores
        ]
        return float(np.mean([own < other for own, other in pairs])) if pairs else float("nan")

    def to_markdown(self) -> str:
        """A line for each table; all methods' losses; what is missing."""
        numbers, classes = self.of("regression"), self.of("classification")
        parts = [
            markdown_table(
                "table | package | rows | pinball | best peer's | ratio | by | RMSE, ratio "
                "| covers | width, ratio | interval score, ratio to the best | below 0",
                [_numbers_line(name, shown) for name, shown in numbers.items()],
                "Means over splits. Ratios are ours over that of the best peer by pinball loss "
                "but for the interval score, which is over the best by that. Below 0: rows with "
                "a quantile below zero, where no target is.",
            ),
            markdown_table(
                "table | package | rows | log loss | best peer's | ratio | by | accuracy "
                "| best peer's",
                [_classes_line(name, shown) for name, shown in classes.items()],
                f"A probability below {LEAST:g} counts as that, whoever says it.",
            ),
            _all_losses("pinball loss", numbers),
            _all_losses("log loss", classes),
            markdown_table(
                "peer | interval score of ours is better on",
                [cells(p, f"{self.ahead(p):.0%}") for p in PEERS if self.ahead(p) >= 0],
            ),
        ]
        if self.failed:
            parts.append(f"Splits left out, on which a peer failed: {', '.join(self.failed)}.")
        if self.missing:
            parts.append(f"Left out, not being installed: `pip install {' '.join(self.missing)}`.")
        return "\n\n".join(parts)


def _numbers_line(name: str, shown: Shown) -> str:
    own, best = shown.scores[OURS], shown.scores[shown.best]
    interval = min(s["interval"] for m, s in shown.scores.items() if m != OURS)
    below = f"{own['below']:.1%}" if "below" in own else "–"
    return cells(
        name + (", later rows" if shown.by_time else ""),
        shown.package,
        f"{shown.rows:,}",
        f"{own['pinball']:.4g}",
        f"{best['pinball']:.4g}",
        f"{shown.ratios[shown.best]:.3f}",
        shown.best,
        f"{own['rmse'] / best['rmse']:.3f}",
        f"{own['covered']:.1%}",
        f"{own['width'] / best['width']:.2f}",
        f"{own['interval'] / interval:.3f}",
        below,
    )


def _classes_line(name: str, shown: Shown) -> str:
    own, best = shown.scores[OURS], shown.scores[shown.best]
    return cells(
        name,
        shown.package,
        f"{shown.rows:,}",
        f"{own['log_loss']:.4g}",
        f"{best['log_loss']:.4g}",
        f"{shown.ratios[shown.best]:.3f}",
        shown.best,
        f"{own['accuracy']:.1%}",
        f"{best['accuracy']:.1%}",
    )


def _all_losses(what: str, tables: dict[str, Shown]) -> str:
    """Every method's, so that each may be looked up."""
    methods = [m for m in METHODS if any(m in shown.scores for shown in tables.values())]
    lines = []
    for name, shown in tables.items():
        losses = [shown.scores.get(m, {}).get(_LOSS[shown.task]) for m in methods]
        lines.append(cells(name, *("–" if loss is None else f"{loss:.4g}" for loss in losses)))
    return markdown_table(cells(f"table, {what}", *methods), lines)


def summary(settings: Settings, trials: Sequence[Trial]) -> Result:
    """Means over the splits that all methods of a table have."""
    tables = {}
    for name in dict.fromkeys(t.table for t in trials):
        by_method: dict[str, dict[int, dict[str, float]]] = {}
        for t in trials:
            if t.table == name and t.scores:
                by_method.setdefault(t.method, {})[t.split] = t.scores
        common = set.intersection(*(set(own) for own in by_method.values()))
        if OURS not in by_method or len(by_method) < 2 or not common:
            continue
        means = {
            method: {
                score: float(np.mean([own[k][score] for k in common]))
                for score in own[min(common)]
                if score != "rows"
            }
            for method, own in by_method.items()
        }
        table = NAMED[name]
        rows = int(by_method[OURS][min(common)]["rows"])
        package = f"{table.package} {table.version}".strip()
        tables[name] = Shown(package, table.task, rows, bool(table.time), means)
    failed = tuple(f"{t.method} on {t.table} ({t.split})" for t in trials if not t.scores)
    return Result(settings, tables, missing(settings), failed)


def missing(settings: Settings) -> tuple[str, ...]:
    """Packages of tables and methods that are asked for and not installed."""
    packages = [NAMED[name].package for name in settings.tables if not NAMED[name].version]
    packages += [package for peer, package in NEEDS.items() if peer not in peers_here()]
    return tuple(dict.fromkeys(packages))


def run(settings: Settings | None = None, *, seed: int = 0, progress: bool = True) -> Result:
    """Train every method on every split; `seed` decides draws of methods, not the splits.

    Raises:
        MissingDependencyError: if no package with a table is installed.
    """
    settings = settings or Settings()
    return summary(settings, score_all(settings, seed, progress=progress))


def score_all(settings: Settings, seed: int, *, progress: bool = False) -> list[Trial]:
    """Every method on every split, those from `settings.keep` without a run."""
    tables = [NAMED[name] for name in settings.tables if NAMED[name].version]
    if not tables:
        raise MissingDependencyError(
            "none of the packages with tables is installed; install them with: pip install "
            + " ".join(missing(settings))
        )
    wanted = [
        (table.name, method, number)
        for number in range(settings.splits)
        for table in tables
        for method in (OURS, *peers_here())
        if method == OURS or predicts(method, table.task)
    ]
    kept = Kept(settings.keep, "tables")
    done = {
        (row["table"], row["method"], row["split"]): row["scores"]
        for row in kept
        if row.get("seed") == seed
    }
    tasks = [(*which, seed, settings) for which in wanted if which not in done]

    def keep(trials: Sequence[Trial]) -> None:
        for t in trials:
            kept.add(
                {
                    "seed": seed,
                    "table": t.table,
                    "method": t.method,
                    "split": t.split,
                    "scores": t.scores,
                }
            )

    new = collect(
        _run_one,
        tasks,
        settings.jobs,
        label="real tables",
        unit="fit",
        progress=progress,
        told=lambda trials: f"{trials[0].table}, {trials[0].method}",
        keep=keep,
    )
    done |= {(t.table, t.method, t.split): t.scores for t in new}
    return [Trial(*which, done[which]) for which in wanted]


def _run_one(task: tuple[str, str, int, int, Settings]) -> list[Trial]:
    from hunch.experiments.tables.pipeline import fit_and_predict  # needs the extra `tabular`

    name, method, number, seed, settings = task
    table = NAMED[name]
    frame = table.load()
    numbers, y = table.task == "regression", _targets(table, frame)
    train, test = split(table, y, number)
    if method == OURS:
        said = fit_and_predict(
            frame,
            table.target,
            table.task,
            (train, test),
            levels=LEVELS,
            time=table.time or None,
            members=settings.members,
            seed=seed + number,
        )
        mean, stated, truth, ends = said.mean, said.quantiles, said.y, said.ends
    else:
        features, truth, ends = _features(table, frame, train, test), y[test], None
        try:
            if numbers:
                forecast = predict_numbers(method, features, y[train], seed + number)
                mean, stated = forecast.mean, forecast.quantiles
            else:
                stated = predict_classes(method, features, y[train], seed + number)
        except (ValueError, ArithmeticError):  # as of one whose boosting diverges
            return [Trial(name, method, number, {})]
    if not numbers:
        scores = score_classes(stated, truth)
    else:
        scores = score_numbers(mean, stated, LEVELS, truth, ends)
        if y.min() >= 0:
            scores["below"] = float((stated < 0).any(axis=1).mean())
    return [Trial(name, method, number, {**scores, "rows": float(len(frame))})]


def _targets(table: RealTable, frame: Any) -> Any:
    """Numbers, or numbers of classes."""
    if table.task == "regression":
        return frame[table.target].to_numpy(float)
    return np.unique(frame[table.target].to_numpy().astype(str), return_inverse=True)[1]


def _features(table: RealTable, frame: Any, train: Any, test: Any) -> Features:
    columns = frame.drop(columns=table.target)
    return Features.of(columns.iloc[train], columns.iloc[test])


def check(result: Result) -> list[Check]:
    """How many tables, the geometric means, coverage, and interval scores against each peer."""
    tables = result.tables.values()
    packages = {shown.package.split()[0] for shown in tables}
    methods = {method for shown in tables for method in shown.scores} - {OURS}
    covered = [s.scores[OURS]["covered"] for s in result.of("regression").values()]
    held = np.mean([0.88 <= c <= 0.92 for c in covered]) if covered else np.nan
    over = "geometric mean of {} over the best peer's"
    pinball, log_loss = (result.geometric_mean(task) for task in _LOSS)
    return [
        Check("tables", len(result.tables), ">=", 20),
        Check("packages with tables", len(packages), ">=", 6),
        Check("peers", len(methods), ">=", 6),
        Check(over.format("pinball loss"), pinball, "<=", 1.00),
        Check(over.format("log loss"), log_loss, "<=", 1.02),
        Check("share of tables whose 90 % intervals cover 88 to 92 %", float(held), ">=", 0.9),
        *(
            Check(f"share of tables with a better interval score than {p}", s, ">=", 0.6)
            for p, s in ((peer, result.ahead(peer)) for peer in PEERS)
        ),
    ]
