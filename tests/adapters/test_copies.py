"""Rows that repeat: one bootstrap draw, one side of every split, whatever their number.

The exact tests have no chance in them. The coverage of fresh rows is a mean over 40 or more rows of
one fixed seed; its bounds are more than four standard errors away.
"""

from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("sklearn")
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, make_friedman1

import hunch
from hunch.errors import DataError, ShapeError
from hunch.inference import bootstrap_weights, copy_ids, fit
from hunch.nn import MLP, Ensemble

SMALL = dict(n_estimators=8, max_iter=8, random_state=0)
UCI = Path("/work/shared/data/uci")


def regressor(**settings):
    return hunch.RandomizedPriorRegressor(**(SMALL | settings))


def classifier(**settings):
    return hunch.RandomizedPriorClassifier(**(SMALL | settings))


def categories(n, seed, kind):
    """A table of 16 different rows of features, as a survey is."""
    rng = np.random.default_rng(seed)
    X = np.stack([rng.integers(0, 4, n), rng.integers(0, 2, n), rng.integers(0, 2, n)], axis=1)
    score = X @ [1.0, -1.0, 0.5]
    if kind == "classes":
        return X.astype(float), (rng.random(n) < 1 / (1 + np.exp(-(score - 0.5)))).astype(int)
    return X.astype(float), score + rng.normal(size=n)


def variants(X, y):
    for times in (2, 4):
        yield f"rows {times} times", np.repeat(X, times, axis=0), np.repeat(y, times, axis=0), None
    for weight in (2, 5, 10):
        yield f"weight {weight}", X, y, np.full(len(X), weight)
    yield "both", np.tile(X, (3, 1)), np.tile(y, 3), np.full(3 * len(X), 2)


@pytest.mark.parametrize("table", ["numbers", "classes", "categories", "classes of categories"])
def test_a_table_several_times_over_is_the_table(table):
    make = classifier if "classes" in table else regressor
    if "categories" in table:
        X, y = categories(150, 0, "classes" if make is classifier else "numbers")
    else:
        X, y = (load_iris if make is classifier else load_diabetes)(return_X_y=True)
    once = make().fit(X, y)
    for name, more_X, more_y, weight in list(variants(X, y))[1::2]:
        again = make().fit(more_X, more_y, sample_weight=weight)
        np.testing.assert_array_equal(again.predict_members(X), once.predict_members(X), name)
        assert again.oob_score_ == once.oob_score_, name
        if make is regressor:
            np.testing.assert_array_equal(again.predict_quantiles(X), once.predict_quantiles(X))


def test_a_copy_of_one_row_is_a_weight_of_two_and_says_the_same_out_of_bag():
    X, y = load_diabetes(return_X_y=True)
    X, y = X[:100], y[:100]
    twice = regressor().fit(np.append(X, X[7:8], axis=0), np.append(y, y[7]))
    weight = np.ones(100)
    weight[7] = 2
    weighed = regressor().fit(X, y, sample_weight=weight)
    np.testing.assert_array_equal(twice.predict_members(X), weighed.predict_members(X))
    assert twice.oob_prediction_[7] == twice.oob_prediction_[100] == weighed.oob_prediction_[7]
    assert (weighed.predict(X) != regressor().fit(X, y).predict(X)).any()


def test_one_row_of_a_hundred_copies_does_not_set_the_intervals_of_all_others():
    X, y = make_friedman1(700, noise=1.0, random_state=0)
    weight = np.ones(300)
    weight[11] = 200
    covered, widths = [], []
    for w in (None, weight):
        model = regressor(n_estimators=10, max_iter=40).fit(X[:300], y[:300], sample_weight=w)
        low, high = model.predict_interval(X[300:])
        covered.append(np.mean((low <= y[300:]) & (y[300:] <= high)))
        widths.append(np.mean(high - low))
        assert abs(model.oob_score_ - model.score(X[300:], y[300:])) < 0.1
    assert abs(covered[1] - covered[0]) < 0.06
    assert 0.8 < widths[1] / widths[0] < 1.25


