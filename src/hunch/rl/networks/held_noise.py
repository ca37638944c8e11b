"""Noise that is held until it is renewed, as through a rollout and the update that follows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from hunch.errors import ConfigurationError
from hunch.nn.noisy_base import Draw
from hunch.rl.networks.noise import FreshNoise
from hunch.rl.networks.value_networks import noisy_layers
from hunch.storage.parts import under


class HeldNoise:
    """Calls a network with the same noise until `renew`; one without noise it calls as it is.

    Args:
        network: the network.
        generators: as for `FreshNoise`.

    Raises:
        ConfigurationError: if a layer has noise per sample, which no two calls can share.

    Example:
        >>> from hunch.nn import NoisyLinear
        >>> net = HeldNoise(NoisyLinear(2, 1), [torch.Generator().manual_seed(0)])
        >>> x = torch.ones(1, 2)
        >>> first = net(x)
        >>> bool(net(x) == first)
        True
        >>> net.renew()
        >>> bool(net(x) == first)
        False
    """

    def __init__(self, network: nn.Module, generators: Sequence[torch.Generator]) -> None:
        self.network = network
        self._layers = noisy_layers(network)
        if any(layer.per_sample for layer in self._layers):
            raise ConfigurationError(
                "`network` has noisy layers with per_sample=True; expected per_sample=False: noise "
                "of each sample cannot be held over a rollout and its update."
            )
        self._fresh = FreshNoise(network, generators)
        self._draws: list[Draw] = []
        self.renew()

    def renew(self) -> None:
        """Draw the noise of all calls until the next renewal."""
        draws = self._fresh.draws()
        self._draws = [draws[id(layer)] for layer in self._layers]

    @property
    def has_layers(self) -> bool:
        """Whether there is any noise to hold."""
        return bool(self._layers)

    def draws(self, calls: int = 1) -> dict[int, Draw]:
        """The noise held now by the layers' ids, for who runs the layers one by one."""
        if calls != 1:
            raise ValueError("all calls share what is held")
        return dict(zip(map(id, self._layers), self._draws, strict=True))

    def __call__(self, x: Tensor, **kwargs: Any) -> Tensor:
        """The network's output for `x`."""
        with ExitStack() as stack:
            for layer, draw in zip(self._layers, self._draws, strict=True):
                stack.enter_context(layer.using(draw))
            values: Tensor = self.network(x, **kwargs)
        return values

    def __getstate__(self) -> dict[str, Any]:
        # A draw is a piece of a large block, all of which a pickle would take along.
        draws = [tuple(part.clone() for part in draw) for draw in self._draws]
        return {**vars(self), "_draws": draws}

    def state_dict(self) -> dict[str, Tensor]:
        """The noise held now, and what follows it."""
        state = {f"fresh.{name}": value for name, value in self._fresh.state_dict().items()}
        for i, draw in enumerate(self._draws):
            state |= {f"held.{i}.{j}": part.clone() for j, part in enumerate(draw)}
        return state

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Hold the noise of the one that gave `state`, and go on with the same."""
        self._fresh.load_state_dict(under("fresh.", state))
        for i, draw in enumerate(self._draws):
            parts = [state[f"held.{i}.{j}"].to(part) for j, part in enumerate(draw)]
            self._draws[i] = tuple(parts)
