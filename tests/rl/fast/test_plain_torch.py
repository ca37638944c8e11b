"""`fast=False` leaves all to torch, and agents learn the same up to rounding."""

import json

import numpy as np
import pytest
import torch

import hunch.envs  # noqa: F401 registers them
from hunch.rl import DQN, BootstrappedDQN, Plan, Run
from hunch.rl.fast.epinet_backprop import EpinetPass
from hunch.rl.fast.manual_backprop import FastRunner

SMALL = {"hidden_sizes": (16, 16), "batch_size": 16, "update_period": 1, "seed": 1}
AGENTS = {
    "plain": (DQN, {}),
    "dueling, two replicas": (DQN, {"dueling": True, "replicas": 2, "max_gradient_norm": 1.0}),
    "noisy": (DQN, {"noisy": True, "double": True, "layer_norm": True}),
    "rainbow": (
        DQN,
        dict(
            noisy=True, double=True, dueling=True, prioritized=True, n_step=3, distributional=True
        ),
    ),
    "members": (BootstrappedDQN, {"num_members": 4, "double": True, "mask_probability": 0.5}),
    "members, two replicas": (BootstrappedDQN, {"num_members": 3, "replicas": 2}),
    "prioritized members": (BootstrappedDQN, {"num_members": 3, "prioritized": True}),
    "prioritized epinet": (
        BootstrappedDQN,
        {"epinet": True, "num_members": 4, "prioritized": True, "priority_correction": 0.5},
    ),
    "epinet": (BootstrappedDQN, {"epinet": True, "num_members": 6, "double": True}),
    "epinet, two replicas": (BootstrappedDQN, {"epinet": True, "num_members": 4, "replicas": 2}),
}


@pytest.mark.parametrize("name", AGENTS)
def test_agents_learn_the_same_without_the_layers_by_hand(name):
    made, settings = AGENTS[name]
    fast, plain = (made("CartPole-v1", **SMALL, **settings, fast=f) for f in (True, False))
    for agent in (fast, plain):
        agent.learn(56, progress=False)
    assert plain.updates == fast.updates >= 30
    np.testing.assert_allclose(fast.losses, plain.losses, rtol=1e-3)
    for ours, theirs in zip(fast.network.parameters(), plain.network.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


def runs_fast(agent):
    if isinstance(agent, DQN):
        return isinstance(agent._online, FastRunner)
    ensemble = agent._ensemble
    return isinstance(getattr(ensemble, "_runners", None) or ensemble._passes, list) and isinstance(
        (getattr(ensemble, "_runners", None) or ensemble._passes)[0], FastRunner | EpinetPass
    )


@pytest.mark.parametrize("name", AGENTS)
def test_nothing_by_hand_is_left_where_it_is_not_wanted(name):
    made, settings = AGENTS[name]
    assert runs_fast(made("CartPole-v1", **SMALL, **settings))
    assert not runs_fast(made("CartPole-v1", **SMALL, **settings, fast=False))


def test_one_hot_observations_are_as_any_others_to_torch():
    agent = BootstrappedDQN(
        "hunch/DeepSea-v0", env_kwargs={"size": 4}, num_members=3, fast=False, **SMALL
    )
    agent.learn(60, progress=False)
    assert agent._replay._observation.shape[-2:] == (4, 4)
    assert agent.updates > 10


def test_the_setting_is_saved_and_true_in_older_folders(tmp_path):
    DQN("CartPole-v1", **SMALL, fast=False).save(tmp_path / "plain")
    assert not DQN.load(tmp_path / "plain").fast
    agent = DQN("CartPole-v1", **SMALL)
    plan = Plan("DQN", {k: v for k, v in agent.settings.items() if k != "fast"}, steps=40)
    run = Run.begin(tmp_path / "run", plan)
    assert "fast" not in json.loads((tmp_path / "run" / "run.json").read_text())["plan"]["settings"]
    for steps in (40, 60, 80):  # its checkpoints have the setting, its plan has not
        run = Run.open(tmp_path / "run")
        run.extend(steps)
        assert run.train(progress=False).fast
        assert run.last_agent().steps == steps
