"""Inputs at a common scale, and outputs that do not depend on them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hunch.nn.batched import batched


class Normalizer(nn.Module):
    """Each feature shifted and scaled by the mean and variance of all data seen so far.

    Nothing is learned from gradients and nothing changes in a forward: `update` says what was seen.
    Until the first `update` inputs pass as they are, only clipped.

    Args:
        *shape: shape of one input.
        clip: outputs are clipped to ±clip, in standard deviations.

    Shape:
        `(batch, *shape)` to the same.

    Example:
        >>> net = Normalizer(1)
        >>> net.update(torch.tensor([[1.0], [3.0]]))
        >>> net(torch.tensor([[3.0]]))
        tensor([[1.]])
    """

    mean: Tensor
    variance: Tensor
    count: Tensor

    def __init__(self, *shape: int, clip: float = 10.0) -> None:
        super().__init__()
        self.clip = float(clip)
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("variance", torch.ones(shape))
        self.register_buffer("count", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """Return `(x − mean) / std`, clipped."""
        return self.apply_to(x, self.mean, self.variance)

    def apply_to(self, x: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        """The output under other statistics, such as those of all members of an ensemble."""
        return ((x - mean) * torch.rsqrt(variance + 1e-8)).clamp(-self.clip, self.clip)

    @torch.no_grad()
    def update(self, x: Tensor) -> None:
        """Take in more data.

        Args:
            x: `(batch, *shape)`, at least one row.

        Reference:
            Chan, Golub & LeVeque (1983), "Algorithms for computing the sample variance".
        """
        number = x.shape[0]
        mean, variance = x.mean(0), x.var(0, correction=0)
        total = self.count + number
        away = mean - self.mean
        spread = self.variance * self.count + variance * number
        spread += away.square() * self.count * number / total
        self.variance.copy_(spread / total)
        self.mean.add_(away * number / total)
        self.count.copy_(total)

    def extra_repr(self) -> str:
        """The shape and the clip."""
        return f"{', '.join(map(str, self.mean.shape))}, clip={self.clip}"


@batched(Normalizer)
def _normalizer(layer: Normalizer, x: Tensor) -> Tensor:
    return layer.apply_to(x, layer.mean.unsqueeze(1), layer.variance.unsqueeze(1))


class Constant(nn.Module):
    """The same learned outputs for every input.

    Args:
        value: the initial outputs, shape `(out,)`.

    Shape:
        `(…, in)` to `(…, out)`.

    Example:
        >>> Constant(torch.zeros(2))(torch.ones(5, 3)).shape
        torch.Size([5, 2])
    """

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.value = nn.Parameter(value.clone())

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs, once for each row of `x`."""
        return self.value.expand(*x.shape[:-1], -1)


@batched(Constant)
def _constant(layer: Constant, x: Tensor) -> Tensor:
    shape = (-1, *[1] * (x.ndim - 2), layer.value.shape[-1])
    return layer.value.reshape(shape).expand(*x.shape[:-1], -1)
