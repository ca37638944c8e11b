"""All members of an ensemble through one layer with one batched matrix product.

`torch.vmap` runs any member, at the price of its bookkeeping for every operation. Members made of
layers with a rule need none of it: with tensors `(members, batch, features)` a linear layer is one
`baddbmm` and an activation is itself. Small ensembles, where overhead is most of the time, train
about twice as fast so. `Ensemble` uses this when it can. The rules of torch's layers stand here;
a layer of this package brings its own, beside its class.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final, TypeVar

import torch
from torch import Tensor, nn

Rule = Callable[[Any, Tensor], Tensor]
R = TypeVar("R", bound=Rule)

# Exact types: a subclass may compute something else.
_RULES: Final[dict[type[nn.Module], Rule]] = {}


def batched(*kinds: type[nn.Module]) -> Callable[[R], R]:
    """Register the decorated function as the rule of layers of these very types.

    The function takes a layer whose tensors are `(members, …)` and an input `(members, batch, …)`,
    and returns the output of all members.

    Args:
        kinds: the layers; their subclasses have no rule by this.

    Example:
        >>> class Doubled(nn.Module):
        ...     def forward(self, x):
        ...         return 2 * x
        >>> @batched(Doubled)
        ... def _doubled(layer, x):
        ...     return layer(x)
        >>> run_batched(Doubled(), torch.ones(3, 1, 1)).flatten()
        tensor([2., 2., 2.])
    """

    def register(rule: R) -> R:
        _RULES.update(dict.fromkeys(kinds, rule))
        return rule

    return register


def run_batched(skeleton: nn.Module, x: Tensor) -> Tensor:
    """Run all members of an ensemble.

    Args:
        skeleton: one member whose tensors carry a leading member axis.
        x: `(members, batch, …)`.

    Returns:
        `(members, batch, *out)`.
    """
    return _RULES[type(skeleton)](skeleton, x)


def has_rules(skeleton: nn.Module) -> bool:
    """Whether every part of the member has a rule here; hooks and subclasses have none."""
    # Asked in every forward: `getattr` for what most modules lack costs more than all the rest.
    return all(
        type(part) in _RULES and not is_hooked(part) and not part.__dict__.get("per_sample")
        for part in skeleton.modules()
    )


def is_hooked(part: nn.Module) -> bool:
    """Whether calling the part does more than its class says: hooks, or a forward of its own."""
    own = part.__dict__
    return bool(
        own["_forward_hooks"]
        or own["_forward_pre_hooks"]
        or own["_backward_hooks"]
        or own["_backward_pre_hooks"]
        or "forward" in own
    )


def affine(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`x @ weight.T + bias` of each member.

    Args:
        x: `(members, …, in)`.
        weight: `(members, out, in)`.
        bias: `(members, out)`, or None.
    """
    if x.ndim != 3:
        rows = x.reshape(x.shape[0], math.prod(x.shape[1:-1]), x.shape[-1])
        return affine(rows, weight, bias).reshape(*x.shape[:-1], weight.shape[1])
    if bias is None:
        return torch.bmm(x, weight.mT)
    return torch.baddbmm(bias.unsqueeze(1), x, weight.mT)


def run_sequence(layers: nn.Sequential, x: Tensor) -> Tensor:
    """Run the layers of a sequence one after another, all members at once."""
    for layer in layers:
        x = run_batched(layer, x)
    return x


def run_elementwise(layer: nn.Module, x: Tensor) -> Tensor:
    """The rule of layers that look at each number alone: themselves."""
    out: Tensor = layer(x)
    return out


batched(nn.Sequential)(run_sequence)
batched(nn.Dropout, nn.Identity, nn.LeakyReLU, nn.Softplus)(run_elementwise)


@batched(nn.Linear)
def _linear(layer: nn.Linear, x: Tensor) -> Tensor:
    return affine(x, layer.weight, layer.bias)


@batched(nn.LayerNorm)
def _layer_norm(layer: nn.LayerNorm, x: Tensor) -> Tensor:
    out = nn.functional.layer_norm(x, layer.normalized_shape, eps=layer.eps)
    if layer.elementwise_affine:
        shape = (-1, *[1] * (x.ndim - 1 - len(layer.normalized_shape)), *layer.normalized_shape)
        out = out * layer.weight.reshape(shape)
        out = out if layer.bias is None else out + layer.bias.reshape(shape)
    return out


@batched(nn.Flatten)
def _flatten(layer: nn.Flatten, x: Tensor) -> Tensor:
    # The member axis stands in front: what a member calls axis 1 is axis 2 here.
    start, end = (axis + (axis >= 0) for axis in (layer.start_dim, layer.end_dim))
    return x.flatten(start, end)
