"""Bootstrapped DQN with randomised priors: explore by acting on one guess for a whole episode.

K members learn from the same experience. Each is a trained network plus a prior function of its
own that never changes, so where there is little experience they disagree, and an episode played by
one of them goes where that member believes the reward to be, through many steps if it must.

Member k's prior is the same in its online and its target network: a value that is bootstrapped from
another prior would carry that prior's error. Since priors never change, their values are computed
once for each observation and stored with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray
from torch import Tensor, nn

from hunch.errors import ConfigurationError
from hunch.nn import Ensemble, RandomizedPrior
from hunch.rl.agent import Agent, Policy, numpy_state, set_numpy_state, to_tensor
from hunch.rl.arguments import check_sizes, real_number, whole_number
from hunch.rl.backprop import AddedBias, Layer, Runner, Views, by_hand
from hunch.rl.environments import EnvLike
from hunch.rl.fresh_noise import FreshNoise
from hunch.rl.network_pair import NetworkPair
from hunch.rl.networks import is_pixels, value_network
from hunch.rl.one_hot import OneHotLayer, is_one_hot, to_cells
from hunch.rl.parallel_envs import Bools
from hunch.rl.readout import Readout
from hunch.rl.replay import Replay
from hunch.rl.returns import bootstrapped_target, double_value, max_value
from hunch.rl.schedules import Linear, schedule, value_at
from hunch.rl.solo import SoloValues
from hunch.rl.transitions import Step, Transitions
from hunch.seeding import default_generator_seeded

MemberFactory = Callable[[], nn.Module]

FEW_ENVS = 8  # up to here one member at a time acts faster than all at once


class BootstrappedDQN(Agent):
    """Deep Q-learning by an ensemble with randomised priors, which explores by Thompson sampling.

    Before each episode one member is drawn; it alone chooses the actions of the episode, greedily.
    All members learn from all transitions, or from those that a mask gives them.

    Args:
        env: a Gymnasium id, an environment, a function that makes one, or a Gymnasium vector
            environment. Observations must be a `Box`, actions `Discrete`.
        num_members: K, at least 1.
        prior_scale: how strongly the priors speak, in units of reward; 0 for no priors.
        mask_probability: probability that a member learns from a transition, in (0, 1].
        double: let the online network choose the next action and the target network judge it.
        n_step: number of rewards summed before a value is asked for, at least 1.
        discount: γ per environment step, in [0, 1].
        learning_rate: step size of Adam, or a `Linear` schedule over environment steps.
        batch_size: transitions per gradient update, the same ones for all members.
        replay_capacity: transitions kept.
        min_replay_size: transitions stored before the first gradient update; None is `batch_size`.
        update_period: environment steps from one round of gradient updates to the next.
        updates_per_round: gradient updates in such a round.
        target_update_period: gradient updates per update of the target network.
        target_update_rate: how far the target network then moves towards the online one.
        max_gradient_norm: each member's gradient is scaled down to this Euclidean norm.
        hidden_sizes: width of each hidden layer of members and priors made by default.
        layer_norm: normalise hidden layers of the trained networks before their ReLU.
        network: a function without arguments that makes one member's trained network, from a batch
            of observations to `(batch, actions)`. None makes a multilayer perceptron, or for
            pictures the convolutions of Mnih et al. before it.
        prior: a function without arguments that makes one member's prior; None makes one of the
            same kind as the trained network.
        env_kwargs: keyword arguments for `gymnasium.make`.
        num_envs: environments that each replica plays side by side, each with a member of its own.
        replicas: agents trained side by side, with the seeds `seed`, `seed + 1`, ….
        device: where the networks live.
        seed: seed of everything that is left to chance, at least 0.

    Raises:
        ConfigurationError: for an unknown environment, spaces the agent cannot handle, a number
            out of range, or a network that does not fit.

    Attributes:
        network: all members, an `hunch.nn.Ensemble` of `hunch.nn.RandomizedPrior`, those of the
            first replica first.
        target_network: their copies from a while ago, with the same priors.
        losses: mean loss of a member in each gradient update.

    Example:
        >>> from hunch.rl import BootstrappedDQN
        >>> agent = BootstrappedDQN("hunch.envs:hunch/DeepSea-v0", env_kwargs=dict(size=5))
        >>> agent.learn(200, progress=False).steps
        200

    Reference:
        Osband, Blundell, Pritzel & Van Roy (2016), "Deep exploration via bootstrapped DQN";
        Osband, Aslanides & Cassirer (2018), "Randomized prior functions for deep reinforcement
        learning", algorithm 1 and section 4.

    Note:
        The loss is half the squared error, with Adam. `predict` takes the action with the highest
        mean over members; with `deterministic=False` one member drawn at random chooses. If the
        environment says that observations are one-hot (deep sea does), the first layer looks its
        weights up and its optimiser moves only rows that a batch has seen.
    """

    def __init__(
        self,
        env: EnvLike | VectorEnv[Any, Any, Any],
        *,
        num_members: int = 20,
        prior_scale: float = 10.0,
        mask_probability: float = 1.0,
        double: bool = False,
        n_step: int = 1,
        discount: float = 0.99,
        learning_rate: float | Linear = 1e-3,
        batch_size: int = 128,
        replay_capacity: int = 100_000,
        min_replay_size: int | None = None,
        update_period: int = 1,
        updates_per_round: int = 1,
        target_update_period: int = 4,
        target_update_rate: float = 1.0,
        max_gradient_norm: float = float("inf"),
        hidden_sizes: Sequence[int] = (50, 50),
        layer_norm: bool = False,
        network: MemberFactory | None = None,
        prior: MemberFactory | None = None,
        env_kwargs: Mapping[str, Any] | None = None,
        num_envs: int = 1,
        replicas: int = 1,
        device: torch.device | str = "cpu",
        seed: int = 0,
    ) -> None:
        self._remember(locals())
        self.num_members = whole_number("num_members", num_members, at_least=1)
        self.prior_scale = real_number("prior_scale", prior_scale, at_least=0.0)
        self.mask_probability = real_number(
            "mask_probability", mask_probability, above=0.0, at_most=1.0
        )
        self.double = bool(double)
        self.discount = real_number("discount", discount, at_least=0.0, at_most=1.0)
        self.learning_rate = schedule("learning_rate", learning_rate)
        self.batch_size = whole_number("batch_size", batch_size, at_least=1)
        n_step = whole_number("n_step", n_step, at_least=1)
        self.min_replay_size = check_sizes(
            min_replay_size, self.batch_size, replay_capacity, n_step
        )
        self.update_period = whole_number("update_period", update_period, at_least=1)
        self.updates_per_round = whole_number("updates_per_round", updates_per_round, at_least=1)
        if max_gradient_norm != float("inf"):
            real_number("max_gradient_norm", max_gradient_norm, above=0.0)
        super().__init__(
            env,
            env_kwargs=env_kwargs,
            num_envs=num_envs,
            replicas=replicas,
            device=device,
            seed=seed,
        )
        self._readout = Readout(self._num_actions)
        members = self._members(network, prior, hidden_sizes, layer_norm).to(self.device)
        one_hot = (
            network is None
            and self.device.type == "cpu"
            and max_gradient_norm == float("inf")
            and len(hidden_sizes) > 0
            and is_one_hot(self._first_env)
        )
        self._pair = NetworkPair(
            members,
            members=members.num_members,
            max_gradient_norm=max_gradient_norm,
            target_update_period=whole_number(
                "target_update_period", target_update_period, at_least=1
            ),
            target_update_rate=real_number(
                "target_update_rate", target_update_rate, above=0.0, at_most=1.0
            ),
            apart=[_first_linear(members).weight] if one_hot else [],
        )
        if one_hot and target_update_rate != 1.0:
            raise ConfigurationError(
                f"`target_update_rate` got {target_update_rate}; expected 1.0 for an environment "
                "with one-hot observations, whose target network copies what moved."
            )
        self._first = (
            OneHotLayer(
                _first_linear(self.network), _first_linear(self.target_network), self.replicas
            )
            if one_hot
            else None
        )
        self._online = self._runner(self.network, self._pair.parameters)
        self._target = self._runner(self.target_network, [])
        self._prior = self.network.part("prior")
        self._solo = SoloValues.of(self.network, self.replicas, one_hot=one_hot)
        self._prior_values = self._tabulated_prior() if one_hot else None
        self._replay = Replay(
            replay_capacity,
            () if one_hot else self._observation_shape,
            np.int32 if one_hot else self._observation_dtype,
            replicas=self.replicas,
            envs=self.num_envs,
            n_step=n_step,
            discount=self.discount,
            note_shape=None if one_hot else (self.num_members, self._num_actions),
            mask_size=self.num_members if self.mask_probability < 1.0 else 0,
        )
        self._sampling = self._numpy_generators("replay")
        self._choosing = self._numpy_generators("member")
        self._masking = self._numpy_generators("mask")
        self._predict_choosing = self._numpy_generators("predict")
        lead = (self.replicas, self.num_envs)
        self._active = np.zeros(lead, np.int64)  # the member that plays each environment's episode
        self.losses: list[float] = []

    def _members(
        self,
        network: MemberFactory | None,
        prior: MemberFactory | None,
        hidden_sizes: Sequence[int],
        layer_norm: bool,
    ) -> Ensemble:
        def make(factory: MemberFactory | None, norm: bool) -> nn.Module:
            return value_network(
                factory,
                self._observation_shape,
                self._readout,
                hidden_sizes,
                layer_norm=norm,
                pixels=is_pixels(self._observation_dtype),
            )

        made = []
        for r in range(self.replicas):
            for k in range(self.num_members):
                with default_generator_seeded(self.seed + r, "member", k):
                    model = make(network, layer_norm)
                with default_generator_seeded(self.seed + r, "prior", k):
                    fixed = make(prior or network, False)
                made.append(RandomizedPrior(model, fixed, self.prior_scale))
        return Ensemble.from_modules(made)

    def _runner(self, network: Ensemble, parameters: Sequence[Tensor]) -> Runner:
        """What calls the trained part of all members, behind the first layer if that is apart."""
        model = network.part("model")
        behind_first = None
        if self._first is not None:
            layers = list(model.skeleton.children())
            first = next(i for i, layer in enumerate(layers) if isinstance(layer, nn.Linear))
            bias = _first_linear(network).bias

            def behind_first(gradients: Views) -> list[Layer]:
                rest = [by_hand(layer, gradients, True) for layer in layers[first + 1 :]]
                return [AddedBias(bias, gradients), *rest]

        return Runner(model, FreshNoise(model, []), parameters, self._pair.gradient, behind_first)

    @property
    def network(self) -> Ensemble:
        """All members, those of the first replica first."""
        return self._ensembles[0]

    @property
    def target_network(self) -> Ensemble:
        """Their copies from a while ago, with the same priors."""
        return self._ensembles[1]

    @property
    def _ensembles(self) -> tuple[Ensemble, Ensemble]:
        online, target = self._pair.online, self._pair.target
        if not isinstance(online, Ensemble) or not isinstance(target, Ensemble):
            raise TypeError("a pair of ensembles was expected")
        return online, target

    @property
    def updates(self) -> int:
        """Gradient updates made so far."""
        return self._pair.updates

    @torch.no_grad()
    def act(self, observation: NDArray[Any], begins: Bools) -> NDArray[np.int64]:
        """The action that each environment's member likes best, `(replicas, envs)`."""
        if begins.any():
            self._choose_members(begins)
        stored = self._stored(observation)
        if self._solo is not None and observation.shape[0] * observation.shape[1] <= FEW_ENVS:
            best = self._solo_actions(self._solo, stored)
        else:
            trained = self._trained(0, stored).cpu().numpy()
            q = trained.transpose(0, 2, 1, 3) + self._prior_of(stored)
            best = np.take_along_axis(q, self._active[:, :, None, None], 2)[:, :, 0].argmax(-1)
        actions: NDArray[np.int64] = best + self._first_action
        return actions

    def _solo_actions(self, solo: SoloValues, stored: NDArray[Any]) -> NDArray[np.int64]:
        best = np.empty(stored.shape[:2], np.int64)
        for r, e in np.ndindex(best.shape):
            best[r, e] = solo(stored[r, e], r, int(self._active[r, e])).argmax()
        return best

    def _choose_members(self, begins: Bools) -> None:
        for r, rng in enumerate(self._choosing):
            if begins[r].any():
                drawn = rng.integers(self.num_members, size=self.num_envs)
                self._active[r] = np.where(begins[r], drawn, self._active[r])

    def observe(self, step: Step) -> None:
        """Store a step of all environments; update the members as often as it is time to."""
        kept = step._replace(
            observation=self._stored(step.observation),
            next_observation=self._stored(step.next_observation),
            action=step.action - self._first_action,
        )
        self._replay.add(kept, self._drawn_mask())
        if len(self._replay) < self.min_replay_size or not self._replay.num_drawable:
            return
        before = self.steps - self.num_envs
        rounds = self.steps // self.update_period - before // self.update_period
        if rounds:
            self._replay.note(self._prior_of)
        for _ in range(rounds * self.updates_per_round):
            self._update(self._replay.sample(self.batch_size, self._sampling))

    def _drawn_mask(self) -> NDArray[np.bool_] | None:
        if self.mask_probability == 1.0:
            return None
        shape = (self.num_envs, self.num_members)
        return np.stack([rng.random(shape) < self.mask_probability for rng in self._masking])

    @torch.no_grad()
    def _update(self, batch: Transitions) -> None:
        """Make one gradient update of all members, and one of their targets if it is time to."""
        target = self._bootstrapped(batch)
        raw, backward = self._online.differentiable(self._inputs(0, batch.observation))
        q = self._by_replica(raw) + self._fixed(batch.observation, batch.note)
        action = torch.from_numpy(batch.action).to(self.device)
        index = action[:, None, :, None].expand(*q.shape[:-1], 1)
        error = q.gather(-1, index).squeeze(-1) - target
        if batch.mask is not None:
            error = error * torch.from_numpy(batch.mask).to(self.device).transpose(1, 2)
        # The gradient of half the mean square, for each member by itself.
        slope = (error / error.shape[-1]).unsqueeze(-1)
        gradient = torch.zeros_like(q).scatter_(-1, index, slope)
        hidden_gradient = backward(gradient.view(raw.shape))
        rate = value_at(self.learning_rate, self.steps)
        self._pair.step(rate)
        if self._first is not None:
            self._first.step(batch.observation, hidden_gradient, rate)
            if self._pair.followed:
                self._first.follow()
        self.losses.append(0.5 * error.square().mean().item())

    def _bootstrapped(self, batch: Transitions) -> Tensor:
        """What each member is trained towards, `(replicas, members, batch)`."""
        following = batch.next_observation
        fixed = self._fixed(following, batch.next_note)
        q_next = self._trained(1, following) + fixed
        if self.double:
            next_value = double_value(q_next, self._trained(0, following) + fixed)
        else:
            next_value = max_value(q_next)
        reward, discount = (
            torch.from_numpy(values).to(self.device).unsqueeze(1)
            for values in (batch.reward, batch.discount)
        )
        return bootstrapped_target(reward, discount, next_value)

    # Observations as they are stored: themselves, or the place of their 1.

    def _stored(self, observation: NDArray[Any]) -> NDArray[Any]:
        if self._first is None:
            return observation
        return to_cells(observation, len(self._observation_shape))

    def _trained(self, which: int, stored: NDArray[Any]) -> Tensor:
        """The trained parts' values `(replicas, members, batch, actions)`, without priors."""
        runner = (self._online, self._target)[which]
        return self._by_replica(runner(self._inputs(which, stored)))

    def _inputs(self, which: int, stored: NDArray[Any]) -> Tensor:
        """What a runner takes: the first layer's product, or all members' observations."""
        if self._first is not None:
            return self._first.hidden(stored, target=which == 1)
        return self._for_members(self._tensor(stored))

    def _for_members(self, observation: Tensor) -> Tensor:
        """`(replicas, batch, …)` to `(replicas · members, batch, …)`, without a copy if it can."""
        if self.replicas == 1:
            return observation.expand(self.num_members, *observation.shape[1:])
        return observation.repeat_interleave(self.num_members, 0)

    def _by_replica(self, values: Tensor) -> Tensor:
        return values.view(self.replicas, self.num_members, *values.shape[1:])

    def _fixed(self, stored: NDArray[Any], note: NDArray[Any] | None) -> Tensor:
        """The priors' values `(replicas, members, batch, actions)`."""
        values = self._prior_of(stored) if note is None else note
        return torch.from_numpy(values).to(self.device).transpose(1, 2)

    @torch.no_grad()
    def _prior_of(self, stored: NDArray[Any]) -> NDArray[np.float32]:
        """The priors' values `(replicas, batch, members, actions)`."""
        if self._prior_values is not None:
            looked_up: NDArray[np.float32]
            looked_up = self._prior_values[np.arange(self.replicas)[:, None], stored]
            return looked_up
        if self.prior_scale == 0.0:
            shape = (*stored.shape[:2], self.num_members, self._num_actions)
            return np.zeros(shape, np.float32)
        values = self._prior(self._for_members(self._tensor(stored)), per_member=True)
        scaled = self.prior_scale * self._by_replica(values).transpose(1, 2)
        array: NDArray[np.float32] = scaled.cpu().numpy()
        return array

    @torch.no_grad()
    def _tabulated_prior(self) -> NDArray[np.float32]:
        """The priors' values of each one-hot observation, `(replicas, cells, members, actions)`."""
        size = int(np.prod(self._observation_shape))
        cells = torch.cat([torch.eye(size), torch.zeros(1, size)])
        values = self._prior(cells.view(size + 1, *self._observation_shape))
        scaled = self.prior_scale * self._by_replica(values).transpose(1, 2)
        array: NDArray[np.float32] = scaled.contiguous().numpy()
        return array

    def _policy(self, replica: int) -> Policy:
        return _MemberPolicy(self, replica)

    def _own_state(self) -> dict[str, Tensor]:
        state = {f"pair.{name}": value for name, value in self._pair.state_dict().items()}
        if self._first is not None:
            first = self._first.state_dict()
            state |= {f"first.{name}": value for name, value in first.items()}
        replay = self._replay.state_dict()
        state |= {f"replay.{name}": to_tensor(value) for name, value in replay.items()}
        for name, generators in self._streams().items():
            state[f"stream.{name}"] = numpy_state(generators)
        state["active"] = torch.from_numpy(self._active.copy())
        state["losses"] = torch.tensor(self.losses, dtype=torch.float64)
        return state

    def _load_own_state(self, state: Mapping[str, Tensor]) -> None:
        def under(prefix: str) -> dict[str, Tensor]:
            return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}

        self._pair.load_state_dict(under("pair."))
        if self._first is not None:
            self._first.load_state_dict(under("first."))
            self._prior_values = self._tabulated_prior()
        self._replay.load_state_dict({k: v.numpy() for k, v in under("replay.").items()})
        for name, generators in self._streams().items():
            set_numpy_state(generators, state[f"stream.{name}"])
        self._active = state["active"].numpy().copy()
        self.losses = state["losses"].tolist()

    def _streams(self) -> dict[str, list[np.random.Generator]]:
        return {
            "replay": self._sampling,
            "member": self._choosing,
            "mask": self._masking,
            "predict": self._predict_choosing,
        }


class _MemberPolicy(Policy):
    """The action of the highest mean over members, or of one member drawn at random."""

    def __init__(self, agent: BootstrappedDQN, replica: int) -> None:
        self._agent = agent
        self._own = slice(replica * agent.num_members, (replica + 1) * agent.num_members)
        self._rng = agent._predict_choosing[replica]

    def actions(self, observation: Tensor, deterministic: bool) -> NDArray[np.int64]:
        q = self._agent.network(observation)[self._own]
        q = q.mean(0) if deterministic else q[int(self._rng.integers(len(q)))]
        best: NDArray[np.int64] = q.argmax(-1).cpu().numpy()
        return best


def _first_linear(members: Ensemble) -> nn.Linear:
    layers = members.part("model").skeleton.children()
    return next(layer for layer in layers if isinstance(layer, nn.Linear))
