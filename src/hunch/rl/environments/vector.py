"""Several environments stepped side by side, each episode from a seed of its own.

`SingleEnvs` steps a list of environments and can be resumed in the middle of an episode.
`VectorEnvs` steps a Gymnasium vector environment of the user's, whatever its way of resetting.
Both return the true last observation of an episode, never the first one of the next; and both stand
between agents, which know boxes of numbers and numbered actions, and what the environments show and
take (`flattening`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray

from hunch.errors import ConfigurationError, DataError
from hunch.rl.environments.answers import Answers
from hunch.rl.environments.copies import check_made_anew, copy_into, is_made_anew
from hunch.rl.environments.flattening import arrays_in, flat_actions
from hunch.rl.environments.make import Env, training_reset_seed
from hunch.rl.environments.vector_infos import Infos, final_info_of, final_observation_of, info_of

Bools = NDArray[np.bool_]


class Outcome(NamedTuple):
    """What a step of all environments led to; every array has the environments on axis 0.

    All of it is finite, and of the shapes and types that the spaces promise. `valid` is False
    where there was no step: a Gymnasium vector environment in mode "NextStep" answers the action
    after an end with the first observation of the next episode.
    """

    next_observation: NDArray[Any]
    reward: NDArray[np.float64]
    terminated: Bools
    truncated: Bools
    valid: Bools
    infos: Sequence[Mapping[str, Any]]


class ParallelEnvs(Protocol):
    """What the training loop asks of its environments."""

    @property
    def num_envs(self) -> int:
        """Number of environments."""

    def begin(self, ended: Bools, observation: NDArray[Any]) -> None:
        """Begin an episode where `ended`, writing its first observation into `observation`."""

    def step(self, actions: NDArray[Any]) -> Outcome:
        """Take one action in every environment."""

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """What is needed to resume the episodes where they are."""

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> NDArray[Any] | None:
        """Resume them; return the current observations, None if all episodes begin anew."""

    def copy_into(self, memo: dict[int, Any]) -> None:
        """Copy the environments before all else of a larger copy, to say which one cannot be."""

    def check_pickles(self) -> None:
        """Refuse what a pickle would change."""

    def resume(self, observation: NDArray[Any], running: Bools) -> None:
        """Bring a copy's environments to where the original's are.

        Args:
            observation: the current ones.
            running: which environments are within an episode.
        """

    def close(self) -> None:
        """Close all environments."""


class SingleEnvs:
    """Single environments in a list; environment i plays episodes of its own numbers.

    Args:
        envs: the environments, all alike.
        seeds: seed of each environment's episodes.
        offsets: number of each environment's first episode under its seed.
        stride: distance from an environment's episode number to its next.

    Raises:
        DataError: by `begin` and `step`, if an environment's answer is not as `Answers` has it.
        ShapeError: by the same, if an observation has another shape than its space.

    Example:
        >>> from hunch.rl.environments.make import make_env
        >>> envs = SingleEnvs([make_env("CartPole-v1")], seeds=[0])
        >>> observation = np.zeros((1, 4), np.float32)
        >>> envs.begin(np.array([True]), observation)
        >>> envs.step(np.array([1])).reward
        array([1.])
    """

    def __init__(
        self,
        envs: Sequence[Env],
        seeds: Sequence[int],
        offsets: Sequence[int] | None = None,
        stride: int = 1,
    ) -> None:
        self.envs = list(envs)
        self.num_envs = len(self.envs)
        self._seeds = list(seeds)
        self._next_episode = np.array(offsets or [0] * self.num_envs)
        self._stride = stride
        self._actions: list[list[Any]] = [[] for _ in self.envs]
        self._answers = Answers(self.envs[0].observation_space, self._where)
        self._shape = (self.num_envs, *self._answers.shape)
        self._valid = np.ones(self.num_envs, np.bool_)
        acts = self.envs[0].action_space
        self._taken = acts.dtype if isinstance(acts, gymnasium.spaces.Box) else np.int64
        self._combined = flat_actions(acts)
        self._reset_seeds = [0] * self.num_envs
        self._resetting = True

    def begin(self, ended: Bools, observation: NDArray[Any]) -> None:
        """Begin an episode where `ended`, writing its first observation into `observation`."""
        for i in np.flatnonzero(ended).tolist():
            observation[i] = self._reset(i, int(self._next_episode[i]))
            self._next_episode[i] += self._stride

    def _reset(self, i: int, episode: int) -> NDArray[Any]:
        self._reset_seeds[i] = seed = training_reset_seed(self._seeds[i], episode)
        self._actions[i] = []
        self._resetting = True
        given = self._answers.of_reset(self.envs[i].reset(seed=seed), i)
        self._resetting = False
        return given

    def _where(self, i: int | None) -> str:
        i = i or 0
        place = f"environment {i} of {self.num_envs} ({name_of(self.envs[i])}), "
        after = f"reset(seed={self._reset_seeds[i]})"
        return place + (after if self._resetting else f"step {self._steps(i)} after {after}")

    def _steps(self, i: int) -> int:
        """How many steps environment i has made in its episode, with the one looked at."""
        return len(self._actions[i]) + 1

    def step(self, actions: NDArray[Any]) -> Outcome:
        """Take one action in every environment."""
        # A new array each time: an environment may overwrite the one that it returned.
        following = np.empty(self._shape, self._answers.dtype)
        rewards = np.empty(self.num_envs, np.float64)
        terminated = np.empty(self.num_envs, np.bool_)
        truncated = np.empty(self.num_envs, np.bool_)
        infos = []
        taken = self._as_taken(actions)
        check = self._answers.of_step
        for i, env in enumerate(self.envs):
            answer = check(env.step(taken[i]), i)
            following[i], rewards[i], terminated[i], truncated[i], info = answer
            infos.append(info)
        self._answers.check_finite(following)
        # Not the arrays taken, which an environment may have written into.
        kept = actions.tolist() if actions.ndim == 1 else list(actions)
        for own, action in zip(self._actions, kept, strict=True):
            own.append(action)
        return Outcome(following, rewards, terminated, truncated, self._valid, infos)

    def _as_taken(self, actions: NDArray[Any]) -> list[Any]:
        if self._combined is not None:
            return list(self._combined.taken(actions))
        return as_taken(actions)

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """The number of each environment's next episode, and the actions of its present one."""
        lengths = [len(actions) for actions in self._actions]
        return {
            "next_episode": self._next_episode.copy(),
            "lengths": np.array(lengths, np.int64),
            "actions": np.array([a for actions in self._actions for a in actions], self._taken),
        }

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        """Play the present episodes again, action by action.

        Returns:
            The current observations.

        Raises:
            DataError: if an environment ends its episode earlier than it did before.
        """
        self._next_episode = np.array(state["next_episode"])
        observation = np.zeros(self._shape, self._answers.dtype)
        parts = np.split(state["actions"], np.cumsum(state["lengths"])[:-1])
        for i, actions in enumerate(parts):
            if self._next_episode[i] >= self._stride:  # an episode has begun
                self._replay(i, actions, observation)
        return observation

    def _replay(self, i: int, actions: NDArray[Any], observation: NDArray[Any]) -> None:
        """Play environment i's present episode again, writing where that ends."""
        given = self._reset(i, int(self._next_episode[i]) - self._stride)
        over = False
        for action in self._as_taken(actions):
            if over:
                raise no_replay()
            answer = self._answers.of_step(self.envs[i].step(action), i)
            given, over = answer[0], bool(answer[2] or answer[3])
        self._actions[i] = as_taken(actions)
        observation[i] = given

    def copy_into(self, memo: dict[int, Any]) -> None:
        """Copy the environments before all else of a larger copy, to say which one cannot be."""
        for env in self.envs:
            copy_into(memo, env)

    def check_pickles(self) -> None:
        """Refuse what a pickle would change."""
        for env in self.envs:
            check_made_anew(env)

    def resume(self, observation: NDArray[Any], running: Bools) -> None:
        """Play the present episodes again where a copy's environment may be one made anew.

        Raises:
            DataError: if an environment does not repeat its episode.
        """
        found = np.zeros(self._shape, self._answers.dtype)
        for i in np.flatnonzero(running).tolist():
            if is_made_anew(self.envs[i]):
                self._replay(i, np.array(self._actions[i], self._taken), found)
                if not np.array_equal(found[i], observation[i], equal_nan=True):
                    raise no_replay()

    def close(self) -> None:
        """Close all environments."""
        for env in self.envs:
            env.close()


