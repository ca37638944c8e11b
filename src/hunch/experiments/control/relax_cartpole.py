"""CartPole as in the RELAX paper: how many episodes until a small policy balances the pole.

Grathwohl et al. (2018), section 5: two hidden layers of 10 units, one episode per update, episodes
of at most 200 steps, solved once the mean return of the last 100 episodes is above 195, at most
250,000 steps. They report 1152 ± 90 episodes for A2C and 472 ± 114 for RELAX, the means of five
seeds. RELAX puts a learned control variate on top of the critic; here it is plain REINFORCE, whose
baseline is a value learned by the side.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from hunch.experiments.claims.checks import Check
from hunch.experiments.claims.markdown import listed, table
from hunch.experiments.claims.parallel import collect
from hunch.experiments.claims.saved import NOT_WRITTEN, SavedResult
from hunch.rl import Reinforce

CLAIM = (
    "REINFORCE with a learned value solves CartPole, as the RELAX paper sets it (two hidden layers "
    "of 10 units, one episode per update, mean return above 195 over 100 episodes), in a median of "
    "at most 300 episodes over 10 seeds; the paper reports 1152 for A2C and 472 for RELAX."
)
VALUE: Final = "learned value"
PAIRS: Final = "leave-one-out of 2 episodes"
NONE: Final = "no baseline"
PAPER: Final = {"A2C": 1152, "RELAX": 472}  # episodes; their figure 3 and table
WINDOW: Final = 100
SOLVED: Final = 195.0

_BASELINES: Final[dict[str, dict[str, Any]]] = {
    VALUE: dict(baseline="value"),
    PAIRS: dict(baseline="loo", episodes=2),
    NONE: dict(baseline=None),
}


@dataclass(frozen=True)
class Settings:
    """How long and how often."""

    num_seeds: int = 10  # replicas of the agent of the claim, trained at once
    beside_seeds: int = 5  # of those with other baselines; 0 leaves them out
    max_steps: int = 250_000  # environment steps after which a seed is given up, as in the paper
    jobs: int = 1  # agents at a time, each in a process of its own

    @classmethod
    def quick(cls) -> Settings:
        """Too short to solve, so that the whole path is seen."""
        return cls(num_seeds=2, beside_seeds=0, max_steps=3_000)


@dataclass(frozen=True)
class Trial:
    """One seed of one agent."""

    baseline: str  # of the agent
    seed: int  # the replica's
    # The episode that completes the first 100 of a mean above 195; None if none did.
    solved: int | None
    # Mean return of the last 20 episodes up to there.
    late: float = field(default=math.nan, metadata=NOT_WRITTEN)


@dataclass(frozen=True)
class Result(SavedResult):
    """All seeds."""

    settings: Settings
    trials: tuple[Trial, ...]

    def of(self, baseline: str) -> list[Trial]:
        """The seeds of one agent."""
        return [trial for trial in self.trials if trial.baseline == baseline]

    def median(self, baseline: str) -> float:
        """Median episodes to solve; infinite if most seeds did not."""
        return float(np.median([trial.solved or np.inf for trial in self.of(baseline)]))

    @property
    def baselines(self) -> list[str]:
        """Those that were run."""
        return list(dict.fromkeys(trial.baseline for trial in self.trials))

    def derived(self) -> dict[str, Any]:
        """The budget and the paper's figures."""
        return {"max_steps": self.settings.max_steps, "paper": PAPER}

    def to_markdown(self) -> str:
        """One line for each agent, and the paper's."""
        rows = []
        for baseline in self.baselines:
            trials, middle = self.of(baseline), self.median(baseline)
            solved = sum(trial.solved is not None for trial in trials)
            median = f"{middle:.0f}" if np.isfinite(middle) else "–"
            episodes = f"{median} ({listed(trial.solved for trial in trials)})"
            rows.append(f"REINFORCE, {baseline} | {solved} of {len(trials)} | {episodes}")
        rows += [f"{name}, from the paper | | {mean} (mean of 5)" for name, mean in PAPER.items()]
        return table("agent | solved | episodes: median (all)", rows)


def run(settings: Settings | None = None, *, seed: int = 0, progress: bool = True) -> Result:
    """Train all seeds of each agent; `seed` is the first replica's."""
    settings = settings or Settings()
    baselines = list(_BASELINES) if settings.beside_seeds else [VALUE]
    tasks = [(baseline, seed, settings) for baseline in baselines]
    trials = collect(
        _train, tasks, settings.jobs, label="CartPole", unit="agent", progress=progress
    )
    trials.sort(key=lambda trial: (baselines.index(trial.baseline), trial.seed))
    return Result(settings, tuple(trials))


def _train(task: tuple[str, int, Settings]) -> list[Trial]:
    baseline, seed, settings = task
    seeds = settings.num_seeds if baseline == VALUE else settings.beside_seeds
    agent = make_agent(baseline, seed, seeds)
    look = 2_000
    for steps in range(look, settings.max_steps + look, look):
        agent.learn(min(steps, settings.max_steps), progress=False)
        found = [solved_at(history.returns) for history in agent.histories]
        if all(found):
            break
    return [
        Trial(baseline, seed + r, at, float(np.mean(history.returns[:at][-20:])))
        for r, (at, history) in enumerate(zip(found, agent.histories, strict=True))
    ]


def make_agent(baseline: str, seed: int, replicas: int = 1) -> Reinforce:
    """The untrained agent.

    Example:
        >>> make_agent(VALUE, seed=0).episodes
        1
    """
    return Reinforce(
        "CartPole-v1",
        env_kwargs=dict(max_episode_steps=200),
        hidden_sizes=(10, 10),
        activation="relu",
        discount=0.95,
        learning_rate=0.02,
        replicas=replicas,
        seed=seed,
        **_BASELINES[baseline],
    )


def solved_at(returns: Sequence[float]) -> int | None:
    """The episode, counted from 1, that completes the first 100 of a mean above 195.

    Example:
        >>> solved_at([0.0] * 3 + [200.0] * 100), solved_at([195.0] * 200)
        (101, None)
    """
    total = np.cumsum([0.0, *returns])
    means = (total[WINDOW:] - total[:-WINDOW]) / WINDOW
    above = np.flatnonzero(means > SOLVED)
    return int(above[0]) + WINDOW if len(above) else None


def check(result: Result) -> list[Check]:
    """The median against the claim; a short run is only held against chance."""
    if result.settings.max_steps < 100_000:
        late = [trial.late for trial in result.of(VALUE)]
        return [Check("mean return, too few steps to solve", float(np.mean(late)), ">=", 25.0)]
    solved = sum(trial.solved is not None for trial in result.of(VALUE))
    return [
        Check("median episodes to solve", result.median(VALUE), "<=", 300),
        Check("seeds that solve", solved, ">=", result.settings.num_seeds),
    ]
