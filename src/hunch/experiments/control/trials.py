"""One agent on one task: the mean return of every seed at the end, and how many solve it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np

from hunch.experiments.claims.checks import Check
from hunch.experiments.claims.kept import Kept
from hunch.experiments.claims.markdown import table
from hunch.experiments.claims.parallel import collect
from hunch.experiments.claims.saved import NOT_WRITTEN, Array, SavedResult, written
from hunch.rl import Agent, evaluate

# Mean returns from which tasks count as solved.
SOLVED: Final = {
    "CartPole-v1": 475.0,
    "Acrobot-v1": -100.0,
    "MountainCar-v0": -120.0,
    "Pendulum-v1": -250.0,
    "InvertedPendulum-v5": 950.0,
    "LunarLander-v3": 200.0,
    "MiniGrid-DoorKey-5x5-v0": 0.9,
}


@dataclass(frozen=True)
class Task:
    """What a trial is of."""

    agent: str  # its name
    env: str  # the task
    frames: int  # environment steps of each seed
    seed: int  # the first one
    num_seeds: int
    episodes: int  # of each seed's evaluation


@dataclass(frozen=True)
class Trial:
    """One agent on one task, all seeds."""

    agent: str  # its name
    env: str  # the task
    # Of each seed in the evaluation episodes.
    mean_return: Array = field(metadata=written(decimals=2))
    seconds: float = field(default=math.nan, metadata=NOT_WRITTEN)  # CPU time of all seeds together

    @property
    def solved(self) -> int:
        """Seeds that reach the bound."""
        return int((self.mean_return >= SOLVED[self.env]).sum())

    def row(self, frames: int) -> str:
        """Its line in a table of trials."""
        places = 0 if abs(SOLVED[self.env]) > 1 else 2
        every = ", ".join(f"{value:.{places}f}" for value in self.mean_return)
        seeds = len(self.mean_return)
        return (
            f"{self.agent} | {self.env} | {frames:,} | {self.solved} of {seeds} "
            f"| {np.median(self.mean_return):.{places}f} ({every}) | {self.seconds / seeds:.0f}"
        )


def table_of(trials: tuple[Trial, ...], frames: dict[str, int]) -> str:
    """One line for each agent and task.

    Args:
        trials: all of them.
        frames: environment steps of each seed, by task.
    """
    head = "agent | task | frames a seed | solved | mean return: median (all) | CPU seconds a seed"
    return table(head, [trial.row(frames[trial.env]) for trial in trials])


@dataclass(frozen=True)
class Trials(SavedResult):
    """All agents on all tasks."""

    settings: Any  # whose `frames` are environment steps of each seed, by task
    trials: tuple[Trial, ...]

    def derived(self) -> dict[str, Any]:
        """Seeds that solve, in the order of the trials."""
        return {"solved": [trial.solved for trial in self.trials]}

    def to_markdown(self) -> str:
        """One line for each agent and task."""
        return table_of(self.trials, self.settings.frames)

    def checks(self, agent: str, share: float) -> list[Check]:
        """Whether enough seeds of an agent solve each task.

        Args:
            agent: its name.
            share: how many of them, as a share.
        """
        return [
            Check(
                f"seeds with mean return >= {SOLVED[trial.env]:g} on {trial.env}",
                trial.solved,
                ">=",
                share * len(trial.mean_return),
            )
            for trial in self.trials
            if trial.agent == agent
        ]


def all_trials(
    name: str,
    tasks: Sequence[Task],
    train: Callable[[Task], Sequence[Trial]],
    *,
    jobs: int,
    keep: str,
    progress: bool,
) -> tuple[Trial, ...]:
    """The trials of all tasks, in their order; what was kept of them is not trained again.

    Args:
        name: of the claim.
        tasks: what is to be trained.
        train: a function of a module, from a task to its one trial.
        jobs: tasks at a time, each in a process of its own.
        keep: folder of what earlier runs have done already; empty for none.
        progress: whether to show a bar.
    """
    kept, done = Kept(keep, name), {}
    for row in kept:
        if row.keys() == {"task", "mean_return", "seconds"}:
            task = Task(**row["task"])
            done[task] = Trial(task.agent, task.env, np.array(row["mean_return"]), row["seconds"])
    left = {(task.agent, task.env): task for task in tasks if task not in done}

    def store(trials: Sequence[Trial]) -> None:
        for trial in trials:
            task = left[trial.agent, trial.env]
            returns: list[Any] = trial.mean_return.tolist()
            kept.add({"task": asdict(task), "mean_return": returns, "seconds": trial.seconds})
            done[task] = trial

    collect(
        train,
        list(left.values()),
        jobs,
        label=name.replace("-", " "),
        unit="run",
        progress=progress,
        keep=store,
    )
    return tuple(done[task] for task in tasks)


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
