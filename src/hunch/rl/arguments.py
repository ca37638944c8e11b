"""Numbers checked at the door, so that a wrong one is named before anything runs."""

from __future__ import annotations

import math
import operator
from typing import SupportsFloat, SupportsIndex

from hunch.errors import ConfigurationError


def whole_number(name: str, value: SupportsIndex, *, at_least: int) -> int:
    """Return `value` as an int, or say what is wrong with it.

    Args:
        name: the argument's name, for the message.
        value: what was given.
        at_least: the smallest value allowed.

    Raises:
        ConfigurationError: if `value` is no integer or below `at_least`.

    Example:
        >>> whole_number("batch_size", 32, at_least=1)
        32
    """
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None or number < at_least:
        raise ConfigurationError(
            f"`{name}` got {value!r}; expected an integer of at least {at_least}."
        )
    return number


def real_number(
    name: str,
    value: SupportsFloat,
    *,
    at_least: float = -math.inf,
    above: float = -math.inf,
    at_most: float = math.inf,
) -> float:
    """Return `value` as a float, or say what is wrong with it.

    Args:
        name: the argument's name, for the message.
        value: what was given.
        at_least: the smallest value allowed.
        above: a value that must be exceeded.
        at_most: the largest value allowed.

    Raises:
        ConfigurationError: if `value` is no finite number or out of range.

    Example:
        >>> real_number("discount", 0.99, at_least=0.0, at_most=1.0)
        0.99
    """
    try:
        number = math.nan if isinstance(value, bool | str) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not (math.isfinite(number) and at_least <= number <= at_most and number > above):
        bounds = [
            f"{word} {bound:g}"
            for word, bound in (("at least", at_least), ("above", above), ("at most", at_most))
            if math.isfinite(bound)
        ]
        expected = " ".join(["a finite number", " and ".join(bounds)]).strip()
        raise ConfigurationError(f"`{name}` got {value!r}; expected {expected}.")
    return number


def check_sizes(
    min_replay_size: int | None, batch_size: int, replay_capacity: int, n_step: int
) -> int:
    """Return how many transitions are stored before the first update, or say what does not fit.

    Args:
        min_replay_size: what was given; None is `batch_size`.
        batch_size: transitions per gradient update.
        replay_capacity: transitions kept.
        n_step: number of rewards summed.

    Raises:
        ConfigurationError: if the agent could never learn.

    Example:
        >>> check_sizes(None, 32, 1000, 1)
        32
    """
    capacity = whole_number("replay_capacity", replay_capacity, at_least=1)
    if batch_size > capacity:
        raise ConfigurationError(
            f"`batch_size` got {batch_size}; expected at most `replay_capacity`={capacity}."
        )
    size = batch_size
    if min_replay_size is not None:
        size = whole_number("min_replay_size", min_replay_size, at_least=1)
    for name, value in (("min_replay_size", size), ("n_step", n_step)):
        if value > capacity:
            raise ConfigurationError(
                f"`{name}` got {value}; expected at most `replay_capacity`={capacity}, or the "
                "agent would never learn."
            )
    return size


def sentence(error: Exception) -> str:
    """The first line of what an error says, with a full stop.

    Example:
        >>> sentence(ValueError("no such thing")), sentence(KeyError())
        ('no such thing.', 'KeyError.')
    """
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return text if text.endswith((".", "?", "!")) else text + "."


def kind_and_sentence(error: Exception) -> str:
    """The same with the error's kind in front, as Python shows it.

    Example:
        >>> kind_and_sentence(OSError("no display")), kind_and_sentence(NotImplementedError())
        ('OSError: no display.', 'NotImplementedError.')
    """
    text, kind = sentence(error), type(error).__name__
    return text if text == f"{kind}." else f"{kind}: {text}"