def as_taken(actions: NDArray[Any]) -> list[Any]:
    """Actions as single environments take them, in training as in evaluation.

    Args:
        actions: of several environments, on axis 0.

    Returns:
        For each an int of a finite set, or an array of its own.

    Example:
        >>> as_taken(np.array([1, 0]))
        [1, 0]
    """
    return actions.tolist() if actions.ndim == 1 else list(actions.copy())


def name_of(env: Env | VectorEnv[Any, Any, Any]) -> str:
    """An environment's id, or the name of its class.

    Example:
        >>> from hunch.rl.environments.make import make_env
        >>> name_of(make_env("CartPole-v1"))
        'CartPole-v1'
    """
    return env.spec.id if env.spec is not None else type(env.unwrapped).__name__


def no_replay() -> DataError:
    """What is said of an episode that does not repeat.

    Example:
        >>> "seed" in str(no_replay())
        True
    """
    return DataError(
        "the environment does not repeat an episode from its seed and actions, so this run cannot "
        "be resumed in the middle of one; expected an environment whose chance all comes from "
        "the seed given to `reset`."
    )


class VectorEnvs:
    """A Gymnasium vector environment in any of its three ways of resetting.

    Args:
        envs: the vector environment.
        seed: it is seeded once, with this; the episodes after the first go on in its streams. What
            is loaded begins anew, with another seed that follows from this one.

    Raises:
        ConfigurationError: if it does not say how it resets, or in a way that is not known.
        DataError: by `begin` and `step`, if its answer is not as `Answers` has it, or shows that it
            resets in another way than it says.
        ShapeError: by the same, if observations have another shape than its space.

    Example:
        >>> import gymnasium
        >>> envs = VectorEnvs(gymnasium.make_vec("CartPole-v1", num_envs=3), seed=0)
        >>> observation = np.zeros((3, 4), np.float32)
        >>> envs.begin(np.ones(3, bool), observation)
        >>> envs.step(np.array([0, 1, 0])).next_observation.shape
        (3, 4)
    """

    def __init__(self, envs: VectorEnv[Any, Any, Any], seed: int) -> None:
        self.envs = envs
        self.num_envs = int(envs.num_envs)
        self._seed, self._lives, self._steps = seed, 0, 0
        self._mode = mode_of(envs)
        self._answers = Answers(envs.single_observation_space, self._where)
        self._combined = flat_actions(envs.single_action_space)
        self._restarting = np.zeros(self.num_envs, np.bool_)
        self._ended = np.zeros(self.num_envs, np.bool_)  # and not begun since
        self._first: NDArray[Any] | None = None  # observations of episodes begun by `step`
        self._started = False

    def _where(self, i: int | None) -> str:
        which = "all environments" if i is None else f"environment {i}"
        return (
            f"{which} of {self.num_envs} ({name_of(self.envs)}), after {self._steps} steps of all"
        )

    def begin(self, ended: Bools, observation: NDArray[Any]) -> None:
        """Begin an episode where `ended`, writing its first observation into `observation`."""
        if not self._started:
            self._reset(observation, seed=training_reset_seed(self._seed, self._lives))
            self._started = True
        elif self._mode is AutoresetMode.DISABLED:
            self._reset(observation, ended, options={"reset_mask": ended.copy()})
        elif (ended & ~self._ended).any():
            # Given up after a fault, which all of them are at once; these modes know no other way.
            self._reset(observation)
            self._restarting[:] = False
        elif self._mode is AutoresetMode.SAME_STEP and self._first is not None:
            observation[ended] = self._first[ended]
        # In mode "NextStep" the next step begins them; until then the last observation stands.
        self._ended &= ~ended

    def _reset(
        self, observation: NDArray[Any], which: Bools | None = None, **arguments: Any
    ) -> None:
        given = self._answers.of_reset_all(self.envs.reset(**arguments), self.num_envs)
        chosen = np.ones(self.num_envs, np.bool_) if which is None else which
        kept = observation.copy()
        kept[chosen] = given[chosen]
        self._answers.check_finite(kept)
        observation[:] = kept

    def step(self, actions: NDArray[Any]) -> Outcome:
        """Take one action in every environment."""
        count, answers = self.num_envs, self._answers
        before = self._own_arrays()
        # A copy, because the agent keeps what it did and an environment may write into what it got.
        taken = actions.copy() if self._combined is None else self._combined.taken(actions)
        given, reward, terminated, truncated, infos = answers.of_step_all(
            self.envs.step(taken), count
        )
        following = given.astype(answers.dtype)
        answers.check_finite(following)
        valid = ~self._restarting
        reward[self._restarting] = 0.0  # there was no step that could have given one
        answers.check_rewards(reward)
        ended = terminated | truncated
        at = np.flatnonzero(ended).tolist()
        each: list[Mapping[str, Any]] = [{}] * count
        if at and self._mode is AutoresetMode.SAME_STEP:
            first, following = following, following.copy()
            for i in at:
                if _share_memory(before[i], self._own_arrays()[i]):
                    raise self._overwritten(i)
                following[i] = self._final_observation(infos, i)
                each[i] = final_info_of(infos, i)
            answers.check_finite(following)
            self._first = first
        else:
            for i in at:
                self._refuse_final_observation(infos, i)
                each[i] = info_of(infos, i)
        if self._mode is AutoresetMode.NEXT_STEP:
            self._restarting = ended.copy()
        self._ended = ended
        self._steps += 1
        return Outcome(following, reward, terminated, truncated, valid, each)

    def _own_arrays(self) -> Sequence[Any]:
        """The arrays that single environments returned last, where Gymnasium hands them on."""
        arrays = getattr(self.envs.unwrapped, "_env_obs", None)
        return list(arrays) if isinstance(arrays, list | tuple) else [()] * self.num_envs

    def _overwritten(self, i: int) -> DataError:
        return DataError(
            "`env` resets in the same step and hands on the arrays of its environments, but one of "
            "them returned the same array before and after a reset, so that the last observation "
            f"of its episode is lost in {self._where(i)}; expected another autoreset mode, or an "
            "environment that returns copies."
        )

    def _final_observation(self, infos: Infos, i: int) -> NDArray[Any]:
        final = final_observation_of(infos, i)
        if final is None:
            raise DataError(
                f"`env` says that it resets in the same step, but its infos have no `final_obs` at "
                f"the end of an episode in {self._where(i)}; expected the episode's last "
                "observation there."
            )
        return self._answers.observation(final, i)

    def _refuse_final_observation(self, infos: Infos, i: int) -> None:
        if final_observation_of(infos, i) is not None:
            raise DataError(
                f"`env` says that it resets in mode {self._mode.value!r}, but its infos have a "
                f"`final_obs` at the end of an episode in {self._where(i)}, as only those that "
                "reset in the same step give it; expected "
                'env.metadata["autoreset_mode"] = AutoresetMode.SAME_STEP.'
            )

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """How often it was loaded: a foreign environment cannot be put back into an episode."""
        return {"lives": np.array(self._lives)}

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """All episodes begin anew, and not from the first ones' starts."""
        self._lives = int(state["lives"]) + 1
        self._started = False
        self._restarting[:] = False

    def copy_into(self, memo: dict[int, Any]) -> None:
        """Copy the vector environment before all else of a larger copy, to say if it cannot be."""
        copy_into(memo, self.envs)

    def check_pickles(self) -> None:
        """Refuse what a pickle would change."""
        check_made_anew(self.envs)

    def resume(self, observation: NDArray[Any], running: Bools) -> None:
        """Nothing is to be done: a copy stands where the original stands, or is refused.

        Raises:
            ConfigurationError: if a copy's environments are new ones, which stand nowhere.
        """
        if self._started and is_made_anew(self.envs):
            raise ConfigurationError(
                f"`env` {self.envs} makes its environments anew in a copy, and they cannot be "
                "brought to where the original's are; copy the agent before it learns, or give "
                "it an id and `num_envs`."
            )

    def close(self) -> None:
        """Close the vector environment."""
        self.envs.close()


