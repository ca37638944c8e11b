"""What dashboards are told: where an agent stands, and how to go on in the same run."""

import json
import sys
import types

import numpy as np
import pytest
import torch

from hunch.errors import MissingDependencyError
from hunch.rl import A2C, DQN, BootstrappedDQN, Evaluate, Linear, Reinforce, TrackioLog, WandbLog
from hunch.rl.runs.dashboards import STEPS
from hunch.rl.runs.loggers import CurveLog, plain_settings
from hunch.rl.runs.quantities import quantities

SMALL = dict(hidden_sizes=(8,), seed=3)


class Kept(CurveLog):
    """A dashboard that keeps what it is told."""

    def __init__(self, every, evaluation=None):
        self.opened, self.points = [], []
        super().__init__(".", every, evaluation)

    def _open(self, agent):
        self.opened.append(self._step)

    def _write(self, points, step):
        self.points += points


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lambda: DQN("CartPole-v1", **SMALL), {"learning_rate", "epsilon", "value"}),
        (
            lambda: DQN(
                "CartPole-v1", noisy=True, dueling=True, distributional="quantile", **SMALL
            ),
            {"learning_rate", "value"},
        ),
        (lambda: DQN("CartPole-v1", replicas=3, **SMALL), {"learning_rate", "epsilon", "value"}),
        (
            lambda: BootstrappedDQN("CartPole-v1", num_members=3, **SMALL),
            {"learning_rate", "value"},
        ),
        (
            lambda: BootstrappedDQN(
                "hunch.envs:hunch/DeepSea-v0", env_kwargs=dict(size=4), num_members=3, **SMALL
            ),
            {"learning_rate", "value"},
        ),
        (lambda: BootstrappedDQN("CartPole-v1", epinet=True, **SMALL), {"learning_rate", "value"}),
        (lambda: A2C("CartPole-v1", **SMALL), {"learning_rate", "value"}),
        (lambda: A2C("CartPole-v1", noisy=True, **SMALL), {"learning_rate", "value"}),
        (
            lambda: A2C("Pendulum-v1", normalize=True, replicas=2, **SMALL),
            {"learning_rate", "value"},
        ),
        (lambda: Reinforce("CartPole-v1", **SMALL), {"learning_rate", "value"}),
        (lambda: Reinforce("CartPole-v1", baseline=None, **SMALL), {"learning_rate"}),
    ],
)
def test_to_ask_an_agent_changes_nothing(make, names):
    plain, asked = make(), make()
    for steps in (40, 80, 120):
        plain.learn(steps, progress=False)
        asked.learn(steps, progress=False)
        found = quantities(asked)
    assert {name.removeprefix("train/") for name in found if name.startswith("train/")} == names
    assert all(np.isfinite(value) for value in found.values())
    assert any(name.startswith("noise/") for name in found) == bool(asked.settings.get("noisy"))
    before, after = plain.state_dict(), asked.state_dict()
    assert before.keys() == after.keys()
    assert all((before[name] == after[name]).all() for name in before)


def test_numbers_are_those_in_force():
    agent = DQN(
        "CartPole-v1",
        epsilon=Linear(1.0, 0.0, steps=100),
        learning_rate=Linear(1e-3, 0.0, steps=200),
        **SMALL,
    )
    agent.learn(50, progress=False)
    found = quantities(agent)
    assert found["train/epsilon"] == pytest.approx(0.5)
    assert found["train/learning_rate"] == pytest.approx(7.5e-4)
    seen = agent.present_observations[0]
    with torch.no_grad():
        values = agent.network(agent._tensor(seen)).amax(-1)
    assert found["train/value"] == pytest.approx(float(values.mean()))


def test_values_are_in_the_units_of_the_rewards():
    plain = A2C("CartPole-v1", **SMALL)
    scaled = A2C("CartPole-v1", reward_scale=0.5, **SMALL)
    assert quantities(scaled)["train/value"] == pytest.approx(2 * quantities(plain)["train/value"])