def test_going_over_a_table_again_and_again_keeps_what_was_left_out():
    X, y = load_diabetes(return_X_y=True)
    rng = np.random.default_rng(0)
    order = rng.permutation(len(X))
    train, test = order[:240], order[240:]
    model = regressor(n_estimators=10, noise="constant", hidden_layer_sizes=50)
    for _ in range(25):
        for part in np.array_split(rng.permutation(train), 3):
            model.partial_fit(X[part], y[part])
    low, high = model.predict_interval(X[test])
    assert np.mean((low <= y[test]) & (y[test] <= high)) > 0.82


def test_copies_share_a_number_and_observations_that_agree_do_not():
    X, y = load_diabetes(return_X_y=True)
    ids = copy_ids(np.tile(X, (3, 1)), np.tile(y, 3))
    assert len(set(ids)) == len(X)
    assert (ids[: len(X)] == copy_ids(X, y)).all()
    # Where they stand does not matter, nor what else is there.
    assert (copy_ids(X[::-2], y[::-2]) == ids[: len(X)][::-2]).all()
    # Rounding of the last digits does not make another row.
    assert len(set(copy_ids(np.tile(X, (2, 1)), np.append(y, y / 3 * 3)))) == len(X)
    near = np.concatenate([X, X * (1 + 1e-9)])
    assert len(set(copy_ids(near, np.tile(y, 2)))) == len(X)
    # One cell of the order of 1e12 makes nothing alike.
    X = X.copy()
    X[0, 0] = 1e12
    assert len(set(copy_ids(X, y))) == len(X)
    for kind in ("classes", "numbers"):
        X, y = categories(400, 1, kind)
        assert len(set(copy_ids(X, y))) == 400
        assert len(set(copy_ids(np.repeat(X, 4, axis=0), np.repeat(y, 4)))) == 400


def test_copies_of_numbers_among_repeated_features_are_seen():
    # Each input measured three times, and a third of the rows written down once more.
    rng = np.random.default_rng(0)
    X = np.repeat(rng.normal(size=(100, 2)), 3, axis=0)
    y = X[:, 0] + rng.normal(size=300)
    assert len(set(copy_ids(X, y))) == 300
    assert len(set(copy_ids(np.append(X, X[:100], axis=0), np.append(y, y[:100])))) == 300


def test_a_survey_is_judged_by_people_like_those_it_has_seen():
    # 16 different rows of features, and 32 of features and class: were equal ones one datum, those
    # who leave out a class of a cell would be sure of the other.
    X, y = categories(900, 2, "classes")
    model = classifier(n_estimators=15, max_iter=40).fit(X[:500], y[:500])
    p = model.predict_proba(X[500:])[np.arange(400), y[500:]]
    of_cell = {tuple(x): y[500:][(X[500:] == x).all(axis=1)].mean() for x in np.unique(X, axis=0)}
    rate = np.array([of_cell[tuple(x)] for x in X[500:]])
    best = np.where(y[500:] == 1, rate, 1 - rate)
    assert -np.log(p).mean() < -np.log(best).mean() + 0.05
    assert abs(model.oob_score_ - model.score(X[500:], y[500:])) < 0.1


def test_mistakes_about_copies():
    with pytest.raises(ShapeError, match="`x` has 3 rows and `y` has 2"):
        copy_ids(np.zeros((3, 1)), np.zeros(2))
    with pytest.raises(DataError, match="`y` holds NaN or inf"):
        copy_ids(np.zeros((2, 1)), [0.0, np.nan])
    with pytest.raises(DataError, match="at least one row"):
        copy_ids(np.zeros((0, 1)), np.zeros(0))


def test_fit_takes_the_numbers_of_copies():
    X, y = torch.randn(20, 1, generator=torch.Generator().manual_seed(0)), torch.zeros(40, 1)
    X = torch.cat([X, X])
    ids = copy_ids(X, y)
    weights = bootstrap_weights("poisson", 5, ids)
    assert (weights[:, :20] == weights[:, 20:]).all()
    fit(
        Ensemble(lambda: MLP(1, [4], 1), 5), X, y, ids=ids, bootstrap="poisson", steps=2, patience=9
    )


