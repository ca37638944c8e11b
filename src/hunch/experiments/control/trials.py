"""One agent on one task: the mean return of every seed at the end, and how many solve it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from hunch.experiments.claims.markdown import table
from hunch.experiments.claims.saved import NOT_WRITTEN, Array, written
from hunch.rl import Agent, evaluate

# Mean returns from which tasks count as solved.
SOLVED: Final = {
    "CartPole-v1": 475.0,
    "Acrobot-v1": -100.0,
    "MountainCar-v0": -120.0,
    "Pendulum-v1": -250.0,
    "InvertedPendulum-v5": 950.0,
}


@dataclass(frozen=True)
class Trial:
    """One agent on one task, all seeds."""

    agent: str  # its name
    env: str  # the task
    # Of each seed in the evaluation episodes.
    mean_return: Array = field(metadata=written(decimals=1))
    seconds: float = field(default=math.nan, metadata=NOT_WRITTEN)  # CPU time of all seeds together

    @property
    def solved(self) -> int:
        """Seeds that reach the bound."""
        return int((self.mean_return >= SOLVED[self.env]).sum())

    def row(self, frames: int) -> str:
        """Its line in a table of trials."""
        every = ", ".join(f"{value:.0f}" for value in self.mean_return)
        seeds = len(self.mean_return)
        return (
            f"{self.agent} | {self.env} | {frames:,} | {self.solved} of {seeds} "
            f"| {np.median(self.mean_return):.0f} ({every}) | {self.seconds / seeds:.0f}"
        )


def table_of(trials: tuple[Trial, ...], frames: dict[str, int]) -> str:
    """One line for each agent and task.

    Args:
        trials: all of them.
        frames: environment steps of each seed, by task.
    """
    head = "agent | task | frames a seed | solved | mean return: median (all) | CPU seconds a seed"
    return table(head, [trial.row(frames[trial.env]) for trial in trials])


def trained(
    name: str, env: str, make: Callable[[], Agent], frames: int, episodes: int, seed: int
) -> Trial:
    """Train an agent's replicas, and evaluate each once.

    Args:
        name: of the agent.
        env: the task.
        make: makes the agent; its making counts as CPU time too.
        frames: environment steps of each replica.
        episodes: evaluation episodes of each.
        seed: of the first replica.
    """
    started = time.process_time()
    agent = make()
    agent.learn(frames, progress=False)
    returns = [
        evaluate(agent.replica(r), episodes, seed=seed + r).mean_return
        for r in range(agent.replicas)
    ]
    return Trial(name, env, np.array(returns), time.process_time() - started)
