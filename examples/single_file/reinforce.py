"""REINFORCE with a learned baseline in one file of plain torch and Gymnasium.

    python reinforce.py --env CartPole-v1 --seed 0

A policy π(a | s) is made better by whole episodes, as in Williams (1992), "Simple statistical
gradient-following algorithms for connectionist reinforcement learning". For each step of a few
episodes, where T is an episode's last step:

    return    Gₜ = rₜ + γ rₜ₊₁ + … + γᵀ⁻ᵗ r_T, all that was still to come
    policy    the gradient of −mean (Gₜ − V(sₜ)) log π(aₜ | sₜ)          Williams, eq. 11
    baseline  the gradient of c_v · ½ mean (V(sₜ) − Gₜ)²; V learns what was to be expected

A baseline changes the gradient's variance, not its mean, because it does not depend on aₜ. The
factor γᵗ of the discounted objective is left out, as is usual. A time limit is no end of what the
agent would have earned: there γᵀ⁻ᵗ⁺¹ V(s_{T+1}) is added to Gₜ. The optimiser is Adam.

`hunch.rl.Reinforce` does the same; tests/examples compares the two update by update.
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
    ("seed", 0, "of weights, environment and actions"),
    ("steps", 80_000, "environment steps after which no episode is begun"),
    ("episodes", 4, "episodes in an update"),
    ("discount", 0.99, "γ, for each environment step"),
    ("learning-rate", 5e-3, "of Adam at first; it falls to 0 at the last step"),
    ("value-weight", 0.5, "c_v, of the baseline's loss"),
    ("hidden-size", 64, "units in each of two hidden layers"),
]


def parse_args(argv: list[str] | None = None) -> Namespace:
    """The settings: defaults, or what the command line says."""
    parser = ArgumentParser(
        description="REINFORCE with a learned baseline.",
        epilog="example: python reinforce.py --env CartPole-v1 --seed 1 --steps 40000",
        formatter_class=ArgumentDefaultsHelpFormatter,
    )
    for name, default, meaning in OPTIONS:
        parser.add_argument(f"--{name}", type=type(default), default=default, help=meaning)
    return parser.parse_args(argv)


class Episode(NamedTuple):
    """One episode, a step in each row."""

    observation: Tensor
    action: Tensor
    reward: Tensor
    last_observation: Tensor  # what the last step led to
    terminated: bool  # by the environment, not by a time limit


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


@torch.no_grad()
def returns_to_go(network: Network, episode: Episode, args: Namespace) -> Tensor:
    """Gₜ of every step, from the last one to the first."""
    found = torch.zeros_like(episode.reward)
    following = 0.0 if episode.terminated else network(episode.last_observation)[0].item()
    for t in reversed(range(len(found))):
        following = episode.reward[t].item() + args.discount * following
        found[t] = following
    return found


def update(network: Network, optimizer: Adam, episodes: list[Episode], args: Namespace) -> float:
    """Make one gradient update from whole episodes; return the loss."""
    target = torch.cat([returns_to_go(network, episode, args) for episode in episodes])
    value, policy = network(torch.cat([episode.observation for episode in episodes]))
    action = torch.cat([episode.action for episode in episodes])
    advantage = target - value.detach()
    policy_loss = -(advantage * policy.log_prob(action)).mean()
    value_loss = 0.5 * (value - target).square().mean()
    loss: Tensor = policy_loss + args.value_weight * value_loss
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


@torch.no_grad()
def play(env: gymnasium.Env[Any, Any], network: Network) -> Episode:
    """Play an episode, each action drawn from the policy."""
    steps, (observation, _), over = [], env.reset(), False
    while not over:
        action = network(to_tensor(observation))[1].sample()
        following, reward, terminated, truncated, _ = env.step(int(action))
        steps.append((to_tensor(observation), action, to_tensor(reward)))
        observation, over = following, terminated or truncated
    observations, actions, rewards = (torch.stack(part) for part in zip(*steps, strict=True))
    return Episode(observations, actions, rewards, to_tensor(observation), terminated)


def to_tensor(values: Any) -> Tensor:
    """Numbers as float32."""
    return torch.from_numpy(np.asarray(values, np.float32))


def train(args: Namespace) -> tuple[Network, list[float]]:
    """Train a network; return it and the return of each episode."""
    torch.manual_seed(args.seed)
    env = make_env(args)
    env.reset(seed=args.seed)
    inputs, actions = flatdim(env.observation_space), flatdim(env.action_space)
    network = Network(inputs, actions, args.hidden_size)
    optimizer = Adam(network.parameters(), fused=True)
    step, returns = 0, []
    began = shown = time.monotonic()
    while step < args.steps:
        episodes = [play(env, network) for _ in range(args.episodes)]
        optimizer.param_groups[0]["lr"] = args.learning_rate * (1 - step / args.steps)
        loss = update(network, optimizer, episodes, args)
        step += sum(len(episode.reward) for episode in episodes)
        returns += [episode.reward.sum().item() for episode in episodes]
        if time.monotonic() - shown > 2:
            shown = time.monotonic()
            print(
                f"step {step:,} of {args.steps:,}: {len(returns)} episodes, "
                f"mean return of the last 20 {np.mean(returns[-20:]):.1f}, "
                f"loss {loss:.3f}, {step / (shown - began):,.0f} steps a second",
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
