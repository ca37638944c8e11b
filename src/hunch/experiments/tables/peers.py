"""Other people's methods for tables at the defaults of their libraries, asked for uncertainty.

Numbers are asked for as quantiles at `LEVELS`, classes as probabilities. What each is given and how
it is asked stands at its function. Categories are one-hot, the 50 most frequent of a column and one
for all others; dates are days. Missing numbers are the column's median where a method refuses them.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from statistics import NormalDist
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hunch.seeding import numpy_generator

Array = npt.NDArray[Any]
LEVELS: Final = np.arange(1, 20) / 20
BOOSTING: Final = "HistGradientBoosting"
FOREST: Final = "random forest"
CV_PLUS: Final = "CV+ on boosting"
NGBOOST: Final = "NGBoost"
CATBOOST: Final = "CatBoost"
GP: Final = "Gaussian process"
PEERS: Final = (BOOSTING, FOREST, CV_PLUS, NGBOOST, CATBOOST, GP)
NEEDS: Final = {NGBOOST: "ngboost", CATBOOST: "catboost"}  # packages that may be missing
_MOST_CATEGORIES: Final = 50  # columns of one-hot for a column
_MOST_ORDINAL: Final = 250  # HistGradientBoosting takes 255
_MOST_GP_ROWS: Final = {"regression": 2_000, "classification": 1_000}
_MOST_GP_CELLS: Final = 6_000_000  # rows squared times features
_FOLDS: Final = 5
_Z: Final = np.array([NormalDist().inv_cdf(float(level)) for level in LEVELS])


@dataclass(frozen=True)
class Features:
    """Columns of training and test rows, as methods take them.

    Args:
        numbers: of both, each `(rows, columns)`, NaN where missing.
        categories: likewise, as text.
    """

    numbers: tuple[Array, Array]
    categories: tuple[Array, Array]

    @classmethod
    def of(cls, train: Any, test: Any) -> Features:
        """Of two pandas DataFrames with the same columns, without the target."""
        kinds = {name: _kind(train[name]) for name in train.columns}
        numeric = [name for name, kind in kinds.items() if kind != "category"]
        others = [name for name, kind in kinds.items() if kind == "category"]
        numbers, categories = [], []
        for frame in (train, test):
            columns = [_numbers(frame[name], kinds[name]) for name in numeric]
            texts = [frame[name].fillna("missing").astype(str).to_numpy(object) for name in others]
            numbers.append(np.array(columns, dtype=float).reshape(len(numeric), len(frame)).T)
            categories.append(np.array(texts, dtype=object).reshape(len(others), len(frame)).T)
        return cls((numbers[0], numbers[1]), (categories[0], categories[1]))

    def filled(self) -> tuple[Array, Array]:
        """Numbers with medians for what is missing, and categories one-hot."""
        impute = importlib.import_module("sklearn.impute").SimpleImputer(
            strategy="median", keep_empty_features=True
        )
        one_hot = importlib.import_module("sklearn.preprocessing").OneHotEncoder(
            max_categories=_MOST_CATEGORIES,
            handle_unknown="infrequent_if_exist",
            sparse_output=False,
        )
        encoders = ((impute, self.numbers), (one_hot, self.categories))
        parts = [
            (encoder.fit_transform(train), encoder.transform(test))
            for encoder, (train, test) in encoders
            if train.shape[1]
        ]
        train, test = (np.hstack(sides) for sides in zip(*parts, strict=True))
        return train, test

    def ordinal(self) -> tuple[Array, Array, list[bool]]:
        """Numbers as they are and categories numbered; which of the columns are categories."""
        encoder = importlib.import_module("sklearn.preprocessing").OrdinalEncoder(
            max_categories=_MOST_ORDINAL, handle_unknown="use_encoded_value", unknown_value=np.nan
        )
        codes = self.categories
        if codes[0].shape[1]:
            codes = (encoder.fit_transform(codes[0]), encoder.transform(codes[1]))
        which = [False] * self.numbers[0].shape[1] + [True] * codes[0].shape[1]
        train, test = (
            np.hstack([n, c.astype(float)]) for n, c in zip(self.numbers, codes, strict=True)
        )
        return train, test, which

    def native(self) -> tuple[Any, Any, list[int]]:
        """Frames with categories as text; the places of these."""
        pandas = importlib.import_module("pandas")
        numeric, others = self.numbers[0].shape[1], self.categories[0].shape[1]
        train, test = (
            pandas.concat([pandas.DataFrame(n), pandas.DataFrame(c)], axis=1, ignore_index=True)
            for n, c in zip(self.numbers, self.categories, strict=True)
        )
        return train, test, list(range(numeric, numeric + others))


def _kind(column: Any) -> str:
    types = importlib.import_module("pandas").api.types
    if types.is_numeric_dtype(column):
        return "number"
    words = column.dropna().astype(str)
    return "date" if words.str.fullmatch(r"\d{4}-\d\d-\d\d([T ].*)?").all() else "category"


def _numbers(column: Any, kind: str) -> Array:
    if kind == "number":
        return np.asarray(column.to_numpy(dtype=float, na_value=np.nan))
    days = column.astype(str).str[:10].where(column.notna()).to_numpy(object)
    parsed = [np.datetime64("NaT") if day != day else np.datetime64(day) for day in days]
    since = (np.array(parsed, "datetime64[D]") - np.datetime64("2000-01-01")).astype(float)
    return np.where(np.isnat(np.array(parsed, "datetime64[D]")), np.nan, since)


@dataclass(frozen=True)
class Forecast:
    """What a method says of numbers.

    Args:
        mean: `(rows,)`.
        quantiles: at `LEVELS`, `(rows, levels)`, not crossing.
    """

    mean: Array
    quantiles: Array


def peers_here() -> list[str]:
    """Those of `PEERS` whose package is installed."""
    return [name for name in PEERS if name not in NEEDS or find_spec(NEEDS[name])]


def predicts(peer: str, task: str) -> bool:
    """Whether a peer has an answer for `"regression"` or `"classification"`."""
    return peer in (_NUMBERS if task == "regression" else _CLASSES)


def predict_numbers(peer: str, features: Features, y: Array, seed: int) -> Forecast:
    """Train one of `PEERS` on numbers `(rows,)` and ask it about the test rows."""
    with _quiet():
        found = _NUMBERS[peer](features, y, seed)
    return Forecast(found.mean, np.sort(found.quantiles, axis=1))


def predict_classes(peer: str, features: Features, y: Array, seed: int) -> Array:
    """Likewise for class numbers from 0: probabilities `(rows, classes)`."""
    with _quiet():
        probabilities: Array = _CLASSES[peer](features, y, seed)
    return probabilities


@contextmanager
def _quiet() -> Iterator[None]:
    """Peers warn of settings at their defaults, which is what they are here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _boosting(features: Features, y: Array, seed: int) -> Forecast:
    """One fit of the quantile loss a level; the mean of a fit of the squared error."""
    make = importlib.import_module("sklearn.ensemble").HistGradientBoostingRegressor
    train, test, which = features.ordinal()
    same = {"categorical_features": which, "random_state": seed}
    quantiles = [
        make(loss="quantile", quantile=float(level), **same).fit(train, y).predict(test)
        for level in LEVELS
    ]
    return Forecast(make(**same).fit(train, y).predict(test), np.stack(quantiles, axis=1))


