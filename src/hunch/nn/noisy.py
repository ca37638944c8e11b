"""Noisy layers: linear and convolution layers whose weights carry noise of learned size.

A weight is `mean + std * noise`. The means live in `weight` and `bias`, as in torch's own layers,
the stds in `weight_sigma` and `bias_sigma`; the noise is neither a parameter nor a buffer.

Source: Fortunato et al., "Noisy Networks for Exploration", ICLR 2018, arXiv 1706.10295.
"""

from __future__ import annotations

from typing import Final, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from hunch.errors import ConfigurationError, ShapeError
from hunch.nn.batched import affine, batched
from hunch.nn.noisy_base import Draw, Noise, _one_of
from hunch.nn.noisy_layer import NoiseSettings, NoisyLayer
from hunch.validation import whole_number

_FEW_ROWS: Final = 8
_MANY_WEIGHTS: Final = 2**18  # below, both ways are as fast where gradients are asked for


class NoisyLinear(NoisyLayer):
    """A linear layer whose weights carry noise of learned size: (μ + σ ⊙ ε) x + μ_b + σ_b ⊙ ε_b.

    In `train()` every forward draws new noise, in `eval()` the layer computes with its means; see
    `hunch.nn.noise` for the other modes. Factorized noise draws one value per input and one per
    output, ε_ji = f(ε_j) f(ε_i) and ε_b = f(ε_j) with f(x) = sgn(x) √|x|. With p inputs the
    output's noise has mean 0 and variance

    - factorized: (2/π) Σ_i σ_ji² x_i² + √(2/π) σ_bj², because E f² = √(2/π); the term between
      weight and bias, 2 σ_bj E[f(ε_j)²] Σ_i σ_ji x_i E[f(ε_i)], vanishes since E f = 0;
    - independent: Σ_i σ_ji² x_i² + σ_bj².

    Args:
        in_features: number of inputs, p.
        out_features: number of outputs, q.
        bias: whether there is a bias, with noise of its own.
        noise: `"factorized"` (p + q draws) or `"independent"` (pq + q draws).
        std_init: size of the initial stds; None is the paper's 0.5 (factorized) or 0.017
            (independent).
        per_sample: whether every row of the batch draws its own noise. No tensor of shape
            (batch, out, in) is built. Factorized noise is applied as
            μx + ((x ⊙ f(ε_in)) σᵀ + σ_b) ⊙ f(ε_out); independent noise draws the outputs, normal
            with the variance above, which is equal in distribution row by row.
        init: initial values, by default those of `noise`. `"factorized"`: means uniform within
            1/√p, stds `std_init`/√p. `"independent"`: means uniform within √(3/p), stds `std_init`.
        bias_std: initial std of the bias with factorized initial values: `"in"`, the paper's
            `std_init`/√p, or `"out"`, the `std_init`/√q of several other libraries.
        noise_distribution: `"normal"`, or `"truncated_normal"`, cut at ±2 before f is applied.
        generator: for the initial means; None is torch's default generator.
        device: where the parameters live.
        dtype: floating-point type of the parameters.

    Attributes:
        weight: means, (out_features, in_features).
        bias: means, (out_features,), or None.
        weight_sigma: stds of the weights, shaped as `weight`. A negative std means the same as a
            positive one.
        bias_sigma: stds of the biases, shaped as `bias`.

    Raises:
        ConfigurationError: if a size, a name or `std_init` cannot work.
        ShapeError: in a forward, if the input's last axis is not `in_features`.

    Example:
        >>> import torch
        >>> layer = NoisyLinear(4, 2)
        >>> x = torch.ones(3, 4)
        >>> bool((layer(x) == layer(x)).all())
        False
        >>> bool((layer.eval()(x) == layer(x)).all())
        True

    Note:
        docs/noisy-layers.md lists which settings equal which library. Where the paper's tables use
        factorized noise for DQN and independent noise for A3C, the default here is factorized.

    Source: Fortunato et al. 2018, equations 9 to 11 and §3.2; the per-sample forms follow dqn_zoo
    (factorized) and Kingma et al. 2015, arXiv 1506.02557 (independent).
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        noise: Noise = "factorized",
        std_init: float | None = None,
        per_sample: bool = False,
        init: Noise | None = None,
        bias_std: Literal["in", "out"] = "in",
        noise_distribution: Literal["normal", "truncated_normal"] = "normal",
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        in_features = whole_number("in_features", in_features, at_least=1)
        out_features = whole_number("out_features", out_features, at_least=1)
        super().__init__(
            (out_features, in_features),
            bias,
            1,
            NoiseSettings(noise, std_init, per_sample, init, bias_std, noise_distribution),
            generator=generator,
            device=device,
            dtype=dtype,
        )
        self.in_features = in_features
        self.out_features = out_features

    def forward(self, x: Tensor) -> Tensor:
        """Map `x` of shape (..., in_features) to (..., out_features)."""
        if x.dim() == 0 or x.shape[-1] != self.in_features:
            raise ShapeError(
                f"`x` got shape {tuple(x.shape)}; expected (..., {self.in_features}), with the "
                "layer's `in_features` last."
            )
        draw = self._current_draw(x.shape[:-1])
        if draw is None:
            return F.linear(x, self.weight, self.bias)
        if self.per_sample or self._noise_by_rows(x):
            return self._per_sample(x, draw)
        return F.linear(x, *self._perturbed(draw))

    def _noise_by_rows(self, x: Tensor) -> bool:
        """Whether noise is applied to the few rows of `x` rather than to many weights.

        To make the weights anew takes several times as long as to multiply a row with them.
        """
        return (
            self.noise == "factorized"
            and self.weight.numel() >= _MANY_WEIGHTS
            and not torch.compiler.is_compiling()  # which would ask for the number of rows
            and x.numel() <= _FEW_ROWS * self.in_features
        )

    def _per_sample(self, x: Tensor, draw: Draw) -> Tensor:
        mean = F.linear(x, self.weight, self.bias)
        if self.noise == "factorized":
            rows, columns = draw
            spread = F.linear(x * rows, self.weight_sigma, self.bias_sigma)
            return torch.addcmul(mean, spread, columns)
        bias_variance = None if self.bias_sigma is None else self.bias_sigma.square()
        variance = F.linear(x.square(), self.weight_sigma.square(), bias_variance)
        # √ has no finite slope at 0; below the smallest normal number the std counts as constant.
        std = variance.clamp_min(torch.finfo(variance.dtype).tiny).sqrt()
        return torch.addcmul(mean, std, draw[0])

    def extra_repr(self) -> str:
        """The settings, for `print`."""
        return f"{self.in_features}, {self.out_features}, {super().extra_repr()}"


@batched(NoisyLinear)
def _noisy_linear(layer: NoisyLinear, x: Tensor) -> Tensor:
    draw = layer.draw_for_members()
    if draw is None:
        return affine(x, layer.weight, layer.bias)
    return affine(x, *layer._perturbed(draw))


Pair = int | tuple[int, int]


def _pair(name: str, value: Pair, *, least: int = 1) -> tuple[int, int]:
    one, other = value if isinstance(value, tuple | list) and len(value) == 2 else (value, value)
    numbers = [whole_number(name, v, at_least=least, instead="two of them") for v in (one, other)]
    return numbers[0], numbers[1]


class NoisyConv2d(NoisyLayer):
    """A two-dimensional convolution whose weights carry noise of learned size.

    Takes the arguments of `torch.nn.Conv2d` and the noise settings of `NoisyLinear`, which explains
    them. One output pixel is a linear layer on the patch below it, so p is
    `in_channels / groups * kernel height * kernel width`, and the variances of `NoisyLinear` hold
    with the patch for x. All positions of an image share the noise. Groups are independent layers:
    each has input noise of its own.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output, q.
        kernel_size: height and width of the kernel, in pixels.
        stride: step of the kernel, in pixels.
        padding: pixels added on each side, `"valid"` for none or `"same"` for as many as keep the
            size.
        dilation: distance between kernel points, in pixels.
        groups: number of blocks of channels that do not see each other.
        bias: whether there is a bias, with noise of its own.
        padding_mode: `"zeros"`, `"reflect"`, `"replicate"` or `"circular"`.
        noise: `"factorized"` (p per group + q draws) or `"independent"` (pq + q draws).
        std_init: size of the initial stds; None is the paper's value.
        per_sample: whether every image of the batch draws its own noise; factorized noise only.
            The input is unfolded into its patches, (batch, in_channels * kernel area, positions).
        init: initial values, by default those of `noise`.
        bias_std: initial std of the bias with factorized initial values, `"in"` or `"out"`.
        noise_distribution: `"normal"`, or `"truncated_normal"`, cut at ±2 before f is applied.
        generator: for the initial means; None is torch's default generator.
        device: where the parameters live.
        dtype: floating-point type of the parameters.

    Attributes:
        weight: means, (out_channels, in_channels / groups, kernel height, kernel width).
        bias: means, (out_channels,), or None.
        weight_sigma: stds of the weights, shaped as `weight`.
        bias_sigma: stds of the biases, shaped as `bias`.

    Raises:
        ConfigurationError: if an argument cannot work, or for independent noise per sample: output
            pixels share weights, so their noise is correlated and cannot be drawn pixel by pixel.
        ShapeError: in a forward, if the input is not ([batch,] in_channels, height, width).

    Example:
        >>> import torch
        >>> layer = NoisyConv2d(3, 8, kernel_size=3, padding="same")
        >>> layer(torch.ones(2, 3, 5, 5)).shape
        torch.Size([2, 8, 5, 5])

    Note:
        The paper has noise in its fully connected layers only; this is its rule applied to the
        convolution's own linear map.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Pair | Literal["valid", "same"] = 0,
        dilation: Pair = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: Literal["zeros", "reflect", "replicate", "circular"] = "zeros",
        *,
        noise: Noise = "factorized",
        std_init: float | None = None,
        per_sample: bool = False,
        init: Noise | None = None,
        bias_std: Literal["in", "out"] = "in",
        noise_distribution: Literal["normal", "truncated_normal"] = "normal",
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        in_channels = whole_number("in_channels", in_channels, at_least=1)
        out_channels = whole_number("out_channels", out_channels, at_least=1)
        groups = whole_number("groups", groups, at_least=1)
        for name, value in (("in_channels", in_channels), ("out_channels", out_channels)):
            if value % groups:
                raise ConfigurationError(
                    f"`groups` got {groups}; expected a divisor of `{name}`, which is {value}."
                )
        _one_of("padding_mode", padding_mode, ("zeros", "reflect", "replicate", "circular"))
        if per_sample and noise == "independent":
            raise ConfigurationError(
                "`per_sample` got True with independent noise in a convolution; expected "
                'noise="factorized", the only noise that needs no weights per sample.'
            )
        kernel = _pair("kernel_size", kernel_size)
        super().__init__(
            (out_channels, in_channels // groups, *kernel),
            bias,
            groups,
            NoiseSettings(noise, std_init, per_sample, init, bias_std, noise_distribution),
            generator=generator,
            device=device,
            dtype=dtype,
        )
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = kernel
        self.stride = _pair("stride", stride)
        self.dilation = _pair("dilation", dilation)
        self.groups = groups
        self.padding_mode = padding_mode
        self.padding = padding if isinstance(padding, str) else _pair("padding", padding, least=0)
        self._margins = self._margins_of(padding)

    def _margins_of(self, padding: Pair | str) -> tuple[int, int, int, int]:
        """Pixels to add left, right, above and below."""
        if not isinstance(padding, str):
            above, left = _pair("padding", padding, least=0)
            return left, left, above, above
        _one_of("padding", padding, ("valid", "same"))
        if padding == "valid":
            return 0, 0, 0, 0
        if self.stride != (1, 1):
            raise ConfigurationError(
                f'`padding` got "same" with `stride` {self.stride}; expected a stride of 1, or the '
                "padding in pixels."
            )
        rows, columns = (d * (k - 1) for d, k in zip(self.dilation, self.kernel_size, strict=True))
        # Where the total is odd, the larger part goes right and below, as torch does it.
        return columns // 2, columns - columns // 2, rows // 2, rows - rows // 2

    def _padded(self, x: Tensor) -> Tensor:
        if not any(self._margins):
            return x
        mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
        return F.pad(x, self._margins, mode=mode)

    def forward(self, x: Tensor) -> Tensor:
        """Map ([batch,] in_channels, height, width) to ([batch,] out_channels, height, width)."""
        if x.dim() not in (3, 4) or x.shape[-3] != self.in_channels:
            raise ShapeError(
                f"`x` got shape {tuple(x.shape)}; expected ([batch,] {self.in_channels}, height, "
                "width), with the layer's `in_channels` third from last."
            )
        draw = self._current_draw(x.shape[:-3])
        if draw is None:
            return self._convolved(x, self.weight, self.bias)
        if self.per_sample:
            return self._per_sample(x, draw)
        return self._convolved(x, *self._perturbed(draw))

    def _convolved(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        left, right, above, below = self._margins
        padding = (above, left)
        # conv2d pads with zeros, as much before as behind; everything else is padded beforehand.
        if self.padding_mode != "zeros" or (left, above) != (right, below):
            x, padding = self._padded(x), (0, 0)
        return F.conv2d(x, weight, bias, self.stride, padding, self.dilation, self.groups)

    def _per_sample(self, x: Tensor, draw: Draw) -> Tensor:
        mean = self._convolved(x, self.weight, self.bias)
        rows, columns = draw
        patches = F.unfold(
            self._padded(x), self.kernel_size, dilation=self.dilation, stride=self.stride
        )
        batch, groups, positions = x.shape[:-3], self.groups, patches.shape[-1]
        noisy = (patches * rows.unsqueeze(-1)).reshape(*batch, groups, self._fan_in, positions)
        # Channels may come last in memory, in weights as in images: no views there.
        sigma = self.weight_sigma.reshape(groups, self.out_channels // groups, self._fan_in)
        spread = (sigma @ noisy).view(*batch, self.out_channels, positions)
        if self.bias_sigma is not None:
            spread = spread + self.bias_sigma.unsqueeze(-1)
        return mean + (spread * columns.unsqueeze(-1)).view(mean.shape)

    def extra_repr(self) -> str:
        """The settings, for `print`."""
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}, padding={self.padding!r}, dilation={self.dilation}, "
            f"groups={self.groups}, {super().extra_repr()}"
        )