def test_every_point_comes_once_also_after_a_resume():
    check = Evaluate(every=60, episodes=1)
    log = Kept(40, check)
    agent = DQN("CartPole-v1", **SMALL).learn(120, callbacks=[check, log], progress=False)
    again = Kept(40, check)
    again.load_state_dict(log.state_dict())
    agent.learn(240, callbacks=[check, again], progress=False)
    again.flush(agent)
    points = log.points + again.points
    assert (log.opened, again.opened) == ([0], [120])
    assert [at for name, at, _ in points if name == "episode/return/0"] == agent.history.ends
    assert [at for name, at, _ in points if name == "evaluation/return/0"] == [60, 120, 180, 240]
    assert [at for name, at, _ in points if name == "train/value"] == [40, 80, 120, 160, 200, 240]
    speeds = [value for name, _, value in points if name == "time/steps_per_second"]
    assert len(speeds) == 6
    assert min(speeds) > 0


def test_settings_are_plain():
    found = plain_settings(DQN("CartPole-v1", epsilon=Linear(1.0, 0.1, steps=5), **SMALL))
    assert json.loads(found["epsilon"]) == {"Linear": [1.0, 0.1, 5]}
    assert found["seed"] == 3


@pytest.mark.parametrize(("log", "name"), [(WandbLog, "wandb"), (TrackioLog, "trackio")])
def test_a_dashboard_is_an_extra(log, name, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingDependencyError, match=rf'pip install "torch-hunch\[{name}\]"'):
        log("project")


class Told:
    """In the place of a run of either library."""

    def __init__(self, **options):
        self.options, self.rows, self.ended = options, [], False
        self.id = self.name = options.get("id") or options.get("name") or "made"

    def define_metric(self, name, **how):
        pass

    def log(self, row, step=None):
        self.rows.append(row if step is None else {**row, STEPS: step})

    def finish(self):
        self.ended = True


@pytest.fixture
def told(monkeypatch):
    runs = []
    for name in ("wandb", "trackio"):
        module = types.ModuleType(name)
        module.init = lambda **options: runs.append(Told(**options)) or runs[-1]
        monkeypatch.setitem(sys.modules, name, module)
    return runs


@pytest.mark.parametrize("make", [WandbLog, TrackioLog])
def test_a_resumed_training_goes_on_in_its_run(make, told):
    log = make("project", every=50, group="mine")
    agent = DQN("CartPole-v1", **SMALL).learn(100, callbacks=[log], progress=False)
    again = make("project", every=50, group="mine")
    again.load_state_dict(json.loads(json.dumps(log.state_dict())))
    agent.learn(200, callbacks=[again], progress=False)
    again.close()
    first, second = told
    assert first.options["config"]["agent"] == "DQN"
    assert (first.options["project"], first.options["group"]) == ("project", "mine")
    assert "resume" not in first.options
    assert second.options["resume"] == "allow"
    assert (second.id, second.ended) == ("made", True)
    assert [row[STEPS] for row in first.rows + second.rows] == [50, 100, 150, 200]
    assert "train/value" in second.rows[-1]


def test_wandb_takes_it_offline(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    log = WandbLog("project", every=50, dir=str(tmp_path), name="a")
    DQN("CartPole-v1", **SMALL).learn(100, callbacks=[log], progress=False)
    assert log._run.summary[STEPS] == 100
    assert log._run.summary["train/epsilon"] > 0
    log.close()
    assert list(tmp_path.glob("wandb/offline-run-*/run-*.wandb"))


def test_trackio_keeps_it_here(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path))
    monkeypatch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    pytest.importorskip("trackio")
    log = TrackioLog("project", every=50, name="a")
    DQN("CartPole-v1", **SMALL).learn(100, callbacks=[log], progress=False)
    log.close()
    assert list(tmp_path.rglob("*.db"))
