"""Rainbow in one file of plain torch and Gymnasium: deep Q-learning and six things that mend it.

    python rainbow.py --env CartPole-v1 --seed 0

After Hessel et al. (2018), "Rainbow: combining improvements in deep reinforcement learning":

    distribution  Q(s, a) = Σ pᵢ zᵢ, p(s, a) the probabilities of fixed returns z   Bellemare 2017
    dueling       logits of p = v(s) + a(s, a) − mean_a a(s, a)                Wang 2016, eq. 9
    noise         weights μ + σ ∘ f(ε_out) f(ε_in)ᵀ, f(x) = sgn(x) √|x|    Fortunato 2018, eq. 9–11
    n steps       R = Σ_{j<n} γʲ rⱼ, and γⁿ in front of what follows               Sutton 1988
    double        the online network chooses a* = argmax_a Q(s', a)        van Hasselt 2016, eq. 4
    priorities    P(i) ∝ pᵢ^α, weights (N P(i))^−β by the batch's largest      Schaul 2016, eq. 1

The loss is KL(R + γⁿ Z⁻(s', a*), projected ‖ Z(s, a)); it is a transition's new priority as well.
`hunch.rl.DQN` with all its switches on does the same; tests/examples compares the two.
"""

import sys
import time
from argparse import ArgumentDefaultsHelpFormatter, ArgumentParser, Namespace
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Discrete, flatdim
from torch import Tensor, nn
from torch.optim import Adam

OPTIONS: list[tuple[str, Any, str]] = [
    ("env", "CartPole-v1", "id of an environment with a finite set of actions"),
    ("seed", 0, "of weights, noise, environment and replay"),
    ("steps", 80_000, "environment steps"),
    ("discount", 0.99, "γ, for each environment step"),
    ("n-step", 3, "rewards summed before a value is asked for"),
    ("learning-rate", 5e-4, "of Adam at first; it falls to 0 at the last step"),
    ("batch-size", 64, "transitions in an update"),
    ("replay-capacity", 20_000, "transitions kept"),
    ("min-replay-size", 500, "transitions stored before the first update"),
    ("update-period", 4, "environment steps from one update to the next"),
    ("target-update-period", 200, "environment steps from one copy of the network to the next"),
    ("priority-exponent", 0.5, "α, how much more often large errors are drawn"),
    ("priority-correction", 0.4, "β at first; it rises to 1 at the last step"),
    ("atoms", 51, "fixed returns, evenly spaced"),
    ("lowest-return", 0.0, "the first of them"),
    ("highest-return", 100.0, "the last; 1 / (1 − γ) if every reward is 1"),
    ("hidden-size", 64, "units in each hidden layer"),
]


def parse_args(argv: list[str] | None = None) -> Namespace:
    """The settings: defaults, or what the command line says."""
    parser = ArgumentParser(formatter_class=ArgumentDefaultsHelpFormatter, description="Rainbow.")
    parser.epilog = "example: python rainbow.py --env CartPole-v1 --seed 1 --steps 10000"
    for name, default, meaning in OPTIONS:
        parser.add_argument(f"--{name}", type=type(default), default=default, help=meaning)
    return parser.parse_args(argv)


class NoisyLinear(nn.Linear):
    """A linear layer whose weights are new at each forward in training, and μ in evaluation."""

    def __init__(self, inputs: int, outputs: int, std: float = 0.5) -> None:
        super().__init__(inputs, outputs)  # U(±1/√inputs), as in section 3.2 of Fortunato et al.
        self.weight_sigma = nn.Parameter(torch.full((outputs, inputs), std * inputs**-0.5))
        self.bias_sigma = nn.Parameter(torch.full((outputs,), std * inputs**-0.5))

    def noise(self) -> tuple[Tensor, Tensor]:
        """f(ε_out) and f(ε_in)."""
        x, y = (torch.randn(size) for size in self.weight.shape)
        return x.sign() * x.abs().sqrt(), y.sign() * y.abs().sqrt()

    def forward(self, x: Tensor) -> Tensor:
        """Outputs `(batch, outputs)` of inputs `(batch, inputs)`; one draw for the whole batch."""
        if not self.training:
            return super().forward(x)
        outputs, inputs = self.noise()
        weight = self.weight + self.weight_sigma * torch.outer(outputs, inputs)
        return x @ weight.T + self.bias + self.bias_sigma * outputs


