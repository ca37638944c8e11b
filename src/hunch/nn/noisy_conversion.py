"""Make the linear and convolution layers of a network noisy."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from hunch.errors import ConfigurationError
from hunch.nn.noisy import Noise, NoisyLinear


def noisy(
    module: nn.Module,
    *,
    noise: Noise = "factorized",
    std_init: float | None = None,
    per_sample: bool = False,
    layers: Callable[[str, nn.Module], bool] | None = None,
    **settings: Any,
) -> nn.Module:
    """A copy of `module` with each linear layer made noisy, its means kept."""
    # deepcopy asks `memo` first, so a layer entered there beforehand is replaced wherever it occurs.
    memo: dict[int, Any] = {}
    for name, layer in module.named_modules():
        if type(layer) is nn.Linear and (layers is None or layers(name, layer)):
            memo[id(layer)] = _converted(
                layer, memo, noise=noise, std_init=std_init, per_sample=per_sample, **settings
            )
    if not memo:
        raise ConfigurationError(
            f"`module` got a {type(module).__name__} in which no layer can be made noisy; expected "
            "at least one nn.Linear or nn.Conv2d that `layers` accepts."
        )
    result: nn.Module = copy.deepcopy(module, memo)
    return result


def _converted(layer: nn.Linear, memo: dict[int, Any], **settings: Any) -> nn.Module:
    # On the meta device initialising draws no random numbers; all values are replaced below.
    new = NoisyLinear(
        layer.in_features,
        layer.out_features,
        layer.bias is not None,
        device="meta",
        dtype=layer.weight.dtype,
        **settings,
    )
    p, q = new.fan_in, layer.out_features
    std = new.std_init / p**0.5 if new.init == "factorized" else new.std_init
    bias_fan = p if new.bias_std == "in" else q
    bias_std = new.std_init / bias_fan**0.5 if new.init == "factorized" else new.std_init
    new.weight = copy.deepcopy(layer.weight, memo)
    new.weight_sigma = nn.Parameter(torch.full_like(layer.weight, std), layer.weight.requires_grad)
    if layer.bias is not None:
        new.bias = copy.deepcopy(layer.bias, memo)
        new.bias_sigma = nn.Parameter(
            torch.full_like(layer.bias, bias_std), layer.bias.requires_grad
        )
    return new.train(layer.training)
