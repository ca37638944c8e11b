"""The network of an agent: the one given, or a multilayer perceptron, noisy on demand."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import TypeAlias

import torch
from torch import Tensor, nn

from hunch.errors import ConfigurationError
from hunch.nn import MLP, NoisyConv2d, NoisyLinear, noise, noisy
from hunch.rl.arguments import whole_number

NetworkLike: TypeAlias = nn.Module | Callable[[], nn.Module]
NoisyLayer: TypeAlias = NoisyLinear | NoisyConv2d

DRAWN_AHEAD = 2**20  # noise values, 4 MiB, that a network may hold for calls to come


def action_values(
    network: NetworkLike | None,
    observation_shape: tuple[int, ...],
    num_actions: int,
    hidden_sizes: Sequence[int],
    *,
    noisy: bool,
) -> nn.Module:
    """A network from a batch of observations to one value per action, checked by one call.

    Args:
        network: a module, a function that makes one, or None for a multilayer perceptron.
        observation_shape: shape of one observation.
        num_actions: number of actions.
        hidden_sizes: width of each hidden layer of the perceptron; without effect if a network
            is given.
        noisy: whether the network must be noisy. A given one that already is stays as it is;
            otherwise each of its linear and convolution layers becomes noisy.

    Raises:
        ConfigurationError: if the network cannot take a batch of one observation, or returns
            anything but `(1, num_actions)`.

    Example:
        >>> net = action_values(None, (4,), 2, [8], noisy=False)
        >>> net(torch.zeros(5, 4)).shape
        torch.Size([5, 2])
    """
    if network is None:
        made: nn.Module = perceptron(observation_shape, hidden_sizes, num_actions, noisy=noisy)
    else:
        made = network if isinstance(network, nn.Module) else network()
        if not isinstance(made, nn.Module):
            raise ConfigurationError(
                f"`network` made {made!r}; expected a torch.nn.Module from observations to "
                "action values."
            )
        if noisy and not noisy_layers(made):
            made = _made_noisy(made)
    _check(made, observation_shape, num_actions)
    return made


def perceptron(
    observation_shape: tuple[int, ...],
    hidden_sizes: Sequence[int],
    num_actions: int,
    *,
    noisy: bool,
) -> nn.Sequential:
    """Linear layers with ReLU between them; if `noisy`, all but the first are noisy layers.

    Args:
        observation_shape: shape of one observation, which is flattened if it has several axes.
        hidden_sizes: width of each hidden layer; empty for a linear map, which is noisy if any is.
        num_actions: number of outputs.
        noisy: whether to use `hunch.nn.NoisyLinear`.

    Raises:
        ConfigurationError: if a width is below 1.

    Example:
        >>> [type(m).__name__ for m in perceptron((4,), [8], 2, noisy=True)]
        ['Linear', 'ReLU', 'NoisyLinear']
    """
    inputs = math.prod(observation_shape)
    hidden = [whole_number("hidden_sizes", size, at_least=1) for size in hidden_sizes]
    layers: list[nn.Module] = [] if len(observation_shape) == 1 else [nn.Flatten()]
    if not noisy:
        return nn.Sequential(*layers, *MLP(inputs, hidden, num_actions))
    for i, (p, q) in enumerate(itertools.pairwise([inputs, *hidden, num_actions])):
        if i:
            layers.append(nn.ReLU())
        # The first layer extracts features; the paper keeps what does that plain.
        layers.append(NoisyLinear(p, q) if i or not hidden else nn.Linear(p, q))
    return nn.Sequential(*layers)


def noisy_layers(network: nn.Module) -> list[NoisyLayer]:
    """The noisy layers of `network`.

    Example:
        >>> noisy_layers(nn.Sequential(nn.Linear(2, 2), NoisyLinear(2, 2)))
        [NoisyLinear(2, 2, bias=True, noise=factorized, std_init=0.5, per_sample=False)]
    """
    return [module for module in network.modules() if isinstance(module, NoisyLayer)]


class FreshNoise:
    """Calls a network with new noise each time; a network without noise it calls as it is.

    The same as mode "fresh" of `hunch.nn.noise`, whatever the network's own mode, but the noise of
    many calls is drawn at once: for small networks that halves the cost of noise.

    Args:
        network: the network.
        generator: source of all noise.

    Example:
        >>> net = FreshNoise(NoisyLinear(2, 1), torch.Generator().manual_seed(0))
        >>> x = torch.ones(1, 2)
        >>> bool(net(x) == net(x))
        False
    """

    def __init__(self, network: nn.Module, generator: torch.Generator) -> None:
        self.network = network
        self._generator = generator
        layers = noisy_layers(network)
        # Noise per sample depends on the batch, so it cannot be drawn before there is one.
        self._layers = [layer for layer in layers if not layer.per_sample]
        self._per_sample = [layer for layer in layers if layer.per_sample]
        self._draws = self._drawn_ahead()

    def __call__(self, x: Tensor) -> Tensor:
        """The network's output for `x` under noise that no other call has."""
        with ExitStack() as stack:
            if self._per_sample:
                stack.enter_context(noise(self.network, "fresh", generator=self._generator))
            if self._layers:
                for layer, draw in zip(self._layers, next(self._draws), strict=True):
                    stack.enter_context(layer.using(draw))
            values: Tensor = self.network(x)
        return values

    def _drawn_ahead(self) -> Iterator[tuple[tuple[Tensor, ...], ...]]:
        """Without end: for each call, the noise of each layer."""
        values = sum(math.prod(shape) for layer in self._layers for shape in layer.draw_shapes())
        ahead = max(1, min(256, DRAWN_AHEAD // max(1, values)))
        while True:
            with torch.inference_mode(False), torch.no_grad():
                draws = [layer.draw(self._generator, members=ahead) for layer in self._layers]
            by_layer = [zip(*(part.unbind() for part in draw), strict=True) for draw in draws]
            yield from zip(*by_layer, strict=True)


def as_vector(parameters: Sequence[nn.Parameter]) -> Tensor:
    """All parameters as one vector, of which each parameter becomes a view.

    What changes the vector in place changes the network, so an optimiser, a copy or an average
    needs one operation instead of one for each parameter. Moving the network to another device or
    type afterwards would undo that.

    Args:
        parameters: at least one, all on one device and of one type.

    Example:
        >>> net = nn.Linear(2, 1)
        >>> as_vector(list(net.parameters())).zero_()
        tensor([0., 0., 0.])
        >>> net.bias.item()
        0.0
    """
    vector = nn.utils.parameters_to_vector(parameters).detach().clone()
    nn.utils.vector_to_parameters(vector, parameters)
    return vector


def gradient_vector(loss: Tensor, parameters: Sequence[nn.Parameter]) -> Tensor:
    """The gradient of `loss` in the order of `as_vector`, 0 for parameters that play no part.

    Args:
        loss: a scalar.
        parameters: those of the vector.

    Example:
        >>> net = nn.Linear(2, 1)
        >>> gradient_vector(net(torch.ones(1, 2)).sum(), list(net.parameters()))
        tensor([1., 1., 1.])
    """
    gradients = torch.autograd.grad(loss, parameters, materialize_grads=True)
    return torch.cat([gradient.flatten() for gradient in gradients])


# `noisy` is an argument's name above, as in the agents' own signatures.
_made_noisy = noisy


def _check(network: nn.Module, observation_shape: tuple[int, ...], num_actions: int) -> None:
    device = next((p.device for p in network.parameters()), torch.device("cpu"))
    try:
        with torch.no_grad():
            shape = tuple(network(torch.zeros((1, *observation_shape), device=device)).shape)
    except Exception as error:  # whatever a foreign network raises
        raise ConfigurationError(
            f"`network` cannot take a batch of one observation, float32 of shape "
            f"{(1, *observation_shape)}: {error}"
        ) from error
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise ConfigurationError(
            "`network` has nothing to train: no parameter requires a gradient."
        )
    if shape != (1, num_actions):
        raise ConfigurationError(
            f"`network` returned shape {shape} for one observation; expected {(1, num_actions)}, "
            "one value per action."
        )
