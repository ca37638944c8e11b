"""Several environments stepped side by side, each episode from a seed of its own.

`SingleEnvs` steps a list of environments and can be taken up again in the middle of an episode.
`VectorEnvs` steps a Gymnasium vector environment of the user's, whatever its way of resetting.
Both return the true last observation of an episode, never the first one of the next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray

from hunch.errors import ConfigurationError, DataError
from hunch.rl.env_copies import copied_env, is_made_anew
from hunch.rl.environments import Env, stored_dtype, training_reset_seed

Bools = NDArray[np.bool_]


class Outcome(NamedTuple):
    """What a step of all environments led to; every array has the environments on axis 0.

    `happened` is False where there was no step: a Gymnasium vector environment in mode "NextStep"
    answers the action after an end with the first observation of the next episode.
    """

    next_observation: NDArray[Any]
    reward: NDArray[np.float32]
    terminated: Bools
    truncated: Bools
    happened: Bools
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
        """What is needed to take up the episodes where they are."""

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> NDArray[Any] | None:
        """Take them up; return the current observations, None if all episodes begin anew."""

    def copy_into(self, memo: dict[int, Any]) -> None:
        """Copy the environments before all else of a larger copy, to say which one cannot be."""

    def take_up(self, observation: NDArray[Any], running: Bools) -> None:
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

    Example:
        >>> from hunch.rl.environments import make_env
        >>> envs = SingleEnvs([make_env("CartPole-v1")], seeds=[0])
        >>> observation = np.zeros((1, 4), np.float32)
        >>> envs.begin(np.array([True]), observation)
        >>> envs.step(np.array([1])).reward
        array([1.], dtype=float32)
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
        space = self.envs[0].observation_space
        self._shape = (self.num_envs, *(space.shape or ()))
        self._dtype = stored_dtype(space) if isinstance(space, gymnasium.spaces.Box) else np.float32
        self._happened = np.ones(self.num_envs, np.bool_)
        acts = self.envs[0].action_space
        self._taken = acts.dtype if isinstance(acts, gymnasium.spaces.Box) else np.int64

    def begin(self, ended: Bools, observation: NDArray[Any]) -> None:
        """Begin an episode where `ended`, writing its first observation into `observation`."""
        for i in np.flatnonzero(ended).tolist():
            observation[i] = self._reset(i, int(self._next_episode[i]))
            self._next_episode[i] += self._stride

    def _reset(self, i: int, episode: int) -> Any:
        given, _ = self.envs[i].reset(seed=training_reset_seed(self._seeds[i], episode))
        self._actions[i] = []
        return given

    def step(self, actions: NDArray[Any]) -> Outcome:
        """Take one action in every environment."""
        # A new array each time: an environment may overwrite the one that it returned.
        following = np.empty(self._shape, self._dtype)
        rewards = np.empty(self.num_envs, np.float32)
        terminated = np.empty(self.num_envs, np.bool_)
        truncated = np.empty(self.num_envs, np.bool_)
        infos = []
        for i, (env, action) in enumerate(zip(self.envs, _each(actions), strict=True)):
            following[i], rewards[i], terminated[i], truncated[i], info = env.step(action)
            infos.append(info)
            self._actions[i].append(action)
        return Outcome(following, rewards, terminated, truncated, self._happened, infos)

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
        observation = np.zeros(self._shape, self._dtype)
        parts = np.split(state["actions"], np.cumsum(state["lengths"])[:-1])
        for i, actions in enumerate(parts):
            if self._next_episode[i] >= self._stride:  # an episode has begun
                self._replay(i, _each(actions), observation)
        return observation

    def _replay(self, i: int, actions: list[Any], observation: NDArray[Any]) -> None:
        """Play environment i's present episode again, writing where that ends."""
        given = self._reset(i, int(self._next_episode[i]) - self._stride)
        over = False
        for action in actions:
            if over:
                raise _no_replay()
            given, _, terminated, truncated, _ = self.envs[i].step(action)
            over = bool(terminated or truncated)
        self._actions[i] = actions
        observation[i] = given

    def copy_into(self, memo: dict[int, Any]) -> None:
        """Copy the environments before all else of a larger copy, to say which one cannot be."""
        for env in self.envs:
            copied_env(env, memo)

    def take_up(self, observation: NDArray[Any], running: Bools) -> None:
        """Play the present episodes again where a copy's environment is one made anew.

        Raises:
            DataError: if an environment does not repeat its episode.
        """
        found = np.zeros(self._shape, self._dtype)
        for i in np.flatnonzero(running).tolist():
            if is_made_anew(self.envs[i]):
                self._replay(i, self._actions[i], found)
                if not np.array_equal(found[i], observation[i], equal_nan=True):
                    raise _no_replay()

    def close(self) -> None:
        """Close all environments."""
        for env in self.envs:
            env.close()


