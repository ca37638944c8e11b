"""How good an agent is: episodes that it neither learns from nor was trained on."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray

from hunch.errors import HunchWarning
from hunch.interrupts import between_steps
from hunch.progress import Bar, progress_bar
from hunch.rl.environments.answers import Answers
from hunch.rl.environments.flattening import one_of, stacked
from hunch.rl.environments.make import Env, EnvLike, evaluation_reset_seed, make_env
from hunch.rl.environments.origins import check_distinct, check_given
from hunch.rl.environments.vector import as_taken, mode_of, name_of
from hunch.seeding import check_seed
from hunch.validation import whole_number

# No registered environment's episode lasts longer: Atari's half an hour, a frame at a time.
MAX_STEPS: Final = 108_000


class Playable(Protocol):
    """What an evaluation asks of an agent."""

    def predict(self, observation: Any, deterministic: bool = True) -> Any:
        """An action for one observation, or an array of actions for a batch."""

    def another_env(self) -> Env:
        """A new environment equal to the one that the agent is trained on."""


@dataclass(frozen=True)
class Evaluation:
    """Returns and lengths of evaluation episodes, in the order of their numbers.

    Args:
        returns: undiscounted sum of rewards of each episode, shape `(episodes,)`.
        lengths: environment steps of each episode, shape `(episodes,)`.
        cut: whether each episode was given up after `max_steps`, shape `(episodes,)`: it counts as
            truncated, with the rewards up to there.
    """

    returns: NDArray[np.float64]
    lengths: NDArray[np.int64]
    cut: NDArray[np.bool_]

    @property
    def mean_return(self) -> float:
        """Mean over the episodes."""
        return float(self.returns.mean())

    @property
    def std_return(self) -> float:
        """Standard deviation over the episodes, with the number of episodes as divisor."""
        return float(self.returns.std())


def evaluate(
    agent: Playable,
    episodes: int = 100,
    *,
    env: EnvLike | VectorEnv[Any, Any, Any] | None = None,
    seed: int = 0,
    deterministic: bool = True,
    num_envs: int = 25,
    max_steps: int = MAX_STEPS,
    progress: bool = False,
) -> Evaluation:
    """Play episodes with an agent that does not learn, and report how they went.

    Episode i starts from a reset seed that is a function of `seed` and i alone, and that no
    training episode ever uses. Up to `num_envs` episodes are played side by side, each in an
    environment of its own, with one call of the agent for all.

    The environments are equal to the one trained in: made anew from its id or function, or copied
    with all that was changed in it. Where that cannot be, the agent is not evaluated: give `env`.

    Args:
        agent: anything with `predict` and `another_env`, such as `hunch.rl.DQN`.
        episodes: number of episodes, at least 1.
        env: where to play, if not in environments equal to the one trained in: a Gymnasium id or a
            function that makes one, of which up to `num_envs` are opened and closed; an
            environment, in which the episodes are played one after another; or a vector
            environment, which plays as many episodes at a time as it has environments. The last
            two are reset and left open. One that keeps running means, such as
            `NormalizeObservation`, is given those of training and `update_running_mean = False`.
        seed: seed of the starts, at least 0.
        deterministic: whether the agent plays what it thinks best (for a noisy network: its mean
            weights) or explores.
        num_envs: environments played side by side, at least 1. An exploring agent is called for
            one observation at a time, so that no two of them share its randomness.
        max_steps: environment steps after which an episode is given up, at least 1. No registered
            environment lasts as long as the default, so it changes nothing but an evaluation that
            would have no end, such as that of an agent that stays put where there is no time limit.
        progress: whether to show a bar over the episodes.

    Returns:
        The returns and lengths of all episodes, and which of them were cut at `max_steps`.

    Raises:
        ConfigurationError: if `episodes`, `num_envs` or `max_steps` is below 1, or `seed` below 0;
            if no environment equal to the one trained in can be made; or if `env` has other
            spaces, is trained in, or is one for several.
        DataError: if an environment gives what is not finite or not of its spaces.
        ShapeError: if an observation has another shape than its space.
        KeyboardInterrupt: if interrupted, between two steps.

    Warns:
        HunchWarning: if an episode was cut.

    Example:
        >>> from hunch.rl import DQN, evaluate
        >>> agent = DQN("CartPole-v1", seed=0)
        >>> result = evaluate(agent, episodes=3, seed=1)
        >>> result.returns.shape, result.mean_return >= 1
        ((3,), True)
        >>> import gymnasium
        >>> longer = gymnasium.make("CartPole-v1", max_episode_steps=900)
        >>> evaluate(agent, episodes=3, seed=1, env=longer).returns.shape
        (3,)

    Note:
        `num_envs` changes no return as long as the agent's values for an observation do not
        depend on what else is in the batch. Matrix products of other sizes round differently, so
        where two actions tie to the last digit the choice may differ. A vector environment that
        takes no list of seeds gets one for all that begin together.
    """
    episodes = whole_number("episodes", episodes, at_least=1)
    width = min(whole_number("num_envs", num_envs, at_least=1), episodes)
    max_steps = whole_number("max_steps", max_steps, at_least=1)
    check_seed(seed)
    played = _Played(episodes, max_steps)
    with (
        between_steps() as interrupted,
        progress_bar(episodes, "evaluating", "episode", enabled=progress) as bar,
    ):
        if isinstance(env, VectorEnv):
            check_for(agent, env)
            for _ in _in_batches(agent, env, played, seed, deterministic, bar):
                if interrupted():
                    raise KeyboardInterrupt
        else:
            with _opened(agent, env, width) as envs:
                for _ in _in_seats(agent, envs, played, seed, deterministic, bar):
                    if interrupted():
                        raise KeyboardInterrupt
    return played.result()


def check_for(agent: Any, env: Any) -> None:
    """Refuse an environment of the user's in which an agent cannot be evaluated or recorded.

    Raises:
        ConfigurationError: naming what is in the way.
    """
    check_given(env)
    if (origin := getattr(agent, "origin", None)) is not None:
        origin.check(env)


@contextmanager
def _opened(agent: Playable, env: EnvLike | None, width: int) -> Iterator[list[Env]]:
    """Environments to play in, those closed afterwards that were opened here."""
    if isinstance(env, gymnasium.Env):
        check_for(agent, env)
        yield [env]
        return
    envs: list[Env] = []
    try:
        for _ in range(width):
            made = agent.another_env() if env is None else make_env(env)
            if env is not None:
                check_for(agent, made)  # and leave it as it is if it is not to be played in
            envs.append(made)
        check_distinct(envs)
        yield envs
    finally:
        for made in envs:
            made.close()


class _Played:
    """How the episodes went so far."""

    def __init__(self, episodes: int, max_steps: int) -> None:
        self.max_steps = max_steps
        self.returns = np.zeros(episodes)
        self.lengths = np.zeros(episodes, np.int64)
        self.cut = np.zeros(episodes, np.bool_)

    def add(self, episode: int, reward: float, done: bool) -> bool:
        """Count a step; say whether the episode is over."""
        self.returns[episode] += reward
        self.lengths[episode] += 1
        if not done and self.lengths[episode] >= self.max_steps:
            self.cut[episode] = done = True
        return done

    def result(self) -> Evaluation:
        if count := int(self.cut.sum()):
            warnings.warn(
                f"{count} of {len(self.cut)} evaluation episodes had no end after "
                f"{self.max_steps:,} steps and were cut there; an environment with a time limit, "
                "`max_episode_steps`, or another `max_steps` decides how long they may last.",
                HunchWarning,
                stacklevel=3,
            )
        return Evaluation(self.returns, self.lengths, self.cut)


def _in_seats(
    agent: Playable, envs: list[Env], played: _Played, seed: int, deterministic: bool, bar: Bar
) -> Iterator[None]:
    """Play all episodes, one environment beside the other; yield after each round of steps."""
    waiting = iter(range(len(played.returns)))
    playing = [_Seat(env, episode, seed) for env, episode in zip(envs, waiting, strict=False)]
    while playing:
        observations = [seat.observation for seat in playing]
        actions = _actions(agent, envs[0].observation_space, observations, deterministic)
        for seat, action in zip(list(playing), actions, strict=True):
            if played.add(seat.episode, *seat.step(action)):
                bar.update()
                if (episode := next(waiting, None)) is None:
                    playing.remove(seat)
                else:
                    seat.begin(episode)
        yield


def _in_batches(
    agent: Playable,
    envs: VectorEnv[Any, Any, Any],
    played: _Played,
    seed: int,
    deterministic: bool,
    bar: Bar,
) -> Iterator[None]:
    """Play all episodes, as many together as there are environments; yield after each step.

    Those that begin together all end before others begin, so that it is decided beforehand which
    episodes are counted: whichever ended first would be the short ones.
    """
    total, width = len(played.returns), int(envs.num_envs)
    space = envs.single_observation_space
    by_hand = mode_of(envs) is AutoresetMode.DISABLED
    steps = 0
    answers = Answers(
        space,
        lambda i: (
            f"an evaluation ({name_of(envs)}{'' if i is None else f', environment {i}'}), "
            f"step {steps}"
        ),
    )
    for first in range(0, total, width):
        seeds = [evaluation_reset_seed(seed, first + i) for i in range(width)]
        answer = _reset(envs, seeds)
        given = answers.of_reset_all(answer, width)
        answers.check_finite(given)
        observations = _as_shown(answers, space, answer[0], given)
        running = {i: first + i for i in range(min(width, total - first))}
        while running:
            actions = np.asarray(_actions(agent, space, observations, deterministic))
            steps += 1
            answer = envs.step(actions)
            given, rewards, terminated, truncated, _ = answers.of_step_all(answer, width)
            observations = _as_shown(answers, space, answer[0], given)
            given, done = np.array(given), terminated | truncated
            if by_hand and done.any():
                answer = envs.reset(options={"reset_mask": done})
                new = answers.of_reset_all(answer, width)
                given[done] = new[done]
                begun = _as_shown(answers, space, answer[0], new)
                observations = [begun[i] if done[i] else observations[i] for i in range(width)]
            answers.check_finite(given)
            answers.check_rewards(rewards)
            for i, episode in list(running.items()):
                if played.add(episode, float(rewards[i]), bool(done[i])):
                    bar.update()
                    del running[i]
            yield


def _reset(envs: Any, seeds: list[int]) -> Any:
    """Begin an episode in each environment, from a seed of its own if it takes such."""
    try:
        return envs.reset(seed=seeds)
    except (gymnasium.error.Error, TypeError, ValueError):
        return envs.reset(seed=seeds[0])


class _Seat:
    """One environment and the episode it is playing."""

    def __init__(self, env: Env, episode: int, seed: int) -> None:
        self.env = env
        self.seed = seed
        self._answers = Answers(env.observation_space, self._where)
        self.begin(episode)

    def begin(self, episode: int) -> None:
        self.episode = episode
        self._steps = -1  # until the reset has answered
        answer = self.env.reset(seed=evaluation_reset_seed(self.seed, episode))
        self.observation = self._as_shown(answer[0], self._answers.of_reset(answer, 0))
        self._steps = 0

    def step(self, action: Any) -> tuple[float, bool]:
        answer = self.env.step(action)
        observation, reward, terminated, truncated, _ = self._answers.of_step(answer, 0)
        self._answers.check_finite(observation, 0)
        self.observation = self._as_shown(answer[0], observation)
        self._steps += 1
        return float(reward), bool(terminated or truncated)

    def _as_shown(self, given: Any, checked: NDArray[Any]) -> Any:
        """What the agent is asked about: a copy, for an environment may write into what it gave."""
        return np.array(checked) if self._answers.flat is None else copy.deepcopy(given)

    def _where(self, _: int | None) -> str:
        reset = f"reset(seed={evaluation_reset_seed(self.seed, self.episode)})"
        place = reset if self._steps < 0 else f"step {self._steps + 1} after {reset}"
        return f"evaluation episode {self.episode} ({name_of(self.env)}), {place}"


def _as_shown(
    answers: Answers, space: gymnasium.Space[Any], given: Any, checked: NDArray[Any]
) -> list[Any]:
    """What an agent is asked about in each environment, in copies."""
    if answers.flat is None:
        return list(np.array(checked))
    return [one_of(space, given, i) for i in range(len(checked))]


def _actions(
    agent: Playable, space: gymnasium.Space[Any], observations: list[Any], deterministic: bool
) -> list[Any]:
    if deterministic:
        batch = stacked(space, observations)
        return as_taken(np.asarray(agent.predict(batch, deterministic=True)))
    return [agent.predict(observation, deterministic=False) for observation in observations]
