"""NoisyNet-DQN balances a pole without ε-greedy exploration, whatever the seed.

After the fifth notebook of "Rainbow is all you need": CartPole capped at 200 steps, 20,000 frames,
a network 4-128-128-2 whose last two layers are noisy, batches of 128 from a replay buffer, target
network copied now and then, discount 0.99, Adam at 1e-3, Huber loss. The notebook shows one
episode of the last policy; here it is evaluated in 100 greedy episodes with the mean weights, from
starts that training never saw, on ten seeds.

Where this differs from the notebook, and why:

- The cap of 200 steps does not end the bootstrap. A pole that still stands is worth as much at
  step 200 as at step 100; the notebook takes the cap for a fall, which no observation foretells.
- Every episode starts from a seed of its own, and the noise of the loss, of the target and of
  every action are separate draws, as the paper has it.
- Each hidden layer is normalised before its ReLU (LayerNorm without parameters). Without that,
  values beyond what was seen are extrapolated without bound, and an agent that had solved the task
  may unlearn it.
- Two gradient updates a frame instead of one, the target copied every 100 updates instead of 150,
  double Q-learning. With one update a frame about one seed in seven ended with a pole that stands
  on a cart which slowly leaves the track, after 100 to 190 steps: two copies of the target a
  hundred frames carry the news of that end far enough back.
- The learning rate falls to 0 in a straight line, so the last policy is no accident of the last
  hundred updates; the buffer keeps all 20,000 transitions, so falls are not forgotten.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from torch import nn

from hunch.errors import ConfigurationError, MissingDependencyError
from hunch.experiments.claims.checks import Check
from hunch.experiments.claims.markdown import table
from hunch.experiments.claims.saved import NOT_WRITTEN, Array, SavedResult, built, plain
from hunch.nn import NoisyLinear
from hunch.progress import progress_bar
from hunch.rl import DQN, Linear, evaluate, record
from hunch.rl.networks.value_networks import noise_size, noisy_layers

CLAIM = (
    "A DQN that explores by noisy weights alone reaches a mean return of at least 195 of 200 over "
    "100 greedy CartPole episodes from unseen starts, after 20,000 frames, on at least 9 of 10 "
    "seeds."
)
SOLVED: Final = 195.0  # Gymnasium's own bound for CartPole-v0, which is capped at 200
RANDOM: Final = 22.0  # mean return of a policy that flips a coin
EVERY: Final = 100  # frames from one point of the curves to the next


@dataclass(frozen=True)
class Settings:
    """The agent and how it is evaluated."""

    frames: int = 20_000  # environment steps of training
    max_episode_steps: int = 200  # cap on an episode, in environment steps
    hidden_size: int = 128  # width of both hidden layers
    std_init: float = 0.5  # σ₀, the initial size of the noise
    layer_norm: bool = True  # whether hidden layers are normalised before their ReLU
    discount: float = 0.99  # γ per environment step
    # Adam's step size at the start; it falls in a straight line to 0 at `frames`.
    learning_rate: float = 1e-3
    batch_size: int = 128  # transitions per gradient update
    updates_per_frame: int = 2  # gradient updates per environment step
    replay_capacity: int = 20_000  # transitions kept
    # Gradient updates from one copy of the target network to the next.
    target_update_period: int = 100
    double: bool = True  # whether double Q-learning is on
    evaluation_episodes: int = 100  # greedy episodes on which the agent is evaluated
    num_seeds: int = 1  # agents trained; the first one's curves and video are shown

    @classmethod
    def quick(cls) -> Settings:
        """Enough frames to see it learn, too few frames and episodes for the claim."""
        return cls(frames=3_000, evaluation_episodes=20)

    @classmethod
    def proof(cls) -> Settings:
        """All ten seeds of the claim."""
        return cls(num_seeds=10)

    @property
    def enough(self) -> bool:
        """Whether the claim speaks about this many frames and episodes."""
        return self.frames >= 20_000 and self.evaluation_episodes >= 100


@dataclass(frozen=True)
class Row:
    """One seed's evaluation."""

    seed: int  # the agent's
    mean_return: float  # over the evaluation episodes
    min_return: float  # the worst of them
    capped: float  # share of them that reached the cap
    # CPU time of training and evaluation.
    seconds: float = field(default=math.nan, metadata=NOT_WRITTEN)


