"""A batch in parts, each called by itself: under noise of its own, where calls have that."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import torch
from torch import Tensor

from hunch.rl.networks.runner import Runner


def values_in_parts(run: Runner, x: Tensor, parts: int) -> Tensor:
    """Outputs `(members, batch, …)`, of a call for each part of the batch.

    Args:
        run: the network.
        x: `(members, batch, …)`.
        parts: how many; of one size, or of two that differ by 1.

    Example:
        >>> from torch import nn
        >>> from hunch.rl.networks.noise import FreshNoise
        >>> net = nn.Linear(2, 1)
        >>> run = Runner(net, FreshNoise(net, []))
        >>> values_in_parts(run, torch.ones(1, 5, 2), 2).shape
        torch.Size([1, 5, 1])
    """
    if parts == 1:
        return run(x)
    return torch.cat([run(part) for part in x.tensor_split(parts, 1)], 1)


def differentiable_in_parts(
    run: Runner, x: Tensor, parts: int, gradient: Tensor
) -> tuple[Tensor, Callable[[Tensor], object]]:
    """As `Runner.differentiable`, of a call for each part of the batch; gradients add up.

    Args:
        run: the network.
        x: `(members, batch, …)`.
        parts: as for `values_in_parts`.
        gradient: the vector that `run` writes the parameters' gradient to.

    Example:
        >>> from torch import nn
        >>> from hunch.rl.networks.noise import FreshNoise
        >>> net, gradient = nn.Linear(2, 1), torch.zeros(3)
        >>> run = Runner(net, FreshNoise(net, []), list(net.parameters()), gradient)
        >>> out, backward = differentiable_in_parts(run, torch.ones(1, 5, 2), 2, gradient)
        >>> _ = backward(torch.ones(1, 5, 1))
        >>> gradient
        tensor([5., 5., 5.])
    """
    if parts == 1:
        return run.differentiable(x)
    outputs, backwards = zip(
        *(run.differentiable(part) for part in x.tensor_split(parts, 1)), strict=True
    )

    def backward(of_outputs: Tensor) -> None:
        def of_part(backward: Callable[[Tensor], object], own: Tensor) -> Tensor:
            backward(own)
            return gradient.clone()

        own = of_outputs.tensor_split(parts, 1)
        gradient.copy_(reduce(torch.add, map(of_part, backwards, own)))

    return torch.cat(outputs, 1), backward
