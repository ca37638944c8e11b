"""An epinet's trained part, forwards and backwards by hand, all indices on all rows at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from hunch.nn import Ensemble, Epinet
from hunch.rl.fast.manual_backprop import Tape, by_hand, runner_of, views_of

Backward = Callable[[Tensor], tuple[Tensor, Tensor]]


class EpinetPass:
    """Calls a stack of epinets, one a replica, without their priors, and differentiates them.

    Args:
        network: an `hunch.nn.Ensemble` of `hunch.nn.Epinet`.
        parameters: those whose gradient is asked for, in the network's order.
        gradient: a vector with a place for each of them, one after another.
        behind_first: whether the products of the layers that see x are computed elsewhere.
    """

    def __init__(
        self,
        network: Ensemble,
        parameters: Sequence[Tensor],
        gradient: Tensor,
        behind_first: bool,
    ) -> None:
        epinet = network.skeleton
        if not isinstance(epinet, Epinet):
            raise TypeError("a stack of epinets was expected")
        of_trunk = {id(parameter) for parameter in epinet.trunk.parameters()}
        trained = [parameter for parameter in parameters if id(parameter) in of_trunk]
        # The trunk is what an epinet lists first.
        size = sum(parameter.numel() for parameter in trained)
        self._trunk_learns = bool(trained)
        self._trunk = runner_of(network.part("trunk"), trained, gradient[:size], behind_first)
        views = views_of(parameters, gradient)
        learned = epinet.learned
        self._head = by_hand(epinet.head, views, True)
        self._from_features = by_hand(learned.from_features, views, True)
        self._from_index = by_hand(learned.from_index, views, True)
        self._from_input = None
        if learned.from_input is not None and not behind_first:
            self._from_input = by_hand(learned.from_input, views, True)
        self._sees_input = learned.from_input is not None
        self._hidden = by_hand(learned.hidden, views, True)
        self._last = _MixedLast(learned.last, learned.index_dim, views)

    def __call__(self, base: Tensor, beside: Tensor, z: Tensor) -> Tensor:
        """Values without a gradient.

        Args:
            base: what the base network takes, `(replicas, batch, …)`.
            beside: what the epinet sees of x, `(replicas, batch, inputs)`.
            z: indices `(replicas, K, D)`.

        Returns:
            `(replicas, K, batch, actions)`.
        """
        with torch.no_grad():
            return self._run(self._trunk(base), beside, z, None)

    def differentiable(self, base: Tensor, beside: Tensor, z: Tensor) -> tuple[Tensor, Backward]:
        """Values, and a function that takes their gradient and writes the parameters'.

        The function returns the gradients of both first layers' products.
        """
        features, trunk_backward = self._trunk.differentiable(base)
        tape: Tape = []

        def backward(gradient: Tensor) -> tuple[Tensor, Tensor]:
            # The features' gradient comes from the base network's last layer alone.
            into, by_row = self._backward(gradient, tape.copy())
            return (trunk_backward(into) if self._trunk_learns else into), by_row

        with torch.no_grad():
            return self._run(features, beside, z, tape), backward

    def _run(self, features: Tensor, beside: Tensor, z: Tensor, tape: Tape | None) -> Tensor:
        replicas, batch = features.shape[:2]
        by_row = self._from_features.forward(features, {}, tape)
        if self._sees_input:
            seen = self._from_input
            by_row = by_row + (beside if seen is None else seen.forward(beside, {}, tape))
        by_index = self._from_index.forward(z, {}, tape)
        first = by_row.unsqueeze(1) + by_index.unsqueeze(2)
        hidden = self._hidden.forward(first.flatten(1, 2), {}, tape)
        learned = self._last.forward(hidden.view(-1, batch, hidden.shape[-1]), z, tape)
        mean = self._head.forward(features, {}, tape).unsqueeze(1)
        return mean + learned.view(replicas, -1, batch, learned.shape[-1])

    @torch.no_grad()
    def _backward(self, gradient: Tensor, tape: Tape) -> tuple[Tensor, Tensor]:
        """The gradients of the features, and of what the epinet saw of x; last layers first."""
        replicas, indices, batch, actions = gradient.shape
        of_features = self._head.backward(gradient.sum(1), True, tape)
        into = self._last.backward(gradient.reshape(-1, batch, actions), tape)
        first = self._hidden.backward(into.view(replicas, indices * batch, -1), True, tape)
        first = first.view(replicas, indices, batch, -1)
        self._from_index.backward(first.sum(2), False, tape)
        by_row = first.sum(1)
        if self._from_input is not None:
            self._from_input.backward(by_row, False, tape)
        self._from_features.backward(by_row, False, tape)
        return of_features, by_row


class _MixedLast:
    """The last layer, D vectors of outputs that z sums up: z sums up the D weights instead."""

    def __init__(self, layer: torch.nn.Linear, index_dim: int, views: dict[int, Tensor]) -> None:
        replicas, rows, width = layer.weight.shape
        self.actions, self.width = rows // index_dim, width
        self.weight = layer.weight.detach().view(replicas, index_dim, -1)
        self.bias = layer.bias.detach().view(replicas, index_dim, -1)
        if id(layer.weight) in views:
            self.gw = views[id(layer.weight)].view(self.weight.shape)
            self.gb = views[id(layer.bias)].view(self.bias.shape)

    def forward(self, x: Tensor, z: Tensor, tape: Tape | None) -> Tensor:
        """`(replicas · K, batch, width)` to `(replicas · K, batch, actions)`."""
        weight = torch.bmm(z, self.weight).view(-1, self.actions, self.width)
        bias = torch.bmm(z, self.bias).view(-1, 1, self.actions)
        if tape is not None:
            self.kept = (x, z, weight)
            tape.append(self.kept)
        return torch.baddbmm(bias, x, weight.mT)

    def backward(self, gradient: Tensor, tape: Tape) -> Tensor:
        """Write the parameters' gradients; return that of `x`."""
        x, z, mixed = tape.pop()
        of_mixed = torch.bmm(gradient.mT, x)
        shape = (*z.shape[:2], -1)
        torch.bmm(z.mT, of_mixed.view(shape), out=self.gw)
        torch.bmm(z.mT, gradient.sum(1).view(shape), out=self.gb)
        return torch.bmm(gradient, mixed)
