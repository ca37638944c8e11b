"""The six switches of DQN in every combination, and settings that cannot work."""

import itertools

import gymnasium
import numpy as np
import pytest
import torch
from torch import nn

from hunch.errors import ConfigurationError, HunchError
from hunch.rl import DQN
from hunch.rl.networks.value_networks import noisy_layers

TINY = {
    "update_period": 1,
    "hidden_sizes": (6, 5),
    "batch_size": 4,
    "replay_capacity": 20,
    "atoms": 3,
}
SWITCHES = ["noisy", "double", "dueling", "prioritized", "n_step"]


def combinations():
    for flags in itertools.product([False, True], repeat=5):
        for distributional in (False, "categorical", "quantile"):
            chosen = dict(zip(SWITCHES, flags, strict=True))
            yield {**chosen, "n_step": 1 + 2 * chosen["n_step"], "distributional": distributional}


def name(switches):
    return "-".join(f"{v}" if k == "distributional" else k for k, v in switches.items() if v)


@pytest.mark.every(3)
@pytest.mark.parametrize("switches", list(combinations()), ids=name)
@pytest.mark.parametrize("replicas", [1, 2])
def test_every_combination_learns(switches, replicas):
    agent = DQN("CartPole-v1", replicas=replicas, seed=1, **switches, **TINY)
    before = agent._pair.vector.clone()
    agent.learn(6, progress=False)
    assert agent.updates == 3
    assert np.isfinite(agent.losses).all()
    assert len(agent.losses) == 3
    assert torch.isfinite(agent._pair.vector).all()
    assert bool(noisy_layers(agent.network)) == switches["noisy"]
    assert (agent._replay._priorities is not None) == switches["prioritized"]
    assert agent._replay.n_step == switches["n_step"]
    moved = agent._pair.vector != before
    # Every layer learns, the noise of the first one's successors too.
    start = 0
    for parameter in agent._pair.parameters:
        part = moved[start : start + parameter.numel()].view(parameter.shape)
        assert part.reshape(replicas, -1).any(1).all() if replicas > 1 else part.any()
        start += parameter.numel()
    action = agent.replica(replicas - 1).predict(np.zeros((3, 4)))
    assert action.shape == (3,)


def test_switches_name_their_values():
    agent = DQN("CartPole-v1", distributional=True, dueling=True, atoms=5, value_range=(0, 3))
    assert agent.value_head.distribution == "categorical"
    assert agent.value_head.outputs == 15
    assert (agent.value_head.low, agent.value_head.high) == (0.0, 3.0)
    assert agent._replay.n_step == 3


@pytest.mark.every(2)
@pytest.mark.parametrize(
    "switches",
    [
        {},
        {"double": True, "dueling": True, "prioritized": True, "n_step": 2},
        {"distributional": True, "atoms": 21, "value_range": (0.0, 3.0), "noisy": True},
        {"distributional": "quantile", "atoms": 8, "dueling": True, "n_step": 3},
        {
            "noisy": True,
            "double": True,
            "dueling": True,
            "prioritized": True,
            "n_step": 3,
            "distributional": True,
            "atoms": 21,
            "value_range": (0.0, 3.0),
        },
    ],
    ids=["none", "four", "categorical", "quantile", "rainbow"],
)
def test_they_learn_to_match(matching, switches):
    from hunch.rl import evaluate

    agents = DQN(
        matching(start=3),
        discount=0.5,
        learning_rate=1e-2,
        epsilon=0.2,
        target_update_period=20,
        hidden_sizes=(32, 32),
        batch_size=32,
        replicas=2,
        seed=0,
        **switches,
    ).learn(400, progress=False)
    for r in range(2):
        assert evaluate(agents.replica(r), episodes=10, seed=1).returns.tolist() == [5.0] * 10


# What cannot work, one line each


class Sequence(gymnasium.Env):
    observation_space = gymnasium.spaces.Dict(
        {"a": gymnasium.spaces.Sequence(gymnasium.spaces.Box(0, 1, (2,)))}
    )
    action_space = gymnasium.spaces.Discrete(2)


@pytest.mark.parametrize(
    ("env", "settings", "message"),
    [
        ("Pendulum-v1", {}, "actions Box.*expected Discrete"),
        (Sequence, {}, r"observations with Sequence\(.* as \['a'\], of which no vector"),
        ("CartPole-v7", {}, "`env` got 'CartPole-v7', which Gymnasium does not know"),
        (
            "CartPole-v1",
            {"batch_size": 32, "replay_capacity": 31},
            "`batch_size` got 32; expected at most `replay_capacity`=31",
        ),
        ("CartPole-v1", {"n_step": 0}, "`n_step` got 0; expected an integer of at least 1"),
        (
            "CartPole-v1",
            {"n_step": 9, "batch_size": 4, "replay_capacity": 8},
            "`n_step` got 9; expected at most `replay_capacity`=8",
        ),
        (
            "CartPole-v1",
            {"n_step": 5, "batch_size": 4, "replay_capacity": 8, "num_envs": 2},
            "`n_step` got 5; expected at most 4, the steps of each environment",
        ),
        ("CartPole-v1", {"distributional": "abc"}, "`distributional` got 'abc'; expected"),
        ("CartPole-v1", {"distributional": 2}, "`distributional` got 2; expected"),
        (
            "CartPole-v1",
            {"distributional": True, "value_range": (1, 0)},
            r"`value_range` got \(1, 0\); expected \(low, high\) with low < high",
        ),
        (
            "CartPole-v1",
            {"distributional": True, "value_range": (1, 2, 3)},
            r"`value_range` got \(1, 2, 3\); expected \(low, high\)",
        ),
        (
            "CartPole-v1",
            {"distributional": True, "value_range": 10},
            r"`value_range` got 10; expected \(low, high\)",
        ),
        (
            "CartPole-v1",
            {"distributional": True, "value_range": (0, float("inf"))},
            "`value_range` got inf",
        ),
        ("CartPole-v1", {"distributional": True, "atoms": 1}, "`atoms` got 1"),
        ("CartPole-v1", {"prioritized": True, "priority_exponent": -1}, "`priority_exponent` got"),
        ("CartPole-v1", {"priority_correction": 1.5}, "`priority_correction` got 1.5"),
        ("CartPole-v1", {"num_envs": 0}, "`num_envs` got 0"),
        ("CartPole-v1", {"replicas": 0}, "`replicas` got 0"),
        ("CartPole-v1", {"replicas": 2, "network": nn.Linear(4, 2)}, "a module for 2 replicas"),
        (
            "CartPole-v1",
            {"dueling": True, "network": nn.Linear(4, 2)},
            r"returned shape \(1, 2\).*expected \(1, 3\), 1 for each of 2 actions and the value",
        ),
        (
            "CartPole-v1",
            {"distributional": True, "atoms": 5, "network": nn.Linear(4, 2)},
            r"returned shape \(1, 2\).*expected \(1, 10\), 5 for each of 2 actions\.",
        ),
        (
            "CartPole-v1",
            {
                "distributional": "quantile",
                "dueling": True,
                "atoms": 5,
                "network": nn.Linear(4, 10),
            },
            r"expected \(1, 15\), 5 for each of 2 actions and the value first",
        ),
    ],
)
def test_wrong_uses_are_named_in_one_line(env, settings, message):
    with pytest.raises(ConfigurationError, match=message) as error:
        DQN(env, **settings)
    assert isinstance(error.value, HunchError)
    assert "\n" not in str(error.value).strip()
    assert len(str(error.value)) < 300
