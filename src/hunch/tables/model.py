"""A model of a table: the rules of its columns and an estimator, in a folder of its own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from hunch.errors import ConfigurationError, FolderError
from hunch.sklearn.forecast import Forecast
from hunch.sklearn.learned_classes import LearnedClasses
from hunch.sklearn.learned_numbers import LearnedNumbers
from hunch.sklearn.state import named
from hunch.sklearn.targets import ends_of
from hunch.storage import (
    as_written,
    expanded,
    open_folder,
    read_json,
    read_tensors,
    versions,
    write_json,
    write_tensors,
)
from hunch.storage.parts import under
from hunch.tables.cells import Floats
from hunch.tables.columns import Columns
from hunch.tables.doubted import (
    check_predictions,
    is_doubt,
    predictions_of_doubt,
    restored_doubt,
    train_doubt,
)
from hunch.tables.frames import as_arrow, like
from hunch.tables.horizon import Horizon, learn_horizon
from hunch.tables.recognized import NO_MARKS, Marks, marks_to_keep
from hunch.tables.target import Target, Task
from hunch.tables.ties import NO_TIES, Ties
from hunch.validation import real_number

KIND: Final = "table-model"
FORMAT: Final = 3  # 1 knows of no distance from the training data, 2 of no groups and no time
_FORMAT_OF_OLD: Final = 2  # for a model that an earlier version can read
MODEL_FILE: Final = "model.json"
TENSORS_FILE: Final = "model.safetensors"
_MEMBERS_AT_ORIGINS: Final = 10
_REACH: Final = ("outside", "outside_because")

if TYPE_CHECKING:
    from hunch.sklearn import DoubtRegressor, RandomizedPriorClassifier, RandomizedPriorRegressor
    from hunch.sklearn.doubt_regressor import Doubted

Learned = LearnedNumbers | LearnedClasses
_KINDS: Final[dict[Task, type[Learned]]] = {
    "regression": LearnedNumbers,
    "classification": LearnedClasses,
}


@dataclass(frozen=True)
class TableModel:
    """What `hunch fit` learns and `hunch predict` asks.

    Args:
        columns: how a table becomes features.
        target: what is predicted.
        estimator: fitted on the features; of a model that was read, what it has learned.
        horizon: how errors grow with the time since training; None if rows may come in any order.
        seen: marks of training rows, by which they are known again.

    Example:
        >>> import tempfile
        >>> table = pa.table({"x": [i / 40 for i in range(40)], "y": [i / 20 for i in range(40)]})
        >>> columns, x = Columns.learn_and_encode(table.select(["x"]))
        >>> target, y = Target("y", "regression"), table["y"].to_numpy()
        >>> model = train(columns, target, x, y, members=4, progress=False)
        >>> folder = Path(tempfile.mkdtemp())
        >>> model.put(folder)
        >>> TableModel.get(folder).predict(table).equals(model.predict(table))
        True
        >>> model.predict(table).column_names
        ['mean', 'std', 'epistemic', 'aleatoric', 'lower', 'upper', 'outside', 'outside_because']
    """

    columns: Columns
    target: Target
    estimator: Learned | DoubtRegressor
    horizon: Horizon | None = None
    seen: Marks = field(default_factory=lambda: NO_MARKS, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Tell the networks which features are the values of a column."""
        if not is_doubt(self.estimator):
            self.estimator.told_of(self.columns.categories)

    def predict(self, table: Any, *, coverage: float = 0.9, first_row: int = 0) -> Any:
        """What the model says about each row.

        Args:
            table: of Arrow, pandas or polars, or columns by name, with the columns in use; others
                are ignored.
            coverage: of the intervals, between 0 and 1, ends excluded.
            first_row: how many rows of the file came before, for messages.

        Returns:
            A table of the same library (and with the same index); of others one of Arrow. For a
            number: `mean`, `std` (of an observation), its parts `epistemic` and `aleatoric`,
            `lower`, `upper`. For classes: `predicted`, `probability_…` of each class, `entropy` in
            nats, its parts `epistemic` and `aleatoric`. Either way `outside`: whether the row is
            far outside the training data, and `outside_because`: the cells that make it so, as
            `size = 900`; null if none does. Of a column of predictions `mean` is that column, and
            `corrected` what the interval is about.

        Raises:
            DataError: if a cell is of another kind than in training.
        """
        rows = as_arrow(table)
        self.columns.check_names(rows.column_names)
        features, outside, because = self.columns.encode_and_explain(rows, first_row)
        for name in self.columns.said.prediction:
            check_predictions(name, self.target, self.columns, rows, first_row)
        found = self.predict_features(features, coverage=coverage)
        said = pa.table({**found, **dict(zip(_REACH, (outside, because), strict=True))})
        return like(said, table)

    def predict_features(self, features: Floats, *, coverage: float = 0.9) -> dict[str, Any]:
        """As `predict`, for rows that are encoded already and without where they are outside."""
        real_number("coverage", coverage, above=0.0, below=1.0)
        if not len(features):  # of nothing there is no mean, but there are the names
            one = self.predict_features(np.zeros((1, features.shape[1])), coverage=coverage)
            return {name: values[:0] for name, values in one.items()}
        if isinstance(self.estimator, LearnedClasses):
            return self._predict_classes(self.estimator, features)
        if is_doubt(self.estimator):
            said = predictions_of_doubt(self.estimator, features, coverage)
            ends = {name: self.target.within(said[name]) for name in ("lower", "upper")}
            return {**said, **ends}
        p = self.estimator.predict_distribution(features)
        grown = self._grown(features)
        lower, upper = self._ends(p, grown, coverage)
        return {
            "mean": self.target.within(p.mean.numpy()),
            "std": p.std.numpy() * grown,
            "epistemic": p.epistemic.numpy() * grown,
            "aleatoric": p.aleatoric.numpy() * grown,
            "lower": lower,
            "upper": upper,
        }

    def intervals(
        self, features: Floats, coverages: Sequence[float]
    ) -> list[tuple[Floats, Floats]]:
        """Lower and upper ends of several coverages for rows that are encoded already.

        Raises:
            ConfigurationError: if the model predicts classes.
        """
        if isinstance(self.estimator, LearnedClasses):
            raise ConfigurationError(
                "a model of classes has no intervals; expected one of a number."
            )
        p, grown = self.estimator.predict_distribution(features), self._grown(features)
        return [self._ends(p, grown, coverage) for coverage in coverages]

    def _ends(
        self, p: Forecast | Doubted, grown: Floats | float, coverage: float
    ) -> tuple[Floats, Floats]:
        """The interval of a distribution, as far as what has grown since training widens it."""
        if self.horizon is not None and isinstance(p, Forecast):
            wider = grown * self.horizon.reach(p.ends_about, coverage)
            ends = p.ends_about(p.mean.numpy(), p.std.numpy() * wider, coverage)
        else:
            low, high = p.interval(coverage)
            ends = low.numpy(), high.numpy()
        return self.target.within(ends[0]), self.target.within(ends[1])

    def _grown(self, features: Floats) -> Floats | float:
        """The factor by which errors have grown since training."""
        if self.horizon is None:
            return 1.0
        return self.horizon.factor(features[:, self.columns.place_of_time])

    def _predict_classes(self, estimator: LearnedClasses, features: Floats) -> dict[str, Any]:
        p = estimator.predict_distribution(features)
        probabilities = p.probs.numpy()
        names = pa.array(self.target.classes)
        return {
            "predicted": names.take(pa.array(probabilities.argmax(axis=1))),
            **{
                f"probability_{name}": column
                for name, column in zip(self.target.classes, probabilities.T, strict=True)
            },
            "entropy": p.entropy.numpy(),
            "epistemic": p.epistemic.numpy(),
            "aleatoric": p.aleatoric.numpy(),
        }

    @property
    def members(self) -> int:
        """How many networks there are."""
        if is_doubt(self.estimator):
            return sum(ensemble.n_estimators for ensemble in self.estimator.ensembles_)
        return self.estimator.n_estimators

    @property
    def output_names(self) -> list[str]:
        """The columns that `predict` gives."""
        probe = self.predict_features(np.zeros((1, len(self.columns.features))))
        return [*probe, *_REACH]

    def put(self, folder: Path) -> None:
        """Write the model's files into a folder that is being filled."""
        tensors, values = self.estimator.to_state()
        if self.horizon is not None:
            tensors |= named({"horizon": self.horizon.to_state()})
        if len(self.seen):
            tensors["seen.marks"] = torch.from_numpy(self.seen)
        said = self.columns.said
        write_json(
            folder / MODEL_FILE,
            {
                "format": FORMAT if said.newer else _FORMAT_OF_OLD,
                "target": self.target.to_json(),
                "columns": self.columns.to_json(),
                "estimator": values,
                "versions": versions(),
            },
        )
        write_tensors(folder / TENSORS_FILE, tensors)

    @classmethod
    def get(cls, folder: Path) -> TableModel:
        """Read what `put` wrote.

        Raises:
            FolderError: if a newer hunch wrote it, or files are not as they should be.
        """
        values = read_json(folder / MODEL_FILE)
        with as_written(folder / MODEL_FILE, "fit the model anew"):
            if values["format"] > FORMAT:
                raise FolderError(
                    f"{str(folder)!r} is of format {values['format']}, and this hunch reads up to "
                    f"{FORMAT}; bring it up to date with: pip install --upgrade torch-hunch"
                )
            target = Target.from_json(values["target"])
            tensors = read_tensors(folder / TENSORS_FILE)
            columns = Columns.from_json(values["columns"])
            marks = tensors.pop("seen.marks", None)  # an earlier version kept none
            seen = NO_MARKS if marks is None else marks.numpy()
            if columns.said.prediction:
                doubt = restored_doubt(columns, tensors, values["estimator"])
                return cls(columns, target, doubt, seen=seen)
            estimator = _KINDS[target.task].from_state(tensors, values["estimator"])
            own = under("horizon.", tensors)
            horizon = Horizon.from_state(own) if own else None
            return cls(columns, target, estimator, horizon, seen)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> TableModel:
        """Open a model's folder, once every file in it is seen to be as it was written.

        Raises:
            FolderError: if it is none, is damaged, or was written by a newer hunch.
        """
        return cls.get(open_folder(path, KIND))


