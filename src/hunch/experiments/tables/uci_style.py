"""Error bars on other people's tables: scikit-learn's own data sets, its methods, laplace-torch.

Every table is split 20 times into four parts for training and one for the test; drawn tables are
drawn anew each time. All methods run at the defaults of their library, features scaled where a
method needs it; the Gaussian process has a length scale for each feature and learns its noise.
Methods without error bars get those of their errors in cross-validation. The Gaussian process is
left out for the digits, whose 1,400 rows and ten classes are too many for it here. laplace-torch is
left out where it is not installed; it has the batches and the step size of our members.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from hunch.experiments.claims.checks import Check
from hunch.experiments.claims.markdown import table as markdown_table
from hunch.experiments.claims.parallel import collect
from hunch.experiments.claims.saved import SavedResult
from hunch.experiments.tables.data import (
    CLASSIFICATION,
    REGRESSION,
    Array,
    classification_table,
    regression_table,
)
from hunch.experiments.tables.laplace import INSTALL_LAPLACE
from hunch.experiments.tables.methods import (
    GP,
    LAPLACE,
    METHODS,
    OURS,
    ClassScores,
    NumberScores,
    forecast,
    methods_here,
    vote,
)

CLAIM = (
    "At its defaults, RandomizedPriorRegressor's 90 % intervals cover 88 to 93 % of held-out "
    "values on each of six tables, averaged over 20 splits: scikit-learn's own and drawn ones with "
    "noise that varies, has heavy tails, or both. Its CRPS is better than that of scikit-learn's "
    "Gaussian process or within 2 % on at least two thirds of them."
)


@dataclass(frozen=True)
class Settings:
    """Which tables, how often."""

    regression: tuple[str, ...] = tuple(REGRESSION)  # names of tables
    classification: tuple[str, ...] = CLASSIFICATION  # names of tables
    splits: int = 20  # of each table for regression, for our method and the Gaussian process
    beside_splits: int = 5  # for the other methods, and for classification
    jobs: int = 1  # splits at a time, each in a process of its own

    @classmethod
    def quick(cls) -> Settings:
        """Two small tables once."""
        return cls(regression=("linnerud",), classification=("iris",), splits=2, beside_splits=1)


@dataclass(frozen=True)
class Trial:
    """One method on one split."""

    table: str  # its name
    method: str  # its name
    split: int  # number of the split
    scores: NumberScores | ClassScores  # how right it was


@dataclass(frozen=True)
class Result(SavedResult):
    """All tables."""

    settings: Settings  # which tables, how often
    # Scores averaged over splits, by table and method.
    tables: dict[str, dict[str, dict[str, float]]]
    # CRPS divided by the Gaussian process's, on the splits that both have, by table for regression
    # and method; of our method alone where read from a file.
    ratios: dict[str, dict[str, float]]

    def to_json(self) -> dict[str, Any]:
        """Plain values, the same for the same seed."""
        return {
            "splits": self.settings.splits,
            "beside_splits": self.settings.beside_splits,
            "tables": self.tables,
            "crps_ratio_to_gaussian_process": {t: own[OURS] for t, own in self.ratios.items()},
        }

    @classmethod
    def from_json(cls, values: dict[str, Any], settings: Settings, seed: int = 0) -> Result:
        """The result that `to_json` wrote."""
        ours = values["crps_ratio_to_gaussian_process"].items()
        return cls(settings, values["tables"], {table: {OURS: ratio} for table, ratio in ours})

    def to_markdown(self) -> str:
        """One line for each table and method."""
        s = self.settings
        numbers = [
            f"{table} | {method} | {scores['crps']:.4g} "
            f"| {self.ratios[table].get(method, math.nan):.3f} "
            f"| {scores['covered']:.1%} | {scores['error']:.4g}"
            for table in s.regression
            for method, scores in self.tables[table].items()
        ]
        classes = [
            f"{table} | {method} | {scores['nll']:.3f} | {scores['accuracy']:.1%} "
            f"| {scores['calibration']:.3f}"
            for table in s.classification
            for method, scores in self.tables.get(table, {}).items()
        ]
        note = (
            f"Means over {s.splits} splits for regression by randomised priors and the Gaussian "
            f"process, over the first {s.beside_splits} for all else; ratios are over the splits "
            "that both methods have."
        )
        head = "table | method | CRPS | against the GP | 90 % interval covers | RMSE"
        parts = [
            markdown_table(head, numbers),
            markdown_table("table | method | NLL | accuracy | ECE", classes, note),
        ]
        if s.beside_splits and not any(LAPLACE in methods for methods in self.tables.values()):
            parts.append(f"laplace-torch was left out, not being installed: `{INSTALL_LAPLACE}`.")
        return "\n\n".join(parts)


def summary(settings: Settings, trials: Sequence[Trial]) -> Result:
    """Means over splits, and ratios over those that two methods have."""
    by_split: dict[tuple[str, str], dict[int, dict[str, float]]] = {}
    for t in trials:
        by_split.setdefault((t.table, t.method), {})[t.split] = asdict(t.scores)
    tables: dict[str, dict[str, dict[str, float]]] = {}
    ratios: dict[str, dict[str, float]] = {}
    for (table, method), own in by_split.items():
        mean = {
            score: float(np.mean([scores[score] for scores in own.values()]))
            for score in next(iter(own.values()))
        }
        tables.setdefault(table, {})[method] = mean
        if table in settings.regression:
            gp = by_split[table, GP]
            ratio = np.sum([own[s]["crps"] for s in own]) / np.sum([gp[s]["crps"] for s in own])
            ratios.setdefault(table, {})[method] = float(ratio)
    return Result(settings, tables, ratios)


def run(settings: Settings | None = None, *, seed: int = 0, progress: bool = True) -> Result:
    """Train every method on every split; `seed` decides splits, draws and members.

    Raises:
        MissingDependencyError: if scikit-learn is not installed.
    """
    settings = settings or Settings()
    return summary(settings, score_all(settings, seed, progress=progress))


def score_all(settings: Settings, seed: int, *, progress: bool = False) -> list[Trial]:
    """Every method on every split."""
    from hunch.sklearn import RandomizedPriorRegressor  # noqa: F401  # names a missing package now

    tasks = [
        (table, split, seed, settings)
        for table in (*settings.regression, *settings.classification)
        for split in range(
            settings.splits if table in settings.regression else settings.beside_splits
        )
    ]
    trials = collect(
        _run_split,
        tasks,
        settings.jobs,
        label="tables",
        unit="split",
        progress=progress,
        told=lambda done: done[0].table,
    )
    tables, order = [*settings.regression, *settings.classification], METHODS
    return sorted(trials, key=lambda t: (tables.index(t.table), order.index(t.method), t.split))


def _run_split(task: tuple[str, int, int, Settings]) -> list[Trial]:
    table, split, seed, settings = task
    if table in settings.classification:
        train, test = _split(classification_table(table), split, stratify=True)
        methods = [m for m in methods_here() if not (table == "digits" and m == GP)]
        return [Trial(table, m, split, vote(m, train, test, seed + split)) for m in methods]
    train, test = _split(regression_table(table, seed + split), split)
    methods = methods_here() if split < settings.beside_splits else [OURS, GP]
    return [Trial(table, m, split, forecast(m, train, test, seed + split)) for m in methods]


def _split(
    table: tuple[Array, Array], split: int, *, stratify: bool = False
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    from sklearn.model_selection import train_test_split

    X, y = table
    X, X_test, y, y_test = train_test_split(
        X, y, test_size=0.2, random_state=split, stratify=y if stratify else None
    )
    return (X, y), (X_test, y_test)


def check(result: Result) -> list[Check]:
    """Coverage of each table, and the share of tables where CRPS is as good as claimed."""
    tables: Sequence[str] = result.settings.regression
    checks = []
    if result.settings.splits >= 20:
        for table in tables:
            covered = result.tables[table][OURS]["covered"]
            what = f"coverage of 90 % intervals, {table}"
            checks += [Check(what, covered, ">=", 0.88), Check(what, covered, "<=", 0.93)]
    good = np.mean([result.ratios[table][OURS] <= 1.02 for table in tables])
    what = "share of tables with a CRPS better than the GP's or within 2 %"
    return [*checks, Check(what, float(good), ">=", 2 / 3)]
