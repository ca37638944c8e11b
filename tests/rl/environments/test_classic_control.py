"""Batches of classic control are what Gymnasium's environments are one by one, to the last bit."""

import copy

import gymnasium
import numpy as np
import pytest
import torch

from hunch.errors import DataError
from hunch.rl import A2C, DQN
from hunch.rl.environments import opening
from hunch.rl.environments.classic_control import ClassicEnvs, motion_of
from hunch.rl.environments.make import make_env
from hunch.rl.environments.vector import SingleEnvs

CASES = [
    ("CartPole-v1", {}),
    ("CartPole-v1", {"max_episode_steps": 30}),
    ("MountainCar-v0", {"goal_velocity": 0.01}),
    ("Pendulum-v1", {"g": 9.81}),
    ("Acrobot-v1", {"max_episode_steps": 60}),
]
COUNT = 9


def both(name, kwargs):
    seeds, offsets = [5, 5, 5, 6, 6, 6, 7, 7, 7], [0, 1, 2] * 3
    made = [[make_env(name, kwargs) for _ in range(COUNT)] for _ in range(2)]
    singles = SingleEnvs(made[0], seeds, offsets, stride=3)
    return singles, ClassicEnvs(*motion_of(made[1][0]), made[1], seeds, offsets, stride=3)


def actions_of(space, rng):
    if isinstance(space, gymnasium.spaces.Discrete):
        return rng.integers(space.n, size=COUNT)
    return rng.uniform(1.5 * space.low, 1.5 * space.high, (COUNT, 1)).astype(np.float32)


def play(parallel, observations, ended, rounds, rng):
    """The outcomes of so many rounds, and where the episodes stand then."""
    space, outcomes = parallel.envs[0].action_space, []
    for _ in range(rounds):
        parallel.begin(ended, observations)
        found = parallel.step(actions_of(space, rng))
        outcomes.append((observations, *found[:5]))
        observations, ended = found.next_observation, found.terminated | found.truncated
    return outcomes, observations, ended


def assert_equal(ours, theirs):
    for own, their in zip(ours, theirs, strict=True):
        for a, b in zip(own, their, strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("name", "kwargs"), CASES)
def test_outcomes_and_saved_states_have_the_same_bits(name, kwargs):
    singles, batch = both(name, kwargs)
    shape = singles.envs[0].observation_space.shape
    found = [
        play(envs, np.zeros((COUNT, *shape), np.float32), np.ones(COUNT, bool), 250, rng)
        for envs, rng in ((singles, np.random.default_rng(1)), (batch, np.random.default_rng(1)))
    ]
    assert_equal(found[0][0], found[1][0])
    assert singles._next_episode.sum() > COUNT + 3 * 3  # episodes ended in between
    saved = [envs.state_dict() for envs in (singles, batch)]
    assert {key: value.dtype for key, value in saved[0].items()} == {
        key: value.dtype for key, value in saved[1].items()
    }
    for key, value in saved[0].items():
        np.testing.assert_array_equal(value, saved[1][key])


@pytest.mark.parametrize(("name", "kwargs"), CASES)
def test_each_goes_on_where_the_other_was_saved(name, kwargs):
    singles, _ = both(name, kwargs)
    shape = singles.envs[0].observation_space.shape
    begun = np.zeros((COUNT, *shape), np.float32)
    _, at, ended = play(singles, begun, np.ones(COUNT, bool), 70, np.random.default_rng(2))
    others = both(name, kwargs)
    for other in others:
        np.testing.assert_array_equal(
            other.load_state_dict(singles.state_dict())[~ended], at[~ended]
        )
    on = [play(e, at, ended, 40, np.random.default_rng(3))[0] for e in (singles, *others)]
    assert_equal(on[0], on[1])
    assert_equal(on[0], on[2])


def test_a_saved_episode_that_ends_early_is_refused():
    _, batch = both("CartPole-v1", {})
    state = batch.state_dict()
    state["next_episode"] = state["next_episode"] + 3
    state["lengths"] = np.array([40, *[0] * (COUNT - 1)])
    state["actions"] = np.zeros(40, np.int64)  # to the left until it falls, and on
    with pytest.raises(DataError, match="does not repeat"):
        batch.load_state_dict(state)


def test_a_torque_that_is_no_number_is_refused():
    _, batch = both("Pendulum-v1", {})
    batch.begin(np.ones(COUNT, bool), np.zeros((COUNT, 3), np.float32))
    with pytest.raises(DataError, match="environment 2 of 9"):
        batch.step(np.array([[0.0]] * 2 + [[np.nan]] + [[0.0]] * 6, np.float32))


def weights(agent):
    return torch.cat([p.detach().reshape(-1) for p in agent.network.parameters()])


@pytest.mark.parametrize(
    "make",
    [
        lambda: A2C("Pendulum-v1", num_envs=8, rollout_length=4, seed=1),
        lambda: DQN("CartPole-v1", num_envs=4, replicas=2, batch_size=8, seed=1),
    ],
)
def test_agents_learn_the_same_in_batches_as_one_by_one(make, monkeypatch):
    batched = make().learn(600, progress=False)
    assert type(batched._loop.envs) is ClassicEnvs
    monkeypatch.setattr(opening, "_MANY", 10**9)
    singly = make().learn(600, progress=False)
    assert type(singly._loop.envs) is SingleEnvs
    assert torch.equal(weights(batched), weights(singly))


def test_copies_and_saved_agents_go_on_to_the_same_bits(tmp_path):
    agent = A2C("CartPole-v1", num_envs=8, rollout_length=4, seed=1).learn(400, progress=False)
    agent.save(tmp_path / "saved")
    others = [copy.deepcopy(agent), A2C.load(tmp_path / "saved")]
    for one in (agent, *others):
        one.learn(800, progress=False)
    assert all(torch.equal(weights(agent), weights(other)) for other in others)


@pytest.mark.parametrize(
    "env",
    [
        lambda: gymnasium.make("CartPole-v1", sutton_barto_reward=True),
        lambda: gymnasium.make("CartPole-v1", render_mode="rgb_array"),
        lambda: gymnasium.make("CartPole-v1", max_episode_steps=-1),
        lambda: gymnasium.wrappers.TransformReward(gymnasium.make("CartPole-v1"), lambda r: 2 * r),
        lambda: gymnasium.make("MountainCarContinuous-v0"),
        lambda: gymnasium.make("hunch.envs:hunch/Chain-v0"),
    ],
)
def test_others_are_stepped_one_by_one(env):
    assert motion_of(env()) is None


def test_changed_gravity_is_kept():
    env = gymnasium.make("CartPole-v1")
    env.unwrapped.gravity = 20.0
    assert motion_of(env) is not None  # after a comparison with what it does


@pytest.mark.parametrize("name", ["CartPole-v1", "MountainCar-v0", "Pendulum-v1", "Acrobot-v1"])
def test_a_version_that_moves_otherwise_is_stepped_one_by_one(name, monkeypatch):
    kind = type(motion_of(gymnasium.make(name))[0])
    move = kind.move

    def other(self, state, action):
        after, reward, over = move(self, state, action)
        after[-1] = np.nextafter(after[-1].astype(np.float32), np.float32(9))
        return after, reward, over

    monkeypatch.setattr(kind, "move", other)
    assert motion_of(gymnasium.make(name)) is None
