"""What an agent that explores by value functions needs of them, however they are made.

A member is a whole value function that what was seen does not rule out. `prior_ensemble` makes
members by networks of their own, `epinet` by one network and an index.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hunch.errors import ConfigurationError
from hunch.nn import Ensemble, RandomizedPrior
from hunch.rl.environments.vector import Bools
from hunch.rl.fast.manual_backprop import FastRunner
from hunch.rl.fast.one_hot_layer import to_cells
from hunch.rl.networks.noise import FreshNoise
from hunch.rl.networks.runner import Runner
from hunch.rl.networks.shared_memory import Linked
from hunch.rl.networks.target_network import NetworkPair
from hunch.rl.networks.value_networks import noisy_layers, table_rows
from hunch.rl.replay.transitions import Transitions
from hunch.seeding import default_generator_seeded, numpy_generator
from hunch.storage.parts import InPlace, NumpyStreams, Part

Floats = NDArray[np.float32]
Learn = Callable[[Tensor, float], None]
Make = Callable[[], nn.Module]
# Observations of as many entries; all at once of 10,000 would be 400 MB.
_CELLS_AT_ONCE: Final = 2_048


@dataclass(frozen=True)
class EnsembleConfig:
    """What members have to fit into.

    Args:
        replicas: agents that live side by side.
        envs: environments of each.
        members: K, members that learn from a batch.
        actions: number of actions.
        observation_shape: shape of one observation.
        one_hot: whether observations are kept as the place of their 1.
        fast: whether common layers are differentiated by hand.
        device: where networks live.
        seed: of the first replica.
        tabular: whether members are tables, with a row of values for each place of that 1.
    """

    replicas: int
    envs: int
    members: int
    actions: int
    observation_shape: tuple[int, ...]
    one_hot: bool
    fast: bool
    device: torch.device
    seed: int
    tabular: bool = False

    def tensor(self, array: NDArray[Any]) -> Tensor:
        """An array as float32 on the device."""
        return torch.from_numpy(np.ascontiguousarray(array, np.float32)).to(self.device)

    def generators(self, purpose: str) -> list[np.random.Generator]:
        """A random stream for each replica."""
        return [numpy_generator(self.seed + r, purpose) for r in range(self.replicas)]


class ValueEnsemble(Linked, ABC):
    """An online and a target network that hold members, and the member each environment plays.

    Attributes:
        pair: the two networks and their optimiser.
        active: what tells the member that plays each environment's episode, `(replicas, envs, …)`.
        shared: how many members of a batch one parameter serves.
    """

    pair: NetworkPair
    active: NDArray[Any]
    shared: int = 1

    def __init__(self, config: EnsembleConfig, prior: PriorValues) -> None:
        self.config = config
        self.prior = prior
        self._choosing = config.generators("member")
        self._predict_choosing = config.generators("predict")

    def _link(self) -> None:
        """Make what runs the layers on the networks' memory."""
        self.prior._link()

    def settle(self) -> bool:
        """Make good what somebody did to the networks since the last time.

        Returns:
            Whether priors are others than they were, so that what was cached of them is void.

        Raises:
            ConfigurationError: if what the networks are now cannot be trained on.
        """
        if self.pair.settle():
            self._link()
        others = self.pair.settle_frozen("prior.")
        if others:
            self.prior.refresh()
        return others

    def stored(self, observation: NDArray[Any]) -> NDArray[Any]:
        """Observations as they are stored: themselves, or the place of their 1."""
        if not self.config.one_hot:
            return observation
        return to_cells(observation, len(self.config.observation_shape))

    def choose(self, is_first: Bools) -> None:
        """Draw the member that plays each episode that begins."""
        draw_where(is_first, self.active, self._choosing, self._draw)

    @abstractmethod
    def _draw(self, rng: np.random.Generator, n: int) -> NDArray[Any]:
        """Draw `n` members."""

    @abstractmethod
    def best(self, stored: NDArray[Any]) -> NDArray[np.int64]:
        """The action that each environment's member likes best, `(replicas, envs)`."""

    @abstractmethod
    def begin_update(self, batch: Transitions) -> None:
        """Settle what a batch, the next that is learned from, trains."""

    @abstractmethod
    def values(self, which: int, stored: NDArray[Any], cached: Floats | None) -> Tensor:
        """Values `(replicas, members, batch, actions)` by the online (0) or target (1) network."""

    @abstractmethod
    def differentiable(self, stored: NDArray[Any], cached: Floats | None) -> tuple[Tensor, Learn]:
        """The online network's values, and a function of their gradient and the learning rate.

        The function moves the online network, and the target network if it is time to.
        """

    def gradient(
        self, batch: Transitions, double: bool, *, huber: bool
    ) -> tuple[float, Tensor, Callable[[float], None]] | None:
        """Write the gradient of a batch in few calls; None, and nothing done, if that cannot be.

        Args:
            batch: the transitions.
            double: whether the online network chooses the next action.
            huber: whether errors beyond 1 count by their size, not by half its square.

        Returns:
            The mean loss over all members; the largest size of their errors of each transition,
            `(replicas, batch)`; and a function of the learning rate that moves the online network,
            and the target network if it is time to.
        """
        return None

    def _check_unmoved(self, updates: int) -> None:
        """Refuse to learn from values that were computed before the last update."""
        if self.pair.updates != updates:
            raise ConfigurationError(
                f"the gradient is that of values after {updates} updates, but there were "
                f"{self.pair.updates} by now; expected one update after each computation of values."
            )

    @abstractmethod
    def predicted(self, observation: Tensor, replica: int, deterministic: bool) -> Tensor:
        """Values `(batch, actions)`: the mean over members, or those of one drawn at random."""

    def parts(self) -> dict[str, Part]:
        """Networks, optimisers, members in play and random streams."""
        return {
            "pair": self.pair,
            "stream.member": NumpyStreams(self._choosing),
            "stream.predict": NumpyStreams(self._predict_choosing),
            "active": InPlace(self.active),
            "prior": self.prior,
        }


