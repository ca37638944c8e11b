"""The single-file agents as modules, and what holding the library's agents against them needs."""

import importlib.util
import types
from pathlib import Path

import gymnasium
import numpy as np
import torch

from hunch.nn import NoisyLinear
from hunch.rl import Replay

FOLDER = Path(__file__).parents[2] / "examples" / "single_file"
NAMES = ("dqn", "rainbow", "boot_dqn", "a2c", "reinforce")


def load(name, old=None, new=""):
    """The module of `examples/single_file/NAME.py`; with `old`, one in which `new` stands there."""
    path = FOLDER / f"{name}.py"
    if old is None:
        spec = importlib.util.spec_from_file_location(f"single_file_{name}", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    source = path.read_text("utf-8")
    assert source.count(old) == 1, f"{old!r} is not, or not once, in {name}.py"
    module = types.ModuleType(f"changed_{name}")
    exec(compile(source.replace(old, new), f"changed {name}.py", "exec"), vars(module))
    return module


def tensors(network, start=""):
    """A network's parameters in their order."""
    return [p for name, p in network.named_parameters() if name.startswith(start)]


def of_replica(network, r):
    """Those of one replica, where they have a leading axis for it."""
    return [p[r] for p in network.parameters()]


@torch.no_grad()
def copy_weights(into, weights):
    """Give a single file's network the library's weights."""
    for own, other in zip(into.parameters(), weights, strict=True):
        assert own.shape == other.shape
        own.copy_(other)


def largest_difference(network, weights):
    """Between the weights of a single file's network and the library's."""
    pairs = zip(network.parameters(), weights, strict=True)
    return max((own - other).abs().max().item() for own, other in pairs)


def rows(array, replica=0):
    """One replica's rows of an array `(replicas, batch, …)`."""
    return torch.from_numpy(np.ascontiguousarray(array[replica]))


class AfterUpdates:
    """A callback that is called with the agent after each of its updates."""

    every = 1

    def __init__(self, call):
        self.call, self.seen = call, 0

    def __call__(self, agent):
        if agent.updates > self.seen:
            self.seen = agent.updates
            self.call(agent)


class Recorder(gymnasium.Wrapper):
    """Writes each step into a list: observation, action, reward, next observation, two ends."""

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


class RecordedReplay:
    """Remembers the batches that the library's replay gives, and the errors that it is told."""

    def __init__(self, monkeypatch):
        self.batches, self.errors = [], []
        sample, update = Replay.sample, Replay.update_priorities

        def recorded_sample(replay, *args, **kwargs):
            self.batches.append(sample(replay, *args, **kwargs))
            return self.batches[-1]

        def recorded_update(replay, position, error):
            self.errors.append(error.copy())
            update(replay, position, error)

        monkeypatch.setattr(Replay, "sample", recorded_sample)
        monkeypatch.setattr(Replay, "update_priorities", recorded_update)


class RecordedNoise:
    """Remembers what the library's noisy layers draw, which agents do for many forwards at once."""

    def __init__(self, monkeypatch):
        self.draws = {}
        draw = NoisyLinear.draw

        def recorded(layer, generator=None, *, members=None, **kwargs):
            drawn = draw(layer, generator, members=members, **kwargs)
            if members is not None:
                self.draws.setdefault(id(layer), []).extend(zip(*drawn, strict=True))
            return drawn

        monkeypatch.setattr(NoisyLinear, "draw", recorded)

    def hand_over(self, theirs, ours, number, kind):
        """Let each noisy layer of `ours` draw next what the library's drew for its n-th forward."""
        pairs = zip(
            [layer for layer in theirs.modules() if isinstance(layer, NoisyLinear)],
            [layer for layer in ours.modules() if isinstance(layer, kind)],
            strict=True,
        )
        for their, own in pairs:
            waiting = [self.draws[id(their)][n] for n in number]
            own.noise = lambda waiting=waiting: tuple(reversed(waiting.pop(0)))
