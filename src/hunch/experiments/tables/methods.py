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
from torch import Tensor

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

Array = npt.NDArray[Any]
OURS: Final = "randomised priors"
GP: Final = "Gaussian process"
LAPLACE: Final = "Laplace"
_COVERAGE: Final = 0.9
_NORMAL: Final = 1.6448536269514722  # half the width of the central 90 % of a standard normal
_LEVELS: Final = (np.arange(200) + 0.5) / 200


@dataclass(frozen=True)
class Forecast:
    """What a method says about test rows, and how right it was."""

    crps: float  # continuous ranked probability score, mean over rows and outputs, in units of y
    covered: float  # share of test values inside the 90 % interval
    error: float  # root of the mean squared error of the mean, in units of y


@dataclass(frozen=True)
class Vote:
    """What a classifier says about test rows, and how right it was."""

    nll: float  # negative log-likelihood, in nats
    accuracy: float  # share of rows whose likeliest class is right
    calibration: float  # expected calibration error


def forecast(
    method: str, train: tuple[Array, Array], test: tuple[Array, Array], seed: int
) -> Forecast:
    """Train a method and score it.

    Args:
        method: a key of `REGRESSORS`.
        train: features and targets.
        test: features and targets.
        seed: decides everything.
    """
    with _quiet():
        return REGRESSORS[method](*train, *test, seed)


def vote(method: str, train: tuple[Array, Array], test: tuple[Array, Array], seed: int) -> Vote:
    """Train a classifier and score it.

    Args:
        method: a key of `REGRESSORS`; classifiers have the same names.
        train: features and class numbers.
        test: features and class numbers.
        seed: decides everything.
    """
    with _quiet():
        model = _classifier(method, seed).fit(*train)
        probs = torch.as_tensor(model.predict_proba(test[0]), dtype=torch.float64)
    y = torch.as_tensor(test[1]).long()
    likelihood = probs.gather(1, y.unsqueeze(1)).clamp_min(1e-15)  # a tree may say 0
    return Vote(
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


def _ours(X: Array, y: Array, X_new: Array, y_new: Array, seed: int) -> Forecast:
    from hunch.adapters.sklearn import RandomizedPriorRegressor

    model = RandomizedPriorRegressor(random_state=seed).fit(X, y)
    low, high = model.predict_interval(X_new, _COVERAGE)
    quantiles = torch.from_numpy(model.predict_quantiles(X_new, _LEVELS)).movedim(-1, 0)
    truth = torch.as_tensor(y_new, dtype=torch.float64)
    return Forecast(
        float(ensemble_crps(quantiles, truth).mean()),
        float(np.mean((low <= y_new) & (y_new <= high))),
        float(np.sqrt(np.mean((model.predict(X_new) - y_new) ** 2))),
    )


def _of_gaussian(mean: Array, std: Array, y: Array) -> Forecast:
    tensors: list[Tensor] = [torch.as_tensor(a, dtype=torch.float64) for a in (mean, std, y)]
    return Forecast(
        float(gaussian_crps(*tensors).mean()),
        float(np.mean(np.abs(y - mean) <= _NORMAL * std)),
        float(np.sqrt(np.mean((y - mean) ** 2))),
    )


def _with_std(make: Callable[[int, int], Any]) -> Callable[..., Forecast]:
    """A peer that says its own standard deviation, for each output by itself."""

    def score(X: Array, y: Array, X_new: Array, y_new: Array, seed: int) -> Forecast:
        columns = y.reshape(len(y), -1).T
        said = [
            make(X.shape[1], seed).fit(X, column).predict(X_new, return_std=True)
            for column in columns
        ]
        mean, std = np.stack(said, axis=-1)
        return _of_gaussian(mean, std, y_new.reshape(len(y_new), -1))

    return score


def _with_residuals(make: Callable[[int, int], Any]) -> Callable[..., Forecast]:
    """A peer that says none: it gets the one of its errors in five-fold cross-validation."""

    def score(X: Array, y: Array, X_new: Array, y_new: Array, seed: int) -> Forecast:
        from sklearn.model_selection import cross_val_predict

        means, stds = [], []
        for column in y.reshape(len(y), -1).T:
            left_out = cross_val_predict(make(X.shape[1], seed), X, column)
            means.append(make(X.shape[1], seed).fit(X, column).predict(X_new))
            stds.append(np.full(len(X_new), np.sqrt(np.mean((left_out - column) ** 2))))
        y_new = y_new.reshape(len(y_new), -1)
        return _of_gaussian(np.stack(means, axis=-1), np.stack(stds, axis=-1), y_new)

    return score


def _scaled(model: Any) -> Any:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), model)


def _gp(num_features: int, seed: int) -> Any:
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

    kernel = ConstantKernel() * RBF(np.ones(num_features), (1e-2, 1e3)) + WhiteKernel()
    return _scaled(GaussianProcessRegressor(kernel, normalize_y=True, random_state=seed))


def _linear(num_features: int, seed: int) -> Any:
    from sklearn.linear_model import BayesianRidge

    return _scaled(BayesianRidge())


def _boosting(num_features: int, seed: int) -> Any:
    from sklearn.ensemble import GradientBoostingRegressor

    return GradientBoostingRegressor(random_state=seed)


def _mlp(num_features: int, seed: int) -> Any:
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.neural_network import MLPRegressor
    from sklearn.preprocessing import StandardScaler

    net = _scaled(MLPRegressor(random_state=seed))
    return TransformedTargetRegressor(net, transformer=StandardScaler())


def _laplace(num_features: int, seed: int) -> Any:
    return LaplaceRegressor(seed)


def _classifier(method: str, seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.gaussian_process import GaussianProcessClassifier
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier

    from hunch.adapters.sklearn import RandomizedPriorClassifier

    makers: dict[str, Callable[[], Any]] = {
        OURS: lambda: RandomizedPriorClassifier(random_state=seed),
        GP: lambda: _scaled(
            GaussianProcessClassifier(ConstantKernel() * RBF(4.0), random_state=seed)
        ),
        "linear": lambda: _scaled(LogisticRegression()),
        "gradient boosting": lambda: HistGradientBoostingClassifier(random_state=seed),
        "one network": lambda: _scaled(MLPClassifier(random_state=seed)),
        LAPLACE: lambda: LaplaceClassifier(seed),
    }
    return makers[method]()


REGRESSORS: Final[dict[str, Callable[..., Forecast]]] = {
    OURS: _ours,
    GP: _with_std(_gp),
    "linear": _with_std(_linear),
    "gradient boosting": _with_residuals(_boosting),
    "one network": _with_residuals(_mlp),
    LAPLACE: _with_std(_laplace),
}


def methods_here() -> list[str]:
    """Keys of `REGRESSORS`, which also name the classifiers, without peers not installed."""
    return [m for m in REGRESSORS if m != LAPLACE or laplace_installed()]
