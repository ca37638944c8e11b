"""A network that is called and differentiated under noise, new in each call or held."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hunch.nn import Ensemble
from hunch.rl.networks.held_noise import HeldNoise
from hunch.rl.networks.noise import FreshNoise


class Runner:
    """Calls a network, or a stack of them, and differentiates it, by torch alone.

    Args:
        network: a module, or an `hunch.nn.Ensemble`.
        noise: what the network is called through.
        parameters: those whose gradient is asked for.
        gradient: a vector with a place for each of them, one after another; of a stack perhaps
            `(members, size)`, with a vector for each member.

    Attributes:
        takes_bytes: whether observations that are bytes may be given as they are.

    Example:
        >>> net = nn.Linear(2, 1)
        >>> gradient = torch.zeros(3)
        >>> run = Runner(net, FreshNoise(net, []), list(net.parameters()), gradient)
        >>> out, backward = run.differentiable(torch.ones(1, 5, 2))
        >>> _ = backward(torch.ones(1, 5, 1))
        >>> out.shape, gradient
        (torch.Size([1, 5, 1]), tensor([5., 5., 5.]))
    """

    def __init__(
        self,
        network: nn.Module,
        noise: FreshNoise | HeldNoise,
        parameters: Sequence[Tensor] = (),
        gradient: Tensor | None = None,
    ) -> None:
        self._network, self._noise = network, noise
        self._parameters, self._gradient = list(parameters), gradient
        self._stacked = isinstance(network, Ensemble)
        self.takes_bytes = False

    def __call__(self, *inputs: Tensor) -> Tensor:
        """Outputs `(members, batch, …)` for `x (members, batch, …)`, without a gradient."""
        with torch.no_grad():
            return self._call(*inputs)

    def differentiable(self, *inputs: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Outputs, and a function that takes their gradient and writes the parameters'.

        What the function returns is the gradient of the inputs only where a subclass says so. It
        belongs to this call alone, whatever else is called before it, but to the parameters as they
        are now.
        """
        with torch.enable_grad():
            out = self._call(*inputs)

        def backward(gradient: Tensor) -> Tensor:
            grads = torch.autograd.grad(out, self._parameters, gradient, materialize_grads=True)
            lead = () if self._gradient is None else self._gradient.shape[:-1]
            torch.cat([grad.reshape(*lead, -1) for grad in grads], dim=-1, out=self._gradient)
            return gradient

        return out.detach(), backward

    def wide_layers(self) -> Sequence[Any]:
        """Layers that may leave gradients unwritten; see `NetworkPair.leave_unwritten`."""
        return ()

    def _call(self, *inputs: Tensor) -> Tensor:
        if self._stacked:
            return self._noise(*inputs, per_member=True)
        return self._noise(inputs[0][0]).unsqueeze(0)
