"""What every single environment does beside its own rules: it refuses misuse and is drawn."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from hunch.envs.checks import check_choice, check_drawable, check_options


class SingleEnv(gymnasium.Env[NDArray[np.float32], Any]):
    """Episodes that begin by `reset`.

    A subclass moves in `step`, which refuses if not `_running` and says by it when an episode is
    over.
    """

    _running = _started = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Begin an episode.

        Args:
            seed: of this episode and of those after it; None lets the random stream run on.
            options: none are known.

        Returns:
            The first observation, and the info.

        Raises:
            ConfigurationError: if there are options.
        """
        super().reset(seed=seed)
        check_options(options)
        self._begin()
        self._running = self._started = True
        return self._observation(), self._info()

    @abstractmethod
    def _begin(self) -> None:
        """Go to the start of an episode."""

    @abstractmethod
    def _observation(self) -> NDArray[np.float32]:
        """What is seen, in a new array."""

    def _info(self) -> dict[str, Any]:
        """What is told beside the first one."""
        return {}


class DrawnEnv(SingleEnv):
    """A single environment with an image."""

    def __init__(self, render_mode: str | None) -> None:
        self.render_mode = check_choice("render_mode", render_mode, (None, "rgb_array"))

    def render(self) -> NDArray[np.uint8]:
        """The state as an image (height, width, 3).

        Raises:
            ConfigurationError: before the first `reset`, or without `render_mode="rgb_array"`.
        """
        check_drawable(self.render_mode, self._started)
        return self._image()

    @abstractmethod
    def _image(self) -> NDArray[np.uint8]:
        """The state, drawn."""
