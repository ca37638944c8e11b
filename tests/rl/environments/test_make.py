"""How environments are made from what a user gives, and made once more."""

import threading

import gymnasium
import numpy as np
import pytest

from hunch.errors import ConfigurationError
from hunch.rl.environments.make import another_env, check_spaces, make_env


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
    [("Pendulum-v1", "actions Box.*expected Discrete"), ("FrozenLake-v1", "observations Discrete")],
)
def test_spaces_that_the_agents_cannot_handle(name, message):
    with pytest.raises(ConfigurationError, match=message):
        check_spaces(make_env(name))


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