def _each(actions: NDArray[Any]) -> list[Any]:
    """Actions as environments take them: an int of a finite set, or an array of its own."""
    return actions.tolist() if actions.ndim == 1 else list(actions.copy())


def _no_replay() -> DataError:
    return DataError(
        "the environment does not repeat an episode from its seed and actions, so this run cannot "
        "be taken up in the middle of one; expected an environment whose chance all comes from "
        "the seed given to `reset`."
    )


class VectorEnvs:
    """A Gymnasium vector environment in any of its three ways of resetting.

    Args:
        envs: the vector environment.
        seed: it is seeded once, with this; the episodes after the first go on in its streams. What
            is loaded begins anew, with another seed that follows from this one.

    Raises:
        ConfigurationError: if its way of resetting is not known.

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
        self._seed, self._lives = seed, 0
        mode = envs.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP)
        try:
            self._mode = AutoresetMode(mode)
        except ValueError as error:
            raise ConfigurationError(
                f"`env` has autoreset_mode={mode!r}; expected one of Gymnasium's AutoresetMode."
            ) from error
        space = envs.single_observation_space
        self._dtype = stored_dtype(space) if isinstance(space, gymnasium.spaces.Box) else np.float32
        self._restarting = np.zeros(self.num_envs, np.bool_)
        self._ended = np.zeros(self.num_envs, np.bool_)  # and not begun since
        self._first: NDArray[Any] | None = None  # observations of episodes begun by `step`
        self._started = False

    def begin(self, ended: Bools, observation: NDArray[Any]) -> None:
        """Begin an episode where `ended`, writing its first observation into `observation`."""
        if not self._started:
            given, _ = self.envs.reset(seed=training_reset_seed(self._seed, self._lives))
            observation[:] = given
            self._started = True
        elif self._mode is AutoresetMode.DISABLED:
            given, _ = self.envs.reset(options={"reset_mask": ended})
            observation[ended] = np.asarray(given)[ended]
        elif (ended & ~self._ended).any():
            # Given up after a fault, which all of them are at once; these modes know no other way.
            given, _ = self.envs.reset()
            observation[:] = given
            self._restarting[:] = False
        elif self._mode is AutoresetMode.SAME_STEP and self._first is not None:
            observation[ended] = self._first[ended]
        # In mode "NextStep" the next step begins them; until then the last observation stands.
        self._ended &= ~ended

    def step(self, actions: NDArray[Any]) -> Outcome:
        """Take one action in every environment."""
        given, reward, terminated, truncated, infos = self.envs.step(actions)
        following = np.array(given, self._dtype)
        terminated, truncated = np.array(terminated, np.bool_), np.array(truncated, np.bool_)
        self._ended = ended = terminated | truncated
        happened = ~self._restarting
        if self._mode is AutoresetMode.NEXT_STEP:
            self._restarting = ended.copy()
        elif self._mode is AutoresetMode.SAME_STEP and ended.any():
            self._first = following.copy()
            for i in np.flatnonzero(ended).tolist():
                following[i] = infos["final_obs"][i]
            infos = infos.get("final_info", infos)
        each = [_info_of(infos, i) if ended[i] else {} for i in range(self.num_envs)]
        reward = np.array(reward, np.float32)
        return Outcome(following, reward, terminated, truncated, happened, each)

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
        copied_env(self.envs, memo)

    def take_up(self, observation: NDArray[Any], running: Bools) -> None:
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


def _info_of(infos: Mapping[str, Any], i: int) -> dict[str, Any]:
    return {
        key: values[i]
        for key, values in infos.items()
        if isinstance(values, np.ndarray) and not key.startswith("_") and len(values) > i
    }
