"""The network of an agent: the one given, or a ready-made one, noisy on demand."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence, Sized
from typing import Any, Final, SupportsIndex, TypeAlias

import torch
from torch import Tensor, nn

from hunch.errors import ConfigurationError
from hunch.nn import MLP, NoisyConv2d, NoisyLinear, Streams, noisy
from hunch.rl.networks.feature_layers import feature_layers
from hunch.rl.networks.value_heads import ValueHead
from hunch.seeding import default_generator_seeded
from hunch.validation import check_memory, shown, whole_number

NetworkLike: TypeAlias = nn.Module | Callable[[], nn.Module]
NoisyLayer: TypeAlias = NoisyLinear | NoisyConv2d
_BYTES_A_WEIGHT: Final = 16  # itself, its gradient and Adam's two means, in single precision


def value_network(
    network: NetworkLike | None,
    observation_shape: tuple[int, ...],
    value_head: ValueHead,
    hidden_sizes: Sequence[int],
    *,
    noisy: bool = False,
    layer_norm: bool = False,
    pixels: bool = False,
    one_hot: bool = False,
) -> nn.Module:
    """A network from a batch of observations to `value_head.outputs` numbers, checked by one call.

    Args:
        network: a module, a function that makes one, or None: convolutions for images, a
            multilayer perceptron for everything else.
        observation_shape: shape of one observation.
        value_head: what the outputs mean.
        hidden_sizes: width of each hidden layer of a ready-made network, behind the convolutions
            if there are any; without effect if a network is given.
        noisy: whether the network must be noisy. A given one that already is stays as it is;
            otherwise each of its linear and convolution layers becomes noisy.
        layer_norm: whether hidden layers of a ready-made network are normalised before their ReLU.
        pixels: whether observations are bytes; a ready-made network divides them by 255.
        one_hot: whether they hold a single 1.

    Raises:
        ConfigurationError: if the network cannot take a batch of one observation, or returns
            anything but `(1, value_head.outputs)`.

    Example:
        >>> net = value_network(None, (4,), ValueHead(actions=2), [8])
        >>> net(torch.zeros(5, 4)).shape
        torch.Size([5, 2])
    """
    if network is None:
        before, inputs = feature_layers(observation_shape, pixels, one_hot=one_hot)
        hidden = hidden_widths(hidden_sizes, inputs)
        convolved = any(isinstance(layer, nn.Conv2d) for layer in before)
        layers = perceptron(
            inputs,
            hidden,
            value_head,
            noisy=noisy,
            layer_norm=layer_norm,
            plain_first=bool(hidden) and not convolved,
        )
        made: nn.Module = nn.Sequential(*before, *layers)
    else:
        made = given_network(network, "action values")
        if noisy and not noisy_layers(made):
            made = _made_noisy(made)
    check_network(made, observation_shape, value_head)
    return made


def hidden_widths(sizes: Sequence[SupportsIndex], inputs: int) -> list[int]:
    """Return the widths of hidden layers as ints, or say what is wrong with them.

    Args:
        sizes: what was given.
        inputs: numbers that the first layer gets.

    Raises:
        ConfigurationError: if one is no integer of at least 1, or they are beyond this machine.

    Example:
        >>> hidden_widths([64, 64], inputs=4)
        [64, 64]
    """
    widths = listed_widths(sizes)
    weights = sum(p * q for p, q in itertools.pairwise([inputs, *widths]))
    check_memory(
        _BYTES_A_WEIGHT * weights,
        f"a network with `hidden_sizes`={shown(widths)}",
        "choose narrower layers",
    )
    return widths


def listed_widths(sizes: Any) -> list[int]:
    """Widths of hidden layers as a list of ints.

    Args:
        sizes: what was given.

    Raises:
        ConfigurationError: if it is no list, or one is no integer of at least 1.

    Example:
        >>> listed_widths((64, 64))
        [64, 64]
    """
    if not isinstance(sizes, Iterable):
        raise ConfigurationError(
            f"`hidden_sizes` got {shown(sizes)}; expected a list with the width of each hidden "
            "layer, such as [64, 64]."
        )
    return [whole_number("hidden_sizes", size, at_least=1) for size in sizes]


def no_widths(sizes: Any) -> bool:
    """Whether a list of hidden layers was given and is empty.

    Example:
        >>> no_widths(()), no_widths([64]), no_widths(None)
        (True, False, False)
    """
    return isinstance(sizes, Sized) and len(sizes) == 0


def value_table(observation_shape: tuple[int, ...], actions: int, spread: float) -> nn.Sequential:
    """Values of their own for each state, where observations are one-hot.

    Args:
        observation_shape: shape of one observation.
        actions: number of actions.
        spread: standard deviation of the values, drawn from torch's default generator; 0 for zeros.

    Example:
        >>> table = value_table((2, 2), actions=3, spread=0.0)
        >>> table(torch.eye(4).view(4, 2, 2)).shape
        torch.Size([4, 3])
    """
    values = nn.Linear(math.prod(observation_shape), actions, bias=False)
    nn.init.normal_(values.weight, std=spread) if spread else nn.init.zeros_(values.weight)
    return nn.Sequential(nn.Flatten(), values)


def table_rows(table: nn.Module) -> Tensor | None:
    """Values for each place of the 1 in an observation, and none for zeros alone.

    Args:
        table: as `value_table` makes it, or stacked with a leading axis of members.

    Returns:
        `(members, places + 1, actions)`; None if the module is no such table.

    Example:
        >>> table_rows(value_table((2, 2), actions=3, spread=1.0)).shape
        torch.Size([1, 5, 3])
        >>> table_rows(nn.Linear(4, 3))
    """
    parts = list(table.children())
    kinds = [type(part) for part in parts]
    if kinds != [nn.Flatten, nn.Linear] or getattr(parts[1], "bias", None) is not None:
        return None
    weight: Tensor = parts[1].get_parameter("weight").detach()
    rows = (weight if weight.dim() == 3 else weight.unsqueeze(0)).mT
    return torch.cat([rows, torch.zeros_like(rows[:, :1])], 1)


def perceptron(
    inputs: int,
    hidden_sizes: Sequence[int],
    value_head: ValueHead,
    *,
    noisy: bool,
    layer_norm: bool = False,
    plain_first: bool = False,
) -> list[nn.Module]:
    """Linear layers with ReLU between them; dueling streams share all but their last hidden layer.

    Args:
        inputs: number of inputs.
        hidden_sizes: width of each hidden layer; empty for a linear map.
        value_head: what the outputs mean.
        noisy: whether layers are `hunch.nn.NoisyLinear`.
        layer_norm: whether hidden layers are normalised, without parameters, before their ReLU.
        plain_first: whether the first layer stays plain all the same.

    Example:
        >>> layers = perceptron(4, [8], ValueHead(2), noisy=True, plain_first=True)
        >>> [type(layer).__name__ for layer in layers]
        ['Linear', 'ReLU', 'NoisyLinear']
    """
    if not (noisy or layer_norm or value_head.dueling):
        return list(MLP(inputs, hidden_sizes, value_head.outputs))

    def linear(p: int, q: int, first: bool) -> nn.Module:
        # The first layer extracts features; the paper keeps what does that plain.
        return NoisyLinear(p, q) if noisy and not (first and plain_first) else nn.Linear(p, q)

    def activation(size: int) -> list[nn.Module]:
        norm = [nn.LayerNorm(size, elementwise_affine=False)] if layer_norm else []
        return [*norm, nn.ReLU()]

    shared = list(hidden_sizes[: -1 if value_head.dueling else None])
    layers: list[nn.Module] = []
    for i, (p, q) in enumerate(itertools.pairwise([inputs, *shared])):
        layers += [linear(p, q, i == 0), *activation(q)]
    sizes = [shared[-1] if shared else inputs, *hidden_sizes[len(shared) :]]
    first = not shared

    def stream(outputs: int) -> nn.Module:
        parts: list[nn.Module] = []
        for p, q in itertools.pairwise(sizes):
            parts += [linear(p, q, first), *activation(q)]
        parts.append(linear(sizes[-1], outputs, first and len(sizes) == 1))
        return nn.Sequential(*parts) if len(parts) > 1 else parts[0]

    if value_head.dueling:
        advantages = value_head.outputs - value_head.atoms
        return [*layers, Streams(stream(value_head.atoms), stream(advantages))]
    return [*layers, stream(value_head.outputs)]


def noisy_layers(network: nn.Module) -> list[NoisyLayer]:
    """The noisy layers of `network`.

    Example:
        >>> noisy_layers(nn.Sequential(nn.Linear(2, 2), NoisyLinear(2, 2)))
        [NoisyLinear(2, 2, bias=True, noise=factorized, std_init=0.5, per_sample=False)]
    """
    # An ensemble lists its skeleton twice.
    return list(dict.fromkeys(m for m in network.modules() if isinstance(m, NoisyLayer)))


def noise_size(layer: NoisyLayer) -> float:
    """Mean |σ| over all weights and biases of a noisy layer, in an ensemble over its members.

    Example:
        >>> noise_size(NoisyLinear(4, 2, std_init=0.5))
        0.25
    """
    sigmas = [s for s in (layer.weight_sigma, layer.bias_sigma) if s is not None]
    total = sum(sigma.detach().abs().sum().item() for sigma in sigmas)
    return float(total / sum(sigma.numel() for sigma in sigmas))


def given_network(network: NetworkLike, outputs: str) -> nn.Module:
    """The module that a user gave, or made by the function that he gave.

    Args:
        network: a module or a function.
        outputs: what it is to return for observations, for the message.

    Raises:
        ConfigurationError: if it is neither, or the function makes anything else.

    Example:
        >>> given_network(lambda: nn.Linear(4, 2), "action values")
        Linear(in_features=4, out_features=2, bias=True)
    """
    if not isinstance(network, nn.Module) and not callable(network):
        raise ConfigurationError(
            f"a network was given as {shown(network)}; expected a torch.nn.Module, or a function "
            "without arguments that makes one."
        )
    made = network if isinstance(network, nn.Module) else network()
    if not isinstance(made, nn.Module):
        raise ConfigurationError(
            f"`network` made {made!r}; expected a torch.nn.Module from observations to {outputs}."
        )
    return made


def one_network_each(
    make: Callable[[], nn.Module], network: NetworkLike | None, replicas: int, seed: int
) -> list[nn.Module]:
    """A network for each replica, replica r's from the stream of seed `seed + r`.

    Args:
        make: makes one, drawing from torch's default generator.
        network: what the user gave.
        replicas: how many.
        seed: of the first.

    Raises:
        ConfigurationError: if `network` is a single module for several replicas.

    Example:
        >>> len(one_network_each(lambda: nn.Linear(2, 1), None, replicas=3, seed=0))
        3
    """
    if replicas > 1 and isinstance(network, nn.Module):
        raise ConfigurationError(
            f"`network` got a module for {replicas} replicas; expected a function without "
            "arguments that makes one, to be called for each."
        )
    made = []
    for r in range(replicas):
        with default_generator_seeded(seed + r, "network"):
            made.append(make())
    return made


# `noisy` is an argument's name above, as in the agents' own signatures.
_made_noisy = noisy


def check_network(
    network: nn.Module, observation_shape: tuple[int, ...], value_head: ValueHead
) -> None:
    """Call a value network once.

    Raises:
        ConfigurationError: as `check_outputs`.

    Example:
        >>> check_network(nn.Linear(4, 2), (4,), ValueHead(actions=2))
    """
    meaning = "one value per action"
    if value_head.outputs != value_head.actions:
        groups = f"{value_head.actions} actions" + (" and the value first" * value_head.dueling)
        meaning = f"{value_head.atoms} for each of {groups}"
    check_outputs(network, observation_shape, value_head.outputs, meaning)


def check_outputs(
    network: nn.Module, observation_shape: tuple[int, ...], outputs: int, meaning: str
) -> None:
    """Call a network once.

    Args:
        network: the network.
        observation_shape: shape of one observation.
        outputs: how many numbers it has to return for each.
        meaning: what they are, for the message.

    Raises:
        ConfigurationError: if it cannot take a batch of one observation, has nothing to train or
            returns another shape than `(1, outputs)`.

    Example:
        >>> check_outputs(nn.Linear(4, 2), (4,), 2, "one value per action")
    """
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
    if shape != (1, outputs):
        raise ConfigurationError(
            f"`network` returned shape {shape} for one observation; expected {(1, outputs)}, "
            f"{meaning}."
        )
