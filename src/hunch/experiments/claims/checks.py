"""What an experiment says and whether it holds."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final, Literal


@dataclass(frozen=True)
class Check:
    """One measured figure against the bound that a claim puts on it.

    Example:
        >>> check = Check("KL to the exact posterior", 0.001, "<=", 0.02)
        >>> check.holds, str(check)
        (True, 'KL to the exact posterior: 0.001, bound ≤ 0.02')
    """

    what: str  # the quantity, in words, with its unit where it has one
    value: float  # as measured
    relation: Literal["<=", ">="]
    bound: float

    @property
    def holds(self) -> bool:
        """Whether the figure keeps its bound; a figure that is not a number never does."""
        if math.isnan(self.value):
            return False
        return self.value <= self.bound if self.relation == "<=" else self.value >= self.bound

    def __str__(self) -> str:
        relation = "≤" if self.relation == "<=" else "≥"
        return f"{self.what}: {self.value:.4g}, bound {relation} {self.bound:g}"

    def to_json(self) -> dict[str, Any]:
        """The check as plain values; null for a figure that is not a number."""
        return {
            "what": self.what,
            "value": None if math.isnan(self.value) else self.value,
            "relation": self.relation,
            "bound": self.bound,
            "holds": self.holds,
        }


def claim_settings(module: ModuleType) -> Any:
    """The settings that an experiment's claim speaks of."""
    return getattr(module.Settings, "proof", module.Settings)()


# How and where something runs, which decides nothing that is found.
_NOT_TOLD: Final = ("jobs", "data", "keep")


def settings_in_words(settings: Any, seed: int) -> str:
    """What a run was run with, all of it that is a number or a name.

    Example:
        >>> @dataclass
        ... class Settings:
        ...     num_seeds: int = 2
        ...     frames: int = 20_000
        ...     sizes: tuple[int, ...] = (10, 50)
        ...     tables: tuple[str, ...] = ("iris", "wine", "digits")
        ...     jobs: int = 1
        >>> settings_in_words(Settings(), seed=7)
        'seed 7, num seeds 2, frames 20,000, sizes 10 and 50, tables (iris, wine, digits)'
    """
    said = [f"seed {seed}"]
    for field in dataclasses.fields(settings):
        value = _in_words(getattr(settings, field.name))
        if value and field.name not in _NOT_TOLD:
            said.append(f"{field.name.replace('_', ' ')} {value}")
    return ", ".join(said)


def _in_words(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, tuple):
        if value and all(isinstance(pair, tuple) for pair in value):
            return " and ".join(" × ".join(map(_in_words, pair)) for pair in value)
        words = list(filter(None, map(_in_words, value)))
        return " and ".join(words) if len(words) < 3 else f"({', '.join(words)})"
    return value if isinstance(value, str) else ""
