"""Larger problems, by agents of which nothing is set: a lander, and rooms behind a locked door.

LunarLander-v3 counts as solved from a mean return of 200. In MiniGrid's DoorKey a key has to be
found and carried to a door before the goal can be reached, and nothing else is rewarded; a return
is 1 less 0.9 of the share of the time limit that was needed, 0.96 where nothing is wasted in rooms
of 5 × 5, and a mean of 0.9 counts as solved. Agents see the direction and what is in front of them
as one vector of numbers; the mission, which is always the same, is left out.

Each seed is evaluated once, at the end, by the last weights, greedily, in episodes from starts that
it was not trained on. The defaults of our agents were chosen on CartPole, Acrobot and MountainCar,
and only frames on these tasks: on seeds 0 to 9 of LunarLander, of which 7 solve it after 200,000
(the others return 132, 166 and 197) and 8 with rewards of a quarter, and on seeds 100 to 102 of
both. Since `reward_scale="auto"`, which came later, takes them at a half or a quarter, 9 of 10
solve it on the seeds of this claim, and 8 did before. Stable-Baselines3's DQN has
its own defaults: a target network that is copied every 10,000 frames, a step size of 1e-4, random
actions in the first tenth alone. They are made for many more frames, so what is compared is what
agents do of which nothing is asked, not two ways to write one algorithm.
"""

from __future__ import annotations

import importlib
import time
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from typing import Any, Final

import gymnasium
import numpy as np
from gymnasium.wrappers import FilterObservation, FlattenObservation

from hunch.errors import MissingDependencyError
from hunch.experiments.claims.checks import Check
from hunch.experiments.control.stable_baselines import Player, global_randomness_kept
from hunch.experiments.control.trials import (
    Task,
    Trial,
    Trials,
    all_trials,
    trained,
)
from hunch.rl import DQN, PQN, Agent, evaluate
from hunch.rl.environments.make import Env

CLAIM = (
    "DQN of which nothing is set solves LunarLander-v3 (mean return of at least 200, 300,000 "
    "frames) and MiniGrid's DoorKey of 5 × 5 (at least 0.9, 100,000 frames) on at least 8 of 10 "
    "seeds each, by its last weights; Stable-Baselines3's DQN at its defaults and other agents are "
    "printed beside."
)
CLAIMED: Final = "DQN"
THEIRS: Final = "DQN of Stable-Baselines3"
LANDER: Final = "LunarLander-v3"
DOOR: Final = "MiniGrid-DoorKey-5x5-v0"
AGENTS: Final[dict[str, tuple[type[Agent], dict[str, Any]]]] = {
    CLAIMED: (DQN, {}),
    "PQN": (PQN, {}),
}


@dataclass(frozen=True)
class Settings:
    """How long and how often."""

    num_seeds: int = 10  # of the agent that is claimed; replicas, trained at once
    beside_seeds: int = 5  # of what is printed beside it
    # Environment steps of each seed, by task.
    frames: dict[str, int] = field(default_factory=lambda: {LANDER: 300_000, DOOR: 100_000})
    evaluation_episodes: int = 30  # of each seed at the end
    jobs: int = 1  # agents at a time, each in a process of its own
    keep: str = ""  # folder of what earlier runs have done already; empty for none

    def seeds_of(self, agent: str) -> int:
        """How many of an agent are trained."""
        return self.num_seeds if agent == CLAIMED else self.beside_seeds

    @classmethod
    def quick(cls) -> Settings:
        """Too short to solve."""
        return cls(1, 1, dict.fromkeys(cls().frames, 600), evaluation_episodes=2)


@dataclass(frozen=True)
class Result(Trials):
    """All agents on all tasks."""

    settings: Settings


def make_task(name: str) -> Env:
    """An environment as our agents see it.

    Args:
        name: LunarLander's id, or one of MiniGrid's.
    """
    if name == LANDER:
        return gymnasium.make(name)
    importlib.import_module("minigrid")
    return FilterObservation(gymnasium.make(name), ["direction", "image"])


def run(settings: Settings | None = None, *, seed: int = 0, progress: bool = True) -> Result:
    """Train and evaluate all agents; `seed` is the first of `num_seeds`.

    Raises:
        MissingDependencyError: if Box2D, MiniGrid or Stable-Baselines3 is not installed; before
            anything is trained.
    """
    settings = settings or Settings()
    _check_installed()
    tasks = [
        Task(name, env, frames, seed, settings.seeds_of(name), settings.evaluation_episodes)
        for (env, frames), name in product(settings.frames.items(), (*AGENTS, THEIRS))
    ]
    trials = all_trials(
        "larger-problems",
        tasks,
        _train,
        jobs=settings.jobs,
        keep=settings.keep,
        progress=progress,
    )
    return Result(settings, trials)


def _check_installed() -> None:
    for module in ("Box2D", "minigrid", "stable_baselines3"):
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise MissingDependencyError(
                f"{module} is not installed, which these problems or agents need: "
                'pip install "torch-hunch[larger,sb3]".'
            ) from error


def _train(task: Task) -> list[Trial]:
    if task.agent == THEIRS:
        return [_trained_by_others(task)]
    kind, given = AGENTS[task.agent]
    place = partial(make_task, task.env)
    make = partial(kind, place, replicas=task.num_seeds, seed=task.seed, **given)
    return [trained(task.agent, task.env, make, task.frames, task.episodes, task.seed)]


def _trained_by_others(task: Task) -> Trial:
    """Stable-Baselines3's `DQN` at its defaults, one seed after another."""
    from stable_baselines3 import DQN as Theirs

    place = partial(_flat, task.env)
    returns, started = [], time.process_time()
    for seed in range(task.seed, task.seed + task.num_seeds):
        with global_randomness_kept():
            # Their replay's default of a million would hold no more than these.
            model = Theirs("MlpPolicy", place(), buffer_size=task.frames, seed=seed, device="cpu")
            model.learn(task.frames)
            player = Player(model, place)
            found = evaluate(player, task.episodes, seed=seed)
        returns.append(found.mean_return)
    return Trial(task.agent, task.env, np.array(returns), time.process_time() - started)


def _flat(name: str) -> Env:
    """An environment as Stable-Baselines3's perceptrons take it: the vector that ours see."""
    env = make_task(name)
    return env if name == LANDER else FlattenObservation(env)


def check(result: Result) -> list[Check]:
    """Seeds that solve each task; what is beside is printed, not claimed."""
    if min(result.settings.frames.values()) < 50_000:
        worst = min(float(trial.mean_return.min()) for trial in result.trials)
        return [Check("mean return, too few frames to solve", worst, ">=", -10_000.0)]
    return result.checks(CLAIMED, share=0.8)
