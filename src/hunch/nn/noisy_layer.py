"""What noisy layers share: means, stds and their initial values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final, Literal

import torch
from torch import Tensor, nn

from hunch.errors import ConfigurationError
from hunch.nn.noisy_base import Draw, DrawingLayer, Noise, _one_of
from hunch.nn.noisy_checkpoints import adopt_layout
from hunch.validation import real_number

_STD_INIT: Final = {"factorized": 0.5, "independent": 0.017}  # the paper, §3.2


@dataclass(frozen=True)
class NoiseSettings:
    """How a layer is noisy: the arguments that `hunch.nn.NoisyLinear` explains."""

    noise: Noise = "factorized"
    std_init: float | None = None
    per_sample: bool = False
    init: Noise | None = None
    bias_std: Literal["in", "out"] = "in"
    noise_distribution: Literal["normal", "truncated_normal"] = "normal"

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        _one_of("noise", self.noise, ("factorized", "independent"))
        _one_of("init", self.init, (None, "factorized", "independent"))
        _one_of("bias_std", self.bias_std, ("in", "out"))
        _one_of("noise_distribution", self.noise_distribution, ("normal", "truncated_normal"))
        if self.std_init is not None:
            std = "None for the paper's value"
            real_number("std_init", self.std_init, at_least=0.0, instead=std)
        if (self.init or self.noise) == "independent" and self.bias_std == "out":
            raise ConfigurationError(
                '`bias_std` got "out", but independent initial values give every weight and bias '
                'the std `std_init`; expected "in", or init="factorized".'
            )
        normal = self.noise_distribution == "normal"
        if self.per_sample and self.noise == "independent" and not normal:
            raise ConfigurationError(
                f"`noise_distribution` got {self.noise_distribution!r} with independent per-sample "
                'noise, whose outputs are drawn as exact normals; expected "normal".'
            )


class NoisyLayer(DrawingLayer):
    """What all noisy layers share: parameters and their initial values."""

    weight_sigma: Tensor
    bias_sigma: Tensor | None

    def __init__(
        self,
        weight_shape: tuple[int, ...],
        bias: bool,
        groups: int,
        settings: NoiseSettings,
        *,
        generator: torch.Generator | None,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
    ) -> None:
        super().__init__()
        self.noise: Noise = settings.noise
        self.per_sample = settings.per_sample
        self.init: Noise = settings.init or settings.noise
        std_init = settings.std_init
        self.std_init = _STD_INIT[self.init] if std_init is None else float(std_init)
        self.bias_std = settings.bias_std
        self.noise_distribution = settings.noise_distribution
        self._groups = groups
        self._fan_in = math.prod(weight_shape[1:])  # the paper's p
        self._fan_out = weight_shape[0]  # the paper's q
        self._weight_shape = weight_shape

        def parameter(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.empty(shape, device=device, dtype=dtype))

        self.weight = parameter(*weight_shape)
        self.register_parameter("bias", parameter(self._fan_out) if bias else None)
        self.weight_sigma = parameter(*weight_shape)
        self.register_parameter("bias_sigma", parameter(self._fan_out) if bias else None)
        self.reset_parameters(generator)

    @property
    def initial_stds(self) -> tuple[float, float]:
        """The initial std of every weight and of every bias."""
        if self.init == "independent":
            return self.std_init, self.std_init
        fan_bias = self._fan_in if self.bias_std == "in" else self._fan_out
        return self.std_init / math.sqrt(self._fan_in), self.std_init / math.sqrt(fan_bias)

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Give means and stds new initial values, drawn from `generator` or torch's default."""
        bound = math.sqrt((1.0 if self.init == "factorized" else 3.0) / self._fan_in)
        for mean in (self.weight, self.bias):
            if mean is None:
                continue
            drawn = mean
            if generator is not None and generator.device != mean.device:
                drawn = torch.empty(mean.shape, dtype=mean.dtype, device=generator.device)
            mean.copy_(drawn.uniform_(-bound, bound, generator=generator))
        weight_std, bias_std = self.initial_stds
        self.weight_sigma.fill_(weight_std)
        if self.bias_sigma is not None:
            self.bias_sigma.fill_(bias_std)

    def _perturbed(self, draw: Draw) -> tuple[Tensor, Tensor | None]:
        """Weight and bias under noise that the whole batch shares."""
        weight, bias, bias_sigma = self.weight, self.bias, self.bias_sigma
        noise = draw[0]
        if self.noise == "factorized":
            rows, columns = draw
            if self._groups == 1:
                noise = columns.unsqueeze(-1) * rows.unsqueeze(-2)  # with or without members
            else:
                noise = columns.view(self._groups, -1, 1) * rows.view(self._groups, 1, -1)
            if weight.dim() != 2:
                noise = noise.view(weight.shape)
        # addcmul would save a pass forwards and cost two backwards.
        weight = weight + self.weight_sigma * noise
        if bias is None or bias_sigma is None:
            return weight, None
        return weight, bias + bias_sigma * draw[1]

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        adopt_layout(state_dict, prefix, self._parameters)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def extra_repr(self) -> str:
        """The settings, for `print`."""
        return (
            f"bias={self.bias is not None}, noise={self.noise}, std_init={self.std_init:g}, "
            f"per_sample={self.per_sample}"
        )
