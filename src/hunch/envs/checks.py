"""What environments check of what they are given."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hunch.errors import ConfigurationError


def check_choice(name: str, value: Any, choices: tuple[Any, ...]) -> Any:
    """Return `value` if it is one of `choices`.

    Raises:
        ConfigurationError: if it is not.

    Example:
        >>> check_choice("features", "one-hot", ("thermometer", "one-hot"))
        'one-hot'
    """
    if not any(value is choice or value == choice for choice in choices):
        listed = " or ".join(repr(choice) for choice in choices)
        raise ConfigurationError(f"`{name}` got {value!r}; expected {listed}.")
    return value


def check_action(action: Any, num_actions: int) -> int:
    """Return `action` as an int from 0 to `num_actions` - 1.

    Raises:
        ConfigurationError: if it is no such integer.

    Example:
        >>> check_action(1, 2)
        1
    """
    try:
        index = operator.index(action)
    except TypeError:
        index = -1
    if not 0 <= index < num_actions:
        raise ConfigurationError(
            f"`action` got {action!r}; expected an integer from 0 to {num_actions - 1}."
        )
    return index


def check_actions(actions: Any, num_envs: int, num_actions: int) -> NDArray[np.integer[Any]]:
    """Return `actions` as an integer array of shape (num_envs,), each below `num_actions`.

    Raises:
        ConfigurationError: if shape, type or range differ.

    Example:
        >>> check_actions([0, 1], 2, 2)
        array([0, 1])
    """
    batch = np.asarray(actions)
    if batch.shape != (num_envs,) or batch.dtype.kind not in "iu":
        raise ConfigurationError(
            f"`actions` got shape {batch.shape} of {batch.dtype}; expected {num_envs} integers, "
            "one for each environment."
        )
    if batch.min() < 0 or batch.max() >= num_actions:
        wrong = int(np.flatnonzero((batch < 0) | (batch >= num_actions))[0])
        raise ConfigurationError(
            f"`actions` got {batch[wrong]} for environment {wrong}; expected integers from 0 to "
            f"{num_actions - 1}."
        )
    return batch


def check_options(options: dict[str, Any] | None) -> None:
    """Refuse options of `reset`: a single environment has none.

    Raises:
        ConfigurationError: if there are any.

    Example:
        >>> check_options({})
    """
    if options:
        raise ConfigurationError(
            f"`options` of reset got {sorted(options)}; this environment has none: give settings "
            "to gymnasium.make."
        )


def not_running(started: bool) -> ConfigurationError:
    """The error of a `step` or `render` that no running episode can answer.

    Example:
        >>> str(not_running(started=False))
        'No episode has begun; call reset() before step() or render().'
    """
    if started:
        return ConfigurationError("The episode is over; call reset() before the next step().")
    return ConfigurationError("No episode has begun; call reset() before step() or render().")


def check_drawable(render_mode: str | None, started: bool) -> None:
    """Refuse an image where no render mode was asked for, or before the first `reset`.

    Raises:
        ConfigurationError: in both cases.

    Example:
        >>> check_drawable("rgb_array", started=True)
    """
    if render_mode is None:
        raise ConfigurationError(
            "`render_mode` is None; make the environment with render_mode='rgb_array' to get "
            "images."
        )
    if not started:
        raise not_running(started=False)
