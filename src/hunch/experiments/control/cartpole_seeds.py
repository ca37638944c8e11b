"""NoisyNet-DQN on CartPole-v1, capped at 500 steps, on twenty seeds trained as replicas at once.

The agents' networks are stacked on a member axis, so one process trains all of them for a fraction
of twenty trainings. Each replica is evaluated every few thousand frames on episodes kept for that
purpose; the weights that did best there are judged on 100 other episodes, greedily with the mean
weights. The last weights' figure stands beside it: value networks that have solved a task may
unlearn it for a while, so the last one is a matter of luck.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from hunch.experiments.claims.checks import Check
from hunch.rl import DQN, Evaluate, Linear, evaluate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLAIM = (
    "A DQN that explores by noisy weights alone reaches a mean return of at least 490 of 500 over "
    "100 greedy CartPole-v1 episodes within 100,000 frames on at least 18 of 20 seeds, all trained "
    "at once; the judged weights are the best by separate evaluation episodes during training."
)
SOLVED: Final = 490.0
SELECTING: Final = 10_000  # seed of the starts by which the best weights are chosen

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Settings:
    """The agents and how they are judged.

    Args:
        num_seeds: replicas.
        frames: environment steps of each.
        evaluation_period: frames from one evaluation to the next.
        selecting_episodes: episodes of such an evaluation.
        judging_episodes: episodes that judge the chosen weights and the last ones.
    """

    num_seeds: int = 20
    frames: int = 100_000
    evaluation_period: int = 5_000
    selecting_episodes: int = 20
    judging_episodes: int = 100

    @classmethod
    def quick(cls) -> Settings:
        """Two seeds, too few frames for the claim."""
        return cls(2, 4_000, 2_000, 3, 10)


@dataclass(frozen=True)
class Result:
    """What became of each seed.

    Args:
        settings: as given.
        seed: the first replica's.
        frames: frames of the evaluations during training.
        curves: mean return of each seed there, `(seeds, points)`.
        best_frames: frames at which the judged weights were taken.
        best: mean return of the judged weights over the judging episodes, for each seed.
        worst_episode: the lowest return among them.
        last: mean return of the last weights.
        seconds: CPU time of training and evaluation.
    """

    settings: Settings
    seed: int
    frames: Array
    curves: Array
    best_frames: Array
    best: Array
    worst_episode: Array
    last: Array
    seconds: float

    @property
    def solved(self) -> int:
        """Number of seeds whose judged weights reach the bound."""
        return int((self.best >= SOLVED).sum())

    def to_json(self) -> dict[str, Any]:
        """Plain values, the same for the same seed."""
        return {
            "frames": self.settings.frames,
            "solved_seeds": self.solved,
            "solved_seeds_by_last_weights": int((self.last >= SOLVED).sum()),
            "seeds": [
                {
                    "seed": self.seed + r,
                    "best_frame": int(self.best_frames[r]),
                    "best_mean_return": self.best[r],
                    "best_worst_episode": self.worst_episode[r],
                    "last_mean_return": self.last[r],
                }
                for r in range(len(self.best))
            ],
            "curves": {
                "frames": self.frames.tolist(),
                "mean_return": self.curves.round(1).tolist(),
            },
        }

    def to_markdown(self) -> str:
        """One line for each seed."""
        lines = [
            "| seed | best weights of frame | their mean return (worst episode) | last weights |",
            "|---|---|---|---|",
        ]
        lines += [
            f"| {self.seed + r} | {self.best_frames[r]:,.0f} | {self.best[r]:.1f} "
            f"({self.worst_episode[r]:.0f}) | {self.last[r]:.1f} |"
            for r in range(len(self.best))
        ]
        lines += [
            "",
            f"At least {SOLVED:g}: {self.solved} of {len(self.best)} seeds by the best weights, "
            f"{int((self.last >= SOLVED).sum())} by the last. {self.seconds:.0f} s of CPU time for "
            "all seeds, evaluations included.",
        ]
        return "\n".join(lines)


def run(settings: Settings | None = None, *, seed: int = 0, progress: bool = True) -> Result:
    """Train and judge all seeds in one process.

    Args:
        settings: the claim's own if None.
        seed: the first replica's.
        progress: show a bar.
    """
    settings = settings or Settings()
    started = time.process_time()
    agent = make_agent(settings, seed)
    selecting = Evaluate(settings.evaluation_period, settings.selecting_episodes, seed=SELECTING)
    agent.learn(settings.frames, callbacks=[selecting], progress=progress)
    last, _ = _judged(agent, settings)
    chosen = [selecting.best(r) for r in range(agent.replicas)]
    selecting.load_best(agent)
    best, worst = _judged(agent, settings)
    by_seed = [
        [score.mean for score in selecting.scores if score.replica == r]
        for r in range(agent.replicas)
    ]
    return Result(
        settings=settings,
        seed=seed,
        frames=np.array(sorted({score.step for score in selecting.scores}), float),
        curves=np.array(by_seed),
        best_frames=np.array([score.step for score in chosen if score is not None], float),
        best=best,
        worst_episode=worst,
        last=last,
        seconds=time.process_time() - started,
    )


def make_agent(settings: Settings, seed: int) -> DQN:
    """The untrained replicas.

    Example:
        >>> make_agent(Settings.quick(), seed=0).replicas
        2
    """
    return DQN(
        "CartPole-v1",
        noisy=True,
        double=True,
        layer_norm=True,
        hidden_sizes=(128, 128),
        learning_rate=Linear(1e-3, 0.0, steps=settings.frames),
        batch_size=128,
        update_period=2,
        target_update_period=100,
        replay_capacity=settings.frames,
        replicas=settings.num_seeds,
        seed=seed,
    )


def _judged(agent: DQN, settings: Settings) -> tuple[Array, Array]:
    """Mean return of each replica and its worst, on episodes that chose nothing."""
    played = [
        evaluate(agent.replica(r), settings.judging_episodes, seed=agent.seed + r, num_envs=50)
        for r in range(agent.replicas)
    ]
    means = np.array([evaluation.mean_return for evaluation in played])
    return means, np.array([evaluation.returns.min() for evaluation in played])


def check(result: Result) -> list[Check]:
    """The number of seeds that solve; a shorter run is only held against chance."""
    settings = result.settings
    if settings.frames < 100_000:
        what = "mean return, too few frames to solve"
        return [Check(what, float(result.best.mean()), ">=", 22.0)]
    what = f"seeds with mean return >= {SOLVED:g}"
    return [Check(what, result.solved, ">=", 0.9 * settings.num_seeds)]


def plot(result: Result) -> dict[str, tuple[Figure, str]]:
    """Evaluations during training: the median over seeds and the band between quartiles."""
    from hunch.plots import BLUE, panel

    figure, axes = panel("CartPole-v1 by noise alone", "frames", "greedy return")
    low, middle, high = np.quantile(result.curves, (0.25, 0.5, 0.75), axis=0)
    axes.fill_between(result.frames, low, high, color=BLUE, alpha=0.25, linewidth=0)
    axes.plot(result.frames, middle, color=BLUE, label="median and quartiles")
    axes.plot(result.frames, result.curves.min(0), ":", color=BLUE, label="worst seed")
    axes.legend(fontsize=8)
    caption = (
        f"{len(result.best)} seeds trained at once; evaluation episodes, mean weights. Single "
        "seeds still fall back after having solved the task."
    )
    return {"cartpole-seeds": (figure, caption)}
