"""One member of an ensemble, for one observation at a time, in numpy.

Acting needs the values of the one member that plays the episode, for one observation. A torch
operation on such small tensors costs more than the same one in numpy, and running all members to
use one costs their arithmetic as well.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from hunch.nn import MLP, Ensemble

Floats = NDArray[np.float32]
Weights = list[tuple[Floats, Floats]]  # of each layer, with the members on axis 0


class SoloValues:
    """Action values of one member: `model(x) + scale * prior(x)` with linear layers and ReLU.

    The arrays share the networks' memory, so what is learned shows at once.

    Args:
        model: the trained networks' layers.
        prior: the priors'.
        scale: of the priors, for each member.
        members: members of one replica.
        one_hot: whether observations are places of a 1.

    Example:
        >>> import torch
        >>> from hunch.nn import RandomizedPrior
        >>> net = Ensemble(lambda: RandomizedPrior(MLP(3, [4], 2), MLP(3, [4], 2)), 5, seed=0)
        >>> solo = SoloValues.of(net, replicas=1, one_hot=False)
        >>> values = solo(np.ones(3, np.float32), replica=0, member=2)
        >>> bool(torch.allclose(torch.from_numpy(values), net(torch.ones(1, 3))[2, 0]))
        True
    """

    def __init__(
        self, model: Weights, prior: Weights, scale: Floats, members: int, one_hot: bool
    ) -> None:
        self._model, self._prior, self._scale = model, prior, scale
        self._members, self._one_hot = members, one_hot

    @classmethod
    def of(cls, network: Ensemble, replicas: int, *, one_hot: bool) -> SoloValues | None:
        """For an ensemble of `hunch.nn.RandomizedPrior` on the CPU; None if a layer has no rule."""
        model, prior = (_weights(network.part(part)) for part in ("model", "prior"))
        if model is None or prior is None:
            return None
        scale = network.get_buffer("scale").numpy()
        return cls(model, prior, scale, network.num_members // replicas, one_hot)

    def __call__(self, observation: NDArray[Any], replica: int, member: int) -> Floats:
        """The values of all actions.

        Args:
            observation: one observation, or the place of its 1.
            replica: whose member.
            member: which of its members.
        """
        m = replica * self._members + member
        values = self._run(self._model, observation, m)
        if self._scale[m]:
            values = values + self._scale[m] * self._run(self._prior, observation, m)
        return values

    def _run(self, layers: Weights, observation: NDArray[Any], m: int) -> Floats:
        (weight, bias), *rest = layers
        if self._one_hot:
            cell = int(observation)
            x: Floats = weight[m, :, cell] + bias[m] if cell < weight.shape[2] else bias[m]
        else:
            x = weight[m] @ observation.reshape(-1).astype(np.float32, copy=False) + bias[m]
        for weight, bias in rest:
            x = weight[m] @ np.maximum(x, 0.0) + bias[m]
        return x


def _weights(part: Ensemble) -> Weights | None:
    """Weights and biases of linear layers with ReLU between them, of all members."""
    parts = [p for _, p in part.skeleton.named_modules(remove_duplicate=False)]
    # Any other container may put its layers together in a way of its own.
    chains = [p for p in parts if list(p.children())]
    if any(type(chain) not in (MLP, nn.Sequential) for chain in chains):
        return None
    if any(p._forward_hooks or p._forward_pre_hooks for p in parts):
        return None
    layers = [p for p in parts if not list(p.children())]
    if layers and isinstance(layers[0], nn.Flatten):
        del layers[0]
    kinds = [type(layer) for layer in layers]
    expected = [nn.Linear, nn.ReLU] * math.ceil(len(layers) / 2)
    if kinds != expected[: len(kinds)]:
        return None
    if not layers or kinds[-1] is not nn.Linear or layers[0].weight.device.type != "cpu":
        return None
    linear = [layer for layer in layers if isinstance(layer, nn.Linear)]
    if any(layer.bias is None for layer in linear):
        return None
    return [(layer.weight.detach().numpy(), layer.bias.detach().numpy()) for layer in linear]
