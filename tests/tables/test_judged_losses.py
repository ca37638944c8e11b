"""Scores row by row, their ranges, and what drives a prediction, against what is known exactly."""

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
import torch
from scipy import stats

from hunch.inference import expected_calibration_error
from hunch.tables import Columns
from hunch.tables.baselines import Forecast
from hunch.tables.breakdown import by_size, by_subgroup
from hunch.tables.drivers import drivers, quantities
from hunch.tables.losses import (
    LEVELS,
    grade,
    judged,
    losses_of_classes,
    losses_of_numbers,
    wilson,
)
from hunch.tables.overview import overview
from hunch.tables.target import Target


def numbers(y, **means):
    """Losses of forecasts of standard deviation 1."""
    found = {}
    for name, mean in means.items():
        half = [stats.norm.ppf((1 + level) / 2) for level in LEVELS]
        ends = [(mean - h, mean + h) for h in half]
        found[name] = losses_of_numbers(Forecast(name, "", mean, np.ones(len(y))), ends, y)
    return found


def test_a_range_of_an_error_is_that_of_normal_errors():
    n, rng = 2_000, np.random.default_rng(0)
    y = rng.normal(size=n)
    found = judged(numbers(y, hunch=np.zeros(n), constant=np.full(n, 2.0)), seed=0)
    rmse = found["scores"]["hunch"]["rmse"]
    assert rmse == pytest.approx(np.sqrt(np.mean(y**2)))
    low, high = found["ranges"]["hunch"]["rmse"]
    # The error of a root mean square of normal errors is 1 / sqrt(2 n). The width of a bootstrap of
    # 1,000 draws is off by more than a fifth less than once in 10^6 seeds.
    assert high - low == pytest.approx(2 * 1.96 / np.sqrt(2 * n), rel=0.2)
    assert low < rmse < high
    assert found["deciding"] == "rmse"
    assert found["ahead"]["constant"]["by"] == found["scores"]["constant"]["rmse"] - rmse
    assert found["ahead"]["constant"]["range"][0] > 0


