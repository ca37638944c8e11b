"""Scores of predictions whose truth stands beside them, summed up part by part of a file."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from hunch.errors import DataError
from hunch.inference import brier, gaussian_crps, interval_score
from hunch.tables.cells import Flags, Floats
from hunch.tables.target import Target

_LEAST = 1e-12  # probability of the right class that is scored as it is


@dataclass
class Scores:
    """What the predictions of a file are worth, as far as it holds the truth.

    Args:
        target: what is predicted.
        coverage: of the intervals.

    Example:
        >>> scores = Scores(Target("y", "regression"), coverage=0.9)
        >>> said = {"mean": [1.0, 2.0], "std": [1.0, 1.0], "lower": [0.0, 0.5], "upper": [2.0, 3.5]}
        >>> scores.add(pa.table(said), pa.chunked_array([["1.5", "4"]]), first_row=0)
        >>> found = scores.result()
        >>> found["rows"], found["coverage"], found["width"], found["mae"]
        (2, 0.5, 2.5, 1.25)
    """

    target: Target
    coverage: float
    rows: int = field(default=0, init=False)
    sums: dict[str, float] = field(default_factory=dict, init=False)
    strangers: int = field(default=0, init=False)
    refused: str = field(default="", init=False)

    def add(self, said: pa.Table, column: pa.ChunkedArray, first_row: int) -> None:
        """Go over one more part.

        A cell that cannot be a truth ends the scores of the file, but not its predictions.

        Args:
            said: the predictions.
            column: the truth, missing in rows where it is not known.
            first_row: how many rows of the file came before, for messages.
        """
        if self.refused:
            return
        try:
            truth, strange = self.target.truth(column, first_row)
        except DataError as error:
            self.refused = str(error)
            return
        known = ~np.isnan(truth) | strange
        if not known.any():
            return
        if self.target.task == "regression":
            losses = self._of_numbers(said, truth, known)
        else:
            losses = self._of_classes(
                said, np.where(strange, len(self.target.classes), truth), known
            )
        for name, loss in losses.items():
            self.sums[name] = self.sums.get(name, 0.0) + float(loss.sum())
        self.rows += int(known.sum())
        self.strangers += int(strange.sum())

    def result(self) -> dict[str, float | None] | None:
        """Means over the rows whose truth is known, and how many these are; None if it is of none.

        For a number: `coverage`, the share of rows whose interval holds the truth; `width` of the
        intervals; `rmse`, `mae`, `crps` as the report has them; `pinball`, the mean loss of the
        intervals' two ends as quantiles. For classes: `accuracy`, `log_loss`, `brier`; a class that
        training did not have is wrong, with probability 0. A score that no float holds is None.
        """
        if self.refused or not self.rows:
            return None
        means = {name: total / self.rows for name, total in self.sums.items()}
        if "rmse" in means:
            means["rmse"] = math.sqrt(means["rmse"])
        found = {name: mean if math.isfinite(mean) else None for name, mean in means.items()}
        return {"rows": self.rows, **found}

    @property
    def notes(self) -> list[str]:
        """What the user should know about them."""
        if self.refused:
            return [f"no scores: {self.refused}"]
        if not self.strangers:
            return []
        one = self.strangers == 1
        have, count = ("row has a class", "counts") if one else ("rows have classes", "count")
        return [
            f"{self.strangers:,} {have} of {self.target.name!r} that training did not have, and "
            f"{count} as wrong"
        ]

    def _of_numbers(self, said: pa.Table, truth: Floats, known: Flags) -> dict[str, Tensor]:
        names = ("mean", "std", "lower", "upper")
        mean, std, lower, upper = (_tensor(said[name].to_numpy()[known]) for name in names)
        y = _tensor(truth[known])
        score = interval_score(lower, upper, y, coverage=self.coverage)
        losses = number_losses(mean, std, y)
        return {
            "coverage": ((lower <= y) & (y <= upper)).double(),
            "width": upper - lower,
            "rmse": losses["squared_error"],
            "mae": losses["absolute_error"],
            "crps": losses["crps"],
            "pinball": score * ((1 - self.coverage) / 4),
        }

    def _of_classes(self, said: pa.Table, truth: Floats, known: Flags) -> dict[str, Tensor]:
        columns = [said[f"probability_{name}"].to_numpy()[known] for name in self.target.classes]
        columns.append(np.zeros(len(columns[0])))  # the probability of a class that nobody knew
        probs, y = (
            _tensor(np.stack(columns, axis=1)),
            torch.from_numpy(truth[known].astype(np.int64)),
        )
        return {"accuracy": (probs.argmax(dim=1) == y).double(), **class_losses(probs, y)}


def number_losses(mean: Tensor, std: Tensor, y: Tensor) -> dict[str, Tensor]:
    """Losses of each prediction of a number, `(rows,)` each.

    Example:
        >>> number_losses(torch.tensor([1.0]), torch.tensor([1.0]), torch.tensor([3.0]))
        {'squared_error': tensor([4.]), 'absolute_error': tensor([2.]), 'crps': tensor([1.4528])}
    """
    error = mean - y
    return {
        "squared_error": error.square(),
        "absolute_error": error.abs(),
        "crps": gaussian_crps(mean, std, y),
    }


def class_losses(probs: Tensor, y: Tensor) -> dict[str, Tensor]:
    """Losses of each prediction of a class, `(rows,)` each.

    Example:
        >>> class_losses(torch.tensor([[0.5, 0.5]]), torch.tensor([1]))
        {'log_loss': tensor([0.6931]), 'brier': tensor([0.5000])}
    """
    of_truth = probs.gather(1, y[:, None]).squeeze(1).clamp_min(_LEAST)
    return {"log_loss": -of_truth.log(), "brier": brier(probs, y)}


def _tensor(values: Floats) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float64))
