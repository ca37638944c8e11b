"""The estimators as scikit-learn's own tools see them."""

import json
import pickle
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
import torch

pytest.importorskip("sklearn")
from safetensors.torch import load_file, save_file
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris, load_linnerud
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import hunch
from hunch.errors import MissingDependencyError

SMALL = dict(n_estimators=8, max_iter=30, random_state=0)


def regressor(**settings):
    return hunch.RandomizedPriorRegressor(**(SMALL | settings))


def classifier(**settings):
    return hunch.RandomizedPriorClassifier(**(SMALL | settings))


@pytest.fixture(scope="module")
def diabetes():
    return load_diabetes(return_X_y=True)


@pytest.fixture(scope="module")
def iris():
    return load_iris(return_X_y=True)


@pytest.fixture(scope="module")
def fitted(diabetes):
    return regressor().fit(*diabetes)


@pytest.fixture(scope="module")
def fitted_classifier(iris):
    return classifier().fit(*iris)


@pytest.mark.every(4)
@parametrize_with_checks(
    [
        hunch.RandomizedPriorRegressor(n_estimators=8, max_iter=30),
        hunch.RandomizedPriorClassifier(n_estimators=8, max_iter=30),
    ]
)
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


@pytest.mark.proof
@parametrize_with_checks([hunch.RandomizedPriorRegressor(), hunch.RandomizedPriorClassifier()])
def test_scikit_learns_own_checks_at_the_defaults(estimator, check):
    check(estimator)


@pytest.mark.filterwarnings("ignore:.*that no row of `fit` had")
@pytest.mark.parametrize(
    "case", ["any number", "none below 0", "unseen words", "two outputs", "far out"]
)
def test_the_mean_alone_is_that_of_all_that_is_said(case):
    """Where it is found without the members' priors, and where not."""
    rng = np.random.default_rng(0)
    X, new = rng.normal(size=(80, 3)), rng.normal(size=(50, 3))
    y = X[:, 0] + 0.1 * rng.normal(size=80)
    if case == "none below 0":
        y = np.exp(y)
    if case == "two outputs":
        y = np.stack([y, X[:, 1]], axis=1)
    if case == "far out":
        new[3] *= 1e39  # too far for float32
    if case == "unseen words":
        X, new = (pd.DataFrame(own, columns=list("uvw")) for own in (X, new))
        X["word"], new["word"] = rng.choice(["a", "b", "c"], 80), "d"
    model = regressor().fit(X, y)
    whole = model.predict_distribution(new)
    np.testing.assert_allclose(model.predict(new), whole.mean, rtol=1e-10, atol=1e-12)
    np.testing.assert_array_equal(model.predict(new, return_std=True)[0], whole.mean)


def test_everything_returned_is_float64_and_shaped_like_y(fitted, diabetes):
    X, _ = diabetes
    mean, std = fitted.predict(X[:7], return_std=True)
    low, high = fitted.predict_interval(X[:7])
    found = {
        (7,): [mean, std, low, high, fitted.predict(X[:7])],
        (7, 3): [fitted.predict_quantiles(X[:7])],
        (7, 5): [fitted.sample_y(X[:7], 5)],
        (8, 7): [fitted.predict_members(X[:7])],
        (7, 7): [fitted.predict(X[:7], return_cov=True)[1]],
    }
    for shape, arrays in found.items():
        for array in arrays:
            assert array.shape == shape
            assert array.dtype == np.float64


def test_several_outputs_are_like_y():
    X, y = load_linnerud(return_X_y=True)
    model = regressor().fit(X, y)
    mean, std = model.predict(X, return_std=True)
    assert mean.shape == std.shape == model.oob_prediction_.shape == (20, 3)
    assert model.predict_quantiles(X, 0.5).shape == (20, 3, 1)
    ends = model.predict_interval(X)
    for own, end in zip(model.predict_distribution(X).interval(0.9), ends, strict=True):
        np.testing.assert_array_equal(own, end)
    assert ends[0].shape == (20, 3)
    assert model.predict_members(X).shape == (8, 20, 3)
    assert model.sample_y(X, 4).shape == (20, 3, 4)
    assert model.predict(X, return_cov=True)[1].shape == (20, 20, 3)
    # A column of targets is still two-dimensional, as for scikit-learn's own.
    assert regressor().fit(X, y[:, :1]).predict(X).shape == (20, 1)


