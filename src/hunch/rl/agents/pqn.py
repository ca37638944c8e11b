"""Q-learning from many environments at once, without replay and without a target network.

The agent in four lines: all environments play a few steps; what each step led to is its λ-return,
whose values are the highest ones of the network as it is; the network moves towards these in
several passes over the rollout, in batches; the rollout is forgotten. That such a network does not
run away from itself is due to the normalisation of its hidden layers.

It explores ε-greedily; or by noise on the weights, new in every forward; or by members with priors,
one of which plays each environment's episode while all of them learn from all steps.

Not here: what is true of every agent (`agent`), networks that give values (`action_values`), the
returns (`advantages`), the loss (`losses`), steps kept (`rollout`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Final, Literal

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray
from torch import Tensor, nn

from hunch.errors import ConfigurationError
from hunch.rl.agents.agent import Agent
from hunch.rl.agents.divergence import check_loss
from hunch.rl.agents.epsilon_greedy import DEFAULT_EPSILON, epsilon_greedy, highest
from hunch.rl.agents.replica import NetworkPolicy, Policy, ValuePolicy
from hunch.rl.agents.schedules import Linear, schedule, value_at
from hunch.rl.environments.make import EnvLike
from hunch.rl.environments.vector import Bools
from hunch.rl.fast.compiled_objectives import whole_lambda_returns
from hunch.rl.fast.one_hot_layer import is_one_hot
from hunch.rl.networks.feature_layers import is_pixels
from hunch.rl.networks.value_heads import ValueHead
from hunch.rl.networks.value_networks import (
    NetworkLike,
    noisy_layers,
    one_network_each,
    value_network,
)
from hunch.rl.objectives.advantages import lambda_returns
from hunch.rl.objectives.losses import value_loss
from hunch.rl.replay.rollout import Rollout, Trajectory
from hunch.rl.replay.transitions import Step
from hunch.rl.value_ensembles.action_values import ActionValues
from hunch.rl.value_ensembles.value_ensemble import EnsembleConfig, members_with_priors
from hunch.storage.parts import Arrays, Losses, NumpyStreams, Part, TorchStreams
from hunch.validation import real_number, whole_number

DEFAULT_ENVS: Final = 16
_MOST_MEMBERS: Final = 10_000


class PQN(Agent):
    """A Q-learning agent for environments with a finite set of actions, from short rollouts.

    Args:
        env: a Gymnasium id, an environment, a function that makes one, or a Gymnasium vector
            environment. Observations are numbers in whatever form (`Box`, `Discrete`,
            `MultiDiscrete`, `MultiBinary`, `Dict` or `Tuple`), actions a finite set (`Discrete`,
            `MultiDiscrete` or `MultiBinary` of at most 10,000 combinations).
        noisy: explore by noise on the weights instead of ε-greedily.
        num_members: K, above 1 an ensemble with randomised priors: a member drawn before each
            episode plays it greedily in its environment, and all members learn from all steps.
        prior_scale: how strongly the priors speak, in units of reward times `reward_scale`; 0 for
            no priors. Without effect with one member.
        rollout_length: steps that each environment plays from one round of updates to the next.
        td_lambda: λ of the returns that values are trained towards, from 0 (one step) to 1 (all
            steps to the rollout's end).
        epochs: passes over each rollout.
        batch_size: steps per gradient update; a rollout is split into as many batches as that
            takes, all of one size or one less.
        discount: γ per environment step, in [0, 1].
        learning_rate: step size of Adam, or a `Linear` schedule over environment steps.
        max_gradient_norm: each network's gradient is scaled down to this Euclidean norm; infinite
            for never.
        epsilon: probability of a random action, a number or a `Linear` schedule over environment
            steps. Without effect if `noisy` or with several members. The default falls from 1 to
            0.05 within 10,000 steps.
        reward_scale: what rewards are multiplied with before anything is learned from them, above
            0. `"auto"` is 0.1, or less where the first rewards are large; see the note.
        hidden_sizes: width of each hidden layer of the network that is made if none is given.
        layer_norm: normalise hidden layers of that network before their ReLU, on which the method
            stands: without a target network others diverge.
        normalize: bring observations to a common scale by their mean and variance so far; see the
            note. One-hot observations and images in bytes have one already, and are refused. None
            divides a number whose bounds keep its size below 1 by the largest size that they
            allow, if observations are rows of numbers that all have bounds; False leaves all as
            they are.
        network: a module from a batch of observations to `(batch, actions)`, or a function without
            arguments that makes one, as for `hunch.rl.DQN`; for several members a function, each
            of whose networks gets a prior of the same kind.
        env_kwargs: keyword arguments for `gymnasium.make`.
        num_envs: environments that each replica plays side by side.
        replicas: agents trained side by side, with the seeds `seed`, `seed + 1`, …
        device: where the networks live.
        seed: seed of everything that is left to chance, at least 0.

    Raises:
        ConfigurationError: for an unknown environment, spaces the agent cannot handle, a number
            out of range, or a network that does not fit.

    Attributes:
        network: the network; with replicas or members an `hunch.nn.Ensemble` of all, those of the
            first replica first, members as `hunch.nn.RandomizedPrior`.
        observation_scale: what `normalize` does with observations `(replicas, batch, …)` before
            the networks are called; None if it does nothing.
        losses: loss of each gradient update, the mean over replicas and members.

    Example:
        >>> from hunch.rl import PQN
        >>> agent = PQN("CartPole-v1", num_envs=4, rollout_length=8, epochs=2, batch_size=16)
        >>> agent.learn(100, progress=False).updates
        12
        >>> agent.predict([0.0, 0.0, 0.1, 0.0]) in (0, 1)
        True

    Reference:
        Gallici et al. (2025), "Simplifying deep temporal difference learning", algorithm 1 with
        λ-returns; Peng & Williams (1996), "Incremental multi-step Q-learning"; Fortunato et al.
        (2018), "Noisy networks for exploration"; Osband, Aslanides & Cassirer (2018), "Randomized
        prior functions for deep reinforcement learning".

    Note:
        The loss is half the squared error. The optimiser is Adam where the paper has RAdam. The
        normalisation has no weights of its own, and stands behind linear layers only. Returns are
        not cut where an action was not the greedy one. The noise of a noisy agent is new in every
        step, in which all its environments share it, and in every batch.

        With `reward_scale="auto"` a replica's rewards of the first rollout are judged: if
        discounted returns come to more than 128, or would in episodes that never end, all its
        rewards are also multiplied by the power of two that leaves 64 to 128 of the largest. It
        counts γ as 0.99 at most. `reward_multiplier` says with what. Small rewards stay small:
        others may come after them.

        With `normalize=True` the statistics are of each observation acted on in training, for each
        replica by itself; looking on, as in `predict`, does not move them. A rollout is brought to
        the scale that there is at its end. All networks, priors too, get
        `agent.observation_scale(observations)`, clipped to ±10 standard deviations.
    """

    usual_reward_multiplier: ClassVar[float] = 0.1

    def __init__(
        self,
        env: EnvLike | VectorEnv[Any, Any, Any],
        *,
        noisy: bool = False,
        num_members: int = 1,
        prior_scale: float = 3.0,
        rollout_length: int = 32,
        td_lambda: float = 0.9,
        epochs: int = 4,
        batch_size: int = 64,
        discount: float = 0.99,
        learning_rate: float | Linear = 5e-4,
        max_gradient_norm: float = 10.0,
        epsilon: float | Linear = DEFAULT_EPSILON,
        reward_scale: float | Literal["auto"] = "auto",
        hidden_sizes: Sequence[int] = (128, 128),
        layer_norm: bool = True,
        normalize: bool | None = None,
        network: NetworkLike | None = None,
        env_kwargs: Mapping[str, Any] | None = None,
        num_envs: int = DEFAULT_ENVS,
        replicas: int = 1,
        device: torch.device | str = "cpu",
        seed: int = 0,
    ) -> None:
        self.noisy = bool(noisy)
        self.num_members = whole_number(
            "num_members", num_members, at_least=1, at_most=_MOST_MEMBERS
        )
        if self.noisy and self.num_members > 1:
            raise ConfigurationError(
                f"`noisy` got {noisy!r} with num_members={self.num_members}; expected one of the "
                "two: members explore by their priors, and not by noise."
            )
        self.prior_scale = real_number("prior_scale", prior_scale, at_least=0.0)
        self.rollout_length = whole_number("rollout_length", rollout_length, at_least=1)
        self.td_lambda = real_number("td_lambda", td_lambda, at_least=0.0, at_most=1.0)
        self.epochs = whole_number("epochs", epochs, at_least=1)
        self.batch_size = whole_number("batch_size", batch_size, at_least=1)
        self.discount = real_number("discount", discount, at_least=0.0, at_most=1.0)
        self.learning_rate = schedule("learning_rate", learning_rate)
        if max_gradient_norm != float("inf"):
            real_number("max_gradient_norm", max_gradient_norm, above=0.0)
        self.epsilon = schedule("epsilon", epsilon, at_most=1.0)
        if isinstance(env, VectorEnv) and num_envs == DEFAULT_ENVS:
            num_envs = env.num_envs
        super().__init__(
            env,
            env_kwargs=env_kwargs,
            num_envs=num_envs,
            replicas=replicas,
            device=device,
            seed=seed,
        )
        self._scale_rewards(reward_scale, discount=self.discount)
        self._normalize(normalize, network)
        self._values = ActionValues(
            self._networks(network, hidden_sizes, layer_norm),
            self._config,
            prior_scale=self.prior_scale,
            max_gradient_norm=max_gradient_norm,
            noise=self._torch_generators("noise"),
        )
        self._rollout = Rollout()
        self._order = self._numpy_generators("order")
        self._exploration = self._numpy_generators("exploration")
        # `predict` has streams of its own: looking at an agent must not change what it becomes.
        self._predict_exploration = self._numpy_generators("predict")
        self._predict_noise = self._torch_generators("predict noise")
        self.losses: list[float] = []

    _added_arguments: ClassVar[Mapping[str, Any]] = {"normalize": False}

    @property
    def _config(self) -> EnsembleConfig:
        return EnsembleConfig(
            replicas=self.replicas,
            envs=self.num_envs,
            members=self.num_members,
            actions=self._num_actions,
            observation_shape=self.observation_shape,
            one_hot=False,
            fast=True,
            device=self.device,
            seed=self.seed,
        )

    def _networks(
        self, network: NetworkLike | None, hidden_sizes: Sequence[int], layer_norm: bool
    ) -> list[nn.Module]:
        """A network for each replica, or for each member of it one with a prior."""

        def make(norm: bool = layer_norm) -> nn.Module:
            return value_network(
                network,
                self.observation_shape,
                ValueHead(self._num_actions),
                hidden_sizes,
                noisy=self.noisy,
                layer_norm=norm,
                pixels=is_pixels(self.observation_dtype),
                one_hot=is_one_hot(self._first_env),
            )

        if self.num_members == 1:
            return one_network_each(make, network, self.replicas, self.seed)
        if isinstance(network, nn.Module):
            raise ConfigurationError(
                f"`network` got a module for {self.num_members} members; expected a function "
                "without arguments that makes one, to be called for each member and each prior."
            )
        made = members_with_priors(self._config, make, partial(make, norm=False), self.prior_scale)
        if noisy_layers(made[0]):
            raise ConfigurationError(
                "`network` has noisy layers with several members; expected a network without "
                "noise: members explore by their priors."
            )
        return made

    @property
    def network(self) -> nn.Module:
        """The network; with replicas or members an `hunch.nn.Ensemble` of all."""
        return self._values.networks.stacked

    @property
    def updates(self) -> int:
        """Gradient updates made so far."""
        return self._values.networks.updates[0]

    def settle(self) -> None:
        """As `Agent.settle`."""
        self._values.settle()

    def act(self, observation: NDArray[Any], is_first: Bools) -> NDArray[np.int64]:
        """The actions to try next in training, `(replicas, envs)`."""
        if self._values.networks.layout.first_moved:
            self.settle()
        self._values.choose(is_first)
        best = partial(self._best, observation)
        index = epsilon_greedy(
            best, self._epsilon, self._exploration, self.num_envs, self._num_actions
        )
        return index + self.first_action

    def _best(self, observation: NDArray[Any]) -> NDArray[np.int64]:
        return highest(self._values.played(self._scaled(observation)))

    @property
    def _epsilon(self) -> float:
        """The probability of a random action now."""
        if self.noisy or self.num_members > 1:
            return 0.0
        return value_at(self.epsilon, self.steps)

    def observe(self, step: Step) -> None:
        """Keep a step of all environments; learn from the rollout when it is as long as asked."""
        self._rollout.add(step, step.action - self.first_action, counts=step.valid)
        self._take_in(step)
        if len(self._rollout) == self.rollout_length:
            try:
                self._learn(self._rollout.since(0))
            finally:
                self._rollout.forget(self.rollout_length)

    def _learn(self, trajectory: Trajectory) -> None:
        """Make all updates of a rollout."""
        if not trajectory.counts.any():  # nothing but first steps of episodes
            return
        trajectory = self._reward_scale.of_trajectory(trajectory)
        if self._values.networks.layout.moved:
            self.settle()
        observation = self._scaled(trajectory.rows(trajectory.observation))
        prior = self._values.prior(observation)
        target = self._targets(trajectory, observation, prior)
        action = trajectory.rows(trajectory.raw)
        replica, count = np.arange(self.replicas)[:, None], action.shape[1]
        for _ in range(self.epochs):
            order = np.stack([rng.permutation(count) for rng in self._order])
            for rows in np.array_split(order, -(-count // self.batch_size), axis=1):
                at = (replica, rows)
                own = None if prior is None else prior[at]
                self._update(observation[at], action[at], target[at], own)

    def _targets(
        self,
        trajectory: Trajectory,
        observation: NDArray[Any],
        prior: NDArray[np.float32] | None,
    ) -> NDArray[np.float32]:
        """The λ-returns of all steps for each member, `(replicas, rows, members)`."""
        values = self._values
        # What the steps led to that nothing follows, `(replicas, times · envs, …)`.
        led_to = trajectory.bootstrap_observation.swapaxes(0, 1)
        rows = self._scaled(led_to.reshape(self.replicas, -1, *self.observation_shape))
        with values.noise.one_draw():
            best = values.values(observation, prior).amax(-1).cpu().numpy()
            after = values.values(rows, values.prior(rows)).amax(-1).cpu().numpy()
        after = after.reshape(self.replicas, self.num_members, -1, self.num_envs)
        returns = [
            self._returns(trajectory, best[:, k], after[:, k].swapaxes(0, 1))
            for k in range(self.num_members)
        ]
        return np.stack(returns, axis=-1)

    def _returns(
        self,
        trajectory: Trajectory,
        value: NDArray[np.float32],
        bootstrap_value: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        """What each step led to by one member's values, `(replicas, rows)`."""
        how = {
            "discount": self.discount,
            "gae_lambda": self.td_lambda,
            "reward_scale": self._reward_scale.fixed,
        }
        found = whole_lambda_returns(trajectory, value, bootstrap_value, **how)
        if found is None:
            found = lambda_returns(trajectory, value, bootstrap_value, **how)
        return found

    def _update(
        self,
        observation: NDArray[Any],
        action: NDArray[np.int64],
        target: NDArray[np.float32],
        prior: NDArray[np.float32] | None,
    ) -> None:
        """Make one gradient update; every array has shape `(replicas, batch, …)`."""
        values, learn = self._values.differentiable(observation, prior)
        loss, gradient, _ = value_loss(
            values,
            torch.from_numpy(action).to(self.device),
            self._tensor(target.swapaxes(1, 2)),
        )
        self.losses.append(check_loss(loss, self.updates))
        learn(gradient, value_at(self.learning_rate, self.steps))

    def policy(self, replica: int) -> Policy:
        """As `Agent.policy`."""
        if self.num_members > 1:
            members = ValuePolicy(lambda x, best: self._values.predicted(x, replica, best))
            return self._scaled_policy(members, replica)
        network = self._values.networks.per_replica[replica]
        noise = self._predict_noise[replica]
        policy = NetworkPolicy(network, noise, partial(self._chosen, replica))
        return self._scaled_policy(policy, replica)

    def _chosen(self, replica: int, output: Tensor, deterministic: bool) -> NDArray[np.int64]:
        """A replica's actions outside training, given the outputs of its network."""
        best = highest(output.cpu().numpy())
        epsilon = 0.0 if deterministic else self._epsilon
        rngs = self._predict_exploration[replica : replica + 1]
        chosen = epsilon_greedy(lambda: best[None], epsilon, rngs, len(best), self._num_actions)
        return chosen.reshape(-1)

    def parts(self) -> dict[str, Part]:
        """As `Agent.parts`."""
        return {
            "values": self._values,
            "rollout": Arrays(self._rollout),
            "stream.order": NumpyStreams(self._order),
            "stream.exploration": NumpyStreams(self._exploration),
            "stream.predict": NumpyStreams(self._predict_exploration),
            "stream.predict noise": TorchStreams(self._predict_noise),
            "losses": Losses(self.losses),
            **self._scales(),
        }
