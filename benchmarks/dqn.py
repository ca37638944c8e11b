"""Environment steps per second: hunch's noisy DQN beside a plain loop of the same algorithm.

    python benchmarks/dqn.py [--steps 20000] [--seed 0]

The plain loop is written the way tutorials write it: dense noise buffers filled in place, torch's
default Adam, `np.random.choice` without replacement, an action through the autograd graph. Both
learn CartPole-v1 capped at 200 steps on one thread with one gradient update per environment step,
batch 128, 128 hidden units, first layer plain and two noisy ones, no double Q-learning. They take
turns in blocks of 500 steps, so that a busy machine slows both alike; CPU time is counted.
"""

from __future__ import annotations

import argparse
import copy
import math
import time
from collections.abc import Callable

import gymnasium
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from hunch.rl import DQN

BATCH, CAPACITY, TARGET_PERIOD, DISCOUNT, HIDDEN = 128, 10_000, 150, 0.99, 128
BLOCK = 500


class DenseNoisyLinear(nn.Module):
    """Factorized noise kept as a full matrix."""

    def __init__(self, p: int, q: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(p)
        self.mean_w = nn.Parameter(torch.empty(q, p).uniform_(-bound, bound))
        self.mean_b = nn.Parameter(torch.empty(q).uniform_(-bound, bound))
        self.std_w = nn.Parameter(torch.full((q, p), 0.5 / math.sqrt(p)))
        self.std_b = nn.Parameter(torch.full((q,), 0.5 / math.sqrt(q)))
        self.register_buffer("noise_w", torch.empty(q, p))
        self.register_buffer("noise_b", torch.empty(q))
        self.redraw()

    def redraw(self) -> None:
        """Fill the noise buffers anew, in place."""
        q, p = self.mean_w.shape
        rows, columns = (x.sign() * x.abs().sqrt() for x in (torch.randn(q), torch.randn(p)))
        self.noise_w.copy_(rows.ger(columns))
        self.noise_b.copy_(rows)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map `x (batch, p)` to `(batch, q)`."""
        weight = self.mean_w + self.std_w * self.noise_w
        return F.linear(x, weight, self.mean_b + self.std_b * self.noise_b)


class PlainLoop:
    """A noisy DQN on CartPole, step by step."""

    def __init__(self, seed: int) -> None:
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        self.env = gymnasium.make("CartPole-v1", max_episode_steps=200)
        self.net = nn.Sequential(
            nn.Linear(4, HIDDEN),
            nn.ReLU(),
            DenseNoisyLinear(HIDDEN, HIDDEN),
            nn.ReLU(),
            DenseNoisyLinear(HIDDEN, 2),
        )
        self.target = copy.deepcopy(self.net)
        self.optimizer = torch.optim.Adam(self.net.parameters())
        self.observations = np.zeros((CAPACITY, 4), np.float32)
        self.next_observations = np.zeros((CAPACITY, 4), np.float32)
        self.actions, self.rewards, self.dones = np.zeros((3, CAPACITY), np.float32)
        self.steps = 0
        self.losses: list[float] = []
        self.observation, _ = self.env.reset(seed=seed)

    def learn(self, until: int) -> None:
        """Go on until `until` environment steps have been made."""
        while self.steps < until:
            action = self.net(torch.FloatTensor(self.observation)[None]).argmax().item()
            following, reward, terminated, truncated, _ = self.env.step(action)
            row = self.steps % CAPACITY
            self.observations[row], self.next_observations[row] = self.observation, following
            self.actions[row], self.rewards[row], self.dones[row] = action, reward, terminated
            self.steps += 1
            self.observation = self.env.reset()[0] if terminated or truncated else following
            if self.steps >= BATCH:
                self.update()

    def update(self) -> None:
        """Make one gradient update."""
        stored = min(self.steps, CAPACITY)
        rows = np.random.choice(stored, BATCH, replace=False)  # noqa: NPY002
        q = self.net(torch.FloatTensor(self.observations[rows]))
        q = q.gather(1, torch.LongTensor(self.actions[rows, None]))
        best = self.target(torch.FloatTensor(self.next_observations[rows]))
        best = best.max(1, keepdim=True).values.detach()
        going = 1 - torch.FloatTensor(self.dones[rows, None])
        goal = torch.FloatTensor(self.rewards[rows, None]) + DISCOUNT * best * going
        loss = F.smooth_l1_loss(q, goal)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        for layer in [*self.net, *self.target]:
            if isinstance(layer, DenseNoisyLinear):
                layer.redraw()
        self.losses.append(loss.item())
        if len(self.losses) % TARGET_PERIOD == 0:
            self.target.load_state_dict(self.net.state_dict())


def cpu_seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=20_000, help="environment steps each")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)

    plain = PlainLoop(options.seed)
    agent = DQN(
        "CartPole-v1",
        env_kwargs={"max_episode_steps": 200},
        noisy=True,
        hidden_sizes=(HIDDEN, HIDDEN),
        batch_size=BATCH,
        replay_capacity=CAPACITY,
        min_replay_size=BATCH,
        target_update_period=TARGET_PERIOD,
        discount=DISCOUNT,
        seed=options.seed,
    )
    ours, theirs = [], []
    for until in range(BLOCK, options.steps + 1, BLOCK):
        theirs.append(cpu_seconds(lambda until=until: plain.learn(until)))
        ours.append(cpu_seconds(lambda until=until: agent.learn(until, progress=False)))
    ratios = np.divide(theirs, ours)[1:]  # the first block warms up
    low, high = np.quantile(ratios, (0.25, 0.75))
    rates = [BLOCK * len(times[1:]) / sum(times[1:]) for times in (theirs, ours)]
    print("# NoisyNet-DQN on CartPole\n")
    print(
        f"{agent.steps:,} environment steps with one update each, one thread, CPU time, torch "
        f"{torch.__version__.split('+')[0]}.\n"
    )
    print("| plain loop, steps/s | hunch, steps/s | hunch / plain, median | quartiles |")
    print("|---|---|---|---|")
    print(
        f"| {rates[0]:.0f} | {rates[1]:.0f} | **{np.median(ratios):.2f}** | {low:.2f}–{high:.2f} |"
    )


if __name__ == "__main__":
    main()