def _share_memory(one: Any, other: Any) -> bool:
    others = list(arrays_in(other))
    return any(np.may_share_memory(a, b) for a in arrays_in(one) for b in others)


_MODES: Final = (
    "AutoresetMode.NEXT_STEP (the step after an end is the reset), SAME_STEP (the step that ends "
    "an episode returns the next one's first observation, and the last one in "
    '`infos["final_obs"]`) or DISABLED (it is reset by options={"reset_mask": …})'
)


def mode_of(envs: VectorEnv[Any, Any, Any]) -> AutoresetMode:
    """How a vector environment begins new episodes.

    Raises:
        ConfigurationError: if it does not say, or says what is none of Gymnasium's ways.

    Example:
        >>> mode_of(gymnasium.make_vec("CartPole-v1", num_envs=2))
        <AutoresetMode.NEXT_STEP: 'NextStep'>
    """
    metadata = envs.metadata or {}
    if "autoreset_mode" not in metadata:
        raise ConfigurationError(
            f"`env` {name_of(envs)} does not say how it begins a new episode after an end; "
            'expected env.metadata = {**env.metadata, "autoreset_mode": mode} with one of '
            f"gymnasium.vector's {_MODES}."
        )
    mode = metadata["autoreset_mode"]
    try:
        return AutoresetMode(mode)
    except ValueError as error:
        listed = ", ".join(repr(known.value) for known in AutoresetMode)
        raise ConfigurationError(
            f"`env` has autoreset_mode={mode!r}; expected one of Gymnasium's AutoresetMode, "
            f"{listed}."
        ) from error
