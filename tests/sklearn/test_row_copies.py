"""Rows that repeat: one bootstrap draw, one side of every split, whatever their number.

The exact tests have no chance in them. The coverage of fresh rows is a mean over 40 or more rows of
one fixed seed; its bounds are more than four standard errors away.
"""

import os
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
from hunch.sklearn.rows import as_rows

SMALL = dict(n_estimators=8, max_iter=8, random_state=0)
# A folder of the UCI tables with their standard splits; without it the proofs leave them out.
UCI = Path(os.environ.get("HUNCH_UCI", "uci"))


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


@pytest.mark.parametrize(
    "table",
    [
        pytest.param("numbers", marks=pytest.mark.slow),
        pytest.param("classes", marks=pytest.mark.slow),
        "categories",
        "classes of categories",
    ],
)
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


@pytest.mark.parametrize("weight", [3, 5, 7, 10])
def test_proportions_of_whole_weights_are_exact(weight):
    x, y = np.arange(476.0)[:, None], np.zeros((476, 1))
    x[:30] = 0.0
    once = as_rows(x, y, None)
    again = as_rows(np.repeat(x, weight, axis=0), np.repeat(y, weight, axis=0), None)
    np.testing.assert_array_equal(again.weight, once.weight)
    weighed = as_rows(x, y, np.full(476, float(weight)))
    np.testing.assert_array_equal(weighed.weight, once.weight)


@pytest.mark.slow
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


def _judged(X, y, test_X, test_y, **settings):
    """Coverage of fresh rows in percent, and squared errors out of bag and of fresh rows.

    Out of bag each datum counts once, and is predicted by some of the networks. So are fresh rows
    here, each by those that left out some datum; all networks together would err less. They are too
    few to see features in two ways, and alone.
    """
    alone = dict(n_estimators=9, boosting=False, max_iter="auto")
    model = regressor(**(alone | settings)).fit(X, y)
    low, high = model.predict_interval(test_X)
    rows = as_rows(X, y[:, None], None)
    absent = model._recipe(model._seed).weights(rows.ids).numpy() == 0
    known = absent.any(axis=0)
    datum = rows.source[np.unique(rows.place, return_index=True)[1]][known]
    absent = absent[:, known][:, np.arange(len(test_X)) % known.sum()]
    held_out = (model.predict_members(test_X) * absent).sum(axis=0) / absent.sum(axis=0)
    covered = 100 * np.mean((low <= test_y) & (test_y <= high))
    return covered, (model.oob_prediction_ - y)[datum] ** 2, (held_out - test_y) ** 2


def _chance(pairs, times=10_000):
    """How often two groups of errors differ as much in size if it is chance who is in which.

    Of exchangeable errors, however they are distributed, that is below p in a share p of all cases.

    Args:
        pairs: for each split the squared errors of the two groups.
        times: how often the groups are drawn anew.

    Returns:
        The share, and the ratio of the root mean squares, a mean over splits.
    """
    rng = np.random.default_rng(0)

    def apart(first, second):
        return np.log(first.mean(axis=-1) / second.mean(axis=-1)) / 2

    found, drawn = 0.0, 0.0
    for pair in pairs:
        both = rng.permuted(np.tile(np.concatenate(pair), (times, 1)), axis=1)
        found = found + apart(*pair) / len(pairs)
        drawn = drawn + apart(both[:, : len(pair[0])], both[:, len(pair[0]) :]) / len(pairs)
    return (1 + (abs(drawn) >= abs(found)).sum()) / (1 + times), np.exp(found)


def test_errors_of_one_kind_differ_by_chance_and_of_two_kinds_do_not():
    rng = np.random.default_rng(1)
    same = [(rng.exponential(size=150) ** 2, rng.exponential(size=150) ** 2) for _ in range(3)]
    assert _chance(same, 1000)[0] > 0.01
    other = [(first, 3 * second) for first, second in same]
    chance, ratio = _chance(other, 1000)
    assert chance == 1 / 1001
    assert 0.4 < ratio < 0.75


