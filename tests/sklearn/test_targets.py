"""Where targets can lie, and what networks learn in their place."""

import numpy as np
import pytest
import torch

pytest.importorskip("sklearn")
from hunch import RandomizedPriorRegressor
from hunch.errors import ConfigurationError, DataError
from hunch.sklearn.targets import TargetForm, ends_of, logarithm_of, whole_in

LEVELS = np.array([0.005, 0.05, 0.25, 0.5, 0.75, 0.95, 0.995])


def table(n, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 4))
    return x, x[:, 0] + np.sin(2 * x[:, 1]), rng


def targets(kind, f, rng):
    if kind == "counts":
        return rng.poisson(np.exp(0.6 * f)).astype(float)
    if kind == "prices":
        return np.exp(3 + 0.8 * f + 0.4 * rng.normal(size=len(f)))
    return 1 / (1 + np.exp(-(f + rng.normal(size=len(f)))))


def beyond(model, x, kind):
    """How many numbers lie where no target can."""
    top = 1.0 if kind == "shares" else np.inf
    mean, std = model.predict(x, return_std=True)
    said = [model.predict_quantiles(x, LEVELS), mean, *model.predict_interval(x, 0.99)]
    said += [model.sample_y(x[:200], 20)]
    assert all(np.isfinite(own).all() for own in (*said, std))
    assert (np.diff(said[0], axis=1) >= 0).all()
    return sum(int(((own < 0) | (own > top)).sum()) for own in said)


@pytest.mark.parametrize(
    "kind", ["prices", *(pytest.param(k, marks=pytest.mark.slow) for k in ("counts", "shares"))]
)
def test_nothing_lies_where_no_target_can(kind):
    x, f, rng = table(400, 0)
    y = targets(kind, f, rng)
    near, far = table(2000, 1)[0], 8 * table(1000, 2)[0]
    model = RandomizedPriorRegressor(10, max_iter=20, random_state=0).fit(x, y)
    assert beyond(model, np.concatenate([near, far]), kind) == 0
    free = RandomizedPriorRegressor(10, max_iter=20, support=None, random_state=0).fit(x, y)
    if kind != "prices":  # whose logarithms have no value below zero either
        assert beyond(free, np.concatenate([near, far]), kind) > 0
    again = RandomizedPriorRegressor.from_state(*model.to_state())
    np.testing.assert_array_equal(
        again.predict_quantiles(far, LEVELS), model.predict_quantiles(far, LEVELS)
    )


@pytest.mark.proof
@pytest.mark.parametrize("kind", ["counts", "prices", "shares"])
def test_no_row_of_a_hundred_thousand_lies_where_no_target_can(kind):
    x, f, rng = table(2000, 0)
    model = RandomizedPriorRegressor(random_state=0).fit(x, targets(kind, f, rng))
    rows = np.concatenate([table(80_000, 1)[0], 8 * table(20_000, 2)[0]])
    assert beyond(model, rows, kind) == 0


@pytest.mark.slow
def test_quantiles_of_counts_are_whole_and_hold_what_they_promise():
    x, f, rng = table(600, 0)
    model = RandomizedPriorRegressor(10, max_iter=30, random_state=0)
    model.fit(x, targets("counts", f, rng))
    test, g, rng = table(2000, 1)
    y = targets("counts", g, rng)
    found = model.predict_quantiles(test, LEVELS)
    assert (found == np.round(found)).all()
    below = (y[:, None] < found).mean(axis=0)
    at_most = (y[:, None] <= found).mean(axis=0)
    # A level lies between both, give or take 0.05: four standard errors of 600 and 2,000 rows.
    assert (below - 0.05 <= LEVELS).all()
    assert (LEVELS <= at_most + 0.05).all()
    assert (model.predict(test) % 1 > 0).any()  # a mean is no count


