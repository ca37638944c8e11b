"""Ctrl-C and SIGTERM in evaluations, videos and callbacks: between two steps, and resumed."""

import os
import signal
import subprocess
import sys
import threading

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from hunch import interrupts
from hunch.rl import DQN, Evaluate, Plan, Run, evaluate, record

SMALL = dict(hidden_sizes=(8,), batch_size=8, min_replay_size=8, epsilon=0.5)

pytestmark = pytest.mark.usefixtures("interruptible")


class Counted(gymnasium.Env):
    """Episodes of nine steps; Ctrl-C comes at a step of all evaluation episodes together."""

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012
    ctrl_c_at: int | None = None
    steps = 0

    def __init__(self, render_mode=None):
        self.observation_space = spaces.Box(-1, 1, (2,), np.float32)
        self.action_space = spaces.Discrete(2)
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.evaluated, self.t = seed % 2 == 0, 0  # by an even seed
        return self.np_random.uniform(-1, 1, 2).astype(np.float32), {}

    def step(self, action):
        self.t += 1
        Counted.steps += self.evaluated
        if self.evaluated and Counted.steps == Counted.ctrl_c_at:
            os.kill(os.getpid(), signal.SIGINT)
        observation = self.np_random.uniform(-1, 1, 2).astype(np.float32)
        return observation, float(observation[0]) * action, self.t == 9, False, {}

    def render(self):
        return np.zeros((8, 8, 3), np.uint8)


if "test/Counted-v0" not in gymnasium.registry:
    gymnasium.register("test/Counted-v0", entry_point=Counted, disable_env_checker=True)


@pytest.fixture
def ctrl_c(monkeypatch):
    monkeypatch.setattr(Counted, "steps", 0)

    def at(step):
        monkeypatch.setattr(Counted, "ctrl_c_at", step)

    return at


def plan_of(**options):
    settings = DQN("test/Counted-v0", replicas=2, **SMALL).settings
    given = dict(evaluate_every=50, evaluate_episodes=3, checkpoint_every=70, log_every=25)
    return Plan("DQN", settings, steps=200, **(given | options))


def all_of(run, agent):
    state = {name: value.numpy().copy() for name, value in agent.state_dict().items()}
    logs = {p.name: p.read_text() for p in (run.folder / "logs").glob("*.csv")}
    best = {n: v.numpy() for n, v in run.best_agent().network.state_dict().items()}
    return state, logs, best, run.evaluation.scores


def check_equal(found, expected):
    for own, other in zip(found[::2], expected[::2], strict=True):  # state and best weights
        assert own.keys() == other.keys()
        assert all(np.array_equal(own[name], other[name], equal_nan=True) for name in own)
    assert found[1::2] == expected[1::2]


# The first, the second and the last evaluation, of the first replica and of the second.
@pytest.mark.parametrize("moments", [[1], [40], [54 + 20, 30], [3 * 54 + 5]])
def test_a_run_stopped_in_an_evaluation_ends_with_the_same_bits(moments, ctrl_c, tmp_path):
    whole = Run.begin(tmp_path / "whole", plan_of())
    expected = all_of(whole, whole.train(progress=False))
    run = Run.begin(tmp_path / "stopped", plan_of())
    for moment in moments:
        Counted.steps = 0
        ctrl_c(moment)
        with pytest.raises(KeyboardInterrupt):
            run.train(progress=False)
        assert run.finished is None
        run = Run.open(tmp_path / "stopped")
    ctrl_c(None)
    agent = run.train(progress=False)
    assert not agent.cut_short
    check_equal(all_of(run, agent), expected)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_learning_goes_on_with_the_callbacks_that_were_left(ctrl_c):
    class Noting:
        every = 10

        def __init__(self, stop_at=None):
            self.seen, self.stop_at = [], stop_at

        def __call__(self, agent):
            self.seen.append(agent.steps)
            return agent.steps == self.stop_at

    before, after, check = Noting(stop_at=20), Noting(), Evaluate(every=20, episodes=2)
    agent = DQN(Counted(), **SMALL)
    ctrl_c(3)
    with pytest.raises(KeyboardInterrupt):
        agent.learn(100, callbacks=[before, check, after], progress=False)
    assert (agent.steps, agent.cut_short, check.scores) == (20, True, [])
    assert (before.seen, after.seen) == ([10, 20], [10])
    agent.learn(100, callbacks=[before, check, after], progress=False)
    assert agent.steps == 20  # `before` had asked for an end
    assert (before.seen, after.seen) == ([10, 20], [10, 20])
    assert [score.step for score in check.scores] == [20]


def test_an_evaluation_stops_between_steps(ctrl_c):
    ctrl_c(5)
    with pytest.raises(KeyboardInterrupt):
        evaluate(DQN("test/Counted-v0", **SMALL), 10)
    assert Counted.steps == 10  # the round of ten is played to its end
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_video_stops_between_steps(ctrl_c):
    pytest.importorskip("imageio_ffmpeg")
    ctrl_c(5)
    with pytest.raises(KeyboardInterrupt):
        record(DQN("test/Counted-v0", **SMALL))
    assert Counted.steps == 5


def test_a_batch_stops_between_steps(ctrl_c):
    agent = DQN("test/Counted-v0", **SMALL)
    ctrl_c(4)
    envs = gymnasium.vector.SyncVectorEnv([Counted] * 3)
    with pytest.raises(KeyboardInterrupt):
        evaluate(agent, 10, env=envs)
    assert Counted.steps == 6
    envs.step(np.zeros(3, np.int64))  # it is left as it was


def test_blocks_share_one_flag_and_a_second_press_does_not_wait():
    with interrupts.between_steps() as outer, interrupts.between_steps() as inner:
        os.kill(os.getpid(), signal.SIGINT)
        assert outer()
        assert inner()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    with interrupts.between_steps() as fresh:
        assert not fresh()


def test_another_thread_evaluates_undisturbed():
    agent, found = DQN("test/Counted-v0", **SMALL), []
    with interrupts.between_steps():
        os.kill(os.getpid(), signal.SIGINT)
        thread = threading.Thread(target=lambda: found.append(evaluate(agent, 3)))
        thread.start()
        thread.join()
    assert found[0].lengths.tolist() == [9, 9, 9]


def test_sigterm_waits_for_the_step_where_ctrl_c_is_ignored(tmp_path):
    """What a shell starts in the background ignores Ctrl-C; a step is not torn apart all the same."""
    code = (
        "import os, signal\n"
        "from hunch import interrupts\n"
        "signal.signal(signal.SIGTERM, interrupts.end)\n"
        "with interrupts.between_steps() as interrupted:\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    print('whole', interrupted())\n"
        "try:\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "except KeyboardInterrupt:\n"
        "    print('at once')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    assert done.stdout.split("\n")[:2] == ["whole True", "at once"], done.stderr
