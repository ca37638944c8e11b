"""Rounds that the compiled kernel plays at once, against the loop that goes through them singly."""

import copy

import numpy as np
import pytest
import torch

from hunch.errors import DataError
from hunch.kernel import kernel
from hunch.rl import A2C
from hunch.rl.environments import classic_control, opening
from hunch.rl.environments.classic_control import ClassicEnvs
from hunch.rl.environments.vector import SingleEnvs

pytestmark = pytest.mark.skipif(kernel() is None, reason="no compiled kernel")

SHORT = {"max_episode_steps": 30}  # so that episodes are cut off and fall
CASES = [
    {"num_envs": 8},
    {"num_envs": 4, "replicas": 3, "env_kwargs": SHORT},
    {"num_envs": 1, "replicas": 8, "env_kwargs": SHORT},
    {"num_envs": 70, "rollout_length": 40, "env_kwargs": SHORT},
    {"num_envs": 9, "noisy": True, "env_kwargs": SHORT},
    {"num_envs": 5, "replicas": 2, "noisy": "factorized", "hidden_sizes": (16,)},
    {"num_envs": 8, "env_kwargs": {"max_episode_steps": 1}, "rollout_length": 5},
]


def singly(monkeypatch):
    monkeypatch.setattr(A2C, "play", lambda *_: None)
    monkeypatch.setattr(classic_control, "_same_carts", lambda: False)


def assert_same(one, other):
    ours, theirs = one.state_dict(), other.state_dict()
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert value.dtype == theirs[name].dtype, name
        np.testing.assert_array_equal(value.numpy(), theirs[name].numpy(), err_msg=name)
    assert one.losses == other.losses
    assert [vars(h) for h in one.histories] == [vars(h) for h in other.histories]


class Often:
    """Looks at an agent at times that are no multiple of anything."""

    def __init__(self, every):
        self.every, self.seen = every, []

    def __call__(self, agent):
        weights = [p.detach().clone() for p in agent.network.parameters()]
        self.seen.append((agent.steps, agent.updates, sum(float(w.sum()) for w in weights)))


@pytest.mark.parametrize("settings", CASES)
def test_they_lead_to_the_same_bits(settings, monkeypatch):
    agent = A2C("CartPole-v1", seed=3, **settings)
    at_once, looks = copy.deepcopy(agent), [Often(7), Often(500)]
    at_once.learn(1111, callbacks=looks, progress=False).learn(3001, progress=False)
    singly(monkeypatch)
    theirs = [Often(7), Often(500)]
    agent.learn(1111, callbacks=theirs, progress=False).learn(3001, progress=False)
    assert_same(at_once, agent)
    assert [look.seen for look in looks] == [look.seen for look in theirs]
    assert sum(len(history.returns) for history in agent.histories) > 10


def test_they_are_played_at_once(monkeypatch):
    calls = []
    monkeypatch.setattr(ClassicEnvs, "step", lambda *_: calls.append(1))
    A2C("CartPole-v1", num_envs=8, rollout_length=4).learn(320, progress=False)
    assert not calls


def test_what_was_saved_among_them_goes_on_one_by_one(tmp_path, monkeypatch):
    agent = A2C("CartPole-v1", num_envs=8, rollout_length=16, seed=1).learn(440, progress=False)
    agent.save(tmp_path / "saved")
    agent.learn(1600, progress=False)
    at_once = A2C.load(tmp_path / "saved").learn(1600, progress=False)
    singly(monkeypatch)
    monkeypatch.setattr(opening, "_MANY", 10**9)
    one_by_one = A2C.load(tmp_path / "saved")
    assert type(one_by_one._loop.envs) is SingleEnvs
    one_by_one.learn(1600, progress=False)
    assert_same(agent, at_once)
    assert_same(agent, one_by_one)


def test_weights_that_are_not_numbers_are_told_of():
    agent = A2C("CartPole-v1", num_envs=8, seed=1).learn(256, progress=False)
    with torch.no_grad():
        list(agent.network.parameters())[-1].fill_(torch.nan)
    with pytest.raises(DataError, match="NaN for finite observations"):
        agent.learn(512, progress=False)


def test_a_hook_on_the_network_and_a_way_of_ones_own_are_asked_in_each_step():
    calls = []

    class Own(A2C):
        def act(self, observation, is_first):
            calls.append(observation.shape)
            return super().act(observation, is_first)

    Own("CartPole-v1", num_envs=8, rollout_length=16).learn(80, progress=False)
    assert len(calls) == 10
    agent = A2C("CartPole-v1", num_envs=8, rollout_length=16)
    agent.network.register_forward_hook(lambda *_: calls.append(1))
    agent.learn(80, progress=False)
    assert len(calls) == 20
