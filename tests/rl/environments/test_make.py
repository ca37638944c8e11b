"""How environments are made from what a user gives, and made once more."""

import threading

import gymnasium
import numpy as np
import pytest

from hunch.errors import ConfigurationError
from hunch.rl.environments.make import another_env, check_spaces, make_env


class Told(gymnasium.Env):
    observation_space = gymnasium.spaces.Text(9)
    action_space = gymnasium.spaces.Discrete(2)


class Pairs(gymnasium.Env):
    observation_space = gymnasium.spaces.MultiDiscrete([2, 3])
    action_space = gymnasium.spaces.MultiDiscrete([2, 3])


@pytest.mark.parametrize(
    ("env", "kwargs", "message"),
    [
        ("CartPole-v77", {}, "`env` got 'CartPole-v77', which Gymnasium does not know"),
        ("NoSuchThing-v0", {}, "does not know"),
        ("no good", {}, "`env` 'no good' cannot be made"),
        ("CartPole-v1", {"wings": 2}, "cannot be made with env_kwargs={'wings': 2}"),
        (3, {}, "`env` got 3; expected a Gymnasium id"),
        (lambda: 5, {}, "`env` made 5"),
        (gymnasium.make("CartPole-v1"), {"a": 1}, "`env_kwargs` got .* already made"),
    ],
)
def test_environments_that_cannot_be_opened(env, kwargs, message):
    with pytest.raises(ConfigurationError, match=message):
        make_env(env, kwargs)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Pendulum-v1", "actions Box.*expected Discrete, MultiDiscrete or MultiBinary"),
        (Told, r"observations Text,.*expected a Box, Discrete, .*Dict or Tuple of these"),
    ],
)
def test_spaces_that_the_agents_cannot_handle(name, message):
    with pytest.raises(ConfigurationError, match=message):
        check_spaces(make_env(name))


def test_spaces_as_agents_see_them():
    observations, actions = check_spaces(make_env(Pairs))
    assert observations == gymnasium.spaces.Box(0, 1, (5,), np.int8)
    assert actions == gymnasium.spaces.Discrete(6)


def test_a_second_environment_does_not_disturb_the_first(steady):
    env = steady()
    env.reset(seed=1)
    env.step(0)
    other = another_env(env)
    other.reset(seed=2)
    assert env.t == 1
    assert env.seeds == [1]
    assert np.array_equal(env.buffer, [1, 0])


def test_an_environment_that_cannot_be_copied_is_named(steady):
    env = steady()
    env.lock = threading.Lock()
    with pytest.raises(ConfigurationError, match="cannot be copied"):
        another_env(env)
