"""Small environments whose best behaviour is known, and the number of threads."""

import signal

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces


class Steady(gymnasium.Env):
    """One observation, reward 1 a step; an episode ends after `length` steps, in one way or the other.

    The observation counts nothing, but `last` marks the final one, and the array is used again.
    """

    def __init__(self, length=3, truncates=True):
        self.observation_space = spaces.Box(-1, 1, (2,), np.float32)
        self.action_space = spaces.Discrete(2)
        self.length, self.truncates = length, truncates
        self.seeds = []
        self.buffer = np.zeros(2, np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.seeds.append(seed)
        self.t = 0
        self.buffer[:] = (1, 0)
        return self.buffer, {}

    def step(self, action):
        self.t += 1
        over = self.t == self.length
        self.buffer[:] = (1, 0.5 if over else 0)
        return self.buffer, 1.0, over and not self.truncates, over and self.truncates, {}


class Matching(gymnasium.Env):
    """Reward 1 for the action that the observation names, first action `start`; five steps."""

    def __init__(self, start=0):
        self.observation_space = spaces.Box(0, 1, (2,), np.float32)
        self.action_space = spaces.Discrete(2, start=start)
        self.start = start
        self.actions = []

    def _show(self):
        self.right = int(self.np_random.integers(2))
        return np.eye(2, dtype=np.float32)[self.right]

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self._show(), {}

    def step(self, action):
        self.actions.append(action)
        self.t += 1
        reward = float(action - self.start == self.right)
        return self._show(), reward, False, self.t == 5, {}


class TwoSteps(gymnasium.Env):
    """Two steps of reward 1, then an end of one kind or the other; actions 5 and 6."""

    observation_space = spaces.Box(0, 2, (1,), np.float32)
    action_space = spaces.Discrete(2, start=5)

    def __init__(self, truncates):
        self.truncates = truncates

    def reset(self, *, seed=None, options=None):
        self.t = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        assert action in (5, 6)
        self.t += 1
        over = self.t == 2
        seen = np.full(1, self.t, np.float32)
        return seen, 1.0, over and not self.truncates, over and self.truncates, {}


@pytest.fixture
def two_steps():
    return TwoSteps


@pytest.fixture
def steady():
    return Steady


@pytest.fixture
def matching():
    return Matching


class Fixed:
    """An agent that always does the same, and remembers the environments that it was given."""

    def __init__(self, make, **kwargs):
        self.make, self.kwargs, self.envs = make, kwargs, []

    def another_env(self):
        self.envs.append(self.make(**self.kwargs))
        return self.envs[-1]

    def predict(self, observation, deterministic=True):
        return np.zeros(len(observation), int) if observation.ndim > 1 else 0


@pytest.fixture
def agent_of():
    return Fixed


@pytest.fixture
def interruptible():
    """Ctrl-C as Python has it: what a shell starts in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def one_thread(monkeypatch):
    """As if torch had one thread, so that the kernel runs all layers of its kind."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
