"""Two classic tasks with continuous actions: swing a pendulum up, and balance one on a cart.

Pendulum-v1 counts as solved from a mean return of −250 (swinging up alone costs a good one some
150), InvertedPendulum-v5 from 950 of 1,000. Each seed is evaluated once, at the end, by its greedy
actions in 100 episodes from starts that it was not trained on. `Reinforce` is beside it: the same
networks, whole episodes in place of short rollouts.

InvertedPendulum needs MuJoCo, the extra `mujoco`.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from hunch.errors import MissingDependencyError
from hunch.experiments.claims.checks import Check
from hunch.experiments.claims.parallel import collect
from hunch.experiments.claims.saved import SavedResult, plain
from hunch.experiments.control.trials import SOLVED, Trial, table_of, trained
from hunch.rl import A2C, Linear, Reinforce

CLAIM = (
    "A2C solves Pendulum-v1 (mean return of at least −250) and InvertedPendulum-v5 (at least 950) "
    "on at least 8 of 10 seeds each."
)
SWING: Final = "Pendulum-v1"
CART: Final = "InvertedPendulum-v5"

_CART: Final[dict[str, Any]] = dict(
    discount=0.99, learning_rate=Linear(3e-3, 0.0, 150_000), reward_scale=0.1, initial_std=0.3
)
_SETTINGS: Final[dict[tuple[str, str], dict[str, Any]]] = {
    ("A2C", SWING): dict(
        discount=0.9,
        gae_lambda=0.9,
        learning_rate=Linear(1e-3, 0.0, 1_000_000),
        reward_scale=0.1,
        rollout_length=8,
    ),
    ("A2C", CART): dict(gae_lambda=0.95, rollout_length=16, **_CART),
    ("Reinforce", SWING): dict(discount=0.9, learning_rate=3e-3, reward_scale=0.1, num_envs=4),
    ("Reinforce", CART): dict(num_envs=4, **_CART),
}


@dataclass(frozen=True)
class Settings:
    """How long and how often."""

    num_seeds: int = 10  # replicas of `A2C`, trained at once
    beside_seeds: int = 3  # of `Reinforce`; 0 leaves it out
    # Environment steps of each seed, by task.
    frames: dict[str, int] = field(default_factory=lambda: {SWING: 1_000_000, CART: 150_000})
    evaluation_episodes: int = 100  # of each seed at the end
    jobs: int = 1  # agents at a time, each in a process of its own

    @classmethod
    def quick(cls) -> Settings:
        """Too short to solve, and without MuJoCo."""
        return cls(num_seeds=2, beside_seeds=1, frames={SWING: 2_000}, evaluation_episodes=2)


@dataclass(frozen=True)
class Result(SavedResult):
    """All agents on all tasks."""

    settings: Settings
    trials: tuple[Trial, ...]

    def of(self, agent: str, env: str) -> Trial | None:
        """One agent on one task, if it was run."""
        return next((t for t in self.trials if (t.agent, t.env) == (agent, env)), None)

    def to_json(self) -> dict[str, Any]:
        """Plain values, the same for the same seed."""
        trials = [{"solved": t.solved, **plain(t)} for t in self.trials]
        return {"frames": dict(self.settings.frames), "trials": trials}

    def to_markdown(self) -> str:
        """One line for each agent and task."""
        return table_of(self.trials, self.settings.frames)


def run(settings: Settings | None = None, *, seed: int = 0, progress: bool = True) -> Result:
    """Train and evaluate all agents; `seed` is the first replica's.

    Raises:
        MissingDependencyError: if MuJoCo is needed and not installed.
    """
    settings = settings or Settings()
    if CART in settings.frames and importlib.util.find_spec("mujoco") is None:
        raise MissingDependencyError(
            f"{CART} needs the package mujoco; run: pip install 'torch-hunch[mujoco]'"
        )
    envs = list(settings.frames)
    agents = ("A2C", "Reinforce") if settings.beside_seeds else ("A2C",)
    tasks = [(agent, env, seed, settings) for agent in agents for env in envs]
    trials = collect(
        _train, tasks, settings.jobs, label="continuous control", unit="run", progress=progress
    )
    trials.sort(key=lambda t: (agents.index(t.agent), envs.index(t.env)))
    return Result(settings, tuple(trials))


def _train(task: tuple[str, str, int, Settings]) -> list[Trial]:
    name, env, seed, settings = task
    seeds = settings.num_seeds if name == "A2C" else settings.beside_seeds
    frames, episodes = settings.frames[env], settings.evaluation_episodes
    make = partial(make_agent, name, env, seed, seeds)
    return [trained(name, env, make, frames, episodes, seed)]


def make_agent(name: str, env: str, seed: int, replicas: int = 1) -> A2C | Reinforce:
    """An untrained agent.

    Example:
        >>> make_agent("A2C", SWING, seed=0).reward_multiplier.item()
        0.1
    """
    common: dict[str, Any] = dict(normalize=True, replicas=replicas, seed=seed)
    own = _SETTINGS[name, env]
    if name == "A2C":
        return A2C(env, entropy_weight=0.0, num_envs=8, **own, **common)
    return Reinforce(env, **own, **common)


def check(result: Result) -> list[Check]:
    """Seeds that solve each task; a short run is only held against falling over."""
    settings = result.settings
    if CART not in settings.frames:
        trial = result.of("A2C", SWING)
        worst = -2_000.0 if trial is None else float(trial.mean_return.min())
        return [Check("mean return, too few frames to solve", worst, ">=", -1_900.0)]
    checks = []
    for env in (SWING, CART):
        trial = result.of("A2C", env)
        what = f"seeds with mean return >= {SOLVED[env]:g} on {env}"
        checks.append(Check(what, trial.solved if trial else 0, ">=", 0.8 * settings.num_seeds))
    return checks
