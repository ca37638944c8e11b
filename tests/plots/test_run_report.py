"""The report's arithmetic, and a report of a run without any finished episode."""

import numpy as np
import pytest

from hunch.plots.run_report import _held, _running_mean, mean_and_interval, write_report
from hunch.rl import DQN, Plan, Run


@pytest.mark.parametrize("count", [2, 3, 8, 14, 20, 60])
def test_the_band_is_students_interval(count):
    stats = pytest.importorskip("scipy.stats")
    values = np.random.default_rng(0).normal(size=(count, 5))
    mean, half = mean_and_interval(values)
    low, high = stats.t.interval(0.95, count - 1, values.mean(0), stats.sem(values))
    np.testing.assert_allclose(mean, values.mean(0))
    np.testing.assert_allclose(half, (high - low) / 2, rtol=0.01)


def test_a_replica_without_an_episode_yet_is_left_out():
    mean, half = mean_and_interval(np.array([[np.nan, 1.0], [2.0, 3.0], [4.0, 5.0]]))
    np.testing.assert_allclose(mean, [3.0, 3.0])
    np.testing.assert_allclose(half, [12.71, 4.30 * 2 / np.sqrt(3)])


def test_running_means_and_held_values():
    values = np.arange(1.0, 6.0)
    np.testing.assert_allclose(_running_mean(values, 3), [1, 1.5, 2, 3, 4])
    held = _held(np.array([0.0, 1, 2, 5]), np.array([1.0, 3]), np.array([10.0, 30]))
    np.testing.assert_array_equal(held, [np.nan, 10, 10, 30])


def test_a_report_before_the_first_episode_ended(tmp_path):
    run = Run.begin(tmp_path / "run", Plan("DQN", DQN("MountainCar-v0").settings, steps=3))
    run.train(progress=False)
    page = write_report(run).read_text("utf-8")
    assert "There is no finished episode yet." in page
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org", "")
