"""The single-file agents as modules, and what their comparison with the library's agents needs."""

import importlib.util
import sys
from pathlib import Path

import gymnasium
import numpy as np
import torch

from hunch.rl import Replay

FOLDER = Path(__file__).parents[2] / "examples" / "single_file"
NAMES = ("dqn", "rainbow", "boot_dqn", "a2c", "reinforce")


def load(name):
    """The module of `examples/single_file/NAME.py`."""
    module_name = f"single_file_{name}"
    if module_name not in sys.modules:
        spec = importlib.util.spec_from_file_location(module_name, FOLDER / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        sys.modules[module_name] = module
    return sys.modules[module_name]


def copy_weights(into, network):
    """Give a single file's network the library's weights, parameter by parameter in their order."""
    theirs = [p for p in network.parameters()]
    ours = list(into.parameters())
    assert [p.shape for p in ours] == [p.shape for p in theirs]
    with torch.no_grad():
        for own, other in zip(ours, theirs, strict=True):
            own.copy_(other)


def largest_difference(ours, network):
    """Between the weights of a single file's network and of the library's."""
    pairs = zip(ours.parameters(), network.parameters(), strict=True)
    return max((own - other).abs().max().item() for own, other in pairs)


def as_tensors(*arrays):
    """The first replica's part of arrays `(1, batch, …)`."""
    return [torch.from_numpy(np.ascontiguousarray(array[0])) for array in arrays]


class RecordedReplay:
    """Hands on what the library's replay gives and takes, and remembers the last of it."""

    def __init__(self, monkeypatch):
        self.batches, self.errors = [], []
        sample, update = Replay.sample, Replay.update_priorities

        def recorded_sample(replay, *args, **kwargs):
            self.batches.append(sample(replay, *args, **kwargs))
            return self.batches[-1]

        def recorded_update(replay, position, error):
            self.errors.append(error[0].copy())
            update(replay, position, error)

        monkeypatch.setattr(Replay, "sample", recorded_sample)
        monkeypatch.setattr(Replay, "update_priorities", recorded_update)


class EveryUpdate:
    """A callback that is called with the agent after each of its updates."""

    every = 1

    def __init__(self, compare):
        self.compare, self.seen = compare, 0

    def __call__(self, agent):
        if agent.updates > self.seen:
            self.seen = agent.updates
            self.compare(agent)


class Recorder(gymnasium.Wrapper):
    """Writes each step into a list that it is given: observation, action, reward, next, ends."""

    def __init__(self, env, steps):
        super().__init__(env)
        self.steps = steps

    def reset(self, **kwargs):
        self.observation, info = self.env.reset(**kwargs)
        return self.observation, info

    def step(self, action):
        following, reward, terminated, truncated, info = self.env.step(action)
        self.steps.append((self.observation, action, reward, following, terminated, truncated))
        self.observation = following
        return following, reward, terminated, truncated, info
