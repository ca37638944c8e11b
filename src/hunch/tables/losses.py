"""Scores of forecasts on test rows, and how far chance could have moved them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from hunch.seeding import numpy_generator
from hunch.tables.baselines import CONSTANT, Forecast
from hunch.tables.cells import Floats
from hunch.tables.scoring import class_losses, number_losses

LEVELS: Final = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
_NINETY: Final = LEVELS.index(0.9)
_DRAWS: Final = 1_000  # of test rows
_AT_ONCE: Final = 100  # draws, for the memory's sake
_BINS: Final = 15  # as `expected_calibration_error` has them
_NORMAL_975: Final = 1.959963984540054
_SHARES: Final = ("coverage_90", "accuracy")
_WITHOUT_RANGE: Final = ("calibration_error",)  # rows drawn anew are never as even as the rows

Parts = dict[str, Floats]
Range = tuple[float, float]


@dataclass(frozen=True)
class Losses:
    """What each test row adds to the scores of one forecast.

    Args:
        parts: arrays with a row for each test row.
        scores: from means of the parts over rows to the scores, for one mean or many at once.
    """

    parts: Parts
    scores: Callable[[Mapping[str, Floats]], dict[str, Floats]]

    def total(self) -> dict[str, float]:
        """The scores on all test rows."""
        means = {name: part.mean(axis=0) for name, part in self.parts.items()}
        return {name: float(score) for name, score in self.scores(means).items()}


def losses_of_numbers(
    forecast: Forecast, ends: Sequence[tuple[Floats, Floats]], y: Floats
) -> Losses:
    """Of a forecast of a number.

    Args:
        forecast: mean and standard deviation.
        ends: of its intervals at each of `LEVELS`, lower and upper.
        y: the truth.
    """
    mean, std, truth = (
        torch.from_numpy(np.asarray(v, dtype=np.float64)) for v in (forecast.mean, forecast.std, y)
    )
    found = number_losses(mean, std, truth)
    lower, upper = ends[_NINETY]
    far = y - y.mean()  # that its square is not the difference of two large numbers
    return Losses(
        {
            "square": found["squared_error"].numpy(),
            "absolute": found["absolute_error"].numpy(),
            "crps": found["crps"].numpy(),
            "width": upper - lower,
            "inside": np.stack([(low <= y) & (y <= high) for low, high in ends], axis=1).astype(
                float
            ),
            "far": far,
            "far_square": far**2,
        },
        _scores_of_numbers,
    )


def _scores_of_numbers(means: Mapping[str, Floats]) -> dict[str, Floats]:
    variance = means["far_square"] - means["far"] ** 2
    return {
        "rmse": np.sqrt(means["square"]),
        "mae": means["absolute"],
        "r2": 1 - means["square"] / np.maximum(variance, np.finfo(np.float64).tiny),
        "crps": means["crps"],
        "coverage_90": means["inside"][..., _NINETY],
        "width_90": means["width"],
        "calibration_error": np.abs(means["inside"] - LEVELS).mean(axis=-1),
    }


def losses_of_classes(forecast: Forecast, y: npt.NDArray[np.int64]) -> Losses:
    """Of a forecast of classes, whose truth are class numbers."""
    probs = np.asarray(forecast.probs, dtype=np.float64)
    found = class_losses(torch.from_numpy(probs), torch.from_numpy(y))
    sure, right = probs.max(axis=1), (probs.argmax(axis=1) == y).astype(float)
    which = np.clip(np.ceil(sure * _BINS).astype(int) - 1, 0, _BINS - 1)
    surplus = np.zeros((len(y), _BINS))
    surplus[np.arange(len(y)), which] = sure - right
    return Losses(
        {
            "right": right,
            "log_loss": found["log_loss"].numpy(),
            "brier": found["brier"].numpy(),
            "surplus": surplus,
        },
        _scores_of_classes,
    )


def _scores_of_classes(means: Mapping[str, Floats]) -> dict[str, Floats]:
    return {
        "accuracy": means["right"],
        "log_loss": means["log_loss"],
        "brier": means["brier"],
        "calibration_error": np.abs(means["surplus"]).sum(axis=-1),
    }


def judged(
    losses: Mapping[str, Losses], seed: int, group: npt.NDArray[np.intp] | None = None
) -> dict[str, Any]:
    """Scores of all forecasts, each with a range, and what each differs from the first one.

    Ranges of 95 % are from test rows that are drawn anew, the same ones for every forecast, or
    whole groups of rows; those of shares of rows that stand alone are by Wilson's formula, which
    holds for shares of 0 and 1 too.

    Args:
        losses: of each forecast by its name, ours first.
        seed: decides the draws.
        group: numbers of the groups that test rows belong to; None if each row stands alone.

    Returns:
        `scores`; `ranges`, low and high ends of each but the calibration error; `deciding`, the
        score by which forecasts are compared; `ahead`: of each other forecast how much higher its
        deciding score is than ours, which above 0 is in favor of ours, with its range.
    """
    drawn = _scores_of_draws(losses, seed, group)
    scores = {name: own.total() for name, own in losses.items()}
    count = len(next(iter(next(iter(losses.values())).parts.values())))
    ranges = {
        name: {
            key: wilson(scores[name][key], count)
            if group is None and key in _SHARES
            else _range(values)
            for key, values in own.items()
            if key not in _WITHOUT_RANGE
        }
        for name, own in drawn.items()
    }
    ours, *others = losses
    deciding = "rmse" if "rmse" in scores[ours] else "log_loss"
    ahead = {
        name: {
            "by": scores[name][deciding] - scores[ours][deciding],
            "range": _range(drawn[name][deciding] - drawn[ours][deciding]),
        }
        for name in others
    }
    return {"scores": scores, "ranges": ranges, "deciding": deciding, "ahead": ahead}


def _scores_of_draws(
    losses: Mapping[str, Losses], seed: int, group: npt.NDArray[np.intp] | None
) -> dict[str, dict[str, Floats]]:
    """The scores `(draws,)` of each forecast on test rows that are drawn with replacement."""
    first = next(iter(next(iter(losses.values())).parts.values()))
    of_group = np.arange(len(first)) if group is None else group
    many = int(of_group.max()) + 1
    rng = numpy_generator(seed, "score ranges")
    found: dict[str, list[dict[str, Floats]]] = {name: [] for name in losses}
    for _ in range(0, _DRAWS, _AT_ONCE):
        times = np.stack(
            [np.bincount(rng.integers(0, many, many), minlength=many) for _ in range(_AT_ONCE)]
        )
        weights = times[:, of_group].astype(np.float64)
        weights /= weights.sum(axis=1, keepdims=True)
        for name, own in losses.items():
            means = {key: weights @ part for key, part in own.parts.items()}
            found[name].append(own.scores(means))
    return {
        name: {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
        for name, parts in found.items()
    }


def _range(values: Floats) -> list[float]:
    low, high = np.quantile(values, [0.025, 0.975])
    return [float(low), float(high)]


def wilson(share: float, count: int) -> list[float]:
    """The 95 % range of a share of so many rows (Wilson 1927).

    Example:
        >>> [round(end, 3) for end in wilson(0.9, 100)], [round(end, 3) for end in wilson(1.0, 12)]
        ([0.826, 0.945], [0.758, 1.0])
    """
    z = _NORMAL_975**2 / count
    middle = (share + z / 2) / (1 + z)
    half = math.sqrt(z * share * (1 - share) + z**2 / 4) / (1 + z)
    return [max(0.0, middle - half), min(1.0, middle + half)]


def grade(
    scores: Mapping[str, Mapping[str, float]], deciding: str, ahead: Mapping[str, Any]
) -> str:
    """How good ours is, in a word, from what `judged` gives.

    `"worse"` than a constant or `"no better"` than it, as far as chance lets that be told;
    `"beaten"` by another forecast, `"weak"` if it takes less than a tenth of the constant's mean
    square or log loss away, else `"useful"`.
    """
    low, high = ahead[CONSTANT]["range"]
    if high < 0:
        return "worse"
    if low <= 0:
        return "no better"
    best = best_other(scores, deciding)
    if ahead[best]["range"][1] < 0:
        return "beaten"
    ours, constant = scores["hunch"][deciding], scores[CONSTANT][deciding]
    power = 2 if deciding == "rmse" else 1
    return "weak" if (ours / constant) ** power > 0.9 else "useful"


def best_other(scores: Mapping[str, Mapping[str, float]], deciding: str) -> str:
    """The best of the forecasts that are neither ours nor constant."""
    others = [name for name in scores if name not in ("hunch", CONSTANT)]
    return min(others, key=lambda name: scores[name][deciding])
