"""One network, or one member of an ensemble, for a few observations at a time, in numpy.

Acting needs the values of one network for one observation. A torch operation on such small tensors
costs more than the same one in numpy, and running all members to use one costs their arithmetic as
well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from hunch.nn import MLP, Ensemble, NoisyLinear, Streams
from hunch.nn.noisy_base import Draw

Floats = NDArray[np.float32]
Draws = Mapping[int, Draw]
# From inputs `(…, in)`, the number of a member and the noise of this call to outputs `(…, out)`.
Layer = Callable[[Any, int, Draws], Any]

_NO_DRAWS: Final[Draws] = {}


class SoloNetwork:
    """The outputs of one network, or of one member of a stack of them.

    Linear and noisy layers, layer norm and ReLU in a row, with streams at the end. The arrays share
    the network's memory, so what is learned shows at once.

    Args:
        network: a module or an `hunch.nn.Ensemble`; see `of`.
        one_hot: whether observations are places of a 1.

    Example:
        >>> import torch
        >>> net = Ensemble(lambda: MLP(3, [4], 2), 5, seed=0)
        >>> values = SoloNetwork.of(net)(np.ones(3, np.float32), member=2)
        >>> bool(torch.allclose(torch.from_numpy(values), net(torch.ones(1, 3))[2, 0]))
        True
    """

    def __init__(self, network: nn.Module, *, one_hot: bool = False) -> None:
        stacked = isinstance(network, Ensemble)
        own = network.skeleton if isinstance(network, Ensemble) else network
        first = next((m for m in own.modules() if isinstance(m, nn.Linear)), None)
        self._layers = [
            _Rows(part, stacked) if one_hot and part is first else _layer(part, stacked)
            for part in _leaves(own)
        ]
        self._hooks = [h for m in own.modules() for h in (m._forward_hooks, m._forward_pre_hooks)]

    @classmethod
    def of(cls, network: nn.Module, *, one_hot: bool = False) -> SoloNetwork | None:
        """For a network on the CPU; None if a layer has no rule here."""
        own = network.skeleton if isinstance(network, Ensemble) else network
        if not all(map(_has_rule, own.modules())):
            return None
        later = [m for m in own.modules() if m is not _leaves(own)[0]]
        if any(isinstance(m, nn.Flatten) for m in later):
            return None
        if any(p.device.type != "cpu" for p in network.parameters()):
            return None
        return cls(network, one_hot=one_hot)

    @property
    def usable(self) -> bool:
        """Whether nobody has hooked himself into the network, whom numpy would pass by."""
        return not any(self._hooks)

    def __call__(self, x: NDArray[Any], member: int = 0, draws: Draws = _NO_DRAWS) -> Floats:
        """Outputs `(…, out)`.

        Args:
            x: observations `(…, in)`, flattened; or the place of a 1.
            member: which member of the stack.
            draws: noise of each noisy layer, by the layer's id.
        """
        for layer in self._layers:
            x = layer(x, member, draws)
        return x


class SoloValues:
    """Action values of one member: `model(x) + scale * prior(x)`.

    Args:
        model: the trained networks.
        prior: the priors.
        scale: of the priors, for each member.
        members: members of one replica.

    Example:
        >>> import torch
        >>> from hunch.nn import RandomizedPrior
        >>> net = Ensemble(lambda: RandomizedPrior(MLP(3, [4], 2), MLP(3, [4], 2)), 5, seed=0)
        >>> solo = SoloValues.of(net, replicas=1, one_hot=False)
        >>> values = solo(np.ones(3, np.float32), replica=0, member=2)
        >>> bool(torch.allclose(torch.from_numpy(values), net(torch.ones(1, 3))[2, 0]))
        True
    """

    def __init__(self, model: SoloNetwork, prior: SoloNetwork, scale: Floats, members: int) -> None:
        self._model, self._prior, self._scale, self._members = model, prior, scale, members

    @classmethod
    def of(cls, network: Ensemble, replicas: int, *, one_hot: bool) -> SoloValues | None:
        """For an ensemble of `hunch.nn.RandomizedPrior` on the CPU; None if a layer has no rule."""
        model, prior = (
            SoloNetwork.of(network.part(part), one_hot=one_hot) for part in ("model", "prior")
        )
        if model is None or prior is None or not (model.usable and prior.usable):
            return None
        scale = network.get_buffer("scale").numpy()
        return cls(model, prior, scale, network.num_members // replicas)

    def __call__(self, observation: NDArray[Any], replica: int, member: int) -> Floats:
        """The values of all actions.

        Args:
            observation: one observation, or the place of its 1.
            replica: whose member.
            member: which of its members.
        """
        m = replica * self._members + member
        x = (
            observation.reshape(-1).astype(np.float32, copy=False)
            if observation.ndim
            else observation
        )
        values = self._model(x, m)
        if self._scale[m]:
            values = values + self._scale[m] * self._prior(x, m)
        return values


class _Linear:
    def __init__(self, module: nn.Linear | NoisyLinear, stacked: bool) -> None:
        self.weight, self.bias = _array(module.weight, stacked), _array(module.bias, stacked)

    def __call__(self, x: Any, member: int, draws: Draws) -> Any:
        y = x @ self.weight[member].T
        return y if self.bias is None else y + self.bias[member]


class _Rows:
    """A linear layer that is given the place of a 1."""

    def __init__(self, module: nn.Linear, stacked: bool) -> None:
        self.weight, self.bias = _array(module.weight, stacked), _array(module.bias, stacked)

    def __call__(self, x: Any, member: int, draws: Draws) -> Any:
        weight, cell = self.weight[member], int(x)
        # The place behind the last stands for an observation of zeros.
        row = weight[:, cell] if cell < weight.shape[1] else np.zeros_like(weight[:, 0])
        return row if self.bias is None else row + self.bias[member]


class _NoisyLinear:
    def __init__(self, module: NoisyLinear, stacked: bool) -> None:
        self.key, self.factorized = id(module), module.noise == "factorized"
        self.stacked = stacked
        self.mean = _Linear(module, stacked)
        self.sigma = _array(module.weight_sigma, stacked)
        self.bias_sigma = _array(module.bias_sigma, stacked)

    def __call__(self, x: Any, member: int, draws: Draws) -> Any:
        mean = self.mean(x, member, draws)
        noise = [part.numpy()[member] if self.stacked else part.numpy() for part in draws[self.key]]
        if not self.factorized:
            spread = x @ (self.sigma[member] * noise[0]).T
            return mean + (
                spread if self.bias_sigma is None else spread + self.bias_sigma[member] * noise[1]
            )
        rows, columns = noise
        spread = (x * rows) @ self.sigma[member].T
        if self.bias_sigma is not None:
            spread += self.bias_sigma[member]
        spread *= columns
        return mean + spread


class _LayerNorm:
    def __init__(self, module: nn.LayerNorm, stacked: bool) -> None:
        self.eps = module.eps

    def __call__(self, x: Any, member: int, draws: Draws) -> Any:
        centered = x - x.mean(-1, keepdims=True)
        variance = np.square(centered).mean(-1, keepdims=True)
        return centered / np.sqrt(variance + self.eps)


class _Streams:
    def __init__(self, module: Streams, stacked: bool) -> None:
        self.parts = [
            [_layer(leaf, stacked) for leaf in _leaves(part)]
            for part in (module.value, module.advantage)
        ]

    def __call__(self, x: Any, member: int, draws: Draws) -> Any:
        outputs = []
        for layers in self.parts:
            y = x
            for layer in layers:
                y = layer(y, member, draws)
            outputs.append(y)
        return np.concatenate(outputs, -1)


def _relu(x: Any, member: int, draws: Draws) -> Any:
    return np.maximum(x, 0.0)


def _as_it_is(x: Any, member: int, draws: Draws) -> Any:
    return x  # observations come flattened


_LAYERS: Final[dict[type[nn.Module], Callable[[Any, bool], Layer]]] = {
    nn.Linear: _Linear,
    NoisyLinear: _NoisyLinear,
    nn.LayerNorm: _LayerNorm,
    nn.ReLU: lambda module, stacked: _relu,
    nn.Flatten: lambda module, stacked: _as_it_is,
    Streams: _Streams,
}
_CHAINS = (nn.Sequential, MLP)


def _layer(module: nn.Module, stacked: bool) -> Layer:
    return _LAYERS[type(module)](module, stacked)


def _leaves(module: nn.Module) -> list[nn.Module]:
    """The layers of a chain of chains, one after another."""
    if type(module) not in _CHAINS:
        return [module]
    parts = [part for part in module._modules.values() if part is not None]
    return [leaf for part in parts for leaf in _leaves(part)]


def _has_rule(module: nn.Module) -> bool:
    if "forward" in vars(module):
        return False
    if isinstance(module, NoisyLinear) and module.per_sample:
        return False
    if isinstance(module, nn.LayerNorm) and (
        module.elementwise_affine or len(module.normalized_shape) != 1
    ):
        return False
    if isinstance(module, nn.Flatten) and (module.start_dim, module.end_dim) != (1, -1):
        return False
    return type(module) in _LAYERS or type(module) in _CHAINS


def _array(parameter: Tensor | None, stacked: bool) -> Any:
    """A parameter's memory with a leading axis of members."""
    if parameter is None:
        return None
    array = parameter.detach().numpy()
    return array if stacked else array[None]
