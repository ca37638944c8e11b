"""Ensemble sampling, dropout and ε-greedy on a bandit whose rewards a neural network decides.

There are 100 actions with 100 features each: 99 uniform on [−1, 1] and a constant 1. The expected
reward of an action is a network 100-50-1 with ReLU, its weights drawn from N(0, 1) and then fixed;
observed rewards carry noise of variance 100. The agents know all this but the weights. Each has a
network of the same size (with leaky ReLU, slope 0.01) and after each of 1,000 steps makes one SGD
step at rate 0.1 on 64 past rewards drawn with replacement, for the loss

    mean (y − f(x))² / σ²  +  |θ − θ₀|² / (λ t),

with σ² = 100, λ = 1 and t rewards so far. Where θ₀ = 0, weights start at N(0, 0.01²). The agents
differ in how they explore:

- ε-greedy: a random action with probability ε, fixed or c / (c + t); θ₀ = 0.
- Dropout: hidden units are dropped with probability p, in training and in choosing; θ₀ = 0.
- Ensemble sampling: K members, each with a θ₀ of its own drawn from the prior, from which it also
  starts, and noise of variance σ² of its own on each reward; one member drawn anew for each step
  decides. A control has the noise, but no prior: θ₀ = 0.

All networks of many seeds stand on one leading axis and are trained by one batched product.

That ensembles win is as published. Dropout does not beat ε-greedy in general: it does so only while
ε is fixed.

Source: Lu and Van Roy, "Ensemble Sampling" (2017); Russo et al., "A Tutorial on Thompson Sampling"
(2018), section on ensemble sampling, with the settings of its published code (ts_tutorial).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from hunch.errors import ConfigurationError
from hunch.experiments.claims.checks import Check
from hunch.experiments.exploration.neural_bandit_play import (
    Agent,
    Array,
    Problem,
    make_bandit,
    play,
)
from hunch.progress import progress_bar

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLAIM = (
    "On bandits whose rewards are a random network of 100 inputs and 50 hidden units, each family "
    "of agents at its best setting, the regret of 1,000 steps falls from fixed ε-greedy to dropout "
    "to annealed ε-greedy to ensemble sampling, and an ensemble without priors has more of it than "
    "the same one with them (100 seeds, 95 % intervals of the paired differences)."
)
FAMILIES: Final = ("fixed ε", "annealed ε", "dropout", "no prior", "ensemble")
NETWORKS: Final = 96  # trained at once: enough to hide overhead, few enough for a core's cache
QUICK_AGENTS: Final = ("ε = 0.05", "ε = 20/(20+t)", "dropout 0.5", "ensemble of 10")


def agents(sizes: Sequence[int] = (1, 3, 10, 30)) -> tuple[Agent, ...]:
    """The agents of the published figure with ensembles of these sizes, and one as a control.

    Example:
        >>> [agent.name for agent in agents((10,))][::5]
        ['ε = 0.01', 'ε = 10/(10+t)', 'dropout 0.1', 'ensemble of 10, no prior']
    """
    fixed = [Agent(f"ε = {e:g}", "fixed ε", epsilon=e) for e in (0.01, 0.05, 0.1, 0.2, 0.3)]
    annealed = [Agent(f"ε = {c}/({c}+t)", "annealed ε", anneal=c) for c in (10, 20, 30, 40, 50)]
    dropped = [Agent(f"dropout {p:g}", "dropout", dropout=p) for p in (0.1, 0.25, 0.5, 0.75, 0.9)]
    sampled = [Agent(f"ensemble of {k}", "ensemble", num_members=k) for k in sizes]
    control = Agent("ensemble of 10, no prior", "no prior", num_members=10, prior=False)
    return (*fixed, *annealed, *dropped, control, *sampled)


@dataclass(frozen=True)
class Settings:
    """Who plays what, and how often.

    Args:
        num_seeds: bandits, each played once by every agent.
        agents: who plays.
        problem: the bandits, and how agents train.
    """

    num_seeds: int = 100
    agents: tuple[Agent, ...] = field(default_factory=agents)
    problem: Problem = field(default_factory=Problem)

    @classmethod
    def quick(cls) -> Settings:
        """A few agents on a few bandits."""
        few = tuple(agent for agent in agents((10,)) if agent.name in QUICK_AGENTS)
        return cls(num_seeds=12, agents=few, problem=Problem(num_steps=500))

    @property
    def enough(self) -> bool:
        """Whether the claim speaks about this many bandits and steps."""
        return self.num_seeds >= 100 and self.problem.num_steps >= 1000


@dataclass(frozen=True)
class Row:
    """What one agent lost.

    Args:
        agent: who.
        regret: mean per step of each seed's run, `(seeds,)`.
        late: the same over the last tenth of the steps, `(seeds,)`.
        curve: mean over seeds in each fiftieth part of the steps, `(parts,)`.
    """

    agent: Agent
    regret: Array
    late: Array
    curve: Array


@dataclass(frozen=True)
class Difference:
    """One agent's regret per step less another's on the same bandits.

    Args:
        worse: name of the first agent.
        better: name of the second.
        mean: over the seeds.
        half_width: of the 95 % interval.
    """

    worse: str
    better: str
    mean: float
    half_width: float

    @property
    def low(self) -> float:
        """Lower end of the interval."""
        return self.mean - self.half_width


@dataclass(frozen=True)
class Result:
    """All agents on the same bandits."""

    settings: Settings
    rows: tuple[Row, ...]
    best_possible: float
    at_random: float

    def best(self, *families: str) -> Row | None:
        """The agent with the least mean regret among these families, None if none played."""
        rows = [row for row in self.rows if row.agent.family in families]
        return min(rows, key=lambda row: float(row.regret.mean()), default=None)

    def difference(self, worse: Row, better: Row) -> Difference:
        """Between two agents, seed by seed."""
        gap = worse.regret - better.regret
        return Difference(worse.agent.name, better.agent.name, float(gap.mean()), half_width(gap))

    @property
    def order(self) -> tuple[Difference, ...]:
        """What the claim compares: the best of each family with that of the next, and the control.

        The best are chosen on the bandits they are compared on, from about as many in each family.
        """
        best = [self.best(f) for f in ("fixed ε", "dropout", "annealed ε", "ensemble")]
        control = self.best("no prior")
        same = [row for row in self.rows if control and _same_but_prior(row.agent, control.agent)]
        pairs = [*pairwise(best), (control, same[0] if same else None)]
        return tuple(self.difference(worse, better) for worse, better in pairs if worse and better)

    def to_json(self) -> dict[str, Any]:
        """Means with their intervals, short curves and the order."""
        return {
            "num_seeds": self.settings.num_seeds,
            "problem": asdict(self.settings.problem),
            "mean_reward_of_best_action": _rounded(self.best_possible),
            "regret_at_random": _rounded(self.at_random),
            "agents": [
                {
                    "agent": row.agent.name,
                    "family": row.agent.family,
                    "regret": _rounded(row.regret.mean()),
                    "half_width": _rounded(half_width(row.regret)),
                    "late_regret": _rounded(row.late.mean()),
                    "late_half_width": _rounded(half_width(row.late)),
                    "curve": [_rounded(value) for value in row.curve],
                }
                for row in self.rows
            ],
            "order": [
                {
                    "worse": gap.worse,
                    "better": gap.better,
                    "difference": _rounded(gap.mean),
                    "half_width": _rounded(gap.half_width),
                }
                for gap in self.order
            ],
        }

    def to_markdown(self) -> str:
        """The table of all agents."""
        tenth = max(1, self.settings.problem.num_steps // 10)
        lines = [
            f"Regret per step, mean of {self.settings.num_seeds} bandits ± half a 95 % interval; "
            f"an action at random has {self.at_random:.1f}.",
            "",
            f"| agent | all {self.settings.problem.num_steps} steps | last {tenth} steps |",
            "|---|---|---|",
        ]
        for row in self.rows:
            best = row is self.best(row.agent.family)
            whole, late = _interval(row.regret), _interval(row.late)
            lines.append(f"| {row.agent.name} | {f'**{whole}**' if best else whole} | {late} |")
        lines += ["", "Bold: the best of its family. Regret per step on the same bandits:", ""]
        lines += [
            f"- {gap.worse}: {gap.mean:.2f} ± {gap.half_width:.2f} more than {gap.better}"
            for gap in self.order
        ]
        return "\n".join(lines)


def _interval(values: Array) -> str:
    return f"{values.mean():.2f} ± {half_width(values):.2f}"


def _same_but_prior(agent: Agent, control: Agent) -> bool:
    return agent.family == "ensemble" and agent.num_members == control.num_members


def half_width(values: Array) -> float:
    """Of the 95 % interval of a mean, by the normal approximation.

    Example:
        >>> round(half_width(np.array([0.0, 2.0] * 50)), 3)
        0.197
    """
    return float(1.96 * values.std(ddof=1) / np.sqrt(len(values)))


def run(settings: Settings | None = None, *, seed: int = 0, progress: bool = True) -> Result:
    """Let every agent play every bandit.

    Args:
        settings: the bandit, the agents and how often; the claim's own if None.
        seed: decides bandits, noise and what agents leave to chance. Each bandit and each agent
            on it have streams of their own, so neither depends on how many there are.
        progress: show a bar.

    Raises:
        ConfigurationError: if there are fewer than two seeds, or no agents.
    """
    settings = settings or Settings()
    if settings.num_seeds < 2:
        raise ConfigurationError(
            f"`num_seeds` got {settings.num_seeds}; expected at least 2, for intervals."
        )
    if not settings.agents:
        raise ConfigurationError("`agents` is empty; expected at least one, such as agents()[0].")
    problem, count = settings.problem, settings.num_seeds
    bandits = [make_bandit(problem, seed, number) for number in range(count)]
    total = count * sum(max(agent.num_members, 1) for agent in settings.agents)
    rows = []
    with progress_bar(total, "neural bandit", "network", enabled=progress) as bar:
        for agent in settings.agents:
            members, parts = max(agent.num_members, 1), []
            together = max(1, NETWORKS // members)
            for start in range(0, count, together):
                numbers = range(start, min(start + together, count))
                some = bandits[start : start + together]
                parts.append(play(agent, some, numbers, problem, seed))
                bar.update(members * len(numbers))
            rows.append(_row(agent, np.concatenate(parts)))
    means = np.array([bandit.means for bandit in bandits])
    best = means.max(axis=1)
    at_random = float((best - means.mean(axis=1)).mean())
    return Result(settings, tuple(rows), float(best.mean()), at_random)


def _row(agent: Agent, regret: Array) -> Row:
    steps = regret.shape[1]
    late = regret[:, -max(1, steps // 10) :]
    parts = np.array_split(regret.mean(axis=0), min(50, steps))
    return Row(agent, regret.mean(axis=1), late.mean(axis=1), np.array([p.mean() for p in parts]))


def _rounded(value: float) -> float:
    return round(float(value), 4)


def check(result: Result) -> list[Check]:
    """The order of the families, each by its best agent, and that all do better than chance.

    A run with fewer bandits or steps than the claim asks for is not held to the order: its
    intervals are too wide.
    """
    bests = [row for row in map(result.best, FAMILIES) if row]
    worst = max(float(row.regret.mean()) for row in bests) / result.at_random
    chance = Check("largest regret of a family's best, in that of random actions", worst, "<=", 1.0)
    if not result.settings.enough:
        return [chance]
    what = "regret per step, {} less {}, low end of 95 %"
    return [
        *(Check(what.format(gap.worse, gap.better), gap.low, ">=", 0.0) for gap in result.order),
        chance,
    ]


def plot(result: Result) -> dict[str, tuple[Figure, str]]:
    """Regret over time of each family's best, and of all agents as a whole."""
    from hunch.experiments.exploration.neural_bandit_figures import draw

    return draw(result)