def test_figures_agree_with_each_other(fitted, diabetes):
    X, _ = diabetes
    mean, std = fitted.predict(X, return_std=True)
    np.testing.assert_allclose(fitted.predict_members(X).mean(axis=0), mean)
    np.testing.assert_allclose(np.diag(fitted.predict(X, return_cov=True)[1]), std**2, rtol=1e-9)
    p = fitted.predict_distribution(X)
    np.testing.assert_allclose(p.epistemic**2 + p.aleatoric**2, std**2)
    low, high = fitted.predict_interval(X, coverage=0.8)
    quantiles = fitted.predict_quantiles(X, [0.1, 0.5, 0.9])
    np.testing.assert_allclose(np.stack([low, high], axis=1), quantiles[:, [0, 2]])
    np.testing.assert_array_equal(np.stack(p.interval(0.8)), (low, high))
    assert (np.diff(quantiles, axis=1) > 0).all()
    np.testing.assert_array_equal(fitted.sample_y(X[:5], 3), fitted.sample_y(X[:5], 3))


def test_members_disagree_where_there_are_no_data(fitted, diabetes):
    X, _ = diabetes
    near = fitted.predict_distribution(X).epistemic.mean()
    far = fitted.predict_distribution(X + 10 * X.std(axis=0)).epistemic.mean()
    assert far > 3 * near


@pytest.mark.parametrize("make", [regressor, classifier])
def test_the_same_seed_is_the_same_and_the_global_states_are_left_alone(make, iris):
    numpy_before = np.random.get_state()[1].copy()  # noqa: NPY002
    torch_before, threads = torch.get_rng_state(), torch.get_num_threads()
    a, b, other = (make(random_state=s).fit(*iris) for s in (0, 0, 1))
    X = iris[0]
    np.testing.assert_array_equal(a.predict_members(X), b.predict_members(X))
    assert (a.predict_members(X) != other.predict_members(X)).any()
    make(random_state=None).fit(*iris)
    np.testing.assert_array_equal(numpy_before, np.random.get_state()[1])  # noqa: NPY002
    assert torch.equal(torch_before, torch.get_rng_state())
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("make", [regressor, classifier])
def test_order_does_not_matter_and_whole_weights_are_repetitions(make, iris):
    X, y = iris
    rng = np.random.default_rng(0)
    order, weight = rng.permutation(len(X)), rng.integers(0, 3, len(X))
    plain = make().fit(X, y).predict_members(X)
    np.testing.assert_array_equal(make().fit(X[order], y[order]).predict_members(X), plain)
    weighted = make().fit(X, y, sample_weight=weight)
    repeated = make().fit(np.repeat(X, weight, axis=0), np.repeat(y, weight))
    np.testing.assert_array_equal(weighted.predict_members(X), repeated.predict_members(X))
    assert weighted.oob_score_ == repeated.oob_score_


def test_weights_that_are_not_whole_weigh():
    # Two answers for one question: the prediction is their weighted mean.
    X, y = np.zeros((400, 1)), np.tile([0.0, 1.0], 200)
    weight = np.tile([0.25, 0.75], 200)
    model = regressor(n_estimators=50, max_iter=100).fit(X, y, sample_weight=weight)
    assert abs(model.predict(X[:1])[0] - 0.75) < 0.05


def test_out_of_bag_figures_are_in_the_callers_order(diabetes):
    X, y = diabetes
    model = regressor(n_estimators=30).fit(X, y)
    assert np.corrcoef(model.oob_prediction_, y)[0, 1] > 0.6
    assert 0.3 < model.oob_score_ < model.score(X, y)
    # A row of weight 0 was seen by nobody, and one that all saw has none.
    weight = np.ones(len(X))
    weight[3] = 0
    assert np.isnan(regressor().fit(X, y, sample_weight=weight).oob_prediction_[3])


