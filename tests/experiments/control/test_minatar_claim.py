"""MinAtar beside Stable-Baselines3: what counts, and that a small run goes all the way."""

import dataclasses
import importlib
import json
import sys

import numpy as np
import pytest

from hunch.errors import MissingDependencyError
from hunch.experiments.claims.drawing import figures
from hunch.experiments.control import minatar as experiment
from hunch.experiments.control import minatar_agents as agents
from hunch.experiments.control.minatar import (
    FAST,
    OURS,
    RANDOM,
    SLOW,
    THEIRS,
    Played,
    Result,
    Settings,
)


def result_of(ours=1.3, fast=1.0, seconds=20.0, settings=None):
    """All seeds of an agent alike, in each game another multiple of the same figure."""
    settings = settings or dataclasses.replace(Settings(), timed_seeds=2)
    values = {OURS: (ours, 1.0), THEIRS: (1.0, 1.0), SLOW: (1.0, 100.0), FAST: (fast, seconds)}
    values[RANDOM] = (0.1, 0.0)
    played = [
        Played(agent, game, np.full(settings.seeds_of(agent), scale * value), time)
        for scale, game in enumerate(settings.games, start=1)
        for agent, (value, time) in values.items()
        if settings.seeds_of(agent)
    ]
    return Result(settings, tuple(played))


def test_every_bound_is_asked_for():
    assert all(check.holds for check in experiment.check(result_of(1.3001, 1.0, 20.0)))
    found = experiment.check(result_of(1.29, 0.99, 20.1))
    assert [check.holds for check in found] == [False, False, False]
    assert [check.value for check in found] == pytest.approx([1.29, 0.99, 0.201])
    alone = result_of(settings=dataclasses.replace(Settings(), timed_seeds=0))
    assert [check.bound for check in experiment.check(alone)] == [1.3]
    (check,) = experiment.check(result_of(0.5, settings=Settings.quick()))
    assert check.holds
    assert "too few frames" in check.what


def test_each_game_counts_alike():
    a, b = {"x": np.array([1.0, 3.0]), "y": np.array([200.0])}, {"x": np.zeros(3)}
    one, other = experiment.on_one_scale(a, {**b, "y": np.array([100.0])})
    assert one["x"].tolist() == [1.0, 3.0]  # the mean of 2 and 0 is the unit
    assert (one["y"].item(), other["y"].item()) == pytest.approx((4 / 3, 2 / 3))
    one, other = experiment.on_one_scale({"x": np.zeros(2)}, b)
    assert one["x"].tolist() == [0.0, 0.0]


def test_figures_draw_and_the_file_reads_back():
    pytest.importorskip("matplotlib")
    result = result_of()
    drawn = figures("minatar", result)
    assert list(drawn) == ["minatar", "minatar-time"]
    for figure, caption in drawn.values():
        assert figure.axes[0].get_ylabel()
        assert caption.endswith(".")
    values = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert "seconds" not in json.dumps(values)
    assert Result.from_json(values, result.settings).to_json() == values
    lines = result.to_markdown().splitlines()
    assert sum(line.startswith("| Breakout |") for line in lines) == 5


@pytest.mark.parametrize(
    ("module", "words"),
    [("minatar.gym", r"torch-hunch\[minatar\]"), ("stable_baselines3", r"\[minatar,sb3\]")],
)
def test_what_is_missing_is_named_before_anything_is_trained(module, words, monkeypatch):
    def find(name, *args):
        if name == module:
            raise ImportError(name)
        return real(name, *args) if name != "minatar.gym" else sys

    real = importlib.import_module
    monkeypatch.setattr(importlib, "import_module", find)
    monkeypatch.setattr(sys, "register_envs", lambda: None, raising=False)
    monkeypatch.setattr(agents, "played_by", lambda *a: pytest.fail("something was trained"))
    with pytest.raises(MissingDependencyError, match=words):
        experiment.run(Settings.quick(), progress=False)


@pytest.fixture
def installed():
    pytest.importorskip("minatar.gym")
    pytest.importorskip("stable_baselines3")


def test_a_small_run_goes_all_the_way_and_what_was_kept_is_taken_up(
    tmp_path, monkeypatch, installed
):
    settings = dataclasses.replace(Settings.quick(), keep=str(tmp_path))
    first = experiment.run(settings, seed=3, progress=False)
    assert all(check.holds for check in experiment.check(first))
    assert [len(own.mean_return) for own in first.played[:5]] == [2, 2, 1, 1, 1]
    monkeypatch.setattr(experiment, "_play", lambda task: pytest.fail("trained again"))
    assert experiment.run(settings, seed=3, progress=False).to_json() == first.to_json()
    with pytest.raises(pytest.fail.Exception):
        experiment.run(settings, seed=4, progress=False)


def test_all_have_the_same_network_and_theirs_its_own_defaults(installed):
    game = "MinAtar/Breakout-v1"
    theirs, ours = (make(game, 300, 1) for make in (agents.stable_baselines, agents.ours))
    shapes = [tuple(own.shape) for own in theirs.q_net.parameters()]
    assert shapes == [tuple(own.shape) for own in ours.network.parameters()]
    assert shapes[0] == (16, 4, 3, 3)
    assert (theirs.train_freq.frequency, theirs.target_update_interval) == (4, 10_000)
    assert theirs.buffer_size == 300


def test_nothing_that_is_global_is_moved(installed):
    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    first, again = (
        agents.played_by(agents.stable_baselines, "MinAtar/Breakout-v1", 300, 1, 2)[0]
        for _ in range(2)
    )
    assert first == again
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002
