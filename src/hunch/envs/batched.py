"""Many copies of one environment stepped together, as a Gymnasium vector environment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from gymnasium import Space
from gymnasium.spaces import Discrete
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from hunch.envs.checks import check_actions, check_choice, check_drawable, not_running
from hunch.errors import ConfigurationError
from hunch.validation import whole_number

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Infos = dict[str, Any]


class Dynamics(Protocol):
    """The states of a batch of environments and how they move; `BatchedEnv` does the rest."""

    @property
    def observation_space(self) -> Space[Any]:
        """What one environment shows."""

    @property
    def action_space(self) -> Discrete:
        """What one environment can be told."""

    def begin(self, index: int, generator: np.random.Generator) -> None:
        """Put environment `index` at the start of an episode; its chance comes from `generator`."""

    def advance(self, actions: NDArray[np.integer[Any]]) -> tuple[Floats, Bools, Bools]:
        """Move all; return rewards, terminations, truncations. What has ended may do anything."""

    def observe(self) -> NDArray[np.float32]:
        """The observations, in a new array."""

    def infos(self) -> dict[str, NDArray[Any]]:
        """What each environment tells beside its observation, in new arrays."""

    def image(self, index: int) -> NDArray[np.uint8]:
        """Environment `index` as an image (height, width, 3)."""


class BatchedEnv(VectorEnv[Any, Any, Any]):
    """Copies of one environment, computed with numpy along the batch axis.

    Given the same seeds and actions it returns what `gymnasium.vector.SyncVectorEnv` over the
    single environments returns, infos included. Each copy has a random stream of its own.

    Args:
        build: called with `num_envs`, returns the dynamics.
        num_envs: number of copies, at least 1.
        autoreset_mode: what happens to a copy whose episode has ended.
            `"NextStep"`, Gymnasium's default: the next `step` ignores its action, begins an
            episode, and returns the first observation, reward 0 and no end. No transition happened
            there: keep it out of replay.
            `"SameStep"`: the same `step` begins an episode and returns its first observation; the
            last one of the old episode is in `infos["final_obs"]`, its infos in
            `infos["final_info"]`, and masks in `infos["_final_obs"]` and `infos["_final_info"]`.
            `"Disabled"`: nothing; call `reset(options={"reset_mask": ended})` before the next step.
        render_mode: `"rgb_array"` for images, or None.

    Raises:
        ConfigurationError: if an argument has a value that cannot work.

    Example:
        >>> import gymnasium, hunch.envs
        >>> envs = gymnasium.make_vec("hunch/Chain-v0", num_envs=3, size=5)
        >>> observations, infos = envs.reset(seed=0)
        >>> observations.shape
        (3, 5)
        >>> observations, rewards, terminated, truncated, infos = envs.step([1, 0, 1])
        >>> rewards.shape
        (3,)
    """

    def __init__(
        self,
        build: Callable[[int], Dynamics],
        num_envs: int = 1,
        *,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
    ) -> None:
        self.num_envs = whole_number("num_envs", num_envs, at_least=1)
        self.render_mode = check_choice("render_mode", render_mode, (None, "rgb_array"))
        self.autoreset_mode = _mode(autoreset_mode)
        self.metadata = {"render_modes": ["rgb_array"], "autoreset_mode": self.autoreset_mode}
        self._dynamics = build(self.num_envs)
        self.single_observation_space = self._dynamics.observation_space
        self.single_action_space = self._dynamics.action_space
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._num_actions = int(self._dynamics.action_space.n)
        self._generators: list[np.random.Generator | None] = [None] * self.num_envs
        self._everyone = np.ones(self.num_envs, dtype=np.bool_)
        self._ended = np.zeros(self.num_envs, dtype=np.bool_)
        self._waiting = False  # whether any of `_ended` is set: cheaper than asking each step
        self._started = False

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[NDArray[np.float32], Infos]:
        """Begin an episode in every copy, or in those of `options["reset_mask"]`.

        Args:
            seed: an integer s seeds copy i with s + i; a list holds one seed for each copy; None
                lets the streams run on.
            options: None, or `{"reset_mask": mask}` with a boolean array of shape (num_envs,):
                the others stay where they are.

        Returns:
            Observations, and infos with a mask of who they are about under `"_" + key`.

        Raises:
            ConfigurationError: if the mask or the list of seeds does not fit.
        """
        mask = self._reset_mask(options)
        for index, value in enumerate(self._seeds(seed)):
            if mask[index] and value is not None:
                self._generators[index] = seeding.np_random(value)[0]
        self._begin(mask)
        self._started = True
        self._ended = self._ended & ~mask
        self._waiting = bool(self._ended.any())
        return self._dynamics.observe(), self._infos(mask)

    def step(self, actions: Any) -> tuple[NDArray[np.float32], Floats, Bools, Bools, Infos]:
        """Take one action in every copy.

        Args:
            actions: integers of shape (num_envs,).

        Returns:
            Observations, rewards (float64), terminations, truncations, each with the leading axis
            num_envs, and infos.

        Raises:
            ConfigurationError: if an action is out of range, or before the first `reset`.
        """
        chosen = check_actions(actions, self.num_envs, self._num_actions)
        if not self._started:
            raise not_running(started=False)
        if self._waiting and self.autoreset_mode is AutoresetMode.DISABLED:
            raise not_running(started=True)
        rewards, terminated, truncated = self._dynamics.advance(chosen)
        if self._waiting:
            # These copies ended a step ago: for them this step is the reset.
            self._begin(self._ended)
            for values in (rewards, terminated, truncated):
                values[self._ended] = 0
        ended = terminated | truncated
        self._waiting = bool(ended.any())
        final: Infos = {}
        if self._waiting and self.autoreset_mode is AutoresetMode.SAME_STEP:
            final = self._final(ended)
            self._begin(ended)
            self._waiting, ended = False, np.zeros_like(ended)
        self._ended = ended
        infos = {**final, **self._infos(self._everyone)}
        return self._dynamics.observe(), rewards, terminated, truncated, infos

    def render(self) -> tuple[NDArray[np.uint8], ...]:
        """One image (height, width, 3) for each copy.

        Raises:
            ConfigurationError: before the first `reset`, or without `render_mode="rgb_array"`.
        """
        check_drawable(self.render_mode, self._started)
        return tuple(self._dynamics.image(index) for index in range(self.num_envs))

    def _begin(self, mask: Bools) -> None:
        for index in np.flatnonzero(mask).tolist():
            generator = self._generators[index]
            if generator is None:
                generator = self._generators[index] = seeding.np_random()[0]
            self._dynamics.begin(index, generator)

    def _infos(self, mask: Bools) -> Infos:
        # Gymnasium's form: the values, and under "_key" for whom they hold.
        infos: Infos = {}
        for key, values in self._dynamics.infos().items():
            infos[key] = values if mask is self._everyone else np.where(mask, values, False)
            infos[key] = infos[key].astype(values.dtype, copy=False)
            infos[f"_{key}"] = mask.copy()
        return infos

    def _final(self, ended: Bools) -> Infos:
        observations = self._dynamics.observe()
        final = np.full(self.num_envs, None, dtype=object)
        for index in np.flatnonzero(ended):
            final[index] = observations[index]
        return {
            "final_obs": final,
            "_final_obs": ended.copy(),
            "final_info": self._infos(ended),
            "_final_info": ended.copy(),
        }

    def _seeds(self, seed: int | Sequence[int | None] | None) -> Sequence[int | None]:
        if seed is None:
            return [None] * self.num_envs
        if isinstance(seed, int | np.integer):
            return [int(seed) + index for index in range(self.num_envs)]
        if len(seed) != self.num_envs:
            raise ConfigurationError(
                f"`seed` got {len(seed)} seeds; expected {self.num_envs}, one for each environment."
            )
        return [None if value is None else int(value) for value in seed]

    def _reset_mask(self, options: dict[str, Any] | None) -> Bools:
        if not options:
            return self._everyone
        if set(options) != {"reset_mask"}:
            raise ConfigurationError(
                f"`options` of reset got {sorted(options)}; expected only 'reset_mask'."
            )
        mask = np.asarray(options["reset_mask"])
        if mask.dtype != np.bool_ or mask.shape != (self.num_envs,) or not mask.any():
            raise ConfigurationError(
                f"`reset_mask` got shape {mask.shape} of {mask.dtype}, {int(mask.sum())} set; "
                f"expected {self.num_envs} booleans, at least one of them True."
            )
        if not self._started and not mask.all():
            raise ConfigurationError(
                "`reset_mask` leaves environments out before the first reset; reset all of them "
                "once without it."
            )
        return mask.copy()


def _mode(mode: AutoresetMode | str) -> AutoresetMode:
    try:
        return AutoresetMode(mode)
    except ValueError as error:
        listed = ", ".join(repr(known.value) for known in AutoresetMode)
        raise ConfigurationError(
            f"`autoreset_mode` got {mode!r}; expected one of {listed}."
        ) from error
