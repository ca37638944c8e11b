import os
import signal
import threading

import gymnasium
import numpy as np
import pytest

from hunch.errors import ConfigurationError
from hunch.rl import DQN, evaluate
from hunch.rl.agents.loop import TrainingLoop
from hunch.rl.environments.vector import SingleEnvs
from hunch.rl.replay.transitions import Step


class Recorder:
    """A learner that remembers what it saw."""

    def __init__(self, fail_at=None, interrupt_at=None):
        self.seen = []
        self.is_first = []
        self.fail_at, self.interrupt_at = fail_at, interrupt_at

    def act(self, observation, is_first):
        self.is_first.append(is_first.copy())
        if len(self.seen) == self.fail_at:
            self.fail_at = None
            raise RuntimeError("a fault")
        if len(self.seen) == self.interrupt_at:
            self.interrupt_at = None
            os.kill(os.getpid(), signal.SIGINT)
        return np.zeros(observation.shape[:2], int)

    def observe(self, step):
        # Copies, as a learner has to make: the loop may use an array again.
        self.seen.append(Step(*(np.array(field) for field in step)))


def loop_of(*envs, seed=0, replicas=1):
    seeds = np.repeat(np.arange(replicas) + seed, len(envs) // replicas).tolist()
    return TrainingLoop(SingleEnvs(list(envs), seeds), replicas, (2,), np.float32)


def test_every_step_is_observed_once_with_the_true_final_observation(steady):
    learner, loop = Recorder(), loop_of(steady(length=3), seed=0)
    loop.run(learner, until=7, progress=False)
    assert loop.steps == len(learner.seen) == 7
    firsts = [tuple(step.observation[0, 0]) for step in learner.seen]
    nexts = [tuple(step.next_observation[0, 0]) for step in learner.seen]
    assert firsts == [(1, 0)] * 7
    assert nexts == [(1, 0), (1, 0), (1, 0.5)] * 2 + [(1, 0)]
    assert not any(step.terminated.any() for step in learner.seen)
    assert [step.truncated.item() for step in learner.seen] == [False, False, True] * 2 + [False]
    assert [step.is_first.item() for step in learner.seen] == [True, False, False] * 2 + [True]
    assert [is_first.item() for is_first in learner.is_first] == [True, False, False] * 2 + [True]
    assert all(step.valid.all() for step in learner.seen)
    assert loop.histories[0].returns == [3.0, 3.0]
    assert loop.histories[0].lengths == [3, 3]
    assert loop.histories[0].ends == [3, 6]


def test_a_second_run_goes_on_where_the_first_stopped(steady):
    env = steady(length=5)
    learner, loop = Recorder(), loop_of(env, seed=0)
    for until in (2, 2, 1, 6):
        loop.run(learner, until=until, progress=False)
    assert loop.steps == 6
    assert loop.histories[0].lengths == [5]
    assert len(env.seeds) == 2


def test_each_episode_has_its_own_start_and_none_is_an_evaluation_start(steady, agent_of):
    train = steady(length=1)
    loop_of(train, seed=3).run(Recorder(), until=200, progress=False)
    agent = agent_of(steady, length=1)
    evaluate(agent, episodes=200, seed=3)
    tested = [seed for env in agent.envs for seed in env.seeds]
    assert len(set(train.seeds)) == len(set(tested)) == 200
    assert all(seed % 2 == 1 for seed in train.seeds)
    assert all(seed % 2 == 0 for seed in tested)
    assert 0 <= min(tested + train.seeds) <= max(tested + train.seeds) < 2**31


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_stops_between_steps_and_learning_goes_on(steady):
    learner, loop = Recorder(interrupt_at=10), loop_of(steady(length=7), seed=0)
    with pytest.raises(KeyboardInterrupt):
        loop.run(learner, until=100, progress=False)
    assert loop.steps == len(learner.seen) == 11
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    loop.run(learner, until=20, progress=False)
    assert loop.steps == len(learner.seen) == 20
    assert loop.histories[0].lengths == [7, 7]


@pytest.mark.usefixtures("interruptible")
def test_a_second_ctrl_c_does_not_wait_for_the_step(steady):
    class Stuck(Recorder):
        def act(self, observation, is_first):
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGINT)
            self.waited = True
            return np.zeros(observation.shape[:2], int)

    learner, loop = Stuck(), loop_of(steady(), seed=0)
    with pytest.raises(KeyboardInterrupt):
        loop.run(learner, until=10, progress=False)
    assert not hasattr(learner, "waited")
    loop.run(Recorder(), until=10, progress=False)
    assert loop.steps == 10


