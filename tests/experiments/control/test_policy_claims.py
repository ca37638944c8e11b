"""The claims about policy agents: what counts as solved, and that small runs go all the way."""

import dataclasses
import importlib.util
import itertools
import json

import numpy as np
import pytest

from hunch.errors import MissingDependencyError
from hunch.experiments.claims.drawing import figures
from hunch.experiments.claims.registry import load
from hunch.experiments.control import (
    classic_control,
    continuous_control,
    larger_problems,
    noisy_a2c,
    relax_cartpole,
)
from hunch.experiments.control.trials import SOLVED, Trial


def check_whole(name, settings):
    """Run, print, draw; the same seed gives the same results."""
    module = load(name)
    first, second = (module.run(settings, seed=1, progress=False) for _ in range(2))
    assert json.dumps(first.to_json()) == json.dumps(second.to_json())
    assert json.loads(json.dumps(first.to_json(), allow_nan=False))
    lines = [line for line in first.to_markdown().splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in lines}) == 1
    assert all(check.holds for check in module.check(first))
    for figure, caption in figures(name, first).values():
        assert figure.axes
        assert caption.endswith(".")
    return first


@pytest.mark.slow
def test_relax_cartpole_goes_all_the_way():
    result = check_whole("relax-cartpole", relax_cartpole.Settings.quick())
    assert [trial.seed for trial in result.trials] == [1, 2]
    assert all(trial.solved is None for trial in result.trials)


def test_a_pole_is_balanced_when_a_hundred_episodes_are_above_195():
    returns = [10.0] * 7 + [200.0] * 150
    # (200 k + 10 (100 - k)) / 100 > 195 from k = 98 on.
    assert relax_cartpole.solved_at(returns) == 7 + 98
    assert relax_cartpole.solved_at(returns[: 7 + 97]) is None
    assert relax_cartpole.solved_at([200.0] * 99) is None


def test_the_median_counts_seeds_that_never_solved():
    settings = relax_cartpole.Settings()

    def result(*solved):
        trials = [relax_cartpole.Trial("learned value", i, s) for i, s in enumerate(solved)]
        return relax_cartpole.Result(settings, tuple(trials))

    assert all(check.holds for check in relax_cartpole.check(result(*[250] * 10)))
    late = relax_cartpole.check(result(*[250] * 4, *[None] * 6))
    assert [check.holds for check in late] == [False, False]
    assert [check.holds for check in relax_cartpole.check(result(*[301] * 10))] == [False, True]


def test_noisy_a2c_goes_all_the_way():
    result = check_whole("noisy-a2c", noisy_a2c.Settings.quick())
    assert [dive.agent for dive in result.deep_sea[::2]] == list(noisy_a2c.AGENTS)
    assert noisy_a2c.make_agent(noisy_a2c.NOISY, "CartPole-v1", 0).entropy_weight == 0


@pytest.mark.slow
def test_continuous_control_goes_all_the_way():
    result = check_whole("continuous-control", continuous_control.Settings.quick())
    assert [trial.agent for trial in result.trials] == ["A2C", "Reinforce"]


def test_classic_control_goes_all_the_way():
    result = check_whole("classic-control", classic_control.Settings.quick())
    tasks = [(trial.agent, trial.env) for trial in result.trials]
    every = {*itertools.product(classic_control.AGENTS, result.settings.frames)}
    assert len(tasks) == len({*tasks})
    assert {*tasks} == every - classic_control.NOT_PLAYED


def test_classic_control_takes_up_what_was_kept(tmp_path, monkeypatch):
    settings = dataclasses.replace(
        classic_control.Settings.quick(), frames={"CartPole-v1": 300}, keep=str(tmp_path)
    )
    first = classic_control.run(settings, seed=2, progress=False)
    monkeypatch.setattr(classic_control, "_train", lambda task: pytest.fail("trained again"))
    assert classic_control.run(settings, seed=2, progress=False).to_json() == first.to_json()
    with pytest.raises(pytest.fail.Exception):
        classic_control.run(settings, seed=3, progress=False)


def test_nine_seeds_of_ten_are_asked_for_of_the_agent_claimed():
    def trial(agent, env, solved):
        bound = SOLVED[env]
        return Trial(agent, env, np.array([bound] * solved + [bound - 1] * (10 - solved)))

    settings = classic_control.Settings()
    trials = [
        trial(agent, env, 9 - (env == "Acrobot-v1") - 2 * (agent == "PQN"))
        for agent in classic_control.AGENTS
        for env in settings.frames
    ]
    found = classic_control.check(classic_control.Result(settings, tuple(trials)))
    assert [check.holds for check in found] == [True, False, True]


@pytest.mark.slow
def test_larger_problems_go_all_the_way(tmp_path, monkeypatch):
    for module in ("Box2D", "minigrid", "stable_baselines3"):
        pytest.importorskip(module)
    settings = dataclasses.replace(larger_problems.Settings.quick(), keep=str(tmp_path))
    result = larger_problems.run(settings, seed=1, progress=False)
    agents = (*larger_problems.AGENTS, larger_problems.THEIRS)
    tasks = [(trial.env, trial.agent) for trial in result.trials]
    assert tasks == [*itertools.product(settings.frames, agents)]
    assert all(check.holds for check in larger_problems.check(result))
    assert len(figures("larger-problems", result)) == 2
    monkeypatch.setattr(larger_problems, "_train", lambda task: pytest.fail("trained again"))
    again = larger_problems.run(settings, seed=1, progress=False)
    assert again.to_json() == result.to_json()


def test_eight_seeds_of_ten_are_asked_for_on_larger_problems():
    settings = larger_problems.Settings()
    for claimed, holds in ((8, True), (7, False)):
        trials = tuple(
            Trial(agent, env, np.array([SOLVED[env]] * solved + [-1.0] * (10 - solved)))
            for env in settings.frames
            for agent, solved in ((larger_problems.CLAIMED, claimed), (larger_problems.THEIRS, 0))
        )
        found = larger_problems.check(larger_problems.Result(settings, trials))
        assert [check.holds for check in found] == [holds, holds]


def test_what_larger_problems_lack_is_named(monkeypatch):
    def lacking(name):
        raise ImportError(name)

    monkeypatch.setattr(larger_problems.importlib, "import_module", lacking)
    with pytest.raises(MissingDependencyError, match=r"Box2D.*torch-hunch\[larger,sb3\]"):
        larger_problems.run(progress=False)


def test_eight_seeds_of_ten_are_asked_for():
    settings = continuous_control.Settings()

    def trial(env, solved):
        bound = SOLVED[env]
        returns = np.array([bound] * solved + [bound - 1] * (10 - solved))
        return Trial("A2C", env, returns, 1.0)

    result = continuous_control.Result(settings, (trial("Pendulum-v1", 8),))
    assert [check.holds for check in continuous_control.check(result)] == [True, False]
    more = dataclasses.replace(result, trials=(*result.trials, trial("InvertedPendulum-v5", 7)))
    assert [check.holds for check in continuous_control.check(more)] == [True, False]


def test_without_mujoco_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'torch-hunch\[mujoco\]'"):
        continuous_control.run(progress=False)
