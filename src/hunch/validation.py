"""Numbers checked when they are given, so that a wrong one is named before anything runs."""

from __future__ import annotations

import math
import operator
import os
from typing import Any, Final, SupportsFloat, SupportsIndex

import numpy as np

from hunch.errors import ConfigurationError

_NO_NUMBERS: Final = (bool, np.bool_, str, bytes, bytearray)  # though `float` takes them for some
LARGEST: Final = 2**63 - 1  # what arrays and files can hold of a number


def whole_number(
    name: str,
    value: SupportsIndex,
    *,
    at_least: int,
    at_most: float = LARGEST,
    since: str = "",
    instead: str = "",
) -> int:
    """Return `value` as an int, or say what is wrong with it.

    Args:
        name: the argument's name, for the message.
        value: what was given.
        at_least: the smallest value allowed.
        at_most: the largest value allowed.
        since: why there is a largest one, for the message.
        instead: what else is allowed, for the message.

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
            f"`{name}` got {shown(value)}; expected an integer of at least {at_least}"
            f"{instead and f' or {instead}'}."
        )
    if number > at_most:
        raise ConfigurationError(
            f"`{name}` got {shown(value)}; expected an integer of at most {at_most}"
            f"{since and f', {since}'}."
        )
    return number


def real_number(
    name: str,
    value: SupportsFloat,
    *,
    at_least: float = -math.inf,
    above: float = -math.inf,
    at_most: float = math.inf,
    below: float = math.inf,
    instead: str = "",
) -> float:
    """Return `value` as a float, or say what is wrong with it.

    Args:
        name: the argument's name, for the message.
        value: what was given.
        at_least: the smallest value allowed.
        above: a value that must be exceeded.
        at_most: the largest value allowed.
        below: a value that must not be reached.
        instead: what else is allowed, for the message.

    Raises:
        ConfigurationError: if `value` is no finite number or out of range.

    Example:
        >>> real_number("discount", 0.99, at_least=0.0, at_most=1.0)
        0.99
    """
    try:
        number = math.nan if isinstance(value, _NO_NUMBERS) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not (math.isfinite(number) and at_least <= number <= at_most and above < number < below):
        limits = {"of at least": at_least, "above": above, "at most": at_most, "below": below}
        bounds = [f"{word} {bound:g}" for word, bound in limits.items() if math.isfinite(bound)]
        expected = " ".join(["a finite number", " and ".join(bounds)]).strip()
        raise ConfigurationError(
            f"`{name}` got {shown(value)}; expected {expected}{instead and f', or {instead}'}."
        )
    return number


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


def shown(value: Any) -> str:
    """A value as a message writes it.

    Example:
        >>> shown(0.5)
        '0.5'
    """
    try:
        return repr(value)
    except ValueError:  # Python writes no number of more than some thousand digits
        return "a number of thousands of digits"
