"""The advantage actor-critic, and with noisy layers the synchronous NoisyNet-A3C.

The agent in four lines: all environments play a few steps; each step's advantage is what it led to,
the value of where the rollout was cut included, minus the value of where it began; the policy moves
along advantage times score, the value towards what was led to; the rollout is forgotten.

Not here: what is true of every agent (`agent`), networks that act (`actor`), what a policy's
outputs mean (`action_distributions`), the loss (`losses`), `advantages`, steps kept (`rollout`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, Literal

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
from hunch.rl.environments.vector import Bools, ParallelEnvs
from hunch.rl.fast.compiled_objectives import advantage_loss, whole_lambda_returns
from hunch.rl.fast.compiled_play import Place, Played
from hunch.rl.networks.action_distributions import Categorical
from hunch.rl.networks.value_networks import NetworkLike
from hunch.rl.objectives.advantages import lambda_returns
from hunch.rl.objectives.losses import policy_loss
from hunch.rl.replay.rollout import Rollout
from hunch.rl.replay.transitions import Step
from hunch.storage.parts import Arrays, Losses, Part
from hunch.validation import real_number, whole_number

DEFAULT_ENVS: Final = 8


class A2C(Agent):
    """An actor-critic agent for finite sets of actions and for boxes of them.

    Args:
        env: a Gymnasium id, an environment, a function that makes one, or a Gymnasium vector
            environment. Observations are numbers in whatever form (`Box`, `Discrete`,
            `MultiDiscrete`, `MultiBinary`, `Dict` or `Tuple`), actions a finite set (`Discrete`,
            `MultiDiscrete` or `MultiBinary` of at most 10,000 combinations) or a `Box` of one axis.
        noisy: explore by noise on the weights of all layers, one draw for a rollout and its update,
            and without entropy bonus: the synchronous NoisyNet-A3C. True is `"independent"`, the
            noise that the paper gives A3C.
        rollout_length: steps that each environment plays from one gradient update to the next.
        gae_lambda: λ of the advantages, from 0 (one step) to 1 (all steps to the rollout's end, as
            in A3C).
        discount: γ per environment step, in [0, 1].
        learning_rate: step size of Adam, or a `Linear` schedule over environment steps.
        entropy_weight: of the policy's entropy in the loss, in units of return per nat. None is
            0.01, or 0 if `noisy`.
        value_weight: of half the squared error of the value in the loss.
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
        network: a module from a batch of observations to `(batch, 1 + outputs)`, or a function
            without arguments that makes one: the value first, then one output per action of a
            finite set; of a box the means and then the logs of the standard deviations. If `noisy`
            and no layer is noisy yet, a copy is used in which all linear and convolution layers
            are. None makes one perceptron for the value and one for the policy, for images
            behind shared convolutions.
        env_kwargs: keyword arguments for `gymnasium.make`.
        num_envs: environments that each replica plays side by side.
        replicas: agents trained side by side, with the seeds `seed`, `seed + 1`, …
        device: where the networks live.
        seed: seed of everything that is left to chance, at least 0.

    Raises:
        ConfigurationError: for an unknown environment, spaces the agent cannot handle, a number
            out of range, or a network that does not fit.

    Attributes:
        network: policy and value; with replicas an `hunch.nn.Ensemble` of theirs.
        losses: loss of each gradient update, the mean over replicas.

    Example:
        >>> from hunch.rl import A2C
        >>> agent = A2C("CartPole-v1", num_envs=4, rollout_length=5)
        >>> agent.learn(100, progress=False).updates
        5
        >>> agent.predict([0.0, 0.0, 0.1, 0.0]) in (0, 1)
        True

    Reference:
        Mnih et al. (2016), "Asynchronous methods for deep reinforcement learning", algorithm S3;
        Schulman et al. (2016), "High-dimensional continuous control using generalized advantage
        estimation"; Fortunato et al. (2018), "Noisy networks for exploration", algorithm 2.

    Note:
        All environments wait for each other, where A3C's workers do not; with `noisy` they share a
        draw, where each of its workers has its own. The optimiser is Adam, not a shared RMSProp.
        The entropy of continuous actions is that of the Gaussian before it is squashed or clipped.

        With `reward_scale="auto"` a replica's rewards of the first rollout are judged: if
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
        noisy: bool | Literal["independent", "factorized"] = False,
        rollout_length: int = 5,
        gae_lambda: float = 0.95,
        discount: float = 0.99,
        learning_rate: float | Linear = 1.5e-3,
        entropy_weight: float | None = None,
        value_weight: float = 0.5,
        max_gradient_norm: float = 0.5,
        reward_scale: float | Literal["auto"] = "auto",
        normalize: bool = False,
        bounds: Literal["squashed", "clipped"] = "squashed",
        std: Literal["state", "free"] = "free",
        initial_std: float = 1.0,
        hidden_sizes: Sequence[int] = (64, 64),
        activation: str = "tanh",
        network: NetworkLike | None = None,
        env_kwargs: Mapping[str, Any] | None = None,
        num_envs: int = DEFAULT_ENVS,
        replicas: int = 1,
        device: torch.device | str = "cpu",
        seed: int = 0,
    ) -> None:
        kind = "independent" if noisy is True else noisy or None
        if kind not in (None, "independent", "factorized"):
            raise ConfigurationError(
                f'`noisy` got {noisy!r}; expected True, False, "independent" or "factorized".'
            )
        self.rollout_length = whole_number("rollout_length", rollout_length, at_least=1)
        self.gae_lambda = real_number("gae_lambda", gae_lambda, at_least=0.0, at_most=1.0)
        self.discount = real_number("discount", discount, at_least=0.0, at_most=1.0)
        self.learning_rate = schedule("learning_rate", learning_rate)
        if entropy_weight is None:
            entropy_weight = 0.0 if kind else 0.01
        self.entropy_weight = real_number("entropy_weight", entropy_weight, at_least=0.0)
        self.value_weight = real_number("value_weight", value_weight, at_least=0.0)
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
        self._scale_rewards(reward_scale, discount=self.discount, most=32.0)
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
            noise=kind,
        )
        self._rollout = Rollout()
        self.losses: list[float] = []

    @property
    def network(self) -> nn.Module:
        """Policy and value; with replicas an `hunch.nn.Ensemble` of theirs."""
        return self._actor.networks.stacked

    @property
    def updates(self) -> int:
        """Gradient updates made so far."""
        return self._actor.networks.updates[0]

    def settle(self) -> None:
        """As `Agent.settle`."""
        self._actor.settle()

    def act(self, observation: NDArray[Any], is_first: Bools) -> NDArray[Any]:
        """The actions to try next in training, `(replicas, envs, …)`."""
        if self._actor.networks.layout.first_moved:
            self.settle()
        self._raw = self._actor.act(self._tensor(observation))
        return self._actor.actions.to_env(self._raw) + self.first_action

    def observe(self, step: Step) -> None:
        """Keep a step of all environments; learn from the rollout when it is as long as asked."""
        self._rollout.add(step, self._raw, counts=step.valid)
        self._learn_if_due()

    def play(self, envs: ParallelEnvs, place: Place, rounds: int) -> Played | None:
        """Act for many rounds at once, but not beyond the next update; None if that cannot be."""
        if type(self) is not A2C:  # others may act in their own way
            return None
        if self._actor.networks.layout.first_moved:
            self.settle()
        return self._actor.play(envs, place, min(rounds, self.rollout_length - len(self._rollout)))

    def observe_played(self, played: Played) -> None:
        """As `observe`, of many rounds."""
        self._rollout.extend(played.steps)
        self._learn_if_due()

    def _learn_if_due(self) -> None:
        if len(self._rollout) == self.rollout_length:
            try:
                self._update()
            finally:
                self._rollout.forget(self.rollout_length)
            self._actor.noise.renew()

    def _update(self) -> None:
        actor, trajectory = self._actor, self._rollout.since(0)
        if not trajectory.counts.any():  # nothing but first steps of episodes
            return
        trajectory = self._reward_scale.of_trajectory(trajectory)
        if actor.networks.layout.moved:
            self.settle()
        observation = self._tensor(trajectory.rows(trajectory.observation))
        out, gradient_of = actor.differentiable(observation)
        values = out[..., 0].cpu().numpy()
        after = actor.bootstrap_values(self._tensor(trajectory.bootstrap_observation))
        how = {
            "discount": self.discount,
            "gae_lambda": self.gae_lambda,
            "reward_scale": self._reward_scale.fixed,
        }
        target = whole_lambda_returns(trajectory, values, after, **how)
        if target is None:
            target = lambda_returns(trajectory, values, after, **how)
        loss, along = self._loss(out, trajectory.rows(trajectory.raw), target)
        gradient = gradient_of(along)
        mean_loss = check_loss(loss / self.replicas, self.updates)
        rate = value_at(self.learning_rate, self.steps)
        actor.networks.step(range(self.replicas), gradient, rate)
        actor.normalize(observation, range(self.replicas))
        self.losses.append(mean_loss)

    def _loss(
        self, out: Tensor, raw: NDArray[Any], target: NDArray[np.float32]
    ) -> tuple[float, Tensor]:
        """The sum of the replicas' losses, which gives each the gradient that it would have alone.

        Args:
            out: values and policies, `(replicas, steps, 1 + outputs)`.
            raw: actions as they were drawn.
            target: what they led to.

        Returns:
            The loss, and its gradient with respect to `out`.
        """
        weights = {"value_weight": self.value_weight, "entropy_weight": self.entropy_weight}
        actions = self._actor.actions
        if isinstance(actions, Categorical):
            found = advantage_loss(out, raw, target, **weights)
            if found is not None:
                return found
        out.requires_grad_()
        loss = policy_loss(
            actions.log_prob(out[..., 1:], torch.from_numpy(raw).to(self.device)),
            out[..., 0],
            self._tensor(target),
            out[..., 0].detach(),
            entropy=actions.entropy(out[..., 1:]) if self.entropy_weight else None,
            **weights,
        ).sum()
        (along,) = torch.autograd.grad(loss, out, materialize_grads=True)
        return loss.item(), along

    def policy(self, replica: int) -> Policy:
        """As `Agent.policy`."""
        return self._actor.policy(replica)

    def state_values(self, observation: Tensor, replica: int) -> NDArray[Any]:
        """As `Agent.state_values`, in the units of the environment's own rewards."""
        return self._in_rewards(self._actor.values(observation, replica), replica)

    def parts(self) -> dict[str, Part]:
        """As `Agent.parts`."""
        return {
            "actor": self._actor,
            "rollout": Arrays(self._rollout),
            "losses": Losses(self.losses),
            **self._scales(),
        }
