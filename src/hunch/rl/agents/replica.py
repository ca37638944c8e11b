"""One replica of an agent, to be asked, evaluated and recorded, but not trained."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from hunch.errors import DataError, ShapeError
from hunch.nn import Ensemble, noise
from hunch.rl.agents.epsilon_greedy import highest
from hunch.rl.environments.flattening import FlatActions, FlatObservations, MisfitError
from hunch.rl.environments.make import Env
from hunch.rl.environments.origins import Origin
from hunch.rl.networks.observation_scale import ObservationScale
from hunch.rl.networks.value_networks import noisy_layers


class Home(Protocol):
    """What a replica asks of the agent that it belongs to."""

    @property
    def observation_shape(self) -> tuple[int, ...]:
        """Shape of one observation."""

    @property
    def observation_dtype(self) -> Any:
        """Type in which observations are kept."""

    @property
    def first_action(self) -> int:
        """The environment's name for the action of index 0."""

    @property
    def flat_observations(self) -> FlatObservations | None:
        """What makes vectors of the environment's observations; None where nothing is made."""

    @property
    def flat_actions(self) -> FlatActions | None:
        """What makes the environment's actions of numbers; None where nothing is made."""

    @property
    def device(self) -> torch.device:
        """Where the networks live."""

    def origin_of(self, r: int) -> Origin:
        """Where the environments of replica `r` come from."""


class Policy(ABC):
    """How a replica acts outside training."""

    @abstractmethod
    def actions(self, observation: Tensor, deterministic: bool) -> NDArray[Any]:
        """Actions for observations `(batch, …)`: indices `(batch,)`, or points of a box."""


class NetworkPolicy(Policy):
    """Actions by a network of its own, under the mean weights or under new noise.

    Args:
        network: what is called; in evaluation mode where no chance is wanted.
        noise: source of its noise outside training.
        choose: from the network's outputs, and whether no chance is wanted, to the actions.

    Example:
        >>> policy = NetworkPolicy(nn.Identity(), torch.Generator(), lambda out, _: out.argmax(-1))
        >>> policy.actions(torch.tensor([[0.0, 1.0]]), deterministic=True)
        tensor([1])
    """

    def __init__(
        self,
        network: nn.Module,
        noise: torch.Generator,
        choose: Callable[[Tensor, bool], NDArray[Any]],
    ) -> None:
        self._network, self._noise, self._choose = network, noise, choose
        self._has_noise = bool(noisy_layers(network))

    def actions(self, observation: Tensor, deterministic: bool) -> NDArray[Any]:
        """As `Policy.actions`."""
        network = self._network
        training = network.training
        network.train(not deterministic)
        try:
            if self._has_noise:
                with noise(network, "off" if deterministic else "fresh", generator=self._noise):
                    outputs = network(observation)
            else:
                outputs = network(observation)
        finally:
            network.train(training)
        return self._choose(outputs, deterministic)


class ValuePolicy(Policy):
    """The actions of the highest values.

    Args:
        values: from observations, and whether no chance is wanted, to values `(batch, actions)`.

    Example:
        >>> policy = ValuePolicy(lambda x, deterministic: x if deterministic else -x)
        >>> policy.actions(torch.tensor([[0.0, 1.0]]), deterministic=True)
        array([1])
    """

    def __init__(self, values: Callable[[Tensor, bool], Tensor]) -> None:
        self._values = values

    def actions(self, observation: Tensor, deterministic: bool) -> NDArray[np.int64]:
        """As `Policy.actions`."""
        return highest(self._values(observation, deterministic).cpu().numpy())


class ScaledPolicy(Policy):
    """A policy that is shown observations at a common scale.

    Args:
        policy: the policy.
        scale: what brings them there; looking at observations does not change it.
        replica: whose statistics it takes.

    Example:
        >>> policy = ValuePolicy(lambda x, deterministic: x)
        >>> scale = ObservationScale((2,))
        >>> scale.take_in(np.array([[[0.0, 6.0], [2.0, 8.0]]]), np.ones((1, 2), bool))
        >>> ScaledPolicy(policy, scale, 0).actions(torch.tensor([[1.5, 6.5]]), deterministic=True)
        array([0])
    """

    def __init__(self, policy: Policy, scale: ObservationScale, replica: int) -> None:
        self._policy, self._scale, self._replica = policy, scale, replica

    def actions(self, observation: Tensor, deterministic: bool) -> NDArray[Any]:
        """As `Policy.actions`."""
        seen = self._scale.of(observation, self._replica)
        return self._policy.actions(seen, deterministic)


