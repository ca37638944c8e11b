"""What a network is asked about: all rows at once, or batches of a loader such as torch's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, TypeGuard

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.utils.data import (
    Dataset,
    RandomSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

from hunch.errors import ConfigurationError, DataError, warn_user

Data = Tensor | npt.NDArray[Any]
Loader = Iterable[Any]

_RANDOM: Final = (RandomSampler, SubsetRandomSampler, WeightedRandomSampler)
_EXAMPLE: Final = "torch.utils.data.DataLoader(dataset, batch_size=64)"


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


def is_loader(x: object) -> TypeGuard[Loader]:
    """Whether `x` is to be gone through batch by batch: no tensor, array, or list of numbers.

    Example:
        >>> is_loader([(torch.zeros(3, 1), torch.zeros(3, 1))]), is_loader([[0.0], [1.0]])
        (True, False)
    """
    if isinstance(x, Dataset):
        return True
    if isinstance(x, Tensor | str | dict) or hasattr(x, "__array__"):
        return False
    if isinstance(x, list | tuple):
        first = x[0] if len(x) else None
        within = first[0] if isinstance(first, list | tuple) and len(first) else None
        tensors = isinstance(first, Tensor) and first.ndim > 0
        return tensors or isinstance(first, dict) or is_array(within)
    return isinstance(x, Iterable)


def is_array(x: object) -> bool:
    """Whether `x` holds numbers at once."""
    return isinstance(x, Tensor | np.ndarray)


def check_loader(name: str, loader: object) -> None:
    """Refuse what cannot be gone through batch by batch, again and again.

    Raises:
        ConfigurationError: saying what it is.
    """
    if isinstance(loader, Dataset):
        raise ConfigurationError(
            f"`{name}` got a dataset, which gives one datum at a time; expected a loader of "
            f"batches: {_EXAMPLE}."
        )
    if isinstance(loader, Iterator):
        raise ConfigurationError(
            f"`{name}` got a {type(loader).__name__}, which can be gone through only once; "
            f"expected what begins anew each time, such as a list of batches or {_EXAMPLE}."
        )
    if not isinstance(loader, Iterable):
        raise ConfigurationError(
            f"`{name}` got {type(loader).__name__}; expected data, or a loader of batches: "
            f"{_EXAMPLE}."
        )


def warn_of_shuffling(name: str, loader: Loader) -> None:
    """Say so where answers would come in an order that nobody knows."""
    sampler = getattr(loader, "sampler", None)
    inner = getattr(getattr(loader, "batch_sampler", None), "sampler", None)
    if isinstance(sampler, _RANDOM) or isinstance(inner, _RANDOM):
        warn_user(
            f"`{name}` got a loader that shuffles: answers come in its order, which is not that "
            "of the data set; use one with shuffle=False."
        )


def inputs_of(loader: Loader, network: nn.Module) -> Iterator[Tensor]:
    """The inputs of all batches `x` or `(x, …)`, in turn.

    Example:
        >>> [len(x) for x in inputs_of([torch.zeros(3, 1), (torch.zeros(2, 1), 0)], nn.ReLU())]
        [3, 2]
    """
    number = 0
    for number, found in enumerate(loader, 1):
        x = found[0] if isinstance(found, list | tuple) and found else found
        if not is_array(x):
            raise DataError(
                f"batch {number} of the loader is {kind_of(found)}; expected the inputs, or a "
                "tuple that begins with them."
            )
        yield as_data(f"x of batch {number}", x, network)
    if number == 0:
        raise DataError("the loader gives no batch; expected at least one.")


def kind_of(found: object) -> str:
    """What a loader gave in the place of a batch, in words."""
    if isinstance(found, list | tuple):
        return f"a {type(found).__name__} of {len(found)}: " + (
            ", ".join(type(part).__name__ for part in found[:4]) or "nothing"
        )
    return f"a {type(found).__name__}"
