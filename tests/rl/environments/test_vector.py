"""Gymnasium's vector environments, in all three ways of resetting, against single environments."""

import functools

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import SyncVectorEnv

import hunch.envs  # noqa: F401 registers them
from hunch.errors import ConfigurationError
from hunch.rl import DQN, BootstrappedDQN, evaluate
from hunch.rl.agents.loop import TrainingLoop
from hunch.rl.environments.make import training_reset_seed
from hunch.rl.environments.vector import VectorEnvs
from hunch.rl.replay.transitions import Step

MODES = ["NextStep", "SameStep", "Disabled"]
SETTINGS = {
    "hunch/Chain-v0": {"size": 4},
    "hunch/DeepSea-v0": {"size": 3, "stochastic": True},
    "CartPole-v1": {"max_episode_steps": 13},
}
SMALL = {"update_period": 1, "hidden_sizes": (8,), "batch_size": 8}


def vector_env(name, mode, num_envs=3):
    if name.startswith("hunch/"):
        return gymnasium.make_vec(name, num_envs, autoreset_mode=mode, **SETTINGS[name])
    make = functools.partial(gymnasium.make, name, **SETTINGS[name])
    return SyncVectorEnv([make] * num_envs, autoreset_mode=mode)


def reaction(observation):
    """An action that depends on nothing but the observation."""
    return int(abs(float(np.asarray(observation).sum())) * 1000) % 2


class Reacting:
    """Reacts, and remembers each environment's transitions as lists."""

    def __init__(self, num_envs, fail_at=None):
        self.rows = [[] for _ in range(num_envs)]
        self.is_first = []
        self.fail_at, self.seen = fail_at, 0

    def act(self, observation, is_first):
        return np.array([[reaction(o) for o in observation[0]]])

    def observe(self, step):
        self.seen += 1
        if self.seen == self.fail_at:
            raise RuntimeError("a fault")
        step = Step(*(np.array(field)[0] for field in step))
        for i, own in enumerate(self.rows):
            if step.valid[i]:
                own.append(row(step, i))


def row(step, i):
    return (
        tuple(step.observation[i].ravel().tolist()),
        int(step.action[i]),
        float(step.reward[i]),
        tuple(step.next_observation[i].ravel().tolist()),
        bool(step.terminated[i]),
        bool(step.truncated[i]),
    )


def single_rows(name, seed, count):
    """The same transitions from a single environment, seeded once as vector environments are."""
    env, rows = gymnasium.make(name, **SETTINGS[name]), []
    observation, _ = env.reset(seed=seed)
    while len(rows) < count:
        before = np.array(observation, np.float32)
        action = reaction(before)
        observation, reward, terminated, truncated, _ = env.step(action)
        after = np.array(observation, np.float32)
        rows.append(
            (
                tuple(before.ravel().tolist()),
                action,
                float(np.float32(reward)),
                tuple(after.ravel().tolist()),
                terminated,
                truncated,
            )
        )
        if terminated or truncated:
            observation, _ = env.reset()
    return rows


def loop_over(envs, seed=5):
    return TrainingLoop(VectorEnvs(envs, seed), 1, envs.single_observation_space.shape, np.float32)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", SETTINGS)
def test_transitions_are_those_of_single_environments(name, mode):
    learner = Reacting(3)
    loop = loop_over(vector_env(name, mode))
    loop.run(learner, until=3 * 70, progress=False)
    ends = 0
    for i, rows in enumerate(learner.rows):
        assert rows == single_rows(name, training_reset_seed(5, 0) + i, len(rows))
        assert len(rows) == 70 if mode != "NextStep" else 40 <= len(rows) < 70
        ends += sum(row[4] or row[5] for row in rows)
    assert ends == len(loop.histories[0].returns) > 10
    assert sum(loop.histories[0].lengths) <= sum(map(len, learner.rows))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("prioritized", [False, True])
def test_an_agent_draws_nothing_but_what_happened(name, mode, prioritized):
    agent = DQN(
        vector_env(name, mode), prioritized=prioritized, n_step=1, replay_capacity=60, **SMALL
    )
    seen = set()
    observe = agent.observe

    def watch(step):
        given = Step(*(np.array(field)[0] for field in step))
        seen.update(row(given, i)[:4] for i in range(3) if given.valid[i])
        observe(step)

    agent.observe = watch
    agent.learn(3 * 60, progress=False)
    assert agent.updates > 20
    batch = agent._replay.sample(400, [np.random.default_rng(0)])
    for i in range(400):
        first = tuple(batch.observation[0, i].ravel().tolist())
        following = tuple(batch.next_observation[0, i].ravel().tolist())
        key = (first, int(batch.action[0, i]), float(batch.reward[0, i]))
        if batch.discount[0, i]:
            assert (*key, following) in seen
        else:
            assert key in {known[:3] for known in seen}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", SETTINGS)
