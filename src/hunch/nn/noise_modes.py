"""Where the noise of a network's noisy layers comes from: new draws and modes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

from hunch.errors import ConfigurationError
from hunch.nn.noisy_base import (
    Mode,
    _generator,
    _one_of,
    _outliving_inference,
    _random,
    _SharedGenerator,
    _split,
)
from hunch.nn.noisy_layer import NoisyLayer


def _noisy_layers(module: nn.Module) -> list[NoisyLayer]:
    layers = [layer for layer in module.modules() if isinstance(layer, NoisyLayer)]
    if not layers:
        raise ConfigurationError(
            f"`module` got a {type(module).__name__} without noisy layers; expected at least one: "
            "hunch.nn.noisy(module) makes them."
        )
    return layers


def _shapes(layer: NoisyLayer) -> list[tuple[int, ...]]:
    lead = () if layer._members is None else (layer._members,)
    return [lead + shape for shape in layer.draw_shapes()]


def _redraw(layers: Sequence[NoisyLayer], shared: _SharedGenerator | None) -> None:
    """Give layers a new held draw, from one flat draw for all layers of a kind."""
    kinds: dict[tuple[object, ...], list[NoisyLayer]] = {}
    for layer in layers:
        layer._held_source = shared or layer._shared
        layer._held = None
        if layer.per_sample:
            continue  # the next held forward draws, for the batch that it sees
        weight, own = layer.weight, layer._held_source
        kind = (weight.device, weight.dtype, layer.noise, layer.noise_distribution)
        kinds.setdefault((*kind, id(_generator(own))), []).append(layer)
    for alike in kinds.values():
        shapes = [_shapes(layer) for layer in alike]
        first, own = alike[0], alike[0]._held_source
        size = sum(math.prod(shape) for of_layer in shapes for shape in of_layer)
        how = (first.weight, first.noise, first.noise_distribution)
        with _outliving_inference():
            flat = _random(size, _generator(own), *how)
            parts = iter(_split(flat, [shape for of_layer in shapes for shape in of_layer]))
        for layer, of_layer in zip(alike, shapes, strict=True):
            layer._held = tuple(next(parts) for _ in of_layer)


def reset_noise(module: nn.Module, generator: torch.Generator | None = None) -> None:
    """Draw new noise, which "held" forwards of the noisy layers in `module` use until the next.

    Forwards in mode "fresh" draw for themselves and ignore it. All layers of one kind share one
    flat draw, because many small draws cost more than one large. New noise replaces the old one
    and never overwrites it, so a backward that is still to come is not disturbed. A layer with
    `per_sample=True` draws in its next held forward, for the batch that it sees, and then keeps
    that noise for batches of that shape.

    Args:
        module: a noisy layer or a network that contains some.
        generator: where the noise comes from; None is the generator given to `noise`, or else
            torch's default generator.

    Raises:
        ConfigurationError: if `module` has no noisy layers.

    Example:
        >>> import torch
        >>> from hunch.nn import NoisyLinear, noise
        >>> layer, x = NoisyLinear(4, 2), torch.ones(1, 4)
        >>> _ = noise(layer, "held")
        >>> first = layer(x)
        >>> bool((layer(x) == first).all())
        True
        >>> reset_noise(layer)
        >>> bool((layer(x) == first).all())
        False
    """
    _redraw(_noisy_layers(module), None if generator is None else _SharedGenerator(generator))


class _Restore:
    """What `noise` returns: as a context manager it puts modes and generators back on exit."""

    def __init__(self, module: nn.Module, layers: Sequence[NoisyLayer]) -> None:
        self._module = module
        self._before = [(layer, layer._mode, layer._shared) for layer in layers]

    def __enter__(self) -> nn.Module:
        return self._module

    def __exit__(self, *exception: object) -> None:
        for layer, mode, shared in self._before:
            layer._mode, layer._shared = mode, shared


def noise(module: nn.Module, mode: Mode, generator: torch.Generator | None = None) -> _Restore:
    """Say where the noise of the noisy layers in `module` comes from.

    | mode | a forward uses |
    |---|---|
    | `"auto"`, the default | new noise in `train()`, the means in `eval()` |
    | `"fresh"` | new noise, in `eval()` as well |
    | `"held"` | the noise of the last `reset_noise`, in `eval()` as well |
    | `"off"` | the means, in `train()` as well; the stds get no gradient |

    The call takes effect at once. Used as a context manager, it puts modes and generators back when
    the block ends, also by an error; a draw made meanwhile by `reset_noise` stays.

    Args:
        module: a noisy layer or a network that contains some.
        mode: one of the names above. "held" draws noise for layers that hold none yet.
        generator: from now on all noise of these layers comes from this generator; None leaves it
            as it was, at first torch's default generator. Copies of the network made by
            `copy.deepcopy` draw from the same generator, each draw a new one.

    Returns:
        A context manager that yields `module`.

    Raises:
        ConfigurationError: if `mode` is none of the names or `module` has no noisy layers.

    Example:
        >>> import torch
        >>> from hunch.nn import NoisyLinear
        >>> layer, x = NoisyLinear(4, 2), torch.ones(1, 4)
        >>> with noise(layer, "off"):
        ...     bool((layer(x) == layer(x)).all())
        True
        >>> bool((layer(x) == layer(x)).all())
        False
    """
    _one_of("mode", mode, ("fresh", "held", "off", "auto"))
    layers = _noisy_layers(module)
    restore = _Restore(module, layers)
    shared = None if generator is None else _SharedGenerator(generator)
    for layer in layers:
        layer._mode = mode
        layer._shared = shared or layer._shared
    if mode == "held":
        _redraw([layer for layer in layers if layer._held is None], None)
    return restore
