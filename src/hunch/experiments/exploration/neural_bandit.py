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
from typing import Any, Final

import numpy as np

from hunch.errors import ConfigurationError
from hunch.experiments.claims.checks import Check
from hunch.experiments.claims.markdown import table
from hunch.experiments.claims.saved import SavedResult, written
from hunch.experiments.exploration.neural_bandit_play import (
    Agent,
    Array,
    Bandit,
    BanditProblem,
    make_bandit,
    play,
)
from hunch.progress import progress_bar

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
    """Who plays what, and how often."""

    num_seeds: int = 100  # bandits, each played once by every agent
    agents: tuple[Agent, ...] = field(default_factory=agents)  # who plays
    problem: BanditProblem = field(
        default_factory=BanditProblem
    )  # the bandits, and how agents train

    @classmethod
    def quick(cls) -> Settings:
        """A few agents on a few bandits."""
        few = tuple(agent for agent in agents((10,)) if agent.name in QUICK_AGENTS)
        return cls(num_seeds=12, agents=few, problem=BanditProblem(num_steps=500))

    @property
    def enough(self) -> bool:
        """Whether the claim speaks about this many bandits and steps."""
        return self.num_seeds >= 100 and self.problem.num_steps >= 1000


@dataclass(frozen=True)
class Played:
    """One agent on all bandits."""

    agent: Agent  # who
    regret: Array  # mean per step of each seed's run, `(seeds,)`
    late: Array  # the same over the last tenth of the steps, `(seeds,)`
    curve: Array  # mean over seeds in each fiftieth part of the steps, `(parts,)`


@dataclass(frozen=True)
class Row:
    """What one agent lost, mean over the seeds and half of its 95 % interval."""

    agent: str  # its name
    family: str  # one of `FAMILIES`
    regret: float = field(metadata=written(decimals=4))  # per step
    half_width: float = field(metadata=written(decimals=4))  # of its interval
    # Per step, over the last tenth of the steps.
    late_regret: float = field(metadata=written(decimals=4))
    late_half_width: float = field(metadata=written(decimals=4))  # of its interval
    # In each fiftieth part of the steps, `(parts,)`.
    curve: Array = field(metadata=written(decimals=4))


@dataclass(frozen=True)
class Difference:
    """One agent's regret per step less another's on the same bandits."""

    worse: str  # name of the first agent
    better: str  # name of the second
    difference: float = field(metadata=written(decimals=4))  # mean over the seeds
    half_width: float = field(metadata=written(decimals=4))  # of its 95 % interval

    @property
    def low(self) -> float:
        """Lower end of the interval."""
        return self.difference - self.half_width


@dataclass(frozen=True)
class Result(SavedResult):
    """All agents on the same bandits."""

    settings: Settings  # what was played
    mean_reward_of_best_action: float = field(metadata=written(decimals=4))  # over bandits
    regret_at_random: float = field(metadata=written(decimals=4))  # per step, of actions at random
    agents: tuple[Row, ...]  # what each lost
    # What the claim compares: the best of each family with that of the next, and the control with
    # the same ensemble. The best are chosen on the bandits they are compared on, from about as many
    # in each family.
    order: tuple[Difference, ...]

    def best(self, family: str) -> Row | None:
        """The agent with the least mean regret of a family, None if none played."""
        rows = [row for row in self.agents if row.family == family]
        return min(rows, key=lambda row: row.regret, default=None)

    def derived(self) -> dict[str, Any]:
        """What was played."""
        return {"num_seeds": self.settings.num_seeds, "problem": asdict(self.settings.problem)}

    def to_markdown(self) -> str:
        """The table of all agents."""
        steps = self.settings.problem.num_steps
        rows = []
        for row in self.agents:
            whole = f"{row.regret:.2f} ± {row.half_width:.2f}"
            best = row is self.best(row.family)
            late = f"{row.late_regret:.2f} ± {row.late_half_width:.2f}"
            rows.append(f"{row.agent} | {f'**{whole}**' if best else whole} | {late}")
        intro = (
            f"Regret per step, mean of {self.settings.num_seeds} bandits ± half a 95 % interval; "
            f"an action at random has {self.regret_at_random:.1f}."
        )
        head = f"agent | all {steps} steps | last {max(1, steps // 10)} steps"
        note = "Bold: the best of its family. Regret per step on the same bandits:"
        gaps = [
            f"- {gap.worse}: {gap.difference:.2f} ± {gap.half_width:.2f} more than {gap.better}"
            for gap in self.order
        ]
        return "\n".join([intro, "", table(head, rows, note), "", *gaps])


