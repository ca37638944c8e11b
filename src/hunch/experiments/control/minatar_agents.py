"""The agents that play MinAtar, trained for a number of frames and evaluated once."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from torch import nn

from hunch.errors import MissingDependencyError
from hunch.experiments.control.stable_baselines import Player, global_randomness_kept
from hunch.rl import DQN, PQN, Agent, Linear, evaluate
from hunch.rl.environments.make import Env
from hunch.rl.environments.registration import register_minatar
from hunch.rl.minatar import make_minatar
from hunch.rl.networks.feature_layers import feature_layers
from hunch.rl.runs.callbacks import RandomPlayer
from hunch.seeding import derive

ID: Final = "hunch.rl.minatar:hunch/MinAtar-v0"
_MAX_STEPS: Final = 10_000  # of an evaluation episode; a ball may be kept in play for ever
_HIDDEN: Final = 128  # units behind the convolution, of all agents


def rainbow(game: str, frames: int, seed: int) -> Agent:
    """As `hunch train rainbow` sets it for MinAtar, for whatever number of frames."""
    return DQN(
        ID,
        env_kwargs={"game": game},
        noisy=True,
        double=True,
        dueling=True,
        prioritized=True,
        distributional="quantile",
        n_step=3,
        random_steps=0,
        layer_norm=True,
        min_replay_size=min(5_000, frames // 4),
        batch_size=32,
        update_period=1,
        hidden_sizes=(_HIDDEN,),
        learning_rate=2.5e-4,
        target_update_period=1_000,
        target_update_rate=1.0,
        max_gradient_norm=10.0,
        seed=seed,
    )


def pqn(game: str, frames: int, seed: int) -> Agent:
    """Fewer environments, larger steps, shorter returns than `hunch train pqn` has for MinAtar.

    That is made for millions of frames. Rewards stay as they are, and random actions fall within a
    tenth of the frames.
    """
    return PQN(
        ID,
        env_kwargs={"game": game},
        num_envs=16,
        hidden_sizes=(_HIDDEN,),
        td_lambda=0.65,
        learning_rate=1e-3,
        reward_scale=1.0,
        epsilon=Linear(1.0, 0.05, max(1, frames // 10)),
        seed=seed,
    )


def ours(game: str, frames: int, seed: int) -> Agent:
    """Our `DQN` at its defaults, but for the network and the batches, which are theirs."""
    return DQN(ID, env_kwargs={"game": game}, hidden_sizes=(_HIDDEN,), batch_size=32, seed=seed)


def stable_baselines(game: str, frames: int, seed: int, **more: Any) -> Any:
    """Stable-Baselines3's `DQN` at its defaults, with the network that our agents have."""
    from stable_baselines3 import DQN as Theirs

    return Theirs(
        "MlpPolicy",
        make_minatar(game),
        # Its default of a million would hold no more than these.
        buffer_size=min(1_000_000, frames),
        policy_kwargs={"features_extractor_class": _features, "net_arch": [_HIDDEN]},
        seed=seed,
        device="cpu",
        **more,
    )


def at_random(game: str, frames: int, seed: int) -> RandomPlayer:
    """Every action as often as any other."""
    return RandomPlayer(ours(game, frames, seed), derive(seed, "random play"))


def _features(space: Any) -> nn.Module:
    """What Stable-Baselines3 calls a features extractor: here the convolution of our agents."""
    layers, size = feature_layers(space.shape, pixels=False)
    features: Any = nn.Sequential(*layers)
    features.features_dim = size
    module: nn.Module = features
    return module


def check_installed() -> None:
    """Raise MissingDependencyError, in one sentence, where the games or Stable-Baselines3 lack."""
    register_minatar()
    try:
        importlib.import_module("stable_baselines3")
    except ImportError as error:
        raise MissingDependencyError(
            "Stable-Baselines3's DQN is one of the agents, and is not installed: "
            'pip install "torch-hunch[minatar,sb3]".'
        ) from error


def played_by(
    make: Callable[[str, int, int], Any], game: str, frames: int, seed: int, episodes: int
) -> tuple[float, float]:
    """Train an agent and evaluate its last weights.

    Args:
        make: from game, frames and seed to an untrained agent.
        game: an id of MinAtar's.
        frames: environment steps of training.
        seed: of the agent, and of the starts of the evaluation.
        episodes: of the evaluation.

    Returns:
        The mean return of greedy episodes, and the CPU seconds of the training.
    """
    with global_randomness_kept():
        started = time.process_time()
        agent: Any = make(game, frames, seed)
        if isinstance(agent, Agent):
            agent.learn(frames, progress=False)
        elif not isinstance(agent, RandomPlayer):
            agent.learn(frames)
            agent = Player(agent, partial(_open, game))
        seconds = time.process_time() - started
        found = evaluate(agent, episodes, seed=seed, max_steps=_MAX_STEPS)
    return found.mean_return, seconds


def _open(game: str) -> Env:
    return make_minatar(game)