class PriorValues(Linked):
    """The values of prior functions that never change.

    Args:
        functions: the priors of all replicas, those of the first replica first.
        scale: what they are multiplied with.
        config: what they have to fit into.

    Note:
        For one-hot observations they are computed once, for each place of the 1.
    """

    def __init__(self, functions: Ensemble, scale: float, config: EnsembleConfig) -> None:
        self._functions, self._scale, self._config = functions, scale, config
        self.count = functions.num_members // config.replicas
        self._table: Floats | None = None
        self._link()
        self.refresh()

    _linked = frozenset({"_run"})

    def _link(self) -> None:
        """Make what runs the functions on their memory, as it is now."""
        runner = FastRunner if self._config.fast else Runner
        self._run = runner(self._functions, FreshNoise(self._functions, []))
        # A prior's noise is off, because it never changes; a runner would draw it.
        self._noisy = bool(noisy_layers(self._functions))

    @property
    def cached_shape(self) -> tuple[int, int] | None:
        """Shape of what is worth storing beside each observation, if anything."""
        return None if self._table is not None else (self.count, self._config.actions)

    @torch.no_grad()
    def refresh(self) -> None:
        """Take notice of other functions in the same place."""
        if not self._config.one_hot:
            return
        size = int(np.prod(self._config.observation_shape))
        if self._config.tabular and (rows := table_rows(self._functions.skeleton)) is not None:
            self._table = self._scaled(rows)
            return
        parts = []
        for start in range(0, size + 1, _CELLS_AT_ONCE):
            cells = torch.zeros(min(_CELLS_AT_ONCE, size + 1 - start), size)
            cells.diagonal(start).fill_(1.0)  # the last row has none: an observation of zeros
            parts.append(self._functions(cells.view(-1, *self._config.observation_shape)))
        self._table = self._scaled(torch.cat(parts, 1))

    def state_dict(self) -> dict[str, Tensor]:
        """Nothing: all of it follows from the functions."""
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take notice of the functions, which were loaded before."""
        self.refresh()

    @torch.no_grad()
    def __call__(self, stored: NDArray[Any]) -> Floats:
        """Scaled values `(replicas, batch, functions, actions)`."""
        if self._table is not None:
            looked_up: Floats = self._table[np.arange(self._config.replicas)[:, None], stored]
            return looked_up
        if self._scale == 0.0:
            return np.zeros((*stored.shape[:2], self.count, self._config.actions), np.float32)
        x = repeated(self._config.tensor(stored), self.count)
        return self._scaled(self._functions(x, per_member=True) if self._noisy else self._run(x))

    def of(self, stored: NDArray[Any], cached: Floats | None) -> Tensor:
        """Scaled values `(replicas, functions, batch, actions)`, cached already or not."""
        values = self(stored) if cached is None else cached
        return torch.from_numpy(values).to(self._config.device).transpose(1, 2)

    def _scaled(self, values: Tensor) -> Floats:
        by_replica = values.view(self._config.replicas, self.count, *values.shape[1:])
        array: Floats = by_replica.cpu().numpy().swapaxes(1, 2)
        return np.multiply(array, np.float32(self._scale), order="C")


def members_with_priors(
    config: EnsembleConfig, model: Make, prior: Make, prior_scale: float
) -> list[nn.Module]:
    """Members with a prior each, those of the first replica first.

    Args:
        config: how many; member k of a replica depends on its seed and k alone.
        model: makes what one of them trains, drawing from torch's default generator.
        prior: makes a prior, likewise.
        prior_scale: how strongly priors speak.
    """
    made: list[nn.Module] = []
    for r in range(config.replicas):
        for k in range(config.members):
            with default_generator_seeded(config.seed + r, "member", k):
                trained = model()
            with default_generator_seeded(config.seed + r, "prior", k):
                made.append(RandomizedPrior(trained, prior(), prior_scale))
    return made


def draw_where(
    is_first: Bools,
    active: NDArray[Any],
    rngs: Sequence[np.random.Generator],
    draw: Callable[[np.random.Generator, int], NDArray[Any]],
) -> None:
    """Draw anew what plays each episode that begins, in place.

    Args:
        is_first: where one does, `(replicas, envs)`.
        active: what plays, `(replicas, envs, …)`.
        rngs: a stream for each replica.
        draw: so many from one of them.

    Example:
        >>> active = np.zeros((1, 2), int)
        >>> first, rngs = np.array([[False, True]]), [np.random.default_rng(0)]
        >>> draw_where(first, active, rngs, lambda rng, n: np.arange(5, 5 + n))
        >>> active
        array([[0, 6]])
    """
    for r, rng in enumerate(rngs):
        if is_first[r].any():
            drawn = draw(rng, is_first.shape[1])
            chosen = is_first[r].reshape(-1, *[1] * (drawn.ndim - 1))
            active[r] = np.where(chosen, drawn, active[r])


def repeated(observation: Tensor, times: int) -> Tensor:
    """`(replicas, batch, …)` to `(replicas · times, batch, …)`, without a copy if it can.

    Example:
        >>> repeated(torch.zeros(2, 7, 3), 5).shape
        torch.Size([10, 7, 3])
    """
    if observation.shape[0] == 1:
        return observation.expand(times, *observation.shape[1:])
    return observation.repeat_interleave(times, 0)


def ensembles(pair: NetworkPair) -> tuple[Ensemble, Ensemble]:
    """The online and the target network of a pair of ensembles."""
    online, target = pair.online, pair.target
    if not isinstance(online, Ensemble) or not isinstance(target, Ensemble):
        raise TypeError("a pair of ensembles was expected")
    return online, target
