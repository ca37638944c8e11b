"""The loop between an agent and its environment, which alone counts time.

An agent acts and observes; the loop steps the environment, starts each episode from a seed of its
own, remembers how the episodes went, shows progress and stops where it may be taken up again.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hunch.progress import Bar, progress_bar
from hunch.rl.environments import Env, training_reset_seed

SHOWN_EPISODES = 20  # the progress bar shows the mean return of this many


class Learner(Protocol):
    """What the loop asks of an agent."""

    def act(self, observation: NDArray[Any]) -> int:
        """The action to try next; the agent may explore."""

    def observe(
        self,
        observation: NDArray[Any],
        action: int,
        reward: float,
        next_observation: NDArray[Any],
        terminated: bool,
        truncated: bool,
    ) -> None:
        """Take in one transition and learn from it, or from others, if it is time to."""


@dataclass
class History:
    """How the training episodes went, one entry for each one finished.

    Args:
        returns: sum of rewards.
        lengths: environment steps in the episode.
        ends: environment steps since the first episode began, when this one ended.
    """

    returns: list[float] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)


class TrainingLoop:
    """One agent's life in one environment.

    Args:
        env: the environment.
        seed: seed of all episodes, at least 0; episode n starts from a fixed function of both.

    Example:
        >>> from hunch.rl.environments import make_env
        >>> class AlwaysLeft:
        ...     def act(self, observation):
        ...         return 0
        ...     def observe(self, *transition):
        ...         pass
        >>> loop = TrainingLoop(make_env("CartPole-v1"), seed=0)
        >>> loop.run(AlwaysLeft(), until=100, progress=False)
        >>> loop.steps, sum(loop.history.lengths) <= 100
        (100, True)
    """

    def __init__(self, env: Env, seed: int) -> None:
        self.env = env
        self.seed = seed
        self.steps = 0
        self.episodes_begun = 0
        self.history = History()
        self._observation: NDArray[Any] | None = None
        self._return = 0.0
        self._length = 0

    def run(self, learner: Learner, until: int, *, progress: bool = True) -> None:
        """Go on until the loop has made `until` environment steps since it was built.

        Args:
            learner: who acts and learns.
            until: environment steps, all earlier runs included.
            progress: whether to show a bar with the mean return of the last episodes.

        Raises:
            KeyboardInterrupt: if interrupted, after the step in progress; `run` may go on.
        """
        left = max(0, until - self.steps)
        with (
            _interrupt_between_steps() as interrupted,
            progress_bar(left, "learning", "step", enabled=progress) as bar,
        ):
            while self.steps < until:
                if self._step(learner):
                    self._show(bar)
                bar.update()
                if interrupted():
                    raise KeyboardInterrupt

    def _step(self, learner: Learner) -> bool:
        """Make one environment step; say whether it ended the episode."""
        observation = self._begin() if self._observation is None else self._observation
        # Should anything below fail, the episode is given up and the next run begins a new one.
        self._observation = None
        action = learner.act(observation)
        given, reward, terminated, truncated, _ = self.env.step(action)
        # An environment may overwrite the array that it returned.
        next_observation = np.array(given)
        reward = float(reward)
        self.steps += 1
        self._return += reward
        self._length += 1
        learner.observe(
            observation, action, reward, next_observation, bool(terminated), bool(truncated)
        )
        if terminated or truncated:
            self.history.returns.append(self._return)
            self.history.lengths.append(self._length)
            self.history.ends.append(self.steps)
            return True
        self._observation = next_observation
        return False

    def _begin(self) -> NDArray[Any]:
        given, _ = self.env.reset(seed=training_reset_seed(self.seed, self.episodes_begun))
        self.episodes_begun += 1
        self._return = 0.0
        self._length = 0
        return np.array(given)

    def _show(self, bar: Bar) -> None:
        last = self.history.returns[-SHOWN_EPISODES:]
        mean = sum(last) / len(last)
        bar.set_postfix_str(f"mean return of last {len(last)}: {mean:.1f}", refresh=False)


@contextmanager
def _interrupt_between_steps() -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C within the block into a flag; a second one interrupts at once.

    Left alone: threads other than the main one, where signals do not arrive, and programs that
    handle Ctrl-C in their own way.
    """
    pressed = False

    def press(signum: int, frame: FrameType | None) -> None:
        nonlocal pressed
        if pressed:
            signal.default_int_handler(signum, frame)
        pressed = True

    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield lambda: False
        return
    signal.signal(signal.SIGINT, press)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
