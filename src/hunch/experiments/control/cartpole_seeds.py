"""NoisyNet-DQN on CartPole-v1, capped at 500 steps, on twenty seeds trained as replicas at once.

The agents' networks are stacked on a member axis, so one process trains all of them for a fraction
of twenty trainings. Each replica is evaluated every few thousand frames on episodes kept for that
purpose; the weights that did best there are evaluated on 100 other episodes, greedily with the mean
weights. The last weights' figure stands beside it: value networks that have solved a task may
unlearn it for a while, so the last one is a matter of luck.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from hunch.experiments.claims.checks import Check
from hunch.experiments.claims.markdown import table
from hunch.experiments.claims.saved import NOT_WRITTEN, Array, SavedResult, written
from hunch.rl import DQN, Evaluate, Linear, evaluate

CLAIM = (
    "A DQN that explores by noisy weights alone reaches a mean return of at least 490 of 500 over "
    "100 greedy CartPole-v1 episodes within 100,000 frames on at least 18 of 20 seeds, all trained "
    "at once; the weights are those that did best in separate evaluation episodes during training."
)
SOLVED: Final = 490.0
SELECTING: Final = 10_000  # seed of the starts by which the best weights are chosen


@dataclass(frozen=True)
class Settings:
    """The agents and how they are evaluated."""

    num_seeds: int = 20  # replicas
    frames: int = 100_000  # environment steps of each
    selection_period: int = 5_000  # frames from one evaluation during training to the next
    selection_episodes: int = 20  # episodes of such an evaluation
    # Episodes on which the chosen weights and the last ones are evaluated.
    evaluation_episodes: int = 100

    @classmethod
    def quick(cls) -> Settings:
        """Two seeds, too few frames for the claim."""
        return cls(2, 4_000, 2_000, 3, 10)


@dataclass(frozen=True)
class Seed:
    """What became of one seed."""

    seed: int  # the replica's
    best_frame: int  # frame at which the best weights were taken
    best_mean_return: float  # of these over the evaluation episodes
    best_worst_episode: float  # the lowest return among them
    last_mean_return: float  # of the last weights


@dataclass(frozen=True)
class Curves:
    """The evaluations during training."""

    frames: Array  # at which they were made, `(points,)`
    # Of each seed there, `(seeds, points)`.
    mean_return: Array = field(metadata=written(decimals=1))


@dataclass(frozen=True)
class Result(SavedResult):
    """All seeds; `seconds` is the CPU time of training and evaluation."""

    settings: Settings
    seeds: tuple[Seed, ...]
    curves: Curves
    seconds: float = field(default=math.nan, metadata=NOT_WRITTEN)

    @property
    def solved(self) -> int:
        """Number of seeds whose best weights reach the bound."""
        return sum(s.best_mean_return >= SOLVED for s in self.seeds)

    @property
    def solved_by_last(self) -> int:
        """Number of seeds whose last weights reach the bound."""
        return sum(s.last_mean_return >= SOLVED for s in self.seeds)

    def derived(self) -> dict[str, Any]:
        """The budget and how many solved."""
        return {
            "frames": self.settings.frames,
            "solved_seeds": self.solved,
            "solved_seeds_by_last_weights": self.solved_by_last,
        }

    def to_markdown(self) -> str:
        """One line for each seed."""
        rows = [
            f"{s.seed} | {s.best_frame:,} | {s.best_mean_return:.1f} ({s.best_worst_episode:.0f}) "
            f"| {s.last_mean_return:.1f}"
            for s in self.seeds
        ]
        head = "seed | best weights of frame | their mean return (worst episode) | last weights"
        note = (
            f"At least {SOLVED:g}: {self.solved} of {len(self.seeds)} seeds by the best weights, "
            f"{self.solved_by_last} by the last. {self.seconds:.0f} s of CPU time for all seeds, "
            "evaluations included."
        )
        return table(head, rows, note)


def run(settings: Settings | None = None, *, seed: int = 0, progress: bool = True) -> Result:
    """Train and evaluate all seeds in one process; `seed` is the first replica's."""
    settings = settings or Settings()
    started = time.process_time()
    agent = make_agent(settings, seed)
    selecting = Evaluate(settings.selection_period, settings.selection_episodes, seed=SELECTING)
    agent.learn(settings.frames, callbacks=[selecting], progress=progress)
    last = _evaluated(agent, settings)
    chosen = [selecting.best(r) for r in range(agent.replicas)]
    selecting.load_best(agent)
    best = _evaluated(agent, settings)
    by_seed = [
        [score.mean for score in selecting.scores if score.replica == r]
        for r in range(agent.replicas)
    ]
    seeds = [
        Seed(seed + r, score.step, *best[r], last[r][0])
        for r, score in enumerate(chosen)
        if score is not None
    ]
    frames = np.array(sorted({score.step for score in selecting.scores}), float)
    seconds = time.process_time() - started
    return Result(settings, tuple(seeds), Curves(frames, np.array(by_seed)), seconds)


def make_agent(settings: Settings, seed: int) -> DQN:
    """The untrained replicas.

    Example:
        >>> make_agent(Settings.quick(), seed=0).replicas
        2
    """
    return DQN(
        "CartPole-v1",
        noisy=True,
        random_steps=0,
        noise_draws=1,
        double=True,
        layer_norm=True,
        hidden_sizes=(128, 128),
        learning_rate=Linear(1e-3, 0.0, steps=settings.frames),
        batch_size=128,
        update_period=2,
        target_update_period=100,
        target_update_rate=1.0,
        n_step=1,
        replay_capacity=settings.frames,
        replicas=settings.num_seeds,
        seed=seed,
    )


def _evaluated(agent: DQN, settings: Settings) -> list[tuple[float, float]]:
    """Mean return of each replica and its worst, on episodes that chose nothing."""
    played = [
        evaluate(agent.replica(r), settings.evaluation_episodes, seed=agent.seed + r, num_envs=50)
        for r in range(agent.replicas)
    ]
    return [(one.mean_return, float(one.returns.min())) for one in played]


def check(result: Result) -> list[Check]:
    """The number of seeds that solve; a shorter run is only held against chance."""
    settings = result.settings
    if settings.frames < 100_000:
        what = "mean return, too few frames to solve"
        mean = float(np.mean([s.best_mean_return for s in result.seeds]))
        return [Check(what, mean, ">=", 22.0)]
    what = f"seeds with mean return >= {SOLVED:g}"
    return [Check(what, result.solved, ">=", 0.9 * settings.num_seeds)]
