"""Arrays and random generators as tensors, so that all of a life fits into one file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

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


def numpy_state(generators: Sequence[np.random.Generator]) -> Tensor:
    """The states of numpy generators as integers.

    Example:
        >>> numpy_state([np.random.default_rng(0)]).shape
        torch.Size([1, 6])
    """
    rows = []
    for generator in generators:
        state = generator.bit_generator.state
        numbers = (state["state"]["state"], state["state"]["inc"])
        halves = [(n >> shift) & (2**64 - 1) for n in numbers for shift in (64, 0)]
        rows.append([*halves, state["has_uint32"], state["uinteger"]])
    return torch.from_numpy(np.array(rows, np.uint64).view(np.int64))


def set_numpy_state(generators: Sequence[np.random.Generator], state: Tensor) -> None:
    """Put numpy generators where `numpy_state` found them.

    Example:
        >>> a, b = np.random.default_rng(0), np.random.default_rng(1)
        >>> set_numpy_state([b], numpy_state([a]))
        >>> bool(a.random() == b.random())
        True
    """
    rows = state.numpy().view(np.uint64).tolist()
    for generator, row in zip(generators, rows, strict=True):
        generator.bit_generator.state = {
            "bit_generator": "PCG64",
            "state": {"state": row[0] << 64 | row[1], "inc": row[2] << 64 | row[3]},
            "has_uint32": row[4],
            "uinteger": row[5],
        }
