"""A pole on a cart, as bsuite moves it; shared by swing-up and balancing."""

from __future__ import annotations

import math
from typing import Any, TypeVar

import numpy as np
from gymnasium import Space
from gymnasium.spaces import Box, Discrete

from hunch.envs.batched import Floats
from hunch.envs.single import DrawnEnv

# In SI units; the length is half the pole's.
MASS_CART, MASS_POLE, LENGTH, FORCE, GRAVITY = 1.0, 0.1, 0.5, 10.0, 9.8

Number = TypeVar("Number", float, Floats)


def accelerations(
    force: Number, theta_dot: Number, sin: Number, cos: Number
) -> tuple[Number, Number]:
    """Of the cart and of the pole's angle.

    Written in bsuite's order, so that it rounds alike.

    Args:
        force: on the cart, N.
        theta_dot: the pole's angular speed, radians per second.
        sin: of its angle from upright.
        cos: of its angle from upright.

    Example:
        >>> accelerations(0.0, 0.0, 0.0, 1.0)
        (0.0, 0.0)

    Source: Barto, Sutton and Anderson (1983) as corrected by Florian (2007).
    """
    total = MASS_CART + MASS_POLE
    push = (force + MASS_POLE * LENGTH * (theta_dot * theta_dot) * sin) / total
    theta_acc = (GRAVITY * sin - cos * push) / (LENGTH * (4 / 3 - MASS_POLE * (cos * cos) / total))
    return push - MASS_POLE * LENGTH * theta_acc * cos / total, theta_acc


def spaces(timescale: float, max_time: float, *, flags: int = 0) -> tuple[Space[Any], Discrete]:
    """The spaces of observations, with so many flags of ±1 at their end, and of pushes.

    Example:
        >>> spaces(0.01, 10.0)[0].shape
        (6,)
    """
    late = 1 + 2 * timescale / max_time
    high = np.array([np.inf, np.inf, 1, 1, np.inf, late, *[1] * flags], dtype=np.float32)
    low = -high
    low[5] = 0.0
    return Box(low, high, dtype=np.float32), Discrete(3)


class CartPole(DrawnEnv):
    """One cart with its pole: where they are, how they are pushed."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 50}  # noqa: RUF012 Gymnasium's own type

    _sin: float
    _cos: float

    def _put(self, x: float, x_dot: float, theta: float, theta_dot: float) -> None:
        self._x, self._x_dot, self._theta, self._theta_dot = x, x_dot, theta, theta_dot
        self._time = 0.0
        self._turn()

    def _push(self, push: int, dt: float) -> None:
        """Push to the left (−1), not at all (0) or to the right (1) for `dt` seconds."""
        x_acc, theta_acc = accelerations(push * FORCE, self._theta_dot, self._sin, self._cos)
        self._x += dt * self._x_dot
        self._x_dot += dt * x_acc
        self._theta = (self._theta + dt * self._theta_dot) % (2 * math.pi)
        self._theta_dot += dt * theta_acc
        self._time += dt
        self._sin, self._cos = float(np.sin(self._theta)), float(np.cos(self._theta))

    def _turn(self) -> None:
        # numpy's functions, not those of `math`: bsuite and a batch must get the same last bit.
        self._sin, self._cos = float(np.sin(self._theta)), float(np.cos(self._theta))
