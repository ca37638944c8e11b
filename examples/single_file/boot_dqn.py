"""Bootstrapped DQN with randomised priors in one file of plain torch and Gymnasium.

    python boot_dqn.py --env hunch.envs:hunch/DeepSea-v0 --size 10 --seed 0

K value functions learn from the same experience; before each episode one of them is drawn, which
then chooses every action. Each is a trained network plus a prior function of its own that is never
trained, so where there is little experience they disagree, and an episode goes where its member
believes the reward to be, through many steps if it must:

    member    Qₖ(s, a) = fₖ(s, a) + β pₖ(s, a), the prior pₖ being the same in online and target
              Osband, Aslanides & Cassirer (2018), "Randomized prior functions for deep
              reinforcement learning", algorithm 1 and section 4
    act       argmax_a Qₖ(s, a), with k drawn uniformly before each episode
              Osband, Blundell, Pritzel & Van Roy (2016), "Deep exploration via bootstrapped DQN"
    target    yₖ = r + γ (1 − d) max_a' Qₖ⁻(s', a'); d = 1 if the environment ended the episode
    loss      Σₖ mean ½ (Qₖ(s, a) − yₖ)², so each member moves as if it were alone; a step of Adam
    copy      fₖ⁻ ← fₖ, every so many updates

The environment is deep sea (Osband et al., 2020, "Behaviour suite for reinforcement learning"): one
of 2ᴺ ways down has the reward, and each step towards it costs a little. All members learn from all
transitions; what tells them apart are their priors and their first weights.

`hunch.rl.BootstrappedDQN` does the same; tests/examples compares the two update by update.
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
from torch.optim import Adam

OPTIONS: list[tuple[str, Any, str]] = [
    ("env", "hunch.envs:hunch/DeepSea-v0", "id of an environment with a finite set of actions"),
    ("size", 10, "N of a deep sea; 0 for an environment without that argument"),
    ("seed", 0, "of weights, environment, members and replay"),
    ("steps", 3_000, "environment steps"),
    ("discount", 0.99, "γ, for each environment step"),
    ("num-members", 20, "K, the value functions"),
    ("prior-scale", 10.0, "β, how strongly priors speak, in units of reward"),
    ("learning-rate", 1e-3, "of Adam"),
    ("batch-size", 128, "transitions in an update, the same ones for all members"),
    ("replay-capacity", 50_000, "transitions kept"),
    ("target-update-period", 4, "updates from one copy of the networks to the next"),
    ("hidden-size", 50, "units in each of two hidden layers"),
]


def parse_args(argv: list[str] | None = None) -> Namespace:
    """The settings: defaults, or what the command line says."""
    parser = ArgumentParser(
        description="Bootstrapped DQN with randomised priors.",
        epilog="examples: python boot_dqn.py --size 15 --steps 10000; "
        "python boot_dqn.py --env CartPole-v1 --size 0 --steps 20000",
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


class Linears(nn.Module):
    """K linear layers side by side: `(K, batch, inputs)` to `(K, batch, outputs)`."""

    def __init__(self, members: int, inputs: int, outputs: int) -> None:
        super().__init__()
        bound = inputs**-0.5  # as `nn.Linear` begins
        self.weight = nn.Parameter(torch.empty(members, outputs, inputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(members, outputs).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        """Each member's x Wᵀ + b."""
        return torch.baddbmm(self.bias.unsqueeze(1), x, self.weight.mT)


def networks(inputs: int, actions: int, args: Namespace) -> nn.Sequential:
    """K networks of two hidden layers."""
    members, hidden = args.num_members, args.hidden_size
    return nn.Sequential(
        Linears(members, inputs, hidden),
        nn.ReLU(),
        Linears(members, hidden, hidden),
        nn.ReLU(),
        Linears(members, hidden, actions),
    )


