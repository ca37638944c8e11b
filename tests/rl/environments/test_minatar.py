"""MinAtar's games: made, and begun anew (extra `minatar`)."""

import gymnasium
import numpy as np
import pytest

from hunch.errors import ConfigurationError
from hunch.rl import DQN, PQN, BootstrappedDQN
from hunch.rl.environments.make import make_env
from hunch.rl.minatar import make_minatar

ID = "hunch.rl.minatar:hunch/MinAtar-v0"


def test_a_game_of_another_kind_is_refused():
    with pytest.raises(ConfigurationError, match="`game` got 'CartPole-v1'; expected an id such"):
        make_minatar("CartPole-v1")


@pytest.fixture
def game():
    pytest.importorskip("minatar.gym")
    return "MinAtar/Breakout-v1"


def test_an_episode_follows_from_its_seed_whatever_came_before(game):
    """Where actions stick for certain the first one would be the last of the episode before."""

    def places(env, before):
        own = env.unwrapped.game
        own.sticky_action_prob = 0.0
        env.reset(seed=3)
        for _ in range(3):
            env.step(before)
        own.sticky_action_prob = 1.0
        board, _ = env.reset(seed=5)
        return [np.flatnonzero(x).tolist() for x in [board, *(env.step(0)[0] for _ in range(3))]]

    ours = make_env(ID, {"game": game})
    assert places(ours, before=1) == places(ours, before=2)
    theirs = make_env(game)
    assert places(theirs, before=1) != places(theirs, before=2)  # or `_Fresh` is needed no more


@pytest.mark.parametrize("env", ["id", "theirs"])
@pytest.mark.parametrize("agent", [DQN, BootstrappedDQN, PQN])
def test_agents_play_on_boards_of_booleans(agent, env, game):
    kwargs = {"env": game} if env == "theirs" else {"env": ID, "env_kwargs": {"game": game}}
    kwargs |= {"num_members": 2} if agent is BootstrappedDQN else {}
    made = agent(**kwargs, hidden_sizes=(8,), batch_size=8, num_envs=2).learn(80, progress=False)
    assert made.updates > 3
    assert made.observation_dtype == np.bool_
    assert isinstance(made.predict(np.zeros((10, 10, 4), bool)), int)


def test_their_ids_are_registered_where_they_are_asked_for(game):
    assert make_env(game).observation_space.shape == (10, 10, 4)
    assert game in gymnasium.registry
