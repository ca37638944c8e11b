"""Noisy layers of many weights, a block of them at a time.

W + S ∘ ε of a layer from 3,136 inputs to 512 outputs is 6 MB, and to write it, its noise and the
gradients of both, and to read them again, takes longer than the products of a batch of 32 with it.
A block of its rows stays in the cache from its noise to its product, and is made again for the
backward, so that of all that nothing but W, S and their gradients passes through memory. The
compiled kernel, if it is there, fetches one block while it computes with another.
"""

from __future__ import annotations

from collections.abc import Iterator
from ctypes import byref
from typing import Final

import torch
from torch import Tensor

from hunch.kernel import Wide, kernel
from hunch.nn.noisy_base import Draw

# Both are measured by benchmarks/constants.py.
BLOCK: Final = 2**17  # numbers, half a megabyte
MANY_WEIGHTS: Final = 2**19  # from here on blocks pay

_LANES: Final = 8  # the kernel takes so many inputs at a time, and no fewer


class WideNoise:
    """The weights W + S ∘ ε of all members, of which never more than a block is there.

    Args:
        weight: W, `(members, out, in)`.
        sigma: S, of the same shape.
        factorized: whether ε is a product, and a draw its two factors.

    Example:
        >>> weight, sigma = torch.zeros(1, 2, 3), torch.ones(1, 2, 3)
        >>> wide = WideNoise(weight, sigma, factorized=True)
        >>> draw = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, -1.0])
        >>> wide.forward(torch.ones(1, 1, 3), None, draw)
        tensor([[[ 6., -6.]]])
    """

    def __init__(self, weight: Tensor, sigma: Tensor, factorized: bool) -> None:
        self._weight, self._sigma, self._factorized = weight, sigma, factorized
        members, outputs, inputs = weight.shape
        rows = min(outputs, max(1, BLOCK // (members * inputs)))
        self._parts = [slice(i, min(i + rows, outputs)) for i in range(0, outputs, rows)]
        self._room = weight.new_empty(members, rows, inputs)
        self._library = kernel() if factorized and _suits_kernel(weight, sigma) else None
        self._scratch = weight.new_empty(0)

    def forward(self, x: Tensor, bias: Tensor | None, draw: Draw) -> Tensor:
        """Return x (W + S ∘ ε)ᵀ + bias, `(members, batch, out)`.

        Args:
            x: `(members, batch, in)`.
            bias: `(members, 1, out)`, or None.
            draw: the noise.
        """
        y = x.new_empty(x.shape[0], x.shape[1], self._weight.shape[1])
        if self._library is not None:
            x = x.contiguous()
            for call in self._calls(x, draw, bias=bias, y=y):
                self._library.hunch_wide_forward(byref(call), self._library.hunch_lanes())
            return y
        for part, noise in self._noise(draw):
            transposed, out = self._perturbed(part, noise).mT, y[..., part]
            if bias is None:
                torch.bmm(x, transposed, out=out)
            else:
                torch.baddbmm(bias[..., part], x, transposed, out=out)
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
        if self._library is not None:
            x, gradient = x.contiguous(), gradient.contiguous()
            found = torch.empty_like(x) if needed else None
            names = dict(zip(("of_weight", "of_sigma"), slopes, strict=True))
            for call in self._calls(x, draw, dy=gradient, dx=found, **names):
                self._library.hunch_wide_backward(byref(call), self._library.hunch_lanes())
            return gradient if found is None else found
        inputs = torch.zeros_like(x, memory_format=torch.contiguous_format) if needed else gradient
        for part, noise in self._noise(draw):
            own = gradient[..., part]
            of_weight, of_sigma = (None if slope is None else slope[:, part] for slope in slopes)
            product = torch.bmm(own.mT, x, out=of_weight)
            torch.mul(product, noise, out=of_sigma)
            if needed:
                inputs.baddbmm_(own, self._perturbed(part, noise))
        return inputs

    def _calls(self, x: Tensor, draw: Draw, **others: Tensor | None) -> Iterator[Wide]:
        """The kernel's call for each member; `others` by their names there, `(members, …)`."""
        members, outputs, inputs = self._weight.shape
        library, batch = self._library, x.shape[1]
        size = 0 if library is None else library.hunch_wide_scratch(inputs, batch)
        if len(self._scratch) < size:
            self._scratch = self._weight.new_empty(size)
        given = {"weight": self._weight, "sigma": self._sigma, "x": x, **others}
        for member in range(members):
            call = Wide(batch=batch, inputs=inputs, outputs=outputs)
            for name, tensor in given.items():
                if tensor is not None:
                    setattr(call, name, tensor[member].data_ptr())
            call.rows = draw[0].view(members, inputs)[member].data_ptr()
            call.columns = draw[1].view(members, outputs)[member].data_ptr()
            call.scratch = self._scratch.data_ptr()
            yield call

    def _noise(self, draw: Draw) -> Iterator[tuple[slice, Tensor]]:
        """ε of one block after another, each until the next or until `_perturbed`."""
        members, outputs, inputs = self._weight.shape
        for part in self._parts:
            if self._factorized:
                rows, columns = draw[0].view(members, 1, inputs), draw[1].view(members, outputs, 1)
                room = self._room[:, : part.stop - part.start]
                yield part, torch.mul(columns[:, part], rows, out=room)
            else:
                yield part, draw[0].view_as(self._weight)[:, part]

    def _perturbed(self, part: slice, noise: Tensor) -> Tensor:
        """W + S ∘ ε of a block, in the place of its noise."""
        room = self._room[:, : part.stop - part.start]
        return torch.addcmul(self._weight[:, part], self._sigma[:, part], noise, out=room)


def _suits_kernel(weight: Tensor, sigma: Tensor) -> bool:
    """Whether the kernel is to run it; where torch has several threads they share a product."""
    numbers = (weight, sigma)
    return (
        all(own.dtype == torch.float32 and own[0].is_contiguous() for own in numbers)
        and weight.shape[2] % _LANES == 0
        and torch.get_num_threads() == 1
    )


def is_wide(weight: Tensor) -> bool:
    """Whether a layer with these weights, `(members, out, in)`, is computed in blocks.

    Example:
        >>> is_wide(torch.zeros(1, 512, 3136)), is_wide(torch.zeros(1, 128, 128))
        (True, False)
    """
    return weight.device.type == "cpu" and weight.numel() >= MANY_WEIGHTS