@pytest.mark.slow
def test_with_a_draw_for_each_copy_what_is_left_out_is_known_and_the_check_says_so(monkeypatch):
    X, y = load_diabetes(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(X))
    train, fresh = np.repeat(order[:220], 5), order[220:]
    settings = dict(max_iter=60, early_stopping=False)
    table = X[train], y[train], X[fresh], y[fresh]
    _, *errors = _judged(*table, **settings)
    assert _chance([errors], 1000)[0] > 0.001
    monkeypatch.setattr("hunch.sklearn.rows.ids_in_order", lambda x, y: np.arange(len(x)))
    covered, *errors = _judged(*table, **settings)
    chance, ratio = _chance([errors], 1000)
    assert covered < 75
    assert chance < 0.001
    assert ratio < 0.7


@pytest.mark.proof
@pytest.mark.parametrize("name", [name for name, *_ in _tables()])
def test_fresh_rows_are_covered_and_judged_as_without_copies(name):
    """Means over three splits in halves; the bound of 3 points is the promise, not an error bar.

    That the errors out of bag are those of fresh rows is refused by chance in one of a thousand
    cases, and in one of sixty for one of the sixteen here.
    """
    X, y = next((X, y) for found, X, y in _tables() if found == name)
    found = {"once": [], "one row 200 times": []}
    for seed in range(3):
        rng = np.random.default_rng(seed)
        train, test = np.array_split(rng.permutation(len(X))[:1000], 2)
        one = np.ones(len(train), int)
        one[rng.integers(len(train))] = 200
        for case, rows in (("once", train), ("one row 200 times", np.repeat(train, one))):
            found[case].append(_judged(X[rows], y[rows], X[test], y[test]))
    covered = {case: np.mean([one[0] for one in judged]) for case, judged in found.items()}
    chances = {case: _chance([pair for _, *pair in judged]) for case, judged in found.items()}
    for case, (chance, ratio) in chances.items():
        errors = [np.mean([one[part].mean() ** 0.5 for one in found[case]]) for part in (1, 2)]
        print(
            f"| {name} | {case} | {covered[case]:.1f} | {errors[0]:.4g} | {errors[1]:.4g} "
            f"| {ratio:.2f} | {chance:.4f} |"
        )
    assert abs(covered["one row 200 times"] - covered["once"]) <= 3, covered
    assert min(chances.values())[0] > 0.001, chances
    # A row 200 times is 200 times the evidence, but the other rows are learned as well.
    rmse = [np.mean([one[2].mean() ** 0.5 for one in judged]) for judged in found.values()]
    assert rmse[1] < 2 * rmse[0], rmse


@pytest.mark.proof
@pytest.mark.parametrize("name", [name for name, *_ in _tables()])
def test_eight_tables_several_times_over_are_the_tables(name):
    X, y = next((X[:500], y[:500]) for found, X, y in _tables() if found == name)
    once = regressor().fit(X, y)
    for case, more_X, more_y, weight in variants(X, y):
        again = regressor().fit(more_X, more_y, sample_weight=weight)
        assert again.oob_score_ == once.oob_score_, case
        np.testing.assert_array_equal(again.predict_quantiles(X), once.predict_quantiles(X), case)
        np.testing.assert_array_equal(again.predict_members(X), once.predict_members(X), case)


@pytest.mark.proof
def test_log_loss_of_fresh_rows_is_that_of_the_table_without_copies():
    X, y = load_breast_cancer(return_X_y=True)
    losses = {}
    for seed in range(3):
        train, test = np.array_split(np.random.default_rng(seed).permutation(len(X)), 2)
        one = np.ones(len(train), int)
        one[seed] = 200
        cases = {"once": train, "4 times": np.repeat(train, 4), "one": np.repeat(train, one)}
        for case, rows in cases.items():
            model = classifier(n_estimators=20, max_iter="auto").fit(X[rows], y[rows])
            p = model.predict_proba(X[test])[np.arange(len(test)), y[test]]
            losses.setdefault(case, []).append(-np.log(p).mean())
    means = {case: np.mean(found) for case, found in losses.items()}
    print(means)
    assert losses["4 times"] == losses["once"]
    assert means["one"] < 1.15 * means["once"] + 0.01, means
