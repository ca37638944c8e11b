"""Environment steps per second: hunch's noisy DQN beside a plain loop of the same algorithm.

    python benchmarks/dqn.py [--steps 10000] [--seed 0]

The plain loop is written the way tutorials write it: dense noise buffers filled in place, torch's
default Adam, `np.random.choice` without replacement, an action through the autograd graph. Both
learn CartPole-v1 capped at 200 steps on one thread with one gradient update per environment step,
batch 128, 128 hidden units, first layer plain and two noisy ones, no double Q-learning. They take
turns in blocks of 500 steps, so that a busy machine slows all alike; CPU time is counted. Where
Stable-Baselines3 is installed its DQN stands beside them, with as many units and no noise, and so
does hunch's own DQN without noise; where JAX is, a loop whose environment, replay and updates are
compiled together.
"""

from __future__ import annotations

import argparse
import copy
import itertools
from collections.abc import Callable

import gymnasium
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from hunch.rl import DQN
from measuring import Rates, Way, rate_ways, ratio, rounded, spread, table, turns, with_spread
from peers.dense_noise import DenseNoisyLinear

BATCH, CAPACITY, TARGET_PERIOD, DISCOUNT, HIDDEN = 128, 10_000, 150, 0.99, 128
BLOCK = 500
REPLICAS = 16


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


def agent(seed: int, *, noisy: bool = True, replicas: int = 1) -> DQN:
    return DQN(
        "CartPole-v1",
        env_kwargs={"max_episode_steps": 200},
        noisy=noisy,
        random_steps=0,
        noise_draws=1,
        hidden_sizes=(HIDDEN, HIDDEN),
        learning_rate=1e-3,
        batch_size=BATCH,
        update_period=1,
        n_step=1,
        replay_capacity=CAPACITY,
        target_update_period=TARGET_PERIOD,
        target_update_rate=1.0,
        discount=DISCOUNT,
        replicas=replicas,
        seed=seed,
    )


def stable_baselines(seed: int) -> Callable[[int], object] | None:
    """Stable-Baselines3's DQN at the same settings, without noise; None if it is not installed."""
    try:
        from stable_baselines3 import DQN as Theirs
    except ImportError:
        return None
    model = Theirs(
        "MlpPolicy",
        gymnasium.make("CartPole-v1", max_episode_steps=200),
        learning_rate=1e-3,
        buffer_size=CAPACITY,
        learning_starts=BATCH,
        batch_size=BATCH,
        gamma=DISCOUNT,
        train_freq=1,
        gradient_steps=1,
        target_update_interval=TARGET_PERIOD,
        policy_kwargs={"net_arch": [HIDDEN, HIDDEN]},
        seed=seed,
        device="cpu",
    )
    return lambda until: model.learn(until - model.num_timesteps, reset_num_timesteps=False)


def jax_loop(seed: int) -> Callable[[int], object] | None:
    """The same in JAX, the environment too; None if that is not installed."""
    try:
        from peers import dqn_in_jax
    except ImportError:
        return None
    settings = dqn_in_jax.Settings(HIDDEN, BATCH, CAPACITY, TARGET_PERIOD, DISCOUNT, 200)
    return dqn_in_jax.agent(settings, seed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=10_000, help="environment steps each")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)

    many = f"hunch, {REPLICAS} replicas, each"
    runs: dict[str, Callable[[int], object]] = {
        "plain loop": PlainLoop(options.seed).learn,
        "hunch": learning(agent(options.seed)),
        many: learning(agent(options.seed, replicas=REPLICAS)),
        "hunch, no noise": learning(agent(options.seed, noisy=False)),
    }
    if (theirs := stable_baselines(options.seed)) is not None:
        runs["Stable-Baselines3 DQN, no noise"] = theirs
    if (jitted := jax_loop(options.seed)) is not None:
        runs["JAX, environment and all"] = jitted
    ways = {name: in_blocks(learn) for name, learn in runs.items()}
    times = turns({**ways, **rate_ways()}, max(1, options.steps // BLOCK - 1))
    times[many] = [taken / REPLICAS for taken in times[many]]
    rates = Rates.of(times)
    print("# NoisyNet-DQN on CartPole\n")
    print(
        f"{options.steps:,} environment steps with one update of {BATCH} each, one thread, CPU "
        f"time, torch {torch.__version__.split('+')[0]}. Medians over blocks of {BLOCK} steps, in "
        "which all take turns, and the middle half of them.\n"
    )
    head = "steps/s", "hunch is faster by", "hunch with replicas, each, by", "without noise, by"
    rows = [
        [
            name,
            rounded(BLOCK / spread(times[name]).median),
            *(with_spread(ratio(times[name], times[ours])) for ours in list(runs)[1:4]),
        ]
        for name in runs
    ]
    rows.append(["the floor, noisy", rounded(1 / least(rates)), "–", "–", "–"])
    print(table(["", *head], rows))
    print(
        "The floor: the products of an update, weights under noise made anew three times in it, "
        "Adam, and nothing of environment, replay and loss, at the rates the machine had in these "
        f"turns: {rates}."
    )


def learning(agent: DQN) -> Callable[[int], object]:
    return lambda until: agent.learn(until, progress=False)


def in_blocks(learn: Callable[[int], object]) -> Way:
    """Learn a block more with each call."""
    ends = itertools.count(BLOCK, BLOCK)
    return lambda: learn(next(ends))


def least(rates: Rates) -> float:
    """Seconds of an update's products, noise on weights and Adam."""
    plain, noisy = 4 * HIDDEN, HIDDEN * (HIDDEN + 2)
    operations = 2 * BATCH * (4 * (plain + noisy) - plain)
    # Weights of the two noisy layers, once each for action, update and target: read two, write one.
    traffic = 3 * 3 * 4 * noisy
    parameters = plain + HIDDEN + 2 * (noisy + HIDDEN + 2)
    return operations * rates.operation + traffic * rates.byte + parameters * rates.adam


if __name__ == "__main__":
    main()
