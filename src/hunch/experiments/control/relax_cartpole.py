"""CartPole as in the RELAX paper: how many episodes until a small policy balances the pole.

Grathwohl et al. (2018), section 5: two hidden layers of 10 units, one episode per update, episodes
of at most 200 steps, solved once the mean return of the last 100 episodes is above 195, at most
250,000 steps. They report 1152 ± 90 episodes for A2C and 472 ± 114 for RELAX, the means of five
seeds. RELAX puts a learned control variate on top of the critic; here it is plain REINFORCE, whose
baseline is a value learned by the side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from hunch.experiments.claims.checks import Check
from hunch.experiments.claims.parallel import in_processes
from hunch.progress import progress_bar
from hunch.rl import Reinforce

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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
    """How long and how often.

    Args:
        num_seeds: replicas of the agent of the claim, trained at once.
        beside_seeds: of those with other baselines; 0 leaves them out.
        max_steps: environment steps after which a seed is given up, as in the paper.
        jobs: agents at a time, each in a process of its own.
    """

    num_seeds: int = 10
    beside_seeds: int = 5
    max_steps: int = 250_000
    jobs: int = 1

    @classmethod
    def quick(cls) -> Settings:
        """Too short to solve, so that the whole path is seen."""
        return cls(num_seeds=2, beside_seeds=0, max_steps=3_000)


@dataclass(frozen=True)
class Trial:
    """One seed of one agent.

    Args:
        baseline: of the agent.
        seed: the replica's.
        solved: the episode that completes the first 100 of a mean above 195; None if none did.
        returns: of each episode up to there.
    """

    baseline: str
    seed: int
    solved: int | None
    returns: tuple[float, ...]


@dataclass(frozen=True)
class Result:
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

    def to_json(self) -> dict[str, Any]:
        """Plain values, the same for the same seed."""
        return {
            "max_steps": self.settings.max_steps,
            "paper": dict(PAPER),
            "trials": [
                {"baseline": t.baseline, "seed": t.seed, "solved": t.solved} for t in self.trials
            ],
        }

    def to_markdown(self) -> str:
        """One line for each agent, and the paper's."""
        lines = ["| agent | solved | episodes: median (all) |", "|---|---|---|"]
        for baseline in self.baselines:
            trials = self.of(baseline)
            solved = sum(trial.solved is not None for trial in trials)
            middle = self.median(baseline)
            median = f"{middle:.0f}" if np.isfinite(middle) else "–"
            every = ", ".join(str(trial.solved or "–") for trial in trials)
            lines.append(
                f"| REINFORCE, {baseline} | {solved} of {len(trials)} | {median} ({every}) |"
            )
        lines += [
            f"| {name}, from the paper | | {mean} (mean of 5) |" for name, mean in PAPER.items()
        ]
        return "\n".join(lines)


def run(settings: Settings | None = None, *, seed: int = 0, progress: bool = True) -> Result:
    """Train all seeds of each agent.

    Args:
        settings: the claim's own if None.
        seed: the first replica's.
        progress: show a bar over the agents.
    """
    settings = settings or Settings()
    baselines = list(_BASELINES) if settings.beside_seeds else [VALUE]
    tasks = [(baseline, seed, settings) for baseline in baselines]
    trials: list[Trial] = []
    with progress_bar(len(tasks), "CartPole", "agent", enabled=progress) as bar:
        for done in in_processes(_train, tasks, settings.jobs):
            trials += done
            bar.update()
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
        Trial(baseline, seed + r, at, tuple(history.returns[:at]))
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
        late = [np.mean(trial.returns[-20:]) for trial in result.of(VALUE)]
        return [Check("mean return, too few steps to solve", float(np.mean(late)), ">=", 25.0)]
    solved = sum(trial.solved is not None for trial in result.of(VALUE))
    return [
        Check("median episodes to solve", result.median(VALUE), "<=", 300),
        Check("seeds that solve", solved, ">=", result.settings.num_seeds),
    ]


def plot(result: Result) -> dict[str, tuple[Figure, str]]:
    """The mean of the last 100 returns against episodes, every seed."""
    from hunch.plots import BLUE, GRAY, ORANGE, panel

    figure, axes = panel("CartPole with 2 × 10 units", "episode", "mean of last 100 returns")
    for baseline, color in ((NONE, GRAY), (PAIRS, ORANGE), (VALUE, BLUE)):
        for i, trial in enumerate(result.of(baseline)):
            total = np.cumsum([0.0, *trial.returns])
            means = (total[WINDOW:] - total[:-WINDOW]) / WINDOW
            label = baseline if i == 0 else None
            axes.plot(np.arange(len(means)) + WINDOW, means, color=color, lw=0.9, label=label)
    axes.axhline(SOLVED, color="black", lw=0.8)
    for mean in PAPER.values():
        axes.axvline(mean, color="black", lw=0.8, ls=":")
    axes.set_xlim(WINDOW, 1_400)
    axes.legend(fontsize=8)
    caption = (
        "Each line a seed, up to where it solves the task. Dotted: the RELAX paper's means, "
        f"{PAPER['RELAX']} episodes for RELAX and {PAPER['A2C']} for A2C."
    )
    return {"relax-cartpole": (figure, caption)}
