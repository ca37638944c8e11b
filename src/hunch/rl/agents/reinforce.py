"""REINFORCE: whole episodes, what was still to come after each action, and a baseline.

The agent in four lines: play an episode, or several; each action's return is the discounted reward
from there to the episode's end; subtract what was to be expected; move the policy along the
difference times the score.

Not here: what is true of every agent (`agent`), networks that act (`actor`), what a policy's
outputs mean (`action_distributions`), the loss (`losses`), returns (`advantages`), steps kept
(`rollout`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray
from torch import Tensor, nn

from hunch.errors import ConfigurationError
from hunch.rl.agents.actor import make_actor
from hunch.rl.agents.agent import Agent
from hunch.rl.agents.divergence import check_loss
from hunch.rl.agents.replica import Policy
from hunch.rl.agents.schedules import Linear, schedule, value_at
from hunch.rl.environments.make import EnvLike
from hunch.rl.environments.vector import Bools
from hunch.rl.networks.value_networks import NetworkLike, noisy_layers
from hunch.rl.objectives.advantages import lambda_returns, leave_one_out_by_time
from hunch.rl.objectives.losses import policy_loss
from hunch.rl.replay.rollout import Rollout, Trajectory
from hunch.rl.replay.transitions import Step
from hunch.storage.parts import Arrays, InPlace, Losses, Part
from hunch.validation import real_number, whole_number


class Reinforce(Agent):
    """A policy-gradient agent that learns from whole episodes.

    Args:
        env: a Gymnasium id, an environment, a function that makes one, or a Gymnasium vector
            environment. Observations are numbers in whatever form (`Box`, `Discrete`,
            `MultiDiscrete`, `MultiBinary`, `Dict` or `Tuple`), actions a finite set (`Discrete`,
            `MultiDiscrete` or `MultiBinary` of at most 10,000 combinations) or a `Box` of one axis.
        baseline: what is subtracted from a return. `"value"`: a learned value of the observation.
            `"loo"`: the mean of the other episodes' rewards to go at the same time; needs at least
            two episodes per update, and learns no value. None: nothing.
        episodes: episodes from one gradient update to the next, as many for each environment.
        discount: γ per environment step, in [0, 1].
        learning_rate: step size of Adam, or a `Linear` schedule over environment steps.
        entropy_weight: of the policy's entropy in the loss, in units of return per nat.
        value_weight: of half the squared error of the value in the loss, if one is learned.
        max_gradient_norm: the gradient is scaled down to this Euclidean norm; infinite for never.
        reward_scale: what rewards are multiplied with before anything is learned from them, above
            0. `"auto"` is 1, or less where the first rewards are large; see the note.
        normalize: bring observations to a common scale by their mean and variance so far.
        bounds: how continuous actions come into the environment's box: `"squashed"` by tanh, with
            the right log-probability, or `"clipped"`, with the log-probability of the action before
            it was clipped.
        std: whether the standard deviations of continuous actions depend on the observation
            (`"state"`) or are free parameters (`"free"`).
        initial_std: what they begin with, where 1 is half the width of the environment's box.
        hidden_sizes: width of each hidden layer of the networks that are made if none is given.
        activation: between their layers.
        network: as for `A2C`; the value first, also where the baseline is another.
        env_kwargs: keyword arguments for `gymnasium.make`.
        num_envs: environments that each replica plays side by side. All begin together after an
            update; what one plays once it has done its share is not learned from, because episodes
            that end early would else be preferred.
        replicas: agents trained side by side, with the seeds `seed`, `seed + 1`, …
        device: where the networks live.
        seed: seed of everything that is left to chance, at least 0.

    Raises:
        ConfigurationError: for an unknown environment, spaces the agent cannot handle, a number
            out of range, or a network that does not fit.

    Attributes:
        network: policy and value; with replicas an `hunch.nn.Ensemble` of theirs.
        losses: loss of each gradient update, of whichever replica made it.

    Example:
        >>> from hunch.rl import Reinforce
        >>> agent = Reinforce("CartPole-v1", hidden_sizes=(8,))
        >>> agent.learn(200, progress=False).updates == len(agent.history.returns)
        True

    Reference:
        Williams (1992), "Simple statistical gradient-following algorithms for connectionist
        reinforcement learning"; Kool, van Hoof & Welling (2019), "Buy 4 REINFORCE samples, get a
        baseline for free!", for `"loo"`.

    Note:
        Steps weigh alike wherever they stand in an episode: the factor γᵗ of the discounted
        objective is left out, as is usual. A time limit is no end: with `"value"` the value of the
        last observation is added to the return; without a value what would have come counts as 0.

        With `reward_scale="auto"` a replica's rewards before the first update are judged: if
        discounted returns come to more than 128, or would in episodes that never end, all its
        rewards are multiplied by the power of two that leaves 16 to 32 of the largest. It counts γ
        as 0.99 at most. `reward_multiplier` says with what. Small rewards stay small: others may
        come after them.
    """

    handles_boxes: ClassVar[bool] = True

    def __init__(
        self,
        env: EnvLike | VectorEnv[Any, Any, Any],
        *,
        baseline: Literal["value", "loo"] | None = "value",
        episodes: int | None = None,
        discount: float = 0.99,
        learning_rate: float | Linear = 1e-2,
        entropy_weight: float = 0.0,
        value_weight: float = 0.5,
        max_gradient_norm: float = float("inf"),
        reward_scale: float | Literal["auto"] = "auto",
        normalize: bool = False,
        bounds: Literal["squashed", "clipped"] = "squashed",
        std: Literal["state", "free"] = "free",
        initial_std: float = 1.0,
        hidden_sizes: Sequence[int] = (64, 64),
        activation: str = "tanh",
        network: NetworkLike | None = None,
        env_kwargs: Mapping[str, Any] | None = None,
        num_envs: int = 1,
        replicas: int = 1,
        device: torch.device | str = "cpu",
        seed: int = 0,
    ) -> None:
        if baseline not in ("value", "loo", None):
            raise ConfigurationError(
                f'`baseline` got {baseline!r}; expected "value", "loo" or None.'
            )
        self.baseline = baseline
        self.discount = real_number("discount", discount, at_least=0.0, at_most=1.0)
        self.learning_rate = schedule("learning_rate", learning_rate)
        self.entropy_weight = real_number("entropy_weight", entropy_weight, at_least=0.0)
        self.value_weight = real_number("value_weight", value_weight, at_least=0.0)
        super().__init__(
            env,
            env_kwargs=env_kwargs,
            num_envs=num_envs,
            replicas=replicas,
            device=device,
            seed=seed,
        )
        self._scale_rewards(reward_scale, discount=self.discount, most=32.0)
        self.episodes = self._checked(episodes)
        self._actor = make_actor(
            self,
            network,
            hidden_sizes,
            activation=activation,
            normalize=normalize,
            bounds=bounds,
            std=std,
            initial_std=initial_std,
            max_gradient_norm=max_gradient_norm,
        )
        if noisy_layers(self.network):
            raise ConfigurationError(
                "`network` has noisy layers; expected plain ones: this agent draws actions. "
                "Use A2C(…, noisy=True), which holds noise over a rollout."
            )
        self._rollout = Rollout()
        # Where in the rollout each replica's steps since its last update begin.
        self._start = np.zeros(self.replicas, np.int64)
        self._played = np.zeros((self.replicas, self.num_envs), np.int64)
        self.losses: list[float] = []

    def _checked(self, episodes: int | None) -> int:
        """Episodes per update."""
        number = self.num_envs if episodes is None else episodes
        number = whole_number("episodes", number, at_least=1)
        if number % self.num_envs:
            raise ConfigurationError(
                f"`episodes` got {number} for {self.num_envs} environments; expected a multiple, "
                "so that each plays as many."
            )
        if self.baseline == "loo" and number < 2:
            raise ConfigurationError(
                '`baseline` got "loo" with one episode per update; expected `episodes` of at least '
                "2: a return's baseline is the mean of the others."
            )
        return number

    @property
    def network(self) -> nn.Module:
        """Policy and value; with replicas an `hunch.nn.Ensemble` of theirs."""
        return self._actor.networks.stacked

    @property
    def updates(self) -> int:
        """Gradient updates made so far, by the replica that made the most."""
        return max(self._actor.networks.updates)

    def settle(self) -> None:
        """As `Agent.settle`."""
        self._actor.settle()

    def act(self, observation: NDArray[Any], is_first: Bools) -> NDArray[Any]:
        """The actions to try next in training, `(replicas, envs, …)`."""
        if self._actor.networks.layout.first_moved:
            self.settle()
        self._raw = self._actor.act(self._tensor(observation))
        return self._actor.actions.to_env(self._raw) + self.first_action

    def observe(self, step: Step) -> Bools | None:
        """Keep a step of all environments; let replicas learn whose episodes are complete."""
        share = self.episodes // self.num_envs
        self._rollout.add(step, self._raw, counts=step.valid & (self._played < share))
        ended = step.terminated | step.truncated
        self._played += ended
        due = (self._played >= share).all(1)
        if not due.any():
            return None
        for r in np.flatnonzero(due).tolist():
            self._update(r, self._rollout.since(int(self._start[r])).of_replica(r))
        self._played[due] = 0
        self._start[due] = len(self._rollout)
        self._rollout.forget(int(self._start.min()))
        self._start -= self._start.min()
        # What is still being played was begun by a policy that is no more.
        return np.expand_dims(due, 1) & ~ended

    def _update(self, replica: int, trajectory: Trajectory) -> None:
        actor = self._actor
        if actor.networks.layout.moved:
            self.settle()
        own = slice(replica, replica + 1)
        trajectory = self._reward_scale.of_trajectory(trajectory, own)
        observation = self._tensor(trajectory.rows(trajectory.observation))
        out = actor.outputs(observation, replica)
        target, baseline = self._targets(replica, trajectory, out[..., 0].detach())
        policy = out[..., 1:]
        raw = torch.from_numpy(trajectory.rows(trajectory.raw)).to(self.device)
        loss = policy_loss(
            actor.actions.log_prob(policy, raw),
            out[..., 0],
            target,
            baseline,
            value_weight=self.value_weight if self.baseline == "value" else 0.0,
            entropy=actor.actions.entropy(policy) if self.entropy_weight else None,
            entropy_weight=self.entropy_weight,
        ).sum()
        gradient = actor.networks.gradient(loss, replica)
        checked = check_loss(loss.item(), self.updates)
        rate = value_at(self.learning_rate, self.steps)
        actor.networks.step([replica], gradient, rate)
        actor.normalize(observation, [replica])
        self.losses.append(checked)

    def _targets(
        self, replica: int, trajectory: Trajectory, value: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Rewards to go and their baselines, `(1, steps)` each."""
        learned = self.baseline == "value"
        if learned:
            bootstrap_value = self._actor.bootstrap_values(
                self._tensor(trajectory.bootstrap_observation), replica
            )
        else:
            value = torch.zeros_like(value)
            bootstrap_value = np.zeros(trajectory.bootstrap_observation.shape[:3], np.float32)
        returns = lambda_returns(
            trajectory,
            value.cpu().numpy(),
            bootstrap_value,
            discount=self.discount,
            gae_lambda=1.0,
            reward_scale=self._reward_scale.fixed,
        )
        if self.baseline == "loo":
            episode, time = trajectory.episodes()
            value = self._tensor(leave_one_out_by_time(returns[0], episode, time)[None])
        return self._tensor(returns), value

    def policy(self, replica: int) -> Policy:
        """As `Agent.policy`."""
        return self._actor.policy(replica)

    def state_values(self, observation: Tensor, replica: int) -> NDArray[Any] | None:
        """As `Agent.state_values`, in the units of the environment's own rewards."""
        if self.baseline != "value":
            return None
        return self._in_rewards(self._actor.values(observation, replica), replica)

    def parts(self) -> dict[str, Part]:
        """As `Agent.parts`."""
        return {
            "actor": self._actor,
            "rollout": Arrays(self._rollout),
            "start": InPlace(self._start),
            "played": InPlace(self._played),
            "losses": Losses(self.losses),
            **self._scales(),
        }
