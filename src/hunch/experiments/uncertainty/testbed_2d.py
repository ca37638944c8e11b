"""Joint predictions on the Neural Testbed's two-dimensional classification problems.

A joint prediction says how likely ten classes are together, not one by one. That is what a decision
rests on, and it tells "this coin is fair" from "this coin shows one side, I do not know which".
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from hunch.experiments.claims.checks import Check
from hunch.experiments.claims.markdown import cells, table
from hunch.experiments.claims.parallel import collect
from hunch.experiments.claims.saved import NOT_WRITTEN, SavedResult, built, plain
from hunch.experiments.uncertainty.testbed_agents import (
    Classification,
    Trained,
    joint_kl,
    train_dropout,
    train_ensemble,
    train_epinet,
    train_noisy,
)

CLAIM = (
    "On the Neural Testbed's 2-D classification problems the joint divergence of ten classes, as a "
    "multiple of one network's, is for 100 networks with priors at most 0.8 of that for 100 "
    "without; an epinet comes within 10 % of them at a tenth of the training time or less."
)
MLP: Final = "one network"
ENSEMBLE: Final = "ensemble"
PRIOR: Final = "ensemble, priors"
SHORT: Final = "ensemble, priors, as few steps as the epinet"
EPINET: Final = "epinet"
NOISY: Final = "noisy network"
DROPOUT: Final = "dropout"
AGENTS: Final = (MLP, ENSEMBLE, DROPOUT, NOISY, PRIOR, SHORT, EPINET)
TAU: Final = 10
FIRST_SEED: Final = 100  # settings were chosen on problems of seeds 1 to 7
SHORT_STEPS, SHORT_RATE = 300, 5e-3


@dataclass(frozen=True)
class Settings:
    """Which problems, and how carefully they are learned and compared."""

    sizes: tuple[int, ...] = (1, 3, 10, 30, 100, 300, 1000)  # numbers of training data
    temperatures: tuple[float, ...] = (0.01, 0.1, 0.5)  # what the true logits are divided by
    num_seeds: int = 5  # problems of each kind
    num_members: int = 100  # networks in an ensemble
    steps: int = 1_000  # optimizer steps
    num_batches: int = 1_000  # batches of ten test inputs
    # Draws of epinets; noisy networks and dropout, whose every draw is a pass through the whole
    # network, get a fifth.
    draws: int = 1_000
    jobs: int = 1  # problems at a time, each in a process of its own

    @classmethod
    def quick(cls) -> Settings:
        """Three small problems."""
        return cls(sizes=(3,), num_seeds=1, num_members=10, steps=100, num_batches=50, draws=50)


@dataclass(frozen=True)
class Trial:
    """One agent on one problem."""

    agent: str  # its name
    problem: Classification
    kl: float  # joint divergence from the truth, in nats
    seconds: float = field(default=math.nan, metadata=NOT_WRITTEN)  # CPU time of the training


@dataclass(frozen=True)
class Result(SavedResult):
    """All agents on all problems."""

    settings: Settings
    trials: tuple[Trial, ...]

    def kl(self, agent: str, **of: float) -> np.ndarray[Any, np.dtype[np.float64]]:
        """An agent's divergences on all problems, or those of a `num_train` or `temperature`."""
        chosen = [
            t.kl
            for t in self.trials
            if t.agent == agent and all(getattr(t.problem, k) == v for k, v in of.items())
        ]
        return np.array(chosen)

    def ratio(self, agent: str, other: str = MLP, **of: float) -> float:
        """Mean divergence of an agent over another's."""
        return float(self.kl(agent, **of).mean() / self.kl(other, **of).mean())

    def error(self, agent: str) -> float:
        """Standard error of `ratio(agent)`, from problems drawn again with replacement."""
        rng = np.random.default_rng(0)
        own, one = self.kl(agent), self.kl(MLP)
        rows = rng.integers(len(own), size=(2_000, len(own)))
        return float((own[rows].mean(1) / one[rows].mean(1)).std())

    def seconds(self, agent: str) -> float:
        """CPU time of all its trainings."""
        return sum(t.seconds for t in self.trials if t.agent == agent)

    def to_json(self) -> dict[str, Any]:
        """Plain values, the same for the same seed."""
        agents = {
            a: {"kl_over_one_network": self.ratio(a), "standard_error": self.error(a)}
            for a in AGENTS
        }
        trials = [{"agent": t.agent, **plain(t.problem), "kl": t.kl} for t in self.trials]
        return {"agents": agents, "trials": trials}

    @classmethod
    def from_json(cls, values: dict[str, Any], settings: Settings, seed: int = 0) -> Result:
        """The result that `to_json` wrote."""
        trials = [Trial(t["agent"], built(Classification, t), t["kl"]) for t in values["trials"]]
        return cls(settings, tuple(trials))

    def to_markdown(self) -> str:
        """Divergences as multiples of one network's, overall and by the number of data."""
        sizes = self.settings.sizes
        rows = [
            cells(
                agent,
                f"{self.ratio(agent):.3f} ± {self.error(agent):.3f}",
                *(f"{self.ratio(agent, num_train=n):.2f}" for n in sizes),
                "" if agent == MLP else f"{self.seconds(agent):.0f}",
            )
            for agent in AGENTS
        ]
        temperatures = ", ".join(f"{t:g}" for t in self.settings.temperatures)
        seeds = sorted({t.problem.seed for t in self.trials})
        note = (
            f"Joint divergence of {TAU} classes, mean over problems, as a multiple of one "
            f"network's; ± is a standard error over problems. Temperatures {temperatures}, "
            f"problem seeds {seeds[0]} to {seeds[-1]}."
        )
        by_size = cells(*(f"n = {n}" for n in sizes))
        return table(f"agent | all problems | {by_size} | CPU seconds of training", rows, note)


