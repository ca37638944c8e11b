"""Agents of one's own: they are saved, resumed and played like hunch's."""

import json
import subprocess
import sys

import pytest
import torch

from hunch.cli.main import run as hunch
from hunch.errors import ConfigurationError, FolderError
from hunch.rl import A2C, DQN, Checkpoint, Plan, Run
from hunch.rl.agents.saving import SETTINGS_FILE, origin_of
from hunch.rl.runs.weights import agent_class, read_weights

SMALL = {"hidden_sizes": (8,), "batch_size": 8, "replay_capacity": 50}


class Plain(DQN):
    """Nothing is different."""


class Handing(DQN):
    """Hands on whatever it gets."""

    def __init__(self, *args, bonus=0.5, **kwargs):
        super().__init__(*args, **kwargs)
        self.bonus = bonus


class Own(A2C):
    """Takes what it wants and settles the rest."""

    def __init__(self, seed=3, width=8):
        super().__init__("CartPole-v1", seed=seed, hidden_sizes=(width,), num_envs=2)


class Third(Handing):
    def __init__(self, env, *, double=True, **kwargs):
        super().__init__(env, double=double, **kwargs)


MADE = {
    "plain": lambda: Plain("CartPole-v1", **SMALL),
    "handing on": lambda: Handing("CartPole-v1", bonus=2.0, **SMALL),
    "handing on by name": lambda: Handing(env="CartPole-v1", **SMALL),
    "own arguments": lambda: Own(width=6),
    "in three steps": lambda: Third("CartPole-v1", bonus=3.0, **SMALL),
}


def local():
    class Local(DQN):
        def __init__(self, env, reward_scale=2.0, **kwargs):
            super().__init__(env, **kwargs)
            self.reward_scale = reward_scale

        def observe(self, step):
            super().observe(step._replace(reward=step.reward * self.reward_scale))

    return Local


MADE["defined in a function"] = lambda: local()("CartPole-v1", **SMALL)


@pytest.mark.parametrize("kind", MADE)
def test_a_subclass_is_saved_and_loaded(kind, tmp_path):
    agent = MADE[kind]().learn(40, progress=False)
    agent.save(tmp_path / "a")
    again = type(agent).load(tmp_path / "a")
    assert type(again) is type(agent)
    assert again.settings == agent.settings
    for name in ("bonus", "double"):
        assert getattr(again, name, None) == getattr(agent, name, None)
    one, other = (a.learn(80, progress=False).state_dict() for a in (agent, again))
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("kind", MADE)
def test_a_checkpoint_of_a_subclass_is_taken_up(kind, tmp_path):
    checkpoint = Checkpoint(tmp_path, every=30)
    agent = MADE[kind]().learn(64, callbacks=[checkpoint], progress=False)
    again = checkpoint.resume()
    assert type(again).__qualname__ == type(agent).__qualname__
    assert again.steps == 60
    one, other = (a.learn(90, progress=False).state_dict() for a in (agent, again))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_class_defined_last_is_taken(tmp_path):
    """As where a notebook's cell is run again."""
    checkpoint = Checkpoint(tmp_path, every=30)
    first = local()
    first("CartPole-v1", **SMALL).learn(30, callbacks=[checkpoint], progress=False)
    second = local()
    assert type(checkpoint.resume()) is second


@pytest.mark.parametrize("kind", ["plain", "handing on", "own arguments"])
def test_a_run_of_a_subclass_goes_on_and_keeps_its_best(kind, tmp_path):
    made = MADE[kind]()
    plan = Plan(
        type(made).__name__, made.settings, 60, evaluate_every=30, evaluate_episodes=1,
        checkpoint_every=20,
    )  # fmt: skip
    run = Run.begin(tmp_path / "run", plan)
    assert run.seed == made.seed
    agent = run.train(progress=False)
    opened = Run.open(run.folder)
    opened.extend(90)
    assert type(opened.train(progress=False)) is type(agent) is type(made)
    assert type(opened.best_agent()) is type(opened.last_agent()) is type(made)
    assert type(read_weights(run.folder / "best")) is type(made)


