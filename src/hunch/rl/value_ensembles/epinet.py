"""Members made by an epinet: one network, of which each index z is a member.

The base network is run once for a batch, whatever the number of indices. Priors are linear in z, so
the values of their D functions are all that has to be known of an observation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hunch.nn import Ensemble, Epinet
from hunch.rl.fast.epinet_backprop import EpinetPass
from hunch.rl.fast.manual_backprop import first_linear
from hunch.rl.fast.one_hot_layer import OneHotLayer
from hunch.rl.networks.noise import FreshNoise
from hunch.rl.networks.runner import Runner
from hunch.rl.networks.shared_memory import tensors_of
from hunch.rl.networks.target_network import NetworkPair
from hunch.rl.replay.transitions import Transitions
from hunch.rl.value_ensembles.value_ensemble import (
    EnsembleConfig,
    Floats,
    Learn,
    Make,
    PriorValues,
    ValueEnsemble,
    ensembles,
)
from hunch.seeding import default_generator_seeded
from hunch.storage.parts import NumpyStreams, Part


class EpinetEnsemble(ValueEnsemble):
    """An epinet for each replica; each update trains K indices drawn for it.

    Args:
        config: what they have to fit into.
        model: makes one base network.
        prior: makes one of the D functions of a prior.
        prior_scale: how strongly priors speak, the standard deviation over indices of what unit
            functions are mixed to.
        pair_settings: for `NetworkPair`.
        index_dim: D.
        hidden_sizes: of the epinet.
        sees_input: whether the epinet sees observations beside the base network's features.
    """

    def __init__(
        self,
        config: EnsembleConfig,
        model: Make,
        prior: Make,
        prior_scale: float,
        pair_settings: Mapping[str, Any],
        *,
        index_dim: int,
        hidden_sizes: Sequence[int],
        sees_input: bool,
    ) -> None:
        # Independent functions mixed by standard normal numbers would be √D times as strong as one.
        prior_scale = prior_scale / math.sqrt(index_dim)
        inputs = int(np.prod(config.observation_shape)) if sees_input else 0
        made: list[nn.Module] = []
        functions: list[nn.Module] = []
        for r in range(config.replicas):
            own = []
            for d in range(index_dim):
                with default_generator_seeded(config.seed + r, "prior", d):
                    own.append(prior())
            with default_generator_seeded(config.seed + r, "member", 0):
                base = cast(nn.Sequential, model())  # Epinet says so if it is none
                epinet = Epinet(
                    base,
                    prior=Ensemble.from_modules(own),
                    index_dim=index_dim,
                    hidden_sizes=hidden_sizes,
                    prior_scale=prior_scale,
                    in_features=inputs,
                )
            made.append(epinet)
            functions += own
        stacked = Ensemble.from_modules(made).to(config.device)
        # The same functions without a second axis, so that one product serves all of them.
        self._functions = Ensemble.from_modules(functions).to(config.device)
        self._functions.requires_grad_(False).eval()
        self.pair = NetworkPair(
            stacked,
            members=config.replicas,
            excluded=[layer.weight for layer in _first_layers(stacked)] if config.one_hot else [],
            **pair_settings,
        )
        online, target = ensembles(self.pair)
        self._first: list[OneHotLayer] = []
        if config.one_hot:
            pairs = zip(_first_layers(online), _first_layers(target), strict=True)
            self._first = [OneHotLayer(*pair, config.replicas) for pair in pairs]
        self.shared = config.members
        self._drawing = config.generators("index")
        self._trained = torch.zeros(
            config.replicas, config.members, index_dim, device=config.device
        )
        # Each index with its opposite: so the priors' mean over them is 0, as it is over all.
        half = [
            self._draw(rng, -(-config.members // 2)) for rng in config.generators("predict indices")
        ]
        both = np.stack([np.concatenate([z, -z]) for z in half])
        self._predicting = torch.from_numpy(both).to(config.device)
        self.active = np.zeros((config.replicas, config.envs, index_dim), np.float32)
        super().__init__(config, PriorValues(self._functions, prior_scale, config))
        self._link()

    _linked = frozenset({"_passes"})

    def _link(self) -> None:
        """Make what runs the layers on the networks' memory."""
        online, target = ensembles(self.pair)
        priors = tensors_of(online.part("prior"))
        for name, tensor in tensors_of(self._functions).items():
            tensor.data = priors[name].data.flatten(0, 1)
        for layer in self._first:
            layer.share()
        self.pair.mark()
        self._passes = [
            self._pass(online, self.pair.parameters),
            self._pass(target, []),
        ]
        super()._link()

    def _pass(self, network: Ensemble, parameters: Sequence[Tensor]) -> EpinetPass | PlainEpinet:
        gradient = self.pair.gradient
        if self.config.fast:
            return EpinetPass(network, parameters, gradient, self.config.one_hot)
        return PlainEpinet(network, parameters, gradient)

    def _draw(self, rng: np.random.Generator, n: int) -> Floats:
        dim = self._trained.shape[-1]
        return rng.standard_normal((n, dim), np.float32)

    def begin_update(self, batch: Transitions) -> None:
        """Draw the indices that the next batch trains."""
        drawn = np.stack([self._draw(rng, self.config.members) for rng in self._drawing])
        self._trained = torch.from_numpy(drawn).to(self.config.device)

    def best(self, stored: NDArray[Any]) -> NDArray[np.int64]:
        """The action that each environment's index likes best, `(replicas, envs)`."""
        z = torch.from_numpy(self.active).to(self.config.device)
        q = self._values(0, stored, None, z)
        # Every index was asked about every observation; its own is on the diagonal.
        best: NDArray[np.int64] = q.diagonal(0, 1, 2).argmax(1).cpu().numpy()
        return best

    def values(self, which: int, stored: NDArray[Any], cached: Floats | None) -> Tensor:
        """Values `(replicas, indices, batch, actions)` by the online (0) or target (1) network."""
        return self._values(which, stored, cached, self._trained)

    def _values(self, which: int, stored: NDArray[Any], cached: Floats | None, z: Tensor) -> Tensor:
        learned = self._passes[which](*self._inputs(which, stored), z)
        return learned + self._mixed_prior(stored, cached, z)

    def differentiable(self, stored: NDArray[Any], cached: Floats | None) -> tuple[Tensor, Learn]:
        """The online network's values, and what learns from their gradient."""
        z = self._trained
        learned, backward = self._passes[0].differentiable(*self._inputs(0, stored), z)
        updates = self.pair.updates

        def learn(gradient: Tensor, rate: float) -> None:
            self._check_unmoved(updates)
            gradients = backward(gradient)
            self.pair.step(rate)
            for layer, its in zip(self._first, gradients, strict=False):
                layer.step(stored, its, rate)
                if self.pair.target_synced:
                    layer.sync_target()

        return learned + self._mixed_prior(stored, cached, z), learn

    def predicted(self, observation: Tensor, replica: int, deterministic: bool) -> Tensor:
        """Values `(batch, actions)`: the mean over fixed indices, or those of one drawn."""
        if deterministic:
            z = self._predicting[replica]
        else:
            drawn = self._draw(self._predict_choosing[replica], 1)
            z = torch.from_numpy(drawn).to(self.config.device)
        values: Tensor = self.pair.online(observation, z)[replica]
        return values.mean(0)

    def _inputs(self, which: int, stored: NDArray[Any]) -> tuple[Tensor, Tensor]:
        """What the base network and the epinet take: first layers' products, or observations."""
        if self._first:
            base, beside = (layer.hidden(stored, target=which == 1) for layer in self._first)
            return base, beside
        x = self.config.tensor(stored)
        return x, x.flatten(2)

    def _mixed_prior(self, stored: NDArray[Any], cached: Floats | None, z: Tensor) -> Tensor:
        """`(replicas, indices, batch, actions)`, scaled."""
        functions = self.prior.of(stored, cached)  # (replicas, D, batch, actions)
        mixed = torch.bmm(z, functions.reshape(*functions.shape[:2], -1))
        return mixed.view(*z.shape[:2], *functions.shape[2:])

    def parts(self) -> dict[str, Part]:
        """Networks, optimisers, indices in play and random streams."""
        first: dict[str, Part] = {f"first.{i}": layer for i, layer in enumerate(self._first)}
        return {**super().parts(), "stream.index": NumpyStreams(self._drawing), **first}


class PlainEpinet(Runner):
    """Calls a stack of epinets, one a replica, without their priors, by torch alone.

    What it is called with is what `EpinetPass` takes.

    Args:
        network: an `hunch.nn.Ensemble` of `hunch.nn.Epinet`.
        parameters: as for `Runner`.
        gradient: as for `Runner`.
    """

    def __init__(self, network: Ensemble, parameters: Sequence[Tensor], gradient: Tensor) -> None:
        super().__init__(network, FreshNoise(network, []), parameters, gradient)
        self._actions = int(network.skeleton.get_parameter("head.weight").shape[-2])

    def _call(self, *inputs: Tensor) -> Tensor:
        x, _, z = inputs
        actions = self._actions
        no_prior = x.new_zeros(len(x), z.shape[-1], x.shape[1], actions)
        values: Tensor = self._network(x, z, prior_values=no_prior, per_member=True)
        return values


def _first_layers(network: Ensemble) -> list[nn.Linear]:
    """The two layers that see an observation: the base network's first, and the epinet's part."""
    epinet = network.skeleton
    if not isinstance(epinet, Epinet):
        raise TypeError("a stack of epinets was expected")
    beside = epinet.learned.from_input
    return [first_linear(epinet.trunk), *([] if beside is None else [beside])]