class Members(nn.Module):
    """Observations `(batch, inputs)` to the values `(K, batch, actions)` of all members."""

    def __init__(self, inputs: int, actions: int, args: Namespace) -> None:
        super().__init__()
        self.num_members, self.scale = args.num_members, args.prior_scale
        self.trained = networks(inputs, actions, args)
        self.prior = networks(inputs, actions, args).requires_grad_(False)

    def forward(self, observation: Tensor) -> Tensor:
        """fₖ + β pₖ."""
        x = observation.expand(self.num_members, *observation.shape)
        values: Tensor = self.trained(x) + self.scale * self.prior(x)
        return values


def update(
    online: Members, target: Members, optimizer: Adam, batch: Batch, args: Namespace
) -> float:
    """Make one gradient update of all members from a batch; return a member's mean loss."""
    with torch.no_grad():
        next_value = target(batch.next_observation).amax(2)
        y = batch.reward + args.discount * (1 - batch.terminated) * next_value
    q = online(batch.observation)[:, torch.arange(len(batch.action)), batch.action]
    loss: Tensor = 0.5 * (q - y).square().mean(1).sum()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item() / len(q)


@torch.no_grad()
def values(network: Members, observation: NDArray[Any]) -> Tensor:
    """Values `(K, actions)` of one observation."""
    return network.forward(torch.from_numpy(np.float32(observation[None])))[:, 0]


def train(args: Namespace) -> tuple[Members, list[float]]:
    """Train members; return them and the return of each episode."""
    torch.manual_seed(args.seed)
    rng, env = np.random.default_rng(args.seed), make_env(args)
    inputs, actions = flatdim(env.observation_space), flatdim(env.action_space)
    online, target = (Members(inputs, actions, args) for _ in range(2))
    target.load_state_dict(online.state_dict())
    optimizer = Adam(online.trained.parameters(), args.learning_rate, fused=True)
    replay = Replay((inputs,), args.replay_capacity)
    updates, loss, returns, episode_return = 0, float("nan"), [], 0.0
    began = shown = time.monotonic()
    observation, _ = env.reset(seed=args.seed)
    member = rng.integers(args.num_members)
    for step in range(1, args.steps + 1):
        action = int(values(online, observation)[member].argmax())
        following, reward, terminated, truncated, _ = env.step(action)
        replay.add(observation, action, reward, following, terminated)
        observation, episode_return = following, episode_return + float(reward)
        if terminated or truncated:
            returns.append(episode_return)
            observation, episode_return = env.reset()[0], 0.0
            member = rng.integers(args.num_members)
        if replay.added >= args.batch_size:
            loss = update(online, target, optimizer, replay.sample(args.batch_size, rng), args)
            updates += 1
            if updates % args.target_update_period == 0:
                target.load_state_dict(online.state_dict())
        if time.monotonic() - shown > 2:
            shown = time.monotonic()
            print(
                f"step {step:,} of {args.steps:,}: {len(returns)} episodes, "
                f"mean return of the last 20 {np.mean(returns[-20:] or [np.nan]):.2f}, "
                f"loss {loss:.4f}, {step / (shown - began):,.0f} steps a second",
                file=sys.stderr,
            )
    return online, returns


def evaluate(network: Members, args: Namespace, episodes: int = 100) -> list[float]:
    """Returns of episodes of the actions that all members together like best."""
    env, returns = make_env(args), []
    env.reset(seed=1_000_000 + args.seed)
    for _ in range(episodes):
        observation, episode_return, over = env.reset()[0], 0.0, False
        while not over:
            action = int(values(network, observation).mean(0).argmax())
            observation, reward, *ends, _ = env.step(action)
            episode_return, over = episode_return + float(reward), any(ends)
        returns.append(episode_return)
    return returns


def make_env(args: Namespace) -> gymnasium.Env[Any, Any]:
    """The environment, with observations of one axis."""
    env = gymnasium.make(args.env, **({"size": args.size} if args.size else {}))
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
    print(f"mean return of {len(returns)} new episodes: {np.mean(returns):.2f}")


if __name__ == "__main__":
    main()
