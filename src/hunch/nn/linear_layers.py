"""Networks as the compiled kernel has them: linear layers, each with the activation behind it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from torch import nn

from hunch.nn.mlp import MLP

_KINDS: Final[dict[type[nn.Module], str]] = {
    nn.Identity: "identity",
    nn.ReLU: "relu",
    nn.Tanh: "tanh",
    nn.Sigmoid: "sigmoid",
    nn.SiLU: "silu",
    nn.ELU: "elu",
    nn.SELU: "selu",
    nn.GELU: "gelu",
}


def layers_of(network: nn.Module) -> list[tuple[nn.Linear, str]] | str:
    """The linear layers of all members, each with what follows it; or what is in the way.

    Example:
        >>> [kind for _, kind in layers_of(MLP(2, [3], 1, activation="relu"))]
        ['relu', 'identity']
    """
    layers: list[tuple[nn.Linear, str]] = []
    for part in _flat(network):
        kind = _KINDS.get(type(part))
        if type(part) is nn.Linear:
            layers.append((part, "identity"))
        elif kind is None or not _usual(part):
            return f"the layer {part}"
        elif kind == "identity":
            continue
        elif not layers or layers[-1][1] != "identity":
            return f"a {type(part).__name__} that follows no linear layer"
        else:
            layers[-1] = (layers[-1][0], kind)
    return layers or "no linear layer"


def _flat(module: nn.Module) -> Iterator[nn.Module]:
    if type(module) in (nn.Sequential, MLP):
        for part in module.children():
            yield from _flat(part)
    else:
        yield module


def _usual(activation: nn.Module) -> bool:
    if isinstance(activation, nn.ELU):
        return activation.alpha == 1.0
    return not isinstance(activation, nn.GELU) or activation.approximate == "none"
