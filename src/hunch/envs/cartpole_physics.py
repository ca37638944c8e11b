"""A pole on a cart, as bsuite moves it; shared by swing-up and balancing."""

from __future__ import annotations

from typing import TypeVar

from hunch.envs.batched import Floats

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
