"""Numbers checked at the door, so that a wrong one is named before anything runs."""

from __future__ import annotations

import itertools
import math
import operator
import os
from collections.abc import Sequence
from typing import Any, Final, SupportsFloat, SupportsIndex

from hunch.errors import ConfigurationError

LARGEST: Final = 2**63 - 1  # what arrays and files can hold of a number
_MOST_UPDATES: Final = 1_000  # for each step; more would keep a round from ending
_BYTES_A_WEIGHT: Final = 16  # itself, its gradient and Adam's two means, in single precision


def whole_number(
    name: str, value: SupportsIndex, *, at_least: int, at_most: int = LARGEST, since: str = ""
) -> int:
    """Return `value` as an int, or say what is wrong with it.

    Args:
        name: the argument's name, for the message.
        value: what was given.
        at_least: the smallest value allowed.
        at_most: the largest value allowed.
        since: why there is a largest one, for the message.

    Raises:
        ConfigurationError: if `value` is no integer or out of range.

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
            f"`{name}` got {_shown(value)}; expected an integer of at least {at_least}."
        )
    if number > at_most:
        raise ConfigurationError(
            f"`{name}` got {_shown(value)}; expected an integer of at most {at_most}"
            f"{since and f', {since}'}."
        )
    return number


def _shown(value: Any) -> str:
    try:
        return repr(value)
    except ValueError:  # Python writes no number of more than some thousand digits
        return "a number of thousands of digits"


def updates_in_a_round(value: SupportsIndex, update_period: int) -> int:
    """Return `updates_per_round`, or say what is wrong with it.

    Args:
        value: what was given.
        update_period: environment steps from one round to the next.

    Raises:
        ConfigurationError: if it is no integer of at least 1, or a round would not end.

    Example:
        >>> updates_in_a_round(4, update_period=1)
        4
    """
    return whole_number(
        "updates_per_round",
        value,
        at_least=1,
        at_most=_MOST_UPDATES * update_period,
        since=f"{_MOST_UPDATES:,} for each of the {update_period} steps of `update_period`",
    )


def hidden_widths(sizes: Sequence[SupportsIndex], inputs: int) -> list[int]:
    """Return the widths of hidden layers as ints, or say what is wrong with them.

    Args:
        sizes: what was given.
        inputs: numbers that the first layer gets.

    Raises:
        ConfigurationError: if one is no integer of at least 1, or they are beyond this machine.

    Example:
        >>> hidden_widths([64, 64], inputs=4)
        [64, 64]
    """
    widths = [whole_number("hidden_sizes", size, at_least=1) for size in sizes]
    weights = sum(p * q for p, q in itertools.pairwise([inputs, *widths]))
    check_memory(
        _BYTES_A_WEIGHT * weights,
        f"a network with `hidden_sizes`={_shown(widths)}",
        "choose narrower layers",
    )
    return widths


def check_memory(needed: int, what: str, instead: str) -> None:
    """Refuse what this machine cannot hold, before the memory is asked for.

    Args:
        needed: bytes.
        what: what they are for, as the message begins.
        instead: what to do, as the message ends.

    Raises:
        ConfigurationError: if it is more than all memory of this machine.

    Example:
        >>> check_memory(1000, "`replay_capacity`=10", "keep fewer transitions")
    """
    memory = memory_here()
    if memory is not None and needed > memory:
        raise ConfigurationError(
            f"{what} would take {needed / 2**30:,.0f} GiB of memory; this machine has "
            f"{memory / 2**30:,.0f} GiB: {instead}."
        )


def memory_here() -> int | None:
    """Bytes of memory of this machine, None if it does not say.

    Example:
        >>> memory_here() is None or memory_here() > 2**20
        True
    """
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # such as Windows
        return None


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
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not (math.isfinite(number) and at_least <= number <= at_most and number > above):
        bounds = [
            f"{word} {bound:g}"
            for word, bound in (("at least", at_least), ("above", above), ("at most", at_most))
            if math.isfinite(bound)
        ]
        expected = " ".join(["a finite number", " and ".join(bounds)]).strip()
        raise ConfigurationError(f"`{name}` got {_shown(value)}; expected {expected}.")
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
