"""Make the linear and convolution layers of a network noisy."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any, Literal, TypeVar, overload

import torch
from torch import nn
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.utils.parametrize import is_parametrized

from hunch.errors import ConfigurationError
from hunch.nn.batched import is_hooked
from hunch.nn.noisy import NoisyConv2d, NoisyLinear
from hunch.nn.noisy_base import Noise
from hunch.nn.noisy_layer import NoiseSettings

Network = TypeVar("Network", bound=nn.Module)


@overload
def noisy(
    module: nn.Linear | nn.Conv2d,
    *,
    noise: Noise = ...,
    std_init: float | None = ...,
    per_sample: bool = ...,
    init: Noise | None = ...,
    bias_std: Literal["in", "out"] = ...,
    noise_distribution: Literal["normal", "truncated_normal"] = ...,
    layers: Callable[[str, nn.Module], bool] | None = ...,
) -> nn.Module: ...


@overload
def noisy(
    module: Network,
    *,
    noise: Noise = ...,
    std_init: float | None = ...,
    per_sample: bool = ...,
    init: Noise | None = ...,
    bias_std: Literal["in", "out"] = ...,
    noise_distribution: Literal["normal", "truncated_normal"] = ...,
    layers: Callable[[str, nn.Module], bool] | None = ...,
) -> Network: ...


def noisy(
    module: nn.Module,
    *,
    noise: Noise = "factorized",
    std_init: float | None = None,
    per_sample: bool = False,
    init: Noise | None = None,
    bias_std: Literal["in", "out"] = "in",
    noise_distribution: Literal["normal", "truncated_normal"] = "normal",
    layers: Callable[[str, nn.Module], bool] | None = None,
) -> nn.Module:
    """A copy of `module` with each linear and convolution layer made noisy, its means kept.

    In `eval()` the copy computes what `module` does. Device, dtype, `requires_grad` (the stds
    follow their means) and the training flag are kept; a layer used twice stays one layer, and tied
    weights stay tied. No random number is drawn.

    Converted are layers whose type is exactly `nn.Linear` or `nn.Conv2d`. Subclasses stay as they
    are, among them the output projection inside `nn.MultiheadAttention`. Layers that cannot be
    converted without losing something are refused: lazy ones before their first forward,
    parametrized ones such as spectral norm, and ones with hooks such as the older weight norm. To
    leave them as they are, exclude them with `layers`.

    Args:
        module: any network, or a single layer. It is not changed.
        noise: kind of noise, as for `NoisyLinear`.
        std_init: size of the initial stds; None is the paper's value.
        per_sample: whether every row of a batch draws its own noise.
        init: whose initial stds, by default those of `noise`.
        bias_std: initial std of biases, `"in"` or `"out"`, as for `NoisyLinear`.
        noise_distribution: `"normal"` or `"truncated_normal"`.
        layers: given a layer's dotted name and the layer, says whether to convert it. None
            converts all. The agents of the paper have noise in their fully connected layers only.

    Raises:
        ConfigurationError: if there is nothing to convert, or a layer cannot be converted.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> explorer = noisy(net)
        >>> x = torch.ones(1, 4)
        >>> bool((explorer(x) == net(x)).all()), bool((explorer.eval()(x) == net(x)).all())
        (False, True)
        >>> head_only = noisy(net, layers=lambda name, layer: name == "2")
    """
    settings = NoiseSettings(noise, std_init, per_sample, init, bias_std, noise_distribution)
    # deepcopy looks into `memo` first: a layer entered there beforehand is replaced wherever it
    # occurs, be it twice, in a plain list, or as `module` itself.
    memo: dict[int, Any] = {}
    for name, layer in _candidates(module):
        if layers is None or layers(name, layer):
            _check_convertible(name, layer)
            memo[id(layer)] = _converted(layer, memo, settings)
    if not memo:
        raise ConfigurationError(
            f"`module` got a {type(module).__name__} in which there is nothing to make noisy; "
            "expected at least one nn.Linear or nn.Conv2d, accepted by `layers` if that is given."
        )
    result: nn.Module = copy.deepcopy(module, memo)
    return result


def _candidates(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for name, layer in module.named_modules():
        # A parametrized layer has a class of its own, made from the one it had before.
        cls = type(layer).__base__ if is_parametrized(layer) else type(layer)
        if cls in (nn.Linear, nn.Conv2d, nn.LazyLinear, nn.LazyConv2d):
            yield name, layer


def _check_convertible(name: str, layer: nn.Module) -> None:
    problem = None
    if isinstance(layer, LazyModuleMixin):
        problem = "is lazy and has no weights yet; run one forward first"
    elif is_parametrized(layer):
        problem = "has a parametrized weight, which a noisy layer cannot keep"
    elif is_hooked(layer):
        problem = "has hooks, which the noisy layer would lose"
    if problem is not None:
        raise ConfigurationError(
            f"`module` has a layer {name!r} ({type(layer).__name__}) that {problem}; or exclude it "
            "with `layers`."
        )


def _converted(layer: nn.Module, memo: dict[int, Any], settings: NoiseSettings) -> nn.Module:
    # Initial values on the meta device cost nothing and draw no random number; all are replaced.
    new: NoisyLinear | NoisyConv2d
    if isinstance(layer, nn.Linear):
        new = NoisyLinear(
            layer.in_features,
            layer.out_features,
            layer.bias is not None,
            device="meta",
            **vars(settings),
        )
    elif isinstance(layer, nn.Conv2d):
        new = NoisyConv2d(
            layer.in_channels,
            layer.out_channels,
            layer.kernel_size,  # type: ignore[arg-type]
            layer.stride,  # type: ignore[arg-type]
            layer.padding,  # type: ignore[arg-type]
            layer.dilation,  # type: ignore[arg-type]
            layer.groups,
            layer.bias is not None,
            layer.padding_mode,
            device="meta",
            **vars(settings),
        )
    for name, std in zip(("weight", "bias"), new.initial_stds, strict=True):
        mean = getattr(layer, name)
        if mean is not None:
            sigma = nn.Parameter(torch.full_like(mean, std), requires_grad=mean.requires_grad)
            setattr(new, name, copy.deepcopy(mean, memo))
            setattr(new, f"{name}_sigma", sigma)
    return new.train(layer.training)