def test_out_of_bag_classes(iris):
    model = classifier(n_estimators=30).fit(*iris)
    assert model.oob_score_ > 0.9
    right = model.oob_decision_function_.argmax(axis=1) == iris[1]
    # Two rows of iris are copies: one datum of weight 2, which rounds otherwise.
    assert right.mean() == pytest.approx(model.oob_score_, rel=1e-14)
    np.testing.assert_allclose(model.oob_decision_function_.sum(axis=1), 1)


def test_classes_may_be_words(iris):
    X, y = iris
    names = np.array(["setosa", "versicolor", "virginica"])
    model = classifier().fit(X, names[y])
    assert list(model.classes_) == sorted(names)
    assert (model.predict(X) == names[y]).mean() > 0.9
    np.testing.assert_allclose(np.exp(model.predict_log_proba(X)), model.predict_proba(X))
    np.testing.assert_allclose(model.predict_members(X).mean(axis=0), model.predict_proba(X))
    p = model.predict_distribution(X)
    np.testing.assert_allclose(p.entropy, p.aleatoric + p.epistemic, atol=1e-9)


def test_frames_in_and_scikit_learns_words_for_other_columns(fitted, diabetes):
    X, y = load_diabetes(return_X_y=True, as_frame=True)
    model = regressor().fit(X, y)
    assert list(model.feature_names_in_) == list(X.columns)
    np.testing.assert_array_equal(model.predict(X), model.predict(X.copy()))
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(X[X.columns[::-1]])
    with pytest.raises(ValueError, match="is expecting 10 features"):
        fitted.predict(diabetes[0][:, :5])


def test_pipelines_searches_clones_and_pickles(diabetes, fitted):
    X, y = diabetes
    pipeline = make_pipeline(StandardScaler(), regressor()).set_output(transform="pandas")
    assert cross_val_score(pipeline, X, y, cv=2).min() > 0.2
    search = GridSearchCV(regressor(n_estimators=3, max_iter=5), {"prior_scale": [0.0, 1.0]}, cv=2)
    assert search.fit(X, y).best_params_.keys() == {"prior_scale"}
    assert clone(fitted).get_params() == fitted.get_params()
    with pytest.raises(NotFittedError):
        clone(fitted).predict(X)
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict_quantiles(X), fitted.predict_quantiles(X))


@pytest.mark.parametrize("kind", ["several outputs", "constant noise", "words"])
def test_a_state_of_tensors_and_plain_values_is_the_whole_estimator(kind, tmp_path, iris):
    X, y = iris
    if kind == "words":
        model, y, ask = classifier(), np.array(["a", "bc", "d"])[y], "predict_proba"
    elif kind == "several outputs":
        model, y, ask = regressor(hidden_layer_sizes=7), X[:, 2:], "predict_quantiles"
    else:
        model, y, ask = regressor(noise="constant"), y * 1.0, "predict_quantiles"
    tensors, values = model.fit(X, y).to_state()
    save_file(tensors, tmp_path / "tensors")
    again = model.from_state(load_file(tmp_path / "tensors"), json.loads(json.dumps(values)))
    assert again.get_params() == model.get_params()
    assert again.oob_score_ == model.oob_score_
    np.testing.assert_array_equal(getattr(again, ask)(X), getattr(model, ask)(X))
    # Both go on in the same way.
    one, other = (m.partial_fit(X, y).predict(X) for m in (again, model))
    np.testing.assert_array_equal(one, other)


def test_a_state_keeps_column_names_and_needs_no_out_of_bag_figures(iris):
    frame = pd.DataFrame(iris[0], columns=list("abcd"))
    model = regressor().partial_fit(frame, iris[1])
    again = model.from_state(*model.to_state())
    assert list(again.feature_names_in_) == list("abcd")
    with pytest.raises(NotFittedError):
        regressor().to_state()


