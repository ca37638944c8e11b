"""Gymnasium's three classic tasks with a few actions, by `PQN` as it is if nothing is set.

CartPole-v1 counts as solved from a mean return of 475, Acrobot-v1 from −100 and MountainCar-v0 from
−120. Each seed is evaluated once, at the end, by the last weights, greedily, in 100 episodes
from starts that it was not trained on. Frames apart all three tasks have the same settings, which
were chosen on other seeds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from hunch.experiments.claims.checks import Check
from hunch.experiments.claims.parallel import collect
from hunch.experiments.claims.saved import SavedResult
from hunch.experiments.control.trials import SOLVED, Trial, table_of, trained
from hunch.rl import PQN

CLAIM = (
    "PQN at its defaults solves CartPole-v1 (mean return of at least 475), Acrobot-v1 (−100) and "
    "MountainCar-v0 (−120) on at least 9 of 10 seeds each."
)
EPSILON: Final = "ε-greedy"
AGENTS: Final[dict[str, dict[str, Any]]] = {
    EPSILON: {},
    "noise": dict(noisy=True),
    "5 members with priors": dict(num_members=5),
}


@dataclass(frozen=True)
class Settings:
    """How long and how often."""

    num_seeds: int = 10  # replicas, trained at once
    # Environment steps of each seed, by task.
    frames: dict[str, int] = field(
        default_factory=lambda: {
            "CartPole-v1": 100_000,
            "Acrobot-v1": 100_000,
            "MountainCar-v0": 200_000,
        }
    )
    evaluation_episodes: int = 100  # of each seed at the end
    jobs: int = 1  # agents at a time, each in a process of its own

    @classmethod
    def quick(cls) -> Settings:
        """Too short to solve."""
        return cls(num_seeds=2, frames=dict.fromkeys(cls().frames, 1_000), evaluation_episodes=2)


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
    tasks = [(agent, env, seed, settings) for agent in AGENTS for env in settings.frames]
    trials = collect(
        _train, tasks, settings.jobs, label="classic control", unit="run", progress=progress
    )
    agents, envs = list(AGENTS), list(settings.frames)
    trials.sort(key=lambda t: (agents.index(t.agent), envs.index(t.env)))
    return Result(settings, tuple(trials))


def _train(task: tuple[str, str, int, Settings]) -> list[Trial]:
    name, env, seed, settings = task
    frames, episodes = settings.frames[env], settings.evaluation_episodes
    make = partial(PQN, env, replicas=settings.num_seeds, seed=seed, **AGENTS[name])
    return [trained(name, env, make, frames, episodes, seed)]


def check(result: Result) -> list[Check]:
    """Seeds that solve each task without noise or priors; the others are printed, not claimed."""
    settings = result.settings
    trials = [trial for trial in result.trials if trial.agent == EPSILON]
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
