"""UCI's tables with their standard splits, beside figures published for other methods.

`RandomizedPriorRegressor` runs at its defaults on every table, whereas MC dropout and deep
ensembles, whose published figures stand beside it, chose their settings by validation on each.
Scored are the root of the mean squared error and the negative log-likelihood, in units of y, twice:
that of a Gaussian with the predicted mean and standard deviation of an observation, which is what
deep ensembles' published one is of, and that of the density which a forecast states, as published
for airfoil by networks whose density is a mixture. Tables above `large` rows run on the first
`large_splits` of their splits.

Airfoil's self-noise, which is not among the tables of 2015, comes out of the package
sklearn-contrib-bde, where that is installed; it is split at random ten times into nine parts for
training and one for the test, and scored in standard deviations of the training targets.

Note:
    Published figures are quoted from memory of Gal and Ghahramani (2016) and Lakshminarayanan,
    Pritzel and Blundell (2017, table 1), their means over 20 splits (protein 5) without the errors,
    and that of airfoil from the documentation of sklearn-contrib-bde.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import torch

from hunch.errors import ConfigurationError
from hunch.experiments.claims.checks import Check
from hunch.experiments.claims.kept import Kept
from hunch.experiments.claims.markdown import cells
from hunch.experiments.claims.markdown import table as markdown_table
from hunch.experiments.claims.parallel import collect
from hunch.experiments.claims.saved import NOT_WRITTEN, SavedResult
from hunch.experiments.tables.real import NAMED
from hunch.experiments.tables.uci_tables import Array, Part, UciTable
from hunch.seeding import numpy_generator

CLAIM = (
    "At its defaults RandomizedPriorRegressor has a better negative log-likelihood than the "
    "published one of deep ensembles on at least six of eight UCI tables with their standard "
    "splits. On airfoil its root mean squared error is at most 0.16 of a standard deviation and "
    "the negative log-likelihood of the density that it states, in these units, at most -0.7, "
    "after at most 60 CPU seconds of training."
)
AIRFOIL: Final = "airfoil"
BDE: Final = (0.12, -0.91)  # on airfoil, in standard deviations


@dataclass(frozen=True)
class Published:
    """Means over splits, in units of y."""

    dropout: tuple[float, float]  # RMSE and negative log-likelihood of MC dropout
    ensemble: tuple[float, float]  # of deep ensembles


PUBLISHED: Final = {
    "concrete": Published((5.23, 3.04), (6.03, 3.06)),
    "energy": Published((1.66, 1.99), (2.09, 1.38)),
    "kin8nm": Published((0.10, -0.95), (0.09, -1.20)),
    "naval-propulsion-plant": Published((0.01, -3.80), (0.00, -5.63)),
    "power-plant": Published((4.02, 2.80), (4.11, 2.79)),
    "protein-tertiary-structure": Published((4.36, 2.89), (4.71, 2.83)),
    "wine-quality-red": Published((0.62, 0.93), (0.64, 0.94)),
    "yacht": Published((1.11, 1.55), (1.58, 1.18)),
}


@dataclass(frozen=True)
class Settings:
    """Which tables, how often."""

    tables: tuple[str, ...] = (*PUBLISHED, AIRFOIL)  # folders, and airfoil if it is installed
    splits: int = 20  # at most; of airfoil half as many
    large: int = 5_000  # a table with more rows
    large_splits: int = 5  # has so many splits at most
    members: int | None = None  # networks; None for the default
    data: str = ""  # the folder with the tables
    jobs: int = 1  # splits at a time, each in a process of its own
    keep: str = ""  # folder of what earlier runs have done already; empty for none

    @classmethod
    def quick(cls) -> Settings:
        """One split of the smallest table with few networks."""
        return cls(tables=("yacht",), splits=1, members=4)


@dataclass(frozen=True)
class Trial:
    """One split of one table."""

    table: str  # its name
    split: int  # number of the split
    rmse: float  # in units of y; of airfoil in standard deviations
    nll: float  # mean negative log-likelihood of a Gaussian with our mean and standard deviation
    own_nll: float  # of the density that we state, likewise
    covered: float  # share of test values inside the 90 % interval
    seconds: float = field(default=float("nan"), metadata=NOT_WRITTEN)  # of CPU, for training


@dataclass(frozen=True)
class Result(SavedResult):
    """All tables."""

    settings: Settings  # which tables, how often
    trials: tuple[Trial, ...]  # every split

    @property
    def tables(self) -> list[str]:
        """Those that were run."""
        return list(dict.fromkeys(t.table for t in self.trials))

    def mean(self, table: str, score: str) -> tuple[float, float, int]:
        """Over a table's splits, with its standard error and their number."""
        found = np.array([getattr(t, score) for t in self.trials if t.table == table])
        count = len(found)
        error = found.std(ddof=1) / np.sqrt(count) if count > 1 else float("nan")
        return float(found.mean()) if count else float("nan"), float(error), count

    def to_markdown(self) -> str:
        """A line for each table, and airfoil's."""
        lines = []
        for table in self.tables:
            if table in PUBLISHED:
                p = PUBLISHED[table]
                others = (f"{v:.2f}" for pair in (p.dropout, p.ensemble) for v in pair)
                lines.append(self._line(table, *others))
        note = (
            "Ours ± one standard error over splits, in units of y. Published figures are recalled. "
            "NLL is that of a Gaussian with the predicted mean and standard deviation, stated NLL "
            "that of `Forecast.log_prob`."
        )
        head = "table | splits | RMSE | NLL | stated NLL | 90 % interval covers"
        published = "MC dropout RMSE | NLL | deep ensembles RMSE | NLL"
        parts = [markdown_table(f"{head} | {published}", lines, note)]
        if AIRFOIL in self.tables:
            own = self._line(AIRFOIL, *(f"{v:.2f}" for v in BDE))
            units = "In standard deviations of the training targets. BDE's figures are recalled."
            parts.append(markdown_table(f"{head} | BDE RMSE | NLL", [own], units))
        return "\n\n".join(parts)

    def _line(self, table: str, *others: str) -> str:
        (rmse, rmse_error, count), (nll, nll_error, _), (own, own_error, _) = (
            self.mean(table, score) for score in ("rmse", "nll", "own_nll")
        )
        covered, _, _ = self.mean(table, "covered")
        return cells(
            table,
            count,
            f"{rmse:.4g}" + _error(rmse_error),
            f"{nll:.3f}" + _error(nll_error),
            f"{own:.3f}" + _error(own_error),
            f"{covered:.1%}",
            *others,
        )


