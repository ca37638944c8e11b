"""Rows far from the training data: does an ensemble say that it does not know?

Six classification tables and four of numbers, each split at random into seven parts for training
and three for the test. Test rows are moved 3, 12, 25 and 50 standard deviations away: in random
directions, all features together ("all"), or one feature alone ("one"). Looked at is the largest
probability of a row of classes, and of a number the standard deviation of an observation.

Controls: the same networks with priors that do not grow with the distance, which is also what says
whether the growth costs anything on test rows that are not moved, and networks without priors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from hunch.experiments.claims.checks import Check
from hunch.experiments.claims.markdown import cells
from hunch.experiments.claims.markdown import table as markdown_table
from hunch.experiments.claims.parallel import collect
from hunch.experiments.claims.saved import SavedResult
from hunch.experiments.tables.data import classification_table, regression_table
from hunch.seeding import derive, numpy_generator

if TYPE_CHECKING:
    from hunch.sklearn import RandomizedPriorClassifier

CLAIM = (
    "On each of six tables a RandomizedPriorClassifier of 50 networks, on 3 splits a table, gives "
    "test rows that are moved 12 to 50 standard deviations away a largest probability of at most "
    "0.8 in the median, which falls from the data outwards; the same networks with priors that do "
    "not grow with the distance stay above 0.9 on at least half of the tables. On rows that are "
    "not moved they lose at most one standard error of accuracy and of log loss. On four tables a "
    "RandomizedPriorRegressor's standard deviation grows with the distance."
)
DISTANCES: Final = (0.0, 3.0, 12.0, 25.0, 50.0)
FAR: Final = 12.0
MODELS: Final = ("priors that grow", "priors that do not grow", "no priors")
WAYS: Final = ("all", "one")
GROWING, LEVEL, NONE = MODELS

Array = npt.NDArray[Any]


def _moons(seed: int) -> tuple[Array, Array]:
    from sklearn.datasets import make_moons

    drawn: tuple[Array, Array] = make_moons(300, noise=0.2, random_state=seed)
    return drawn


def _informative(seed: int) -> tuple[Array, Array]:
    from sklearn.datasets import make_classification

    drawn: tuple[Array, Array] = make_classification(
        400, 20, n_informative=5, n_classes=3, random_state=seed
    )
    return drawn


CLASSES: Final[dict[str, Callable[[int], tuple[Array, Array]]]] = {
    "iris": lambda seed: classification_table("iris"),
    "wine": lambda seed: classification_table("wine"),
    "breast_cancer": lambda seed: classification_table("breast_cancer"),
    "digits": lambda seed: classification_table("digits"),
    "moons": _moons,
    "5 of 20 informative": _informative,
}
NUMBERS: Final = ("diabetes", "friedman1", "heteroscedastic", "heavy-tailed")


@dataclass(frozen=True)
class Settings:
    """Which tables, how often, how large."""

    classes: tuple[str, ...] = tuple(CLASSES)  # keys of `CLASSES`
    numbers: tuple[str, ...] = NUMBERS  # keys of `tables.REGRESSION` with one target
    splits: int = 3  # of each table; drawn tables are drawn anew each time
    num_members: int = 50  # networks
    most_rows: int = 2_000  # rows taken of a table
    jobs: int = 1  # splits at a time, each in a process of its own

    @classmethod
    def quick(cls) -> Settings:
        """One split of each table, two tables of numbers, fewer rows and networks."""
        return cls(numbers=NUMBERS[::2], splits=1, num_members=10, most_rows=200)


@dataclass(frozen=True)
class Trial:
    """One model on one split."""

    table: str  # its name
    split: int  # number of the split
    model: str  # `GROWING`, `LEVEL` or `NONE`
    # For each way and distance what is said of each test row: its largest probability, or the
    # standard deviation of an observation.
    sure: dict[tuple[str, float], Array]
    # Of each row that is not moved, whether the likeliest class is right; empty for numbers.
    right: Array
    loss: Array  # minus the logarithm of the right class's probability; empty for numbers


class Cost(NamedTuple):
    """What growing priors change on rows that are not moved, each with its standard error."""

    accuracy: float
    accuracy_error: float
    log_loss: float
    log_loss_error: float

    @property
    def lost(self) -> float:
        """The larger loss of the two, in standard errors; below 0 if both gain."""
        return max(-self.accuracy / self.accuracy_error, self.log_loss / self.log_loss_error)


class Said(NamedTuple):
    """What a model says of the test rows of all splits that are moved one way."""

    medians: list[float]  # at each distance
    certain: float  # share with a probability above 0.99, from 12 standard deviations on
    far: float = math.nan  # median there; NaN where read from a file


@dataclass(frozen=True)
class Result(SavedResult):
    """All tables."""

    settings: Settings  # which tables, how often
    said: dict[tuple[str, str, str], Said]  # by table, model and way
    costs: dict[str, Cost]  # of each table of classes

    def to_json(self) -> dict[str, Any]:
        """Plain values, the same for the same seed."""
        classes: dict[str, Any] = {
            table: {
                model: {
                    way: {
                        "medians": self.said[table, model, way].medians,
                        "above 0.99 when far": self.said[table, model, way].certain,
                    }
                    for way in WAYS
                }
                for model in MODELS
            }
            | {"cost": self.costs[table]._asdict()}
            for table in self.settings.classes
        }
        numbers = {
            table: {way: self.said[table, GROWING, way].medians for way in WAYS}
            for table in self.settings.numbers
        }
        return {"distances": list(DISTANCES), "classes": classes, "numbers": numbers}

    @classmethod
    def from_json(cls, values: dict[str, Any], settings: Settings, seed: int = 0) -> Result:
        """The result that `to_json` wrote."""
        said = {
            (table, model, way): Said(*values["classes"][table][model][way].values())
            for table in values["classes"]
            for model in MODELS
            for way in WAYS
        }
        for table, by_way in values["numbers"].items():
            said |= {(table, GROWING, way): Said(by_way[way], math.nan) for way in WAYS}
        costs = {table: Cost(**found["cost"]) for table, found in values["classes"].items()}
        return cls(settings, said, costs)

    def to_markdown(self) -> str:
        """A table for classes, one for what growth costs, one for numbers."""
        away = cells(*(f"{d:g} sd" for d in DISTANCES))
        classes, costs, numbers = [], [], []
        for table in self.settings.classes:
            for way in WAYS:
                for model in MODELS:
                    said = self.said[table, model, way]
                    medians = [f"{m:.2f}" for m in said.medians]
                    certain = f"{100 * said.certain:.0f} %"
                    classes.append(cells(f"{table}, {way}", model, *medians, certain))
            cost = self.costs[table]
            accuracy = f"{cost.accuracy:+.4f} ± {cost.accuracy_error:.4f}"
            loss = f"{cost.log_loss:+.4f} ± {cost.log_loss_error:.4f}"
            costs.append(f"{table} | {accuracy} | {loss}")
        for table in self.settings.numbers:
            for way in WAYS:
                medians = [f"{m:.3g}" for m in self.said[table, GROWING, way].medians]
                numbers.append(cells(f"{table}, {way}", *medians))
        parts = [
            markdown_table(
                f"table, moved | model | {away} | p > 0.99 from 12 sd on",
                classes,
                "Median over test rows of the largest probability.",
            ),
            markdown_table(
                "table | change of accuracy | of log loss",
                costs,
                "Rows not moved: priors that grow against such as do not, ± one standard error.",
            ),
            markdown_table(
                f"table, moved | {away}",
                numbers,
                "Median of the standard deviation of an observation.",
            ),
        ]
        return "\n\n".join(parts)


def summary(settings: Settings, trials: Sequence[Trial]) -> Result:
    """What is said of the rows of all splits together."""
    said = {}
    for table, model in dict.fromkeys((t.table, t.model) for t in trials):
        own = [t for t in trials if (t.table, t.model) == (table, model)]
        for way in WAYS:
            at = {d: np.concatenate([t.sure[way, d] for t in own]) for d in DISTANCES}
            far = np.concatenate([at[d] for d in DISTANCES if d >= FAR])
            medians = [float(np.median(at[d])) for d in DISTANCES]
            share = float((far > 0.99).mean())
            said[table, model, way] = Said(medians, share, float(np.median(far)))
    costs = {table: _cost(trials, table) for table in settings.classes}
    return Result(settings, said, costs)


def _cost(trials: Sequence[Trial], table: str) -> Cost:
    """What growing priors change on rows that are not moved."""
    grown, level = (
        [t for t in trials if (t.table, t.model) == (table, model)] for model in (GROWING, LEVEL)
    )
    right = [np.concatenate([t.right for t in own]) for own in (grown, level)]
    loss = [np.concatenate([t.loss for t in own]) for own in (grown, level)]
    rows = len(right[1])
    # Laplace's rule of succession, for tables on which all rows are right.
    share = (right[1].sum() + 1) / (rows + 2)
    return Cost(
        float(right[0].mean() - right[1].mean()),
        float(np.sqrt(share * (1 - share) / rows)),
        float(loss[0].mean() - loss[1].mean()),
        float(loss[1].std() / np.sqrt(rows)),
    )


def run(settings: Settings | None = None, *, seed: int = 0, progress: bool = True) -> Result:
    """Train on every table and ask far away; `seed` decides splits, drawn tables and networks."""
    settings = settings or Settings()
    tables = [*settings.classes, *settings.numbers]
    tasks = [(table, k, seed, settings) for table in tables for k in range(settings.splits)]
    trials = collect(
        _trials, tasks, settings.jobs, label="far from data", unit="split", progress=progress
    )
    return summary(settings, sorted(trials, key=lambda t: (t.table, t.model, t.split)))


def _trials(task: tuple[str, int, int, Settings]) -> list[Trial]:
    table, split, seed, settings = task
    own = derive(seed, "far", table, split) % 2**31
    x, y = CLASSES[table](own) if table in CLASSES else regression_table(table, own)
    order = numpy_generator(own, "split").permutation(len(x))[: settings.most_rows]
    train, test = np.split(order, [round(0.7 * len(order))])
    moved = {(way, d): _moved(x[train], x[test], way, d, own) for way in WAYS for d in DISTANCES}
    said = _classes if table in CLASSES else _numbers
    return said(
        Split((table, split), (x[train], y[train]), y[test], moved, settings.num_members, own)
    )


class Split(NamedTuple):
    """Rows to train on, and other rows of the same table moved away from them."""

    which: tuple[str, int]  # the table and the number of the split
    train: tuple[Array, Array]
    y: Array  # of the other rows
    moved: dict[tuple[str, float], Array]  # their features, by way and distance
    num_members: int
    seed: int


def _classes(split: Split) -> list[Trial]:
    from hunch.sklearn import RandomizedPriorClassifier

    trials = []
    for scale in (1.0, 0.0):
        model = RandomizedPriorClassifier(
            split.num_members, prior_scale=scale, random_state=split.seed
        ).fit(*split.train)
        arms: dict[str, Callable[[Array], Array]] = {
            GROWING: model.predict_proba,
            LEVEL: partial(_level, model),
        }
        for name, ask in arms.items() if scale else [(NONE, model.predict_proba)]:
            said = {key: ask(x) for key, x in split.moved.items()}
            here = said["all", 0.0]
            of_truth = here[np.arange(len(split.y)), np.searchsorted(model.classes_, split.y)]
            trials.append(
                Trial(
                    *split.which,
                    name,
                    {key: probabilities.max(axis=1) for key, probabilities in said.items()},
                    model.classes_[here.argmax(axis=1)] == split.y,
                    -np.log(np.maximum(of_truth, 1e-12)),
                )
            )
    return trials


def _level(model: RandomizedPriorClassifier, x: Array) -> Array:
    """What the networks say themselves: their priors have one size everywhere."""
    from hunch.sklearn.training import members_at

    logits = members_at(model.ensemble_, model._inputs(x)) / model.temperature_
    probabilities: Array = logits.softmax(dim=-1).mean(dim=0).numpy()
    return probabilities


def _numbers(split: Split) -> list[Trial]:
    from hunch.sklearn import RandomizedPriorRegressor

    model = RandomizedPriorRegressor(split.num_members, random_state=split.seed).fit(*split.train)
    said = {key: model.predict(x, return_std=True)[1] for key, x in split.moved.items()}
    return [Trial(*split.which, GROWING, said, np.empty(0), np.empty(0))]


def _moved(train: Array, test: Array, way: str, distance: float, seed: int) -> Array:
    """Test rows, away in random directions: all features by about so much, or one by exactly."""
    rng = numpy_generator(seed, "directions", way)
    if way == "all":
        step = rng.normal(size=test.shape)
        step *= np.sqrt(test.shape[1]) / np.linalg.norm(step, axis=1, keepdims=True)
    else:
        varying = np.flatnonzero(train.std(axis=0) > 0)
        step = np.zeros_like(test, dtype=float)
        step[np.arange(len(test)), rng.choice(varying, len(test))] = rng.choice([-1, 1], len(test))
    moved: Array = test + distance * train.std(axis=0) * step
    return moved


def check(result: Result) -> list[Check]:
    """The claim's figures, over both ways of moving: the worst table's."""
    tables, numbers = result.settings.classes, result.settings.numbers
    growing = [result.said[table, GROWING, way] for table in tables for way in WAYS]
    of_numbers = [result.said[table, GROWING, way] for table in numbers for way in WAYS]
    rises = [after - before for said in growing for before, after in _outwards(said)]
    steps = [after / before for said in of_numbers for before, after in _outwards(said)]
    control = [result.said[table, LEVEL, "all"].far for table in tables]
    where = f"{len(tables)} tables, {result.settings.splits} splits, 12 to 50 sd away"
    return [
        Check(
            f"largest probability, {where}: largest median",
            max(said.far for said in growing),
            "<=",
            0.8,
        ),
        Check(
            "how much less it is than at the data: least of the tables",
            min(said.medians[0] - said.far for said in growing),
            ">=",
            0.1,
        ),
        Check(
            "largest rise of a median from 0 to 12, 25 and 50 sd, which votes of networks make",
            max(rises),
            "<=",
            0.05,
        ),
        Check(
            "control: tables whose median stays above 0.9 with priors that do not grow",
            sum(median > 0.9 for median in control),
            ">=",
            len(tables) / 2,
        ),
        Check(
            "accuracy or log loss lost at the data, in standard errors: the worst table's",
            max(cost.lost for cost in result.costs.values()),
            "<=",
            1.0,
        ),
        Check(
            f"std of numbers, {len(numbers)} tables: least growth from 0 to 12, 25 and 50 sd",
            min(steps),
            ">=",
            1.0,
        ),
    ]


def _outwards(said: Said) -> list[tuple[float, float]]:
    """The medians at neighbouring distances, without the one between the data and `FAR`."""
    here, _, *far = said.medians
    return list(pairwise([here, *far]))
