"""What anybody would try first, on the same features and the same rows."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hunch.seeding import derive, numpy_generator
from hunch.tables.cells import Floats
from hunch.tables.ties import NO_TIES, Rows, Ties

_MOST_GP_ROWS: Final = 1_000  # its time grows with their cube
CONSTANT: Final = "constant"
_LEFT_OUT: Final = 0.1  # of the rows, on which error bars are measured


@dataclass(frozen=True)
class Forecast:
    """What a model says about the test rows.

    Args:
        name: of the model.
        note: how it was made, where that is not obvious.
        mean: of a number, `(rows,)`; None for classes.
        std: of an observation, `(rows,)`; None for classes.
        probs: of the classes, `(rows, classes)`; None for a number.
    """

    name: str
    note: str = ""
    mean: Floats | None = None
    std: Floats | None = None
    probs: Floats | None = None


def regression_baselines(
    x: Floats, y: Floats, test: Floats, seed: int, ties: Ties = NO_TIES
) -> list[Forecast]:
    """Forecasts of a linear model, gradient boosting, a Gaussian process and a constant.

    Args:
        x: training features.
        y: training targets.
        test: test features.
        seed: decides every draw.
        ties: of the training rows; error bars are measured as test rows are held out.

    Example:
        >>> x = np.linspace(0, 1, 60)[:, None]
        >>> [f.name for f in regression_baselines(x, x[:, 0], x[:5], seed=0)]
        ['linear', 'gradient boosting', 'Gaussian process', 'constant']
    """
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, WhiteKernel
    from sklearn.linear_model import Ridge

    state = derive(seed, "baselines") % 2**31
    kernel = RBF(x.shape[1] ** 0.5) + WhiteKernel(0.1)
    process = scaled(GaussianProcessRegressor(kernel, normalize_y=True, random_state=state))
    some = _some(len(x), seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a kernel's length has reached its bound
        process.fit(x[some], y[some])
        mean, std = process.predict(test, return_std=True)
    others = {
        "linear": lambda: scaled(Ridge()),
        "gradient boosting": lambda: HistGradientBoostingRegressor(random_state=state),
    }
    return [
        *(_with_constant_std(name, make, x, y, test, seed, ties) for name, make in others.items()),
        Forecast("Gaussian process", _on(some, len(x)), mean, std),
        Forecast(
            CONSTANT,
            "the mean and the spread of the training rows, for every row",
            np.full(len(test), y.mean()),
            np.full(len(test), max(float(y.std()), np.finfo(np.float64).tiny)),
        ),
    ]


def class_baselines(
    x: Floats, y: npt.NDArray[np.int64], test: Floats, num_classes: int, seed: int
) -> list[Forecast]:
    """Forecasts of logistic regression, gradient boosting, a Gaussian process and a constant.

    Example:
        >>> x = np.linspace(0, 1, 60)[:, None]
        >>> found = class_baselines(x, (x[:, 0] > 0.5).astype(int), x[:5], 2, seed=0)
        >>> [(f.name, f.probs.shape) for f in found][0]
        ('logistic', (5, 2))
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.gaussian_process import GaussianProcessClassifier
    from sklearn.gaussian_process.kernels import RBF
    from sklearn.linear_model import LogisticRegression

    state = derive(seed, "baselines") % 2**31
    few = min(len(x), _MOST_GP_ROWS // max(1, num_classes - 1))  # one process for each class
    some = _with_each_class(_some(len(x), seed, few), y)
    process = GaussianProcessClassifier(RBF(x.shape[1] ** 0.5), random_state=state)
    models: dict[str, Any] = {
        "logistic": scaled(LogisticRegression(max_iter=300)),
        "gradient boosting": HistGradientBoostingClassifier(random_state=state),
        "Gaussian process": scaled(process),
    }
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, model in models.items():
            rows = some if name == "Gaussian process" else np.arange(len(x))
            model.fit(x[rows], y[rows])
            probs = np.zeros((len(test), num_classes))
            probs[:, model.classes_] = model.predict_proba(test)
            found.append(Forecast(name, _on(rows, len(x)), probs=probs))
    shares = np.bincount(y, minlength=num_classes) / len(y)
    note = "the shares of the classes among the training rows, for every row"
    return [*found, Forecast(CONSTANT, note, probs=np.tile(shares, (len(test), 1)))]


def _with_constant_std(
    name: str,
    make: Callable[[], Any],
    x: Floats,
    y: Floats,
    test: Floats,
    seed: int,
    ties: Ties,
) -> Forecast:
    """A model without error bars gets one for all, from rows that a second fit has not seen."""
    out, rest = _left_out(len(x), seed, ties)
    errors = y[out] - make().fit(x[rest], y[rest]).predict(x[out])
    std = max(float(np.sqrt(np.mean(errors**2))), np.finfo(np.float64).tiny)
    what = {"rows": "a tenth", "groups": "a tenth of the groups", "time": "the last tenth"}
    note = f"one error bar for all rows, from {what[ties.by]} left out of a second fit"
    mean = make().fit(x, y).predict(test)
    return Forecast(name, note, mean, np.full(len(test), std))


def _left_out(num_rows: int, seed: int, ties: Ties) -> tuple[Rows, Rows]:
    """A tenth of the rows, and the rest: drawn, or whole groups, or the last in time."""
    order = numpy_generator(seed, "left out").permutation(num_rows)
    if ties.groups is not None:
        _, place, size = np.unique(ties.groups, return_inverse=True, return_counts=True)
        rank = numpy_generator(seed, "left out").permutation(len(size))[place]
        held = rank < max(1, round(_LEFT_OUT * len(size)))
        return np.flatnonzero(held), np.flatnonzero(~held)
    if ties.times is not None:
        order = np.argsort(-ties.times, kind="stable")
    out, rest = np.split(order, [max(1, round(_LEFT_OUT * num_rows))])
    return out, rest


def scaled(model: Any) -> Any:
    """A model on features that it gets at mean 0 and standard deviation 1."""
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), model)


def _some(num_rows: int, seed: int, most: int = _MOST_GP_ROWS) -> npt.NDArray[np.intp]:
    return numpy_generator(seed, "some rows").permutation(num_rows)[:most]


def _with_each_class(rows: npt.NDArray[np.intp], y: npt.NDArray[np.int64]) -> npt.NDArray[np.intp]:
    """The rows, and one of each class that they lack."""
    lacking = np.setdiff1d(y, y[rows])
    return np.concatenate([rows, [np.flatnonzero(y == c)[0] for c in lacking]]).astype(np.intp)


def _on(rows: npt.NDArray[np.intp], num_rows: int) -> str:
    return f"on {len(rows):,} of {num_rows:,} rows" if len(rows) < num_rows else ""
