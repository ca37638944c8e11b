"""Members made by an ensemble: each member is a network of its own with a prior of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hunch.nn import Ensemble
from hunch.rl.fast.compiled_q import compiled_members
from hunch.rl.fast.manual_backprop import first_linear, runner_of
from hunch.rl.fast.one_hot_layer import OneHotLayer
from hunch.rl.networks.noise import FreshNoise
from hunch.rl.networks.runner import Runner
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
    members_with_priors,
    repeated,
)
from hunch.storage.parts import Part


class PriorEnsemble(ValueEnsemble):
    """K networks with priors, all trained on every batch.

    Args:
        config: what they have to fit into.
        model: makes one trained network.
        prior: makes one prior.
        prior_scale: how strongly priors speak.
        pair_settings: for `NetworkPair`.
    """

    def __init__(
        self,
        config: EnsembleConfig,
        model: Make,
        prior: Make,
        prior_scale: float,
        pair_settings: Mapping[str, Any],
    ) -> None:
        made = members_with_priors(config, model, prior, prior_scale)
        members = Ensemble.from_modules(made).to(config.device)
        self.pair = NetworkPair(
            members,
            members=members.num_members,
            excluded=[_first_of(members).weight] if config.one_hot else [],
            **pair_settings,
        )
        online, target = ensembles(self.pair)
        self._first = (
            OneHotLayer(
                _first_of(online), _first_of(target), config.replicas, tabular=config.tabular
            )
            if config.one_hot
            else None
        )
        self._drawn: Tensor | None = None
        self.active = np.zeros((config.replicas, config.envs), np.int64)
        self._places = np.ogrid[: config.replicas, : config.envs]
        super().__init__(config, PriorValues(online.part("prior"), prior_scale, config))
        self._link()

    _linked = frozenset({"_runners", "_compiled"})

    def _link(self) -> None:
        """Make what runs the layers on the networks' memory."""
        online, target = ensembles(self.pair)
        if self._first is not None:
            self._first.share()
            self.pair.mark()
        self._runners = [
            self._runner(network.part("model"), parameters)
            for network, parameters in ((online, self.pair.parameters), (target, []))
        ]
        self._compiled = compiled_members(*self._runners)
        super()._link()

    def _runner(self, model: Ensemble, parameters: Sequence[Tensor]) -> Runner:
        gradient = self.pair.gradient
        if self.config.fast:
            return runner_of(model, parameters, gradient, self.config.one_hot)
        return Runner(model, FreshNoise(model, []), parameters, gradient)

    def _draw(self, rng: np.random.Generator, n: int) -> NDArray[Any]:
        return rng.integers(self.config.members, size=n)

    def best(self, stored: NDArray[Any]) -> NDArray[np.int64]:
        """The action that each environment's member likes best, `(replicas, envs)`."""
        replica, env = self._places
        trained = self._played(stored)
        if trained is None:
            trained = self._trained(0, stored).cpu().numpy()[replica, self.active, env]
        values = trained + self.prior(stored)[replica, env, self.active]
        best: NDArray[np.int64] = values.argmax(-1)
        return best

    def _played(self, stored: NDArray[Any]) -> Floats | None:
        """Values by the member in play, without priors, `(replicas, envs, actions)`."""
        if self._compiled is None:
            return None
        member = (self.active + self._places[0] * self.config.members).reshape(-1)
        if self._first is None:
            x = self.config.tensor(stored).flatten(0, 1)
        else:
            x = self._first.hidden_of(stored, self.active)
        values = self._compiled.values(x, member)
        return None if values is None else values.numpy().reshape(*self.active.shape, -1)

    def begin_update(self, batch: Transitions) -> None:
        """Note which values of tables a batch holds: each moves by the mean of its own errors."""
        if self.config.tabular:
            self._drawn = self._by_action(batch)

    def _by_action(self, batch: Transitions) -> Tensor:
        """1 where a member learns of an action, `(replicas · members, batch, actions)`."""
        action = torch.from_numpy(batch.action)[:, None, :, None]
        replicas, rows = batch.action.shape
        drawn = torch.zeros(replicas, self.config.members, rows, self.config.actions)
        drawn.scatter_(-1, action.expand(-1, self.config.members, -1, -1), 1.0)
        if batch.mask is not None:
            drawn *= torch.from_numpy(batch.mask).transpose(1, 2).unsqueeze(-1)
        return drawn.flatten(0, 1)

    def values(self, which: int, stored: NDArray[Any], cached: Floats | None) -> Tensor:
        """Values `(replicas, members, batch, actions)` by the online (0) or target (1) network."""
        return self._trained(which, stored) + self.prior.of(stored, cached)

    def differentiable(self, stored: NDArray[Any], cached: Floats | None) -> tuple[Tensor, Learn]:
        """The online network's values, and what learns from their gradient."""
        output, backward = self._runners[0].differentiable(self._inputs(0, stored))
        updates = self.pair.updates

        def learn(gradient: Tensor, rate: float) -> None:
            self._check_unmoved(updates)
            self._move(stored, backward(gradient.view(output.shape)), rate)

        return self._by_replica(output) + self.prior.of(stored, cached), learn

    def gradient(
        self, batch: Transitions, double: bool, *, huber: bool
    ) -> tuple[float, Tensor, Callable[[float], None]] | None:
        """As `ValueEnsemble.gradient`."""
        if self._compiled is None:
            return None
        stored, following = batch.observation, batch.next_observation
        x, next_x = self._inputs(0, stored), self._inputs(1, following)
        choosing_x = self._inputs(0, following) if double else None
        hidden_gradient = None if self._first is None else torch.empty_like(x)
        prior, next_prior = (
            self.prior(seen) if cached is None else cached
            for seen, cached in ((stored, batch.prior), (following, batch.next_prior))
        )
        found = self._compiled.gradient(
            x, next_x, choosing_x, batch, prior, next_prior, hidden_gradient, huber=huber
        )
        if found is None:
            return None
        return *found, partial(self._move, stored, hidden_gradient)

    def _move(self, stored: NDArray[Any], hidden_gradient: Tensor | None, rate: float) -> None:
        """Move the networks, and what the first layer's product was computed by."""
        self.pair.step(rate)
        if self._first is not None and hidden_gradient is not None:
            self._first.step(stored, hidden_gradient, rate, self._drawn)
            if self.pair.target_synced:
                self._first.sync_target()

    def predicted(self, observation: Tensor, replica: int, deterministic: bool) -> Tensor:
        """Values `(batch, actions)`: the mean over members, or those of one drawn at random."""
        size = self.config.members
        q: Tensor = self.pair.online(observation)[replica * size : (replica + 1) * size]
        if deterministic:
            return q.mean(0)
        return q[int(self._predict_choosing[replica].integers(size))]

    def _trained(self, which: int, stored: NDArray[Any]) -> Tensor:
        """The trained parts' values `(replicas, members, batch, actions)`, without priors."""
        return self._by_replica(self._runners[which](self._inputs(which, stored)))

    def _inputs(self, which: int, stored: NDArray[Any]) -> Tensor:
        """What a runner takes: the first layer's product, or all members' observations."""
        if self._first is not None:
            return self._first.hidden(stored, target=which == 1)
        return repeated(self.config.tensor(stored), self.config.members)

    def _by_replica(self, values: Tensor) -> Tensor:
        return values.view(self.config.replicas, self.config.members, *values.shape[1:])

    def parts(self) -> dict[str, Part]:
        """Networks, optimisers, members in play and random streams."""
        first = {} if self._first is None else {"first": self._first}
        return {**super().parts(), **first}


def _first_of(members: Ensemble) -> nn.Linear:
    return first_linear(members.part("model").skeleton)
