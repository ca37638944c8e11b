"""The state of an object of many parts as tensors by name, so that it fits into one file.

A part is anything with `state_dict` and `load_state_dict`, whether of tensors or of numpy's arrays.
The entries of a part have its name in front.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Value = TypeVar("Value")


def under(prefix: str, state: Mapping[str, Value]) -> dict[str, Value]:
    """The entries whose names begin with `prefix`, without it.

    Example:
        >>> under("a.", {"a.b": 1, "c": 2})
        {'b': 1}
    """
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def to_tensor(value: NDArray[Any]) -> Tensor:
    """An array as a tensor that shares its memory where it can.

    Example:
        >>> to_tensor(np.array(3))
        tensor(3)
    """
    return torch.from_numpy(np.ascontiguousarray(value)).reshape(value.shape)


class Part(Protocol):
    """What has a state."""

    def state_dict(self) -> Mapping[str, Any]:
        """Tensors or arrays by name."""

    def load_state_dict(self, state: Any) -> object:
        """Go on where the one that gave `state` stood."""


def state_of(parts: Mapping[str, Part]) -> dict[str, Tensor]:
    """The states of all parts.

    Example:
        >>> [*state_of({"first": torch.nn.Linear(2, 1)})]
        ['first.weight', 'first.bias']
    """
    return {
        f"{name}.{key}" if key else name: value if isinstance(value, Tensor) else to_tensor(value)
        for name, part in parts.items()
        for key, value in part.state_dict().items()
    }


def load_parts(parts: Mapping[str, Part], state: Mapping[str, Tensor]) -> None:
    """Let all parts go on where those stood whose states `state_of` gave.

    Example:
        >>> net = torch.nn.Linear(2, 1)
        >>> state = {"first.weight": torch.ones(1, 2), "first.bias": torch.zeros(1)}
        >>> load_parts({"first": net}, state)
        >>> net.weight.tolist()
        [[1.0, 1.0]]
    """
    for name, part in parts.items():
        own = {"": state[name]} if name in state else under(f"{name}.", state)
        part.load_state_dict(own)


class Arrays:
    """A part whose state is of numpy's arrays.

    Args:
        part: the part itself.
    """

    def __init__(self, part: Part) -> None:
        self._part = part

    def state_dict(self) -> Mapping[str, Any]:
        """The part's own."""
        return self._part.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """As the part's own, of tensors."""
        self._part.load_state_dict({name: value.numpy() for name, value in state.items()})


class NumpyStreams:
    """The states of numpy's generators, as one tensor of integers without a name of its own.

    Args:
        generators: one for each replica.

    Example:
        >>> a, b = np.random.default_rng(0), np.random.default_rng(1)
        >>> NumpyStreams([b]).load_state_dict(NumpyStreams([a]).state_dict())
        >>> bool(a.random() == b.random())
        True
    """

    def __init__(self, generators: Sequence[np.random.Generator]) -> None:
        self._generators = generators

    def state_dict(self) -> dict[str, Tensor]:
        """Six integers for each generator."""
        rows = []
        for generator in self._generators:
            state = generator.bit_generator.state
            numbers = (state["state"]["state"], state["state"]["inc"])
            halves = [(n >> shift) & (2**64 - 1) for n in numbers for shift in (64, 0)]
            rows.append([*halves, state["has_uint32"], state["uinteger"]])
        return {"": torch.from_numpy(np.array(rows, np.uint64).view(np.int64))}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Put the generators where those stood that gave `state`."""
        rows = state[""].numpy().view(np.uint64).tolist()
        for generator, row in zip(self._generators, rows, strict=True):
            generator.bit_generator.state = {
                "bit_generator": "PCG64",
                "state": {"state": row[0] << 64 | row[1], "inc": row[2] << 64 | row[3]},
                "has_uint32": row[4],
                "uinteger": row[5],
            }


class TorchStreams:
    """The states of torch's generators, as one tensor without a name of its own.

    Args:
        generators: one for each replica.
    """

    def __init__(self, generators: Sequence[torch.Generator]) -> None:
        self._generators = generators

    def state_dict(self) -> dict[str, Tensor]:
        """A row of bytes for each generator."""
        return {"": torch.stack([generator.get_state() for generator in self._generators])}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Put the generators where those stood that gave `state`."""
        for generator, saved in zip(self._generators, state[""], strict=True):
            generator.set_state(saved.clone())


class InPlace:
    """An array that is written into, as one tensor without a name of its own.

    Args:
        array: the array, which stays the same object.
    """

    def __init__(self, array: NDArray[Any]) -> None:
        self._array = array

    def state_dict(self) -> dict[str, Tensor]:
        """A copy of the array."""
        return {"": to_tensor(self._array.copy())}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Write the array in `state` into this one."""
        self._array[:] = state[""].numpy()


class Losses:
    """A list of numbers that only grows, as one tensor in double precision.

    Args:
        values: the list, which stays the same object.
    """

    def __init__(self, values: list[float]) -> None:
        self._values = values

    def state_dict(self) -> dict[str, Tensor]:
        """All numbers."""
        return {"": torch.tensor(self._values, dtype=torch.float64)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Hold the numbers in `state`."""
        self._values[:] = state[""].tolist()
