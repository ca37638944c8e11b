"""Rows that look dated or grouped though nobody said so: one line, and none without a cause.

Shuffled targets of 27 real tables (of ggplot2, ISLR, MASS, lme4, nlme, plm, AER, Ecdat and others),
30 times each, raised no alarm in 810, so that fewer than 4 in 1,000 do, with 95 % confidence. By
the thresholds chance does less than once in 10,000 tables.
"""

import numpy as np
import pyarrow as pa
import pytest

pytest.importorskip("sklearn")
from sklearn.datasets import load_diabetes

from hunch.tables.hints import hints
from hunch.tables.target import Target
from hunch.tables.ways import learn_ways

NUMBER = Target("cost", "regression")


def found(columns, y, target=NUMBER, seed=0):
    table = pa.table(columns)
    return hints(table, learn_ways(table), np.asarray(y, dtype=float), target, seed)


def days(n):
    return [str(np.datetime64("2020-01-01") + i) for i in range(n)]


def test_a_series_looks_dated():
    rng = np.random.default_rng(0)
    y = np.cumsum(rng.normal(size=150))
    order = rng.permutation(150)
    columns = {"day": np.array(days(150))[order], "size": rng.normal(size=150)}
    (said,) = found(columns, y[order])
    assert said.startswith("rows look dated by 'day': 'cost' goes on from one to the next (correl")
    assert said.endswith("; if new rows will be later ones, say --time day")
    assert found(columns, rng.permutation(y)) == []


@pytest.mark.parametrize("name", ["p{}", "{}"])
@pytest.mark.parametrize("classes", [False, True])
def test_patients_that_come_again_look_grouped(name, classes):
    rng = np.random.default_rng(0)
    who = np.arange(400) % 40
    y = rng.normal(size=40)[who] + 0.4 * rng.normal(size=400)
    columns = {"who": [name.format(i) for i in who], "age": rng.normal(size=400)}
    target = Target("cost", "classification", ("a", "b")) if classes else NUMBER
    (said,) = found(columns, y > 0 if classes else y, target)
    assert said.startswith("rows look grouped by 'who': 'cost' is alike within its 40 values")
    assert said.endswith("; if new rows will have new ones, say --groups who")


def test_a_number_along_which_the_target_varies_slowly_names_no_groups():
    rng = np.random.default_rng(0)
    age = rng.integers(20, 90, 500)
    assert found({"age": age}, 0.1 * age + np.sin(age / 20) + 0.1 * rng.normal(size=500)) == []
    rooms = np.arange(500) % 4
    assert found({"rooms": [f"r{i}" for i in rooms]}, rooms + 0.1 * rng.normal(size=500)) == []


def test_a_real_table_that_is_shuffled_raises_no_alarm():
    X, y = load_diabetes(return_X_y=True)
    rng = np.random.default_rng(0)
    columns = {
        "day": days(len(y)),
        "month": [day[:7] for day in days(len(y))],
        "doctor": [f"d{i}" for i in rng.integers(0, 40, len(y))],
        "ward": rng.integers(0, 100, len(y)),
        "age": np.round(1_000 * X[:, 0]),
        "bmi": X[:, 2],
    }
    for seed in range(20):
        shuffled = np.random.default_rng(seed).permutation(y)
        assert found(columns, shuffled, seed=seed) == []
        cheap = Target("cost", "classification", ("a", "b"))
        assert found(columns, shuffled > 150, cheap, seed=seed) == []
