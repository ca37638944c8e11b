"""Deep Q-learning in one file of plain torch and Gymnasium.

    python dqn.py --env CartPole-v1 --seed 0

The agent learns Q(s, a), the discounted reward to be expected after action a in state s, by
algorithm 1 of Mnih et al. (2015), "Human-level control through deep reinforcement learning":

    act     argmax_a Q(s, a), or with probability ε any action
    store   (s, a, r, s', d); d = 1 if the environment ended the episode, 0 if a time limit did
    target  y = r + γ (1 − d) max_a' Q⁻(s', a'), for a batch drawn from those
    loss    mean Huber(Q(s, a) − y), whose slope is clipped at ±1; a step of Adam
    copy    Q⁻ ← Q, every so many updates

Where it departs from the paper: Adam in place of RMSProp, hidden layers are normalised (Ba, Kiros &
Hinton, 2016, "Layer normalization"), which keeps the values of states never seen within bounds, and
both ε and the learning rate fall in a straight line.

`hunch.rl.DQN` does the same; tests/examples compares the two update by update.
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
from torch.nn import functional as F
from torch.optim import Adam

OPTIONS: list[tuple[str, Any, str]] = [
    ("env", "CartPole-v1", "id of an environment with a finite set of actions"),
    ("seed", 0, "of weights, environment, exploration and replay"),
    ("steps", 100_000, "environment steps"),
    ("discount", 0.99, "γ, for each environment step"),
    ("learning-rate", 5e-4, "of Adam at first; it falls to 0 at the last step"),
    ("batch-size", 128, "transitions in an update"),
    ("replay-capacity", 50_000, "transitions kept"),
    ("min-replay-size", 1_000, "transitions stored before the first update"),
    ("update-period", 4, "environment steps from one update to the next"),
    ("target-update-period", 50, "updates from one copy of the network to the next"),
    ("exploration-steps", 20_000, "environment steps in which ε falls from 1"),
    ("final-epsilon", 0.05, "what ε falls to"),
    ("hidden-size", 128, "units in each of two hidden layers"),
]


def parse_args(argv: list[str] | None = None) -> Namespace:
    """The settings: defaults, or what the command line says."""
    parser = ArgumentParser(
        description="Deep Q-learning.",
        epilog="example: python dqn.py --env CartPole-v1 --seed 1 --steps 20000",
        formatter_class=ArgumentDefaultsHelpFormatter,
    )
    for name, default, meaning in OPTIONS:
        parser.add_argument(f"--{name}", type=type(default), default=default, help=meaning)
    return parser.parse_args(argv)


class Batch(NamedTuple):
    """Transitions, one in each row."""

    observation: Tensor
    action: Tensor
    reward: Tensor
    next_observation: Tensor
    terminated: Tensor  # 1 where the environment ended the episode, 0 elsewhere


class Replay:
    """The latest transitions, in arrays that are written round and round."""

    def __init__(self, shape: tuple[int, ...], capacity: int) -> None:
        self.arrays: list[NDArray[Any]] = [
            np.zeros((capacity, *shape), np.float32),  # in the order of `Batch`
            np.zeros(capacity, np.int64),
            np.zeros(capacity, np.float32),
            np.zeros((capacity, *shape), np.float32),
            np.zeros(capacity, np.float32),
        ]
        self.capacity, self.added = capacity, 0

    def add(self, *transition: Any) -> None:
        """Store a transition over the oldest one."""
        for array, value in zip(self.arrays, transition, strict=True):
            array[self.added % self.capacity] = value
        self.added += 1

    def sample(self, size: int, rng: np.random.Generator) -> Batch:
        """Draw transitions uniformly, with replacement."""
        row = rng.integers(min(self.added, self.capacity), size=size)
        return Batch(*(torch.from_numpy(array[row]) for array in self.arrays))


def make_network(inputs: int, actions: int, hidden: int) -> nn.Module:
    """Observations `(batch, …)` to the values `(batch, actions)` of all actions."""
    return nn.Sequential(
        nn.Linear(inputs, hidden),
        nn.LayerNorm(hidden, elementwise_affine=False),
        nn.ReLU(),
        nn.Linear(hidden, hidden),
        nn.LayerNorm(hidden, elementwise_affine=False),
        nn.ReLU(),
        nn.Linear(hidden, actions),
    )


def update(
    online: nn.Module, target: nn.Module, optimizer: Adam, batch: Batch, args: Namespace
) -> float:
    """Make one gradient update from a batch; return the loss."""
    with torch.no_grad():
        next_value = target(batch.next_observation).amax(1)
        y = batch.reward + args.discount * (1 - batch.terminated) * next_value
    q = online(batch.observation).gather(1, batch.action.unsqueeze(1)).squeeze(1)
    loss = F.smooth_l1_loss(q, y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


@torch.no_grad()
def best_action(network: nn.Module, observation: NDArray[Any]) -> int:
    """The action of the highest value."""
    return int(network(torch.from_numpy(np.float32(observation[None]))).argmax())


def train(args: Namespace) -> tuple[nn.Module, list[float]]:
    """Train a network; return it and the return of each episode."""
    torch.manual_seed(args.seed)
    rng, env = np.random.default_rng(args.seed), make_env(args)
    inputs, actions = flatdim(env.observation_space), flatdim(env.action_space)
    online, target = (make_network(inputs, actions, args.hidden_size) for _ in range(2))
    target.load_state_dict(online.state_dict())
    optimizer = Adam(online.parameters(), fused=True)
    replay = Replay(env.observation_space.shape or (), args.replay_capacity)
    updates, loss, returns, episode_return = 0, float("nan"), [], 0.0
    began = shown = time.monotonic()
    observation, _ = env.reset(seed=args.seed)
    for step in range(1, args.steps + 1):
        epsilon = 1 - (1 - args.final_epsilon) * min(step / args.exploration_steps, 1)
        random = rng.random() < epsilon
        action = int(rng.integers(actions)) if random else best_action(online, observation)
        following, reward, terminated, truncated, _ = env.step(action)
        replay.add(observation, action, reward, following, terminated)
        observation, episode_return = following, episode_return + float(reward)
        if terminated or truncated:
            returns.append(episode_return)
            observation, episode_return = env.reset()[0], 0.0
        if replay.added >= args.min_replay_size and step % args.update_period == 0:
            optimizer.param_groups[0]["lr"] = args.learning_rate * (1 - step / args.steps)
            loss = update(online, target, optimizer, replay.sample(args.batch_size, rng), args)
            updates += 1
            if updates % args.target_update_period == 0:
                target.load_state_dict(online.state_dict())
        if time.monotonic() - shown > 2:
            shown = time.monotonic()
            print(
                f"step {step:,} of {args.steps:,}: {len(returns)} episodes, "
                f"mean return of the last 20 {np.mean(returns[-20:] or [np.nan]):.1f}, "
                f"loss {loss:.3f}, {step / (shown - began):,.0f} steps a second",
                file=sys.stderr,
            )
    return online, returns


def evaluate(network: nn.Module, args: Namespace, episodes: int = 100) -> list[float]:
    """Returns of episodes in which every action is the best one, from starts not trained on."""
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
