"""Catch: move a paddle under a falling ball."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

from hunch.envs.checks import check_action, not_running
from hunch.envs.images import catch_image
from hunch.envs.single import DrawnEnv
from hunch.validation import whole_number


class Catch(DrawnEnv):
    """Catch as bsuite defines it: a ball falls down a column, one row per step.

    The paddle starts in the middle of the last row; actions 0, 1, 2 move it left, not at all,
    right. When the ball arrives there, after `rows` - 1 steps, the episode earns 1 if the paddle is
    in the ball's column and −1 if not, and is *terminated* (bsuite's discount is 0). The column is
    drawn anew for each episode.

    The observation is float32 (rows, columns), 1 at ball and paddle, 0 elsewhere.

    Args:
        rows: at least 2.
        columns: at least 1.
        render_mode: `"rgb_array"` for images, or None.

    Raises:
        ConfigurationError: if an argument has a value that cannot work.

    Example:
        >>> import gymnasium, hunch.envs
        >>> env = gymnasium.make("hunch/Catch-v0")
        >>> observation, info = env.reset(seed=0)
        >>> observation.shape, int(observation.sum())
        ((10, 5), 2)

    Source: Osband et al., "Behaviour Suite for Reinforcement Learning" (2020), catch.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 8}  # noqa: RUF012 Gymnasium's own type

    def __init__(self, rows: int = 10, columns: int = 5, *, render_mode: str | None = None) -> None:
        super().__init__(render_mode)
        self.rows = whole_number("rows", rows, at_least=2)
        self.columns = whole_number("columns", columns, at_least=1)
        self.observation_space = Box(0.0, 1.0, (self.rows, self.columns), np.float32)
        self.action_space = Discrete(3)

    def _begin(self) -> None:
        self._ball = int(self.np_random.integers(self.columns))
        self._row, self._paddle = 0, self.columns // 2

    def step(self, action: int) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Move the paddle left (0), not at all (1) or right (2) while the ball falls one row."""
        move = check_action(action, 3) - 1
        if not self._running:
            raise not_running(self._started)
        self._paddle = min(max(self._paddle + move, 0), self.columns - 1)
        self._row += 1
        self._running, reward = self._row < self.rows - 1, 0.0
        if not self._running:
            reward = 1.0 if self._paddle == self._ball else -1.0
        return self._observation(), reward, not self._running, False, {}

    def _image(self) -> NDArray[np.uint8]:
        return catch_image((self.rows, self.columns), (self._row, self._ball), self._paddle)

    def _observation(self) -> NDArray[np.float32]:
        board = np.zeros((self.rows, self.columns), dtype=np.float32)
        board[self._row, self._ball] = board[-1, self._paddle] = 1.0
        return board