def replaced_model(out: str | os.PathLike[str], target: str, names: Sequence[str]) -> str | None:
    """What is said of the model in a folder that a new one is to replace; None if there is none.

    Args:
        out: the folder, which holds nothing or a whole model.
        target: the column that the new model predicts.
        names: all columns of its table.

    Raises:
        FolderError: if the model there predicts another column, or is of a table with others.

    Example:
        >>> replaced_model("a-folder-that-does-not-exist", "price", ["price", "size"]) is None
        True
    """
    place = expanded(out) / MODEL_FILE
    if not place.exists():
        return None
    found = read_json(place)
    with as_written(place):
        old = str(found["target"]["name"])
        kinds = found["columns"]
        learned = {old, *(str(c["name"]) for kind in ("used", "dropped") for c in kinds[kind])}
    if old != target or learned != set(names):
        other = f"{old!r}" if old != target else f"{old!r} by other columns"
        raise FolderError(
            f"{str(out)!r} holds a model of another table, which predicts {other}; choose another "
            "folder (--out; `out` in Python), or move this one away."
        )
    return f"the model of {old!r} in {str(out)!r} will be replaced"


def train(
    columns: Columns,
    target: Target,
    x: Floats,
    y: Floats,
    *,
    weight: Floats | None = None,
    ties: Ties = NO_TIES,
    members: int | None = None,
    seed: int = 0,
    progress: bool = True,
) -> TableModel:
    """Train on rows that are encoded already; see `TableModel` for an example.

    Args:
        columns: the rules, learned on the same rows.
        target: learned on the same rows or more.
        x: features `(rows, features)`.
        y: numbers or class numbers `(rows,)`.
        weight: how much each row counts, `(rows,)`; None if all count alike.
        ties: what ties these rows together.
        members: networks; None: as many as the estimators have by default.
        seed: decides every draw.
        progress: show bars on standard error.
    """
    if columns.said.prediction:
        doubt = train_doubt(
            columns, x, y, weight, ties.groups, members=members, seed=seed, progress=progress
        )
        return TableModel(columns, target, doubt, seen=marks_to_keep(x, y))
    from hunch.sklearn import RandomizedPriorClassifier, RandomizedPriorRegressor

    members = members or RandomizedPriorRegressor.n_estimators
    in_time = ties.times is not None and target.task == "regression"
    if in_time:
        target = _within_support(target, y)

    state = seed % 2**32  # scikit-learn takes no larger one

    def unfitted(members: int) -> RandomizedPriorClassifier | RandomizedPriorRegressor:
        if target.task == "classification":
            return RandomizedPriorClassifier(members, random_state=state, verbose=progress)
        model = RandomizedPriorRegressor(members, random_state=state, verbose=progress)
        model.set_params(calibrate_by=columns.places_to_calibrate_by)
        if in_time:
            # How far errors reach at later times is learned of the target as it is. A process is
            # good between rows, which earns it a weight that it does not merit beyond them.
            model.set_params(support=None, logarithm=False, gaussian_process=False)
        elif target.lower is not None or target.upper is not None:
            model.set_params(support=(target.lower, target.upper))
        return model

    estimator = unfitted(members).fit(x, y, sample_weight=weight, groups=ties.groups)
    horizon = None
    if in_time and ties.times is not None:
        few = unfitted(min(members, _MEMBERS_AT_ORIGINS))

        def trained_on(rows: npt.NDArray[np.intp]) -> Learned:
            return few.fit(x[rows], y[rows], None if weight is None else weight[rows])

        horizon = learn_horizon(trained_on, ties.times, x, y)
    return TableModel(columns, target, estimator, horizon, marks_to_keep(x, y))


def _within_support(target: Target, y: Floats) -> Target:
    """With the ends of what numbers like these can be, where the user named none."""
    low, high = (float(end[0]) for end in ends_of(y.reshape(-1, 1), "auto"))
    lower = low if target.lower is None and low > -np.inf else target.lower
    upper = high if target.upper is None and high < np.inf else target.upper
    return replace(target, lower=lower, upper=upper)
