"""Deep Q-learning, with the noise of `hunch.nn` for exploration and double Q-learning as switches.

The agent in four lines: act greedily under one draw of the noise (or ε-greedily without noise),
store the transition, draw a batch, and move Q(s, a) towards r + γ max Q(s', ·) of a target network
that is a copy from a while ago.

A noisy network draws anew in every forward. So the action, the loss, the target and, in double
Q-learning, the choice of the next action each have a draw of their own, and the target network is
as noisy as the online one. `predict` uses the mean weights unless told otherwise.

Not here: what is true of every agent. Time and episodes are in `training`, targets in `returns`,
memory in `replay`.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.nn import functional as F

from hunch.errors import ConfigurationError, ShapeError
from hunch.nn import noise
from hunch.rl.arguments import real_number, whole_number
from hunch.rl.environments import (
    Env,
    EnvLike,
    another_env,
    check_spaces,
    make_env,
    rendering_env,
    stored_dtype,
)
from hunch.rl.networks import (
    FreshNoise,
    NetworkLike,
    action_values,
    as_vector,
    gradient_vector,
    noisy_layers,
)
from hunch.rl.replay import Replay, Transitions
from hunch.rl.returns import chosen, double_value, max_value, one_step_target
from hunch.rl.schedules import Linear, value_at
from hunch.rl.training import History, TrainingLoop
from hunch.seeding import (
    check_seed,
    default_generator_seeded,
    numpy_generator,
    torch_generator,
)

DEFAULT_EPSILON = Linear(1.0, 0.05, steps=10_000)


class DQN:
    """A deep Q-learning agent for environments with a finite set of actions.

    Args:
        env: a Gymnasium id, an environment, or a function that makes one. Observations must be a
            `Box`, actions `Discrete`.
        noisy: explore by noise on the weights instead of ε-greedily.
        double: let the online network choose the next action and the target network judge it.
        discount: γ per environment step, in [0, 1].
        learning_rate: step size of Adam, or a `Linear` schedule over environment steps.
        batch_size: transitions per gradient update.
        replay_capacity: transitions kept.
        min_replay_size: transitions stored before the first gradient update.
        update_period: environment steps from one round of gradient updates to the next.
        updates_per_round: gradient updates in such a round, each from a batch of its own.
        target_update_period: gradient updates per update of the target network.
        target_update_rate: how far the target network then moves towards the online one, in
            (0, 1]; 1 is a copy.
        max_gradient_norm: the gradient is scaled down to this Euclidean norm; infinite for never.
        epsilon: probability of a random action, a number or a `Linear` schedule over environment
            steps. Without effect if `noisy`. The default falls from 1 to 0.05 within 10,000 steps.
        hidden_sizes: width of each hidden layer of the network that is made if none is given.
        network: a module from a batch of observations to `(batch, actions)`, or a function without
            arguments that makes one. A module is trained in place; a function is called with the
            agent's seed in force. If `noisy` and no layer is noisy yet, a copy is used in which
            all linear and convolution layers are.
        env_kwargs: keyword arguments for `gymnasium.make`, such as `dict(max_episode_steps=200)`.
        device: where the networks live.
        seed: seed of everything that is left to chance, at least 0.

    Raises:
        ConfigurationError: for an unknown environment, spaces the agent cannot handle, a number
            out of range, or a network that does not fit.

    Attributes:
        network: the online network.
        target_network: its copy from a while ago, in training mode and as noisy.
        losses: loss of each gradient update.

    Example:
        >>> from hunch.rl import DQN
        >>> agent = DQN("CartPole-v1", noisy=True, double=True, batch_size=8, min_replay_size=8)
        >>> agent.learn(50, progress=False).steps
        50
        >>> agent.predict([0.0, 0.0, 0.1, 0.0]) in (0, 1)
        True

    Reference:
        Mnih et al. (2015), "Human-level control through deep reinforcement learning", algorithm 1;
        Fortunato et al. (2018), "Noisy networks for exploration", algorithm 1;
        van Hasselt, Guez & Silver (2016), "Deep reinforcement learning with double Q-learning".

    Note:
        The loss is Huber's with threshold 1, Mnih's clipped error. The optimiser is Adam where the
        papers use RMSProp. With `noisy`, double Q-learning takes its choice from a third draw.
    """

    def __init__(
        self,
        env: EnvLike,
        *,
        noisy: bool = False,
        double: bool = False,
        discount: float = 0.99,
        learning_rate: float | Linear = 1e-3,
        batch_size: int = 128,
        replay_capacity: int = 10_000,
        min_replay_size: int = 128,
        update_period: int = 1,
        updates_per_round: int = 1,
        target_update_period: int = 150,
        target_update_rate: float = 1.0,
        max_gradient_norm: float = float("inf"),
        epsilon: float | Linear = DEFAULT_EPSILON,
        hidden_sizes: Sequence[int] = (128, 128),
        network: NetworkLike | None = None,
        env_kwargs: Mapping[str, Any] | None = None,
        device: torch.device | str = "cpu",
        seed: int = 0,
    ) -> None:
        self.seed = check_seed(seed)
        self.noisy = bool(noisy)
        self.double = bool(double)
        self.discount = real_number("discount", discount, at_least=0.0, at_most=1.0)
        self.learning_rate = _schedule("learning_rate", learning_rate, at_most=float("inf"))
        self.epsilon = _schedule("epsilon", epsilon, at_most=1.0)
        self.batch_size = whole_number("batch_size", batch_size, at_least=1)
        self.min_replay_size = whole_number("min_replay_size", min_replay_size, at_least=1)
        self.update_period = whole_number("update_period", update_period, at_least=1)
        self.updates_per_round = whole_number("updates_per_round", updates_per_round, at_least=1)
        self.target_update_period = whole_number(
            "target_update_period", target_update_period, at_least=1
        )
        self.target_update_rate = real_number(
            "target_update_rate", target_update_rate, above=0.0, at_most=1.0
        )
        self.max_gradient_norm = max_gradient_norm
        if max_gradient_norm != float("inf"):
            self.max_gradient_norm = real_number("max_gradient_norm", max_gradient_norm, above=0.0)
        replay_capacity = whole_number("replay_capacity", replay_capacity, at_least=1)
        if self.min_replay_size > replay_capacity:
            raise ConfigurationError(
                f"`min_replay_size` got {min_replay_size}; expected at most "
                f"`replay_capacity`={replay_capacity}, or the agent would never learn."
            )
        self._env_source, self._env_kwargs = env, dict(env_kwargs or {})
        self._loop = TrainingLoop(make_env(env, env_kwargs), self.seed)
        observations, actions = check_spaces(self._loop.env)
        self._observation_shape = observations.shape
        self._num_actions, self._first_action = int(actions.n), int(actions.start)
        self._replay = Replay(replay_capacity, observations.shape, stored_dtype(observations))
        self._sampling = numpy_generator(self.seed, "replay")
        self._exploration = numpy_generator(self.seed, "exploration")
        # `predict` has streams of its own: looking at an agent must not change what it becomes.
        self._predict_exploration = numpy_generator(self.seed, "predict")
        self._predict_noise = torch_generator(self.seed, "predict noise")

        self.device = _device(device)
        with default_generator_seeded(self.seed, "network"):
            self.network = action_values(
                network, observations.shape, self._num_actions, hidden_sizes, noisy=self.noisy
            ).to(self.device)
        self.target_network = copy.deepcopy(self.network).requires_grad_(False)
        self._online = FreshNoise(self.network, torch_generator(self.seed, "noise"))
        self._target = FreshNoise(self.target_network, torch_generator(self.seed, "target noise"))
        # Frozen parameters, such as those of a prior function, stay as they are in both networks.
        pairs = zip(self.network.parameters(), self.target_network.parameters(), strict=True)
        trained = [pair for pair in pairs if pair[0].requires_grad]
        self._parameters = [online for online, _ in trained]
        self._vector = as_vector(self._parameters)
        self._target_vector = as_vector([target for _, target in trained])
        # The fused kernel takes a third of the default's time on a CPU.
        fused = self.device.type in ("cpu", "cuda")
        self._optimizer = torch.optim.Adam([self._vector], fused=fused)
        self.losses: list[float] = []

    @property
    def steps(self) -> int:
        """Environment steps made in training so far."""
        return self._loop.steps

    @property
    def updates(self) -> int:
        """Gradient updates made so far."""
        return len(self.losses)

    @property
    def history(self) -> History:
        """Returns, lengths and ends of the training episodes finished so far."""
        return self._loop.history

    def another_env(self) -> Env:
        """A new environment like the one that the agent is trained on."""
        return another_env(self._env_source, self._env_kwargs)

    def rendering_env(self) -> Env:
        """A new environment like the one that the agent is trained on, which draws pictures."""
        return rendering_env(self._env_source, self._env_kwargs)

    def learn(self, steps: int, *, progress: bool = True) -> DQN:
        """Learn until the agent has made `steps` environment steps in its life.

        A second `learn(20_000)` does nothing, `learn(30_000)` adds 10,000 steps.

        Args:
            steps: environment steps, all earlier calls included; at least 0.
            progress: whether to show a bar on standard error.

        Returns:
            The agent itself.

        Raises:
            ConfigurationError: if `steps` is no integer of at least 0.
            KeyboardInterrupt: if interrupted, between two steps; the agent may learn on.
        """
        self._loop.run(self, whole_number("steps", steps, at_least=0), progress=progress)
        return self

    @torch.no_grad()
    def predict(self, observation: ArrayLike, deterministic: bool = True) -> Any:
        """The action for one observation, or the actions for a batch of them.

        Args:
            observation: one observation, or a batch with the batch on axis 0.
            deterministic: take the best action under the mean weights. If False, explore as in
                training: one draw of the noise for the whole batch, or ε-greedily.

        Returns:
            An int for one observation, an int64 array of shape `(batch,)` for a batch.

        Raises:
            ShapeError: if `observation` is neither.
        """
        given = np.array(observation, np.float32)
        if single := given.shape == self._observation_shape:
            given = given[None]
        if given.shape[1:] != self._observation_shape or given.ndim == 0:
            raise ShapeError(
                f"`observation` got shape {np.shape(observation)}; expected "
                f"{self._observation_shape} or a batch (batch, "
                f"{', '.join(map(str, self._observation_shape))})."
            )
        actions = self._predict(self._tensor(given), deterministic) + self._first_action
        return int(actions[0]) if single else actions

    def _predict(self, observation: Tensor, deterministic: bool) -> NDArray[np.int64]:
        training = self.network.training
        self.network.train(not deterministic)
        try:
            if noisy_layers(self.network):
                with noise(
                    self.network,
                    "off" if deterministic else "fresh",
                    generator=self._predict_noise,
                ):
                    q = self.network(observation)
            else:
                q = self.network(observation)
        finally:
            self.network.train(training)
        best: NDArray[np.int64] = q.argmax(1).cpu().numpy()
        if deterministic or self.noisy:
            return best
        rng = self._predict_exploration
        random = rng.random(len(best)) < value_at(self.epsilon, self.steps)
        return np.where(random, rng.integers(self._num_actions, size=len(best)), best)

    @torch.no_grad()
    def act(self, observation: NDArray[Any]) -> int:
        """The action to try next in training."""
        if not self.noisy and self._exploration.random() < value_at(self.epsilon, self.steps):
            return int(self._exploration.integers(self._num_actions)) + self._first_action
        q = self._online(self._tensor(observation[None]))
        return int(q.argmax()) + self._first_action

    def observe(
        self,
        observation: NDArray[Any],
        action: int,
        reward: float,
        next_observation: NDArray[Any],
        terminated: bool,
        truncated: bool,
    ) -> None:
        """Store a transition; update the network if it is time to."""
        index = action - self._first_action
        self._replay.add(observation, index, reward, next_observation, terminated)
        if len(self._replay) >= self.min_replay_size and self.steps % self.update_period == 0:
            for _ in range(self.updates_per_round):
                self._update(self._replay.sample(self.batch_size, self._sampling))

    def _update(self, batch: Transitions) -> None:
        """Make one gradient update, and one of the target network if it is time to."""
        loss = self._loss(batch)
        gradient = gradient_vector(loss, self._parameters)
        if self.max_gradient_norm < float("inf"):
            gradient *= (self.max_gradient_norm / gradient.norm()).clamp(max=1.0)
        self._vector.grad = gradient
        self._optimizer.param_groups[0]["lr"] = value_at(self.learning_rate, self.steps)
        self._optimizer.step()
        self.losses.append(loss.item())
        if self.updates % self.target_update_period == 0:
            self._update_target()

    def _loss(self, batch: Transitions) -> Tensor:
        """Huber loss between the values of the actions taken and their targets."""
        next_observation = self._tensor(batch.next_observation)
        with torch.no_grad():
            q_next = self._target(next_observation)
            if self.double:
                next_value = double_value(q_next, self._online(next_observation))
            else:
                next_value = max_value(q_next)
            target = one_step_target(
                self._tensor(batch.reward),
                torch.from_numpy(batch.terminated).to(self.device),
                next_value,
                self.discount,
            )
        action = torch.from_numpy(batch.action).to(self.device)
        q = chosen(self._online(self._tensor(batch.observation)), action)
        return F.smooth_l1_loss(q, target)

    @torch.no_grad()
    def _update_target(self) -> None:
        """Move the target network towards the online one."""
        self._target_vector.lerp_(self._vector, self.target_update_rate)
        buffers = zip(self.target_network.buffers(), self.network.buffers(), strict=True)
        for ours, theirs in buffers:
            ours.copy_(theirs)

    def _tensor(self, array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array, np.float32)).to(self.device)


def _schedule(name: str, value: float | Linear, *, at_most: float) -> float | Linear:
    ends = (value.start, value.end) if isinstance(value, Linear) else (value,)
    for end in ends:
        real_number(name, end, at_least=0.0, at_most=at_most)
    return value if isinstance(value, Linear) else float(value)


def _device(device: torch.device | str) -> torch.device:
    try:
        return torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ConfigurationError(
            f"`device` got {device!r}; expected a torch device such as 'cpu' or 'cuda'."
        ) from error