@dataclass(frozen=True)
class TrainedAgent:
    """One trained agent: its curves, its evaluation, its video."""

    row: Row  # the evaluation in short
    episode_returns: Array  # return of each training episode
    episode_frames: Array  # frame at which each of them ended
    frames: Array  # frames at which the curves below have a point
    loss: Array  # mean Huber loss since the point before, NaN while there was no update
    sigma: Array  # mean |σ| of each noisy layer, `(layers, points)`
    evaluation_returns: Array  # return of each evaluation episode
    # MP4 of the first evaluation episode, None where there is no ffmpeg or no pygame.
    video: bytes | None


@dataclass(frozen=True)
class Result(SavedResult):
    """The first agent in full, all agents in short."""

    settings: Settings
    shown: TrainedAgent
    rows: tuple[Row, ...]

    @property
    def solved(self) -> int:
        """Number of seeds whose mean return reaches the bound."""
        return sum(row.mean_return >= SOLVED for row in self.rows)

    def to_json(self) -> dict[str, Any]:
        """Plain values, the same for the same seed: every tenth point, and no video."""
        shown = self.shown
        return {
            "frames": self.settings.frames,
            "enough_frames_to_judge": self.settings.enough,
            "evaluation_episodes": self.settings.evaluation_episodes,
            "solved_seeds": self.solved,
            "seeds": [plain(row) for row in self.rows],
            "curves": {
                "seed": shown.row.seed,
                "episode_returns": shown.episode_returns.tolist(),
                "episode_frames": shown.episode_frames.tolist(),
                "frames": shown.frames[9::10].tolist(),
                "loss": [_rounded(value) for value in thinned(shown.loss)],
                "sigma": [[_rounded(v) for v in layer[9::10]] for layer in shown.sigma],
            },
            "evaluation_returns": shown.evaluation_returns.tolist(),
        }

    @classmethod
    def from_json(cls, values: dict[str, Any], settings: Settings, seed: int = 0) -> Result:
        """The result that `to_json` wrote; each point of a curve stands for ten."""
        rows = tuple(built(Row, row) for row in values["seeds"])
        curves = {name: np.array(points, float) for name, points in values["curves"].items()}
        shown = TrainedAgent(
            row=rows[0],
            episode_returns=curves["episode_returns"],
            episode_frames=curves["episode_frames"],
            frames=np.arange(1, 10 * len(curves["frames"]) + 1, dtype=float) * EVERY,
            loss=curves["loss"].repeat(10),
            sigma=curves["sigma"].repeat(10, axis=1),
            evaluation_returns=np.array(values["evaluation_returns"]),
            video=None,
        )
        return cls(settings, shown, rows)

    def to_markdown(self) -> str:
        """One line for each seed."""
        rows = [
            f"{row.seed} | {row.mean_return:.1f} | {row.min_return:.0f} "
            f"| {100 * row.capped:.0f} % | {row.seconds:.0f}"
            for row in self.rows
        ]
        return table("seed | mean return | worst return | at the cap | CPU seconds", rows)


def run(settings: Settings | None = None, *, seed: int = 0, progress: bool = True) -> Result:
    """Train and evaluate agents with the seeds `seed`, `seed + 1`, …; one by default."""
    settings = settings or Settings()
    shown = run_seed(settings, seed, progress=progress)
    others = range(seed + 1, seed + settings.num_seeds)
    rows = (run_seed(settings, s, video=False, progress=progress).row for s in others)
    return Result(settings, shown, (shown.row, *rows))


def run_seed(
    settings: Settings, seed: int, *, video: bool = True, progress: bool = True
) -> TrainedAgent:
    """Train one agent, evaluate it, and record a video.

    Args:
        settings: the agent and how it is evaluated.
        seed: decides everything left to chance.
        video: whether to record the first evaluation episode.
        progress: show a bar.
    """
    if settings.frames < EVERY:
        raise ConfigurationError(
            f"`frames` got {settings.frames}; expected at least {EVERY}, one point of the curves."
        )
    started = time.process_time()
    agent = make_agent(settings, seed)
    frames, losses, sigmas = [], [], []
    with progress_bar(settings.frames, f"seed {seed}", "frame", enabled=progress) as bar:
        for frame in range(EVERY, settings.frames + 1, EVERY):
            before = agent.updates
            agent.learn(frame, progress=False)
            frames.append(frame)
            losses.append(np.mean(agent.losses[before:]) if agent.updates > before else np.nan)
            sigmas.append([noise_size(layer) for layer in noisy_layers(agent.network)])
            bar.set_postfix_str(_recent(agent), refresh=False)
            bar.update(EVERY)
    evaluation = evaluate(agent, settings.evaluation_episodes, seed=seed)
    row = Row(
        seed=seed,
        mean_return=evaluation.mean_return,
        min_return=float(evaluation.returns.min()),
        capped=float((evaluation.lengths == settings.max_episode_steps).mean()),
        seconds=time.process_time() - started,
    )
    return TrainedAgent(
        row=row,
        episode_returns=np.array(agent.history.returns),
        episode_frames=np.array(agent.history.ends, float),
        frames=np.array(frames, float),
        loss=np.array(losses),
        sigma=np.array(sigmas).T,
        evaluation_returns=evaluation.returns,
        video=_video(agent, seed) if video else None,
    )


