"""Values of actions without a target network: a network for each replica, or members with priors.

Of members each environment plays one for an episode, and all of them learn from all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hunch.nn import Ensemble
from hunch.rl.environments.vector import Bools
from hunch.rl.fast.manual_backprop import FastRunner
from hunch.rl.networks.noise import FreshNoise
from hunch.rl.networks.replica_networks import ReplicaNetworks
from hunch.rl.networks.shared_memory import Linked
from hunch.rl.replay.transitions import Floats
from hunch.rl.value_ensembles.value_ensemble import (
    EnsembleConfig,
    PriorValues,
    draw_where,
    repeated,
)
from hunch.storage.parts import InPlace, NumpyStreams, Part, load_parts, state_of

_ROWS: Final = 1_024  # at a time where no gradient is asked for; more would not fit the cache


class ActionValues(Linked):
    """Networks that give values of actions, and move towards others.

    Args:
        networks: one for each replica; with members those of the first replica first, each an
            `hunch.nn.RandomizedPrior`.
        config: what they have to fit into.
        prior_scale: how strongly priors speak, if there are any.
        max_gradient_norm: each network's gradient is scaled down to this Euclidean norm.
        noise: source of each replica's noise, if its network is noisy.

    Attributes:
        networks: the networks and their optimisers.
        noise: what they are called through.
        active: the member that plays each environment's episode, `(replicas, envs)`.
    """

    def __init__(
        self,
        networks: Sequence[nn.Module],
        config: EnsembleConfig,
        *,
        prior_scale: float,
        max_gradient_norm: float,
        noise: Sequence[torch.Generator],
    ) -> None:
        self.config = config
        self.networks = ReplicaNetworks(
            [network.to(config.device) for network in networks],
            max_gradient_norm=max_gradient_norm,
        )
        self.noise = FreshNoise(self._trained, noise)
        self._prior: PriorValues | None = None
        if config.members > 1:
            self._prior = PriorValues(self._stacked.part("prior"), prior_scale, config)
        self.active = np.zeros((config.replicas, config.envs), np.int64)
        self._places = np.ogrid[: config.replicas, : config.envs]
        self._choosing = config.generators("member")
        self._predict_choosing = config.generators("predict member")
        self._link()

    _linked = frozenset({"_gradient", "_run", "_chain"})

    def _link(self) -> None:
        """Make what runs the layers on the networks' memory."""
        networks = self.networks
        self._gradient = torch.zeros_like(networks.values)
        self._run = FastRunner(self._trained, self.noise, networks.trained_stacked, self._gradient)
        self._chain = self._run.chain()
        if self._prior is not None:
            self._prior._link()

    @property
    def _stacked(self) -> Ensemble:
        stacked = self.networks.stacked
        if not isinstance(stacked, Ensemble):
            raise TypeError("an ensemble was expected")
        return stacked

    @property
    def _trained(self) -> nn.Module:
        """The networks without their priors."""
        return self.networks.stacked if self.config.members == 1 else self._stacked.part("model")

    def settle(self) -> None:
        """Make good what somebody did to the networks' memory since the last time.

        Raises:
            ConfigurationError: if what they are now cannot be trained on.
        """
        if self.networks.settle():
            self._link()

    def choose(self, is_first: Bools) -> None:
        """Draw the member that plays each episode that begins, `(replicas, envs)`."""
        members = self.config.members
        if members > 1:
            draw_where(
                is_first, self.active, self._choosing, lambda rng, n: rng.integers(members, size=n)
            )

    def played(self, observation: NDArray[np.generic]) -> Floats:
        """Values `(replicas, envs, actions)` by the member that plays each environment.

        Args:
            observation: `(replicas, envs, …)`.
        """
        if self._prior is None:
            found: Floats = self._run(self.config.tensor(observation)).cpu().numpy()
            return found
        replica, env = self._places
        every = self._by_member(self._run(self._repeated(observation))).cpu().numpy()
        own: Floats = every[replica, self.active, env]
        return own + self._prior(observation)[replica, env, self.active]

    def prior(self, observation: NDArray[np.generic]) -> Floats | None:
        """The priors' values of `observation (replicas, rows, …)`, which never change.

        Returns:
            Shape `(replicas, rows, members, actions)`; None if there are no priors.
        """
        if self._prior is None:
            return None
        parts = np.split(observation, range(_ROWS, observation.shape[1], _ROWS), axis=1)
        return np.concatenate([self._prior(part) for part in parts], axis=1)

    @torch.no_grad()
    def values(self, observation: NDArray[np.generic], prior: Floats | None) -> Tensor:
        """Values `(replicas, members, rows, actions)`.

        Args:
            observation: `(replicas, rows, …)`.
            prior: what `prior` gave for it.
        """
        parts = np.split(observation, range(_ROWS, observation.shape[1], _ROWS), axis=1)
        found = [self._by_member(self._run(self._repeated(part))) for part in parts]
        return self._with_prior(torch.cat(found, 2), prior)

    def differentiable(
        self, observation: NDArray[np.generic], prior: Floats | None
    ) -> tuple[Tensor, Callable[[Tensor, float], None]]:
        """As `values`, and what moves networks along the values' gradient at a learning rate."""
        out, backward = self._run.differentiable(self._repeated(observation))

        def learn(gradient: Tensor, rate: float) -> None:
            backward(gradient.view(out.shape))
            self.networks.step(range(len(self._gradient)), self._gradient, rate)

        return self._with_prior(self._by_member(out), prior), learn

    def predicted(self, observation: Tensor, replica: int, deterministic: bool) -> Tensor:
        """Values `(batch, actions)`: the mean over members, or those of one drawn at random."""
        size = self.config.members
        members = self.networks.per_replica[replica * size : (replica + 1) * size]
        if not deterministic:
            members = [members[int(self._predict_choosing[replica].integers(size))]]
        return torch.stack([member(observation) for member in members]).mean(0)

    def _repeated(self, observation: NDArray[np.generic]) -> Tensor:
        """Observations as a runner takes them, `(replicas · members, rows, …)`."""
        return repeated(self.config.tensor(observation), self.config.members)

    def _by_member(self, values: Tensor) -> Tensor:
        return values.view(self.config.replicas, self.config.members, *values.shape[1:])

    def _with_prior(self, values: Tensor, prior: Floats | None) -> Tensor:
        if prior is None:
            return values
        return values + torch.from_numpy(prior).to(values).transpose(1, 2)

    def state_dict(self) -> dict[str, Tensor]:
        """Networks, optimisers, noise, members in play and streams."""
        return state_of(self._parts())

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on where the one that gave `state` stood."""
        load_parts(self._parts(), state)

    def _parts(self) -> dict[str, Part]:
        return {
            "nets": self.networks,
            "noise": self.noise,
            "active": InPlace(self.active),
            "stream.member": NumpyStreams(self._choosing),
            "stream.predict member": NumpyStreams(self._predict_choosing),
        }