@pytest.mark.usefixtures("interruptible")
def test_a_program_that_handles_ctrl_c_itself_is_left_alone(steady):
    caught = []
    before = signal.signal(signal.SIGINT, lambda *_: caught.append(1))
    try:
        loop = loop_of(steady(), seed=0)
        loop.run(Recorder(interrupt_at=3), until=10, progress=False)
    finally:
        signal.signal(signal.SIGINT, before)
    assert caught == [1]
    assert loop.steps == 10


def test_another_thread_can_learn(steady):
    loop = loop_of(steady(), seed=0)
    thread = threading.Thread(target=loop.run, args=(Recorder(), 10), kwargs={"progress": False})
    thread.start()
    thread.join()
    assert loop.steps == 10


def test_after_a_fault_a_new_episode_begins(steady):
    env = steady(length=5)
    learner, loop = Recorder(fail_at=3), loop_of(env, seed=0)
    with pytest.raises(RuntimeError, match="a fault"):
        loop.run(learner, until=10, progress=False)
    loop.run(learner, until=8, progress=False)
    assert len(env.seeds) == 2
    assert loop.histories[0].lengths == [5]
    assert loop.steps == len(learner.seen) == 8
    assert [bool(step.is_first) for step in learner.seen] == [True, False, False] * 2 + [
        False,
        False,
    ]


def test_replicas_keep_their_environments_and_histories_apart(steady):
    envs = [steady(length=n) for n in (2, 3, 4, 5)]
    learner, loop = Recorder(), loop_of(*envs, replicas=2)
    loop.run(learner, until=24, progress=False)  # two environments each: twelve rounds
    assert len(learner.seen) == 12
    assert learner.seen[0].observation.shape == (2, 2, 2)
    assert sorted(loop.histories[0].lengths) == [2] * 6 + [3] * 4
    assert sorted(loop.histories[1].lengths) == [4] * 3 + [5] * 2
    assert loop.histories[1].ends == [8, 10, 16, 20, 24]
    assert len({seed for env in envs[:2] for seed in env.seeds} & set(envs[2].seeds)) == 0


def test_numbers_of_the_last_info_enter_the_history(steady):
    class Telling(steady):
        def step(self, action):
            *rest, _ = super().step(action)
            return *rest, {"depth": np.int64(self.t), "won": self.t == 2, "name": "x"}

    loop = loop_of(Telling(length=2))
    loop.run(Recorder(), until=3, progress=False)
    assert loop.histories[0].infos == [{"depth": 2.0, "won": 1.0}]


def test_curt_park_trains_from_one_single_start(steady):
    """Every episode was reset with the same seed; the action was computed with a graph."""
    env = gymnasium.make("CartPole-v1")
    starts, reset = [], env.reset

    def watched(**kwargs):
        observation, info = reset(**kwargs)
        starts.append(tuple(observation.tolist()))
        return observation, info

    env.reset = watched
    agent = DQN(
        "CartPole-v1", noisy=True, hidden_sizes=(16, 16), batch_size=16, min_replay_size=1000
    )
    agent._loop.envs.envs[0] = env
    graphs = []
    agent.network.register_forward_hook(lambda *args: graphs.append(args[2].requires_grad))
    agent.learn(300, progress=False)
    assert len(set(starts)) == len(starts) > 5
    assert graphs == [False] * 300
    other = DQN("CartPole-v1", seed=1)
    assert agent._loop.envs._seeds != other._loop.envs._seeds


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([lambda agent: None], "has `every`, environment steps from one call to the next"),
        (lambda agent: None, "expected a list of what is called with the agent"),
        ([3], "`callbacks` got 3; expected what is called with the agent"),
    ],
)
def test_what_is_no_callback_is_said_before_anything_is_learned(given, message):
    agent = DQN("CartPole-v1")
    with pytest.raises(ConfigurationError, match=message):
        agent.learn(10, callbacks=given, progress=False)
    assert agent.steps == 0


def test_a_function_is_a_callback_once_it_has_a_period():
    def called(agent):
        seen.append(agent.steps)

    seen, called.every = [], 5
    DQN("CartPole-v1").learn(12, callbacks=[called], progress=False)
    assert seen == [5, 10]
