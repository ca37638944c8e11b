"""Doubt for a model that is fitted already: its predictions stay, and intervals hold."""

import json
import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import torch

pytest.importorskip("sklearn")
from safetensors.torch import load_file, save_file
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from hunch import (
    DoubtClassifier,
    DoubtRegressor,
    RandomizedPriorClassifier,
    RandomizedPriorRegressor,
)
from hunch.errors import ConfigurationError, DataError, HunchWarning, ShapeError
from hunch.sklearn.mixed import MixedTable

FEW = RandomizedPriorRegressor(4, max_iter=5, boosting=False)
FEW_CLASSES = RandomizedPriorClassifier(4, max_iter=5, boosting=False)


def doubt_of(model, **settings):
    return DoubtRegressor(model, **(dict(ensemble=FEW, cv=2, random_state=0) | settings))


def class_doubt_of(model, **settings):
    return DoubtClassifier(model, **(dict(ensemble=FEW_CLASSES, cv=2, random_state=0) | settings))


def drawn(rows, seed=0):
    """A smooth function with a noise that depends on x."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(-2, 2, size=(rows, 3))
    noise = 0.1 + 0.4 * (X[:, 1] > 0)
    return X, np.sin(2 * X[:, 0]) + X[:, 2] + noise * rng.normal(size=rows)


@pytest.fixture(scope="module")
def halves():
    X, y = drawn(1600)
    model = RandomForestRegressor(30, random_state=0).fit(X[:300], y[:300])
    return model, X[300:600], y[300:600], X[600:], y[600:]


@pytest.fixture(scope="module")
def fitted(halves):
    model, X, y, *_ = halves
    return DoubtRegressor(model, random_state=0).fit(X, y)


@pytest.fixture(scope="module")
def iris():
    X, y = load_iris(return_X_y=True)
    model = RandomForestClassifier(20, random_state=0).fit(X[::3], y[::3])
    return model, X[1::3], y[1::3], X[2::3], y[2::3]


@pytest.mark.slow
def test_intervals_hold_and_are_narrower_where_the_noise_is(fitted, halves):
    model, X, y, new, truth = halves
    low, high = fitted.predict_interval(new, coverage=0.9)
    # Of 1,000 new rows and 300 tested ones the share inside has a standard deviation of about
    # 0.02, so this fails by chance once in a thousand other seeds; the seed is fixed.
    assert 0.85 < np.mean((low <= truth) & (truth <= high)) < 0.96
    quiet = new[:, 1] < 0
    assert np.median((high - low)[quiet]) < 0.7 * np.median((high - low)[~quiet])
    errors = np.sort(np.abs(y - model.predict(X)))
    split = 2 * errors[int(np.ceil(301 * 0.9)) - 1]
    assert np.mean(high - low) < 0.95 * split


@pytest.mark.parametrize(
    "model",
    [
        RandomForestRegressor(10, random_state=0),
        HistGradientBoostingRegressor(max_iter=10),
        make_pipeline(StandardScaler(), LinearRegression()),
    ],
    ids=["forest", "boosting", "pipeline"],
)
def test_predictions_are_the_models_own_to_the_bit(model):
    X, y = drawn(200)
    model.fit(X[:80], y[:80])
    before = pickle.dumps(model)
    doubt = doubt_of(model).fit(X[80:160], y[80:160])
    np.testing.assert_array_equal(doubt.predict(X), model.predict(X))
    assert doubt.model is model
    assert pickle.dumps(model) == before
    assert doubt.score(X[160:], y[160:]) == model.score(X[160:], y[160:])


def test_a_function_and_a_column_of_predictions_are_models_too():
    X, y = drawn(150)
    flat = doubt_of(lambda X: X[:, 2]).fit(X, y)
    column = doubt_of(lambda X: X[:, 2:]).fit(X, y)
    np.testing.assert_array_equal(flat.predict(X), X[:, 2])
    np.testing.assert_array_equal(column.predict(X), X[:, 2:])
    np.testing.assert_array_equal(flat.predict_members(X), column.predict_members(X))


def test_figures_agree_with_each_other(fitted, halves):
    new = halves[3][:50]
    p = fitted.predict_distribution(new)
    members = fitted.predict_members(new)
    assert members.shape == (50, 50)
    np.testing.assert_allclose(members.mean(axis=0), p.mean)
    low, high = fitted.predict_interval(new, 0.8)
    np.testing.assert_allclose((low + high) / 2, p.mean)
    assert (np.diff(fitted.predict_quantiles(new, [0.1, 0.5, 0.9]), axis=1) > 0).all()
    assert 0 <= fitted.shift_weight_ <= 1
    assert 0.25 <= fitted.epistemic_weight_ / fitted.aleatoric_weight_ <= 4


def test_far_from_the_data_intervals_widen_though_a_forest_is_level(fitted, halves):
    X = halves[1]
    low, high = fitted.predict_interval(X)
    far_low, far_high = fitted.predict_interval(X + 20 * X.std(axis=0))
    assert np.median(far_high - far_low) > 3 * np.median(high - low)
    assert fitted.predict_distribution(X + 20 * X.std(axis=0)).epistemic.median() > 1


def test_a_shift_of_the_model_moves_the_interval_and_not_the_prediction():
    X, y = drawn(300)
    doubt = doubt_of(lambda X: np.sin(2 * X[:, 0]) + X[:, 2] + 5).fit(X[:200], y[:200])
    low, high = doubt.predict_interval(X[200:])
    assert (high < doubt.predict(X[200:])).mean() > 0.9
    assert np.mean((low <= y[200:]) & (y[200:] <= high)) > 0.75


def test_the_seed_decides_and_the_global_states_are_left_alone():
    X, y = drawn(120)
    model = LinearRegression().fit(X[:40], y[:40])
    numpy_before = np.random.get_state()[1].copy()  # noqa: NPY002
    torch_before = torch.get_rng_state()
    a, b, c = (doubt_of(model, random_state=s).fit(X[40:], y[40:]) for s in (0, 0, 1))
    np.testing.assert_array_equal(a.predict_members(X), b.predict_members(X))
    assert (a.predict_members(X) != c.predict_members(X)).any()
    np.testing.assert_array_equal(numpy_before, np.random.get_state()[1])  # noqa: NPY002
    assert torch.equal(torch_before, torch.get_rng_state())


def test_a_weight_of_two_is_a_row_twice_and_the_order_does_not_matter():
    X, y = drawn(60)
    weight = np.ones(60)
    weight[:20] = 2
    model = lambda X: X[:, 2]  # noqa: E731
    weighted = doubt_of(model).fit(X, y, sample_weight=weight)
    twice = np.r_[np.arange(60), np.arange(20)][::-1]
    written = doubt_of(model).fit(X[twice], y[twice])
    np.testing.assert_array_equal(
        weighted.predict_quantiles(X, [0.05, 0.5]), written.predict_quantiles(X, [0.05, 0.5])
    )
    without = doubt_of(model).fit(X, y, sample_weight=np.r_[np.zeros(30), np.ones(30)])
    alone = doubt_of(model).fit(X[30:], y[30:])
    np.testing.assert_array_equal(without.predict_members(X), alone.predict_members(X))


def test_a_state_needs_no_pickle_and_holds_no_model(fitted, halves, iris, tmp_path):
    model, _, _, new, _ = halves
    classes = class_doubt_of(iris[0]).fit(*iris[1:3])
    for doubt, own, rows in ((fitted, model, new), (classes, iris[0], iris[3])):
        tensors, values = doubt.to_state()
        save_file(tensors, tmp_path / "doubt.safetensors")
        loaded = load_file(tmp_path / "doubt.safetensors")
        again = type(doubt).from_state(loaded, json.loads(json.dumps(values)), own)
        np.testing.assert_array_equal(again.predict_members(rows), doubt.predict_members(rows))
        assert again.n_features_in_ == doubt.n_features_in_
        assert again.ensembles_[0].get_params() == doubt.ensembles_[0].get_params()
    again = DoubtRegressor.from_state(*fitted.to_state(), model)
    np.testing.assert_array_equal(again.predict_quantiles(new), fitted.predict_quantiles(new))
    sets = DoubtClassifier.from_state(*classes.to_state(), iris[0]).predict_sets(iris[3])
    np.testing.assert_array_equal(sets, classes.predict_sets(iris[3]))


def test_a_clone_is_about_the_same_fitted_model():
    X, y = drawn(200)
    model = LinearRegression().fit(X[:80], y[:80])
    doubt = doubt_of(model)
    again = clone(doubt.fit(X[80:], y[80:]))
    assert again.model is model
    assert again.ensemble is not doubt.ensemble
    assert {"model", "ensemble", "cv", "random_state"} <= set(again.get_params())
    with pytest.raises(NotFittedError):
        again.predict_interval(X)
    assert len(cross_val_score(again, X[80:], y[80:], cv=2)) == 2
    search = GridSearchCV(again, {"ensemble__prior_scale": [0.5, 1.0]}, cv=2).fit(X[80:], y[80:])
    assert search.best_estimator_.model is model
    assert pickle.loads(pickle.dumps(doubt)).predict(X).shape == (200,)


def test_what_a_model_takes_the_doubt_takes():
    X, y = drawn(240)
    X[::7, 0] = np.nan
    holes = HistGradientBoostingRegressor(max_iter=10).fit(X[:80], y[:80])
    assert np.isfinite(doubt_of(holes).fit(X[80:], y[80:]).predict_quantiles(X)).all()
    frame = pd.DataFrame(
        {
            "city": pd.Categorical(np.where(X[:, 1] > 0, "Rome", "Oslo")),
            "day": pd.to_datetime("2024-01-01") + pd.to_timedelta(np.arange(240), "D"),
            "many": pd.array([None, *range(239)], dtype="Int64"),
            "yes": X[:, 2] > 0,
            "note": [f"note {i}" for i in range(240)],
            "size": X[:, 2],
        }
    )
    by_city = {"Rome": 0.5, "Oslo": -0.5}
    model = lambda X: X["size"].to_numpy() + X["city"].map(by_city).to_numpy(float)  # noqa: E731
    doubt = doubt_of(model).fit(frame, y)
    assert doubt.feature_names_in_.tolist() == list(frame)
    said = doubt.predict_quantiles(frame)
    np.testing.assert_array_equal(said, doubt.predict_quantiles(frame[list(frame)[::-1]]))
    later = frame.assign(note="new", many=pd.array([None] * 240, dtype="Int64"))
    assert np.isfinite(doubt.predict_quantiles(later)).all()
    again = DoubtRegressor.from_state(*doubt.to_state(), model)
    np.testing.assert_array_equal(again.predict_quantiles(frame), said)


def test_how_a_table_becomes_numbers():
    table = MixedTable.of(
        pd.DataFrame({"a": ["x"] * 5 + ["y"] * 5 + ["z", None], "b": [1.0, np.nan] + [3.0] * 10})
    )
    new = pd.DataFrame({"a": ["y", "z", "w", None], "b": [2.0, None, 4.0, 5.0]})
    expected = [[0, 1, 0, 2, 0], [0, 0, 0, 3, 1], [0, 0, 0, 4, 0], [0, 0, 1, 5, 0]]
    np.testing.assert_array_equal(table.features(new), expected)
    pa = pytest.importorskip("pyarrow")
    np.testing.assert_array_equal(table.features(pa.Table.from_pandas(new)), expected)


@pytest.mark.parametrize(
    "model", [LinearRegression(), HistGradientBoostingRegressor(max_iter=20)], ids=["ols", "gbm"]
)
def test_rows_that_the_model_was_fitted_on_give_themselves_away(model):
    X, y = drawn(300)
    model.fit(X[:150], y[:150])
    with pytest.warns(HunchWarning, match="add up to nothing, as they do on rows that it was"):
        doubt_of(model).fit(X[:150], y[:150])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        doubt_of(model).fit(X[150:], y[150:])


def test_a_model_that_is_right_to_the_last_digit_is_asked_about():
    X, y = drawn(100)
    with pytest.warns(HunchWarning, match="right to the last digit on 100% of the rows"):
        doubt = doubt_of(KNeighborsRegressor(1).fit(X, y)).fit(X, y)
    low, high = doubt.predict_interval(X)
    assert np.isfinite(high - low).all()
    assert (high >= low).all()


def test_misuse_is_refused_by_a_sentence():
    X, y = drawn(60)
    model = lambda X: X[:, 2]  # noqa: E731
    cases = [
        (ConfigurationError, "`model` got 'model.pkl'", lambda: doubt_of("model.pkl").fit(X, y)),
        (ConfigurationError, "`cv` got 1", lambda: doubt_of(model, cv=1).fit(X, y)),
        (
            ConfigurationError,
            "`ensemble` got",
            lambda: doubt_of(model, ensemble=FEW_CLASSES).fit(X, y),
        ),
        (ShapeError, "one output, so make one for each", lambda: doubt_of(model).fit(X, X)),
        (ShapeError, "60 rows and `y` 59", lambda: doubt_of(model).fit(X, y[1:])),
        (
            DataError,
            "`y` holds nan in row 3",
            lambda: doubt_of(model).fit(X, np.where(np.arange(60) == 3, np.nan, y)),
        ),
        (
            DataError,
            "prediction holds -inf in row 0",
            lambda: doubt_of(lambda X: X[:, 2] / 0).fit(X, y),
        ),
        (
            ShapeError,
            "prediction has 1 rows; expected 60",
            lambda: doubt_of(lambda X: X[:1, 2]).fit(X, y),
        ),
        (DataError, "19 different rows", lambda: doubt_of(model).fit(X[:19], y[:19])),
        (DataError, r"got shape \(60,\)", lambda: doubt_of(lambda X: X).fit(y, y)),
        (
            DataError,
            "`X` has 2 columns; expected 3",
            lambda: doubt_of(lambda X: X[:, 0]).fit(X, y).predict_interval(X[:, :2]),
        ),
        (
            ConfigurationError,
            "`coverage` got 1",
            lambda: doubt_of(model).fit(X, y).predict_interval(X, 1),
        ),
    ]
    for kind, words, act in cases:
        with np.errstate(divide="ignore"), pytest.raises(kind, match=words):
            act()


@pytest.mark.slow
def test_the_classifiers_probabilities_are_its_own_and_its_doubt_is_calibrated():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1200, 4))
    y = np.array(["no", "yes"])[(X[:, 0] + rng.normal(size=1200) > 0).astype(int)]
    model = HistGradientBoostingClassifier(random_state=0).fit(X[:300], y[:300])
    doubt = DoubtClassifier(model, random_state=0).fit(X[300:700], y[300:700])
    new, truth = X[700:], y[700:]
    np.testing.assert_array_equal(doubt.predict_proba(new), model.predict_proba(new))
    np.testing.assert_array_equal(doubt.predict(new), model.predict(new))
    p = doubt.predict_distribution(new)
    assert log_loss(truth, p.probs.numpy()) < 0.9 * log_loss(truth, model.predict_proba(new))
    far = doubt.predict_distribution(new + 30)
    assert far.epistemic.median() > 5 * p.epistemic.median()
    sets = doubt.predict_sets(new, coverage=0.9)
    held = sets[np.arange(500), np.searchsorted(doubt.classes_, truth)].mean()
    assert 0.84 < held < 0.96  # as above: three standard deviations of 0.02


def test_a_function_of_classes_and_classes_that_the_rows_lack(iris):
    model, X, y, new, _ = iris
    doubt = class_doubt_of(model.predict_proba, classes=[0, 1, 2])
    doubt.fit(X[y < 2], y[y < 2])  # the third never comes
    p = doubt.predict_distribution(new).probs
    assert p.shape == (50, 3)
    assert bool(torch.isfinite(p).all())
    np.testing.assert_array_equal(doubt.predict(new), model.predict(new))
    assert clone(doubt).get_params(deep=False)["classes"] == [0, 1, 2]
    with pytest.raises(ShapeError, match=r"shape \(50, 3\); expected \(50, 2\)"):
        class_doubt_of(model.predict_proba, classes=[0, 1]).fit(X[:50], np.arange(50) % 2)
    with pytest.raises(DataError, match="`y` holds the class 7"):
        class_doubt_of(model).fit(X, np.where(y == 2, 7, y))
    with pytest.raises(DataError, match="holds 1 class in more than one row"):
        class_doubt_of(model).fit(X, np.zeros(50, int))
    with pytest.raises(ConfigurationError, match="`predict_proba`, or a function"):
        class_doubt_of(object()).fit(X, y)


def test_rows_of_a_group_are_tested_together():
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(30), 10)
    marks = rng.normal(size=(30, 6))[group]  # by which a group is known
    X = np.column_stack([marks, rng.normal(size=300)])
    y = X[:, 6] + 2 * rng.normal(size=30)[group] + 0.1 * rng.normal(size=300)
    model = lambda X: X[:, 6]  # noqa: E731
    settings = dict(ensemble=RandomizedPriorRegressor(4, max_iter=40), cv=3)
    names = np.array([f"clinic {g}" for g in group])
    apart = doubt_of(model, **settings).fit(X, y, groups=names)
    low, high = apart.predict_interval(X)
    wide = np.median(high - low)
    low, high = doubt_of(model, **settings).fit(X, y).predict_interval(X)
    assert wide > 5  # 90 % of new groups lie within 6.6
    assert np.median(high - low) < 0.6 * wide  # as if groups were known
    with pytest.raises(DataError, match="2 different groups; expected at least 5"):
        doubt_of(model, cv=5).fit(X, y, groups=group > 3)
    with pytest.raises(ShapeError, match="300 rows and `groups` 30"):
        doubt_of(model).fit(X, y, groups=group[:30])


@pytest.mark.parametrize("most", [1.0, np.inf], ids=["shares", "prices"])
def test_nothing_is_said_beyond_the_support(most):
    X, y = drawn(200)
    y = np.minimum(np.maximum(y, 0.0), most)
    model = lambda X: X[:, 2]  # noqa: E731
    doubt = doubt_of(model).fit(X, y)
    again = DoubtRegressor.from_state(*doubt.to_state(), model)
    far = np.concatenate([X, 30 * X])
    for own in (doubt, again):
        low, high = own.predict_interval(far, 0.99)
        quantiles = own.predict_quantiles(far, [0.001, 0.5, 0.999])
        assert low.min() == quantiles.min() == 0
        assert max(high.max(), quantiles.max()) <= most