class Network(nn.Module):
    """Observations `(batch, inputs)` to logits `(batch, actions, atoms)` of the fixed returns."""

    def __init__(self, inputs: int, actions: int, args: Namespace) -> None:
        super().__init__()
        hidden, self.atoms = args.hidden_size, args.atoms
        self.features = nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU())
        self.value, self.advantage = (
            nn.Sequential(NoisyLinear(hidden, hidden), nn.ReLU(), NoisyLinear(hidden, outputs))
            for outputs in (self.atoms, actions * self.atoms)
        )
        self.returns = torch.linspace(args.lowest_return, args.highest_return, self.atoms)

    def forward(self, observation: Tensor) -> Tensor:
        """The logits."""
        x = self.features(observation)
        value: Tensor = self.value(x).unsqueeze(1)
        advantage: Tensor = self.advantage(x).unflatten(1, (-1, self.atoms))
        return value + advantage - advantage.mean(1, keepdim=True)

    @torch.no_grad()
    def best_action(self, observation: Any) -> Tensor:
        """The action of the highest value Σ pᵢ zᵢ, for each row of a batch."""
        logits = self.forward(torch.as_tensor(observation, dtype=torch.float32))
        return (logits.softmax(2) @ self.returns).argmax(1)


class Batch(NamedTuple):
    """Transitions over n steps, or fewer where an episode ended; one in each row."""

    observation: Tensor
    action: Tensor
    reward: Tensor  # Σ γʲ rⱼ
    next_observation: Tensor
    discount: Tensor  # γ to the number of steps; 0 where the environment ended the episode
    weight: Tensor


class Replay:
    """The latest transitions and their priorities; the oldest make room for new ones."""

    def __init__(self, shape: tuple[int, ...], args: Namespace) -> None:
        n, self.args, self.added = args.replay_capacity, args, 0
        self.arrays: list[np.ndarray] = [np.zeros((n, *shape), np.float32), np.zeros(n, np.int64)]
        self.arrays += [np.zeros((n, *one), np.float32) for one in ((), shape, ())]
        self.priority = np.zeros(n)
        self.waiting: list[Any] = []  # for their n-th reward

    def add(self, step: Any, following: Any, terminated: bool, over: bool) -> None:
        """Take in a step; store the one that now has its n rewards, or all as the episode ends."""
        gamma = self.args.discount
        self.waiting.append(step)
        while len(self.waiting) == self.args.n_step or (self.waiting and over):
            total = sum(gamma**j * reward for j, (_, _, reward) in enumerate(self.waiting))
            discount = 0.0 if terminated else gamma ** len(self.waiting)
            observation, action, _ = self.waiting.pop(0)
            slot = self.added % len(self.priority)
            stored = (observation, action, total, following, discount)
            for array, value in zip(self.arrays, stored, strict=True):
                array[slot] = value
            self.priority[slot] = self.priority.max() or 1.0  # so that it is drawn soon
            self.added += 1

    def sample(self, beta: float, rng: np.random.Generator) -> tuple[Batch, np.ndarray]:
        """Draw transitions by priority, with replacement; also say where they are stored."""
        stored = min(self.added, len(self.priority))
        share = self.priority[:stored] ** self.args.priority_exponent
        share /= share.sum()
        row = rng.choice(stored, self.args.batch_size, p=share)
        weight = (stored * share[row]) ** -beta
        arrays = [array[row] for array in self.arrays] + [np.float32(weight / weight.max())]
        return Batch(*map(torch.from_numpy, arrays)), row


