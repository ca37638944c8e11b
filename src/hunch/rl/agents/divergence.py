"""A network that has diverged is told of, before its weights are all NaN and everything after them.

What enters is finite, so NaN within is the network's own: a rate too large, or weights given so.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from hunch.errors import DataError

_REMEDY: Final = (
    "expected a smaller `learning_rate`, a finite `max_gradient_norm`, rewards of a smaller scale, "
    "or weights of before"
)


def check_loss(loss: float, updates: int) -> float:
    """Return a loss, or refuse to move weights along the gradient of one that is not finite.

    Args:
        loss: of all replicas together.
        updates: gradient updates made before.

    Raises:
        DataError: if it is NaN or infinite.

    Example:
        >>> check_loss(0.5, updates=7)
        0.5
    """
    if not math.isfinite(loss):
        raise DataError(
            f"the loss of update {updates + 1} is {loss}: the network has diverged, and its "
            f"weights are left as they were before this update; {_REMEDY}."
        )
    return loss


def check_weights(weights: Iterable[Tensor]) -> None:
    """Refuse to end on weights that the last update has made NaN or infinite.

    The loss of an update is that of the weights before it.

    Args:
        weights: of the networks, as they are now.

    Raises:
        DataError: if one holds NaN or an infinite number.

    Example:
        >>> import torch
        >>> check_weights([torch.ones(2)])
    """
    if not all(bool(w.isfinite().all()) for w in weights):
        raise DataError(
            "the last update has made weights NaN or infinite: the network has diverged; "
            f"{_REMEDY}."
        )


def check_outputs_known(outputs: NDArray[np.floating[Any]]) -> None:
    """Refuse to act on outputs that are NaN, of which any might be taken for the largest.

    Args:
        outputs: values or unnormalised log-probabilities of actions; -∞ masks one.

    Raises:
        DataError: if one is NaN.

    Example:
        >>> check_outputs_known(np.array([1.0, -np.inf]))
    """
    if np.count_nonzero(np.isnan(outputs)):
        raise DataError(
            f"the network gives NaN for finite observations: it has diverged, or was given weights "
            f"that are NaN; {_REMEDY}."
        )
