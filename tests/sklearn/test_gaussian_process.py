"""The Gaussian process beside the networks, against scikit-learn's and against its own definition."""

import numpy as np
import pytest
import torch
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Matern

from hunch import RandomizedPriorRegressor
from hunch.kernel import kernel
from hunch.sklearn import compiled_process
from hunch.sklearn import gaussian_process as process
from hunch.sklearn.compiled_process import laid_out, mean_compiled
from hunch.sklearn.gaussian_process import GaussianProcess, gaussian_process

LOGS = torch.tensor([0.3, -0.2, 0.1, -1.0], dtype=torch.float64)  # two lengths, size, noise


@pytest.fixture
def data():
    draw = np.random.default_rng(0)
    x = draw.normal(size=(60, 3))
    y = np.sin(2 * x[:, 0]) + 0.1 * draw.normal(size=60)
    noisy = draw.uniform(0.5, 2, 60)
    return process._Data(*map(torch.from_numpy, (x, y, noisy, np.array([0, 1, 1]))))


def test_the_slope_is_that_of_the_likelihood(data):
    value, slope = process._surprise(LOGS, data)
    for j, step in enumerate(1e-5 * torch.eye(4, dtype=torch.float64)):
        above, below = (process._surprise(LOGS + s * step, data)[0] for s in (1, -1))
        assert slope[j] == pytest.approx((above - below) / 2e-5, rel=1e-6)
    assert np.isfinite(value)


def test_its_mean_is_scikit_learns(data):
    found, _ = process._conditioned(LOGS, data, np.arange(60))
    lengths, size, noise = LOGS[:2].exp()[data.place], *(2 * LOGS[2:]).exp()
    kernel = float(size) * Matern(lengths.numpy(), nu=1.5)
    noises = (noise * data.noisy).numpy() + process._JITTER
    theirs = GaussianProcessRegressor(kernel, alpha=noises, optimizer=None)
    theirs.fit(data.x.numpy(), data.y.numpy())
    new = np.random.default_rng(1).normal(size=(50, 3))
    np.testing.assert_allclose(found.at(new), theirs.predict(new), rtol=1e-9, atol=1e-12)
    value, _ = process._surprise(LOGS, data)
    likelihood = theirs.log_marginal_likelihood_value_ + 30 * np.log(2 * np.pi)
    assert value == pytest.approx(-likelihood, rel=1e-10)


