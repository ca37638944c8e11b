"""What a layer draws in its forward: where the noise comes from, and for how many members."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch
from torch import Tensor, nn

from hunch.draws import drawn, drawn_once
from hunch.errors import ConfigurationError, ShapeError
from hunch.recomputation import may_repeat, recalled

Noise = Literal["factorized", "independent"]
Mode = Literal["fresh", "held", "off", "auto"]
Draw = tuple[Tensor, ...]

_TRUNCATION = 2.0  # dqn_zoo cuts its normal draws at two standard deviations


def _one_of(name: str, value: object, options: Sequence[object]) -> None:
    if value not in options:
        listed = ", ".join(repr(option) for option in options)
        raise ConfigurationError(f"`{name}` got {value!r}; expected one of {listed}.")


class _SharedGenerator:
    """A generator that all copies of a layer share.

    `copy.deepcopy` copies a generator with its state, so the target network would repeat the online
    network's draws one by one, where the method needs independent ones.
    """

    def __init__(self, generator: torch.Generator | None) -> None:
        self.generator = generator

    def __deepcopy__(self, memo: dict[int, Any]) -> _SharedGenerator:
        return self


_DEFAULT = _SharedGenerator(None)  # torch's default generator


def _generator(shared: _SharedGenerator | None) -> torch.Generator | None:
    return None if shared is None else shared.generator


def _random(
    size: int,
    generator: torch.Generator | None,
    like: Tensor,
    kind: Noise,
    distribution: str,
    source: Callable[..., Tensor] = drawn,
) -> Tensor:
    """A flat tensor of `size` noise values, on the device and of the dtype of `like`."""
    # A generator lives on one device; what it draws is moved to where the parameters are.
    device = like.device if generator is None else generator.device
    if distribution == "normal":
        x = source(torch.randn, (size,), generator, like.dtype, device)
    else:
        edge = math.erf(_TRUNCATION / math.sqrt(2.0))
        x = source(torch.rand, (size,), generator, like.dtype, device)
        x = torch.erfinv((2.0 * x - 1.0) * edge) * math.sqrt(2.0)
    if kind == "factorized":
        x = x.abs().sqrt_().copysign_(x)  # f(x) = sgn(x)·√|x|
    return x if device == like.device else x.to(like.device)


def _outliving_inference() -> AbstractContextManager[object]:
    """For tensors to be kept: born in inference mode they could not take part in a backward."""
    # The tracer knows the mode but not the question; leaving a mode that is off is not nothing: it
    # turns forward-mode derivatives on, by which a checkpointed region is known.
    if torch.compiler.is_dynamo_compiling() or torch.is_inference_mode_enabled():
        return torch.inference_mode(False)
    return nullcontext()


def _split(flat: Tensor, shapes: Sequence[tuple[int, ...]]) -> Draw:
    parts, start = [], 0
    for shape in shapes:
        flat_shape = len(shape) == 1
        stop = start + (shape[0] if flat_shape else math.prod(shape))
        part = flat[start:stop]
        parts.append(part if flat_shape else part.view(shape))
        start = stop
    return tuple(parts)


class _Using:
    """What `DrawingLayer.using` returns."""

    def __init__(self, layer: DrawingLayer, draw: Draw) -> None:
        # `nn.Module.__setattr__` costs more than a small layer's matrix product; agents do this
        # for every layer of every forward.
        self._state, self._draw = layer.__dict__, draw

    def __enter__(self) -> None:
        self._outside = self._state["_given"]
        self._state["_given"] = self._draw

    def __exit__(self, *exception: object) -> None:
        self._state["_given"] = self._outside


class DrawingLayer(nn.Module):
    """A layer that draws noise in its forward, by itself or for all members of an ensemble."""

    weight: Tensor
    bias: Tensor | None
    noise: Noise
    noise_distribution: str
    per_sample: bool
    _weight_shape: tuple[int, ...]
    _groups: int
    _fan_in: int
    _fan_out: int

    def __init__(self) -> None:
        super().__init__()
        self._mode: Mode = "auto"
        self._shared: _SharedGenerator | None = None  # None: torch's default generator
        self._held: Draw | None = None
        self._held_source: _SharedGenerator | None = None  # of a held draw that waits for its batch
        self._given: Draw | None = None
        self._members: int | None = None  # an Ensemble's K, whose parameters carry a member axis

    @property
    def active_mode(self) -> Literal["fresh", "held", "off"]:
        """What a forward does now: the mode set by `noise`, with "auto" resolved."""
        if self._mode == "auto":
            return "fresh" if self.training else "off"
        return self._mode

    def draw_shapes(self, batch_shape: Sequence[int] = ()) -> list[tuple[int, ...]]:
        """The shapes of the tensors that `draw` returns for an input with that leading shape."""
        batch = tuple(batch_shape) if self.per_sample else ()
        if self.noise == "factorized":
            # A group of channels is a layer of its own beside the others: own inputs, own noise.
            return [(*batch, self._groups * self._fan_in), (*batch, self._fan_out)]
        if self.per_sample:
            return [(*batch, self._fan_out)]
        return [self._weight_shape] + ([] if self.bias is None else [(self._fan_out,)])

    def draw(
        self,
        generator: torch.Generator | None = None,
        *,
        members: int | None = None,
        batch_shape: Sequence[int] = (),
    ) -> Draw:
        """Draw noise for one forward, to be handed to `using`; nothing is stored.

        Args:
            generator: where the noise comes from; None is torch's default generator.
            members: a number gives every tensor a leading axis of that many independent draws.
            batch_shape: the leading shape of the input; read by layers with `per_sample=True`.

        Returns:
            Factorized noise: f(ε_in) and f(ε_out), each with the batch in front when per sample.
            Independent noise: a value per weight, then one per bias if there is a bias; when per
            sample, one value per output of each row instead.
        """
        shapes = self.draw_shapes(batch_shape)
        if members is not None:
            shapes = [(members, *shape) for shape in shapes]
        return self._draw(generator, shapes, drawn)

    def _draw(
        self,
        generator: torch.Generator | None,
        shapes: Sequence[tuple[int, ...]],
        source: Callable[..., Tensor],
    ) -> Draw:
        size, like = sum(map(math.prod, shapes)), self.weight
        flat = _random(size, generator, like, self.noise, self.noise_distribution, source)
        return _split(flat, shapes)

    def using(self, draw: Draw) -> AbstractContextManager[None]:
        """Within this block every forward uses exactly `draw`, whatever the mode.

        Args:
            draw: what `draw()` returned, or one member's slice of it; around an ensemble, what
                `draw(members=K)` returned.
        """
        return _Using(self, draw)

    def _current_draw(self, batch_shape: Sequence[int]) -> Draw | None:
        """The noise of this forward; None means the mean weights."""
        if may_repeat():
            source, again = recalled(self, self._source, batch_shape)
        else:
            source, again = self._source(batch_shape), False
            if source is _DEFAULT and self._mode != "held":
                return self._draw(None, self.draw_shapes(batch_shape), drawn_once)
        if not isinstance(source, _SharedGenerator):
            return source
        if self._mode != "held":
            return self.draw(source.generator, batch_shape=batch_shape)
        return self._draw_to_hold(source, again, batch_shape=batch_shape)

    def _draw_to_hold(self, shared: _SharedGenerator, again: bool, **shape: Any) -> Draw:
        with _outliving_inference():
            drawn = self.draw(shared.generator, **shape)
        if not again:
            self._hold(drawn)
        return drawn

    def _source(self, batch_shape: Sequence[int]) -> Draw | _SharedGenerator | None:
        """Noise that is there for this forward, or where new noise comes from; None: the means."""
        if self._given is not None:
            return self._given
        mode = self.active_mode
        if mode == "off":
            return None
        if mode == "fresh":
            return self._shared or _DEFAULT
        if self._held is None:
            return self._held_source or self._shared or _DEFAULT
        if self.per_sample and self._held[0].shape[:-1] != torch.Size(batch_shape):
            raise ShapeError(
                f"`x` has leading shape {tuple(batch_shape)}, but the held per-sample noise was "
                f"drawn for {tuple(self._held[0].shape[:-1])}; call reset_noise before a forward "
                "with another batch size."
            )
        return self._held

    def _hold(self, drawn: Draw) -> None:
        if not torch.compiler.is_compiling() and torch._C._functorch.is_batchedtensor(drawn[0]):
            raise ConfigurationError(
                '`mode` is "held", but per-sample noise drawn inside vmap cannot be held after '
                "it; use fresh noise, or hand noise over with `using`."
            )
        self._held = drawn

    def draw_for_members(self) -> Draw | None:
        """The noise of one forward of all members of an ensemble, `(members, …)` each.

        None leaves a member to itself: with its means, or, per sample, to draw in its own forward.

        Raises:
            ConfigurationError: for held per-sample noise, which no member could keep.
        """
        source, again = recalled(self, self._source_for_members)
        if not isinstance(source, _SharedGenerator):
            return source
        if self._mode != "held":
            return self.draw(source.generator, members=self._members)
        return self._draw_to_hold(source, again, members=self._members)

    def _source_for_members(self) -> Draw | _SharedGenerator | None:
        if self._given is not None:
            return self._given
        mode = self.active_mode
        if mode == "off" or (self.per_sample and mode == "fresh"):
            return None
        if self.per_sample:
            raise ConfigurationError(
                '`mode` is "held" for per-sample noise in an ensemble; expected "fresh", or layers '
                "with per_sample=False."
            )
        if mode == "fresh":
            return self._shared or _DEFAULT
        return self._held or self._held_source or self._shared or _DEFAULT

    def stand_for_members(self, members: int | None) -> None:
        """Say that parameters carry a leading axis of that many members; None for no axis."""
        if members != self._members:
            self._members, self._held = members, None

    def hold_for_members(self, held: Sequence[Draw | None]) -> None:
        """Stand for members, and hold the noise that each of them holds.

        Args:
            held: the noise of each member, None for none.

        Raises:
            ConfigurationError: if some hold noise and some do not.
        """
        self.stand_for_members(len(held))
        given = [draw for draw in held if draw is not None]
        if self.per_sample or not given:
            return
        if len(given) < len(held):
            raise ConfigurationError(
                f"{len(given)} of {len(held)} members hold noise; expected all or none: call "
                "`reset_noise` on each member, or on the ensemble."
            )
        self._held = tuple(torch.stack(parts) for parts in zip(*given, strict=True))

    def _apply(self, fn: Any, recurse: bool = True) -> DrawingLayer:
        # Held noise is no buffer, so what moves the module has to be told about it.
        super()._apply(fn, recurse)
        if self._held is not None:
            self._held = tuple(fn(part) for part in self._held)
        return self
