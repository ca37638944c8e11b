"""The report's arithmetic, and a report of a run without any finished episode."""

import re

import numpy as np
import pytest

from hunch.charts import running_mean
from hunch.errors import FolderError
from hunch.plots.run_charts import held, mean_and_interval
from hunch.plots.run_report import write_report
from hunch.rl import DQN, Plan, Run
from hunch.rl.runs.summary import summarize


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
    np.testing.assert_allclose(running_mean(values, 3), [1, 1.5, 2, 3, 4])
    found = held(np.array([0.0, 1, 2, 5]), np.array([1.0, 3]), np.array([10.0, 30]))
    np.testing.assert_array_equal(found, [np.nan, 10, 10, 30])


def test_a_report_before_the_first_episode_ended(tmp_path):
    run = Run.begin(tmp_path / "run", Plan("DQN", DQN("MountainCar-v0").settings, steps=3))
    run.train(progress=False)
    page = write_report(run).read_text("utf-8")
    assert "There is no finished episode yet." in page
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org", "")


COMMAND = "hunch train noisy-dqn CartPole-v1 --steps=40 --out runs/a --seed 0"


def noisy_run(place, steps=40):
    settings = DQN("CartPole-v1", noisy=True, hidden_sizes=(4,), batch_size=8).settings
    return Run.begin(place, Plan("DQN", settings, steps=steps), {"command": COMMAND})


def test_the_settings_are_those_in_force(tmp_path):
    run = noisy_run(tmp_path / "run")
    run.train(progress=False)
    page = write_report(run).read_text("utf-8")
    table = page[page.index("What was run") :]
    for name in ("noisy", "double", "batch_size", "n_step"):
        assert f"<code>{name}</code></td>" in table
    for name in ("epsilon", "priority_exponent", "priority_correction", "atoms", "value_range"):
        assert f"<code>{name}</code></td>" not in table
    assert "Without effect beside these, and so left out: <code>epsilon</code>" in table


def test_a_run_that_was_given_more_steps_says_so(tmp_path):
    run = noisy_run(tmp_path / "run")
    run.train(progress=False)
    summarize(run, run.last_agent(), episodes=1)
    assert "40 environment steps" in write_report(run).read_text("utf-8")
    again = Run.open(run.folder)
    again.extend(70)
    page = write_report(again).read_text("utf-8")
    assert "40 environment steps of each replica, of 70 that it was asked for" in page
    again.train(progress=False)
    page = write_report(again).read_text("utf-8")
    assert "70 environment steps of each replica, which is all it was asked for" in page
    assert "hunch train --resume RUN --steps 70" in page
    assert "Not evaluated yet." in page  # the summary was of fewer steps


def test_a_report_does_not_depend_on_where_the_run_lies(tmp_path):
    pages = []
    for name in ("a", "b"):
        run = noisy_run(tmp_path / name)
        run.about["command"] = COMMAND.replace("runs/a", f"runs/{name}")
        run.train(progress=False)
        page = write_report(run).read_bytes()
        pages.append(re.sub(rb"<div><dt>wall time</dt>.*?</div>", b"", page))
    assert pages[0] == pages[1]
    assert b"--out RUN" in pages[0]


@pytest.mark.parametrize("name", ["summary.json", "logs/episodes.csv"])
def test_nothing_is_drawn_from_a_damaged_file(name, tmp_path):
    run = noisy_run(tmp_path / "run")
    summarize(run, run.train(progress=False), episodes=1)
    place = run.folder / name
    place.write_text(place.read_text().replace("0", "1"))
    with pytest.raises(FolderError, match="is not as hunch wrote it; `hunch train --resume`"):
        write_report(run)