def test_after_a_fault_all_episodes_begin_anew(name, mode):
    learner, loop = Reacting(3, fail_at=5), loop_over(vector_env(name, mode))
    with pytest.raises(RuntimeError, match="a fault"):
        loop.run(learner, until=3 * 20, progress=False)
    before = [len(rows) for rows in learner.rows]
    loop.run(learner, until=3 * 60, progress=False)
    for rows, count in zip(learner.rows, before, strict=True):
        # Behind the fault each transition begins where the one before it led, or at a start.
        for last, this in zip(rows[count:], rows[count + 1 :], strict=False):
            assert (last[4] or last[5]) or last[3] == this[0]
        single = gymnasium.make(name, **SETTINGS[name])
        if name != "CartPole-v1":
            assert rows[count][0] == tuple(single.reset(seed=0)[0].ravel().tolist())
        else:
            assert np.abs(rows[count][0]).max() <= 0.05  # all starts are this close to the middle


@pytest.mark.parametrize("mode", MODES)
def test_agents_learn_and_are_evaluated_on_a_vector_environment(mode):
    agent = DQN(vector_env("hunch/Chain-v0", mode), n_step=2, noisy=True, **SMALL)
    assert agent.learn(90, progress=False).updates > 60
    assert agent.num_envs == 3
    assert len(evaluate(agent, episodes=2).returns) == 2
    members = BootstrappedDQN(vector_env("hunch/Chain-v0", mode), num_members=3, **SMALL)
    assert members.learn(90, progress=False).updates > 20


def test_single_environments_are_like_those_of_the_batch():
    made = gymnasium.make_vec(
        "CartPole-v1",
        2,
        vectorization_mode="sync",
        vector_kwargs={"autoreset_mode": "SameStep"},
        wrappers=[functools.partial(gymnasium.wrappers.TimeLimit, max_episode_steps=7)],
        sutton_barto_reward=True,
    )
    env = DQN(made, **SMALL).another_env()
    assert isinstance(env, gymnasium.wrappers.TimeLimit)
    assert env.unwrapped._sutton_barto_reward
    native = gymnasium.make_vec("CartPole-v1", 2, max_episode_steps=30)
    agent = DQN(native, **SMALL).learn(40, progress=False)
    assert agent.another_env().spec.max_episode_steps == 30
    assert evaluate(agent, episodes=3).lengths.max() <= 30


@pytest.mark.parametrize("mode", MODES)
def test_a_saved_agent_goes_on_with_new_episodes(mode, tmp_path):
    agent = DQN(vector_env("CartPole-v1", mode), **SMALL).learn(60, progress=False)
    agent.save(tmp_path / "a")
    with pytest.raises(ConfigurationError, match=r"`env` that cannot be written.*env=…"):
        DQN.load(tmp_path / "a")
    again = DQN.load(tmp_path / "a", env=vector_env("CartPole-v1", mode))
    starts = []
    for some in (
        DQN(vector_env("CartPole-v1", mode), **SMALL),
        again,
        DQN.load(tmp_path / "a", env=vector_env("CartPole-v1", mode)),
    ):
        some._loop.envs.begin(np.ones(3, bool), first := np.zeros((3, 4), np.float32))
        some._loop.envs._started = False
        starts.append(tuple(first.ravel().tolist()))
    assert starts[1] == starts[2] != starts[0]  # repeatable, and not the same starts once more
    assert again.learn(120, progress=False).steps == 120
    assert len(again.history.returns) > len(agent.history.returns)
    assert again.history.returns[: len(agent.history.returns)] == agent.history.returns


@pytest.mark.parametrize("extra", [{"replicas": 2}, {"num_envs": 2}, {"env_kwargs": {"a": 1}}])
def test_a_made_vector_environment_takes_no_further_settings(extra):
    with pytest.raises(ConfigurationError, match=r"`env` is a vector environment.*already made"):
        DQN(vector_env("CartPole-v1", "NextStep"), **extra)


def test_a_vector_environment_of_unknown_origin_cannot_be_evaluated():
    agent = DQN(vector_env("CartPole-v1", "SameStep"), **SMALL)
    with pytest.raises(ConfigurationError, match=r"vector environment of unknown origin"):
        agent.another_env()


def test_an_unknown_way_of_resetting_is_named():
    envs = vector_env("CartPole-v1", "SameStep")
    envs.metadata = {"autoreset_mode": "Sometimes"}
    with pytest.raises(ConfigurationError, match="autoreset_mode='Sometimes'"):
        VectorEnvs(envs, seed=0)
