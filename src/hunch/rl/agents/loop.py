"""The loop between an agent and its environments, which alone counts time.

An agent acts and observes; the loop steps the environments, starts each episode from a seed of its
own, remembers how the episodes went, shows progress and stops where it may be resumed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hunch.errors import ConfigurationError, DataError
from hunch.interrupts import between_steps
from hunch.progress import Bar, progress_bar
from hunch.rl.agents.history import SHOWN_EPISODES, History
from hunch.rl.environments.vector import Bools, ParallelEnvs
from hunch.rl.fast.compiled_play import Place, Played
from hunch.rl.replay.transitions import Step
from hunch.storage.parts import under
from hunch.validation import shown, whole_number


class Learner(Protocol):
    """What the loop asks of an agent."""

    def act(self, observation: NDArray[Any], is_first: Bools) -> NDArray[Any]:
        """The actions to try next, `(replicas, envs, …)`; `is_first` where an episode begins."""

    def observe(self, step: Step) -> Bools | None:
        """Take in one step and learn from it, or from others, if it is time to.

        Returns:
            Which episodes are to be given up, `(replicas, envs)`; None for none. They do not enter
            the histories.
        """


class ManyRounds(Protocol):
    """What the loop asks of an agent that may make many rounds of steps without it."""

    def play(self, envs: ParallelEnvs, place: Place, rounds: int) -> Played | None:
        """Act for at most so many rounds, all alike; None, and nothing done, if that cannot be."""

    def observe_played(self, played: Played) -> None:
        """As `observe`, of all of them."""


class Callback(Protocol):
    """Something to do every so often while an agent learns.

    One that has a method `check` is asked with the agent, before it learns, whether it can do it.
    """

    every: int  # environment steps

    def __call__(self, agent: Any) -> bool | None:
        """Do it; return True to end the training."""


def check_callbacks(callbacks: Any, agent: Any) -> None:
    """Say before an agent learns what would stop it in the midst of that.

    Args:
        callbacks: what was given.
        agent: who is to learn, for callbacks that have a `check`; None if it has nothing to learn.

    Raises:
        ConfigurationError: if it is no list of callbacks, or what a `check` says.

    Example:
        >>> from hunch.rl import StopWhenSolved
        >>> check_callbacks([StopWhenSolved(every=10)], None)
    """
    wanted = (
        "what is called with the agent and has `every`, environment steps from one call to the "
        "next (a function gets it by `f.every = 1000`)"
    )
    if not isinstance(callbacks, Sequence):
        got = shown(callbacks)
        raise ConfigurationError(f"`callbacks` got {got}; expected a list of {wanted}.")
    for callback in callbacks:
        if not callable(callback) or not hasattr(callback, "every"):
            raise ConfigurationError(f"`callbacks` got {shown(callback)}; expected {wanted}.")
        whole_number("every", callback.every, at_least=1)
        if agent is not None and (check := getattr(callback, "check", None)) is not None:
            check(agent)


class TrainingLoop:
    """The life of one agent, or of several replicas of it, in their environments.

    Args:
        envs: the environments, those of the first replica first.
        replicas: agents that live side by side; each has as many environments as the others.
        observation_shape: shape of one observation.
        observation_dtype: type in which observations are handed on.

    Example:
        >>> from hunch.rl.environments.make import make_env
        >>> from hunch.rl.environments.vector import SingleEnvs
        >>> class AlwaysLeft:
        ...     def act(self, observation, is_first):
        ...         return np.zeros(observation.shape[:2], int)
        ...     def observe(self, step):
        ...         pass
        >>> envs = SingleEnvs([make_env("CartPole-v1")], seeds=[0])
        >>> loop = TrainingLoop(envs, 1, (4,), np.float32)
        >>> loop.run(AlwaysLeft(), until=100, progress=False)
        >>> loop.steps, sum(loop.histories[0].lengths) <= 100
        (100, True)
    """

    def __init__(
        self,
        envs: ParallelEnvs,
        replicas: int,
        observation_shape: tuple[int, ...],
        observation_dtype: Any,
    ) -> None:
        self.envs = envs
        self.steps = 0  # of each replica
        self.histories = [History() for _ in range(replicas)]
        self.per_replica = envs.num_envs // replicas
        self._lead = (replicas, self.per_replica)
        self._shape = (*self._lead, *observation_shape)
        self._observation = np.zeros((envs.num_envs, *observation_shape), observation_dtype)
        self._return = np.zeros(envs.num_envs)
        self._length = np.zeros(envs.num_envs, np.int64)
        # Episodes to be begun before the next step: at first all.
        self._ended = np.ones(envs.num_envs, np.bool_)
        self._failed = False
        # Where an interrupt cut short the callbacks of the present step: which of them is to be
        # called again, and whether one before it ends the training.
        self.cut_short: tuple[int, bool] | None = None

    def run(
        self,
        learner: Learner,
        until: int,
        *,
        callbacks: Sequence[Callback] = (),
        progress: bool = True,
    ) -> None:
        """Go on until each replica has made `until` environment steps since the loop was built.

        Args:
            learner: who acts and learns.
            until: environment steps, all earlier runs included; with several environments the
                last round may go beyond.
            callbacks: called with the learner, each after every `every` steps.
            progress: whether to show a bar with the mean return of the last episodes.

        Raises:
            KeyboardInterrupt: if interrupted, after the step in progress; `run` may go on, and
                first calls the callback that was cut short, if one was.
        """
        left = max(0, until - self.steps)
        with (
            between_steps() as interrupted,
            progress_bar(left, "learning", "step", enabled=progress) as bar,
        ):
            if self.cut_short is not None and self._stopped_by(callbacks, learner):
                return
            while self.steps < until:
                before = self.steps
                if self._advance(learner, until, callbacks):
                    self._show(bar)
                bar.update(self.steps - before)
                if self._stopped_by(callbacks, learner):
                    return
                if interrupted():
                    raise KeyboardInterrupt

    def observations(self) -> NDArray[Any]:
        """What the environments showed last, `(replicas, envs, …)`."""
        return self._observation.reshape(self._shape).copy()

    def _advance(self, learner: Any, until: int, callbacks: Sequence[Callback]) -> bool:
        """Make a step in every environment, or several; say whether an episode ended."""
        if not self._failed and hasattr(learner, "play"):
            ends = [until, *(self._due(callback) for callback in callbacks)]
            rounds = -(-(min(ends) - self.steps) // self.per_replica)
            recorded = self._play(learner, rounds) if rounds > 1 else None
            if recorded is not None:
                return recorded
        return self._step(learner)

    def _due(self, callback: Callback) -> int:
        """Steps at which a callback's time comes next."""
        return self.steps + callback.every - self.steps % callback.every

    def _play(self, learner: ManyRounds, rounds: int) -> bool | None:
        """Make many steps, to where one by one would lead; None if that has to be done."""
        self._observation = np.ascontiguousarray(self._observation)
        place = Place(self._observation, self._ended, self._return, self._length)
        self._failed = True
        played = learner.play(self.envs, place, rounds)
        if played is None:
            self._failed = False
            return None
        for end in played.ends:
            steps = self.steps + (end.round + 1) * self.per_replica
            self._record(end.env, end.total, end.length, steps, {})
        self.steps += len(played.steps.reward) * self.per_replica
        learner.observe_played(played)
        self._failed = False
        return bool(played.ends)

    def _step(self, learner: Learner) -> bool:
        """Make one step in every environment; say whether an episode ended."""
        if self._failed:
            self._ended[:] = True
        is_first = self._ended
        # Should anything below fail, the episodes are given up and the next run begins new ones.
        self._failed = True
        if np.count_nonzero(is_first):  # a tenth of the time of `any` on so few
            self.envs.begin(is_first, self._observation)
            self._return[is_first] = 0.0
            self._length[is_first] = 0
        observation = self._observation
        lead, shape = self._lead, self._shape
        actions = learner.act(observation.reshape(shape), is_first.reshape(lead))
        outcome = self.envs.step(actions.reshape(-1, *actions.shape[2:]))
        self.steps += self.per_replica
        self._return += outcome.reward
        self._length += outcome.valid
        self._ended = outcome.terminated | outcome.truncated
        recorded = bool(np.count_nonzero(self._ended))
        if recorded:
            for i in np.flatnonzero(self._ended).tolist():
                total, length = float(self._return[i]), int(self._length[i])
                self._record(i, total, length, self.steps, _numbers(outcome.infos[i]))
        given_up = learner.observe(
            Step(
                observation=observation.reshape(shape),
                action=actions,
                reward=outcome.reward.astype(np.float32).reshape(lead),
                next_observation=outcome.next_observation.reshape(shape),
                terminated=outcome.terminated.reshape(lead),
                truncated=outcome.truncated.reshape(lead),
                valid=outcome.valid.reshape(lead),
                is_first=is_first.reshape(lead),
            )
        )
        self._observation = outcome.next_observation
        self._failed = False
        if given_up is not None:
            self._ended |= given_up.reshape(-1)
        return recorded

    def _stopped_by(self, callbacks: Sequence[Callback], agent: Any) -> bool:
        """Call those whose time has come; say whether one of them ends the training."""
        first, stops = self.cut_short or (0, False)
        self.cut_short = None
        for i, callback in enumerate(callbacks):
            if i >= first and self.steps % callback.every < self.per_replica:
                try:
                    stops |= bool(callback(agent))  # all of them, also after one that stops
                except KeyboardInterrupt:
                    self.cut_short = (i, stops)
                    raise
        return stops

    def _record(
        self, i: int, total: float, length: int, steps: int, infos: dict[str, float]
    ) -> None:
        history = self.histories[i // self.per_replica]
        history.returns.append(total)
        history.lengths.append(length)
        history.ends.append(steps)
        history.infos.append(infos)

    def _show(self, bar: Bar) -> None:
        last = [history.returns[-SHOWN_EPISODES:] for history in self.histories]
        returns = [value for values in last for value in values]
        count = max(map(len, last))
        mean = sum(returns) / len(returns)
        bar.set_postfix_str(f"mean return of last {count}: {mean:.1f}", refresh=False)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Become a copy, in environments that stand where the original's stand."""
        vars(self).update(state)
        if not self._failed:
            self.envs.resume(self._observation, ~self._ended)

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """All that decides how the loop goes on."""
        state = {f"envs.{name}": value for name, value in self.envs.state_dict().items()}
        state |= {
            "steps": np.array(self.steps),
            "observation": self._observation.copy(),
            "return": self._return.copy(),
            "length": self._length.copy(),
            "ended": self._ended | self._failed,
        }
        if self.cut_short is not None:
            state["cut_short"] = np.array(self.cut_short, np.int64)
        for r, history in enumerate(self.histories):
            state |= {
                f"history.{r}.returns": np.array(history.returns, np.float64),
                f"history.{r}.lengths": np.array(history.lengths, np.int64),
                f"history.{r}.ends": np.array(history.ends, np.int64),
            }
            for name in sorted({name for info in history.infos for name in info}):
                values = [info.get(name, np.nan) for info in history.infos]
                state[f"history.{r}.info.{name}"] = np.array(values, np.float64)
        return state

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on where the loop that gave `state` stood.

        Raises:
            DataError: if an environment does not repeat its present episode.
        """
        self.steps = int(state["steps"])
        self._return = np.array(state["return"])
        self._length = np.array(state["length"])
        self._ended = np.array(state["ended"])
        self._failed, self.cut_short = False, None
        if "cut_short" in state:
            first, stops = state["cut_short"].tolist()
            self.cut_short = (first, bool(stops))
        for r in range(len(self.histories)):
            self.histories[r] = _history(state, f"history.{r}.")
        current = self.envs.load_state_dict(under("envs.", state))
        self._observation = np.array(state["observation"])
        if current is None:
            self._ended[:] = True
            return
        running = ~self._ended
        if not np.array_equal(current[running], self._observation[running], equal_nan=True):
            raise DataError(
                "the environment does not repeat an episode from its seed and actions, so this "
                "run cannot be resumed in the middle of one; expected an environment whose "
                "chance all comes from the seed given to `reset`, in the same version."
            )


def _history(state: Mapping[str, NDArray[Any]], prefix: str) -> History:
    own = under(prefix, state)
    infos = under("info.", own)
    rows = [
        {name: float(values[i]) for name, values in infos.items() if not np.isnan(values[i])}
        for i in range(len(own["returns"]))
    ]
    return History(own["returns"].tolist(), own["lengths"].tolist(), own["ends"].tolist(), rows)


def _numbers(info: Mapping[str, Any]) -> dict[str, float]:
    numbers = (bool, int, float, np.integer, np.floating, np.bool_)
    found = {key: float(value) for key, value in info.items() if isinstance(value, numbers)}
    # NaN stands for "not said" in a saved history.
    return {key: value for key, value in found.items() if not math.isnan(value)}
