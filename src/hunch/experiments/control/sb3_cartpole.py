"""A DQN of Stable-Baselines3 with hunch's noisy policy learns CartPole-v1 without ε-greedy.

The start is the recipe of RL Baselines3 Zoo for DQN on CartPole-v1: 50,000 frames, two hidden
layers of 256, batches of 64, one gradient update every two frames, made in blocks with the target
network copied before each block. Exploration is by noise alone (`exploration_initial_eps` and
`exploration_final_eps` are 0), after the recipe's 1,000 uniformly random actions at the start.

Where this differs from the recipe, and why:

- Each hidden layer is normalized before its activation, as in hunch's own CartPole agent.
- The learning rate falls to 0 in a straight line. At a constant rate the score swings between 100
  and 500 to the end, and the last policy is an accident of the last hundred updates: on the tuning
  seeds 100 to 102 the last models scored 500, 167 and 226, the best ones 500.
- Blocks of 64 updates instead of 128, so that the target network is copied twice as often for the
  same work. With 128 the agent stood at 120 for 25,000 to 45,000 frames.

Of each seed two models are evaluated in 100 deterministic episodes: the last one, and the best one,
chosen during training by separate episodes with that library's `EvalCallback`.

What this does not show is that CartPole needs noise. Its starts are varied enough for an agent that
explores little: with the noise turned off, seeds 0 to 2 gave best models of 500, 475 and 500 and
last ones of 500, 221 and 479.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import gymnasium
import numpy as np

from hunch.errors import ConfigurationError
from hunch.experiments.claims.checks import Check
from hunch.experiments.claims.markdown import table
from hunch.experiments.claims.saved import Array, SavedResult
from hunch.experiments.control.stable_baselines import Player, global_randomness_kept
from hunch.progress import progress_bar
from hunch.rl import Evaluation, evaluate
from hunch.seeding import derive

CLAIM = (
    "The DQN of Stable-Baselines3 with hunch's noisy policy and no epsilon-greedy reaches a mean "
    "return of at least 475 of 500 over 100 deterministic CartPole-v1 episodes, within 50,000 "
    "frames, on each of 5 seeds, with the model that separate evaluation episodes choose."
)
ENVIRONMENT: Final = "CartPole-v1"
SOLVED: Final = 475.0  # Gymnasium's own bound for CartPole-v1
RANDOM: Final = 22.0  # mean return of a policy that flips a coin


@dataclass(frozen=True)
class Settings:
    """The agent and how it is evaluated."""

    frames: int = 50_000  # environment steps of training
    net_arch: tuple[int, ...] = (256, 256)  # width of each hidden layer
    std_init: float = 0.5  # σ₀, the initial size of the noise
    layer_norm: bool = True  # whether hidden layers are normalized before their activation
    learning_rate: float = 2.3e-3  # Adam's step size at the start
    linear_decay: bool = True  # whether it falls in a straight line to 0 at `frames`
    batch_size: int = 64  # transitions per gradient update
    buffer_size: int = 100_000  # transitions kept
    # Environment steps with uniformly random actions before the first update.
    learning_starts: int = 1_000
    gamma: float = 0.99  # discount per environment step
    # Environment steps from one copy of the target network to the next.
    target_update_interval: int = 10
    train_freq: int = 128  # environment steps from one block of gradient updates to the next
    gradient_steps: int = 64  # gradient updates of a block
    # Environment steps from one evaluation during training to the next.
    selection_period: int = 2_500
    selection_episodes: int = 20  # episodes of each of them
    evaluation_episodes: int = 100  # episodes on which the last and the best model are evaluated
    num_seeds: int = 1  # agents trained

    @classmethod
    def quick(cls) -> Settings:
        """Enough frames to see it learn, too few frames and episodes for the claim."""
        return cls(frames=5_000, selection_episodes=5, evaluation_episodes=20)

    @classmethod
    def proof(cls) -> Settings:
        """All five seeds of the claim."""
        return cls(num_seeds=5)

    @property
    def enough(self) -> bool:
        """Whether the claim speaks about this many frames and episodes."""
        return self.frames >= 50_000 and self.evaluation_episodes >= 100


@dataclass(frozen=True)
class Score:
    """A model's evaluation in short."""

    mean_return: float
    min_return: float

    @classmethod
    def of(cls, evaluation: Evaluation) -> Score:
        """Mean and least return."""
        return cls(evaluation.mean_return, float(evaluation.returns.min()))


@dataclass(frozen=True)
class Row:
    """One seed."""

    seed: int  # the agent's
    selection_curve: Array  # mean return of each evaluation during training
    best_frame: int  # frame of the best of them, the first one of several
    best: Score  # evaluation of the model of that frame
    last: Score  # evaluation of the model at the end


@dataclass(frozen=True)
class Result(SavedResult):
    """All agents."""

    settings: Settings
    seeds: tuple[Row, ...]

    def derived(self) -> dict[str, Any]:
        """The budgets, and how many solved."""
        s = self.settings
        return {
            "frames": s.frames,
            "enough_frames_to_judge": s.enough,
            "evaluation_episodes": s.evaluation_episodes,
            "selection_period": s.selection_period,
            "selection_episodes": s.selection_episodes,
            "solved_seeds": {
                "best": sum(row.best.mean_return >= SOLVED for row in self.seeds),
                "last": sum(row.last.mean_return >= SOLVED for row in self.seeds),
            },
        }

    def to_markdown(self) -> str:
        """The table of all seeds."""
        rows = [
            f"{row.seed} | {row.best.mean_return:.1f} | {row.best.min_return:.0f} "
            f"| {row.best_frame:,} | {row.last.mean_return:.1f} | {row.last.min_return:.0f}"
            for row in self.seeds
        ]
        head = "seed | best model, mean return | worst | frame | last model, mean return | worst"
        return table(head, rows)


