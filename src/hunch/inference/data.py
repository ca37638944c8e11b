"""Data as a network can take them, or one clear sentence why it cannot."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor, nn

from hunch.errors import ConfigurationError, DataError, ShapeError
from hunch.nn import Ensemble, Epinet, PostHocEpinet
from hunch.nn.borrowing import undisturbed

Data = Tensor | npt.NDArray[Any]


def check_ensemble(ensemble: object) -> None:
    """Refuse anything but an `Ensemble` or an `Epinet`.

    Raises:
        ConfigurationError: naming what it is.
    """
    if not isinstance(ensemble, Ensemble | Epinet | PostHocEpinet):
        raise ConfigurationError(
            f"`ensemble` got {type(ensemble).__name__}; expected a hunch.nn.Ensemble, or a "
            "hunch.nn.Epinet."
        )


def as_data(name: str, values: Data, network: nn.Module) -> Tensor:
    """A tensor in the network's type and on its device.

    Raises:
        DataError: if it has no rows, or NaN or infinite values.
    """
    tensor = torch.as_tensor(values)
    if tensor.ndim == 0 or tensor.shape[0] == 0:
        raise DataError(
            f"`{name}` got shape {tuple(tensor.shape)}; expected at least one row: (data, …)."
        )
    reference = next((p for p in network.parameters() if p.is_floating_point()), None)
    if tensor.is_floating_point():
        bad = ~torch.isfinite(tensor.detach()).reshape(len(tensor), -1).all(dim=1)
        if bad.any():
            row = int(bad.nonzero()[0])
            raise DataError(
                f"`{name}` holds NaN or infinite values in {int(bad.sum())} of {len(tensor)} rows, "
                f"first in row {row}; expected finite numbers: remove or fill those rows."
            )
        return tensor if reference is None else tensor.to(reference)
    return tensor if reference is None else tensor.to(reference.device)


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
    except RuntimeError as error:
        raise ShapeError(
            f"`x` got shape {tuple(x.shape)}, which the network cannot take: "
            f"{str(error).splitlines()[0]}"
        ) from error
    finally:
        members.train(mode)
    if not isinstance(outputs, Tensor):
        raise ShapeError(
            f"the network returns {type(outputs).__name__}; expected one tensor (batch, *out)."
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
        if y.ndim != 1 or y.is_floating_point() or len(out) != 1:
            raise ShapeError(
                f"`{name}` got shape {tuple(y.shape)} of {y.dtype}; expected class numbers "
                f"({y.shape[0]},) of an integer type, for outputs (batch, classes)."
            )
        if int(y.min()) < 0 or int(y.max()) >= classes:
            raise DataError(
                f"`{name}` holds classes from {int(y.min())} to {int(y.max())}; expected 0 to "
                f"{classes - 1}, one for each output."
            )
