"""The cart-pole of bsuite: ten seconds of balancing, in a thousand small steps."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hunch.envs.cartpole import CartPole, spaces
from hunch.envs.checks import check_action, not_running
from hunch.envs.images import cartpole_image
from hunch.validation import real_number


class BsuiteCartPole(CartPole):
    """Cart-pole as bsuite defines it: keep the pole up and the cart near the middle.

    Actions 0, 1, 2 push the cart left, not at all, right, with 10 N for `timescale` seconds. A step
    earns 1 if afterwards cos θ > `height_threshold` and |x| < `x_threshold`; otherwise it earns
    nothing and ends the episode.

    The observation is float32 (6,): x and dx/dt divided by `x_threshold`, sin θ, cos θ, dθ/dt and
    the share of `max_time` that has passed. Speeds are not bounded.

    Args:
        height_threshold: the cosine of the angle, 1 is upright, that must be exceeded.
        x_threshold: meters from the middle.
        timescale: seconds in a step.
        max_time: seconds in an episode.
        init_range: x, dx/dt, θ and dθ/dt start uniform between ± this.
        render_mode: `"rgb_array"` for images, or None.

    Raises:
        ConfigurationError: if an argument has a value that cannot work.

    Example:
        >>> import gymnasium, hunch.envs
        >>> env = gymnasium.make("hunch/BsuiteCartPole-v0")
        >>> observation, info = env.reset(seed=0)
        >>> env.step(1)[1]
        1.0

    Note:
        Gymnasium's CartPole-v1 has two actions, steps of 0.02 s, narrower limits, no time in its
        observation and at most 500 steps. Here a fall and the end of time are both *terminated*:
        bsuite gives both the discount 0, and the end of time can be foreseen. Time is summed in
        float64 as bsuite does, whose rounding makes a full episode of the default settings 1,001
        steps long. bsuite's observation has the shape (1, 6).

    Source: Osband et al., "Behaviour Suite for Reinforcement Learning" (2020), cartpole; the
    dynamics are those of Barto, Sutton and Anderson (1983) as corrected by Florian (2007).
    """

    def __init__(
        self,
        height_threshold: float = 0.8,
        x_threshold: float = 3.0,
        timescale: float = 0.01,
        max_time: float = 10.0,
        init_range: float = 0.05,
        render_mode: str | None = None,
    ) -> None:
        super().__init__(render_mode)
        self.height_threshold = real_number("height_threshold", height_threshold)
        self.x_threshold = real_number("x_threshold", x_threshold, above=0.0)
        self.timescale = real_number("timescale", timescale, above=0.0)
        self.max_time = real_number("max_time", max_time, above=0.0)
        self.init_range = real_number("init_range", init_range, at_least=0.0)
        self.observation_space, self.action_space = spaces(self.timescale, self.max_time)

    def _begin(self) -> None:
        self._put(*self.np_random.uniform(-self.init_range, self.init_range, 4).tolist())

    def step(self, action: int) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Push left (0), not at all (1) or right (2)."""
        push = check_action(action, 3) - 1
        if not self._running:
            raise not_running(self._started)
        self._push(push, self.timescale)
        stands = self._cos > self.height_threshold and abs(self._x) < self.x_threshold
        self._running = stands and self._time <= self.max_time
        return self._observation(), float(stands), not self._running, False, {}

    def _image(self) -> NDArray[np.uint8]:
        return cartpole_image(self._x / self.x_threshold, self._theta)

    def _observation(self) -> NDArray[np.float32]:
        values = (
            self._x / self.x_threshold,
            self._x_dot / self.x_threshold,
            self._sin,
            self._cos,
            self._theta_dot,
            self._time / self.max_time,
        )
        return np.array(values, dtype=np.float32)