def project(batch: Batch, probs: Tensor, returns: Tensor) -> Tensor:
    """Probabilities of the fixed returns for R + d Z, Z having `probs`: Bellemare et al., eq. 7."""
    moved = batch.reward.unsqueeze(1) + batch.discount.unsqueeze(1) * returns
    away = moved.clamp(returns[0], returns[-1]).unsqueeze(1) - returns.unsqueeze(1)
    share = 1 - away.abs() / (returns[1] - returns[0])  # of each z moved, for its two neighbours
    return (share.clamp(min=0) * probs.unsqueeze(1)).sum(-1)


def update(
    online: Network, target: Network, optimizer: Adam, batch: Batch, args: Namespace
) -> Tensor:
    """Make one gradient update from a batch; return the error of each transition."""
    rows = torch.arange(len(batch.action))
    with torch.no_grad():
        next_action = online.best_action(batch.next_observation)
        next_probs = target(batch.next_observation)[rows, next_action].softmax(1)
        goal = project(batch, next_probs, online.returns)
    log_probs: Tensor = online(batch.observation)[rows, batch.action].log_softmax(1)
    error = (torch.xlogy(goal, goal) - goal * log_probs).sum(1)
    optimizer.zero_grad()
    (batch.weight * error).mean().backward()
    optimizer.step()
    return error.detach().clamp(min=0)


def train(args: Namespace) -> tuple[Network, list[float]]:
    """Train a network; return it and the return of each episode."""
    torch.manual_seed(args.seed)
    rng, env = np.random.default_rng(args.seed), make_env(args)
    sizes = flatdim(env.observation_space), flatdim(env.action_space)
    online, target = Network(*sizes, args), Network(*sizes, args)
    target.load_state_dict(online.state_dict())
    optimizer = Adam(online.parameters(), fused=True)
    replay, returns, rewards = Replay((sizes[0],), args), [], 0.0
    (observation, _), shown = env.reset(seed=args.seed), time.monotonic()
    for step in range(1, args.steps + 1):
        action = int(online.best_action(observation[None]))
        following, reward, terminated, truncated, _ = env.step(action)
        over, rewards = terminated or truncated, rewards + float(reward)
        replay.add((observation, action, float(reward)), following, terminated, over)
        observation = following
        if over:
            returns.append(rewards)
            observation, rewards = env.reset()[0], 0.0
        if replay.added >= args.min_replay_size and step % args.update_period == 0:
            left = 1 - step / args.steps
            optimizer.param_groups[0]["lr"] = args.learning_rate * left
            batch, row = replay.sample(1 - (1 - args.priority_correction) * left, rng)
            replay.priority[row] = update(online, target, optimizer, batch, args).numpy() + 1e-6
            if step % args.target_update_period == 0:
                target.load_state_dict(online.state_dict())
        if time.monotonic() - shown > 2:
            shown = time.monotonic()
            recent = f"mean return of the last 20 episodes {np.mean(returns[-20:] or [np.nan]):.1f}"
            print(f"step {step:,} of {args.steps:,}: {recent}", file=sys.stderr)
    return online, returns


def evaluate(network: Network, args: Namespace, episodes: int = 100) -> list[float]:
    """Returns of episodes played by the mean weights, from starts not trained on."""
    env, returns, _ = make_env(args), [], network.eval()
    env.reset(seed=1_000_000 + args.seed)
    for _ in range(episodes):
        observation, rewards, over = env.reset()[0], 0.0, False
        while not over:
            action = int(network.best_action(observation[None]))
            observation, reward, *ends, _ = env.step(action)
            rewards, over = rewards + float(reward), any(ends)
        returns.append(rewards)
    return returns


def make_env(args: Namespace) -> gymnasium.Env[Any, Any]:
    """The environment, with observations of one axis."""
    env = gymnasium.make(args.env)
    if not isinstance(env.action_space, Discrete):
        sys.exit(f"--env got {args.env} with actions {env.action_space}; expected Discrete ones.")
    return gymnasium.wrappers.FlattenObservation(env)


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
