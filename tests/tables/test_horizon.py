"""Intervals for times that training does not hold: they follow what went wrong at earlier times.

The tests on a stand-in for an estimator are exact up to the chance of a fixed seed; what is covered
by real ones over 20 seeds is a proof.
"""

import numpy as np
import pyarrow as pa
import pytest

from hunch import RandomizedPriorRegressor
from hunch.tables import Columns, TableModel
from hunch.tables.choices import Choices
from hunch.tables.horizon import Horizon, learn_horizon
from hunch.tables.model import train
from hunch.tables.target import Target
from hunch.tables.ties import Ties

NUMBER = Target("y", "regression")


class LastValue:
    """Says that all is as it was last, within 1."""

    def __init__(self, value):
        self.value = value

    def predict(self, x, return_std):
        return np.full(len(x), self.value), np.ones(len(x))


def gaussian(mean, std, coverage):
    from statistics import NormalDist

    half = NormalDist().inv_cdf((1 + coverage) / 2) * std
    return mean - half, mean + half


def horizon_of(y):
    times = np.arange(float(len(y)))
    return learn_horizon(lambda rows: LastValue(y[rows[-1]]), times, times[:, None], y)


def test_errors_that_do_not_grow_are_found_at_their_size():
    # 3,000 rows are asked about; their standard deviation is known to 2 %.
    y = 3 * np.random.default_rng(0).normal(size=4_000)
    y[np.round(np.array([0.5, 0.625, 0.75, 0.875]) * 4_000).astype(int) - 1] = 0
    horizon = horizon_of(y)
    now, later = horizon.factor(np.array([3_999.0, 4_999.0]))
    assert abs(now - 3) < 0.3
    assert abs(later - 3) < 0.3
    assert abs(horizon.reach(gaussian, 0.9) - 1) < 0.15
    assert horizon.factor(np.array([-5.0, 100.0])).tolist() == [now, now]


def test_errors_of_a_random_walk_grow_with_the_root_of_the_distance():
    # Over 50 walks the mean square is known to a third: 200 paths of which those of a walk overlap.
    found, shared = [], []
    for seed in range(50):
        horizon = horizon_of(np.cumsum(np.random.default_rng(seed).normal(size=400)))
        found.append(horizon.factor(np.array([499.0])) ** 2)
        shared.append(horizon.shared)
    assert 60 < np.mean(found) < 150  # 100 steps
    assert np.median(shared) > 0.9  # some 4 paths, and not 600 rows


def test_what_few_origins_share_reaches_further():
    rng = np.random.default_rng(0)
    parts = dict(start=np.array(0.0), end=np.array(1.0), growth=np.array([1.0, 0.0, 0.0]))
    y = 1.5 * rng.normal(size=200)
    rows = dict(mean=np.zeros(200), std=np.ones(200), weight=np.ones(200), y=y)
    alone, all_of_it = (
        Horizon(**parts, **rows, shared=np.array(share), origins=np.array(4.0)).reach(gaussian, 0.9)
        for share in (0.0, 1.0)
    )
    assert 1.2 < alone < 1.8
    np.testing.assert_allclose(all_of_it / alone, 2.132 / 1.645, atol=0.02)


def test_where_nothing_comes_before_there_is_none():
    times = np.repeat([0.0, 1.0], [15, 5])
    assert learn_horizon(lambda _: LastValue(0.0), times, times[:, None], times) is None
    assert horizon_of(np.zeros(40)) is None


def series(kind, n, seed):
    """Features with the time among them, the target, and the times."""
    rng = np.random.default_rng(seed)
    t, X, e = np.arange(n) / n, rng.normal(size=(n, 3)), rng.normal(size=n)
    y = np.sin(1.5 * X[:, 0]) + 0.5 * X[:, 1] * X[:, 2]
    if kind == "noise that grows":
        y += (0.15 + 1.35 * t) * e
    elif kind == "level that drifts":
        y += 4 * t + 0.5 * e
    elif kind == "random walk":
        y += np.cumsum(rng.normal(size=n)) * 3 / n**0.5 + 0.3 * e
    else:
        y += 0.5 * e
    return np.column_stack([t, X]), y, t


def trained(kind, n, seed, members):
    """A model of the first four fifths, and of the rest features, targets and rows."""
    X, y, t = series(kind, n, seed)
    past = np.arange(n - n // 5)
    table = pa.table({f"c{i}": column[past] for i, column in enumerate(X.T)})
    columns, x = Columns.learn_and_encode(table, said=Choices(time=("c0",)))
    ties = Ties("c0", times=t[past])
    model = train(
        columns, NUMBER, x, y[past], ties=ties, members=members, seed=seed, progress=False
    )
    return model, X[len(past) :], y[len(past) :]


def test_a_model_of_a_series_is_kept_whole_and_its_scale_is_that_of_its_intervals(tmp_path):
    model, x, _ = trained("level that drifts", 60, 0, members=2)
    model.put(tmp_path)
    again = TableModel.get(tmp_path)
    said, found = model.predict_features(x), again.predict_features(x)
    for name, values in said.items():
        np.testing.assert_array_equal(found[name], values)
    np.testing.assert_allclose(np.hypot(said["epistemic"], said["aleatoric"]), said["std"])
    ends = model.intervals(x, [0.5, 0.9])[1]
    np.testing.assert_array_equal(ends, [said["lower"], said["upper"]])


@pytest.mark.proof
@pytest.mark.parametrize(
    ("kind", "least"),
    [("noise that grows", 0.87), ("level that drifts", 0.87), ("random walk", 0.8)],
)
def test_the_last_200_of_a_drifting_series_are_covered(kind, least):
    """Intervals of 90 %, over 20 seeds.

    All rows of a random walk share its path, so that 20 tell what is covered of them within a
    standard error of 0.04: its bound is that much lower. (20 walks of 400 steps: 0.90 ± 0.03.)
    """
    covered = []
    for seed in range(20):
        model, x, y = trained(kind, 1_000, seed, members=20)
        said = model.predict_features(x)
        covered.append(np.mean((said["lower"] <= y) & (y <= said["upper"])))
    assert np.mean(covered) >= least


@pytest.mark.proof
def test_a_series_that_does_not_drift_costs_little():
    own, plain = [], []
    for seed in range(20):
        model, x, _ = trained("nothing", 1_000, seed, members=20)
        said = model.predict_features(x)
        assert isinstance(model.estimator, RandomizedPriorRegressor)
        low, high = model.estimator.predict_interval(x)
        own.append(np.mean(said["upper"] - said["lower"]))
        plain.append(np.mean(high - low))
    assert np.mean(own) < 1.3 * np.mean(plain)
