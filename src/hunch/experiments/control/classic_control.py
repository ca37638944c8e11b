"""Gymnasium's three classic tasks with a few actions, by agents of which nothing is set.

CartPole-v1 counts as solved from a mean return of 475, Acrobot-v1 from −100 and MountainCar-v0 from
−120. Each seed is evaluated once, at the end, by the last weights, greedily, in 30 episodes
from starts that it was not trained on. Frames apart all three tasks have the same settings, which
were chosen on other seeds.

Agents that explore by noise alone are not played on MountainCar: none of 20 seeds of theirs ever
met its goal within 200,000 frames.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from itertools import product
from typing import Any, Final

from hunch.experiments.claims.checks import Check
from hunch.experiments.control.trials import (
    Task,
    Trial,
    Trials,
    all_trials,
    trained,
)
from hunch.rl import DQN, PQN, Agent

CLAIM = (
    "DQN of which nothing is set solves CartPole-v1 (mean return of at least 475, 50,000 frames), "
    "Acrobot-v1 (at least −100, 100,000 frames) and MountainCar-v0 (at least −120, 400,000 frames) "
    "on at least 9 of 10 seeds each, by its last weights; other agents are printed beside."
)
CLAIMED: Final = "DQN"
AGENTS: Final[dict[str, tuple[type[Agent], dict[str, Any]]]] = {
    "PQN, 5 members": (PQN, dict(num_members=5)),
    "PQN": (PQN, {}),
    "PQN, noisy": (PQN, dict(noisy=True)),
    CLAIMED: (DQN, {}),
    "DQN, noisy and double": (DQN, dict(noisy=True, double=True)),
}
NOT_PLAYED: Final = {
    ("PQN, noisy", "MountainCar-v0"),
    ("DQN, noisy and double", "MountainCar-v0"),
}


@dataclass(frozen=True)
class Settings:
    """How long and how often."""

    num_seeds: int = 10  # of the agent that is claimed; replicas, trained at once
    beside_seeds: int = 10  # of what is printed beside them
    # Environment steps of each seed, by task.
    frames: dict[str, int] = field(
        default_factory=lambda: {
            "CartPole-v1": 50_000,
            "Acrobot-v1": 100_000,
            "MountainCar-v0": 400_000,
        }
    )
    evaluation_episodes: int = 30  # of each seed at the end
    jobs: int = 1  # agents at a time, each in a process of its own
    keep: str = ""  # folder of what earlier runs have done already; empty for none

    @classmethod
    def quick(cls) -> Settings:
        """Too short to solve."""
        return cls(
            num_seeds=2,
            beside_seeds=1,
            frames=dict.fromkeys(cls().frames, 1_000),
            evaluation_episodes=2,
        )


@dataclass(frozen=True)
class Result(Trials):
    """All agents on all tasks."""

    settings: Settings


def run(settings: Settings | None = None, *, seed: int = 0, progress: bool = True) -> Result:
    """Train and evaluate all agents; `seed` is the first replica's."""
    settings = settings or Settings()
    tasks = [
        Task(
            name,
            env,
            frames,
            seed,
            settings.num_seeds if name == CLAIMED else settings.beside_seeds,
            settings.evaluation_episodes,
        )
        for name, (env, frames) in product(AGENTS, settings.frames.items())
        if (name, env) not in NOT_PLAYED
    ]
    trials = all_trials(
        "classic-control",
        tasks,
        _train,
        jobs=settings.jobs,
        keep=settings.keep,
        progress=progress,
    )
    return Result(settings, trials)


def _train(task: Task) -> list[Trial]:
    kind, given = AGENTS[task.agent]
    make = partial(kind, task.env, replicas=task.num_seeds, seed=task.seed, **given)
    return [trained(task.agent, task.env, make, task.frames, task.episodes, task.seed)]


def check(result: Result) -> list[Check]:
    """Seeds that solve each task; what is beside is printed, not claimed."""
    if min(result.settings.frames.values()) < 50_000:
        worst = min(float(trial.mean_return.min()) for trial in result.trials)
        return [Check("mean return, too few frames to solve", worst, ">=", -500.0)]
    return result.checks(CLAIMED, share=0.9)