def test_hunch_says_of_a_class_nobody_defined_what_to_do(tmp_path, monkeypatch):
    agent = Plain("CartPole-v1", **SMALL)
    agent.save(tmp_path / "a")
    Checkpoint(tmp_path / "c")(agent)
    for file in [tmp_path / "a", *(tmp_path / "c").iterdir()]:
        said = json.loads((file / SETTINGS_FILE).read_text())
        assert (said["agent"], said["module"]) == ("Plain", Plain.__module__)
    monkeypatch.setattr("hunch.rl.runs.weights._subclasses", lambda cls: [])
    with pytest.raises(
        ConfigurationError, match=r"your module '.*test_subclasses'.*Plain\.load\("
    ) as error:
        Checkpoint(tmp_path / "c").resume()
    assert "\n" not in str(error.value)


def test_hunchs_own_folders_say_what_they_always_said(tmp_path):
    DQN("CartPole-v1", **SMALL).save(tmp_path / "a")
    assert "module" not in json.loads((tmp_path / "a" / SETTINGS_FILE).read_text())
    assert agent_class("DQN") is DQN


def test_a_class_of_the_same_name_is_not_taken_for_hunchs(tmp_path):
    class Mine(DQN):
        pass

    Mine.__name__ = "DQN"
    Mine("CartPole-v1", **SMALL).save(tmp_path / "a")
    with pytest.raises(FolderError, match=r"holds a DQN of the module '.*test_subclasses'"):
        DQN.load(tmp_path / "a")
    assert type(Mine.load(tmp_path / "a")) is Mine
    assert agent_class("DQN", origin_of(Mine)["module"]) is Mine
    DQN("CartPole-v1", **SMALL).save(tmp_path / "b")
    assert type(DQN.load(tmp_path / "b")) is DQN


SCRIPT = """
import sys
from hunch.rl import DQN, Checkpoint

class Scripted(DQN):
    def __init__(self, env, bonus=1.0, **kwargs):
        super().__init__(env, **kwargs)
        self.bonus = bonus

if __name__ == "__main__":
    place = sys.argv[1]
    checkpoint = Checkpoint(place + "/points", every=20)
    agent = checkpoint.resume() or Scripted("CartPole-v1", bonus=4.0, batch_size=8)
    print(type(agent).__name__, agent.steps, agent.bonus)
    agent.learn(agent.steps + 30, callbacks=[checkpoint], progress=False).save(place + "/agent")
"""


@pytest.mark.slow
def test_a_script_takes_its_own_checkpoints_up_and_hunch_plays_them(tmp_path, capfd, monkeypatch):
    (tmp_path / "my_agents.py").write_text(SCRIPT)
    for said in ("Scripted 0 4.0", "Scripted 20 4.0"):
        command = [sys.executable, "my_agents.py", str(tmp_path)]
        found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        assert found.stdout.strip() == said
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setitem(sys.modules, "my_agents", None)
    del sys.modules["my_agents"]
    # What a folder names is not imported; what the user names is.
    assert hunch(["play", "agent", "--episodes=1"]) == 2
    assert "--import MODULE" in capfd.readouterr().err
    assert "my_agents" not in sys.modules
    assert hunch(["play", "agent", "--episodes=1", "--import", "my_agents"]) == 0
    assert "Replica 0: return" in capfd.readouterr().out
    assert hunch(["play", "agent", "--import", "no_such_module"]) == 2
    assert "--import" in capfd.readouterr().err


def test_hunch_goes_on_with_a_run_of_ones_own_class(tmp_path, capfd):
    plan = Plan("Own", Own().settings, 40, evaluate_every=20, evaluate_episodes=1)
    Run.begin(tmp_path / "run", plan).train(progress=False)
    assert hunch(["train", "--resume", str(tmp_path / "run"), "--steps=60"]) == 0
    assert Run.open(tmp_path / "run").last_agent().steps == 60
    assert (tmp_path / "run" / "report.html").is_file()
    assert hunch(["play", str(tmp_path / "run"), "--episodes=1"]) == 0
