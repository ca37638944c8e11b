"""Data as a network can take them, or one clear sentence why it cannot."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hunch.errors import ConfigurationError, DataError, HunchError, ShapeError, sentence
from hunch.nn import Ensemble, Epinet, PostHocEpinet
from hunch.nn.borrowing import undisturbed


def check_ensemble(ensemble: object) -> None:
    """Refuse anything but an `Ensemble` or an `Epinet`.

    Raises:
        ConfigurationError: naming what it is.
    """
    if not isinstance(ensemble, Ensemble | Epinet | PostHocEpinet):
        raise ConfigurationError(
            f"`ensemble` got {type(ensemble).__name__}; expected a hunch.nn.Ensemble, or a "
            "hunch.nn.Epinet. One network alone has nobody to disagree with: "
            "hunch.nn.PostHocEpinet(net, x) doubts one that is trained, and "
            "Ensemble([net, …]) takes several."
        )


def output_shape(members: nn.Module, x: Tensor) -> tuple[int, ...]:
    """The network's output shape for one datum, `(*out,)`.

    Raises:
        ShapeError: if the network cannot take `x`, or returns anything but one tensor.
    """
    mode = members.training
    members.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]), undisturbed(members):
            outputs = members(x[:1])
    except HunchError:
        raise
    except (RuntimeError, ValueError) as error:  # norms of torch raise the second
        raise ShapeError(
            f"`x` got shape {tuple(x.shape)}, which the network cannot take: {sentence(error)}"
        ) from error
    finally:
        members.train(mode)
    if not isinstance(outputs, Tensor):
        raise ShapeError(
            f"the network returns {type(outputs).__name__}; expected one tensor (batch, *out): "
            "wrap it in a module whose forward returns that part."
        )
    return tuple(outputs.shape[2:])


def check_targets(loss: object, y: Tensor, out: tuple[int, ...], name: str = "y") -> None:
    """Refuse targets that do not fit the outputs and the loss.

    Broadcasting would otherwise pair every prediction with every target without a word.

    Raises:
        ShapeError: if the shape or type is wrong.
        DataError: if a class number is out of range.
    """
    if loss in ("gaussian_nll", "beta_nll", "quantile"):
        out = out[:-1]  # a head's last axis describes one target
    numbers = isinstance(loss, str) and loss != "cross_entropy"
    if numbers and (tuple(y.shape[1:]) != out or not y.is_floating_point()):
        hint = "" if y.is_floating_point() else "; or loss='cross_entropy' for class numbers"
        raise ShapeError(
            f"`{name}` got shape {tuple(y.shape)} of {y.dtype}; expected floating-point "
            f"{(y.shape[0], *out)}, the shape of the network's output{hint}."
        )
    if loss == "cross_entropy":
        classes = out[0] if out else 0
        if y.ndim != 1 or y.is_floating_point() or y.is_complex() or len(out) != 1:
            raise ShapeError(
                f"`{name}` got shape {tuple(y.shape)} of {y.dtype}; expected class numbers "
                f"({y.shape[0]},) of an integer type, for outputs (batch, classes)."
            )
        low, high = (int(end) for end in torch.aminmax(y.long()))
        if low < 0 or high >= classes:
            raise DataError(
                f"`{name}` holds classes from {low} to {high}; expected 0 to {classes - 1}, one "
                "for each output."
            )
