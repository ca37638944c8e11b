"""CartPole for many environments at once, as a step that JAX can compile."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import random


def first_state(key: Any, count: int) -> Any:
    return random.uniform(key, (count, 4), minval=-0.05, maxval=0.05)


def moved(state: Any, action: Any) -> tuple[Any, Any]:
    """CartPole's next states, and whether the pole has fallen."""
    x, speed, angle, turning = state.T
    force = jnp.where(action == 1, 10.0, -10.0)
    cosine, sine = jnp.cos(angle), jnp.sin(angle)
    pushed = (force + 0.05 * turning**2 * sine) / 1.1
    bend = (9.8 * sine - cosine * pushed) / (0.5 * (4 / 3 - 0.1 * cosine**2 / 1.1))
    slide = pushed - 0.05 * bend * cosine / 1.1
    after = jnp.stack(
        [x + 0.02 * speed, speed + 0.02 * slide, angle + 0.02 * turning, turning + 0.02 * bend], 1
    )
    fallen = (jnp.abs(after[:, 0]) > 2.4) | (jnp.abs(after[:, 2]) > 12 * np.pi / 180)
    return after, fallen
