"""Networks of common layers, forwards and backwards by hand.

A small network spends more time in autograd's bookkeeping than in arithmetic. The layers below know
their own derivative, write parameters' gradients straight into one vector, and run all members of a
stack at once. A network with any other layer, or with hooks, is left to autograd.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final, Literal, Protocol

import torch
from torch import Tensor, nn

from hunch.nn import MLP, Constant, Ensemble, NoisyLinear, Streams
from hunch.nn.compiled_chain import Affine, CompiledChain
from hunch.nn.noisy_base import Draw
from hunch.rl.fast.image_layers import (
    ChannelsByHand,
    ConvolutionByHand,
    PixelsByHand,
    has_plain_images,
)
from hunch.rl.fast.wide_noise import WideNoise, is_wide
from hunch.rl.networks.feature_layers import Channels, Pixels
from hunch.rl.networks.held_noise import HeldNoise
from hunch.rl.networks.noise import FreshNoise
from hunch.rl.networks.runner import Runner

# Both are measured by benchmarks/constants.py.
FEW_ROWS = 8  # up to here noise is as cheap to apply to rows as to weights, or cheaper
# Up to here a product as narrow as the input takes a CPU several times as long as its transpose.
FEW_INPUTS = 8

Views = Mapping[int, Tensor]
Tape = list[Any]


class Layer(Protocol):
    """A layer on `(members, batch, in)`; what a forward leaves to its backward is on a tape.

    A layer holds what it put there last, too (`kept`), until it has another: memory that is given
    back to the system after each update costs up to a tenth of an update to get again.
    """

    def forward(self, x: Tensor, draws: Mapping[int, Draw], tape: Tape | None) -> Tensor:
        """The outputs; what `backward` needs goes onto the end of the tape, if there is one."""

    def backward(self, gradient: Tensor, needed: bool, tape: Tape) -> Tensor:
        """Write the parameters' gradients; return the inputs', if they are needed.

        What `forward` put onto the tape is taken off its end.
        """


class _Linear:
    """x Wᵀ + b, and max(·, 0) of that where a ReLU stands behind it."""

    def __init__(self, module: nn.Linear, gradients: Views, members: bool) -> None:
        self.weight, self.gw = _pair(module.weight, gradients, members)
        bias, self.gb = _pair(module.bias, gradients, members)
        # Views are made once: they share the parameters' memory and cost as much as small products.
        self.transposed, self.bias = self.weight.mT, _as_row(bias)
        self.relu = False

    def forward(self, x: Tensor, draws: Mapping[int, Draw], tape: Tape | None) -> Tensor:
        bias, transposed = self.bias, self.transposed
        y = torch.bmm(x, transposed) if bias is None else torch.baddbmm(bias, x, transposed)
        if self.relu:
            torch.relu_(y)
        if tape is not None:
            self.kept = (x, y)
            tape.append(self.kept)
        return y

    def backward(self, gradient: Tensor, needed: bool, tape: Tape) -> Tensor:
        x, y = tape.pop()
        if self.relu:
            gradient = torch.ops.aten.threshold_backward(gradient, y, 0.0)
        if self.gw is not None:
            _weight_gradient(gradient, x, self.gw)
        if self.gb is not None:
            torch.sum(gradient, 1, out=self.gb)
        return torch.bmm(gradient, self.weight) if needed else gradient

    def affine(self) -> Affine:
        """For the compiled kernel."""
        follows = "relu" if self.relu else "identity"
        return Affine(self.weight, self.bias, (self.gw, self.gb, None, None), follows)


class _NoisyLinear:
    """x (W + S ∘ ε)ᵀ + b + s ∘ ε_b."""

    def __init__(self, module: NoisyLinear, gradients: Views, members: bool) -> None:
        self.key = id(module)
        self.factorized = module.noise == "factorized"
        self.weight, self.gw = _pair(module.weight, gradients, members)
        self.sigma, self.gws = _pair(module.weight_sigma, gradients, members)
        bias, self.gb = _pair(module.bias, gradients, members)
        bias_sigma, self.gbs = _pair(module.bias_sigma, gradients, members)
        self.bias, self.bias_sigma = _as_row(bias), _as_row(bias_sigma)
        self.row, self.column = (self.weight.shape[0], 1, -1), (self.weight.shape[0], -1, 1)
        wide = is_wide(self.weight, self.sigma, self.factorized)
        self.wide = WideNoise(self.weight, self.sigma) if wide else None
        self.kept: tuple[Any, ...] = ()

    def forward(self, x: Tensor, draws: Mapping[int, Draw], tape: Tape | None) -> Tensor:
        draw = draws[self.key]
        if self.wide is not None:
            if tape is not None:
                self.kept = (x, draw)
                tape.append(self.kept)
            return self.wide.forward(x, self._perturbed_bias(draw), draw)
        if self.factorized and x.shape[1] <= FEW_ROWS and tape is None:
            rows, columns = (part.view(self.row) for part in draw)
            spread = _affine(x * rows, self.sigma.mT, self.bias_sigma)
            return _affine(x, self.weight.mT, self.bias).addcmul_(spread, columns)
        noise = self._noise(draw)
        # Without a gradient the product of the factors is needed no longer, and is in the cache.
        spent = noise if self.factorized and tape is None else None
        weight = torch.addcmul(self.weight, self.sigma, noise, out=spent)
        if tape is not None:
            self.kept = (x, draw, weight, noise)
            tape.append(self.kept)
        return _affine(x, weight.mT, self._perturbed_bias(draw))

    def _perturbed_bias(self, draw: Draw) -> Tensor | None:
        if self.bias is None:
            return None
        return torch.addcmul(self.bias, self.bias_sigma, draw[-1].view(self.row))

    def _noise(self, draw: Draw) -> Tensor:
        """Noise of the weights, `(members, out, in)`."""
        if self.factorized:
            rows, columns = draw
            return columns.view(self.column) * rows.view(self.row)
        return draw[0].view_as(self.weight)

    def backward(self, gradient: Tensor, needed: bool, tape: Tape) -> Tensor:
        x, draw, *made = tape.pop()
        if self.bias is not None:
            gb = torch.sum(gradient, 1, out=self.gb)
            torch.mul(gb, draw[-1].view(self.row).squeeze(1), out=self.gbs)
        if self.wide is not None:
            return self.wide.backward(gradient, x, draw, (self.gw, self.gws), needed)
        perturbed, noise = made
        gw = _weight_gradient(gradient, x, self.gw)
        torch.mul(gw, noise, out=self.gws)
        return torch.bmm(gradient, perturbed) if needed else gradient

    def affine(self) -> Affine:
        """For the compiled kernel."""
        return Affine(
            self.weight,
            self.bias,
            (self.gw, self.gb, self.gws, self.gbs),
            strength=self.sigma,
            bias_strength=self.bias_sigma,
            key=self.key,
            factorized=self.factorized,
        )


class _Tanh:
    """tanh x."""

    def __init__(self, module: nn.Tanh, gradients: Views, members: bool) -> None:
        pass

    def forward(self, x: Tensor, draws: Mapping[int, Draw], tape: Tape | None) -> Tensor:
        y = torch.tanh(x)
        if tape is not None:
            self.kept = y
            tape.append(self.kept)
        return y

    def backward(self, gradient: Tensor, needed: bool, tape: Tape) -> Tensor:
        dx: Tensor = torch.ops.aten.tanh_backward(gradient, tape.pop())
        return dx


class _ReLU:
    """max(x, 0)."""

    def __init__(self, module: nn.ReLU, gradients: Views, members: bool) -> None:
        self.owned = False  # whether nobody else looks at what comes in

    def forward(self, x: Tensor, draws: Mapping[int, Draw], tape: Tape | None) -> Tensor:
        y = torch.relu_(x) if self.owned else torch.relu(x)
        if tape is not None:
            self.kept = y
            tape.append(self.kept)
        return y

    def backward(self, gradient: Tensor, needed: bool, tape: Tape) -> Tensor:
        dx: Tensor = torch.ops.aten.threshold_backward(gradient, tape.pop(), 0.0)
        return dx


class _LayerNorm:
    """Each row to mean 0 and variance 1."""

    def __init__(self, module: nn.LayerNorm, gradients: Views, members: bool) -> None:
        self.shape, self.eps = list(module.normalized_shape), module.eps

    def forward(self, x: Tensor, draws: Mapping[int, Draw], tape: Tape | None) -> Tensor:
        y, mean, rstd = torch.native_layer_norm(x, self.shape, None, None, self.eps)
        if tape is not None:
            self.kept = (x, mean, rstd)
            tape.append(self.kept)
        return y

    def backward(self, gradient: Tensor, needed: bool, tape: Tape) -> Tensor:
        back = torch.ops.aten.native_layer_norm_backward
        wanted = [True, False, False]
        x, mean, rstd = tape.pop()
        dx: Tensor = back(gradient, x, self.shape, mean, rstd, None, None, wanted)[0]
        return dx


class _Constant:
    """The same outputs for every row."""

    def __init__(self, module: Constant, gradients: Views, members: bool) -> None:
        value, self.gradient = _pair(module.value, gradients, members)
        self.value = _as_row(value)

    def forward(self, x: Tensor, draws: Mapping[int, Draw], tape: Tape | None) -> Tensor:
        if tape is not None:
            tape.append(x.shape)
        y: Tensor = self.value.expand(-1, x.shape[1], -1)
        return y

    def backward(self, gradient: Tensor, needed: bool, tape: Tape) -> Tensor:
        shape = tape.pop()
        if self.gradient is not None:
            torch.sum(gradient, 1, out=self.gradient)
        return gradient.new_zeros(shape) if needed else gradient


class _Flatten:
    """All axes behind the batch as one."""

    def __init__(self, module: nn.Flatten, gradients: Views, members: bool) -> None:
        pass

    def forward(self, x: Tensor, draws: Mapping[int, Draw], tape: Tape | None) -> Tensor:
        if tape is not None:
            tape.append(x.shape)
        return x.flatten(2)

    def backward(self, gradient: Tensor, needed: bool, tape: Tape) -> Tensor:
        shape = tape.pop()
        return gradient.reshape(shape) if needed else gradient


class _Chain:
    """One layer after another."""

    def __init__(self, module: nn.Module, gradients: Views, members: bool) -> None:
        # Not `children()`, which names a module that stands in two places once.
        self.layers: list[Layer] = []
        for part in _parts_of(module):
            layer, before = by_hand(part, gradients, members), self.layers[-1:]
            if isinstance(layer, _Chain):
                self.layers += layer.layers
            elif isinstance(layer, _ReLU) and before and isinstance(before[0], _WITH_RELU):
                before[0].relu = True
            elif isinstance(layer, ConvolutionByHand):
                layer.divisor = _divisor(self.layers)
                self.layers.append(layer)
            else:
                if isinstance(layer, _ReLU) and before:
                    layer.owned = isinstance(before[0], _NoisyLinear | _LayerNorm)
                self.layers.append(layer)

    def forward(self, x: Tensor, draws: Mapping[int, Draw], tape: Tape | None) -> Tensor:
        for layer in self.layers:
            x = layer.forward(x, draws, tape)
        return x

    def backward(self, gradient: Tensor, needed: bool, tape: Tape) -> Tensor:
        for i in reversed(range(len(self.layers))):
            gradient = self.layers[i].backward(gradient, needed or i > 0, tape)
        return gradient


def _divisor(before: list[Layer]) -> float:
    """What a convolution behind these layers divides by in their place, off which it is taken."""
    for place, layer in enumerate(before):
        behind = before[place + 1 :]
        if isinstance(layer, PixelsByHand) and all(isinstance(b, ChannelsByHand) for b in behind):
            del before[place]
            return 255.0
    return 1.0


class _Streams:
    """Two networks on the same features."""

    def __init__(self, module: Streams, gradients: Views, members: bool) -> None:
        self.value = compiled(by_hand(module.value, gradients, members))
        self.advantage = compiled(by_hand(module.advantage, gradients, members))
        self.one_value = _width(module.value) == 1

    def forward(self, x: Tensor, draws: Mapping[int, Draw], tape: Tape | None) -> Tensor:
        value = self.value.forward(x, draws, tape)
        advantage = self.advantage.forward(x, draws, tape)
        if tape is not None:
            tape.append(value.shape[-1])
        return torch.cat([value, advantage], -1)

    def backward(self, gradient: Tensor, needed: bool, tape: Tape) -> Tensor:
        split = tape.pop()
        # What went forwards last goes backwards first.
        other = self.advantage.backward(gradient[..., split:].contiguous(), needed, tape)
        value = self.value.backward(gradient[..., :split].contiguous(), needed, tape)
        return value + other if needed else gradient


class AddedBias:
    """x + b, for a linear layer whose product is computed elsewhere.

    Args:
        bias: `(members, width)`.
        gradients: where gradients are written, by parameter.
    """

    def __init__(self, bias: Tensor, gradients: Views) -> None:
        self.bias, self.gradient = bias.detach().unsqueeze(1), gradients.get(id(bias))

    def forward(self, x: Tensor, draws: Mapping[int, Draw], tape: Tape | None) -> Tensor:
        """Return `x + b`."""
        return x + self.bias

    def backward(self, gradient: Tensor, needed: bool, tape: Tape) -> Tensor:
        """Write the bias's gradient; return the inputs'."""
        if self.gradient is not None:
            torch.sum(gradient, 1, out=self.gradient)
        return gradient

    def affine(self) -> Affine:
        """For the compiled kernel."""
        return Affine(None, self.bias, (None, self.gradient, None, None))


_WITH_RELU: Final = (_Linear, ConvolutionByHand)  # layers that take in a ReLU behind them
_UNTRAINED: Final = (_Flatten, PixelsByHand, ChannelsByHand)
_LAYERS: Final[dict[type[nn.Module], Callable[[Any, Views, bool], Layer]]] = {
    nn.Linear: _Linear,
    NoisyLinear: _NoisyLinear,
    nn.ReLU: _ReLU,
    nn.Tanh: _Tanh,
    nn.LayerNorm: _LayerNorm,
    nn.Flatten: _Flatten,
    nn.Conv2d: ConvolutionByHand,
    Pixels: PixelsByHand,
    Channels: ChannelsByHand,
    nn.Sequential: _Chain,
    MLP: _Chain,
    Streams: _Streams,
    Constant: _Constant,
}


def by_hand(module: nn.Module, gradients: Views, members: bool) -> Layer:
    """The layer of a module that has a rule.

    Args:
        module: the module.
        gradients: where gradients are written, by the parameters' ids.
        members: whether parameters carry a leading axis of members.
    """
    return _LAYERS[type(module)](module, gradients, members)


def compiled(layer: Layer) -> Layer:
    """The layer, of which the compiled kernel runs what it can, if it is there."""
    if isinstance(layer, _Chain):
        layer.layers = merged(layer.layers)
        return layer
    return merged([layer])[0]


def merged(layers: Sequence[Layer]) -> list[Layer]:
    """Layers of which the compiled kernel runs what it can, as much as it can in one call."""
    found: list[Layer] = []
    run: list[Affine] = []

    def close() -> None:
        if run:
            found.append(CompiledChain(run.copy()))
            run.clear()

    for layer in layers:
        own = layer.affine() if isinstance(layer, _Linear | _NoisyLinear | AddedBias) else None
        follows = "relu" if isinstance(layer, _ReLU) else "tanh" if isinstance(layer, _Tanh) else ""
        if own is not None and own.fits:
            run.append(own)
        elif follows and run and run[-1].activation == "identity":
            run[-1] = replace(run[-1], activation=follows)
        else:
            close()
            found.append(layer)
    close()
    return found


def _width(module: nn.Module) -> int | None:
    """Outputs of a network, if its last layer tells them."""
    last = [part for part in module.modules() if not part._modules][-1:]
    width: int | None = getattr(last[0], "out_features", None) if last else None
    return width


def _pair(parameter: Tensor | None, gradients: Views, members: bool) -> tuple[Any, Any]:
    """A parameter and the place of its gradient, both with a leading axis of members."""
    if parameter is None:
        return None, None
    gradient = gradients.get(id(parameter))
    own = parameter.detach()
    if members:
        return own, gradient
    return own.unsqueeze(0), None if gradient is None else gradient.unsqueeze(0)


def _as_row(bias: Any) -> Any:
    return None if bias is None else bias.unsqueeze(1)


def _affine(x: Tensor, transposed: Tensor, bias: Tensor | None) -> Tensor:
    return torch.bmm(x, transposed) if bias is None else torch.baddbmm(bias, x, transposed)


def _weight_gradient(gradient: Tensor, x: Tensor, out: Tensor | None) -> Tensor:
    """gradientᵀ x, written to `out` if there is one."""
    if out is None or x.shape[-1] > FEW_INPUTS:
        return torch.bmm(gradient.mT, x, out=out)
    return out.copy_(torch.bmm(x.mT, gradient).mT)


def supported(network: nn.Module) -> bool:
    """Whether every part of a network has a rule here.

    Example:
        >>> supported(MLP(2, [8], 1)), supported(nn.Sequential(nn.Linear(2, 1), nn.ELU()))
        (True, False)
    """
    parts = [part for _, part in network.named_modules(remove_duplicate=False)]
    held = [id(p) for part in parts for p in part._parameters.values() if p is not None]
    # A parameter in two places has a gradient from each; here the last one would stand alone.
    return all(map(_has_rule, parts)) and len(held) == len(set(held))


def _parts_of(module: nn.Module) -> list[nn.Module]:
    return [part for part in module._modules.values() if part is not None]


def _flattens_first(module: nn.Module) -> bool:
    """Whether all before the first linear layer takes any axes, and the last of that flattens."""
    parts = [part for part in module.modules() if not isinstance(part, nn.Sequential)]
    of_any_axes = (Pixels, Channels, nn.Conv2d, nn.ReLU, nn.Tanh)
    first = next((part for part in parts if not isinstance(part, of_any_axes)), None)
    return isinstance(first, nn.Flatten)


def _has_rule(part: nn.Module) -> bool:
    if "forward" in vars(part):  # one put into this object's place of its class's
        return False
    if isinstance(part, NoisyLinear) and part.per_sample:
        return False
    if isinstance(part, nn.LayerNorm) and part.elementwise_affine:
        return False
    if isinstance(part, nn.Flatten) and (part.start_dim, part.end_dim) != (1, -1):
        return False
    if isinstance(part, nn.Conv2d) and not has_plain_images(part):
        return False
    return type(part) in _LAYERS


class FastRunner(Runner):
    """A `Runner` that runs common layers by hand and leaves all others to torch.

    Args:
        network: as for `Runner`.
        noise: as for `Runner`.
        parameters: as for `Runner`.
        gradient: as for `Runner`.
        layers: what to run instead of the network's own layers, if anything. The function that
            `differentiable` returns then returns the gradient of `x`.

    Example:
        >>> net = nn.Linear(2, 1)
        >>> gradient = torch.zeros(3)
        >>> run = FastRunner(net, FreshNoise(net, []), list(net.parameters()), gradient)
        >>> out, backward = run.differentiable(torch.ones(1, 5, 2))
        >>> _ = backward(torch.ones(1, 5, 1))
        >>> out.shape, gradient
        (torch.Size([1, 5, 1]), tensor([5., 5., 5.]))
    """

    def __init__(
        self,
        network: nn.Module,
        noise: FreshNoise | HeldNoise,
        parameters: Sequence[Tensor] = (),
        gradient: Tensor | None = None,
        layers: Callable[[Views], Sequence[Layer]] | None = None,
    ) -> None:
        super().__init__(network, noise, parameters, gradient)
        views = {} if gradient is None else views_of(parameters, gradient)
        own = network.skeleton if isinstance(network, Ensemble) else network
        # The dictionaries themselves: a hook that is added later shows in them.
        self._hooks = [
            hooks
            for part in own.modules()
            for hooks in (
                part._forward_hooks,
                part._forward_pre_hooks,
                part._backward_hooks,
                part._backward_pre_hooks,
            )
        ]
        self._flattens = _flattens_first(own)
        self._layers: Sequence[Layer] | None = None
        self._inward = layers is not None  # whether the gradient of the inputs is asked for
        if layers is not None:
            self._layers = merged(layers(views))
        elif supported(own):
            layer = by_hand(own, views, self._stacked)
            self._layers = merged(layer.layers if isinstance(layer, _Chain) else [layer])
        self._streams: dict[str, list[Layer]] | None = None
        if self._layers and isinstance(last := self._layers[-1], _Streams) and last.one_value:
            before = self._layers[:-1]
            self._streams = {
                "value": [*before, last.value],
                "advantage": [*before, last.advantage],
            }
        # What stands before all that is trained needs no backward.
        untrained = [isinstance(layer, _UNTRAINED) for layer in self._layers or ()]
        self._first = [*untrained, False].index(False)
        first = self._layers[self._first : self._first + 1] if self._layers else ()
        self.takes_bytes = any(isinstance(x, ConvolutionByHand) and x.takes_bytes for x in first)

    def __call__(self, *inputs: Tensor) -> Tensor:
        """As `Runner`'s."""
        out = self._by_hand(inputs[0], None)  # of detached tensors: autograd has nothing to record
        return super().__call__(*_as_numbers(inputs)) if out is None else out

    def differentiable(self, *inputs: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """As `Runner`'s."""
        tape: Tape = []
        out = self._by_hand(inputs[0], tape)
        if out is None:
            return super().differentiable(*_as_numbers(inputs))
        return out, partial(self._backward, tape)

    def stream(self, x: Tensor, which: Literal["value", "advantage"]) -> Tensor:
        """Some outputs, by the one of two networks side by side that has them, if there are such.

        Args:
            x: as for the network.
            which: the value, the first of all outputs, or all others.
        """
        if self._streams is not None:
            found = self._by_hand(x, None, self._streams[which])
            if found is not None:
                return found
        out = self(x)
        return out[..., :1] if which == "value" else out[..., 1:]

    def chain(self, which: Literal["value", "advantage"] | None = None) -> CompiledChain | None:
        """What computes the network or a stream in one call of the kernel, if that can be done."""
        layers = self._streams and self._streams[which] if which else self._layers
        if not layers or any(self._hooks):
            return None
        if len(layers) == 1 and isinstance(layers[0], _Chain):
            layers = layers[0].layers
        own = layers[0] if len(layers) == 1 else None
        return own if isinstance(own, CompiledChain) else None

    def wide_layers(self) -> list[WideNoise]:
        """The wide noisy layers of a single network of which all weights are trained."""
        found = [own for layer in self._layers or () for own in _within(layer)]
        noisy = [own for own in found if isinstance(own, _NoisyLinear) and own.gw is not None]
        wide = [own.wide for own in noisy if own.gws is not None and own.wide is not None]
        return [] if self._stacked else wide

    def draws(self, calls: int = 1) -> dict[int, Draw]:
        """The noise of the next call, by layers; that of several as `FreshNoise.draws` has it."""
        if not self._noise.has_layers:
            return {}
        return self._noise.draws() if calls == 1 else self._noise.draws(calls)

    def _by_hand(
        self, x: Tensor, tape: Tape | None, layers: Sequence[Layer] | None = None
    ) -> Tensor | None:
        """Outputs by the layers here; None if torch has to be asked."""
        layers = self._layers if layers is None else layers
        if layers is None or (x.dim() != 3 and not self._flattens) or any(self._hooks):
            return None
        draws = self.draws()
        for layer in layers:
            x = layer.forward(x, draws, tape)
        return x

    def _backward(self, tape: Tape, gradient: Tensor) -> Tensor:
        tape = tape.copy()  # so that it may be called again
        layers = self._layers or ()
        for i in reversed(range(self._first, len(layers))):
            needed = i > self._first or self._inward
            gradient = layers[i].backward(gradient, needed, tape)
        return gradient


def _within(layer: Layer) -> list[Layer]:
    """The layers of which one consists."""
    parts: Sequence[Layer] = ()
    if isinstance(layer, _Chain):
        parts = layer.layers
    elif isinstance(layer, _Streams):
        parts = layer.value, layer.advantage
    return [layer, *(own for part in parts for own in _within(part))]


def _as_numbers(inputs: Sequence[Tensor]) -> list[Tensor]:
    """For the network itself, which is given no bytes."""
    return [x.float() if x.dtype == torch.uint8 else x for x in inputs]


def views_of(parameters: Sequence[Tensor], gradient: Tensor) -> dict[int, Tensor]:
    """The place of each parameter's gradient in a vector, or each member's, by the parameter's id.

    Example:
        >>> weight, gradient = torch.zeros(2, 3), torch.arange(6.0)
        >>> views_of([weight], gradient)[id(weight)]
        tensor([[0., 1., 2.],
                [3., 4., 5.]])
    """
    rows = gradient.shape[0] if gradient.dim() == 2 else 1
    sizes = [parameter.numel() // rows for parameter in parameters]
    places = gradient.split(sizes, dim=-1) if sizes else ()
    return {
        id(parameter): place.view(parameter.shape)
        for parameter, place in zip(parameters, places, strict=True)
    }


def runner_of(
    part: Ensemble, parameters: Sequence[Tensor], gradient: Tensor, behind_first: bool
) -> FastRunner:
    """What calls a part of all members.

    Args:
        part: the part.
        parameters: those whose gradient is asked for.
        gradient: a vector with a place for each of them.
        behind_first: whether the product of the first linear layer is computed elsewhere.
    """
    layers: Callable[[Views], list[Layer]] | None = None
    if behind_first:
        own = list(part.skeleton.children())
        first = first_linear(part.skeleton)

        def layers(gradients: Views) -> list[Layer]:
            rest = own[own.index(first) + 1 :]
            bias = (
                first.weight.new_zeros(first.weight.shape[:2]) if first.bias is None else first.bias
            )
            added = AddedBias(bias, gradients)
            return [added, *(by_hand(layer, gradients, True) for layer in rest)]

    return FastRunner(part, FreshNoise(part, []), parameters, gradient, layers)


def first_linear(layers: nn.Module) -> nn.Linear:
    """The first linear layer among a module's children.

    Example:
        >>> first_linear(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)))
        Linear(in_features=4, out_features=2, bias=True)
    """
    return next(layer for layer in layers.children() if isinstance(layer, nn.Linear))