def make_agent(settings: Settings, seed: int) -> DQN:
    """The agent of one seed, untrained.

    Example:
        >>> [type(part).__name__ for part in make_agent(Settings(), seed=0).network][:4]
        ['Linear', 'LayerNorm', 'ReLU', 'NoisyLinear']
    """

    def network() -> nn.Module:
        size = settings.hidden_size
        layers: list[nn.Module] = [nn.Linear(4, size)]
        for outputs in (size, 2):
            if settings.layer_norm:
                layers.append(nn.LayerNorm(size, elementwise_affine=False))
            layers.append(nn.ReLU())
            layers.append(NoisyLinear(size, outputs, std_init=settings.std_init, bias_std="out"))
        return nn.Sequential(*layers)

    return DQN(
        "CartPole-v1",
        env_kwargs={"max_episode_steps": settings.max_episode_steps},
        noisy=True,
        random_steps=0,
        noise_draws=1,
        double=settings.double,
        network=network,
        discount=settings.discount,
        learning_rate=Linear(settings.learning_rate, 0.0, steps=settings.frames),
        batch_size=settings.batch_size,
        updates_per_round=settings.updates_per_frame,
        min_replay_size=settings.batch_size,
        replay_capacity=settings.replay_capacity,
        target_update_period=settings.target_update_period,
        target_update_rate=1.0,
        update_period=1,
        n_step=1,
        seed=seed,
    )


def check(result: Result) -> list[Check]:
    """The claim's figure: on one seed its mean return, on several the number of seeds that solve.

    A run with fewer frames or episodes than the claim asks for is only held against chance.
    """
    mean = result.shown.row.mean_return
    episodes = result.settings.evaluation_episodes
    if not result.settings.enough:
        frames = result.settings.frames
        what = f"mean return of {episodes} greedy episodes after {frames:,} frames, against a coin"
        return [Check(what, mean, ">=", RANDOM)]
    if len(result.rows) == 1:
        what = f"mean return of {episodes} greedy episodes from unseen starts"
        return [Check(what, mean, ">=", SOLVED)]
    needed = 0.9 * len(result.rows)
    return [Check(f"seeds with mean return >= {SOLVED:g}", result.solved, ">=", needed)]


def found(result: Result) -> str:
    """What this run found, in a sentence."""
    settings, count = result.settings, len(result.rows)
    how = (
        f"over {settings.evaluation_episodes} greedy episodes from unseen starts, after "
        f"{settings.frames:,} frames"
    )
    bound = f"{SOLVED:g} of {settings.max_episode_steps}"
    if count > 1:
        return (
            f"A DQN that explores by noisy weights alone reaches a mean return of {bound} {how}, "
            f"on {result.solved} of {count} seeds."
        )
    row = result.shown.row
    does = "reaches" if result.solved else "does not reach"
    return (
        f"On seed {row.seed} a DQN that explores by noisy weights alone {does} a mean return of "
        f"{bound} {how}: it is {row.mean_return:.1f}."
    )


def _video(agent: DQN, seed: int) -> bytes | None:
    try:
        return record(agent, seed=seed).video
    except MissingDependencyError:
        return None


def _recent(agent: DQN) -> str:
    last = agent.history.returns[-20:]
    return f"mean return of last {len(last)}: {np.mean(last):.1f}" if last else "first episode"


def thinned(values: Array) -> Array:
    """Mean of every ten values; what is left over is dropped.

    Example:
        >>> thinned(np.arange(25.0)).tolist()
        [4.5, 14.5]
    """
    tens = values[: len(values) // 10 * 10].reshape(-1, 10)
    mean: Array = tens.mean(axis=1)
    return mean


def _rounded(value: float) -> float | None:
    return None if np.isnan(value) else float(f"{value:.4g}")