def _error(error: float) -> str:
    return "" if np.isnan(error) else f" ± {error:.2g}"


def run(settings: Settings | None = None, *, seed: int = 0, progress: bool = True) -> Result:
    """Train on every split; `seed` decides the networks and airfoil's splits.

    Raises:
        ConfigurationError: if no folder is named.
        DataError: if a table is not in it.
        MissingDependencyError: if scikit-learn is not installed.
    """
    from hunch.sklearn import RandomizedPriorRegressor  # noqa: F401  # names a missing package now

    settings = settings or Settings()
    kept = Kept(settings.keep, "uci")
    done = {(r["table"], r["split"]): Trial(**_without_seed(r)) for r in kept if r["seed"] == seed}
    wanted = _wanted(settings)
    tasks = [(*which, seed, settings) for which in wanted if which not in done]

    def keep(trials: Sequence[Trial]) -> None:
        for t in trials:
            kept.add({"seed": seed, **vars(t)})

    new = collect(
        _run_split,
        tasks,
        settings.jobs,
        label="UCI tables",
        unit="split",
        progress=progress,
        told=lambda trials: trials[0].table,
        keep=keep,
    )
    done |= {(t.table, t.split): t for t in new}
    return Result(settings, tuple(done[which] for which in wanted))


def _without_seed(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "seed"}


def _wanted(settings: Settings) -> list[tuple[str, int]]:
    """Tables and splits, once every table is seen to be there."""
    if not settings.data and set(settings.tables) != {AIRFOIL}:
        raise ConfigurationError(
            "no folder with UCI tables was named; name it: hunch reproduce uci --data FOLDER"
        )
    wanted = []
    for name in settings.tables:
        if name == AIRFOIL:
            count = settings.splits // 2 if NAMED[AIRFOIL].version else 0
        else:
            table = UciTable(settings.data, name)
            rows = sum(len(part.y) for part in table.split(0))
            most = settings.splits if rows <= settings.large else settings.large_splits
            count = min(table.splits, settings.splits, most)
        wanted += [(name, number) for number in range(count)]
    return wanted


def _run_split(task: tuple[str, int, int, Settings]) -> list[Trial]:
    from hunch.sklearn import RandomizedPriorRegressor

    name, number, seed, settings = task
    if name == AIRFOIL:
        train, test = _airfoil(seed + number)
    else:
        train, test = UciTable(settings.data, name).split(number)
    started = time.process_time()
    model = RandomizedPriorRegressor(random_state=seed + number)
    if settings.members is not None:
        model.set_params(n_estimators=settings.members)
    model.fit(*train)
    seconds = time.process_time() - started
    said = model.predict_distribution(test.x)
    mean, std = said.mean.numpy(), said.std.numpy()
    low, high = model.predict_interval(test.x, 0.9)
    return [
        Trial(
            name,
            number,
            float(np.sqrt(np.mean((test.y - mean) ** 2))),
            gaussian_nll(mean, std, test.y),
            -float(said.log_prob(torch.from_numpy(test.y)).mean()),
            float(np.mean((low <= test.y) & (test.y <= high))),
            seconds,
        )
    ]


def gaussian_nll(mean: Array, std: Array, y: Array) -> float:
    """Mean negative log-likelihood of a Gaussian, in nats, in units of y.

    Example:
        >>> round(gaussian_nll(np.zeros(1), np.ones(1), np.zeros(1)), 4)
        0.9189
    """
    return float(np.mean(((y - mean) / std) ** 2 / 2 + np.log(std) + np.log(2 * np.pi) / 2))


def _airfoil(seed: int) -> tuple[Part, Part]:
    table = NAMED[AIRFOIL]
    frame = table.load()
    x = frame.drop(columns=table.target).to_numpy(float)
    y = frame[table.target].to_numpy(float)
    test, train = np.split(numpy_generator(seed, AIRFOIL).permutation(len(y)), [len(y) // 10])
    y = (y - y[train].mean()) / y[train].std()
    return Part(x[train], y[train]), Part(x[test], y[test])


def check(result: Result) -> list[Check]:
    """Tables with a better likelihood than deep ensembles; airfoil's figures."""
    better = [
        result.mean(table, "nll")[0] < published.ensemble[1]
        for table, published in PUBLISHED.items()
    ]
    rmse, nll, seconds = (
        result.mean(AIRFOIL, score)[0] for score in ("rmse", "own_nll", "seconds")
    )
    what = "tables of eight with a better likelihood than deep ensembles' published one"
    return [
        Check(what, float(sum(better)), ">=", 6),
        Check("airfoil: RMSE over a standard deviation", rmse, "<=", 0.16),
        Check("airfoil: negative log-likelihood of the stated density", nll, "<=", -0.7),
        Check("airfoil: CPU seconds of training", seconds, "<=", 60),
    ]
