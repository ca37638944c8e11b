"""The mountain car of bsuite: an engine too weak for the hill, and a thousand steps of time."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

from hunch.envs.checks import check_action, not_running
from hunch.envs.images import mountain_image
from hunch.envs.single import DrawnEnv
from hunch.validation import whole_number

LEFT_END, RIGHT_END, GOAL, MAX_SPEED = -1.2, 0.6, 0.5, 0.07
FORCE, GRAVITY = 0.001, 0.0025


class BsuiteMountainCar(DrawnEnv):
    """Mountain car as bsuite defines it: swing back and forth to get up the right hill.

    Actions 0, 1, 2 accelerate to the left, not at all, to the right. Every step costs 1 until the
    position reaches 0.5. The car starts at rest, uniform between −0.6 and −0.4.

    The observation is float32 (3,): position, velocity, the share of `max_steps` that has passed.

    Args:
        max_steps: environment steps in an episode.
        render_mode: `"rgb_array"` for images, or None.

    Raises:
        ConfigurationError: if an argument has a value that cannot work.

    Example:
        >>> import gymnasium, hunch.envs
        >>> env = gymnasium.make("hunch/BsuiteMountainCar-v0")
        >>> observation, info = env.reset(seed=0)
        >>> bool(-0.6 <= observation[0] <= -0.4), observation[1:].tolist()
        (True, [0.0, 0.0])
        >>> env.step(2)[1]
        -1.0

    Note:
        Gymnasium's MountainCar-v0 stops after 200 steps and does not show the time. Here the end of
        time is *terminated* like the goal: bsuite gives both the discount 0, and the time is part
        of the observation, so the end can be foreseen. bsuite's observation has the shape (1, 3).

    Source: Osband et al., "Behaviour Suite for Reinforcement Learning" (2020), mountain_car; after
    Moore, "Efficient Memory-Based Learning for Robot Control" (1990).
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 50}  # noqa: RUF012 Gymnasium's own type

    def __init__(self, max_steps: int = 1000, *, render_mode: str | None = None) -> None:
        super().__init__(render_mode)
        self.max_steps = whole_number("max_steps", max_steps, at_least=1)
        low = np.array([LEFT_END, -MAX_SPEED, 0.0], dtype=np.float32)
        high = np.array([RIGHT_END, MAX_SPEED, 1.0], dtype=np.float32)
        self.observation_space, self.action_space = Box(low, high), Discrete(3)

    def _begin(self) -> None:
        self._position = float(self.np_random.uniform(-0.6, -0.4))
        self._velocity, self._time = 0.0, 0

    def step(self, action: int) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Accelerate to the left (0), not at all (1) or to the right (2)."""
        push = check_action(action, 3) - 1
        if not self._running:
            raise not_running(self._started)
        # numpy's cosine and bsuite's order of operations, so that it rounds alike.
        self._velocity += push * FORCE + float(np.cos(3 * self._position)) * -GRAVITY
        self._velocity = min(max(self._velocity, -MAX_SPEED), MAX_SPEED)
        self._position = min(max(self._position + self._velocity, LEFT_END), RIGHT_END)
        if self._position == LEFT_END:
            self._velocity = max(self._velocity, 0.0)
        self._time += 1
        self._running = self._position < GOAL and self._time < self.max_steps
        return self._observation(), -1.0, not self._running, False, {}

    def _image(self) -> NDArray[np.uint8]:
        return mountain_image(self._position)

    def _observation(self) -> NDArray[np.float32]:
        values = (self._position, self._velocity, self._time / self.max_steps)
        return np.array(values, dtype=np.float32)
