"""How good an agent is: episodes that it neither learns from nor was trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hunch.progress import progress_bar
from hunch.rl.arguments import whole_number
from hunch.rl.environments import Env, evaluation_reset_seed
from hunch.rl.intake import Intake
from hunch.rl.parallel_envs import as_taken, name_of
from hunch.seeding import check_seed


class Policy(Protocol):
    """What an evaluation asks of an agent."""

    def predict(self, observation: NDArray[Any], deterministic: bool = True) -> Any:
        """An action for one observation, or an array of actions for a batch."""

    def another_env(self) -> Env:
        """A new environment like the one that the agent is trained on."""


@dataclass(frozen=True)
class Evaluation:
    """Returns and lengths of evaluation episodes, in the order of their numbers.

    Args:
        returns: undiscounted sum of rewards of each episode, shape `(episodes,)`.
        lengths: environment steps of each episode, shape `(episodes,)`.
    """

    returns: NDArray[np.float64]
    lengths: NDArray[np.int64]

    @property
    def mean_return(self) -> float:
        """Mean over the episodes."""
        return float(self.returns.mean())

    @property
    def std_return(self) -> float:
        """Standard deviation over the episodes, with the number of episodes as divisor."""
        return float(self.returns.std())


def evaluate(
    agent: Policy,
    episodes: int = 100,
    *,
    seed: int = 0,
    deterministic: bool = True,
    num_envs: int = 25,
    progress: bool = False,
) -> Evaluation:
    """Play episodes with an agent that does not learn, and report how they went.

    Episode i starts from a reset seed that is a function of `seed` and i alone, and that no
    training episode ever uses. Up to `num_envs` episodes are played side by side, each in an
    environment of its own, with one call of the agent for all.

    Args:
        agent: anything with `predict` and `another_env`, such as `hunch.rl.DQN`.
        episodes: number of episodes, at least 1.
        seed: seed of the starts, at least 0.
        deterministic: whether the agent plays what it thinks best (for a noisy network: its mean
            weights) or explores.
        num_envs: environments played side by side, at least 1. An exploring agent is called for
            one observation at a time, so that no two of them share its randomness.
        progress: whether to show a bar over the episodes.

    Returns:
        The returns and lengths of all episodes.

    Raises:
        ConfigurationError: if `episodes` or `num_envs` is below 1, or `seed` below 0.
        DataError: if an environment gives what is not finite or not of its spaces.
        ShapeError: if an observation has another shape than its space.

    Example:
        >>> from hunch.rl import DQN, evaluate
        >>> agent = DQN("CartPole-v1", seed=0)
        >>> result = evaluate(agent, episodes=3, seed=1)
        >>> result.returns.shape, result.mean_return >= 1
        ((3,), True)

    Note:
        `num_envs` changes no return as long as the agent's values for an observation do not
        depend on what else is in the batch. Matrix products of other sizes round differently, so
        where two actions tie to the last digit the choice may differ.
    """
    episodes = whole_number("episodes", episodes, at_least=1)
    width = min(whole_number("num_envs", num_envs, at_least=1), episodes)
    check_seed(seed)
    returns = np.zeros(episodes)
    lengths = np.zeros(episodes, np.int64)
    waiting = iter(range(episodes))
    envs = [agent.another_env() for _ in range(width)]
    try:
        playing = [_Seat(env, episode, seed) for env, episode in zip(envs, waiting, strict=False)]
        with progress_bar(episodes, "evaluating", "episode", enabled=progress) as bar:
            while playing:
                actions = _actions(agent, [seat.observation for seat in playing], deterministic)
                for seat, action in zip(list(playing), actions, strict=True):
                    reward, done = seat.step(action)
                    returns[seat.episode] += reward
                    lengths[seat.episode] += 1
                    if done:
                        bar.update()
                        if (episode := next(waiting, None)) is None:
                            playing.remove(seat)
                        else:
                            seat.begin(episode)
    finally:
        for env in envs:
            env.close()
    return Evaluation(returns, lengths)


class _Seat:
    """One environment and the episode it is playing."""

    def __init__(self, env: Env, episode: int, seed: int) -> None:
        self.env = env
        self.seed = seed
        self._intake = Intake(env.observation_space, self._where)
        self.begin(episode)

    def begin(self, episode: int) -> None:
        self.episode = episode
        self._steps = -1  # until the reset has answered
        answer = self.env.reset(seed=evaluation_reset_seed(self.seed, episode))
        self.observation: NDArray[Any] = np.array(self._intake.of_reset(answer, 0))
        self._steps = 0

    def step(self, action: Any) -> tuple[float, bool]:
        answer = self._intake.of_step(self.env.step(action), 0)
        observation, reward, terminated, truncated, _ = answer
        self._intake.check_finite(observation, 0)
        self.observation = np.array(observation)
        self._steps += 1
        return float(reward), bool(terminated or truncated)

    def _where(self, _: int | None) -> str:
        reset = f"reset(seed={evaluation_reset_seed(self.seed, self.episode)})"
        place = reset if self._steps < 0 else f"step {self._steps + 1} after {reset}"
        return f"evaluation episode {self.episode} ({name_of(self.env)}), {place}"


def _actions(agent: Policy, observations: list[NDArray[Any]], deterministic: bool) -> list[Any]:
    if deterministic:
        return as_taken(np.asarray(agent.predict(np.stack(observations), deterministic=True)))
    return [agent.predict(observation, deterministic=False) for observation in observations]
