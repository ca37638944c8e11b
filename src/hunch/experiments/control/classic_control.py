"""Gymnasium's three classic tasks with a few actions, by agents of which nothing is set.

CartPole-v1 counts as solved from a mean return of 475, Acrobot-v1 from −100 and MountainCar-v0 from
−120. Each seed is evaluated once, at the end, by the last weights, greedily, in 30 episodes
from starts that it was not trained on. Frames apart all three tasks have the same settings, which
were chosen on other seeds.

Agents that explore by noise alone are not played on MountainCar: none of 20 seeds of theirs ever
met its goal within 200,000 frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from typing import Any, Final

import numpy as np

from hunch.experiments.claims.checks import Check
from hunch.experiments.claims.kept import Kept
from hunch.experiments.claims.parallel import collect
from hunch.experiments.claims.saved import SavedResult
from hunch.experiments.control.trials import SOLVED, Trial, table_of, trained
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
class Result(SavedResult):
    """All agents on all tasks."""

    settings: Settings
    trials: tuple[Trial, ...]

    def derived(self) -> dict[str, Any]:
        """Seeds that solve, in the order of the trials."""
        return {"solved": [trial.solved for trial in self.trials]}

    def to_markdown(self) -> str:
        """One line for each agent and task."""
        return table_of(self.trials, self.settings.frames)


def run(settings: Settings | None = None, *, seed: int = 0, progress: bool = True) -> Result:
    """Train and evaluate all agents; `seed` is the first replica's."""
    settings = settings or Settings()
    kept = Kept(settings.keep, "classic-control")
    order = [which for which in product(AGENTS, settings.frames) if which not in NOT_PLAYED]
    how = {"seed": seed, "num_seeds": settings.num_seeds, "beside_seeds": settings.beside_seeds}
    done = {
        (row["agent"], row["env"]): Trial(
            row["agent"], row["env"], np.array(row["mean_return"]), row["seconds"]
        )
        for row in kept
        if row.items() >= how.items() and row["frames"] == settings.frames.get(row["env"])
    }

    def keep(trials: Sequence[Trial]) -> None:
        for t in trials:
            frames = {"frames": settings.frames[t.env]}
            kept.add({**how, **frames, **vars(t), "mean_return": t.mean_return.tolist()})

    new = collect(
        _train,
        [(*which, seed, settings) for which in order if which not in done],
        settings.jobs,
        label="classic control",
        unit="run",
        progress=progress,
        keep=keep,
    )
    done |= {(trial.agent, trial.env): trial for trial in new}
    return Result(settings, tuple(done[which] for which in order))


def _train(task: tuple[str, str, int, Settings]) -> list[Trial]:
    name, env, seed, settings = task
    frames, episodes = settings.frames[env], settings.evaluation_episodes
    seeds = settings.num_seeds if name == CLAIMED else settings.beside_seeds
    kind, given = AGENTS[name]
    make = partial(kind, env, replicas=seeds, seed=seed, **given)
    return [trained(name, env, make, frames, episodes, seed)]


def check(result: Result) -> list[Check]:
    """Seeds that solve each task; what is beside is printed, not claimed."""
    settings = result.settings
    trials = [trial for trial in result.trials if trial.agent == CLAIMED]
    if min(settings.frames.values()) < 50_000:
        worst = min(float(trial.mean_return.min()) for trial in trials)
        return [Check("mean return, too few frames to solve", worst, ">=", -500.0)]
    return [
        Check(
            f"seeds with mean return >= {SOLVED[trial.env]:g} on {trial.env}",
            trial.solved,
            ">=",
            0.9 * settings.num_seeds,
        )
        for trial in trials
    ]
