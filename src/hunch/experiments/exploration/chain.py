"""The n-chain: walk N states to the right past a small reward nearby.

Osband et al. (2016), section 5.1: an episode lasts N + 8 moves, the best return is 10, and an agent
has solved a chain once it earns that in 100 episodes in a row, within 2,000 episodes. Touati et al.
(2019) found ε-greedy DQN to fail mostly from N = 10 on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import hunch.envs  # noqa: F401 registers the environments
from hunch.experiments.claims.checks import Check
from hunch.experiments.claims.markdown import cells, listed, table
from hunch.experiments.claims.parallel import collect
from hunch.experiments.claims.saved import SavedResult
from hunch.rl import DQN, BootstrappedDQN, Linear

CLAIM = (
    "BootstrappedDQN with randomised priors solves the n-chain (100 best episodes in a row within "
    "2,000) for N = 10, 25 and 50 on all of 3 seeds; ε-greedy DQN solves none of N ≥ 25."
)
PRIOR: Final = "bootstrapped, prior"
NOISY: Final = "NoisyNet DQN"
GREEDY: Final = "ε-greedy DQN"
AGENTS: Final = (PRIOR, NOISY, GREEDY)
IN_A_ROW: Final = 100
BEST: Final = 10.0


@dataclass(frozen=True)
class Settings:
    """Which chains, how often, how long."""

    sizes: tuple[int, ...] = (10, 25, 50)  # N
    num_seeds: int = 3  # replicas of each agent, trained at once
    max_episodes: int = 2_000  # episodes after which an agent is given up
    jobs: int = 1  # runs at a time, each in a process of its own

    @classmethod
    def quick(cls) -> Settings:
        """A short chain."""
        return cls(sizes=(5,), num_seeds=1, max_episodes=400)


@dataclass(frozen=True)
class Trial:
    """One agent on one chain."""

    agent: str  # its name
    size: int  # N
    seed: int  # the replica's
    solved: int | None  # last of the first 100 best episodes in a row; None if there never were


@dataclass(frozen=True)
class Result(SavedResult):
    """All agents on all chains."""

    settings: Settings
    trials: tuple[Trial, ...]

    def solved(self, agent: str, size: int) -> list[int | None]:
        """When one agent solved one chain, for each seed."""
        return [t.solved for t in self.trials if (t.agent, t.size) == (agent, size)]

    def derived(self) -> dict[str, Any]:
        """The budget."""
        return {"max_episodes": self.settings.max_episodes}

    def to_markdown(self) -> str:
        """One line for each agent, one column for each chain."""
        sizes = self.settings.sizes
        return table(
            cells("agent", *(f"N = {size}" for size in sizes)),
            [
                cells(agent, *(listed(self.solved(agent, size)) for size in sizes))
                for agent in AGENTS
            ],
            "Episodes until solved, one number a seed.",
        )


def run(settings: Settings | None = None, *, seed: int = 0, progress: bool = True) -> Result:
    """Play all chains; `seed` is the first of `num_seeds`."""
    settings = settings or Settings()
    tasks = [(agent, size, seed, settings) for size in settings.sizes for agent in AGENTS]
    trials = collect(_play, tasks, settings.jobs, label="chain", unit="run", progress=progress)
    return Result(settings, tuple(sorted(trials, key=lambda t: (t.agent, t.size, t.seed))))


def _play(task: tuple[str, int, int, Settings]) -> list[Trial]:
    name, size, seed, settings = task
    agent = make_agent(name, size, seed, settings.num_seeds)
    length = agent.another_env().unwrapped.episode_length  # type: ignore[attr-defined]
    for episode in range(IN_A_ROW, settings.max_episodes + 1, 10):
        agent.learn(episode * length, progress=False)
        found = [solved_at(history.returns) for history in agent.histories]
        if all(found):
            break
    return [Trial(name, size, seed + r, at) for r, at in enumerate(found)]


def solved_at(returns: Sequence[float]) -> int | None:
    """The episode that completes the first 100 best ones in a row, counted from 1.

    Example:
        >>> solved_at([0.0] + [10.0] * 100), solved_at([10.0] * 99)
        (101, None)
    """
    row = 0
    for episode, value in enumerate(returns, start=1):
        row = row + 1 if value >= BEST else 0
        if row == IN_A_ROW:
            return episode
    return None


def make_agent(name: str, size: int, seed: int, replicas: int = 1) -> DQN | BootstrappedDQN:
    """An untrained agent on a chain.

    Example:
        >>> make_agent(PRIOR, 10, seed=0).num_members
        20
    """
    common: dict[str, Any] = dict(
        env="hunch/Chain-v0",
        env_kwargs=dict(size=size),
        batch_size=128,
        n_step=1,
        update_period=1,
        target_update_period=4,
        target_update_rate=1.0,
        random_steps=0,
        replicas=replicas,
        seed=seed,
    )
    if name == PRIOR:
        return BootstrappedDQN(
            num_members=20, hidden_sizes=(50, 50), prior_scale=5.0, loss="squared", **common
        )
    return DQN(
        noisy=name == NOISY,
        epsilon=Linear(1.0, 0.01, steps=500 * size),
        hidden_sizes=(50, 50),
        learning_rate=1e-3,
        replay_capacity=100_000,
        **common,
    )


def check(result: Result) -> list[Check]:
    """How many seeds solve each chain."""
    settings = result.settings
    checks = []
    for size in settings.sizes:
        count = sum(at is not None for at in result.solved(PRIOR, size))
        what = f"seeds that solve N = {size} within {settings.max_episodes:,} episodes"
        checks.append(Check(what, count, ">=", settings.num_seeds))
    large = [size for size in settings.sizes if size >= 25]
    if large:
        count = sum(at is not None for size in large for at in result.solved(GREEDY, size))
        checks.append(Check("runs of N ≥ 25 that ε-greedy DQN solves", count, "<=", 0))
    return checks
