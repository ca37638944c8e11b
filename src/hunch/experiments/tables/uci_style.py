"""Error bars on other people's tables: scikit-learn's own data sets, its methods, laplace-torch.

Every table is split 20 times into four parts for training and one for the test; drawn tables are
drawn anew each time. All methods run at the defaults of their library, features scaled where a
method needs it; the Gaussian process has a length scale for each feature and learns its noise.
Methods without error bars get those of their errors in cross-validation. The Gaussian process is
left out for the digits, whose 1,400 rows and ten classes are too many for it here. laplace-torch is
left out where it is not installed; it has the batches and the step size of our members.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hunch.experiments.claims.checks import Check
from hunch.experiments.claims.parallel import in_processes
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
    OURS,
    REGRESSORS,
    Forecast,
    Vote,
    forecast,
    methods_here,
    vote,
)
from hunch.progress import progress_bar

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLAIM = (
    "At its defaults, RandomizedPriorRegressor's 90 % intervals cover 88 to 93 % of held-out "
    "values on each of six tables, averaged over 20 splits: scikit-learn's own and drawn ones with "
    "noise that varies, has heavy tails, or both. Its CRPS is better than that of scikit-learn's "
    "Gaussian process or within 2 % on at least two thirds of them."
)


@dataclass(frozen=True)
class Settings:
    """Which tables, how often.

    Args:
        regression: names of tables.
        classification: names of tables.
        splits: of each table for regression, for our method and the Gaussian process.
        beside_splits: for the other methods, and for classification.
        jobs: splits at a time, each in a process of its own.
    """

    regression: tuple[str, ...] = tuple(REGRESSION)
    classification: tuple[str, ...] = CLASSIFICATION
    splits: int = 20
    beside_splits: int = 5
    jobs: int = 1

    @classmethod
    def quick(cls) -> Settings:
        """Two small tables once."""
        return cls(regression=("linnerud",), classification=("iris",), splits=2, beside_splits=1)


@dataclass(frozen=True)
class Trial:
    """One method on one split.

    Args:
        table: its name.
        method: its name.
        split: number of the split.
        scores: how right it was.
    """

    table: str
    method: str
    split: int
    scores: Forecast | Vote


@dataclass(frozen=True)
class Result:
    """All splits."""

    settings: Settings
    trials: tuple[Trial, ...]

    def mean(self, table: str, method: str, score: str) -> float:
        """A score averaged over splits; NaN if the method was not run."""
        found = [
            getattr(t.scores, score) for t in self.trials if t.table == table and t.method == method
        ]
        return float(np.mean(found)) if found else float("nan")

    def crps_ratio(self, table: str, method: str = OURS) -> float:
        """A method's CRPS divided by the Gaussian process's, on the splits that both have."""
        own = self._by_split(table, method)
        gp = self._by_split(table, GP)
        return float(np.sum([own[s] for s in own]) / np.sum([gp[s] for s in own]))

    def _by_split(self, table: str, method: str) -> dict[int, float]:
        return {
            t.split: t.scores.crps
            for t in self.trials
            if t.table == table and t.method == method and isinstance(t.scores, Forecast)
        }

    def to_json(self) -> dict[str, Any]:
        """Plain values, the same for the same seed."""
        tables: dict[str, Any] = {}
        for t in self.trials:
            by_method = tables.setdefault(t.table, {})
            by_method[t.method] = {
                score: self.mean(t.table, t.method, score) for score in asdict(t.scores)
            }
        return {
            "splits": self.settings.splits,
            "beside_splits": self.settings.beside_splits,
            "tables": tables,
            "crps_ratio_to_gaussian_process": {
                table: self.crps_ratio(table) for table in self.settings.regression
            },
        }

    def to_markdown(self) -> str:
        """One line for each table and method."""
        lines = [
            "| table | method | CRPS | against the GP | 90 % interval covers | RMSE |",
            "|---|---|---|---|---|---|",
        ]
        for table in self.settings.regression:
            for method in self._methods(table):
                crps, covered, error = (
                    self.mean(table, method, s) for s in ("crps", "covered", "error")
                )
                ratio = self.crps_ratio(table, method)
                lines.append(
                    f"| {table} | {method} | {crps:.4g} | {ratio:.3f} | {covered:.1%} "
                    f"| {error:.4g} |"
                )
        lines += ["", "| table | method | NLL | accuracy | ECE |", "|---|---|---|---|---|"]
        for table in self.settings.classification:
            for method in self._methods(table):
                nll, right, calibration = (
                    self.mean(table, method, s) for s in ("nll", "accuracy", "calibration")
                )
                lines.append(
                    f"| {table} | {method} | {nll:.3f} | {right:.1%} | {calibration:.3f} |"
                )
        s = self.settings
        lines += [
            "",
            f"Means over {s.splits} splits for regression by randomised priors and the Gaussian "
            f"process, over the first {s.beside_splits} for all else; ratios are over the splits "
            "that both methods have.",
        ]
        if s.beside_splits and not any(t.method == LAPLACE for t in self.trials):
            lines += ["", f"laplace-torch was left out, not being installed: `{INSTALL_LAPLACE}`."]
        return "\n".join(lines)

    def _methods(self, table: str) -> list[str]:
        return list(dict.fromkeys(t.method for t in self.trials if t.table == table))


def run(settings: Settings | None = None, *, seed: int = 0, progress: bool = True) -> Result:
    """Train every method on every split.

    Args:
        settings: tables and splits; the claim's own if None.
        seed: decides splits, draws and members.
        progress: show a bar over the splits.

    Raises:
        MissingDependencyError: if scikit-learn is not installed.
    """
    import hunch.adapters.sklearn  # noqa: F401, so that a missing package is named before all else

    settings = settings or Settings()
    tasks = [
        (table, split, seed, settings)
        for table in (*settings.regression, *settings.classification)
        for split in range(
            settings.splits if table in settings.regression else settings.beside_splits
        )
    ]
    trials: list[Trial] = []
    with progress_bar(len(tasks), "tables", "split", enabled=progress) as bar:
        for done in in_processes(_run_split, tasks, settings.jobs):
            trials += done
            bar.update()
            bar.set_postfix_str(done[0].table)
    tables = [*settings.regression, *settings.classification]
    order = list(REGRESSORS)
    trials.sort(key=lambda t: (tables.index(t.table), order.index(t.method), t.split))
    return Result(settings, tuple(trials))


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
            covered = result.mean(table, OURS, "covered")
            what = f"coverage of 90 % intervals, {table}"
            checks += [Check(what, covered, ">=", 0.88), Check(what, covered, "<=", 0.93)]
    good = np.mean([result.crps_ratio(table) <= 1.02 for table in tables])
    what = "share of tables with a CRPS better than the GP's or within 2 %"
    return [*checks, Check(what, float(good), ">=", 2 / 3)]


def plot(result: Result) -> dict[str, tuple[Figure, str]]:
    """Coverage and CRPS of the methods."""
    from hunch.experiments.tables.uci_style_figures import draw

    return draw(result)
