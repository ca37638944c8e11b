"""Methods for tables, ours and others', all asked for a distribution."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from hunch.experiments.tables.laplace import (
    LaplaceClassifier,
    LaplaceRegressor,
    laplace_installed,
)
from hunch.inference import (
    accuracy,
    ensemble_crps,
    expected_calibration_error,
    gaussian_crps,
)
from hunch.tables.baselines import scaled

Array = npt.NDArray[Any]
OURS: Final = "randomised priors"
GP: Final = "Gaussian process"
LAPLACE: Final = "Laplace"
METHODS: Final = (OURS, GP, "linear", "gradient boosting", "one network", LAPLACE)
# The others' error bars are those of their errors in five-fold cross-validation.
_WITH_STD: Final = (GP, "linear", LAPLACE)
_COVERAGE: Final = 0.9
_NORMAL: Final = 1.6448536269514722  # half the width of the central 90 % of a standard normal
_LEVELS: Final = (np.arange(200) + 0.5) / 200


@dataclass(frozen=True)
class NumberScores:
    """How right a method was about numbers."""

    crps: float  # continuous ranked probability score, mean over rows and outputs, in units of y
    covered: float  # share of test values inside the 90 % interval
    error: float  # root of the mean squared error of the mean, in units of y


@dataclass(frozen=True)
class ClassScores:
    """How right a classifier was."""

    nll: float  # negative log-likelihood, in nats
    accuracy: float  # share of rows whose likeliest class is right
    calibration: float  # expected calibration error


def methods_here() -> list[str]:
    """Those of `METHODS` whose package is installed."""
    return [m for m in METHODS if m != LAPLACE or laplace_installed()]


def forecast(
    method: str, train: tuple[Array, Array], test: tuple[Array, Array], seed: int
) -> NumberScores:
    """Train one of `METHODS` on features and targets, and score it on others."""
    (x, y), (x_new, y_new) = train, test
    with _quiet():
        if method == OURS:
            return _score_ours(x, y, x_new, y_new, seed)
        said = [_gaussian(method, x, column, x_new, seed) for column in y.reshape(len(y), -1).T]
    mean, std = np.stack(said, axis=-1)
    return _score_gaussian(mean, std, y_new.reshape(len(y_new), -1))


def vote(
    method: str, train: tuple[Array, Array], test: tuple[Array, Array], seed: int
) -> ClassScores:
    """Train the classifier of a method on features and class numbers, and score it on others."""
    with _quiet():
        model = _classifier(method, seed).fit(*train)
        probs = torch.as_tensor(model.predict_proba(test[0]), dtype=torch.float64)
    y = torch.as_tensor(test[1]).long()
    likelihood = probs.gather(1, y.unsqueeze(1)).clamp_min(1e-15)  # a tree may say 0
    return ClassScores(
        float(-likelihood.log().mean()),
        float(accuracy(probs, y)),
        float(expected_calibration_error(probs, y)),
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Peers warn of settings at their defaults, which is what they are here."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


def _score_ours(x: Array, y: Array, x_new: Array, y_new: Array, seed: int) -> NumberScores:
    from hunch.sklearn import RandomizedPriorRegressor

    model = RandomizedPriorRegressor(random_state=seed).fit(x, y)
    low, high = model.predict_interval(x_new, _COVERAGE)
    quantiles = torch.from_numpy(model.predict_quantiles(x_new, _LEVELS)).movedim(-1, 0)
    truth = torch.as_tensor(y_new, dtype=torch.float64)
    return NumberScores(
        float(ensemble_crps(quantiles, truth).mean()),
        float(np.mean((low <= y_new) & (y_new <= high))),
        float(np.sqrt(np.mean((model.predict(x_new) - y_new) ** 2))),
    )


def _score_gaussian(mean: Array, std: Array, y: Array) -> NumberScores:
    tensors = [torch.as_tensor(a, dtype=torch.float64) for a in (mean, std, y)]
    return NumberScores(
        float(gaussian_crps(*tensors).mean()),
        float(np.mean(np.abs(y - mean) <= _NORMAL * std)),
        float(np.sqrt(np.mean((y - mean) ** 2))),
    )


def _gaussian(method: str, x: Array, y: Array, x_new: Array, seed: int) -> tuple[Array, Array]:
    """Mean and standard deviation of one output, each `(rows,)`."""
    from sklearn.model_selection import cross_val_predict

    make = _regressor(method, x.shape[1], seed)
    if method in _WITH_STD:
        mean, std = make().fit(x, y).predict(x_new, return_std=True)
        return mean, std
    left_out = cross_val_predict(make(), x, y)
    error = np.sqrt(np.mean((left_out - y) ** 2))
    return make().fit(x, y).predict(x_new), np.full(len(x_new), error)


def _regressor(method: str, num_features: int, seed: int) -> Callable[[], Any]:
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.ensemble import GradientBoostingRegressor
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
    from sklearn.linear_model import BayesianRidge
    from sklearn.neural_network import MLPRegressor
    from sklearn.preprocessing import StandardScaler

    makers: dict[str, Callable[[], Any]] = {
        GP: lambda: scaled(
            GaussianProcessRegressor(
                ConstantKernel() * RBF(np.ones(num_features), (1e-2, 1e3)) + WhiteKernel(),
                normalize_y=True,
                random_state=seed,
            )
        ),
        "linear": lambda: scaled(BayesianRidge()),
        "gradient boosting": lambda: GradientBoostingRegressor(random_state=seed),
        "one network": lambda: TransformedTargetRegressor(
            scaled(MLPRegressor(random_state=seed)), transformer=StandardScaler()
        ),
        LAPLACE: lambda: LaplaceRegressor(seed),
    }
    return makers[method]


def _classifier(method: str, seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.gaussian_process import GaussianProcessClassifier
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier

    from hunch.sklearn import RandomizedPriorClassifier

    makers: dict[str, Callable[[], Any]] = {
        OURS: lambda: RandomizedPriorClassifier(random_state=seed),
        GP: lambda: scaled(
            GaussianProcessClassifier(ConstantKernel() * RBF(4.0), random_state=seed)
        ),
        "linear": lambda: scaled(LogisticRegression()),
        "gradient boosting": lambda: HistGradientBoostingClassifier(random_state=seed),
        "one network": lambda: scaled(MLPClassifier(random_state=seed)),
        LAPLACE: lambda: LaplaceClassifier(seed),
    }
    return makers[method]()
