"""How good probabilities of classes are: scores, accuracy, calibration."""

from __future__ import annotations

import torch
from torch import Tensor

from hunch.errors import ConfigurationError, DataError, ShapeError

_ROUNDING = 1e-4  # beyond 0 and 1, which sums of float32 may leave
_SUM_ROUNDING = 0.02  # from 1, of sums of numbers of half precision


def brier(probs: Tensor, y: Tensor) -> Tensor:
    """Squared distance from the class: Σ_c (p_c − 1{y = c})², between 0 and 2.

    Args:
        probs: probabilities `(data, classes)`.
        y: class numbers `(data,)`.

    Returns:
        `(data,)`.

    Raises:
        ShapeError: if shapes do not fit.
        DataError: if a class number is out of range.

    Example:
        >>> brier(torch.tensor([[0.8, 0.2]]), torch.tensor([0]))
        tensor([0.0800])

    Reference:
        Brier (1950), "Verification of forecasts expressed in terms of probability".
    """
    check_classes(probs, y)
    one_hot = torch.nn.functional.one_hot(y.long(), probs.shape[1])
    return (probs - one_hot).square().sum(dim=1)


def accuracy(probs: Tensor, y: Tensor) -> Tensor:
    """The share of data whose likeliest class is the true one.

    Args:
        probs: probabilities `(data, classes)`.
        y: class numbers `(data,)`.

    Example:
        >>> accuracy(torch.tensor([[0.8, 0.2], [0.6, 0.4]]), torch.tensor([0, 1]))
        tensor(0.5000)
    """
    check_classes(probs, y)
    return (probs.argmax(dim=1) == y).to(probs).mean()


def expected_calibration_error(probs: Tensor, y: Tensor, *, num_bins: int = 15) -> Tensor:
    """How far the likeliest class's probability is from how often it is right.

    Data are put in bins of equal width by that probability; the bins' gaps are averaged by size.

    Args:
        probs: probabilities `(data, classes)`.
        y: class numbers `(data,)`.
        num_bins: at least 1.

    Returns:
        A number between 0 and 1.

    Raises:
        ConfigurationError: if there is no bin.

    Example:
        >>> expected_calibration_error(torch.tensor([[0.75, 0.25]] * 4), torch.tensor([0, 0, 0, 1]))
        tensor(0.)

    Reference:
        Guo, Pleiss, Sun & Weinberger (2017), "On calibration of modern neural networks", eq. 3.
    """
    check_classes(probs, y)
    if num_bins < 1:
        raise ConfigurationError(f"`num_bins` got {num_bins}; expected at least 1.")
    confidence, likeliest = probs.max(dim=1)
    which = (confidence * num_bins).ceil().long().sub(1).clamp(0, num_bins - 1)
    surplus = confidence - (likeliest == y).to(probs)
    return torch.zeros(num_bins).to(probs).index_add(0, which, surplus).abs().sum() / len(y)


def check_classes(probs: Tensor, y: Tensor) -> None:
    """Refuse what are no probabilities, or class numbers that do not belong to them.

    Raises:
        ShapeError: if shapes do not fit, or classes are no whole numbers.
        DataError: if a probability or a class number is out of range, or probabilities do not sum
            to 1.
    """
    if probs.ndim != 2 or y.shape != probs.shape[:1] or not len(y) or y.is_floating_point():
        raise ShapeError(
            f"`probs` got shape {tuple(probs.shape)} and `y` {tuple(y.shape)} of {y.dtype}; "
            "expected (data, classes) and (data,) of an integer type, with at least one datum."
        )
    check_probabilities("probs", probs)
    sums = probs.detach().double().sum(dim=1)
    if not bool(((sums - 1).abs() < _SUM_ROUNDING).all()):
        raise DataError(
            f"`probs` has rows that sum to {float(sums.min()):.4g} up to {float(sums.max()):.4g}; "
            "expected 1: give a probability to each class, or divide by the sum."
        )
    if int(y.min()) < 0 or int(y.max()) >= probs.shape[1]:
        raise DataError(
            f"`y` holds classes from {int(y.min())} to {int(y.max())}; expected 0 to "
            f"{probs.shape[1] - 1}, one for each column of `probs`."
        )


def check_probabilities(name: str, probs: Tensor) -> None:
    """Refuse NaN and numbers that are no probabilities, such as logits.

    Raises:
        DataError: naming the range they are in.
    """
    if not bool(((probs > -_ROUNDING) & (probs < 1 + _ROUNDING)).all()):
        raise DataError(
            f"`{name}` holds NaN or values outside 0 to 1, from {float(probs.min()):.4g} to "
            f"{float(probs.max()):.4g}; expected probabilities, of logits the softmax."
        )
