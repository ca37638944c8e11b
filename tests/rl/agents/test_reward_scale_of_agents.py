"""Agents whose rewards are large learn as those do whose rewards are of usual size."""

import gymnasium
import numpy as np
import pytest
import torch

from hunch.errors import ConfigurationError
from hunch.rl import A2C, DQN, PQN, BootstrappedDQN, Reinforce

SMALL = {"hidden_sizes": (8,)}
REPLAY = {**SMALL, "batch_size": 16, "min_replay_size": 100}
AGENTS = {
    "DQN": (DQN, REPLAY),
    "three steps": (DQN, {**REPLAY, "n_step": 3, "prioritized": True}),
    "quantiles": (DQN, {**REPLAY, "distributional": "quantile", "atoms": 11}),
    "noisy": (DQN, {**REPLAY, "noisy": True, "double": True, "fast": False}),
    "members": (BootstrappedDQN, {**REPLAY, "num_members": 3}),
    "epinet": (BootstrappedDQN, {**REPLAY, "epinet": True, "num_members": 2}),
    "PQN": (PQN, {**SMALL, "num_envs": 4, "rollout_length": 16}),
    "A2C": (A2C, {**SMALL, "num_envs": 4, "rollout_length": 16}),
    "Reinforce": (Reinforce, {**SMALL, "num_envs": 2}),
}


def carts(size):
    def make():
        env = gymnasium.make("CartPole-v1")
        return gymnasium.wrappers.TransformReward(env, lambda reward: size * reward)

    return make


def weights(agent):
    return torch.cat([p.detach().ravel() for p in agent.network.parameters()])


@pytest.mark.parametrize("name", AGENTS)
def test_large_rewards_teach_what_their_share_does(name):
    cls, settings = AGENTS[name]
    large = cls(carts(1024.0), **settings).learn(400, progress=False)
    (multiplier,) = large.reward_multiplier
    assert multiplier <= 1 / 64
    same = cls(carts(1024.0 * multiplier), reward_scale=1.0, **settings)
    same.learn(400, progress=False)
    assert same.updates > 0
    assert torch.equal(weights(large), weights(same))
    assert large.histories[0].returns[0] == 1024.0 * large.histories[0].lengths[0]


@pytest.mark.parametrize("name", AGENTS)
def test_usual_rewards_are_learned_as_they_are(name):
    cls, settings = AGENTS[name]
    usual = 0.1 if cls is PQN else 1.0
    chosen = cls("CartPole-v1", **settings).learn(300, progress=False)
    given = cls("CartPole-v1", reward_scale=usual, **settings).learn(300, progress=False)
    assert chosen.reward_multiplier == usual
    assert torch.equal(weights(chosen), weights(given))


@pytest.mark.parametrize("name", AGENTS)
@pytest.mark.parametrize("steps", [40, 250])
def test_the_choice_goes_on(name, steps, tmp_path):
    cls, settings = AGENTS[name]
    agent = cls(carts(500.0), **settings).learn(steps, progress=False)
    agent.save(tmp_path / "agent")
    other = cls.load(tmp_path / "agent", env=carts(500.0))
    assert other.settings["reward_scale"] == "auto"
    np.testing.assert_array_equal(other.reward_multiplier, agent.reward_multiplier)
    for each in (agent, other):
        each.learn(400, progress=False)
    np.testing.assert_array_equal(other.reward_multiplier, agent.reward_multiplier)
    assert agent.reward_multiplier < 1 / 16
    assert torch.equal(weights(agent), weights(other))


@pytest.mark.parametrize("name", AGENTS)
def test_a_replica_is_the_agent_of_its_seed(name):
    cls, settings = AGENTS[name]
    both = cls(carts(500.0), replicas=2, **settings).learn(300, progress=False)
    alone = cls(carts(500.0), seed=1, **settings).learn(300, progress=False)
    assert both.reward_multiplier[1] == alone.reward_multiplier[0]


@pytest.mark.parametrize("name", ["DQN", "members", "A2C", "Reinforce"])
def test_values_are_in_the_units_of_the_rewards(name):
    cls, settings = AGENTS[name]
    agent = cls(carts(1024.0), **settings).learn(400, progress=False)
    (multiplier,) = agent.reward_multiplier
    same = cls(carts(1024.0 * multiplier), reward_scale=1.0, **settings)
    same.learn(400, progress=False)
    seen = torch.zeros(1, 4)
    with torch.no_grad():
        found, expected = agent.state_values(seen, 0), same.state_values(seen, 0)
    np.testing.assert_allclose(found * multiplier, expected, rtol=1e-6)


@pytest.mark.parametrize("value_range", ["auto", (0.0, 1e4)])
def test_atoms_lie_where_returns_do(value_range):
    settings = {**REPLAY, "distributional": True, "value_range": value_range}
    agent = DQN(carts(100.0), **settings).learn(200, progress=False)
    assert agent.reward_multiplier == 1.0


def test_it_is_said_where_rewards_are_made_smaller():
    agent = DQN(carts(1024.0), **REPLAY).learn(200, progress=False)
    assert f"rewards times {agent.reward_multiplier[0]:.3g}" in repr(agent)
    usual = PQN("CartPole-v1", hidden_sizes=(8,)).learn(100, progress=False)
    assert "rewards times" not in repr(usual)


def test_tables_learn_rewards_of_any_size():
    agent = BootstrappedDQN("CliffWalking-v1", hidden_sizes=()).learn(600, progress=False)
    assert agent.reward_multiplier == 1.0


@pytest.mark.parametrize("cls", [DQN, BootstrappedDQN, PQN, A2C, Reinforce])
@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), "much", True, None])
def test_a_scale_that_is_none(cls, scale):
    with pytest.raises(ConfigurationError, match="`reward_scale` got"):
        cls("CartPole-v1", reward_scale=scale)
