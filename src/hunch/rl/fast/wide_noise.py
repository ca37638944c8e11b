"""Noisy layers of many weights in the compiled kernel, a tile of them at a time.

W + S ∘ ε of a layer from 3,136 inputs to 512 outputs is 6 MB, and to write it, its noise and the
gradients of both, and to read them again, takes longer than the products of a batch of 32 with it.
A tile stays in the cache from its noise to its products, and is made again for the backward, so
that of all that nothing but W, S and their gradients passes through memory. A batch of few rows,
as one observation to act on, needs no tile: each weight is made, used and forgotten.
"""

from __future__ import annotations

from collections.abc import Iterator
from ctypes import byref
from typing import Any, Final, cast

import torch
from torch import Tensor

from hunch.kernel import Moved, Wide, kernel
from hunch.nn.noisy_base import Draw

MANY_WEIGHTS: Final = 2**18  # from here on it pays; measured by benchmarks/constants.py
_LANES: Final = 8  # the kernel takes so many inputs at a time, and no fewer


class WideNoise:
    """Products with W + S ∘ ε of all members, of which never more than a tile is there.

    Args:
        weight: W, `(members, out, in)`, of a layer that `is_wide`.
        sigma: S, of the same shape.

    Attributes:
        unwritten: whether a backward writes no gradients of W and S, but keeps what they are made
            of for `move`, which makes them again: twice the numbers of W and S less to be written,
            and read by the norm and by Adam.
        pending: what it kept; None if there is nothing to be moved along.

    Example:
        >>> weight, sigma = torch.zeros(1, 512, 512), torch.ones(1, 512, 512)
        >>> draw = torch.ones(512), torch.full((512,), 2.0)
        >>> if is_wide(weight, sigma, factorized=True):
        ...     y = WideNoise(weight, sigma).forward(torch.ones(1, 4, 512), None, draw)
        ...     assert y.unique().tolist() == [1024.0]
    """

    def __init__(self, weight: Tensor, sigma: Tensor) -> None:
        self._weight, self._sigma = weight, sigma
        self._library = cast(Any, kernel())
        self._lanes = self._library.hunch_lanes()
        self._scratch = weight.new_empty(0)
        self.unwritten = False
        self.pending: tuple[Tensor, Tensor, Draw] | None = None

    def forward(self, x: Tensor, bias: Tensor | None, draw: Draw) -> Tensor:
        """Return x (W + S ∘ ε)ᵀ + bias, `(members, batch, out)`.

        Args:
            x: `(members, batch, in)`.
            bias: `(members, 1, out)`, or None.
            draw: the two factors of ε.
        """
        x = x.contiguous()
        y = x.new_empty(x.shape[0], x.shape[1], self._weight.shape[1])
        for call in self._calls(draw, x=x, bias=bias, y=y):
            self._library.hunch_wide_forward(byref(call), self._lanes)
        return y

    def backward(
        self,
        gradient: Tensor,
        x: Tensor,
        draw: Draw,
        slopes: tuple[Tensor | None, Tensor | None],
        needed: bool,
    ) -> Tensor:
        """Write the gradients of W and S; return the inputs', if they are needed.

        Args:
            gradient: of the outputs, `(members, batch, out)`.
            x: as in the forward.
            draw: as in the forward.
            slopes: where the gradients of W and S are written, `(members, out, in)` each.
            needed: whether the inputs' gradient is.
        """
        x, gradient = x.contiguous(), gradient.contiguous()
        of_weight, of_sigma = slopes
        if self.unwritten:
            of_weight = of_sigma = None
            self.pending = (gradient, x, draw)
            if not needed:
                return gradient
        inputs = torch.empty_like(x) if needed else None
        places = {"of_weight": of_weight, "of_sigma": of_sigma, "dx": inputs}
        for call in self._calls(draw, x=x, dy=gradient, **places):
            self._library.hunch_wide_backward(byref(call), self._lanes)
        return gradient if inputs is None else inputs

    def places(self, vector: Tensor) -> list[tuple[int, int]]:
        """As `hunch.adam.Unwritten`'s: of W and of S."""
        starts = [(own.data_ptr() - vector.data_ptr()) // 4 for own in (self._weight, self._sigma)]
        return [(start, start + self._weight.numel()) for start in starts]

    def squares(self) -> float:
        """As `hunch.adam.Unwritten`'s."""
        (call,) = self._pending_calls()
        squares: float = self._library.hunch_wide_squares(byref(call), self._lanes)
        return squares

    def move(self, *moved: Moved) -> None:
        """As `hunch.adam.Unwritten`'s: W and S."""
        (call,) = self._pending_calls()
        self._library.hunch_wide_step(byref(call), *map(byref, moved), self._lanes)
        self.pending = None

    def _pending_calls(self) -> Iterator[Wide]:
        gradient, x, draw = cast(Any, self.pending)
        return self._calls(draw, x=x, dy=gradient)

    def _calls(self, draw: Draw, **tensors: Tensor | None) -> Iterator[Wide]:
        """The call for each member; tensors `(members, …)` by their names in the kernel."""
        members, outputs, inputs = self._weight.shape
        batch = cast(Tensor, tensors["x"]).shape[1]
        size = self._library.hunch_wide_scratch(inputs, batch)
        if len(self._scratch) < size:
            self._scratch = self._weight.new_empty(size)
        rows, columns = draw[0].view(members, inputs), draw[1].view(members, outputs)
        tensors |= {"weight": self._weight, "sigma": self._sigma, "rows": rows, "columns": columns}
        for member in range(members):
            call = Wide(scratch=self._scratch.data_ptr())
            call.batch, call.inputs, call.outputs = batch, inputs, outputs
            for name, tensor in tensors.items():
                if tensor is not None:
                    setattr(call, name, tensor[member].data_ptr())
            yield call


def is_wide(weight: Tensor, sigma: Tensor, factorized: bool) -> bool:
    """Whether a layer is to be computed so; where torch has several threads they share a product.

    Args:
        weight: W, `(members, out, in)`.
        sigma: S, of the same shape.
        factorized: whether its noise is a product of two factors.

    Example:
        >>> is_wide(torch.zeros(1, 128, 128), torch.zeros(1, 128, 128), factorized=True)
        False
    """
    return (
        factorized
        and weight[0].numel() >= MANY_WEIGHTS
        and weight.shape[2] % _LANES == 0
        and weight.dtype == torch.float32
        and weight.device.type == "cpu"
        and all(own[0].is_contiguous() for own in (weight, sigma))
        and torch.get_num_threads() == 1
        and kernel() is not None
    )
