"""A column of predictions that somebody else's model made, and the doubt about it.

Nothing is unpickled: the model is known by what it has said, in a column of the table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeGuard

import numpy as np
import pyarrow as pa
from torch import Tensor

from hunch.errors import DataError
from hunch.sklearn.learned import LearnedNetworks
from hunch.tables.cells import Floats, clean
from hunch.tables.columns import Columns
from hunch.tables.target import Target

if TYPE_CHECKING:
    from hunch.sklearn import DoubtRegressor

_FOLDS: Final = 5
_MEMBERS: Final = 50  # networks


def check_predictions(
    name: str, target: Target, columns: Columns, table: pa.Table, first_row: int = 0
) -> None:
    """Refuse a column that cannot be predictions of the target.

    Args:
        name: of the column.
        target: what it predicts.
        columns: the rules of the table.
        table: the rows, which must all have a prediction.
        first_row: how many rows of the file came before, for messages.

    Raises:
        DataError: if the target is no number, or cells are missing, infinite or all the same.

    Example:
        >>> table = pa.table({"p": [1.0, None]})
        >>> columns = Columns.learn(table)
        >>> check_predictions("p", Target("y", "regression"), columns, table)
        Traceback (most recent call last):
        hunch.errors.DataError: --prediction names 'p', which has no number in row 2; ...
    """
    said = f"--prediction names {name!r}"
    if target.task != "regression":
        raise DataError(
            f"{said}, and the target {target.name!r} is classes; expected numbers (--task "
            "regression). For a classifier there is hunch.DoubtClassifier."
        )
    rule = next((column for column in columns.used if column.name == name), None)
    if rule is None:
        why = next((d.why for d in columns.dropped if d.name == name), "not there")
        raise DataError(f"{said}, which is {why}; expected a model's predictions of each row.")
    unknown = ~np.isfinite(rule.way.read(clean(table[name])))
    if unknown.any():
        row = first_row + int(unknown.argmax()) + 1
        raise DataError(
            f"{said}, which has no number in row {row:,}; expected a prediction in each row: "
            "remove rows that have none."
        )


def is_doubt(estimator: LearnedNetworks | DoubtRegressor) -> TypeGuard[DoubtRegressor]:
    """Whether an estimator doubts somebody else's model, without importing scikit-learn."""
    return not isinstance(estimator, LearnedNetworks)


def train_doubt(
    columns: Columns,
    x: Floats,
    y: Floats,
    weight: Floats | None = None,
    groups: Any = None,
    *,
    members: int | None,
    seed: int,
    progress: bool,
) -> DoubtRegressor:
    """The doubt about the column of predictions, trained on rows that are encoded already."""
    from hunch.sklearn import DoubtRegressor, RandomizedPriorRegressor

    each = max(2, round((members or _MEMBERS) / _FOLDS))
    ensemble = RandomizedPriorRegressor(each, verbose=progress)
    seed %= 2**32  # scikit-learn takes no larger one
    doubt = DoubtRegressor(_reader(columns), ensemble=ensemble, cv=_FOLDS, random_state=seed)
    return doubt.fit(x, y, sample_weight=weight, groups=groups)


def restored_doubt(
    columns: Columns, tensors: Mapping[str, Tensor], values: Mapping[str, Any]
) -> DoubtRegressor:
    """The doubt that `to_state` was called on."""
    from hunch.sklearn import DoubtRegressor

    return DoubtRegressor.from_state(tensors, values, _reader(columns))


def predictions_of_doubt(
    doubt: DoubtRegressor, features: Floats, coverage: float
) -> dict[str, Any]:
    """What is said of each row, as `TableModel.predict` calls it.

    `mean` is the column itself. Intervals lie about `corrected`, which is it and what is believed
    of its error.
    """
    p = doubt.predict_distribution(features)
    lower, upper = (end.numpy() for end in p.interval(coverage))
    return {
        "mean": doubt.predict(features),
        "corrected": p.mean.numpy(),
        "std": p.std.numpy(),
        "epistemic": p.epistemic.numpy(),
        "aleatoric": p.aleatoric.numpy(),
        "lower": lower,
        "upper": upper,
    }


def _reader(columns: Columns) -> Callable[[Floats], Floats]:
    """A model that predicts by looking into the column of predictions."""
    place = columns.groups()[columns.said.prediction[0]].start

    def read(features: Floats) -> Floats:
        return features[:, place].copy()

    return read