def _forest(features: Features, y: Array, seed: int) -> Forecast:
    """Quantiles of the training targets in the same leaves (Meinshausen 2006)."""
    train, test = features.filled()
    forest = importlib.import_module("sklearn.ensemble").RandomForestRegressor(random_state=seed)
    forest.fit(train, y)
    order = np.argsort(y)
    leaves, asked = forest.apply(train)[order], forest.apply(test)
    quantiles = np.vstack(
        [
            _leaf_quantiles(leaves, block, y[order])
            for block in np.array_split(asked, max(1, len(asked) // 250))
        ]
    )
    return Forecast(forest.predict(test), quantiles)


def _leaf_quantiles(leaves: Array, asked: Array, y: Array) -> Array:
    """Of sorted targets, weighted by how often they share a leaf with each row asked."""
    weight = np.zeros((len(asked), len(y)))
    for of_tree, asked_of in zip(leaves.T, asked.T, strict=True):
        same = asked_of[:, None] == of_tree
        weight += same / same.sum(axis=1, keepdims=True)
    below = np.cumsum(weight, axis=1) / weight.sum(axis=1, keepdims=True)
    return np.stack([y[(below >= level - 1e-9).argmax(axis=1)] for level in LEVELS], axis=1)


def _cv_plus(features: Features, y: Array, seed: int) -> Forecast:
    """CV+ (Barber et al. 2021) a level: fold models' predictions plus the errors on their folds."""
    make = importlib.import_module("sklearn.ensemble").HistGradientBoostingRegressor
    train, test, which = features.ordinal()
    same = {"categorical_features": which, "random_state": seed}
    order = numpy_generator(seed, "cv+").permutation(len(y))
    found, errors = [], []
    for fold in np.array_split(order, _FOLDS):
        rest = np.setdiff1d(order, fold)
        model = make(**same).fit(train[rest], y[rest])
        found.append(model.predict(test))
        errors.append(y[fold] - model.predict(train[fold]))
    blocks = np.array_split(np.arange(len(test)), max(1, len(test) // 250))
    quantiles = [
        np.quantile(
            np.hstack([f[rows, None] + e for f, e in zip(found, errors, strict=True)]),
            LEVELS,
            axis=1,
        ).T
        for rows in blocks
    ]
    return Forecast(make(**same).fit(train, y).predict(test), np.vstack(quantiles))


def _ngboost(features: Features, y: Array, seed: int) -> Forecast:
    """Its normal distribution."""
    train, test = features.filled()
    model = importlib.import_module("ngboost").NGBRegressor(random_state=seed, verbose=False)
    said = model.fit(train, y).pred_dist(test)
    return Forecast(said.loc, said.loc[:, None] + said.scale[:, None] * _Z)


def _catboost(features: Features, y: Array, seed: int) -> Forecast:
    """RMSEWithUncertainty, its documented loss for uncertainty: a normal distribution."""
    train, test, which = features.native()
    model = importlib.import_module("catboost").CatBoostRegressor(
        loss_function="RMSEWithUncertainty", **_catboost_settings(which, seed)
    )
    mean, variance = model.fit(train, y).predict(test).T
    return Forecast(mean, mean[:, None] + np.sqrt(variance)[:, None] * _Z)


def _catboost_settings(which: list[int], seed: int) -> dict[str, Any]:
    return {
        "cat_features": which,
        "random_seed": seed,
        "thread_count": 1,
        "verbose": False,
        "allow_writing_files": False,
    }


def _gp(features: Features, y: Array, seed: int) -> Forecast:
    """Scaled features, a length scale each, noise learned; on some rows at random if many."""
    process = importlib.import_module("sklearn.gaussian_process")
    kernels = process.kernels
    (train, test), rows = _gp_rows(features, "regression", seed)
    kernel = kernels.ConstantKernel() * kernels.RBF(np.ones(train.shape[1]), (1e-2, 1e3))
    model = process.GaussianProcessRegressor(
        kernel + kernels.WhiteKernel(), normalize_y=True, random_state=seed
    )
    mean, std = model.fit(train[rows], y[rows]).predict(test, return_std=True)
    return Forecast(mean, mean[:, None] + std[:, None] * _Z)


def _gp_rows(features: Features, task: str, seed: int) -> tuple[tuple[Array, Array], Array]:
    train, test = features.filled()
    scaler = importlib.import_module("sklearn.preprocessing").StandardScaler().fit(train)
    train, test = scaler.transform(train), scaler.transform(test)
    most = min(_MOST_GP_ROWS[task], int(np.sqrt(_MOST_GP_CELLS / train.shape[1])))
    return (train, test), numpy_generator(seed, "gp rows").permutation(len(train))[:most]


def _boosting_classes(features: Features, y: Array, seed: int) -> Array:
    train, test, which = features.ordinal()
    model = importlib.import_module("sklearn.ensemble").HistGradientBoostingClassifier(
        categorical_features=which, random_state=seed
    )
    return np.asarray(model.fit(train, y).predict_proba(test))


def _forest_classes(features: Features, y: Array, seed: int) -> Array:
    train, test = features.filled()
    model = importlib.import_module("sklearn.ensemble").RandomForestClassifier(random_state=seed)
    return np.asarray(model.fit(train, y).predict_proba(test))


def _ngboost_classes(features: Features, y: Array, seed: int) -> Array:
    train, test = features.filled()
    ngboost = importlib.import_module("ngboost")
    categorical = importlib.import_module("ngboost.distns").k_categorical(int(y.max()) + 1)
    model = ngboost.NGBClassifier(Dist=categorical, random_state=seed, verbose=False)
    return np.asarray(model.fit(train, y).predict_proba(test))


def _catboost_classes(features: Features, y: Array, seed: int) -> Array:
    train, test, which = features.native()
    model = importlib.import_module("catboost").CatBoostClassifier(
        **_catboost_settings(which, seed)
    )
    return np.asarray(model.fit(train, y).predict_proba(test))


def _gp_classes(features: Features, y: Array, seed: int) -> Array:
    """One length scale for all features; classes that no drawn row has get nothing."""
    process = importlib.import_module("sklearn.gaussian_process")
    (train, test), rows = _gp_rows(features, "classification", seed)
    kernel = process.kernels.ConstantKernel() * process.kernels.RBF(np.sqrt(train.shape[1]))
    model = process.GaussianProcessClassifier(kernel, random_state=seed)
    said = model.fit(train[rows], y[rows]).predict_proba(test)
    probabilities = np.zeros((len(test), int(y.max()) + 1))
    probabilities[:, model.classes_] = said
    return probabilities


_NUMBERS: Final[dict[str, Callable[[Features, Array, int], Forecast]]] = {
    BOOSTING: _boosting,
    FOREST: _forest,
    CV_PLUS: _cv_plus,
    NGBOOST: _ngboost,
    CATBOOST: _catboost,
    GP: _gp,
}
# CV+ makes intervals of numbers, no probabilities.
_CLASSES: Final[dict[str, Callable[[Features, Array, int], Array]]] = {
    BOOSTING: _boosting_classes,
    FOREST: _forest_classes,
    NGBOOST: _ngboost_classes,
    CATBOOST: _catboost_classes,
    GP: _gp_classes,
}
