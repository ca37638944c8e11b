"""Noisy layers: linear and convolution layers whose weights carry noise of learned size.

A weight is `mean + std * draw`. The means live in `weight` and `bias`, as in torch's own layers,
the stds in `weight_sigma` and `bias_sigma`; the draw is neither a parameter nor a buffer.

Source: Fortunato et al., "Noisy Networks for Exploration", ICLR 2018, arXiv 1706.10295.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hunch.errors import ConfigurationError, ShapeError
from hunch.nn.noisy_checkpoints import adopt_layout

Noise = Literal["factorized", "independent"]
Mode = Literal["fresh", "held", "off", "auto"]
Draw = tuple[Tensor, ...]

_STD_INIT = {"factorized": 0.5, "independent": 0.017}  # §3.2 of the paper
_TRUNCATION = 2.0  # dqn_zoo cuts its normal draws at two standard deviations


def _one_of(name: str, value: object, options: Sequence[object]) -> None:
    if value not in options:
        listed = ", ".join(repr(option) for option in options)
        raise ConfigurationError(f"`{name}` got {value!r}; expected one of {listed}.")


def _positive(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigurationError(f"`{name}` got {value!r}; expected an integer of at least 1.")
    return value


class _Stream:
    """A generator that every copy of a layer shares.

    `copy.deepcopy` would copy a generator with its state, so that a target network would repeat the
    online network's draws one by one, where three independent ones are needed.
    """

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator

    def __deepcopy__(self, memo: dict[int, Any]) -> _Stream:
        return self


def _generator(stream: _Stream | None) -> torch.Generator | None:
    return None if stream is None else stream.generator


def _normals(
    size: int, generator: torch.Generator | None, like: Tensor, distribution: str, factorized: bool
) -> Tensor:
    """`size` noise values: normal or truncated, and for factorized noise sgn(x)·√|x| of them."""
    # A generator lives on one device; what it draws is moved to where the parameters are.
    device = like.device if generator is None else generator.device
    if distribution == "normal":
        x = torch.randn(size, generator=generator, dtype=like.dtype, device=device)
    else:
        edge = math.erf(_TRUNCATION / math.sqrt(2.0))
        x = torch.rand(size, generator=generator, dtype=like.dtype, device=device)
        x = torch.erfinv((2.0 * x - 1.0) * edge) * math.sqrt(2.0)
    if factorized:
        x = x.abs().sqrt().copysign(x)
    return x if device == like.device else x.to(like.device)


class _Noisy(nn.Module):
    """What noisy layers share: parameters, their initial values, and where a draw comes from."""

    weight: Tensor
    weight_sigma: Tensor
    bias: Tensor | None
    bias_sigma: Tensor | None

    def __init__(
        self,
        weight_shape: tuple[int, ...],
        *,
        groups: int,
        bias: bool,
        noise: Noise,
        std_init: float | None,
        per_sample: bool,
        init: Noise | None,
        bias_std: Literal["in", "out"],
        noise_distribution: Literal["normal", "truncated_normal"],
        generator: torch.Generator | None,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
    ) -> None:
        super().__init__()
        _one_of("noise", noise, ("factorized", "independent"))
        _one_of("init", init, (None, "factorized", "independent"))
        _one_of("bias_std", bias_std, ("in", "out"))
        _one_of("noise_distribution", noise_distribution, ("normal", "truncated_normal"))
        if std_init is not None and not (std_init >= 0 and math.isfinite(std_init)):
            raise ConfigurationError(
                f"`std_init` got {std_init!r}; expected a finite number of at least 0, or None for "
                "the paper's value."
            )
        self.noise: Noise = noise
        self.per_sample = per_sample
        self.init: Noise = init or noise
        if self.init == "independent" and bias_std == "out":
            raise ConfigurationError(
                '`bias_std` got "out" with independent initial values, where every std is '
                '`std_init`; expected "in", or init="factorized".'
            )
        self.std_init = _STD_INIT[self.init] if std_init is None else float(std_init)
        self.bias_std = bias_std
        self.noise_distribution = noise_distribution
        self._groups = groups
        self._mode: Mode = "auto"
        self._stream: _Stream | None = None  # where this layer's own draws come from
        self._held: Draw | None = None
        self._held_stream: _Stream | None = None  # for a held draw that still waits for its batch
        self._given: Draw | None = None

        def parameter(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.empty(shape, device=device, dtype=dtype))

        self.weight = parameter(*weight_shape)
        self.weight_sigma = parameter(*weight_shape)
        self.register_parameter("bias", parameter(weight_shape[0]) if bias else None)
        self.register_parameter("bias_sigma", parameter(weight_shape[0]) if bias else None)
        self.reset_parameters(generator)

    @property
    def fan_in(self) -> int:
        """The paper's p: how many inputs one output has."""
        return math.prod(self.weight.shape[1:])

    @property
    def active_mode(self) -> Literal["fresh", "held", "off"]:
        """What a forward does now: "auto" resolved by `training`."""
        if self._mode == "auto":
            return "fresh" if self.training else "off"
        return self._mode

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Give means and stds new initial values, drawn from `generator` or torch's default."""
        p, q = self.fan_in, self.weight.shape[0]
        bound = math.sqrt((1.0 if self.init == "factorized" else 3.0) / p)
        for mean in (self.weight, self.bias):
            if mean is None:
                continue
            if generator is None or generator.device == mean.device:
                mean.uniform_(-bound, bound, generator=generator)
            else:
                drawn = torch.empty(mean.shape, dtype=mean.dtype, device=generator.device)
                mean.copy_(drawn.uniform_(-bound, bound, generator=generator))
        std, bias_std = self.std_init, self.std_init
        if self.init == "factorized":
            std = self.std_init / math.sqrt(p)
            bias_std = self.std_init / math.sqrt(p if self.bias_std == "in" else q)
        self.weight_sigma.fill_(std)
        if self.bias_sigma is not None:
            self.bias_sigma.fill_(bias_std)

    def _draw_shapes(self, batch_shape: Sequence[int]) -> list[tuple[int, ...]]:
        q = self.weight.shape[0]
        if self.noise == "factorized":
            # A group is a layer of its own beside the others, so it has its own input noise.
            batch = tuple(batch_shape) if self.per_sample else ()
            return [(*batch, self._groups * self.fan_in), (*batch, q)]
        if self.per_sample:
            return [(*batch_shape, q)]
        return [tuple(self.weight.shape)] + ([] if self.bias is None else [(q,)])

    def draw(
        self,
        generator: torch.Generator | None = None,
        *,
        members: int | None = None,
        batch_shape: Sequence[int] = (),
    ) -> Draw:
        """Draw noise for one forward, to be handed to `using`; nothing is stored.

        Args:
            generator: where the draw comes from; None is torch's default generator.
            members: with a number, every tensor gets a leading axis of that many independent draws.
            batch_shape: the input's leading shape; only layers with `per_sample=True` read it.

        Returns:
            Factorized noise: f(ε_in) and f(ε_out), with the batch in front when per sample.
            Independent noise: one value per weight, and one per bias if there is one; when per
            sample, one standard normal value per output of each row.
        """
        lead = () if members is None else (members,)
        shapes = [lead + shape for shape in self._draw_shapes(batch_shape)]
        sizes = [math.prod(shape) for shape in shapes]
        flat = _normals(
            sum(sizes),
            generator,
            self.weight,
            self.noise_distribution,
            self.noise == "factorized",
        )
        parts = flat.split(sizes)
        return tuple(part.view(shape) for part, shape in zip(parts, shapes, strict=True))

    @contextmanager
    def using(self, draw: Draw) -> Iterator[None]:
        """Within this block every forward uses exactly `draw`, whatever the mode.

        Args:
            draw: what `draw()` returned, or one member's slice of it.
        """
        outside = self._given
        self._given = draw
        try:
            yield
        finally:
            self._given = outside

    def _current_draw(self, batch_shape: Sequence[int]) -> Draw | None:
        """The noise of this forward; None means the mean weights."""
        if self._given is not None:
            return self._given
        mode = self.active_mode
        if mode == "off":
            return None
        if mode == "fresh":
            return self.draw(_generator(self._stream), batch_shape=batch_shape)
        if self._held is None:
            self._held = self.draw(_generator(self._held_stream), batch_shape=batch_shape)
        if self.per_sample and self._held[0].shape[:-1] != torch.Size(batch_shape):
            raise ShapeError(
                f"Held noise was drawn for a batch of shape {tuple(self._held[0].shape[:-1])} but "
                f"the input has {tuple(batch_shape)}; call reset_noise first, so that the next "
                "forward draws for its own batch."
            )
        return self._held

    def _perturbed(self, draw: Draw) -> tuple[Tensor, Tensor | None]:
        """Weight and bias under a draw that the whole batch shares."""
        weight_noise, bias_noise = draw[0], draw[-1]
        if self.noise == "factorized":
            rows = draw[0].view(self._groups, 1, self.fan_in)
            columns = draw[1].view(self._groups, -1, 1)
            weight_noise = (columns * rows).view(self.weight.shape)
        weight = torch.addcmul(self.weight, self.weight_sigma, weight_noise)
        if self.bias is None or self.bias_sigma is None:
            return weight, None
        return weight, torch.addcmul(self.bias, self.bias_sigma, bias_noise)

    def _apply(self, fn: Any, recurse: bool = True) -> _Noisy:
        # The held draw is no buffer, so `.to()` has to be told about it.
        super()._apply(fn, recurse)
        if self._held is not None:
            self._held = tuple(fn(part) for part in self._held)
        return self

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        adopt_layout(state_dict, prefix, dict(self.named_parameters()))
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