def test_the_inverse_is_one_on_both_sides_of_the_top():
    form = TargetForm(
        np.array([1.0, np.nan]),
        np.array([9.0, np.inf]),
        *np.array([[0.0, -np.inf], [np.inf] * 2]),
        np.array([False, False]),
    )
    y = np.stack([np.linspace(0, 30, 301), np.linspace(-5, 5, 301)], axis=1)
    seen = form.apply(y)
    np.testing.assert_allclose(form.inverse(torch.from_numpy(seen)).numpy(), y, atol=1e-12)
    slope = np.gradient(seen[:, 0], y[:, 0])
    stated = form.log_slope(torch.from_numpy(y)).exp().numpy()
    np.testing.assert_allclose(stated[1:-1, 0], slope[1:-1], rtol=1e-2)
    np.testing.assert_array_equal(stated[:, 1], 1)
    assert form.inverse(torch.tensor([[500.0, 0.0]]))[0, 0] < 1e4  # its exponential is 1e217


def test_a_logarithm_is_taken_of_skewed_targets_only():
    rng = np.random.default_rng(0)
    assert not np.isnan(logarithm_of(np.exp(rng.normal(size=500)), 0.0))
    assert np.isnan(logarithm_of(rng.uniform(1, 2, 500), 0.0))
    assert np.isnan(logarithm_of(np.exp(rng.normal(size=500)) - 1, -np.inf))


def test_prices_are_learned_as_logarithms_and_others_are_not():
    x, f, rng = table(500, 0)
    settings = dict(n_estimators=8, max_iter=30, random_state=0)
    prices = RandomizedPriorRegressor(**settings).fit(x, targets("prices", 2 * f, rng))
    assert not np.isnan(prices._form.shift).any()
    sums = RandomizedPriorRegressor(**settings).fit(x, f + 0.3 * rng.normal(size=500))
    assert np.isnan(sums._form.shift).all()
    assert np.isinf([sums._form.low, sums._form.high]).all()


@pytest.mark.slow
def test_means_of_logarithms_are_means_and_not_medians():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1500, 1))
    y = np.exp(rng.normal(size=1500))  # mean 1.65, median 1
    settings = dict(n_estimators=8, max_iter=30, logarithm=True, random_state=0)
    model = RandomizedPriorRegressor(**settings).fit(x, y)
    mean, std = model.predict(x, return_std=True)
    assert abs(mean.mean() - y.mean()) < 0.2
    assert abs(np.median(model.predict_quantiles(x, 0.5)) - 1) < 0.2
    assert 0.5 < std.mean() / y.std() < 1.5


def test_ends_that_are_named_are_kept_to():
    x, f, _ = table(300, 0)
    y = np.clip(50 + 20 * f, 0, 100)
    settings = dict(n_estimators=8, max_iter=10, random_state=0)
    model = RandomizedPriorRegressor(**settings, support=(0, 100)).fit(x, y)
    low, high = model.predict_interval(5 * x, 0.99)
    assert low.min() >= 0
    assert high.max() <= 100
    assert high.max() > 99
    assert ends_of(y[:, None], (None, 100))[0] == -np.inf


def test_whole_numbers_are_told_from_enough_rows_only():
    y = np.arange(39.0)[:, None]
    assert not whole_in(y, "auto").any()
    assert whole_in(np.append(y, [[3.0]], axis=0), "auto").all()


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        (dict(support="half"), ConfigurationError, "`support` got 'half'"),
        (dict(support=(1, 0)), ConfigurationError, "lower end first"),
        (dict(support=(0, 1)), DataError, "expected values from 0 to 1"),
        (dict(logarithm="yes"), ConfigurationError, "`logarithm` got 'yes'"),
        (dict(logarithm=True), DataError, "expected no value below 0"),
    ],
)
def test_what_cannot_be_is_refused(settings, error, words):
    x, f, _ = table(50, 0)
    with pytest.raises(error, match=words):
        RandomizedPriorRegressor(4, max_iter=1, **settings).fit(x, 3 * f)
