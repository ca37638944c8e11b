"""The advantage actor-critic in one file of plain torch and Gymnasium.

    python a2c.py --env CartPole-v1 --seed 0

A policy π(a | s) and the value V(s) of following it learn from short trajectories, by the
synchronous form of algorithm S3 of Mnih et al. (2016), "Asynchronous methods for deep reinforcement
learning". Each of a few environments plays T steps; d = 1 where the environment ended an episode:

    error      δₜ = rₜ + γ (1 − dₜ) V(sₜ₊₁) − V(sₜ)
    advantage  Aₜ = δₜ + γ λ Aₜ₊₁, with Aₜ₊₁ = 0 where an episode ended or play was cut off
    policy     the gradient of −mean Aₜ log π(aₜ | sₜ)
    value      the gradient of c_v · ½ mean (V(sₜ) − Rₜ)², where Rₜ = Aₜ + V(sₜ) as it was
    entropy    the gradient of c_e · mean Σ_a π(a | sₜ) log π(a | sₜ)

The first two are equations 11 and 16 of Schulman et al. (2016), "High-dimensional continuous
control using generalized advantage estimation"; λ = 1 gives the returns of A3C. A time limit is no
end of what the agent would have earned, so there V of the true last observation is counted.

Where it departs from A3C: all environments wait for each other, and Adam in place of RMSProp.
`hunch.rl.A2C` does the same; tests/examples compares the two update by update.
"""

import sys
import time
from argparse import ArgumentDefaultsHelpFormatter, ArgumentParser, Namespace
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Discrete, flatdim
from gymnasium.wrappers import FlattenObservation
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.distributions import Categorical
from torch.optim import Adam

OPTIONS: list[tuple[str, Any, str]] = [
    ("env", "CartPole-v1", "id of an environment with a finite set of actions"),
    ("seed", 0, "of weights, environments and actions"),
    ("steps", 200_000, "environment steps, of all environments together"),
    ("num-envs", 8, "environments that play side by side"),
    ("rollout-length", 16, "T, steps of each of them from one update to the next"),
    ("discount", 0.99, "γ, for each environment step"),
    ("gae-lambda", 0.95, "λ, from 0 (one step) to 1 (all steps of a rollout)"),
    ("learning-rate", 2e-3, "of Adam at first; it falls to 0 at the last step"),
    ("value-weight", 0.5, "c_v, of the value's loss"),
    ("entropy-weight", 0.01, "c_e, of the policy's entropy"),
    ("max-gradient-norm", 0.5, "the gradient is scaled down to this norm"),
    ("hidden-size", 64, "units in each of two hidden layers"),
]


def parse_args(argv: list[str] | None = None) -> Namespace:
    """The settings: defaults, or what the command line says."""
    parser = ArgumentParser(
        description="The advantage actor-critic.",
        epilog="example: python a2c.py --env CartPole-v1 --seed 1 --steps 100000",
        formatter_class=ArgumentDefaultsHelpFormatter,
    )
    for name, default, meaning in OPTIONS:
        parser.add_argument(f"--{name}", type=type(default), default=default, help=meaning)
    return parser.parse_args(argv)


class Rollout(NamedTuple):
    """What all environments did since the last update; every tensor is `(time, envs, …)`."""

    observation: Tensor
    action: Tensor
    reward: Tensor
    next_observation: Tensor  # the true last one where an episode ended
    terminated: Tensor  # 1 where the environment ended the episode, 0 elsewhere
    truncated: Tensor  # 1 where a time limit did


class Network(nn.Module):
    """Observations to values `(…)` and to unnormalised log-probabilities `(…, actions)`."""

    def __init__(self, inputs: int, actions: int, hidden: int) -> None:
        super().__init__()
        last = nn.Linear(hidden, actions)
        nn.init.normal_(last.weight, std=1e-3)  # at first no action is preferred
        nn.init.zeros_(last.bias)
        self.value, self.policy = (
            nn.Sequential(
                nn.Linear(inputs, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh(), layer
            )
            for layer in (nn.Linear(hidden, 1), last)
        )

    def forward(self, observation: Tensor) -> tuple[Tensor, Categorical]:
        """Values, and the distribution of actions."""
        return self.value(observation).squeeze(-1), Categorical(logits=self.policy(observation))


def advantages(rollout: Rollout, value: Tensor, next_value: Tensor, args: Namespace) -> Tensor:
    """Aₜ of every step, from the last one to the first."""
    goes_on = (1 - rollout.terminated) * (1 - rollout.truncated)
    error = rollout.reward + args.discount * (1 - rollout.terminated) * next_value - value
    found, following = torch.zeros_like(error), torch.zeros_like(error[0])
    for t in reversed(range(len(error))):
        following = error[t] + args.discount * args.gae_lambda * goes_on[t] * following
        found[t] = following
    return found


def update(network: Network, optimizer: Adam, rollout: Rollout, args: Namespace) -> float:
    """Make one gradient update from a rollout; return the loss."""
    value, policy = network(rollout.observation)
    with torch.no_grad():
        next_value, _ = network(rollout.next_observation)
        advantage = advantages(rollout, value, next_value, args)
        target = advantage + value
    policy_loss = -(advantage * policy.log_prob(rollout.action)).mean()
    value_loss = 0.5 * (value - target).square().mean()
    loss: Tensor = (
        policy_loss + args.value_weight * value_loss - args.entropy_weight * policy.entropy().mean()
    )
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), args.max_gradient_norm)
    optimizer.step()
    return loss.item()