@pytest.mark.parametrize("groups", [np.arange(60), np.arange(60) // 7], ids=["rows", "groups"])
def test_what_is_said_without_a_row_is_that_of_a_process_without_it(data, groups):
    _, misses = process._conditioned(LOGS, data, groups)
    for one in (0, 8):
        kept = np.flatnonzero(groups != one)
        other, _ = process._conditioned(LOGS, data.of(kept), groups[kept])
        own = np.flatnonzero(groups == one)
        said = data.y[own].numpy() - misses[own]
        np.testing.assert_allclose(other.at(data.x[own].numpy()), said, rtol=1e-9)


def test_a_row_has_no_say_in_what_is_said_of_it():
    draw = np.random.default_rng(0)
    x = draw.normal(size=(200, 2))
    y, ids = np.sin(x[:, 0]), np.arange(200)
    _, before = gaussian_process(x, y, None, ids, [0, 1], 0)
    part = process._hashed(ids, 0, "parts") % 3
    y[part == 1] += draw.normal(size=(part == 1).sum())
    others = np.flatnonzero(part != 1)
    logs = process._learned(_data(x, y).of(others), ids[others], 0)
    _, after = gaussian_process(x, y, None, ids, [0, 1], 0)
    _, misses = process._conditioned(logs, _data(x, y), ids)
    np.testing.assert_allclose(after[part == 1], (y - misses)[part == 1], rtol=1e-9)
    assert not np.allclose(after, before)


def _data(x, y):
    ones, place = np.ones(len(x)), np.arange(x.shape[1])
    return process._Data(*map(torch.from_numpy, (x, y, ones, place)))


def test_noise_does_not_look_learned():
    """Of pure noise nothing can be said, with lengths of 20 columns to choose."""
    errors = []
    for seed in range(10):
        draw = np.random.default_rng(seed)
        x, y = draw.normal(size=(150, 20)), draw.normal(size=150)
        _, left_out = gaussian_process(x, y - y.mean(), None, np.arange(150), range(20), seed)
        errors.append(np.mean((left_out - y) ** 2) / y.var())
    assert np.mean(errors) > 0.98


def test_a_long_table_is_known_in_part_and_groups_stay_whole(monkeypatch):
    monkeypatch.setattr(process, "_MOST", 100)
    monkeypatch.setattr(process, "_LONG", 150)
    draw = np.random.default_rng(0)
    x = draw.uniform(-2, 2, (300, 1))
    ids = np.arange(300) // 4
    found, left_out = gaussian_process(x, np.sin(x[:, 0]), None, ids, [0], 0)
    rows = process._some(ids, 100, 0)
    assert 90 < len(found.knot) <= 100
    assert np.bincount(ids[rows])[np.unique(ids[rows])].tolist() == [4] * (len(rows) // 4)
    np.testing.assert_allclose(left_out, np.sin(x[:, 0]), atol=0.1)


def test_of_a_row_that_it_knows_nothing_is_said_as_of_another():
    x = np.linspace(-1, 1, 50)[:, None]
    found, _ = gaussian_process(x, x[:, 0], None, np.arange(50), [0], 0)
    said = found.at_others(np.array([[0.011], x[3]]))
    assert said[0] == pytest.approx(0.011, abs=0.01)
    assert np.isnan(said[1])


def test_a_constant_target_and_constant_columns_do_no_harm():
    found, left_out = gaussian_process(
        np.zeros((50, 2)), np.zeros(50), None, np.arange(50), [0, 1], 0
    )
    assert (left_out == 0).all()
    assert (found.at(np.ones((3, 2))) == 0).all()


def test_it_is_kept():
    x = np.random.default_rng(0).normal(size=(50, 2))
    found, _ = gaussian_process(x, x[:, 0], None, np.arange(50), [0, 1], 0)
    again = GaussianProcess.from_state(found.to_state())
    assert (again.at(x) == found.at(x)).all()


@pytest.fixture(scope="module")
def waves():
    draw = np.random.default_rng(0)
    x = draw.uniform(-2, 2, (400, 2))
    return x, np.stack([np.sin(3 * x[:, 0]) * x[:, 1], x[:, 0] ** 2], axis=1)


SMALL = dict(n_estimators=6, max_iter=20, random_state=0)


def test_it_takes_what_is_smooth(waves):
    x, y = waves
    with_it = RandomizedPriorRegressor(**SMALL).fit(x[:300], y[:300])
    without = RandomizedPriorRegressor(**SMALL, gaussian_process=False).fit(x[:300], y[:300])
    errors = [np.abs(m.predict(x[300:]) - y[300:]).mean() for m in (with_it, without)]
    assert errors[0] < 0.5 * errors[1]
    assert len(with_it._shares) == 3
    assert len(without._shares) == 2
    low, high = with_it.predict_interval(x[300:], 0.9)
    assert np.mean((low <= y[300:]) & (y[300:] <= high)) > 0.8


def test_members_spread_as_networks_do_and_far_rows_are_doubted(waves):
    x, y = waves
    model = RandomizedPriorRegressor(**SMALL).fit(x, y)
    far = np.full((1, 2), 50.0)
    near, away = (model.predict_distribution(rows).epistemic for rows in (x[:50], far))
    assert (away > 10 * near.mean(dim=0)).all()


def test_estimators_are_kept_with_it_and_go_on(waves):
    x, y = waves
    model = RandomizedPriorRegressor(**SMALL).fit(x[:300], y[:300])
    again = RandomizedPriorRegressor.from_state(*model.to_state())
    assert (again.predict(x) == model.predict(x)).all()
    model.partial_fit(
        x[:100], y[:100]
    )  # rows that it knows: nothing is learned of its errors there
    model.partial_fit(x[300:], y[300:])
    low, high = model.predict_interval(x[300:], 0.9)
    assert np.mean((low <= y[300:]) & (y[300:] <= high)) > 0.8


@pytest.mark.skipif(kernel() is None, reason="hunch was installed without the kernel")
@pytest.mark.parametrize("lanes", [4, 8, 16])
@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize(
    ("knots", "features", "rows"), [(1, 1, 1), (7, 2, 3), (16, 7, 4), (129, 5, 65), (300, 20, 130)]
)
def test_the_kernel_says_what_the_equation_says(knots, features, rows, single, lanes, monkeypatch):
    library = kernel()
    if lanes > library.hunch_lanes():
        pytest.skip("this processor has no wider vectors")
    monkeypatch.setattr(library, "hunch_lanes", lambda: lanes)
    monkeypatch.setattr(compiled_process, "_MOST_SINGLE", np.inf if single else 0.0)
    monkeypatch.setattr(compiled_process, "_FEW", 0)
    rng = np.random.default_rng(knots)
    knot, share = rng.normal(size=(knots, features)), 10 * rng.normal(size=knots)
    x = rng.normal(size=(rows, features))
    x[0] = knot[0]
    x[-1] *= 1e5  # so far away that nothing is left
    distance = np.sqrt(3) * np.linalg.norm(x[:, None] - knot, axis=2)
    expected = ((1 + distance) * np.exp(-distance)) @ share
    laid = laid_out(knot, share)
    assert laid.knot.dtype == (np.float32 if single else np.float64)
    found = mean_compiled(laid, x)
    # As near as a square of a distance can be that is a difference of squares.
    np.testing.assert_allclose(found, expected, atol=1e-3 if single else 1e-6)
    np.testing.assert_allclose(found[1:], expected[1:], atol=2e-5 if single else 1e-10)
    np.testing.assert_array_equal(mean_compiled(laid, x[-1:]), found[-1:])
    if lanes == 16:  # wider vectors say the same, to the bit
        monkeypatch.setattr(library, "hunch_lanes", lambda: 8)
        np.testing.assert_array_equal(mean_compiled(laid, x), found)


@pytest.mark.skipif(kernel() is None, reason="hunch was installed without the kernel")
def test_single_precision_is_taken_where_it_is_as_near_as_promised():
    draw = np.random.default_rng(0)
    x, new, noise = draw.normal(size=(1100, 5)), draw.normal(size=(300, 5)), draw.normal(size=1100)
    logs = torch.tensor([2.5] * 5 + [0.0, 0.0], dtype=torch.float64)
    y, kinds = np.sin(x[:, 0]) + x[:, 1] + 0.3 * noise, []
    for known, log_noise in ((1100, -1.0), (1100, -9.0), (1000, -1.0)):
        logs[-1] = log_noise
        data = process._Data(
            *map(torch.from_numpy, (x, y / y.std(), np.ones(len(x)), np.arange(5)))
        )
        found, _ = process._conditioned(logs, data.of(np.arange(known)), np.arange(known))
        exact = process._bumps(*map(torch.from_numpy, (new / found.length, found.knot)))[0]
        off = found.at(new) - (exact @ torch.from_numpy(found.share)).numpy()
        assert np.sqrt(np.mean(off**2)) < 1e-4
        kinds.append(found._knots.knot.dtype)
    assert kinds == [np.float32, np.float64, np.float64]


def test_without_the_kernel_torch_says_the_same(monkeypatch):
    x = np.random.default_rng(0).normal(size=(60, 3))
    process, _ = gaussian_process(x, np.sin(x[:, 0]), None, np.arange(60), [0, 1, 2], seed=0)
    ours = process.at(x)
    monkeypatch.setattr(compiled_process, "kernel", lambda: None)
    np.testing.assert_allclose(process.at(x), ours, atol=1e-9)