def test_partial_fit_learns_and_keeps_what_it_started_with(diabetes):
    X, y = diabetes
    model = regressor(n_estimators=20)
    for epoch in range(12):
        for part in np.array_split(np.arange(len(X)), 4):
            model.partial_fit(X[part], y[part])
        if epoch == 0:
            first = model.score(X, y)
            scale = model._input_scale
    assert model.score(X, y) > max(first, 0.4)
    assert model._input_scale is scale
    assert model.n_iter_ == 48
    low, high = model.predict_interval(X)
    assert 0.8 < np.mean((low <= y) & (y <= high)) < 0.99


def test_partial_fit_of_classes_that_come_later(iris):
    X, y = iris
    model = classifier(n_estimators=20)
    with pytest.raises(ValueError, match=r"`classes` got None in the first call"):
        model.partial_fit(X, y)
    model.partial_fit(X[:100], y[:100], classes=[0, 1, 2])
    assert model.predict_proba(X).shape == (150, 3)
    for _ in range(20):
        for part in (slice(0, 150, 2), slice(1, 150, 2)):
            model.partial_fit(X[part], y[part])
    assert model.score(X, y) > 0.9
    with pytest.raises(ValueError, match="the class 7; expected one of"):
        model.partial_fit(X[:2], [7, 7])


MISTAKES = {
    "strings for a regressor": (
        regressor(),
        ["cheap", "dear"] * 10,
        "use\\s+RandomizedPriorClassifier",
    ),
    "NaN in y": (regressor(), [1.0, np.nan] * 10, "contains NaN"),
    "one class": (classifier(), ["yes"] * 20, "holds 1 class"),
    "prices for a classifier": (classifier(), np.linspace(0, 1, 20), "Unknown label type"),
    "no such activation": (regressor(activation="swish"), np.arange(20.0), "one of elu, gelu"),
    "no such bootstrap": (regressor(bootstrap="none"), np.arange(20.0), "one of multinomial"),
    "no such noise": (regressor(noise="big"), np.arange(20.0), "learned or constant"),
    "no members": (regressor(n_estimators=0), np.arange(20.0), "`n_estimators` got 0"),
    "half a layer": (regressor(hidden_layer_sizes=(5, 0.5)), np.arange(20.0), "got 0.5"),
    "a batch of text": (regressor(batch_size="all"), np.arange(20.0), "or 'auto'"),
    "a negative penalty": (regressor(alpha=-1.0), np.arange(20.0), "`alpha` got -1.0"),
    "no step": (regressor(learning_rate_init=0.0), np.arange(20.0), "above 0"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_named_in_one_sentence(mistake):
    model, y, words = MISTAKES[mistake]
    X = np.random.default_rng(0).normal(size=(20, 3))
    with pytest.raises(ValueError, match=words):
        model.fit(X, y)


def test_other_mistakes(fitted, diabetes):
    X, y = diabetes
    with pytest.raises(ValueError, match="at most one of them"):
        fitted.predict(X, return_std=True, return_cov=True)
    with pytest.raises(ValueError, match="`coverage` got 90"):
        fitted.predict_interval(X, coverage=90)
    with pytest.raises(ValueError, match="`quantiles` got"):
        fitted.predict_quantiles(X, [0.5, 1.0])
    with pytest.raises(ValueError, match="at least one"):
        regressor().fit(X, y, sample_weight=np.zeros(len(X)))
    with pytest.raises(ValueError, match="2 outputs; expected 1"):
        clone(fitted).partial_fit(X, y).partial_fit(X, np.stack([y, y], axis=1))
    with pytest.raises(ValueError, match="learned or constant"):
        regressor(noise="big").partial_fit(X, y)
    with pytest.raises(ValueError, match="could not convert string to float"):
        regressor().fit([["x"], ["y"], ["z"]], [1.0, 2.0, 3.0])


def test_odd_tables_are_learned_from():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 2))
    constant = regressor().fit(X, np.full(40, 7.0))
    np.testing.assert_allclose(constant.predict(X), 7.0, atol=0.2)
    assert np.isfinite(constant.predict_quantiles(X)).all()
    X[:, 1] = 1e6  # a column that says nothing
    assert np.isfinite(regressor().fit(X, X[:, 0]).predict(X)).all()
    tiny = regressor(n_estimators=1).fit([[0.0], [1.0]], [0.0, 1.0])
    assert np.isfinite(tiny.predict_interval([[0.5]], coverage=0.99)).all()
    large = regressor().fit(X[:, :1] * 1e12, X[:, 0] * 1e-12)
    assert large.score(X[:, :1] * 1e12, X[:, 0] * 1e-12) > 0.8


