"""Adam without an optimiser object: on tensors by one kernel, and on the rows of a table.

`torch.optim.Adam` calls the same fused kernel of torch's, but for networks of a few thousand
parameters its own bookkeeping takes three times as long. Where hunch's compiled kernel is there, it
moves float32 on one thread of a CPU.

Reference:
    Kingma & Ba (2015), "Adam: a method for stochastic optimization", algorithm 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ctypes import byref
from typing import Any, Final, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim.adam import adam

from hunch.kernel import Moved, kernel

BETA1: Final = 0.9
BETA2: Final = 0.999
EPSILON: Final = 1e-8
_SMALL: Final = 2**18  # numbers; more than that torch moves by several threads
_fused_adam: Final[Any] = torch._fused_adam_  # its types are too narrow for keywords in a mapping
_SETTINGS: Final[dict[str, Any]] = {
    "beta1": BETA1,
    "beta2": BETA2,
    "weight_decay": 0.0,
    "eps": EPSILON,
    "amsgrad": False,
    "maximize": False,
}


class Unwritten(Protocol):
    """A layer that knows its parameters' gradients without writing them down."""

    def places(self, vector: Tensor) -> list[tuple[int, int]]:
        """Where each of its parameters begins and ends in the vector of all."""

    def squares(self) -> float:
        """The sum of the squares of the gradients."""

    def move(self, *moved: Moved) -> None:
        """Move each parameter, once; what the gradients were made of is forgotten."""


