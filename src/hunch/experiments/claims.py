"""What an experiment says and whether it holds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Check:
    """One measured figure against the bound that a claim puts on it.

    Args:
        what: the quantity, in words, with its unit where it has one.
        value: the measured figure.
        relation: `"<="` or `">="`.
        bound: the bound.

    Example:
        >>> check = Check("KL to the exact posterior", 0.001, "<=", 0.02)
        >>> check.holds, str(check)
        (True, 'KL to the exact posterior: 0.001, claimed ≤ 0.02')
    """

    what: str
    value: float
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
        return f"{self.what}: {self.value:.4g}, claimed {relation} {self.bound:g}"

    def to_json(self) -> dict[str, Any]:
        """The check as plain values."""
        return {
            "what": self.what,
            "value": self.value,
            "relation": self.relation,
            "bound": self.bound,
            "holds": self.holds,
        }
