"""Returns of one environment to scores that can be held beside those of another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from hunch.comparison.records import Record
from hunch.errors import ConfigurationError
from hunch.validation import real_number

Bounds = tuple[float, float]
HIGHEST: Final = "the highest score here"


@dataclass(frozen=True)
class Scale:
    """What becomes 0 and what 1.

    Args:
        low: the return that is 0.
        high: the return that is 1.
        why_low: where it is from, in words.
        why_high: where it is from, in words.

    Example:
        >>> scale = Scale(20.0, 500.0, "random play", "as given")
        >>> float(scale(260.0)), str(scale)
        (0.5, '0 is 20 (random play), 1 is 500 (as given)')
    """

    low: float
    high: float
    why_low: str
    why_high: str

    def __call__(self, returns: Any) -> Any:
        """The scores of returns."""
        return (np.asarray(returns, np.float64) - self.low) / (self.high - self.low)

    def __str__(self) -> str:
        return f"0 is {self.low:.4g} ({self.why_low}), 1 is {self.high:.4g} ({self.why_high})"

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "low": self.low,
            "high": self.high,
            "why_low": self.why_low,
            "why_high": self.why_high,
        }


def scales_for(
    environments: Mapping[str, Sequence[Record]], given: Mapping[str, Bounds]
) -> dict[str, Scale]:
    """A scale for each environment; none at all for a single one for which none is given.

    Args:
        environments: names to the records of each.
        given: returns that are 0 and 1, by name of the environment, for some.

    Raises:
        ConfigurationError: if bounds are no scale, or there is none to be found.
    """
    checked = {name: _checked(name, bounds) for name, bounds in given.items()}
    if len(environments) == 1 and not checked:
        return {}
    return {
        name: checked[name] if name in checked else _found(name, records)
        for name, records in environments.items()
    }


def check_scales(given: Mapping[str, Bounds], environments: Sequence[str]) -> None:
    """Refuse a scale for an environment that is not there, and bounds that are none.

    Raises:
        ConfigurationError: naming it.

    Example:
        >>> check_scales({"CartPole-v1": (0, 500)}, ["CartPole-v1"])
    """
    for name, bounds in given.items():
        if name not in environments:
            raise ConfigurationError(
                f"`scales` got {name!r}, an environment that is not compared; expected one of "
                f"{', '.join(environments)}."
            )
        _checked(name, bounds)


def _checked(name: str, bounds: Bounds) -> Scale:
    low, high = (real_number(f"scales[{name!r}]", bound) for bound in bounds)
    if not high > low:
        raise ConfigurationError(
            f"`scales[{name!r}]` got {low:g}, {high:g}; expected the return that is to be 0 and a "
            "higher one that is to be 1."
        )
    return Scale(low, high, "as given", "as given")


def _found(name: str, records: Sequence[Record]) -> Scale:
    chances = [own.chance for own in records if own.chance is not None]
    scores = [own.score for own in records]
    low = float(np.mean(chances)) if chances else min(scores)
    why_low = "random play" if chances else "the lowest score here"
    threshold = _threshold(name)
    if threshold is not None and threshold > low:
        return Scale(low, threshold, why_low, "the reward threshold it is registered with")
    if not max(scores) > low:
        raise ConfigurationError(
            f"no score in {name} is above {why_low}, {low:.4g}, so there is no scale for it; state "
            f"one: `scales` in Python, --scale '{name}=LOW,HIGH' on the command line."
        )
    return Scale(low, max(scores), why_low, HIGHEST)


def _threshold(name: str) -> float | None:
    """The mean return at which an environment counts as solved, if it is registered with one."""
    import gymnasium

    spec = gymnasium.registry.get(name)
    return None if spec is None else spec.reward_threshold