class Adam:
    """Moments of some tensors, by which they are moved; each may be moved at other times.

    Args:
        values: the tensors. They are given again in each step, because what shares memory with a
            network may be made anew between two.

    Example:
        >>> values = [torch.zeros(2), torch.zeros(3)]
        >>> Adam(values).step(values, [torch.ones(2), torch.ones(3)], learning_rate=0.1)
        >>> values
        [tensor([-0.1000, -0.1000]), tensor([-0.1000, -0.1000, -0.1000])]
    """

    def __init__(self, values: Sequence[Tensor]) -> None:
        self._mean = [torch.zeros_like(value) for value in values]
        self._square = [torch.zeros_like(value) for value in values]
        self._steps = [0] * len(self._mean)
        # The devices and types for which torch has one kernel, for all that are of one kind.
        self._fused = all(
            v.device.type in ("cpu", "cuda") and v.is_floating_point() for v in values
        )
        self._complex = any(v.is_complex() for v in values)
        self._kinds = [(v.device, v.dtype) for v in values]
        self._alike = len(set(self._kinds)) == 1
        self._small = set(self._kinds) == {(torch.device("cpu"), torch.float32)} and all(
            mean.is_contiguous() and mean.numel() <= _SMALL for mean in self._mean
        )

    def step(
        self,
        values: Sequence[Tensor],
        gradients: Sequence[Tensor],
        learning_rate: float,
        which: Sequence[int] | None = None,
    ) -> None:
        """Move tensors along their gradients, in place.

        Args:
            values: those to be moved.
            gradients: of each.
            learning_rate: the step size.
            which: their numbers among those that the moments are of; None for all.
        """
        which = range(len(self._kinds)) if which is None else which
        if not self._alike and len({self._kinds[i] for i in which}) > 1:
            self._step_by_kind(values, gradients, learning_rate, which)
            return
        for i in which:
            self._steps[i] += 1
        library = kernel() if self._small else None
        if library is not None and all(own.is_contiguous() for own in (*values, *gradients)):
            for i, value, gradient in zip(which, values, gradients, strict=True):
                self._step_compiled(library, i, value, gradient, learning_rate)
        else:
            self._step_torch(values, gradients, learning_rate, which)

    def _step_compiled(
        self, library: Any, i: int, value: Tensor, gradient: Tensor, learning_rate: float
    ) -> None:
        moved = self._moved(i, value, gradient, learning_rate)
        library.hunch_adam(byref(moved), library.hunch_lanes())
        torch.autograd.graph.increment_version(value)

    def _moved(
        self, i: int, value: Tensor, gradient: Tensor, learning_rate: float, factor: float = 1.0
    ) -> Moved:
        return Moved(
            value.data_ptr(),
            self._mean[i].data_ptr(),
            self._square[i].data_ptr(),
            gradient.data_ptr(),
            value.numel(),
            BETA1,
            BETA2,
            EPSILON,
            learning_rate,
            factor,
            self._steps[i],
        )

    def step_with(
        self,
        value: Tensor,
        gradient: Tensor,
        learning_rate: float,
        factor: float,
        unwritten: Sequence[Unwritten],
    ) -> None:
        """Move the only tensor, a vector, of which some parts make their gradients themselves.

        Args:
            value: the vector; float32 on a CPU, with the compiled kernel there.
            gradient: of the other parts, in their places.
            learning_rate: the step size.
            factor: by which all gradients are multiplied.
            unwritten: the layers of the parts.
        """
        self._steps[0] += 1
        library = cast(Any, kernel())
        whole = self._moved(0, value, gradient, learning_rate, factor)
        places = [(place, layer) for layer in unwritten for place in layer.places(value)]
        at = 0
        for start, stop in [*sorted(place for place, _ in places), (value.numel(), 0)]:
            if start > at:
                library.hunch_adam(byref(_part(whole, at, start)), library.hunch_lanes())
            at = stop
        for layer in unwritten:
            layer.move(*(_part(whole, *place) for place in layer.places(value)))
        torch.autograd.graph.increment_version(value)

    @torch.no_grad()
    def _step_torch(
        self,
        values: Sequence[Tensor],
        gradients: Sequence[Tensor],
        learning_rate: float,
        which: Sequence[int],
    ) -> None:
        mean, square = ([kept[i] for i in which] for kept in (self._mean, self._square))
        # What torch counts up itself in its plain version is one less.
        steps = [
            torch.full((), float(self._steps[i] - (not self._fused)), device=self._kinds[i][0])
            for i in which
        ]
        if self._fused:
            _fused_adam(values, gradients, mean, square, [], steps, lr=learning_rate, **_SETTINGS)
        else:
            adam(
                list(values),
                list(gradients),
                mean,
                square,
                [],
                steps,
                lr=learning_rate,
                has_complex=self._complex,
                **_SETTINGS,
            )

    def _step_by_kind(
        self,
        values: Sequence[Tensor],
        gradients: Sequence[Tensor],
        learning_rate: float,
        which: Sequence[int],
    ) -> None:
        for kind in dict.fromkeys(self._kinds[i] for i in which):
            own = [(j, i) for j, i in enumerate(which) if self._kinds[i] == kind]
            moved, along = ([given[j] for j, _ in own] for given in (values, gradients))
            self.step(moved, along, learning_rate, [i for _, i in own])

    def memory(self) -> tuple[dict[str, Tensor], list[int]]:
        """The moments by name, which they share, and numbers of steps; of tensors of any shapes."""
        means = {f"mean.{i}": mean for i, mean in enumerate(self._mean)}
        return means | {f"square.{i}": s for i, s in enumerate(self._square)}, self._steps

    def recall(self, moments: Mapping[str, Tensor], steps: Sequence[int]) -> None:
        """Go on where the one with this memory stood."""
        for name, own in self.memory()[0].items():
            own.copy_(moments[name])
        self._steps = [int(step) for step in steps]

    def state_dict(self) -> dict[str, Tensor]:
        """The moments and numbers of steps, stacked; the tensors must be of one shape."""
        return {
            "exp_avg": torch.stack(self._mean),
            "exp_avg_sq": torch.stack(self._square),
            "step": torch.tensor(self._steps, dtype=torch.float32),
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on where the one that gave `state` stood."""
        for name, own in (("exp_avg", self._mean), ("exp_avg_sq", self._square)):
            for value, saved in zip(own, state[name], strict=True):
                value.copy_(saved)
        self._steps = [int(step) for step in state["step"]]


def _part(whole: Moved, start: int, stop: int) -> Moved:
    """The numbers from `start` to `stop` of those that are moved."""
    part = Moved.from_buffer_copy(whole)
    for name in ("value", "mean", "square", "gradient"):
        setattr(part, name, getattr(whole, name) + 4 * start)
    part.count = stop - start
    return part


class RowAdam:
    """Moments of the rows of a table, which stand still while a row is not moved.

    So `torch.optim.SparseAdam` has it; the number of steps is that of the whole table.

    Args:
        table: float32, `(rows, width)`.

    Example:
        >>> table = np.zeros((3, 2), np.float32)
        >>> RowAdam(table).step(table, np.array([1]), np.ones((1, 2), np.float32), 0.1)
        >>> table.round(3)[:2]
        array([[ 0. ,  0. ],
               [-0.1, -0.1]], dtype=float32)
    """

    def __init__(self, table: NDArray[np.float32]) -> None:
        self._mean, self._square = np.zeros_like(table), np.zeros_like(table)
        self._steps = 0

    def step(
        self,
        table: NDArray[np.float32],
        rows: NDArray[np.int64],
        gradient: NDArray[np.float32],
        learning_rate: float,
    ) -> None:
        """Move rows along their gradient, in place.

        Args:
            table: whose rows.
            rows: which, each once.
            gradient: `(len(rows), width)`; written over.
            learning_rate: the step size.
        """
        self._steps += 1
        if (library := kernel()) is not None:
            self._step_compiled(library, table, rows, gradient, learning_rate)
            return
        mean, square = self._mean.take(rows, axis=0), self._square.take(rows, axis=0)
        mean += np.float32(1 - BETA1) * (gradient - mean)
        np.multiply(gradient, gradient, out=gradient)
        square += np.float32(1 - BETA2) * (gradient - square)
        self._mean[rows], self._square[rows] = mean, square
        np.sqrt(square, out=square)
        square *= np.float32((1 - BETA2**self._steps) ** -0.5)
        square += np.float32(EPSILON)
        mean /= square
        mean *= np.float32(learning_rate / (1 - BETA1**self._steps))
        table[rows] -= mean

    def _step_compiled(
        self,
        library: Any,
        table: NDArray[np.float32],
        rows: NDArray[np.int64],
        gradient: NDArray[np.float32],
        learning_rate: float,
    ) -> None:
        moved = Moved(
            table.ctypes.data,
            self._mean.ctypes.data,
            self._square.ctypes.data,
            gradient.ctypes.data,
            len(rows),
            BETA1,
            BETA2,
            EPSILON,
            learning_rate,
            1.0,
            self._steps,
            rows.ctypes.data,
            table.shape[1],
        )
        library.hunch_adam(byref(moved), library.hunch_lanes())

    def state_dict(self) -> dict[str, Tensor]:
        """The moments and the number of steps."""
        return {
            "mean": torch.from_numpy(self._mean),
            "square": torch.from_numpy(self._square),
            "steps": torch.tensor(self._steps),
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on where the one that gave `state` stood."""
        self._mean[:], self._square[:] = state["mean"].numpy(), state["square"].numpy()
        self._steps = int(state["steps"])
