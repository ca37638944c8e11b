"""Deep sea: which agents find the one path of N moves, and after how many episodes.

bsuite's problem: its environment, its action mapping for seed 42, its definition of solved (the
first episode after which fewer than 90 % of all episodes so far have left the best path; 80 %, and
not before episode 100, if the environment is stochastic). An agent that finds the path by chance
needs some 2ᴺ episodes. Osband et al. (2018) report episodes in proportion to N³ for bootstrapped
DQN with randomised priors.

All agents with networks have two hidden layers of 50 units, batches of 128 and one update a step.
The agents without a member for each episode are beside it to show what the method is for: ε-greedy
DQN and NoisyNet explore step by step, and bootstrapping without priors has nothing to disagree
about. The epinet is the same method with one network in place of twenty, and tables are the same
with twenty tables in place of twenty networks: what is learned of one state changes no other.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

import hunch.envs
from hunch.experiments.claims.checks import Check
from hunch.experiments.claims.kept import Kept
from hunch.experiments.claims.markdown import listed, table
from hunch.experiments.claims.parallel import collect
from hunch.experiments.claims.saved import NOT_WRITTEN, SavedResult
from hunch.rl import DQN, BootstrappedDQN, History, Linear, StopWhenSolved

CLAIM = (
    "BootstrappedDQN with randomised priors solves bsuite's deep sea of size 10, 20 and 30 on 5 of "
    "5 seeds and of size 50 on at least 4 of 5, within 2,500 episodes; its episodes grow no faster "
    "than N^2.2, and ε-greedy DQN solves none of size 20 or more. With tables for networks it "
    "solves size 100 on at least 4 of 5 seeds within 4,000 episodes."
)
PRIOR: Final = "bootstrapped, prior"
NO_PRIOR: Final = "bootstrapped, no prior"
TABLES: Final = "bootstrapped, prior, tables"
EPINET: Final = "epinet"
NOISY: Final = "NoisyNet DQN"
GREEDY: Final = "ε-greedy DQN"
SECONDS: Final = {10: 5.0, 20: 15.0, 30: 60.0, 50: 240.0}  # claimed medians, one core


@dataclass(frozen=True)
class Settings:
    """Which sizes, how often, how long."""

    sizes: tuple[int, ...] = (10, 20, 30, 50)  # N of the bootstrapped agent with priors
    num_seeds: int = 5  # runs of each size
    # N of the agents beside it; bootstrapping without priors and the epinet, whose updates cost
    # most, leave the largest out.
    beside: tuple[int, ...] = (10, 20, 30)
    beside_seeds: int = 3  # runs of each of those
    max_episodes: int = 2_500  # episodes after which a run is given up
    tables: tuple[int, ...] = (10, 20, 30, 50, 100)  # N of the members that are tables
    table_episodes: int = 4_000  # episodes after which a run of theirs is given up
    jobs: int = 1  # runs at a time, each in a process of its own
    keep: str = ""  # folder of what earlier runs have done already; empty for none

    def limit(self, agent: str) -> int:
        """Episodes after which a run is given up."""
        return self.table_episodes if agent == TABLES else self.max_episodes

    @classmethod
    def quick(cls) -> Settings:
        """One small sea, so that the whole path is seen."""
        return cls(
            sizes=(6, 8),
            num_seeds=1,
            beside=(5, 6),
            beside_seeds=1,
            max_episodes=300,
            tables=(6,),
            table_episodes=300,
        )


Task = tuple[str, int, int, int, Settings]  # agent, N, first seed, replicas, how


@dataclass(frozen=True)
class Trial:
    """One run."""

    agent: str  # its name
    size: int  # N
    seed: int  # the run's
    solved: int | None  # first episode after which bsuite calls it solved, None if it never was
    # First episode that kept to the best path, None if there was none.
    first_good_episode: int | None
    episodes: int  # episodes played
    seconds: float = field(default=math.nan, metadata=NOT_WRITTEN)  # CPU time


@dataclass(frozen=True)
class Result(SavedResult):
    """All agents on all seas."""

    settings: Settings
    trials: tuple[Trial, ...]

    def of(self, agent: str, size: int) -> list[Trial]:
        """The runs of one agent at one size."""
        return [t for t in self.trials if (t.agent, t.size) == (agent, size)]

    @property
    def exponent(self) -> float:
        """Slope of log episodes against log N, through the medians; NaN where there is no line."""
        medians = np.array([_median(self.of(PRIOR, size)) for size in self.settings.sizes])
        if len(medians) < 2 or not np.isfinite(medians).all():
            return float("nan")
        return float(np.polyfit(np.log(self.settings.sizes), np.log(medians), 1)[0])

    def derived(self) -> dict[str, Any]:
        """The budget and the exponent."""
        return {"max_episodes": self.settings.max_episodes, "exponent": self.exponent}

    def to_markdown(self) -> str:
        """One line for each agent and size."""
        groups = dict.fromkeys((t.agent, t.size) for t in self.trials)
        return table(
            "agent | N | solved | episodes: median (all) | CPU seconds: median (all)",
            [_row(self.of(*group), self.settings.limit(group[0])) for group in groups],
            f"Episodes of the agent with priors grow as N^{self.exponent:.2f}.",
        )


def _median(trials: Sequence[Trial]) -> float:
    """Median episodes to solve; infinite if most runs failed."""
    return float(np.median([t.solved or np.inf for t in trials]))


def _row(trials: Sequence[Trial], limit: int) -> str:
    solved = sum(t.solved is not None for t in trials)
    middle = _median(trials)
    median = f"{middle:.0f}" if np.isfinite(middle) else f"> {limit}"
    seconds = [t.seconds for t in trials]
    return (
        f"{trials[0].agent} | {trials[0].size} | {solved} of {len(trials)} "
        f"| {median} ({listed(t.solved for t in trials)}) "
        f"| {np.median(seconds):.1f} ({', '.join(f'{s:.1f}' for s in seconds)})"
    )


def run(settings: Settings | None = None, *, seed: int = 0, progress: bool = True) -> Result:
    """Play all runs; `seed` is the first of `num_seeds`."""
    settings = settings or Settings()
    seeds = range(seed, seed + settings.num_seeds)
    largest_first = sorted(settings.sizes, reverse=True)
    tasks = [
        (TABLES, size, s, 1, settings) for size in sorted(settings.tables)[::-1] for s in seeds
    ]
    tasks += [(PRIOR, size, s, 1, settings) for size in largest_first for s in seeds]
    # What is only beside it need not be timed one by one: all its seeds at once.
    tasks += [
        (agent, size, seed, settings.beside_seeds, settings)
        for agent in (GREEDY, NOISY, NO_PRIOR, EPINET)
        for size in sorted(settings.beside)
        if agent in (GREEDY, NOISY) or size < max(settings.beside)
    ]
    kept = Kept(settings.keep, "deep-sea")
    before = {
        tuple(row["task"]): [Trial(**trial) for trial in row["trials"]]
        for row in kept
        if row.keys() == {"task", "trials"}
    }

    def keep(trials: Sequence[Trial]) -> None:
        first = trials[0]
        task = (first.agent, first.size, first.seed, len(trials), settings)
        kept.add({"task": _key(task), "trials": [vars(trial) for trial in trials]})

    trials = collect(
        _play,
        [task for task in tasks if _key(task) not in before],
        settings.jobs,
        label="deep sea",
        unit="run",
        progress=progress,
        told=_told,
        keep=keep,
    )
    trials += [trial for task in tasks for trial in before.get(_key(task), [])]
    order = [PRIOR, TABLES, EPINET, NO_PRIOR, NOISY, GREEDY]
    trials.sort(key=lambda t: (order.index(t.agent), t.size, t.seed))
    return Result(settings, tuple(trials))


def _key(task: Task) -> tuple[str, int, int, int, int]:
    """What makes two tasks bring the same."""
    name, size, seed, replicas, settings = task
    return name, size, seed, replicas, settings.limit(name)


def _told(trials: Sequence[Trial]) -> str:
    solved = ", ".join(str(t.solved or "not solved") for t in trials)
    return f"{trials[0].agent}, N = {trials[0].size}: {solved}, {trials[0].seconds:.0f} s"


def _play(task: Task) -> list[Trial]:
    name, size, seed, replicas, settings = task
    started = time.process_time()
    agent = make_agent(name, size, seed, replicas=replicas)
    stop = StopWhenSolved(every=size)
    agent.learn(settings.limit(name) * size, callbacks=[stop], progress=False)
    seconds = (time.process_time() - started) / replicas
    return [
        Trial(name, size, seed + r, at, first_good(history), len(history.infos), seconds)
        for r, (at, history) in enumerate(zip(stop.solved, agent.histories, strict=True))
    ]


def make_agent(name: str, size: int, seed: int, *, replicas: int = 1) -> DQN | BootstrappedDQN:
    """An untrained agent in a deep sea.

    Example:
        >>> make_agent(PRIOR, 10, seed=0).num_members
        20
    """
    env: dict[str, Any] = dict(
        env="hunch/DeepSea-v0",
        env_kwargs=dict(size=size, mapping_seed=hunch.envs.deep_sea.SWEEP_MAPPING_SEED),
        seed=seed,
        replicas=replicas,
    )
    if name == TABLES:
        return BootstrappedDQN(hidden_sizes=(), **env)
    if name in (PRIOR, NO_PRIOR, EPINET):
        scale = 0.0 if name == NO_PRIOR else 10.0
        return BootstrappedDQN(prior_scale=scale, epinet=name == EPINET, **env)
    return DQN(
        noisy=name == NOISY,
        random_steps=0,
        # The same number of random moves an episode, at most one, at every size.
        epsilon=Linear(1.0, 1.0 / size, steps=100 * size),
        hidden_sizes=(50, 50),
        learning_rate=1e-3,
        batch_size=128,
        update_period=1,
        n_step=1,
        target_update_period=4,
        target_update_rate=1.0,
        replay_capacity=100_000,
        **env,
    )


def first_good(history: History) -> int | None:
    """The first episode that kept to the best path, counted from 1; None if there was none."""
    good = (n for n, info in enumerate(history.infos, 1) if not info["bad_episode"])
    return next(good, None)


def check(result: Result) -> list[Check]:
    """The claim's figures, or for smaller runs that the smallest sea was solved."""
    settings = result.settings
    checks = []
    for size in settings.sizes:
        solved = sum(t.solved is not None for t in result.of(PRIOR, size))
        needed = settings.num_seeds if size < 50 else 0.8 * settings.num_seeds
        what = f"seeds that solve N = {size} within {settings.max_episodes:,} episodes"
        checks.append(Check(what, solved, ">=", needed))
    if set(settings.sizes) >= set(SECONDS):
        checks.append(Check("exponent of episodes against N", result.exponent, "<=", 2.2))
        for size, bound in SECONDS.items():
            seconds = float(np.median([t.seconds for t in result.of(PRIOR, size)]))
            checks.append(Check(f"median CPU seconds at N = {size}", seconds, "<=", bound))
        largest, limit = max(settings.tables), settings.table_episodes
        solved = sum(t.solved is not None for t in result.of(TABLES, largest))
        what = f"seeds that solve N = {largest} by tables within {limit:,} episodes"
        checks.append(Check(what, solved, ">=", 0.8 * settings.num_seeds))
    large = [size for size in settings.beside if size >= 20]
    if large:
        count = sum(t.solved is not None for size in large for t in result.of(GREEDY, size))
        checks.append(Check("runs of N ≥ 20 that ε-greedy DQN solves", count, "<=", 0))
    return checks