def test_verbose_shows_a_bar_and_the_default_is_silent(diabetes, capsys, monkeypatch):
    monkeypatch.setattr(
        "hunch.progress.PERIOD", 0.0
    )  # a line at the end, where there is no terminal
    regressor(max_iter=2).fit(*diabetes)
    assert capsys.readouterr().err == ""
    regressor(max_iter=2, verbose=True).fit(*diabetes)
    assert "fitting" in capsys.readouterr().err


def test_hunch_is_light_and_names_the_missing_package():
    code = (
        "import sys; sys.modules['sklearn'] = None\n"
        "import hunch\n"
        "assert 'torch' not in sys.modules and 'RandomizedPriorRegressor' in hunch._ESTIMATORS\n"
        "try: hunch.RandomizedPriorRegressor\n"
        "except ImportError as error: print(type(error).__name__, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(MissingDependencyError.__name__)
    assert 'pip install "torch-hunch[sklearn]"' in done.stdout


def test_no_warning_in_an_ordinary_day(diabetes, iris):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        regressor().fit(*diabetes).predict_interval(diabetes[0], coverage=0.999)
        classifier().fit(*iris).predict(iris[0])


@pytest.mark.parametrize("make", [regressor, classifier])
def test_a_cell_that_lies_does_not_take_its_column_away(make, iris):
    X, y = iris
    X, test = X.copy(), X[1::2]
    plain = make(max_iter=60).fit(X[::2], y[::2])
    X[4, 2] = -99_999.0
    with pytest.warns(UserWarning, match=r"holds -99999 in row 2, column 2"):
        odd = make(max_iter=60).fit(X[::2], y[::2])
    assert odd.score(test, y[1::2]) > plain.score(test, y[1::2]) - 0.05
    assert abs(odd._input_scale.std[2] / plain._input_scale.std[2] - 1) < 0.1
    again = odd.from_state(*odd.to_state())
    np.testing.assert_array_equal(again.predict(X), odd.predict(X))


def test_numbers_beyond_computing_are_refused_at_the_door(diabetes, fitted):
    X, y = diabetes
    large = X.copy()
    large[3, 1] = 1e160
    with pytest.raises(ValueError, match=r"`X` holds 1e\+160 in row 3, column 1"):
        regressor().fit(large, y)
    with pytest.raises(ValueError, match=r"`X` holds 1e\+160"):
        fitted.predict(large)
    with pytest.raises(ValueError, match=r"`y` holds 1e\+300 in row 0"):
        regressor().fit(X, np.append(1e300, y[1:]))


def test_partial_fit_forgets_what_was_out_of_bag_and_looks_at_classes(iris):
    model = classifier().fit(*iris)
    model.partial_fit(*iris, classes=[2, 1, 0])
    assert not hasattr(model, "oob_score_")
    assert not hasattr(model, "oob_decision_function_")
    with pytest.raises(ValueError, match=r"`classes` got \[0, 1, 5\]; expected \[0, 1, 2\]"):
        model.partial_fit(*iris, classes=[0, 1, 5])
    assert not hasattr(regressor().fit(*iris).partial_fit(*iris), "oob_prediction_")


def test_packages_are_attributes():
    code = "import hunch; print(hunch.tables.fit_table.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "fit_table"


@pytest.mark.parametrize("value", [1.0, 1e6 + 0.1, 1e-9])
def test_a_constant_column_has_no_width(value):
    # Rounding in its weighted mean once was its width: then the next float was "far away".
    x, y = load_iris(return_X_y=True)
    with_one = np.c_[x, np.full(len(x), value)]
    model = classifier().fit(with_one, y)
    moved = with_one + np.array([0, 0, 0, 0, 1e-3])
    np.testing.assert_allclose(model.predict_proba(moved), model.predict_proba(with_one), atol=0.02)
