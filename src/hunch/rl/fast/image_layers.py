"""What stands before the linear layers of a network for images, forwards and backwards by hand.

Layers on `(1, batch, …)`: of a single network, for stacked convolutions are left to torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hunch.kernel import kernel
from hunch.nn.compiled_chain import ROOMS, Lent, Room
from hunch.nn.noisy_base import Draw
from hunch.rl.networks.feature_layers import Channels, Pixels


class PixelsByHand:
    """x / 255."""

    def __init__(self, module: Pixels, gradients: Mapping[int, Tensor], members: bool) -> None:
        pass

    def forward(self, x: Tensor, draws: Mapping[int, Draw], tape: list[Any] | None) -> Tensor:
        """Return numbers from 0 to 1."""
        return x / 255

    def backward(self, gradient: Tensor, needed: bool, tape: list[Any]) -> Tensor:
        """Return the inputs' gradient, if it is needed."""
        return gradient / 255 if needed else gradient


class ChannelsByHand:
    """The same numbers with one axis of channels, in front of the sides."""

    def __init__(self, module: Channels, gradients: Mapping[int, Tensor], members: bool) -> None:
        self.module = module

    def forward(self, x: Tensor, draws: Mapping[int, Draw], tape: list[Any] | None) -> Tensor:
        """Return `(members, batch, channels, *sides)`."""
        if tape is not None:
            tape.append(x.shape)
        images: Tensor = self.module(x.flatten(0, 1))
        split: Tensor = images.unflatten(0, x.shape[:2])
        return split

    def backward(self, gradient: Tensor, needed: bool, tape: list[Any]) -> Tensor:
        """Return the inputs' gradient, if it is needed."""
        shape = tape.pop()
        if not needed:
            return gradient
        if not self.module.last:
            return gradient.reshape(shape)
        return gradient.reshape(*shape[:-3], shape[-1], *shape[-3:-1]).movedim(-3, -1)


class ConvolutionByHand:
    """A convolution, and max(·, 0) of it where a ReLU stands behind it.

    Attributes:
        relu: whether a ReLU does.
        divisor: of the inputs; 255 where `Pixels` stands before it, so that they may be bytes.
    """

    def __init__(self, module: nn.Conv2d, gradients: Mapping[int, Tensor], members: bool) -> None:
        bias = module.bias
        self.weight, self.gw = module.weight.detach(), gradients.get(id(module.weight))
        self.bias = None if bias is None else bias.detach()
        self.gb = None if bias is None else gradients.get(id(bias))
        # Strings for padding have no rule.
        self.how: tuple[Any, Any, Any] = (module.stride, module.padding, module.dilation)
        self.groups = module.groups
        self.relu, self.divisor = False, 1.0
        # oneDNN would otherwise turn images into this layout and back, in each of its calls.
        last = self.weight.device.type == "cpu"
        self.layout = torch.channels_last if last else torch.contiguous_format
        self._rooms: dict[int, Room] = {}

    def forward(self, x: Tensor, draws: Mapping[int, Draw], tape: list[Any] | None) -> Tensor:
        """Return `(1, batch, channels, height, width)`."""
        images, lent = self._images(x[0], tape is not None)
        y = F.conv2d(images, self.weight, self.bias, *self.how, self.groups)
        if self.relu:
            torch.relu_(y)
        if tape is not None:
            self.kept = (images, y, lent)
            tape.append(self.kept)
        return y.unsqueeze(0)

    @property
    def takes_bytes(self) -> bool:
        """Whether inputs may be bytes, which become the same numbers as they would before."""
        of_floats = self.weight.dtype == torch.float32 and self.weight.device.type == "cpu"
        return of_floats and self.divisor != 1.0

    def backward(self, gradient: Tensor, needed: bool, tape: list[Any]) -> Tensor:
        """Write the parameters' gradients; return the inputs', if they are needed."""
        images, y, _ = tape.pop()
        own = gradient[0].contiguous(memory_format=self.layout)
        if self.relu:
            own = torch.ops.aten.threshold_backward(own, y, 0.0)
        sizes = None if self.bias is None else [len(self.bias)]
        wanted = [needed, self.gw is not None, self.gb is not None]
        inputs, *slopes = torch.ops.aten.convolution_backward(
            own, images, self.weight, sizes, *self.how, False, [0, 0], self.groups, wanted
        )
        for place, slope in zip((self.gw, self.gb), slopes, strict=True):
            if place is not None:
                place.copy_(slope)
        return inputs.div_(self.divisor).unsqueeze(0) if needed else gradient

    def _images(self, x: Tensor, lasting: bool) -> tuple[Tensor, Lent | None]:
        """The inputs, divided and in the layout wanted, and the memory that is lent for them.

        Args:
            x: the inputs, `(batch, channels, height, width)`.
            lasting: whether they are needed beyond this forward.
        """
        if self.divisor == 1.0:
            return x.contiguous(memory_format=self.layout), None
        if x.device.type != "cpu" or x.dtype not in (torch.float32, torch.uint8):
            return x / self.divisor, None
        # By far the largest tensor of all, which would be given back to the system in between.
        room = self._rooms.pop(len(x), None) or Room(x.numel(), 0)
        if len(self._rooms) == ROOMS:
            del self._rooms[next(iter(self._rooms))]
        self._rooms[len(x)] = room
        lent = room.lend() if lasting else None
        batch, channels, height, width = x.shape
        memory = room.spare if lent is None else lent.memory
        images = memory.view(batch, height, width, channels).permute(0, 3, 1, 2)
        library = kernel()
        if library is None or not x.is_contiguous():
            return torch.div(x, self.divisor, out=images), lent
        divide = library.hunch_images
        if x.dtype == torch.uint8:
            divide = library.hunch_images_of_bytes
        divide(x.data_ptr(), batch, channels, height * width, self.divisor, images.data_ptr())
        return images, lent


def has_plain_images(module: nn.Conv2d) -> bool:
    """Whether `ConvolutionByHand` computes what this convolution does.

    Example:
        >>> has_plain_images(nn.Conv2d(1, 2, 3)), has_plain_images(nn.Conv2d(1, 2, 3, padding=1))
        (True, True)
        >>> has_plain_images(nn.Conv2d(1, 2, 3, padding="same"))
        False
    """
    padded = module.padding_mode == "zeros" and not isinstance(module.padding, str)
    return padded and module.weight.dim() == 4  # and not those of members on an axis in front