def run(settings: Settings | None = None, *, seed: int = 0, progress: bool = True) -> Result:
    """Train and evaluate agents with the seeds `seed`, `seed + 1`, ….

    Raises:
        ConfigurationError: if training ends before the first evaluation.
        MissingDependencyError: if Stable-Baselines3 is not installed.
    """
    settings = settings or Settings()
    if settings.frames < settings.selection_period:
        raise ConfigurationError(
            f"`frames` got {settings.frames}; expected at least {settings.selection_period}, the "
            "`selection_period`."
        )
    seeds = range(seed, seed + settings.num_seeds)
    return Result(settings, tuple(_run_seed(settings, s, progress=progress) for s in seeds))


def make_model(settings: Settings, seed: int) -> Any:
    """The `stable_baselines3.DQN` of one seed, untrained.

    Args:
        settings: the agent.
        seed: decides its weights, its noise, and the environment's starts.

    Raises:
        MissingDependencyError: if Stable-Baselines3 is not installed.
    """
    from hunch.adapters.sb3 import NoisyDQNPolicy  # first, for its word on a missing library

    from stable_baselines3 import DQN  # isort: skip

    rate = settings.learning_rate
    return DQN(
        NoisyDQNPolicy,
        ENVIRONMENT,
        exploration_initial_eps=0.0,
        exploration_final_eps=0.0,
        learning_rate=(lambda remaining: rate * remaining) if settings.linear_decay else rate,
        batch_size=settings.batch_size,
        buffer_size=settings.buffer_size,
        learning_starts=settings.learning_starts,
        gamma=settings.gamma,
        target_update_interval=settings.target_update_interval,
        train_freq=settings.train_freq,
        gradient_steps=settings.gradient_steps,
        policy_kwargs={
            "net_arch": list(settings.net_arch),
            "std_init": settings.std_init,
            "layer_norm": settings.layer_norm,
        },
        seed=seed,
        device="cpu",
    )


def _run_seed(settings: Settings, seed: int, *, progress: bool) -> Row:
    with global_randomness_kept():
        model = make_model(settings, seed)
        curve, best_weights = _learn(settings, model, seed, progress=progress)
        player = Player(model, partial(gymnasium.make, ENVIRONMENT))
        last = evaluate(player, settings.evaluation_episodes, seed=seed)
        # The same starts for both models: what differs is the model alone.
        model.policy.load_state_dict(best_weights)
        best = evaluate(player, settings.evaluation_episodes, seed=seed)
    best_frame = (int(np.argmax(curve)) + 1) * settings.selection_period
    return Row(seed, np.array(curve), best_frame, Score.of(best), Score.of(last))


def _learn(
    settings: Settings, model: Any, seed: int, *, progress: bool
) -> tuple[list[float], dict[str, Any]]:
    """Train; return the evaluations on the way and the weights of the best of them."""
    from stable_baselines3.common.callbacks import CallbackList, ConvertCallback, EvalCallback
    from stable_baselines3.common.env_util import make_vec_env

    curve: list[float] = []
    kept: dict[str, Any] = {}
    envs = make_vec_env(
        ENVIRONMENT,
        n_envs=min(10, settings.selection_episodes),
        # That library adds a number to the seed for each environment and wants 32 bits.
        seed=derive(seed, "sb3-selection") % 2**31,
    )

    # `EvalCallback` would write its best model into a folder; a copy of the weights needs none.
    def keep_if_best(_locals: Any, _globals: Any) -> bool:
        if not curve or selection.last_mean_reward > max(curve):
            kept.update(copy.deepcopy(model.policy.state_dict()))
        curve.append(float(selection.last_mean_reward))
        return True

    selection = EvalCallback(
        envs,
        callback_after_eval=ConvertCallback(keep_if_best),
        n_eval_episodes=settings.selection_episodes,
        eval_freq=settings.selection_period,
        deterministic=True,
        verbose=0,
    )
    with progress_bar(settings.frames, f"seed {seed}", "frame", enabled=progress) as bar:

        def advance(_locals: Any, _globals: Any) -> bool:
            bar.update(1)
            return True

        model.learn(settings.frames, callback=CallbackList([selection, ConvertCallback(advance)]))
    envs.close()
    return curve, kept


def check(result: Result) -> list[Check]:
    """The claim's figure: the lowest mean return of the chosen models over all seeds.

    A run with fewer frames or episodes than the claim asks for is only held against chance.
    """
    episodes = result.settings.evaluation_episodes
    worst = min(row.best.mean_return for row in result.seeds)
    if not result.settings.enough:
        what = f"mean return of {episodes} deterministic episodes, too few frames to solve"
        return [Check(what, worst, ">=", RANDOM)]
    what = f"mean return of {episodes} deterministic episodes, best model, worst seed"
    return [Check(what, worst, ">=", SOLVED)]