class Replica:
    """One replica of an agent as it was when `Agent.replica` was called.

    Args:
        agent: what it belongs to.
        policy: how it acts.
        r: its number.
    """

    def __init__(self, agent: Home, policy: Policy, r: int = 0) -> None:
        self._agent, self._number = agent, r
        self.policy = policy

    @property
    def origin(self) -> Origin:
        """Where its environments come from."""
        return self._agent.origin_of(self._number)

    def another_env(self) -> Env:
        """As `Agent.another_env`."""
        return self.origin.another()

    def rendering_env(self) -> Env:
        """As `Agent.rendering_env`."""
        return self.origin.rendering()

    @torch.no_grad()
    def predict(self, observation: Any, deterministic: bool = True) -> Any:
        """As `Agent.predict`."""
        agent = self._agent
        flat = agent.flat_observations
        given, single = self._batch(observation) if flat is None else _vectors(flat, observation)
        if np.count_nonzero(np.isfinite(given)) < given.size:
            raise DataError(
                "`observation` holds NaN or infinite numbers; expected finite ones, for which "
                "alone the networks have values."
            )
        tensor = torch.from_numpy(np.ascontiguousarray(given)).to(agent.device)
        actions = self.policy.actions(tensor, deterministic)
        if actions.ndim > 1:
            return actions[0] if single else actions
        actions = actions + agent.first_action
        if agent.flat_actions is not None:
            taken = agent.flat_actions.taken(actions)
            return taken[0] if single else taken
        return int(actions[0]) if single else actions

    def _batch(self, observation: ArrayLike) -> tuple[NDArray[np.float32], bool]:
        """Observations of a box, `(batch, …)`, and whether it was a single one."""
        expected = self._agent.observation_shape
        given = self._given(observation)
        if single := given.shape == expected:
            given = given[None]
        if given.shape[1:] != expected or given.ndim == 0:
            raise ShapeError(
                f"`observation` got shape {np.shape(observation)}; expected "
                f"{expected} or a batch (batch, {', '.join(map(str, expected))})."
            )
        return given, single

    def _given(self, observation: ArrayLike) -> NDArray[np.float32]:
        """The observations as the networks take them, if they fit the type of their space."""
        try:
            given = np.array(observation, np.float32)
        except (TypeError, ValueError) as error:
            raise ShapeError(
                f"`observation` got a {type(observation).__name__} that is no array of numbers; "
                "expected what the environment returns, and not its info beside it."
            ) from error
        dtype = self._agent.observation_dtype
        if np.issubdtype(dtype, np.integer) and getattr(observation, "dtype", None) != dtype:
            limits = np.iinfo(dtype)
            fits = (given == np.floor(given)) & (given >= limits.min) & (given <= limits.max)
            if np.count_nonzero(fits) < given.size and np.isfinite(given).all():
                raise DataError(
                    f"`observation` holds {given[~fits][0]:g}, which {np.dtype(dtype)}, the type "
                    "of the observation space, does not hold; expected the environment's own "
                    "observations, not yet divided by anything."
                )
        return given


def _vectors(flat: FlatObservations, observation: Any) -> tuple[NDArray[np.float32], bool]:
    """Observations of any other space, `(batch, size)`, and whether it was a single one."""
    try:
        vectors, single = flat.vectors(observation)
    except MisfitError as misfit:
        where = f" for its part {misfit.part}" if misfit.part else ""
        kind = ShapeError if misfit.of_shape else DataError
        raise kind(
            f"`observation` got {misfit.what}{where}; expected {misfit.expected}, as the "
            "environment shows it, or a batch with the batch on axis 0."
        ) from misfit
    return vectors.astype(np.float32), single


def members_of(network: nn.Module, replicas: int, r: int) -> nn.Module:
    """The network of replica `r`: a copy out of an ensemble, or the only one itself.

    Example:
        >>> net = nn.Linear(2, 1)
        >>> members_of(net, 1, 0) is net
        True
    """
    return network.member(r) if replicas > 1 and isinstance(network, Ensemble) else network
