"""What a ready-made network does with observations before its linear layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from hunch.errors import warn_user

SMALLEST_SIDE: Final = 36  # in pixels, of an image on which the three convolutions fit
_SMALLEST_OF_ALL: Final = 5  # likewise of one whose pixels have neighbours worth a convolution
MANY_INPUTS: Final = 4_096  # numbers with a place in space that a linear layer should not be given


class Pixels(nn.Module):
    """Bytes 0 … 255 to numbers 0 … 1.

    Example:
        >>> Pixels()(torch.tensor([51.0]))
        tensor([0.2000])
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return `x / 255`."""
        return x / 255


class Channels(nn.Module):
    """Observations as images with one axis of channels, in front: `(batch, channels, *sides)`.

    Args:
        last: whether channels lie behind the sides.

    Example:
        >>> Channels(last=True)(torch.zeros(5, 84, 84, 3)).shape
        torch.Size([5, 3, 84, 84])
        >>> Channels(last=True)(torch.zeros(5, 4, 84, 84, 3)).shape  # a stack of four
        torch.Size([5, 12, 84, 84])
        >>> Channels(last=False)(torch.zeros(5, 84, 84)).shape
        torch.Size([5, 1, 84, 84])
    """

    def __init__(self, last: bool) -> None:
        super().__init__()
        self.last = last

    def forward(self, x: Tensor) -> Tensor:
        """Return the same numbers in another order."""
        x = x.movedim(-1, -3) if self.last else x
        return x.unsqueeze(1) if x.dim() == 3 else x.flatten(1, -3)


def nature_convolutions(channels: int) -> list[nn.Module]:
    """The three convolutions that Mnih et al. (2015) put before their linear layers.

    Args:
        channels: images in one observation; each at least 36 × 36 pixels.

    Example:
        >>> nn.Sequential(*nature_convolutions(4))(torch.zeros(1, 4, 84, 84)).shape
        torch.Size([1, 3136])
    """
    return [
        nn.Conv2d(channels, 32, 8, stride=4),
        nn.ReLU(),
        nn.Conv2d(32, 64, 4, stride=2),
        nn.ReLU(),
        nn.Conv2d(64, 64, 3),
        nn.ReLU(),
        nn.Flatten(),
    ]


def small_convolution(channels: int) -> list[nn.Module]:
    """The convolution that Young & Tian (2019) put before their linear layers for MinAtar.

    Args:
        channels: images in one observation.

    Example:
        >>> nn.Sequential(*small_convolution(4))(torch.zeros(1, 4, 10, 10)).shape
        torch.Size([1, 1024])
    """
    return [nn.Conv2d(channels, 16, 3), nn.ReLU(), nn.Flatten()]


def feature_layers(
    observation_shape: tuple[int, ...],
    pixels: bool,
    scaling: Sequence[nn.Module] = (),
    *,
    one_hot: bool = False,
) -> tuple[list[nn.Module], int]:
    """The layers from observations to a vector of features, and its size.

    Images go through convolutions, whether channels lie in front of the sides or behind them, and
    stacked or not; small ones with channels, from 5 × 5 to 35 × 35 pixels, through a single one;
    everything else becomes a vector as it is.

    Args:
        observation_shape: shape of one observation.
        pixels: whether observations are bytes, to be divided by 255.
        scaling: layers on observations in their own layout, behind that division.
        one_hot: whether observations hold a single 1, so that they are no images however large.

    Warns:
        HunchWarning: if more numbers than convolutions should leave go into a linear layer.

    Example:
        >>> layers, size = feature_layers((84, 84, 3), pixels=True)
        >>> [type(layer).__name__ for layer in layers[:3]], size
        (['Pixels', 'Channels', 'Conv2d'], 3136)
        >>> [type(layer).__name__ for layer in feature_layers((10, 10, 4), pixels=False)[0]]
        ['Channels', 'Conv2d', 'ReLU', 'Flatten']
        >>> feature_layers((10, 5), pixels=False)
        ([Flatten(start_dim=1, end_dim=-1)], 50)
    """
    layers = [*([Pixels()] if pixels else []), *scaling]
    convolutions, last = nature_convolutions, _channels_last(observation_shape, pixels)
    if last is None:
        convolutions, last = small_convolution, _small_channels_last(observation_shape)
    if last is None:
        size = math.prod(observation_shape)
        if len(observation_shape) != 1:
            layers.append(nn.Flatten())
            if size > MANY_INPUTS and not one_hot:
                _warn_of(observation_shape, size)
        return layers, size
    if last or len(observation_shape) != 3:
        layers.append(Channels(last))
    sides = observation_shape[-3:-1] if last else observation_shape[-2:]
    layers += convolutions(math.prod(observation_shape) // math.prod(sides))
    with torch.no_grad():
        size = nn.Sequential(*layers)(torch.zeros(1, *observation_shape)).shape[1]
    return layers, size


def _channels_last(shape: tuple[int, ...], pixels: bool) -> bool | None:
    """Whether channels lie behind the sides of an image; None for what is no image."""

    def large(sides: tuple[int, ...]) -> bool:
        return len(sides) == 2 and min(sides) >= SMALLEST_SIDE

    if len(shape) == 2:  # without channels; other tables of numbers have two axes as well
        return False if pixels and large(shape) else None
    if large(shape[-2:]):
        return False
    return True if large(shape[-3:-1]) else None


def _small_channels_last(shape: tuple[int, ...]) -> bool | None:
    """As `_channels_last`, of images too small for three convolutions.

    Sides of one length are the sides; of three lengths the shorter one of the first and the last is
    taken for the channels. Where that leaves both they lie behind, as Gymnasium's do.
    """
    if len(shape) != 3:
        return None
    height, width, depth = shape
    last = height == width or (width != depth and depth <= height)
    sides = shape[:2] if last else shape[1:]
    fits = all(_SMALLEST_OF_ALL <= side < SMALLEST_SIDE for side in sides)
    return last if fits else None


def _warn_of(shape: tuple[int, ...], size: int) -> None:
    warn_user(
        f"`env` has observations of shape {shape}, which the ready-made network takes for {size:,} "
        "numbers without neighbours; expected images of at least "
        f"{SMALLEST_SIDE} × {SMALLEST_SIDE} for convolutions, bytes if they have no channels. "
        "Wrap `env` in gymnasium.wrappers.ResizeObservation or GrayscaleObservation, or give a "
        "`network`."
    )


def warn_of_images_within(arrays: Sequence[tuple[str, tuple[int, ...]]]) -> None:
    """Say which images become a part of a vector, where no convolution finds neighbours.

    Args:
        arrays: names and shapes of arrays of bytes.

    Warns:
        HunchWarning: if one is an image of at least 36 × 36 pixels.

    Example:
        >>> warn_of_images_within([("['image']", (7, 7, 3))])  # too small for that
    """
    for name, shape in arrays:
        if _channels_last(shape, pixels=True) is not None:
            warn_user(
                f"`env` has observations with an image of shape {shape} as {name}, whose "
                f"{math.prod(shape):,} numbers become a part of a vector, without neighbours and "
                "not divided by 255; expected it alone, by gymnasium.wrappers.FilterObservation, "
                "or made smaller by a wrapper of your own."
            )


def is_pixels(dtype: type[np.generic]) -> bool:
    """Whether observations of this type are bytes, as images are.

    Example:
        >>> is_pixels(np.uint8), is_pixels(np.float32)
        (True, False)
    """
    return np.dtype(dtype) == np.uint8
