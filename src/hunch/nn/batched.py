"""All members of an ensemble through one layer with one batched matrix product.

`torch.vmap` runs any member, at the price of its bookkeeping for every operation. Members made of
the layers below need none of it: with tensors `(members, batch, features)` a linear layer is one
`baddbmm` and an activation is itself. Small ensembles, where overhead is most of the time, train
about twice as fast so. `Ensemble` uses this when it can.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import torch
from torch import Tensor, nn

from hunch.nn.heads import GaussianHead, QuantileHead, Streams
from hunch.nn.mlp import ACTIVATIONS, MLP
from hunch.nn.noisy import NoisyLinear
from hunch.nn.normalizer import Constant, Normalizer
from hunch.nn.priors import FunctionPrior, RandomFourierPrior, RandomizedPrior


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


def _affine(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`x @ weight.T + bias`: x (members, …, in), weight (members, out, in), bias (members, out)."""
    if x.ndim != 3:
        rows = x.reshape(x.shape[0], math.prod(x.shape[1:-1]), x.shape[-1])
        return _affine(rows, weight, bias).reshape(*x.shape[:-1], weight.shape[1])
    if bias is None:
        return torch.bmm(x, weight.mT)
    return torch.baddbmm(bias.unsqueeze(1), x, weight.mT)


def _linear(layer: nn.Linear, x: Tensor) -> Tensor:
    return _affine(x, layer.weight, layer.bias)


def _noisy_linear(layer: NoisyLinear, x: Tensor) -> Tensor:
    draw = layer.draw_for_members()
    if draw is None:
        return _affine(x, layer.weight, layer.bias)
    return _affine(x, *layer._perturbed(draw))


def _sequential(layers: nn.Sequential, x: Tensor) -> Tensor:
    for layer in layers:
        x = run_batched(layer, x)
    return x


def _streams(net: Streams, x: Tensor) -> Tensor:
    return torch.cat([run_batched(net.value, x), run_batched(net.advantage, x)], dim=-1)


def _head(net: GaussianHead | QuantileHead, x: Tensor) -> Tensor:
    return net.join(run_batched(net.location, x), run_batched(net.spread, x))


def _layer_norm(layer: nn.LayerNorm, x: Tensor) -> Tensor:
    out = nn.functional.layer_norm(x, layer.normalized_shape, eps=layer.eps)
    if layer.elementwise_affine:
        apart = (-1, *[1] * (x.ndim - 1 - len(layer.normalized_shape)), *layer.normalized_shape)
        out = out * layer.weight.reshape(apart)
        out = out if layer.bias is None else out + layer.bias.reshape(apart)
    return out


def _flatten(layer: nn.Flatten, x: Tensor) -> Tensor:
    # The member axis stands in front: what a member calls axis 1 is axis 2 here.
    start, end = (axis + (axis >= 0) for axis in (layer.start_dim, layer.end_dim))
    return x.flatten(start, end)


def _normalizer(layer: Normalizer, x: Tensor) -> Tensor:
    return layer.apply_to(x, layer.mean.unsqueeze(1), layer.variance.unsqueeze(1))


def _constant(layer: Constant, x: Tensor) -> Tensor:
    apart = (-1, *[1] * (x.ndim - 2), layer.value.shape[-1])
    return layer.value.reshape(apart).expand(*x.shape[:-1], -1)


def _mlp(net: MLP, x: Tensor) -> Tensor:
    net.check_input(x)
    return _sequential(net, x)


def _elementwise(layer: nn.Module, x: Tensor) -> Tensor:
    out: Tensor = layer(x)
    return out


def _randomized_prior(net: RandomizedPrior, x: Tensor) -> Tensor:
    trained = run_batched(net.model, x)
    scale = net.scale.reshape(-1, *[1] * (trained.ndim - 1))
    return trained + scale * run_batched(net.prior, x)


def _function(prior: FunctionPrior, x: Tensor) -> Tensor:
    out: Tensor = torch.vmap(prior.function, randomness="different")(x)
    return out


def _fourier(prior: RandomFourierPrior, x: Tensor) -> Tensor:
    angles = _affine(x, prior.frequencies, prior.phases)
    return _affine(torch.cos(angles), prior.weights, None)


_OTHER_ELEMENTWISE = (nn.Dropout, nn.Identity, nn.LeakyReLU, nn.Softplus)

# Exact types: a subclass may compute something else.
_RULES: Final[dict[type[nn.Module], Callable[[Any, Tensor], Tensor]]] = {
    nn.Linear: _linear,
    NoisyLinear: _noisy_linear,
    nn.Sequential: _sequential,
    MLP: _mlp,
    Streams: _streams,
    GaussianHead: _head,
    QuantileHead: _head,
    nn.LayerNorm: _layer_norm,
    nn.Flatten: _flatten,
    Normalizer: _normalizer,
    Constant: _constant,
    RandomizedPrior: _randomized_prior,
    FunctionPrior: _function,
    RandomFourierPrior: _fourier,
    **dict.fromkeys((*ACTIVATIONS.values(), *_OTHER_ELEMENTWISE), _elementwise),
}