def half_width(values: Array) -> float:
    """Of the 95 % interval of a mean, by the normal approximation.

    Example:
        >>> round(half_width(np.array([0.0, 2.0] * 50)), 3)
        0.197
    """
    return float(1.96 * values.std(ddof=1) / np.sqrt(len(values)))


def run(settings: Settings | None = None, *, seed: int = 0, progress: bool = True) -> Result:
    """Let every agent play every bandit.

    Each bandit and each agent on it have random streams of their own, so neither depends on how
    many there are.

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
    bandits = make_bandits(settings, seed)
    means = np.array([bandit.means for bandit in bandits])
    best = means.max(axis=1)
    at_random = float((best - means.mean(axis=1)).mean())
    played = play_all(settings, bandits, seed, progress=progress)
    return summary(settings, played, float(best.mean()), at_random)


def make_bandits(settings: Settings, seed: int) -> list[Bandit]:
    """Those that every agent plays."""
    return [make_bandit(settings.problem, seed, n) for n in range(settings.num_seeds)]


def play_all(
    settings: Settings, bandits: Sequence[Bandit], seed: int, *, progress: bool = False
) -> list[Played]:
    """Every agent on every bandit."""
    problem, count = settings.problem, len(bandits)
    total = count * sum(max(agent.num_members, 1) for agent in settings.agents)
    played = []
    with progress_bar(total, "neural bandit", "network", enabled=progress) as bar:
        for agent in settings.agents:
            members, parts = max(agent.num_members, 1), []
            at_once = max(1, NETWORKS // members)
            for start in range(0, count, at_once):
                numbers = range(start, min(start + at_once, count))
                parts.append(play(agent, bandits[start : numbers.stop], numbers, problem, seed))
                bar.update(members * len(numbers))
            played.append(_by_seed(agent, np.concatenate(parts)))
    return played


def _by_seed(agent: Agent, regret: Array) -> Played:
    steps = regret.shape[1]
    late = regret[:, -max(1, steps // 10) :].mean(axis=1)
    parts = np.array_split(regret.mean(axis=0), min(50, steps))
    return Played(agent, regret.mean(axis=1), late, np.array([p.mean() for p in parts]))


def summary(
    settings: Settings, played: Sequence[Played], best_possible: float, at_random: float
) -> Result:
    """Means with their intervals, and the order.

    Args:
        settings: what was played.
        played: by every agent.
        best_possible: mean reward of the best actions.
        at_random: regret of actions at random.
    """
    rows = tuple(
        Row(
            one.agent.name,
            one.agent.family,
            float(one.regret.mean()),
            half_width(one.regret),
            float(one.late.mean()),
            half_width(one.late),
            one.curve,
        )
        for one in played
    )
    return Result(settings, best_possible, at_random, rows, _order(played))


def _order(played: Sequence[Played]) -> tuple[Difference, ...]:
    def best(family: str) -> Played | None:
        own = [one for one in played if one.agent.family == family]
        return min(own, key=lambda one: float(one.regret.mean()), default=None)

    control = best("no prior")
    same = [one for one in played if control and _same_but_prior(one.agent, control.agent)]
    families = [best(family) for family in ("fixed ε", "dropout", "annealed ε", "ensemble")]
    pairs = [*pairwise(families), (control, same[0] if same else None)]
    found = []
    for worse, better in pairs:
        if worse and better:
            gap = worse.regret - better.regret
            names = worse.agent.name, better.agent.name
            found.append(Difference(*names, float(gap.mean()), half_width(gap)))
    return tuple(found)


def _same_but_prior(agent: Agent, control: Agent) -> bool:
    return agent.family == "ensemble" and agent.num_members == control.num_members


def check(result: Result) -> list[Check]:
    """The order of the families, each by its best agent, and that all do better than chance.

    A run with fewer bandits or steps than the claim asks for is not held to the order: its
    intervals are too wide.
    """
    bests = [row for row in map(result.best, FAMILIES) if row]
    worst = max(row.regret for row in bests) / result.regret_at_random
    chance = Check("largest regret of a family's best, in that of random actions", worst, "<=", 1.0)
    if not result.settings.enough:
        return [chance]
    what = "regret per step, {} less {}, low end of 95 %"
    return [
        *(Check(what.format(gap.worse, gap.better), gap.low, ">=", 0.0) for gap in result.order),
        chance,
    ]
