"""Numbers that change while an agent learns: a straight line from one value to another."""

from __future__ import annotations

from dataclasses import dataclass

from hunch.validation import real_number, whole_number


@dataclass(frozen=True)
class Linear:
    """A value that moves in a straight line and then stays.

    Args:
        start: value at environment step 0.
        end: value from environment step `steps` on.
        steps: length of the line, in environment steps, at least 1.

    Raises:
        ConfigurationError: if `start` or `end` is not finite, or `steps` is below 1.

    Example:
        >>> epsilon = Linear(1.0, 0.5, steps=100)
        >>> epsilon(0), epsilon(50), epsilon(1000)
        (1.0, 0.75, 0.5)
    """

    start: float
    end: float
    steps: int

    def __post_init__(self) -> None:
        real_number("start", self.start)
        real_number("end", self.end)
        whole_number("steps", self.steps, at_least=1)

    def __call__(self, step: int) -> float:
        """The value at environment step `step`."""
        done = min(step / self.steps, 1.0)
        return self.start + (self.end - self.start) * done


def value_at(schedule: float | Linear, step: int) -> float:
    """The value at environment step `step` of a schedule, or of a number that never changes.

    Example:
        >>> value_at(0.1, 7), value_at(Linear(0.0, 1.0, steps=10), 7)
        (0.1, 0.7)
    """
    return schedule(step) if isinstance(schedule, Linear) else schedule


def schedule(name: str, value: float | Linear, *, at_most: float = float("inf")) -> float | Linear:
    """Return a number or a schedule as it is, or say what is wrong with it.

    Args:
        name: the argument's name, for the message.
        value: what was given; 0 or more throughout.
        at_most: the largest value allowed.

    Raises:
        ConfigurationError: if it is out of range.

    Example:
        >>> schedule("epsilon", 0.1, at_most=1.0)
        0.1
    """
    ends = (value.start, value.end) if isinstance(value, Linear) else (value,)
    for end in ends:
        real_number(name, end, at_least=0.0, at_most=at_most)
    return value if isinstance(value, Linear) else float(value)
