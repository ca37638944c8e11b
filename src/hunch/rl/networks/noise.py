"""Noise for agents: new in every forward, drawn for many forwards at once."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from hunch.errors import ConfigurationError
from hunch.nn import noise
from hunch.nn.noisy_base import Draw
from hunch.rl.networks.shared_memory import Linked
from hunch.rl.networks.value_networks import noisy_layers

# Noise values, 4 MiB, that a member may hold for calls to come; see benchmarks/constants.py.
DRAWN_AHEAD = 2**20


class FreshNoise(Linked):
    """Calls a network with new noise each time; a network without noise it calls as it is.

    The same as mode "fresh" of `hunch.nn.noise`, whatever the network's own mode, but the noise of
    many calls is drawn at once: for small networks that halves the cost of noise.

    Args:
        network: the network.
        generators: source of all noise; several ones for an `hunch.nn.Ensemble`, one for each
            member, so that a member's noise does not depend on how many there are.

    Raises:
        ConfigurationError: if there are several generators and layers with noise per sample, which
            draw in their own forward from a single one.

    Example:
        >>> from hunch.nn import NoisyLinear
        >>> net = FreshNoise(NoisyLinear(2, 1), [torch.Generator().manual_seed(0)])
        >>> x = torch.ones(1, 2)
        >>> bool(net(x) == net(x))
        False
    """

    def __init__(self, network: nn.Module, generators: Sequence[torch.Generator]) -> None:
        self.network = network
        self._generators = list(generators)
        layers = noisy_layers(network)
        # Noise per sample depends on the batch, so it cannot be drawn before there is one.
        self._layers = [layer for layer in layers if not layer.per_sample]
        self._per_sample = [layer for layer in layers if layer.per_sample]
        self.has_layers = bool(self._layers)  # whose noise is drawn here
        if self._per_sample and len(self._generators) > 1:
            raise ConfigurationError(
                f"`network` has noisy layers with per_sample=True in {len(self._generators)} "
                "replicas; expected per_sample=False, or a single agent."
            )
        values = sum(math.prod(shape) for layer in self._layers for shape in layer.draw_shapes())
        # Not a matter of how many members there are: the order of the draws hangs on it.
        self._ahead = max(1, min(256, DRAWN_AHEAD // max(1, values)))
        self._used = self._ahead
        self._before = [generator.get_state() for generator in self._generators]
        self._shared: tuple[Draw, ...] | None = None
        self._link()

    _linked = frozenset({"_ids", "_draws", "_block"})

    def _link(self) -> None:
        """Name the layers, and draw the present block again if it is not used up."""
        self._ids = [id(layer) for layer in self._layers]
        self._draws: list[tuple[Draw, ...]] = []
        self._block: Sequence[Draw] = ()  # the same as tensors of all calls
        if self._layers and self._used < self._ahead:
            now = [generator.get_state() for generator in self._generators]
            for generator, before in zip(self._generators, self._before, strict=True):
                generator.set_state(before)
            self._draw_block()
            for generator, later in zip(self._generators, now, strict=True):
                generator.set_state(later)

    def __call__(self, x: Tensor, **kwargs: Any) -> Tensor:
        """The network's output for `x` under noise that no other call has."""
        if not self._layers and not self._per_sample:
            plain: Tensor = self.network(x, **kwargs)
            return plain
        with ExitStack() as stack:
            if self._per_sample:
                stack.enter_context(noise(self.network, "fresh", generator=self._generators[0]))
            if self._layers:
                for layer, draw in zip(self._layers, self._next(), strict=True):
                    stack.enter_context(layer.using(draw))
            values: Tensor = self.network(x, **kwargs)
        return values

    def draws(self, calls: int = 1) -> dict[int, Draw]:
        """The noise of one call by the layers' ids, for who runs the layers one by one.

        Args:
            calls: of how many; if several, draws are `(calls, …)`, of an ensemble `(members, calls,
                …)`, and each lies side by side.
        """
        if not self._layers:
            return {}
        found = self._next() if calls == 1 else self._next_ones(calls)
        return dict(zip(self._ids, found, strict=True))

    @contextmanager
    def one_draw(self) -> Iterator[None]:
        """All calls within share their noise, as one call on all their rows would have it."""
        self._shared = self._next() if self._layers else None
        try:
            yield
        finally:
            self._shared = None

    def _next(self) -> tuple[Draw, ...]:
        """The noise of each layer for one call."""
        if self._shared is not None:
            return self._shared
        if self._used == self._ahead:
            self._before = [generator.get_state() for generator in self._generators]
            self._draw_block()
            self._used = 0
        self._used += 1
        return self._draws[self._used - 1]

    def _next_ones(self, calls: int) -> tuple[Draw, ...]:
        axis = 0 if len(self._generators) == 1 else 1
        if self._used + calls <= self._ahead and self._shared is None:
            at = slice(self._used, self._used + calls)
            self._used += calls
            # Of a single network a piece of the block is what is asked for.
            return tuple(
                tuple(part[at].movedim(0, axis).contiguous() for part in draw)
                for draw in self._block
            )
        by_call = [self._next() for _ in range(calls)]
        return tuple(
            tuple(torch.stack(parts, axis) for parts in zip(*draws, strict=True))
            for draws in zip(*by_call, strict=True)
        )

    def _draw_block(self) -> None:
        with torch.inference_mode(False), torch.no_grad():
            by_member = [
                [layer.draw(generator, members=self._ahead) for layer in self._layers]
                for generator in self._generators
            ]
            if len(by_member) == 1:
                draws = by_member[0]
            else:
                draws = [
                    tuple(torch.stack(parts, 1) for parts in zip(*members, strict=True))
                    for members in zip(*by_member, strict=True)
                ]
            self._block = draws
            by_layer = [zip(*(part.unbind() for part in draw), strict=True) for draw in draws]
            self._draws = list(zip(*by_layer, strict=True))

    def state_dict(self) -> dict[str, Tensor]:
        """The generators before the present block of draws, and the place within it."""
        return {
            "generators": torch.stack(self._before),
            "now": torch.stack([generator.get_state() for generator in self._generators]),
            "used": torch.tensor(self._used),
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on with the same noise as the one that gave `state`."""
        self._used = int(state["used"])
        self._before = [before.clone() for before in state["generators"]]
        for generator, now in zip(self._generators, state["now"], strict=True):
            generator.set_state(now.clone())
        self._link()
