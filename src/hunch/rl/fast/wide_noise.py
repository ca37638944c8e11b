"""Noisy layers of many weights, a block of them at a time.

W + S ∘ ε of a layer from 3,136 inputs to 512 outputs is 6 MB, and to write it, its noise and the
gradients of both, and to read them again, takes longer than the products of a batch of 32 with it.
A block of its rows stays in the cache from its noise to its product, and is made again for the
backward, so that of all that nothing but W, S and their gradients passes through memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import torch
from torch import Tensor

from hunch.nn.noisy_base import Draw

# Both are measured by benchmarks/constants.py.
BLOCK: Final = 2**17  # numbers, half a megabyte
MANY_WEIGHTS: Final = 2**19  # from here on blocks pay


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

    def forward(self, x: Tensor, bias: Tensor | None, draw: Draw) -> Tensor:
        """Return x (W + S ∘ ε)ᵀ + bias, `(members, batch, out)`.

        Args:
            x: `(members, batch, in)`.
            bias: `(members, 1, out)`, or None.
            draw: the noise.
        """
        y = x.new_empty(x.shape[0], x.shape[1], self._weight.shape[1])
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
        inputs = torch.zeros_like(x, memory_format=torch.contiguous_format) if needed else gradient
        for part, noise in self._noise(draw):
            own = gradient[..., part]
            of_weight, of_sigma = (None if slope is None else slope[:, part] for slope in slopes)
            product = torch.bmm(own.mT, x, out=of_weight)
            torch.mul(product, noise, out=of_sigma)
            if needed:
                inputs.baddbmm_(own, self._perturbed(part, noise))
        return inputs

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


def is_wide(weight: Tensor) -> bool:
    """Whether a layer with these weights, `(members, out, in)`, is computed in blocks.

    Example:
        >>> is_wide(torch.zeros(1, 512, 3136)), is_wide(torch.zeros(1, 128, 128))
        (True, False)
    """
    return weight.device.type == "cpu" and weight.numel() >= MANY_WEIGHTS
