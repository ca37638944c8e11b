"""Models trained by several estimators of the gradient of an evidence lower bound."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self

import numpy as np

from hunch.experiments.claims.saved import SavedResult, built, written
from hunch.gradients import Diagnosis
from hunch.gradients.diagnosis.table import Row


@dataclass(frozen=True)
class Arm:
    """An estimator, and the samples that it gets for each gradient."""

    estimator: str
    samples: int
    baseline: Literal["loo"] | float | None = None


@dataclass(frozen=True)
class BoundResult(SavedResult):
    """What was measured."""

    settings: Any  # what it was run with
    updates: list[int]  # update at which each record was taken
    # Evidence lower bound in nats, by arm, mean over replicas, `(records,)`.
    bound: dict[str, np.ndarray] = field(metadata=written(decimals=3))
    # The last record of each replica, by arm, `(replicas,)`.
    final_bound: dict[str, np.ndarray] = field(metadata=written(decimals=3))
    diagnosis: Diagnosis  # of the gradient where the best arm ended

    def final(self, arm: str) -> float:
        """The bound at the end, mean over replicas."""
        return float(self.final_bound[arm].mean())

    def to_json(self) -> dict[str, Any]:
        """Plain values, the same for the same seed."""
        more = {"settings": asdict(self.settings), "diagnosis": self.diagnosis.to_json()}
        return {**super().to_json(), **more}

    @classmethod
    def from_json(cls, values: dict[str, Any], settings: Any, seed: int = 0) -> Self:
        """The result that `to_json` wrote."""
        return built(cls, values, settings=settings, diagnosis=diagnosis_of(values["diagnosis"]))


def diagnosis_of(values: dict[str, Any]) -> Diagnosis:
    """A diagnosis from what its `to_json` gave; the milliseconds are not in it."""
    infinite = [
        {name: math.inf if value is None else value for name, value in row.items()}
        for row in values["rows"]
    ]
    rows = tuple(built(Row, row, milliseconds=math.nan) for row in infinite)
    skipped = tuple((way, reason) for way, reason in values["skipped"])
    return built(Diagnosis, values, rows=rows, skipped=skipped)