def _uci(name):
    table = np.loadtxt(UCI / name / "data.txt")
    features = np.loadtxt(UCI / name / "index_features.txt").astype(int)
    return table[:, features], table[:, int(np.loadtxt(UCI / name / "index_target.txt"))]


def _tables():
    rng = np.random.default_rng(0)
    X = rng.uniform(-2, 2, (1000, 3))
    spread = 0.1 + 0.4 * np.abs(X[:, 2])
    yield "diabetes", *load_diabetes(return_X_y=True)
    for name in ("yacht", "concrete", "energy", "wine-quality-red"):
        if UCI.exists():
            yield name, *_uci(name)
    yield "friedman", *make_friedman1(1000, noise=1.0, random_state=0)
    yield "spread", X, np.sin(2 * X[:, 0]) + X[:, 1] + spread * rng.normal(size=1000)
    yield "categories", *categories(1000, 3, "numbers")


def _judged(X, y, weight, test_X, test_y):
    model = regressor(n_estimators=20, max_iter="auto").fit(X, y, sample_weight=weight)
    low, high = model.predict_interval(test_X)
    held_out = model.predict(test_X)
    return (
        100 * np.mean((low <= test_y) & (test_y <= high)),
        np.nanmean((model.oob_prediction_ - y) ** 2) ** 0.5,
        np.mean((held_out - test_y) ** 2) ** 0.5,
    )


@pytest.mark.proof
@pytest.mark.parametrize("name", [name for name, *_ in _tables()])
def test_coverage_of_fresh_rows_is_that_of_the_table_without_copies(name):
    """Means over three splits in halves; the bound of 3 points is the promise, not an error bar."""
    X, y = next((X, y) for found, X, y in _tables() if found == name)
    gaps = {}
    for seed in range(3):
        rng = np.random.default_rng(seed)
        train, test = np.array_split(rng.permutation(len(X))[:1000], 2)
        fresh = X[test], y[test]
        once = _judged(X[train], y[train], None, *fresh)
        assert 0.8 < once[1] / once[2] < 1.3
        one = np.ones(len(train), int)
        one[rng.integers(len(train))] = 200
        cases = {
            "one 200 times": (np.repeat(X[train], one, axis=0), np.repeat(y[train], one), None)
        }
        if seed == 0:  # the same to the last bit, so one split says it
            cases |= {case: rest for case, *rest in variants(X[train], y[train])}
        for case, (more_X, more_y, weight) in cases.items():
            covered, out_of_bag, held_out = _judged(more_X, more_y, weight, *fresh)
            gaps.setdefault(case, []).append(covered - once[0])
            if case != "one 200 times":
                assert 0.8 < out_of_bag / held_out < 1.3, case
    assert all(abs(np.mean(found)) <= 3 for found in gaps.values()), gaps


@pytest.mark.proof
def test_log_loss_of_fresh_rows_is_that_of_the_table_without_copies():
    X, y = load_breast_cancer(return_X_y=True)
    losses = {}
    for seed in range(3):
        train, test = np.array_split(np.random.default_rng(seed).permutation(len(X)), 2)
        one = np.ones(len(train), int)
        one[seed] = 200
        cases = {"once": (X[train], y[train], None)}
        cases |= {case: rest for case, *rest in variants(X[train], y[train])}
        cases["one 200 times"] = np.repeat(X[train], one, axis=0), np.repeat(y[train], one), None
        for case, (more_X, more_y, weight) in cases.items():
            model = classifier(n_estimators=20, max_iter="auto")
            model.fit(more_X, more_y, sample_weight=weight)
            p = model.predict_proba(X[test])[np.arange(len(test)), y[test]]
            losses.setdefault(case, []).append(-np.log(p).mean())
    means = {case: np.mean(found) for case, found in losses.items()}
    assert max(means.values()) < 1.15 * means["once"] + 0.01, means
