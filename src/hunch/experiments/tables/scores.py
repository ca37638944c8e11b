"""How right quantiles and probabilities were, ours and others' scored alike."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
LEAST: Final = 1e-6  # a smaller probability counts as this one, whoever says it
_MISSED: Final = 0.1  # share of values outside the interval that is asked for


def score_numbers(
    mean: Array,
    quantiles: Array,
    levels: Array,
    y: Array,
    ends: tuple[Array, Array] | None = None,
) -> dict[str, float]:
    """Scores of a forecast, in units of y but for the coverage.

    Args:
        mean: predicted, `(rows,)`.
        quantiles: predicted at `levels`, `(rows, levels)`.
        levels: rising, from 0.05 to 0.95.
        y: what came, `(rows,)`.
        ends: of the 90 % interval, each `(rows,)`; None for the first and the last quantile.

    Returns:
        `pinball`, averaged over levels; `rmse`; `covered`, `width` and `interval` (Gneiting and
        Raftery's score) of the interval.

    Example:
        >>> y, levels = np.zeros(2), np.array([0.05, 0.5, 0.95])
        >>> score_numbers(y, np.array([[-1.0, 0, 1], [1, 2, 3]]), levels, y)["interval"]
        12.0
    """
    error = y[:, None] - quantiles
    low, high = (quantiles[:, 0], quantiles[:, -1]) if ends is None else ends
    beyond = np.maximum(low - y, 0) + np.maximum(y - high, 0)
    return {
        "pinball": float(np.maximum(levels * error, (levels - 1) * error).mean()),
        "rmse": float(np.sqrt(np.mean((y - mean) ** 2))),
        "covered": float(np.mean(beyond == 0)),
        "width": float(np.mean(high - low)),
        "interval": float(np.mean(high - low + 2 / _MISSED * beyond)),
    }


def score_classes(probabilities: Array, y: Array) -> dict[str, float]:
    """Log loss in nats, with probabilities of at least `LEAST`, and accuracy.

    Args:
        probabilities: `(rows, classes)`.
        y: class numbers `(rows,)`.

    Example:
        >>> score_classes(np.array([[0.5, 0.5], [0.25, 0.75]]), np.array([0, 1]))["accuracy"]
        1.0
    """
    said = np.clip(probabilities[np.arange(len(y)), y], LEAST, 1 - LEAST)
    return {
        "log_loss": float(-np.log(said).mean()),
        "accuracy": float(np.mean(probabilities.argmax(axis=1) == y)),
    }
