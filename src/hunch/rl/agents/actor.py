"""What agents that learn a policy share: networks that act, and their chance."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray
from torch import Tensor, nn

from hunch.errors import ConfigurationError
from hunch.nn import Normalizer
from hunch.rl.agents.agent import Agent
from hunch.rl.agents.divergence import check_outputs_known
from hunch.rl.agents.replica import NetworkPolicy, Policy
from hunch.rl.environments.vector import ParallelEnvs
from hunch.rl.fast.compiled_objectives import drawn
from hunch.rl.fast.compiled_play import Place, Played, played
from hunch.rl.fast.manual_backprop import FastRunner
from hunch.rl.networks.action_distributions import ActionDistribution, Bounds, Categorical, Gaussian
from hunch.rl.networks.feature_layers import is_pixels
from hunch.rl.networks.held_noise import HeldNoise
from hunch.rl.networks.policy_networks import Kind, policy_network
from hunch.rl.networks.replica_networks import ReplicaNetworks
from hunch.rl.networks.shared_memory import Linked
from hunch.rl.networks.value_networks import NetworkLike, one_network_each
from hunch.seeding import numpy_generator, torch_generator
from hunch.storage.parts import NumpyStreams, Part, TorchStreams, load_parts, state_of
from hunch.validation import real_number


def make_actor(
    agent: Agent,
    network: NetworkLike | None,
    hidden_sizes: Sequence[int],
    *,
    activation: str,
    normalize: bool,
    bounds: Bounds,
    std: Literal["state", "free"],
    initial_std: float,
    max_gradient_norm: float,
    noise: Kind | None = None,
) -> Actor:
    """The actor of an agent, as the agent's arguments of the same names describe it.

    Raises:
        ConfigurationError: if an argument is out of range or the network does not fit.

    Example:
        >>> from hunch.rl import A2C
        >>> A2C("CartPole-v1", replicas=3)._actor.replicas
        3
    """
    actions = action_distribution(agent.action_space, bounds)
    if std not in ("state", "free"):
        raise ConfigurationError(
            f'`std` got {std!r}; expected "state", standard deviations that depend on the '
            'observation, or "free" parameters.'
        )
    log_std = math.log(real_number("initial_std", initial_std, above=0.0))
    if max_gradient_norm != float("inf"):
        real_number("max_gradient_norm", max_gradient_norm, above=0.0)

    def make() -> nn.Module:
        return policy_network(
            network,
            agent.observation_shape,
            actions.outputs,
            hidden_sizes,
            activation=activation,
            log_std=None if isinstance(actions, Categorical) else log_std,
            free_std=std == "free",
            normalize=normalize,
            pixels=is_pixels(agent.observation_dtype),
            noise=noise,
        )

    return Actor(
        one_network_each(make, network, agent.replicas, agent.seed),
        actions,
        seed=agent.seed,
        device=agent.device,
        max_gradient_norm=max_gradient_norm,
    )


def action_distribution(space: Box | Discrete, bounds: Bounds) -> ActionDistribution:
    """The family of distributions for a space of actions.

    Raises:
        ConfigurationError: as `Gaussian`.

    Example:
        >>> action_distribution(Discrete(3), "clipped").outputs
        3
    """
    return Categorical(int(space.n)) if isinstance(space, Discrete) else Gaussian(space, bounds)


class Actor(Linked):
    """The policies and values of all replicas.

    Args:
        networks: one for each replica, to `1 + actions.outputs` numbers, the value first.
        actions: what the policy's outputs mean.
        seed: of the first replica; replica r's chance is that of `seed + r` alone.
        device: where the networks are to live.
        max_gradient_norm: each replica's gradient is scaled down to this Euclidean norm.

    Example:
        >>> actor = Actor([nn.Linear(4, 3), nn.Linear(4, 3)], Categorical(2), seed=0)
        >>> actor.act(torch.zeros(2, 5, 4)).shape  # 2 replicas of 5 environments
        (2, 5)
    """

    def __init__(
        self,
        networks: Sequence[nn.Module],
        actions: ActionDistribution,
        *,
        seed: int,
        device: torch.device | str = "cpu",
        max_gradient_norm: float = float("inf"),
    ) -> None:
        self.actions, self.replicas = actions, len(networks)
        self.networks = ReplicaNetworks(
            [network.to(device) for network in networks], max_gradient_norm=max_gradient_norm
        )
        seeds = range(seed, seed + self.replicas)
        self.noise = HeldNoise(self.networks.stacked, [torch_generator(s, "noise") for s in seeds])
        self._streams = [numpy_generator(s, "actions") for s in seeds]
        # `predict` has streams of its own: looking at an agent must not change what it becomes.
        self._predict_streams = [numpy_generator(s, "predict") for s in seeds]
        self._predict_noise = [torch_generator(s, "predict noise") for s in seeds]
        self._link()

    _linked = frozenset({"_normalizers", "_gradient", "_run"})

    def _link(self) -> None:
        """Find the normalisers, and make what runs the layers on the networks' memory."""
        networks = self.networks
        self._gradient = torch.zeros_like(networks.values)
        self._run = FastRunner(
            networks.stacked, self.noise, networks.trained_stacked, self._gradient
        )
        self._normalizers = [
            [part for part in network.modules() if isinstance(part, Normalizer)]
            for network in self.networks.per_replica
        ]

    def settle(self) -> None:
        """Make good what somebody did to the networks' memory since the last time.

        Raises:
            ConfigurationError: if what they are now cannot be trained on.
        """
        if self.networks.settle():
            self._link()

    def outputs(self, x: Tensor, replica: int) -> Tensor:
        """Values and policies `(1, batch, 1 + outputs)` of one replica, by its network alone.

        Args:
            x: observations `(1, batch, …)`.
            replica: whose they are.
        """
        values: Tensor = self.networks.per_replica[replica](x[0])
        return values.unsqueeze(0)

    def differentiable(self, x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Values and policies of all replicas under the noise held now.

        Args:
            x: observations `(replicas, batch, …)`.

        Returns:
            `(replicas, batch, 1 + outputs)`, and a function from their gradient to the parameters'
            `(replicas, parameters)`, which the next one overwrites.
        """
        out, backward = self._run.differentiable(x)

        def gradient(along: Tensor) -> Tensor:
            backward(along)
            return self._gradient

        return out, gradient

    @torch.no_grad()
    def act(self, observation: Tensor) -> NDArray[Any]:
        """Raw actions `(replicas, envs, …)`, drawn from the policies."""
        policy = self._run.stream(observation, "advantage")
        if isinstance(self.actions, Categorical):
            found = drawn(policy, self._streams)
            if found is not None:
                index, known = found
                if not known:
                    check_outputs_known(policy.numpy())
                return index
        outputs = policy.cpu().numpy()
        check_outputs_known(outputs)
        return self.actions.sample(outputs, self._streams)

    def play(self, envs: ParallelEnvs, place: Place, rounds: int) -> Played | None:
        """Many rounds at once, where networks, actions and environments allow it."""
        if not isinstance(self.actions, Categorical):
            return None
        found = played(self._run, envs, place, self._streams, rounds)
        if found is not None and found.unknown is not None:
            check_outputs_known(found.unknown)
        return found

    def bootstrap_values(
        self, observation: Tensor, replica: int | None = None
    ) -> NDArray[np.float32]:
        """Values `(times, replicas, envs)` of what steps led to that nothing follows.

        Args:
            observation: what they led to, `(times, replicas, envs, …)`.
            replica: the only one that they are of; None for all of them.
        """
        by_replica = observation.transpose(0, 1)
        rows = by_replica.flatten(1, 2)
        with torch.no_grad():
            if replica is None:
                values = self._run.stream(rows, "value")
            else:
                values = self.outputs(rows, replica)[..., 0]
        found: NDArray[np.float32] = values.reshape(by_replica.shape[:3]).cpu().numpy()
        return found.swapaxes(0, 1)

    def normalize(self, observation: Tensor, replicas: Sequence[int]) -> None:
        """Let networks that normalise observations take in more of them, `(replicas, batch, …)`."""
        for r, rows in zip(replicas, observation, strict=True):
            for normalizer in self._normalizers[r]:
                normalizer.update(rows)

    def policy(self, replica: int) -> Policy:
        """How a replica acts outside training."""
        network, noise = self.networks.per_replica[replica], self._predict_noise[replica]
        return NetworkPolicy(network, noise, partial(self._chosen, replica))

    def values(self, observation: Tensor, replica: int) -> NDArray[Any]:
        """What a replica expects of observations `(batch, …)`, under its mean weights."""
        network, noise = self.networks.per_replica[replica], self._predict_noise[replica]
        policy = NetworkPolicy(network, noise, lambda out, _: out[..., 0].cpu().numpy())
        return policy.actions(observation, deterministic=True)

    def _chosen(self, replica: int, out: Tensor, deterministic: bool) -> NDArray[Any]:
        """A replica's actions outside training, given the outputs of its network."""
        policy = out[..., 1:].cpu().numpy()
        check_outputs_known(policy)
        if deterministic:
            return self.actions.to_env(self.actions.best(policy))
        raw = self.actions.sample(policy[None], [self._predict_streams[replica]])
        return self.actions.to_env(raw[0])

    def state_dict(self) -> dict[str, Tensor]:
        """Networks, optimisers, noise and streams."""
        return state_of(self._parts())

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on where the one that gave `state` stood."""
        load_parts(self._parts(), state)

    def _parts(self) -> dict[str, Part]:
        return {
            "nets": self.networks,
            "noise": self.noise,
            "stream.actions": NumpyStreams(self._streams),
            "stream.predict": NumpyStreams(self._predict_streams),
            "stream.predict noise": TorchStreams(self._predict_noise),
        }
