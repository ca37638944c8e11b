"""Models trained by several estimators of the gradient of an evidence lower bound."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self

import numpy as np

from hunch.experiments.claims.saved import NOT_WRITTEN, SavedResult, built, written
from hunch.gradients import Diagnosis


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
    # Of the gradient where the best arm ended; it knows itself how it is written.
    diagnosis: Diagnosis = field(metadata=NOT_WRITTEN)

    @classmethod
    def of(
        cls, settings: Any, bound: dict[str, np.ndarray], diagnosis: Diagnosis, *more: Any
    ) -> Self:
        """Of each arm's records `(records, replicas)`, the last of them after training."""
        steps = [*range(0, settings.updates, settings.record_every), settings.updates]
        mean = {name: records.mean(1) for name, records in bound.items()}
        final = {name: records[-1] for name, records in bound.items()}
        return cls(settings, steps, mean, final, diagnosis, *more)

    def final(self, arm: str) -> float:
        """The bound at the end, mean over replicas."""
        return float(self.final_bound[arm].mean())

    def to_json(self) -> dict[str, Any]:
        """Plain values, the same for the same seed."""
        more = {"diagnosis": self.diagnosis.to_json(), "settings": asdict(self.settings)}
        return {**super().to_json(), **more}

    @classmethod
    def from_json(cls, values: dict[str, Any], settings: Any, seed: int = 0) -> Self:
        """The result that `to_json` wrote."""
        diagnosis = Diagnosis.from_json(values["diagnosis"])
        return built(cls, values, settings=settings, diagnosis=diagnosis)
