"""Networks of two views, trees beside them, and how much each counts.

Most tests are exact. Learning tests have a fixed seed and margins of a factor of two or more.
"""

import dataclasses

import numpy as np
import pytest
import torch

pytest.importorskip("sklearn")
from sklearn.datasets import load_iris
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits

from hunch import RandomizedPriorClassifier, RandomizedPriorRegressor
from hunch.kernel import kernel
from hunch.sklearn import boosting
from hunch.sklearn.blend import shares_by_row, shares_for_classes, shares_for_numbers
from hunch.sklearn.boosting import Trees, boosted_classes, boosted_numbers, fold_of
from hunch.sklearn.compiled_trees import add_compiled, laid_out
from hunch.sklearn.ranks import Ranks

SMALL = dict(n_estimators=12, max_iter=15, random_state=0)


def steps(n, seed):
    """A table of steps, which trees see at once and networks do not."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, size=(n, 4))
    y = 3.0 * (x[:, 0] > 0.2) * (x[:, 1] > -0.3) + 2.0 * (np.floor(4 * x[:, 2]) % 2)
    return x, y + 0.1 * rng.normal(size=n)


def test_trees_say_what_scikit_learns_own_say():
    x, y = steps(500, 0)
    new = np.random.default_rng(1).uniform(-2, 2, size=(1200, 4))
    model = HistGradientBoostingRegressor(max_iter=20, random_state=0).fit(x, y)
    trees = Trees.of([model._predictors], np.asarray(model._baseline_prediction).reshape(1, 1))
    np.testing.assert_allclose(trees.at(new)[0, :, 0], model.predict(new), rtol=1e-12)
    classes = np.digitize(y, [1.0, 3.0])
    many = HistGradientBoostingClassifier(max_iter=10, random_state=0).fit(x, classes)
    start = np.asarray(many._baseline_prediction).reshape(1, 3)
    said = boosting.log_probabilities(Trees.of([many._predictors], start).at(new)[0])
    np.testing.assert_allclose(np.exp(said), many.predict_proba(new), rtol=1e-9)


def asked_compiled(trees, x):
    return add_compiled(laid_out(vars(trees)), trees.root, trees.place, np.zeros((5, len(x))), x)


compiled = pytest.mark.skipif(kernel() is None, reason="the kernel is not compiled here")


@pytest.fixture(scope="module")
def grown():
    x, y = steps(400, 0)
    fold = fold_of(np.arange(400), 0)
    one, _ = boosted_numbers(x, y, None, fold, 0)
    many, _ = boosted_classes(x, np.digitize(y, [1.0, 3.0]), None, fold, 3, 0)
    return one, many


@compiled
@pytest.mark.parametrize("lanes", [4, 8, 16])
@pytest.mark.parametrize("rows", [0, 1, 15, 16, 63, 65, 700])
def test_the_kernel_says_the_same_to_the_bit(rows, lanes, grown, monkeypatch):
    if lanes > kernel().hunch_lanes():
        pytest.skip("this processor has no wider vectors")
    monkeypatch.setattr(kernel(), "hunch_lanes", lambda: lanes)
    new = np.asfortranarray(np.random.default_rng(1).normal(size=(rows, 4)))
    new[:1], new[14:15], new[64:65] = np.inf, -np.inf, grown[0].threshold[0]
    one, many = grown
    for trees in (one, many, many.some(slice(3, 40)), many.some(slice(0, 0))):
        found = np.random.default_rng(2).normal(size=(trees.start.size, rows))
        plain = found.copy()
        assert add_compiled(laid_out(vars(trees)), trees.root, trees.place, found, new)
        trees.add_plainly(plain, new)
        np.testing.assert_array_equal(found, plain)


@compiled
@pytest.mark.parametrize(
    "damage",
    [
        {"feature": 4},
        {"feature": -1},
        {"left": 10**9},
        {"right": -1},
        {"root": 10**9},
        {"place": 5},
        {"value": None},
    ],
)
def test_damaged_trees_are_not_for_the_kernel(damage):
    x, y = steps(200, 0)
    trees, _ = boosted_numbers(x, y, None, fold_of(np.arange(200), 0), 0)
    ((name, value),) = damage.items()
    array = getattr(trees, name).copy()
    if value is None:
        array = array[:-1]
    else:
        array[0] = value
    damaged = dataclasses.replace(trees, **{name: array})
    assert not asked_compiled(damaged, x)


@compiled
def test_trees_that_go_round_in_circles_end():
    x, y = steps(200, 0)
    trees, _ = boosted_numbers(x, y, None, fold_of(np.arange(200), 0), 0)
    round_about = dataclasses.replace(
        trees, left=trees.left[::-1].copy(), right=trees.right[::-1].copy()
    )
    assert not asked_compiled(round_about, x)
    assert np.isfinite(round_about.at(x)).all()


def test_kept_trees_say_the_same():
    x, y = steps(200, 0)
    trees, _ = boosted_numbers(x, y, None, fold_of(np.arange(200), 0), 0)
    again = Trees.from_state(trees.to_state())
    np.testing.assert_array_equal(again.at(x), trees.at(x))


def test_each_row_is_judged_by_trees_that_did_not_see_it():
    x, y = steps(300, 0)
    fold = fold_of(np.arange(300), 0)
    trees, left_out = boosted_numbers(x, y, None, fold, 0)
    np.testing.assert_allclose(trees.out_of_fold(x, fold)[:, 0], left_out)
    moved = y.copy()
    moved[7] += 1.0
    other, _ = boosted_numbers(x, moved, None, fold, 0)

    def first_steps(model, number):
        own = model._of_fold(number)
        return own.start + own.value[own._leaves(x)][:10].sum(axis=0)

    for number in range(5):
        same = (first_steps(trees, number) == first_steps(other, number)).all()
        assert same == (number == fold[7])


def test_rows_of_a_group_are_left_out_together():
    fold = fold_of(np.repeat(np.arange(30), 4), seed=3).reshape(30, 4)
    assert (fold == fold[:, :1]).all()
    assert len(np.unique(fold)) == 5


def test_numbers_do_not_depend_on_threads(monkeypatch):
    x, y = steps(400, 0)
    monkeypatch.setattr(boosting, "_LONG", 1)
    monkeypatch.setattr(boosting, "_SIZES", ((np.inf, 10, 7),))
    fold, said = fold_of(np.arange(400), 0), []
    for threads in (1, 2):
        with threadpool_limits(threads):
            monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
            said.append(boosted_numbers(x, y, None, fold, 0)[1])
    np.testing.assert_array_equal(*said)


def test_a_class_that_a_fold_lacks_is_hardly_likely_there():
    x, y = load_iris(return_X_y=True)
    rare = np.append(np.flatnonzero(y < 2), np.flatnonzero(y == 2)[:1])
    x, y = x[rare], y[rare]
    trees, left_out = boosted_classes(x, y, None, fold_of(np.arange(len(y)), 0), 3, 0)
    assert np.isfinite(left_out).all()
    np.testing.assert_allclose(np.exp(left_out).sum(axis=1), 1)
    assert np.exp(left_out[-1, 2]) < 0.05
    assert np.isfinite(trees.at(x)).all()


def test_steps_are_left_to_trees_and_smooth_curves_to_networks():
    x, y = steps(600, 0)
    test, truth = steps(600, 1)
    settings = dict(n_estimators=8, max_iter=40, gaussian_process=False, random_state=0)
    both = RandomizedPriorRegressor(**settings).fit(x, y)
    alone = RandomizedPriorRegressor(**settings, boosting=False).fit(x, y)
    errors = [np.mean((model.predict(test) - truth) ** 2) for model in (both, alone)]
    assert errors[0] < errors[1] / 2
    assert both._shares[-1, 0] > 0.6
    smooth = RandomizedPriorRegressor(**settings).fit(x, x.sum(axis=1))
    assert smooth._shares[-1, 0] < 0.1
    np.testing.assert_allclose([both._shares.sum(), smooth._shares.sum()], 1)


def test_fewer_than_ten_networks_all_see_features_as_they_are():
    x, y = steps(100, 0)
    assert RandomizedPriorRegressor(9, max_iter=2, random_state=0).fit(x, y)._ranked is None
    half = RandomizedPriorRegressor(11, max_iter=2, random_state=0).fit(x, y)
    assert (half.ensemble_.num_members, half._ranked.num_members) == (6, 5)
    assert half.predict_members(x).shape == (11, 100)


@pytest.mark.parametrize("kind", [RandomizedPriorRegressor, RandomizedPriorClassifier])
def test_both_views_and_trees_are_kept(kind):
    x, y = steps(150, 0)
    y = y > 2 if kind is RandomizedPriorClassifier else y
    model = kind(**SMALL).fit(x, y)
    again = kind.from_state(*model.to_state())
    for ask in ("predict", "predict_members"):
        np.testing.assert_array_equal(getattr(again, ask)(x), getattr(model, ask)(x))


def test_ranks_rise_and_go_on_straight():
    rng = np.random.default_rng(0)
    x = np.exp(2 * rng.normal(size=(500, 2)))
    ranks = Ranks.of(x, None)
    seen = ranks.apply(x)
    np.testing.assert_allclose(seen.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(seen.std(axis=0), 1)
    line = np.linspace(-5, 1.2 * x.max(), 2000)[:, None].repeat(2, axis=1)
    assert (np.diff(ranks.apply(line), axis=0) > 0).all()
    far = ranks.apply(np.array([[1e6, -1e6], [1e6 + 3, -1e6 - 3]]))
    np.testing.assert_allclose(far[1] - far[0], [3, -3])


def test_a_row_of_weight_two_is_two_rows_of_the_ranks():
    x = np.random.default_rng(0).integers(0, 9, size=(40, 1)).astype(float)
    weight = np.random.default_rng(1).integers(1, 4, size=40)
    one, other = Ranks.of(x, weight.astype(float)), Ranks.of(np.repeat(x, weight, axis=0), None)
    np.testing.assert_allclose(one.score, other.score)


def test_shares_are_those_of_least_squares_and_of_the_likelihood():
    rng = np.random.default_rng(0)
    y = rng.normal(size=(400, 1))
    said = [y + size * rng.normal(size=y.shape) for size in (0.5, 1.0)]
    found = shares_for_numbers(said, y, None).ravel()
    first, second = ((own - y).ravel() for own in said)
    away = first - second
    best = -(away @ second) / (away @ away)  # where the derivative of the squared error is 0
    np.testing.assert_allclose(found, [best, 1 - best], atol=1e-3)

    classes = rng.integers(0, 2, size=300)
    chances = np.where(np.arange(2) == classes[:, None], 0.7, 0.3)
    flat = np.full((300, 2), 0.5)
    noise = rng.uniform(0.3, 0.95, size=300)[:, None]
    noisy = np.concatenate([noise, 1 - noise], axis=1)
    logs = [np.log(p) for p in (chances, flat, noisy)]
    shares = shares_for_classes(logs, classes, None)
    assert shares[0] > 0.9

    def loss(w):
        mixed = sum(s * np.exp(p) for s, p in zip(w, logs, strict=True))
        return -np.log(mixed[np.arange(300), classes]).mean()

    others = rng.dirichlet(np.ones(3), size=200)
    assert all(loss(shares) <= loss(w) + 1e-4 for w in others)


def test_a_model_that_says_nothing_of_a_row_has_no_share_there():
    said = torch.randn(3, 4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    said[0, 1], said[1, 2], said[:, 3] = torch.nan, torch.nan, torch.nan
    shares = torch.tensor([[0.5, 0.2], [0.5, 0.2], [0.0, 0.6]], dtype=torch.float64)
    by_row = shares_by_row(said, shares)
    torch.testing.assert_close(by_row[:, 0], shares)
    torch.testing.assert_close(by_row[:, 1, 1], torch.tensor([0, 0.25, 0.75]).double())
    torch.testing.assert_close(by_row[:, 2, 0], torch.tensor([1.0, 0, 0]).double())
    assert by_row[:, 3].isnan().all()


def test_a_view_without_absentees_leaves_a_row_to_the_other_view():
    x, y = steps(80, 0)
    model = RandomizedPriorClassifier(10, max_iter=3, random_state=0).fit(x, y > 2)
    recipes = model._recipes(model._recipe(model._seed))
    from hunch.sklearn.rows import as_rows

    rows = as_rows(x, (y > 2).astype(np.int64), None)
    absent = [(own.weights(rows.ids) == 0).any(dim=0).numpy() for own in recipes]
    some, both = absent[0] | absent[1], absent[0] & absent[1]
    assert some.sum() > both.sum()
    known = ~np.isnan(model.oob_decision_function_).any(axis=1)
    assert known.sum() == some.sum()


@pytest.mark.slow
def test_intervals_about_trees_hold_what_they_promise():
    """A table of steps, which trees alone see: on ten of them 90 % within five standard errors."""
    covered = []
    for seed in range(10):
        x, y = steps(700, seed)
        model = RandomizedPriorRegressor(10, max_iter=15, gaussian_process=False, random_state=0)
        low, high = model.fit(x[:300], y[:300]).predict_interval(x[300:], 0.9)
        covered.append(np.mean((low <= y[300:]) & (y[300:] <= high)))
        assert float(model._shares[2, 0]) > 0.5
    assert np.mean(covered) == pytest.approx(0.9, abs=0.03)
