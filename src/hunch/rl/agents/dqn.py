"""Deep Q-learning and the six switches that, all on, make it Rainbow.

The agent in four lines: act greedily under one draw of the noise (or ε-greedily without noise),
store the transition, draw a batch, and move Q(s, a) towards r + γ max Q(s', ·) of a target network
that is a copy from a while ago.

A noisy network draws anew in every forward. So the action, the loss, the target and, in double
Q-learning, the choice of the next action each have draws of their own, and the target network is
as noisy as the online one. `predict` uses the mean weights unless told otherwise.

Not here: what is true of every agent. Environments and saving are in `agent`, time and episodes in
`loop`, what outputs mean in `value_heads`, targets in `value_targets`, memory in `replay`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray
from torch import Tensor, nn

from hunch.nn import Ensemble
from hunch.rl.agents.agent import Agent
from hunch.rl.agents.arguments import check_sizes, updates_in_a_round
from hunch.rl.agents.divergence import check_loss
from hunch.rl.agents.epsilon_greedy import (
    DEFAULT_EPSILON,
    DEFAULT_RANDOM_STEPS,
    epsilon_greedy,
    highest,
    random_share,
)
from hunch.rl.agents.replica import NetworkPolicy, Policy, members_of
from hunch.rl.agents.schedules import Linear, schedule, value_at
from hunch.rl.environments.make import EnvLike
from hunch.rl.environments.vector import Bools
from hunch.rl.fast.compiled_objectives import difference_loss
from hunch.rl.fast.compiled_q import compiled_q
from hunch.rl.fast.manual_backprop import FastRunner
from hunch.rl.fast.one_hot_layer import is_one_hot
from hunch.rl.networks.feature_layers import is_pixels
from hunch.rl.networks.noise import FreshNoise
from hunch.rl.networks.parts_of_batch import differentiable_in_parts, values_in_parts
from hunch.rl.networks.runner import Runner
from hunch.rl.networks.target_network import NetworkPair
from hunch.rl.networks.value_heads import ValueHead, make_value_head
from hunch.rl.networks.value_networks import NetworkLike, one_network_each, value_network
from hunch.rl.networks.value_range import ValueRange
from hunch.rl.replay.replay import Replay
from hunch.rl.replay.transitions import Step, Transitions
from hunch.storage.parts import Arrays, Losses, NumpyStreams, Part, TorchStreams
from hunch.validation import real_number, whole_number

DEFAULT_BETA = Linear(0.4, 1.0, steps=100_000)
DEFAULT_ATOMS = 51
DEFAULT_NOISE_DRAWS = 16


class DQN(Agent):
    """A deep Q-learning agent for environments with a finite set of actions.

    Six switches combine freely: `noisy`, `double`, `dueling`, `prioritized`, `n_step` and
    `distributional`. All on is Rainbow.

    Args:
        env: a Gymnasium id, an environment, a function that makes one, or a Gymnasium vector
            environment. Observations are numbers in whatever form (`Box`, `Discrete`,
            `MultiDiscrete`, `MultiBinary`, `Dict` or `Tuple`), actions a finite set (`Discrete`,
            `MultiDiscrete` or `MultiBinary` of at most 10,000 combinations).
        noisy: explore by noise on the weights instead of ε-greedily.
        double: let the online network choose the next action and the target network evaluate it.
        dueling: split the network into one stream for the value of an observation and one for the
            advantages of its actions.
        prioritized: draw transitions in proportion to how wrong the agent was about them.
        n_step: number of rewards summed before a value is asked for, at least 1. None is 5 for
            observations that are rows of numbers, and 3 for images and if `noisy` or
            `distributional`.
        distributional: learn the distribution of the return: `"categorical"` (or True) for C51,
            `"quantile"` for quantile regression.
        discount: γ per environment step, in [0, 1].
        learning_rate: step size of Adam, or a `Linear` schedule over environment steps.
        batch_size: transitions per gradient update.
        replay_capacity: transitions kept.
        min_replay_size: transitions stored before the first gradient update; None is `batch_size`.
        update_period: environment steps from one round of gradient updates to the next. With
            `num_envs` environments a round is due once for each period passed.
        updates_per_round: gradient updates in such a round, each from a batch of its own.
        target_update_period: gradient updates per update of the target network.
        target_update_rate: how far the target network then moves towards the online one, in
            (0, 1]; 1 is a copy.
        max_gradient_norm: the gradient is scaled down to this Euclidean norm; infinite for never.
        epsilon: probability of a random action, a number or a `Linear` schedule over environment
            steps. Without effect if `noisy`. The default falls from 1 to 0.05 within 10,000 steps.
        random_steps: environment steps within which a noisy agent's share of random actions falls
            from 1 to 0; from then on noise alone explores, and for 0 from the first step on.
            Without effect if not `noisy`: ε begins at random by itself.
        noise_draws: draws of the noise in a gradient update, at most `batch_size`: the batch is
            split into as many parts, each under noise of its own in all networks, and the gradient
            is the mean of theirs. None is 16 for observations that are rows of numbers, and 1 for
            images and if `dueling` or `distributional`. Without effect if not `noisy`.
        priority_exponent: α, how strongly large errors are preferred if `prioritized`.
        priority_correction: β, how far importance weights undo that; a number or a schedule.
        atoms: outputs an action if `distributional`.
        value_range: smallest and largest return of the categorical distribution, of rewards times
            `reward_scale`; `"auto"` chooses them from the rewards seen before the first gradient
            update, and widens them when returns beyond come, for each replica by itself. Of a range
            that is given, and cuts off much, a warning tells.
        reward_scale: what rewards are multiplied with before anything is learned from them, above
            0. `"auto"` is 1, or less where the first rewards are large; see the note.
        hidden_sizes: width of each hidden layer of the network that is made if none is given.
        layer_norm: normalise hidden layers of that network before their ReLU. It keeps values
            beyond what was seen in bounds, and noisy agents from unlearning.
        normalize: bring observations to a common scale by their mean and variance so far; see the
            note. One-hot observations and images in bytes have one already, and are refused. None
            divides a number whose bounds keep its size below 1 by the largest size that they
            allow, if observations are rows of numbers that all have bounds; False leaves all as
            they are.
        network: a module from a batch of observations to `(batch, actions)`, or a function without
            arguments that makes one. A module is trained in place; a function is called with the
            agent's seed in force. If `noisy` and no layer is noisy yet, a copy is used in which
            all linear and convolution layers are. With `dueling` or `distributional` it has
            `(actions + dueling) * atoms` outputs, those of the value first. None makes a
            multilayer perceptron, or for images of at least 36 × 36 pixels the convolutions of
            Mnih et al. before it, wherever the channels are. A network of your own gets
            observations as the environment gives them, if `normalize` is not True.
        env_kwargs: keyword arguments for `gymnasium.make`, such as `dict(max_episode_steps=200)`.
        num_envs: environments that each replica plays side by side.
        replicas: agents trained side by side, with the seeds `seed`, `seed + 1`, …; their networks
            are stacked, so many cost little more than one.
        fast: differentiate common layers by hand, in the compiled kernel if it is there; False
            leaves all to torch, which takes 1.9 (16 replicas) to 3.8 times as long for small
            networks and gives the same up to rounding.
        device: where the networks live.
        seed: seed of everything that is left to chance, at least 0.

    Raises:
        ConfigurationError: for an unknown environment, spaces the agent cannot handle, a number
            out of range, or a network that does not fit.

    Attributes:
        network: the online network; with replicas an `hunch.nn.Ensemble` of theirs.
        target_network: its copy from a while ago, in training mode and as noisy.
        observation_scale: what `normalize` does with observations `(replicas, batch, …)` before
            the networks are called; None if it does nothing.
        losses: mean loss of each gradient update.

    Example:
        >>> from hunch.rl import DQN
        >>> agent = DQN("CartPole-v1", noisy=True, double=True, batch_size=8)
        >>> agent.learn(50, progress=False).steps
        50
        >>> agent.predict([0.0, 0.0, 0.1, 0.0]) in (0, 1)
        True

    Reference:
        Mnih et al. (2015), "Human-level control through deep reinforcement learning", algorithm 1;
        Fortunato et al. (2018), "Noisy networks for exploration", algorithm 1;
        van Hasselt, Guez & Silver (2016), "Deep reinforcement learning with double Q-learning";
        Wang et al. (2016), "Dueling network architectures for deep reinforcement learning";
        Schaul et al. (2016), "Prioritized experience replay"; Bellemare, Dabney & Munos (2017), "A
        distributional perspective on reinforcement learning"; Hessel et al. (2018), "Rainbow:
        combining improvements in deep reinforcement learning".

    Note:
        The loss is Huber's with threshold 1, Mnih's clipped error. The optimiser is Adam where the
        papers use RMSProp. With `noisy`, double Q-learning takes its choice from a third draw.

        With `reward_scale="auto"` a replica's rewards before the first gradient update are judged:
        if discounted returns come to more than 128, or would in episodes that never end, all its
        rewards are multiplied by the power of two that leaves 64 to 128 of the largest. It counts γ
        as 0.99 at most. `reward_multiplier` says with what. Small rewards stay small: others may
        come after them. A categorical distribution, whose atoms lie where the returns do, learns
        them at any size: there `"auto"` is 1.

        With `normalize=True` the statistics are of each observation acted on in training, for each
        replica by itself; looking on, as in `predict`, does not move them. Replay keeps
        observations as they were, and each batch is brought to the scale of now. The networks get
        `agent.observation_scale(observations)`, clipped to ±10 standard deviations, also a
        `network` of your own.
    """

    def __init__(
        self,
        env: EnvLike | VectorEnv[Any, Any, Any],
        *,
        noisy: bool = False,
        double: bool = False,
        dueling: bool = False,
        prioritized: bool = False,
        n_step: int | None = None,
        distributional: bool | Literal["categorical", "quantile"] = False,
        discount: float = 0.99,
        learning_rate: float | Linear = 1e-3,
        batch_size: int = 128,
        replay_capacity: int = 100_000,
        min_replay_size: int | None = None,
        update_period: int = 4,
        updates_per_round: int = 1,
        target_update_period: int = 1,
        target_update_rate: float = 0.01,
        max_gradient_norm: float = float("inf"),
        epsilon: float | Linear = DEFAULT_EPSILON,
        random_steps: int = DEFAULT_RANDOM_STEPS,
        noise_draws: int | None = None,
        priority_exponent: float = 0.5,
        priority_correction: float | Linear = DEFAULT_BETA,
        atoms: int = DEFAULT_ATOMS,
        value_range: tuple[float, float] | Literal["auto"] = "auto",
        reward_scale: float | Literal["auto"] = "auto",
        hidden_sizes: Sequence[int] = (128, 128),
        layer_norm: bool = False,
        normalize: bool | None = None,
        network: NetworkLike | None = None,
        env_kwargs: Mapping[str, Any] | None = None,
        num_envs: int = 1,
        replicas: int = 1,
        fast: bool = True,
        device: torch.device | str = "cpu",
        seed: int = 0,
    ) -> None:
        self.noisy, self.fast = bool(noisy), bool(fast)
        self.prioritized = bool(prioritized)
        self.double = bool(double)
        self.discount = real_number("discount", discount, at_least=0.0, at_most=1.0)
        self.learning_rate = schedule("learning_rate", learning_rate)
        self.epsilon = schedule("epsilon", epsilon, at_most=1.0)
        self.random_steps = whole_number("random_steps", random_steps, at_least=0)
        self.priority_correction = schedule("priority_correction", priority_correction, at_most=1.0)
        self.batch_size = whole_number("batch_size", batch_size, at_least=1)
        if n_step is not None:
            n_step = whole_number("n_step", n_step, at_least=1)
        check_sizes(min_replay_size, self.batch_size, replay_capacity, n_step or 1)
        self.update_period = whole_number("update_period", update_period, at_least=1)
        self.updates_per_round = updates_in_a_round(updates_per_round, self.update_period)
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
        self.noise_draws = self._draws(noise_draws, dueling or bool(distributional))
        if n_step is None:
            rows = len(self.observation_shape) == 1
            n_step = default_n_step(self.noisy, bool(distributional), rows)
        self._chose(noise_draws=self.noise_draws, n_step=n_step)
        self.min_replay_size = check_sizes(
            min_replay_size, self.batch_size, replay_capacity, n_step
        )
        self._normalize(normalize, network)
        self._range = ValueRange(
            make_value_head(
                self._num_actions, dueling, distributional, atoms=atoms, value_range=value_range
            ),
            chosen=value_range == "auto",
            discount=self.discount,
            replicas=self.replicas,
        )
        if reward_scale == "auto" and self._range.categorical:  # atoms lie where the returns do
            reward_scale = 1.0
        self._scale_rewards(reward_scale, discount=self.discount)
        self._replay = Replay(
            replay_capacity,
            self.observation_shape,
            self.observation_dtype,
            replicas=self.replicas,
            envs=self.num_envs,
            n_step=n_step,
            discount=self.discount,
            priority_exponent=priority_exponent if prioritized else None,
            frame_stack=self._frame_stack,
        )
        self._sampling = self._numpy_generators("replay")
        self._exploration = self._numpy_generators("exploration")
        # `predict` has streams of its own: looking at an agent must not change what it becomes.
        self._predict_exploration = self._numpy_generators("predict")
        self._predict_noise = self._torch_generators("predict noise")
        self._pair = NetworkPair(
            self._stacked(network, hidden_sizes, layer_norm).to(self.device),
            members=self.replicas if self.replicas > 1 else None,
            max_gradient_norm=max_gradient_norm,
            target_update_period=whole_number(
                "target_update_period", target_update_period, at_least=1
            ),
            target_update_rate=real_number(
                "target_update_rate", target_update_rate, above=0.0, at_most=1.0
            ),
        )
        self._online_noise = FreshNoise(self.network, self._torch_generators("noise"))
        self._target_noise = FreshNoise(self.target_network, self._torch_generators("target noise"))
        self.losses: list[float] = []
        self._link()

    _linked = frozenset({"_online", "_target", "_compiled"})
    _added_arguments: ClassVar[Mapping[str, Any]] = {
        "reward_scale": 1.0,
        "random_steps": 0,
        "noise_draws": 1,
        "normalize": False,
    }

    def _link(self) -> None:
        """Make what runs the layers on the networks' memory."""
        runner = FastRunner if self.fast else Runner
        self._online = runner(
            self.network, self._online_noise, self._pair.parameters, self._pair.gradient
        )
        self._target = runner(self.target_network, self._target_noise)
        if self.noise_draws == 1:
            self._pair.leave_unwritten(self._online.wide_layers())
        head = self.value_head
        values_alone = head.distribution is None and not head.dueling
        self._compiled = compiled_q(self._online, self._target) if values_alone else None

    def _draws(self, noise_draws: int | None, several_outputs: bool) -> int:
        """How many draws of the noise an update has."""
        if noise_draws is not None:
            noise_draws = whole_number(
                "noise_draws", noise_draws, at_least=1, at_most=self.batch_size
            )
        if not self.noisy:
            return 1
        if noise_draws is not None:
            return noise_draws
        rows = len(self.observation_shape) == 1
        return min(DEFAULT_NOISE_DRAWS, self.batch_size) if rows and not several_outputs else 1

    def settle(self) -> None:
        """As `Agent.settle`."""
        if self._pair.settle():
            self._link()
        self._pair.settle_frozen()

    def _stacked(
        self, network: NetworkLike | None, hidden_sizes: Sequence[int], layer_norm: bool
    ) -> nn.Module:
        """The network, or those of all replicas as an ensemble."""

        def make() -> nn.Module:
            return value_network(
                network,
                self.observation_shape,
                self.value_head,
                hidden_sizes,
                noisy=self.noisy,
                layer_norm=layer_norm,
                pixels=is_pixels(self.observation_dtype),
                one_hot=is_one_hot(self._first_env),
            )

        made = one_network_each(make, network, self.replicas, self.seed)
        return made[0] if self.replicas == 1 else Ensemble.from_modules(made)

    @property
    def network(self) -> nn.Module:
        """The online network; with replicas an `hunch.nn.Ensemble` of theirs."""
        return self._pair.online

    @property
    def target_network(self) -> nn.Module:
        """The online network's copy from a while ago, in training mode and as noisy."""
        return self._pair.target

    @property
    def value_head(self) -> ValueHead:
        """What the networks' outputs mean at present."""
        return self._range.value_head

    @property
    def updates(self) -> int:
        """Gradient updates made so far."""
        return self._pair.updates

    @torch.no_grad()
    def act(self, observation: NDArray[Any], is_first: Bools) -> NDArray[np.int64]:
        """The actions to try next in training, `(replicas, envs)`."""
        if self._pair.layout.first_moved:
            self.settle()
        best: Callable[[], NDArray[np.int64]] = partial(self._best, observation)
        share = value_at(self.epsilon, self._loop.steps)
        if self.noisy:
            # Asked for in every step: replicas draw noise together, whichever of them needs it.
            best = best().copy
            share = random_share(self.random_steps, self._loop.steps)
        actions = epsilon_greedy(
            best,
            share,
            self._exploration,
            observation.shape[1],
            self._num_actions,
        )
        return actions + self.first_action

    def _best(self, observation: NDArray[Any]) -> NDArray[np.int64]:
        """The actions of the highest values, `(replicas, envs)`."""
        observation = self._scaled(observation)
        values = None if self._compiled is None else self._compiled.values(observation)
        if values is None:
            return _best(self._range.value_head, self._online(self._seen(observation)))
        return highest(values)

    def _seen(self, observation: NDArray[Any]) -> Tensor:
        """Observations as the networks take them."""
        if observation.dtype == np.uint8 and self._online.takes_bytes:
            return torch.from_numpy(np.ascontiguousarray(observation))
        return self._tensor(observation)

    def observe(self, step: Step) -> None:
        """Store a step of all environments; update the network as often as it is time to."""
        if self.first_action:  # a copy of the step costs as much as a check of it
            step = step._replace(action=step.action - self.first_action)
        self._replay.add(self._reward_scale.of_step(step))
        self._take_in(step)
        if len(self._replay) < self.min_replay_size or not self._replay.num_drawable:
            return
        self._reward_scale.judge(self._replay)
        if self._range.chooses:
            self._range.look(self._replay)
        beta = value_at(self.priority_correction, self._loop.steps) if self.prioritized else 1.0
        for _ in range(self._rounds_due() * self.updates_per_round):
            self._update(self._replay.sample(self.batch_size, self._sampling, beta))

    @torch.no_grad()
    def _update(self, batch: Transitions) -> None:
        """Make one gradient update, and one of the target network if it is time to."""
        if self._pair.layout.moved:
            self.settle()
        if self.observation_scale is not None:
            batch = self.observation_scale.of_batch(batch)
        compiled, draws = self._compiled, self.noise_draws
        found = None if compiled is None else compiled.gradient(batch, self.double, draws)
        loss, error = found or self._gradient(batch)
        mean_loss = check_loss(loss / self.replicas, self._pair.updates)
        self._pair.step(value_at(self.learning_rate, self._loop.steps))
        self.losses.append(mean_loss)
        if batch.weight is not None:
            self._replay.update_priorities(batch.position, error.cpu().numpy())

    def _gradient(self, batch: Transitions) -> tuple[float, Tensor]:
        """Write the gradient of the loss of a batch; that loss, and the size of each error."""
        draws, next_observation = self.noise_draws, self._seen(batch.next_observation)
        following = values_in_parts(self._target, next_observation, draws)
        selecting = None
        if self.double:
            selecting = values_in_parts(self._online, next_observation, draws)
        output, backward = differentiable_in_parts(
            self._online, self._seen(batch.observation), draws, self._pair.gradient
        )
        # A sum over replicas gives each the gradient that it would have alone.
        loss, gradient, error = self._loss(output, following, selecting, batch)
        backward(gradient)
        return loss, error

    def _loss(
        self, output: Tensor, following: Tensor, selecting: Tensor | None, batch: Transitions
    ) -> tuple[float, Tensor, Tensor]:
        """Loss of a batch, its gradient at the outputs, and the size of each error.

        Args:
            output: of the online network.
            following: of the target network for the next observations.
            selecting: of what chooses there, if that is not the target network.
            batch: the transitions.
        """
        value_head = self._range.value_head
        if self.fast and value_head.distribution is None:
            width, dueling = value_head.actions, value_head.dueling
            found = difference_loss(
                output, following, selecting, batch, actions=width, dueling=dueling
            )
            if found is not None:
                return found
        reward, discount, action = (
            torch.from_numpy(values).to(self.device)
            for values in (batch.reward, batch.discount, batch.action)
        )
        weight = None if batch.weight is None else torch.from_numpy(batch.weight).to(self.device)
        predicted = value_head.split(following)
        chooses = predicted if selecting is None else value_head.split(selecting)
        outcome = reward, discount, predicted, chooses
        if self._range.categorical and self._range.watches(self._pair.updates):
            self._range.take_notice(value_head.beyond(*outcome))
        loss, gradient, error = value_head.loss(output, action, value_head.target(*outcome), weight)
        return loss.item(), gradient, error

    def policy(self, replica: int) -> Policy:
        """As `Agent.policy`."""
        return self._asking(replica, partial(self._chosen, replica))

    def _asking(self, replica: int, choose: Callable[[Tensor, bool], NDArray[Any]]) -> Policy:
        """What asks a replica's network, and chooses by what that says."""
        network = members_of(self.network, self.replicas, replica)
        policy = NetworkPolicy(network, self._predict_noise[replica], choose)
        return self._scaled_policy(policy, replica, as_it_is=self.replicas > 1)

    def _chosen(self, replica: int, output: Tensor, deterministic: bool) -> NDArray[np.int64]:
        """A replica's actions outside training, given the outputs of its network."""
        best = _best(self.value_head.of(replica), output)
        if deterministic or self.noisy:
            return best
        rng = self._predict_exploration[replica]
        random = rng.random(len(best)) < value_at(self.epsilon, self.steps)
        return np.where(random, rng.integers(self._num_actions, size=len(best)), best)

    def state_values(self, observation: Tensor, replica: int) -> NDArray[np.float32]:
        """As `Agent.state_values`: of the best action."""
        head = self.value_head.of(replica)

        def best(output: Tensor, _: bool) -> NDArray[Any]:
            return head.values(head.split(output)).amax(-1).cpu().numpy()

        found = self._asking(replica, best).actions(observation, deterministic=True)
        return self._in_rewards(found, replica)

    def parts(self) -> dict[str, Part]:
        """As `Agent.parts`."""
        return {
            "pair": self._pair,
            "replay": Arrays(self._replay),
            "noise": self._online_noise,
            "target noise": self._target_noise,
            "stream.replay": NumpyStreams(self._sampling),
            "stream.exploration": NumpyStreams(self._exploration),
            "stream.predict": NumpyStreams(self._predict_exploration),
            "stream.predict noise": TorchStreams(self._predict_noise),
            "range": self._range,
            "losses": Losses(self.losses),
            **self._scales(),
        }


def default_n_step(noisy: bool, distributional: bool, rows: bool = True) -> int:
    """How many rewards `DQN` sums if it is not told.

    Args:
        noisy: as of the agent.
        distributional: whether it is in any way.
        rows: whether observations are rows of numbers.

    Example:
        >>> default_n_step(noisy=False, distributional=False)
        5
    """
    return 5 if rows and not noisy and not distributional else 3


def _best(value_head: ValueHead, output: Tensor) -> NDArray[np.int64]:
    return highest(value_head.values(value_head.split(output)).cpu().numpy())