def test_ranges_are_wider_by_whole_groups():
    n, each, rng = 2_000, 20, np.random.default_rng(0)
    group = np.arange(n) // each
    y = rng.normal(size=n // each)[group]
    losses = numbers(y, hunch=np.zeros(n), constant=np.ones(n))
    alone, together = judged(losses, seed=0), judged(losses, seed=0, group=group)
    assert alone["scores"] == together["scores"]
    widths = [np.ptp(found["ranges"]["hunch"]["mae"]) for found in (alone, together)]
    assert widths[1] / widths[0] == pytest.approx(np.sqrt(each), rel=0.25)
    shares = [np.ptp(found["ranges"]["hunch"]["coverage_90"]) for found in (alone, together)]
    assert shares[1] > 3 * shares[0]


def test_ranges_of_shares_are_wilsons():
    for right, count in ((0, 12), (12, 12), (90, 100), (1, 7)):
        exact = stats.binomtest(right, count).proportion_ci(method="wilson")
        assert wilson(right / count, count) == pytest.approx([exact.low, exact.high], abs=1e-9)


def test_scores_of_classes_are_those_of_the_library():
    rng = np.random.default_rng(0)
    probs, y = rng.dirichlet(np.ones(3), 300), rng.integers(0, 3, 300)
    found = losses_of_classes(Forecast("hunch", probs=probs), y).total()
    exact = expected_calibration_error(torch.from_numpy(probs), torch.from_numpy(y))
    assert found["calibration_error"] == pytest.approx(float(exact))
    assert found["accuracy"] == (probs.argmax(1) == y).mean()
    assert found["log_loss"] == pytest.approx(-np.log(probs[np.arange(300), y]).mean())


def graded(y, ours, other):
    found = judged(numbers(y, hunch=ours, linear=other, constant=np.zeros(len(y))), seed=0)
    return grade(found["scores"], found["deciding"], found["ahead"])


def test_grades_are_what_can_be_told_apart():
    rng = np.random.default_rng(0)
    y, noise = rng.normal(size=(2, 400))
    assert graded(y, y + 0.3 * noise, y + 0.4 * noise) == "useful"
    assert graded(y, y + 0.3 * noise, y + 0.1 * noise) == "beaten"
    assert graded(y, 0.05 * y, 0 * y) == "weak"
    assert graded(y, 0.03 * noise, 0 * y) == "no better"
    assert graded(y, -0.5 * y, 0 * y) == "worse"


class Known:
    """Answers `2 a + b`, and is less sure the larger `a`."""

    def __init__(self, columns):
        self.columns, self.target = columns, Target("y", "regression")

    def predict_features(self, x):
        return {
            "mean": 2 * x[:, 0] + x[:, 1],
            "epistemic": np.exp(x[:, 0]),
            "aleatoric": np.ones(len(x)),
        }


def test_shares_of_a_sum_are_the_shares_of_its_variance():
    x = np.random.default_rng(0).normal(size=(1_000, 3))
    columns = Columns.learn(pa.table({name: x[:, i] for i, name in enumerate("abc")}))
    found = drivers(Known(columns), x, seed=0)
    shares = found["prediction"]
    assert list(shares)[:2] == ["a", "b"]
    # Errors are below 0.05 by one standard deviation of fourth moments over 1,000 rows.
    assert shares["a"] == pytest.approx(0.8, abs=0.15)
    assert shares["b"] == pytest.approx(0.2, abs=0.1)
    assert shares["c"] == 0
    assert found["epistemic"]["a"] > 0.5
    assert set(found["aleatoric"].values()) == {0.0}  # the same for all rows
    assert quantities(Known(columns), x)["prediction"].shape == (1_000, 1)


def test_parts_of_the_rows_add_up_to_all_of_them():
    rng = np.random.default_rng(0)
    right = rng.random(300) < 0.9
    found = by_size(rng.normal(size=300), right)
    assert len(found["share"]) == 10
    assert np.dot(found["share"], found["rows"]) == right.sum()
    table = pa.table(
        {
            "kind": rng.choice(["a", "b", "rare"], 300, p=[0.6, 0.38, 0.02]).tolist(),
            "flag": np.where(rng.random(300) < 0.1, None, rng.choice(["yes", "no"], 300)).tolist(),
            "x": rng.normal(size=300),
        }
    )
    columns, x = Columns.learn_and_encode(table)
    records = by_subgroup(columns, x, right, {"width": np.ones(300)})
    names = {(r["column"], r["value"]) for r in records}
    assert {("kind", "a"), ("kind", "b"), ("flag", "true"), ("flag", "missing")} <= names
    assert ("kind", "rare") not in names
    kinds = table["kind"].to_numpy(zero_copy_only=False)
    (own,) = [r for r in records if r["value"] == "b"]
    assert own["rows"] == (kinds == "b").sum()
    assert own["share"] == right[kinds == "b"].mean()
    assert (own["width"], own["low"] < own["share"] < own["high"]) == (1.0, True)


def test_the_overview_counts_what_is_there():
    rng = np.random.default_rng(0)
    y = np.append(rng.normal(size=399), 1e6)
    table = pa.table({"x": y, "part": pa.array([None if i % 4 else 1.0 * i for i in range(400)])})
    columns, x = Columns.learn_and_encode(table)
    found = overview(columns, Target("y", "regression"), x, y)
    assert found["missing"] == {"part": 0.75}
    assert sum(found["target"]["counts"]) == 400
    assert found["target"]["edges"][-1] < 10  # one value far away leaves the others apart
    assert found["target"]["beyond"] >= 1
    classes = overview(columns, Target("y", "classification", ("a", "b")), x, np.arange(400) % 2)
    assert classes["target"] == {"counts": {"a": 200, "b": 200}}
    assert SimpleNamespace(**found["kinds"]).number == 2
