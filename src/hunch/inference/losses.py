"""What `fit` minimises: a loss for each member and datum, by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.loss import _Loss

from hunch.errors import ConfigurationError, HunchError, ShapeError, sentence
from hunch.nn import GaussianHead, QuantileHead

LossFunction = Callable[[Tensor, Tensor], Tensor]
LossName = Literal["mse", "cross_entropy", "gaussian_nll", "beta_nll", "quantile"]
Loss = LossName | LossFunction

_BETA = 0.5  # what Seitzer et al. recommend: halfway from the likelihood to the squared error
_HEADS = {"gaussian_nll": GaussianHead, "beta_nll": GaussianHead, "quantile": QuantileHead}


def loss_function(loss: Loss, head: GaussianHead | QuantileHead | None) -> LossFunction:
    """The function of a name: predictions and targets `(members, batch, …)` to `(members, batch)`.

    Args:
        loss: a name, or a function, which is returned as one that says what it cannot take.
        head: what the network ends with.

    Raises:
        ConfigurationError: if there is no such name, the network ends with another head than the
            loss is for, or the function is one of torch's for a single network.

    Example:
        >>> loss_function("mse", None)(torch.zeros(3, 5, 2), torch.ones(3, 5, 2)).shape
        torch.Size([3, 5])
    """
    if callable(loss):
        _check_own(loss)
        return partial(_own, loss=loss)
    if loss not in get_args(LossName):
        raise ConfigurationError(
            f"`loss` got {loss!r}; expected one of {', '.join(get_args(LossName))}, or a function."
        )
    _check_head(loss, head)
    if isinstance(head, QuantileHead):
        return partial(_pinball, levels=head.levels)
    functions: dict[str, LossFunction] = {
        "mse": _squared_error,
        "cross_entropy": _cross_entropy,
        "gaussian_nll": partial(_gaussian_nll, beta=0.0),
        "beta_nll": partial(_gaussian_nll, beta=_BETA),
    }
    return functions[loss]


def _check_own(loss: Any) -> None:
    """Refuse torch's losses of one network, which would take members for data or for classes."""
    of_one = isinstance(loss, nn.CrossEntropyLoss | nn.NLLLoss) or (
        isinstance(loss, _Loss) and loss.reduction != "none"
    )
    if of_one or getattr(loss, "__module__", None) == F.__name__:
        name = getattr(loss, "__name__", type(loss).__name__)
        raise ConfigurationError(
            f"`loss` got torch's {name}, which is of one network and all data; expected one of "
            f"{', '.join(get_args(LossName))}, or a function of predictions and targets (members, "
            "batch, …) that returns (members, batch)."
        )


def _own(prediction: Tensor, target: Tensor, *, loss: LossFunction) -> Tensor:
    """A loss of the user's, whose errors are most often of axes that it did not expect."""
    try:
        return loss(prediction, target)
    except (HunchError, torch.OutOfMemoryError):
        raise
    except (RuntimeError, ValueError, IndexError) as error:
        raise ShapeError(
            f"`loss` cannot take predictions {tuple(prediction.shape)} and targets "
            f"{tuple(target.shape)} of {target.dtype}: {sentence(error)} Both are (members, batch, "
            "…), with outputs or classes last, as in "
            "torch.nn.functional.cross_entropy(predictions.movedim(-1, 1), targets, "
            "reduction='none')."
        ) from error


def _check_head(loss: LossName, head: GaussianHead | QuantileHead | None) -> None:
    expected = _HEADS.get(loss)
    if expected is not None and not isinstance(head, expected):
        found = "no head" if head is None else f"a {type(head).__name__}"
        raise ConfigurationError(
            f"`loss` got {loss!r} for a network that ends with {found}; expected one that ends "
            f"with a hunch.nn.{expected.__name__}."
        )
    if expected is None and head is not None:
        fitting = " or ".join(repr(name) for name, kind in _HEADS.items() if kind is type(head))
        raise ConfigurationError(
            f"`loss` got {loss!r} for a network that ends with a {type(head).__name__}; expected "
            f"{fitting}."
        )


def _squared_error(prediction: Tensor, target: Tensor) -> Tensor:
    return _sum_over_outputs((prediction - target).square())


def _cross_entropy(prediction: Tensor, target: Tensor) -> Tensor:
    # Class numbers may be of any integer type, of which torch takes two.
    return F.cross_entropy(prediction.movedim(-1, 1), target.long(), reduction="none")


def _gaussian_nll(prediction: Tensor, target: Tensor, *, beta: float) -> Tensor:
    """Negative log-likelihood up to a constant, each term times its variance to the power beta.

    Seitzer et al. (2022), eq. 5: with beta = 1 the mean gets the gradient of the squared error.
    """
    mean, std = prediction.unbind(-1)
    each = 0.5 * ((target - mean) / std).square() + std.log()
    if beta:
        each = each * std.detach().pow(2 * beta)
    return _sum_over_outputs(each)


def _pinball(prediction: Tensor, target: Tensor, *, levels: tuple[float, ...]) -> Tensor:
    """Koenker & Bassett (1978): (q − 1{y < quantile}) (y − quantile), averaged over levels."""
    q = torch.tensor(levels, dtype=prediction.dtype, device=prediction.device)
    error = target.unsqueeze(-1) - prediction
    return _sum_over_outputs(torch.maximum(q * error, (q - 1) * error).mean(dim=-1))


def _sum_over_outputs(each: Tensor) -> Tensor:
    return each.flatten(2).sum(dim=2) if each.ndim > 2 else each