def run(settings: Settings | None = None, *, seed: int = 0, progress: bool = True) -> Result:
    """Train and compare all agents; `seed` decides the problems too."""
    settings = settings or Settings()
    first = FIRST_SEED * (seed + 1)
    problems = [
        Classification(n, temperature, first + s)
        for n in sorted(settings.sizes, reverse=True)
        for temperature in settings.temperatures
        for s in range(settings.num_seeds)
    ]
    tasks = [(problem, settings) for problem in problems]
    trials = collect(
        _compare, tasks, settings.jobs, label="testbed", unit="problem", progress=progress
    )
    order = {problem: i for i, problem in enumerate(reversed(problems))}
    trials.sort(key=lambda t: (AGENTS.index(t.agent), order[t.problem]))
    return Result(settings, tuple(trials))


def _compare(task: tuple[Classification, Settings]) -> list[Trial]:
    problem, settings = task
    steps, seed, passes = settings.steps, problem.seed, max(1, settings.draws // 5)
    few = min(SHORT_STEPS, steps)
    common = {"num_members": settings.num_members, "seed": seed}
    trained: dict[str, Trained] = {
        ENSEMBLE: train_ensemble(problem, prior_scale=0.0, steps=steps, **common),
        PRIOR: train_ensemble(problem, prior_scale=3.0, steps=steps, **common),
        SHORT: train_ensemble(
            problem, prior_scale=3.0, steps=few, learning_rate=SHORT_RATE, **common
        ),
        EPINET: train_epinet(
            problem, steps=few, draws=settings.draws, seed=seed, learning_rate=SHORT_RATE
        ),
        NOISY: train_noisy(problem, steps=steps, draws=passes, seed=seed),
        DROPOUT: train_dropout(problem, steps=steps, draws=passes, seed=seed),
    }
    trials = []
    for agent, one in trained.items():
        joint, marginal = joint_kl(
            one.sample_logits, problem, tau=TAU, num_batches=settings.num_batches
        )
        trials.append(Trial(agent, problem, joint, one.seconds))
        if agent == ENSEMBLE:
            # A member of the plain ensemble is one network: the mean over all of them is what a
            # single one may expect.
            trials.append(Trial(MLP, problem, marginal, one.seconds / settings.num_members))
    return trials


def check(result: Result) -> list[Check]:
    """The claim's figures; for smaller runs that the divergences are numbers."""
    if result.settings.num_seeds < 5:
        return [Check("smallest divergence", min(t.kl for t in result.trials), ">=", -0.5)]
    return [
        Check("ensemble with priors over plain ensemble", result.ratio(PRIOR, ENSEMBLE), "<=", 0.8),
        Check("epinet over ensemble with priors", result.ratio(EPINET, PRIOR), "<=", 1.1),
        Check(
            "its training time over the ensemble's",
            result.seconds(EPINET) / result.seconds(PRIOR),
            "<=",
            0.1,
        ),
    ]