def to_tensor(array: NDArray[Any]) -> Tensor:
    """An array of numbers or truth values as float32."""
    return torch.from_numpy(np.asarray(array, np.float32))


def train(args: Namespace) -> tuple[Network, list[float]]:
    """Train a network; return it and the return of each episode."""
    torch.manual_seed(args.seed)
    envs = [make_env(args) for _ in range(args.num_envs)]
    inputs, actions = flatdim(envs[0].observation_space), flatdim(envs[0].action_space)
    network = Network(inputs, actions, args.hidden_size)
    optimizer = Adam(network.parameters(), fused=True)
    updates = args.steps // (args.num_envs * args.rollout_length)
    loss, returns, so_far = float("nan"), [], np.zeros(args.num_envs)
    began = shown = time.monotonic()
    observation = np.stack([env.reset(seed=args.seed + i)[0] for i, env in enumerate(envs)])
    for done in range(updates):
        steps = []
        for _ in range(args.rollout_length):
            with torch.no_grad():
                action = network(to_tensor(observation))[1].sample()
            played = [env.step(int(a)) for env, a in zip(envs, action, strict=True)]
            following, reward, *ends, _ = map(np.array, zip(*played, strict=True))
            steps.append(
                (to_tensor(observation), action, *map(to_tensor, (reward, following, *ends)))
            )
            observation, so_far = following.copy(), so_far + reward
            for i in np.flatnonzero(ends[0] | ends[1]):
                returns.append(float(so_far[i]))
                observation[i], so_far[i] = envs[i].reset()[0], 0.0
        rollout = Rollout(*(torch.stack(part) for part in zip(*steps, strict=True)))
        optimizer.param_groups[0]["lr"] = args.learning_rate * (1 - done / updates)
        loss = update(network, optimizer, rollout, args)
        if time.monotonic() - shown > 2:
            shown = time.monotonic()
            step_number = (done + 1) * args.num_envs * args.rollout_length
            print(
                f"step {step_number:,} of {args.steps:,}: {len(returns)} episodes, "
                f"mean return of the last 20 {np.mean(returns[-20:] or [np.nan]):.1f}, "
                f"loss {loss:.3f}, {step_number / (shown - began):,.0f} steps a second",
                file=sys.stderr,
            )
    return network, returns


@torch.no_grad()
def best_action(network: Network, observation: NDArray[Any]) -> int:
    """The most likely action."""
    return int(network(to_tensor(observation))[1].logits.argmax())


def evaluate(network: Network, args: Namespace, episodes: int = 100) -> list[float]:
    """Returns of episodes of the most likely actions, from starts not trained on."""
    env, returns = make_env(args), []
    env.reset(seed=1_000_000 + args.seed)
    for _ in range(episodes):
        observation, episode_return, over = env.reset()[0], 0.0, False
        while not over:
            observation, reward, *ends, _ = env.step(best_action(network, observation))
            episode_return, over = episode_return + float(reward), any(ends)
        returns.append(episode_return)
    return returns


def make_env(args: Namespace) -> gymnasium.Env[Any, Any]:
    """The environment, with observations of one axis."""
    env = gymnasium.make(args.env)
    if not isinstance(env.action_space, Discrete):
        sys.exit(f"--env got {args.env} with actions {env.action_space}; expected Discrete ones.")
    return FlattenObservation(env)


def main() -> None:
    """Train, then say how well the agent does."""
    args = parse_args()
    torch.set_num_threads(1)  # a second thread only waits, in networks of this size
    try:
        returns = evaluate(train(args)[0], args)
    except gymnasium.error.Error as error:
        sys.exit(f"--env got {args.env}: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    print(f"mean return of {len(returns)} new episodes: {np.mean(returns):.1f}")


if __name__ == "__main__":
    main()