class NoisyLinear(_Noisy):
    """A linear layer whose weights carry noise of learned size."""

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
        self.__dict__["in_features"] = _positive("in_features", in_features)
        self.__dict__["out_features"] = _positive("out_features", out_features)
        super().__init__(
            (out_features, in_features),
            groups=1,
            bias=bias,
            noise=noise,
            std_init=std_init,
            per_sample=per_sample,
            init=init,
            bias_std=bias_std,
            noise_distribution=noise_distribution,
            generator=generator,
            device=device,
            dtype=dtype,
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map `x` of shape (..., in_features) to (..., out_features)."""
        if x.dim() == 0 or x.shape[-1] != self.in_features:
            raise ShapeError(
                f"`x` got shape {tuple(x.shape)}; expected (..., {self.in_features}), the layer's "
                "`in_features` last."
            )
        draw = self._current_draw(x.shape[:-1])
        if draw is None:
            return F.linear(x, self.weight, self.bias)
        if self.per_sample:
            return self._per_sample(x, draw)
        return F.linear(x, *self._perturbed(draw))

    def _per_sample(self, x: Tensor, draw: Draw) -> Tensor:
        mean = F.linear(x, self.weight, self.bias)
        if self.noise == "factorized":
            noise_in, noise_out = draw
            return torch.addcmul(
                mean, F.linear(x * noise_in, self.weight_sigma, self.bias_sigma), noise_out
            )
        bias_variance = None if self.bias_sigma is None else self.bias_sigma.square()
        variance = F.linear(x.square(), self.weight_sigma.square(), bias_variance)
        # √ has no finite slope at 0; below the smallest normal number the std counts as constant.
        std = variance.clamp_min(torch.finfo(variance.dtype).tiny).sqrt()
        return torch.addcmul(mean, std, draw[0])


def _layers(module: nn.Module) -> list[_Noisy]:
    found = [layer for layer in module.modules() if isinstance(layer, _Noisy)]
    if not found:
        raise ConfigurationError(
            f"`module` got a {type(module).__name__} without noisy layers; expected at least one: "
            "make them with hunch.nn.noisy(module)."
        )
    return found


def _redraw(layers: Sequence[_Noisy], generator: torch.Generator | None) -> None:
    """New held draws, as one flat draw per kind of noise, split among the layers."""
    groups: dict[tuple[object, ...], list[_Noisy]] = {}
    for layer in layers:
        layer._held = None
        layer._held_stream = layer._stream if generator is None else _Stream(generator)
        if layer.per_sample:
            continue  # drawn by the next held forward, which knows its batch
        stream = layer._held_stream
        key = (
            layer.weight.device,
            layer.weight.dtype,
            layer.noise,
            layer.noise_distribution,
            id(_generator(stream)),
        )
        groups.setdefault(key, []).append(layer)
    for same in groups.values():
        shapes = [shape for layer in same for shape in layer._draw_shapes(())]
        first = same[0]
        sizes = [math.prod(shape) for shape in shapes]
        flat = _normals(
            sum(sizes),
            _generator(first._held_stream),
            first.weight,
            first.noise_distribution,
            first.noise == "factorized",
        )
        parts = iter(
            part.view(shape) for part, shape in zip(flat.split(sizes), shapes, strict=True)
        )
        for layer in same:
            layer._held = tuple(next(parts) for _ in layer._draw_shapes(()))


def reset_noise(module: nn.Module, generator: torch.Generator | None = None) -> None:
    """Draw new noise, which "held" forwards of all noisy layers in `module` use until the next."""
    _redraw(_layers(module), generator)


class _Restore:
    """What `noise` returns: as a context manager it puts modes and generators back."""

    def __init__(self, module: nn.Module, before: list[tuple[_Noisy, Mode, _Stream | None]]):
        self._module = module
        self._before = before

    def __enter__(self) -> nn.Module:
        return self._module

    def __exit__(self, *_: object) -> None:
        for layer, mode, stream in self._before:
            layer._mode, layer._stream = mode, stream


def noise(module: nn.Module, mode: Mode, generator: torch.Generator | None = None) -> _Restore:
    """Say where the noise of all noisy layers in `module` comes from."""
    _one_of("mode", mode, ("fresh", "held", "off", "auto"))
    layers = _layers(module)
    before = [(layer, layer._mode, layer._stream) for layer in layers]
    for layer in layers:
        layer._mode = mode
        if generator is not None:
            layer._stream = _Stream(generator)
    if mode == "held":
        _redraw([layer for layer in layers if layer._held is None], None)
    return _Restore(module, before)
