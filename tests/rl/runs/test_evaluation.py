import gymnasium
import numpy as np
import pytest

from hunch.errors import ConfigurationError, DataError, HunchWarning
from hunch.rl import DQN, evaluate
from hunch.rl.runs.evaluation import MAX_STEPS

SMALL = {"hidden_sizes": (8, 8), "batch_size": 16, "min_replay_size": 16}


@pytest.fixture(scope="module")
def agent():
    cap = {"max_episode_steps": 60}
    return DQN("CartPole-v1", noisy=True, seed=0, env_kwargs=cap, **SMALL).learn(
        200, progress=False
    )


def test_side_by_side_equals_one_by_one(agent):
    one_by_one = evaluate(agent, episodes=15, seed=2, num_envs=1)
    for width in (4, 15, 40):
        side_by_side = evaluate(agent, episodes=15, seed=2, num_envs=width)
        assert np.array_equal(side_by_side.returns, one_by_one.returns)
        assert np.array_equal(side_by_side.lengths, one_by_one.lengths)
    assert len(set(one_by_one.returns)) > 1


def test_an_episode_depends_on_seed_and_number_alone(agent):
    assert np.array_equal(
        evaluate(agent, 8, seed=2).returns, evaluate(agent, 15, seed=2).returns[:8]
    )
    other = evaluate(agent, 15, seed=3).returns
    assert not np.array_equal(other, evaluate(agent, 15, seed=2).returns)


def test_returns_equal_a_loop_by_hand(agent):
    from hunch.rl.environments.make import evaluation_reset_seed

    env = agent.another_env()
    for episode, expected in enumerate(evaluate(agent, 3, seed=5).returns):
        observation, _ = env.reset(seed=evaluation_reset_seed(5, episode))
        total, over = 0.0, False
        while not over:
            observation, reward, terminated, truncated, _ = env.step(agent.predict(observation))
            total, over = total + reward, terminated or truncated
        assert total == expected


def test_summary(agent):
    result = evaluate(agent, 6, seed=1)
    assert result.mean_return == pytest.approx(sum(result.returns) / 6)
    spread = sum((r - result.mean_return) ** 2 for r in result.returns) / 6
    assert result.std_return == pytest.approx(spread**0.5)
    assert result.returns.tolist() == result.lengths.tolist()  # CartPole pays 1 a step
    with pytest.raises(AttributeError):
        result.returns = None


def test_an_exploring_agent_is_asked_for_one_observation_at_a_time(agent_of, steady):
    asked = []

    class Asked(agent_of):
        def predict(self, observation, deterministic=True):
            asked.append((observation.ndim, deterministic))
            return super().predict(observation, deterministic)

    evaluate(Asked(steady, length=2), episodes=3, deterministic=False)
    assert asked == [(1, False)] * 6
    asked.clear()
    evaluate(Asked(steady, length=2), episodes=3)
    assert asked == [(2, True)] * 2


def test_environments_are_closed(agent_of, steady):
    agent, closed = agent_of(steady), []
    agent.make = lambda **_: closing(steady(), closed)
    evaluate(agent, episodes=5, num_envs=2)
    assert len(closed) == 2


def test_an_episode_without_an_end_is_cut_and_said_to_be(agent_of, steady):
    with pytest.warns(HunchWarning, match="3 of 3 evaluation episodes had no end after 50 steps"):
        result = evaluate(agent_of(steady, length=10**9), episodes=3, max_steps=50)
    assert result.lengths.tolist() == [50] * 3
    assert result.returns.tolist() == [50] * 3
    assert result.cut.tolist() == [True] * 3
    envs = gymnasium.vector.SyncVectorEnv([lambda: steady(length=10**9)] * 2)
    with pytest.warns(HunchWarning, match="3 of 3"):
        batch = evaluate(agent_of(steady), episodes=3, max_steps=50, env=envs)
    assert batch.lengths.tolist() == [50] * 3


def test_an_end_at_the_last_step_that_is_allowed_is_no_cut(agent_of, steady):
    result = evaluate(agent_of(steady, length=50), episodes=2, max_steps=50)
    assert result.lengths.tolist() == [50, 50]
    assert not result.cut.any()


def test_the_default_is_longer_than_every_registered_episode():
    limits = [spec.max_episode_steps or 0 for spec in gymnasium.registry.values()]
    games = [
        spec.kwargs.get("max_num_frames_per_episode", 0) for spec in gymnasium.registry.values()
    ]
    assert max(limits + games) <= MAX_STEPS


def closing(env, closed):
    env.close = lambda: closed.append(1)
    return env


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"episodes": 0}, "`episodes` got 0"),
        ({"num_envs": 0}, "`num_envs` got 0"),
        ({"seed": -3}, "`seed` got -3"),
        ({"max_steps": 0}, "`max_steps` got 0"),
    ],
)
def test_misuse_is_named(agent, kwargs, message):
    with pytest.raises(ConfigurationError, match=message):
        evaluate(agent, **kwargs)


class Counting(gymnasium.vector.VectorEnv):
    """Two environments whose episodes last three steps, reset by whoever plays them."""

    metadata = {"autoreset_mode": "Disabled"}  # noqa: RUF012 a name is taken as well

    def __init__(self, bad=None):
        self.num_envs, self.bad = 2, bad
        self.single_observation_space = gymnasium.spaces.Box(-9, 9, (1,), np.float32)
        self.single_action_space = gymnasium.spaces.Discrete(2)
        self.observation_space = gymnasium.vector.utils.batch_space(
            self.single_observation_space, 2
        )
        self.action_space = gymnasium.vector.utils.batch_space(self.single_action_space, 2)

    def reset(self, *, seed=None, options=None):
        chosen = np.ones(2, bool) if options is None else options["reset_mask"]
        self.t = np.where(chosen, 0, getattr(self, "t", np.zeros(2)))
        return self.t[:, None].astype(np.float32), {}

    def step(self, actions):
        self.t = self.t + 1
        reward = np.where(self.t == self.bad, np.nan, 1.0)
        return self.t[:, None].astype(np.float32), reward, self.t == 3, np.zeros(2, bool), {}


def test_a_vector_environment_is_held_to_the_same_door():
    agent = DQN(Single, hidden_sizes=(4,))
    played = evaluate(agent, episodes=5, env=Counting())
    assert played.returns.tolist() == [3.0] * 5
    with pytest.raises(
        DataError, match=r"the reward nan in an evaluation .*environment 0.*, step 2"
    ):
        evaluate(agent, episodes=5, env=Counting(bad=2))


class Single(gymnasium.Env):
    """One of the environments of `Counting`."""

    def __init__(self):
        self.observation_space = gymnasium.spaces.Box(-9, 9, (1,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        return np.zeros(1, np.float32), {}

    def step(self, action):
        return np.zeros(1, np.float32), 1.0, True, False, {}
