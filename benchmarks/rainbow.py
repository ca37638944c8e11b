"""Rainbow on 84 × 84 × 4 frames: hunch beside a plain loop of the same algorithm.

    python benchmarks/rainbow.py [--steps 480] [--seed 0]

The plain loop is written the way tutorials write it: noise as a matrix in a buffer, torch's default
Adam, an action through the autograd graph, whole observations in the replay. Both have the settings
of `hunch train rainbow` on Atari: three convolutions, noisy dueling streams of 512 units, 51 atoms,
3 steps, priorities, batch 32, an update for each 4 steps, clipped gradients. Frames are noise, so
that no game is needed and none is timed. The two take turns in blocks of 24 steps, so that a busy
machine slows both alike; CPU time is counted, on one thread.

The second table has the parts of an agent step of hunch, four of act, store and one update, and
under them what the machine would need for the arithmetic alone: the products at the rate of the
best one of them measured here, and all weights that have to be read or written at the rate of a
copy between arrays beyond the cache.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from torch import Tensor, nn
from torch.nn import functional as F

from hunch.rl import DQN
from peers.dense_noise import DenseNoisyLinear

ACTIONS, ATOMS, HIDDEN, LOW, HIGH = 6, 51, 512, -10.0, 10.0
BATCH, PERIOD, N_STEP, DISCOUNT, CAPACITY, FIRST = 32, 4, 3, 0.99, 4_000, 480
LEARNING_RATE, TARGET_PERIOD, MAX_NORM, ALPHA, BETA = 6.25e-5, 2_000, 10.0, 0.5, 0.4
BLOCK = 24


class Frames(gymnasium.Env):
    """Gray frames of noise, a reward for one action of six, episodes of 400 steps."""

    observation_space, action_space = Box(0, 255, (84, 84), np.uint8), Discrete(ACTIONS)

    def __init__(self) -> None:
        self.pool = np.random.default_rng(0).integers(0, 256, (64, 84, 84), dtype=np.uint8)

    def reset(self, *, seed=None, options=None):
        """Begin anywhere."""
        super().reset(seed=seed)
        self.time, self.place = 0, int(self.np_random.integers(64))
        return self.pool[self.place], {}

    def step(self, action):
        """Go on by as many frames as the action says."""
        self.time += 1
        self.place = (self.place + 1 + int(action)) % 64
        reward = float(action == self.time % ACTIONS)
        return self.pool[self.place], reward, self.time >= 400, False, {}


def make_env() -> gymnasium.Env:
    return gymnasium.wrappers.FrameStackObservation(Frames(), 4, padding_type="reset")


def agent(seed: int) -> DQN:
    return DQN(
        make_env,
        noisy=True,
        random_steps=0,
        double=True,
        dueling=True,
        prioritized=True,
        n_step=N_STEP,
        distributional="categorical",
        atoms=ATOMS,
        value_range=(LOW, HIGH),
        discount=DISCOUNT,
        learning_rate=LEARNING_RATE,
        batch_size=BATCH,
        replay_capacity=CAPACITY,
        min_replay_size=FIRST,
        update_period=PERIOD,
        target_update_period=TARGET_PERIOD,
        target_update_rate=1.0,
        max_gradient_norm=MAX_NORM,
        priority_exponent=ALPHA,
        priority_correction=BETA,
        hidden_sizes=(HIDDEN,),
        seed=seed,
    )


class Network(nn.Module):
    """Observations, bytes, to logits `(batch, actions, atoms)`."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(4, 32, 8, stride=4),
            nn.ReLU(),
            nn.Conv2d(32, 64, 4, stride=2),
            nn.ReLU(),
            nn.Conv2d(64, 64, 3),
            nn.ReLU(),
            nn.Flatten(),
        )
        self.value, self.advantage = (
            nn.Sequential(DenseNoisyLinear(3136, HIDDEN), nn.ReLU(), DenseNoisyLinear(HIDDEN, n))
            for n in (ATOMS, ACTIONS * ATOMS)
        )

    def forward(self, observation: Tensor) -> Tensor:
        """The logits."""
        x = self.features(observation / 255)
        value = self.value(x).view(-1, 1, ATOMS)
        advantage = self.advantage(x).view(-1, ACTIONS, ATOMS)
        return value + advantage - advantage.mean(1, keepdim=True)

    def redraw(self) -> None:
        """New noise in all layers."""
        for layer in self.modules():
            if isinstance(layer, DenseNoisyLinear):
                layer.redraw()


class PlainLoop:
    """Rainbow, step by step."""

    def __init__(self, seed: int) -> None:
        torch.manual_seed(seed)
        self.rng = np.random.default_rng(seed)
        self.env = make_env()
        self.net = Network()
        self.target = copy.deepcopy(self.net)
        self.optimizer = torch.optim.Adam(self.net.parameters(), LEARNING_RATE)
        self.support = torch.linspace(LOW, HIGH, ATOMS)
        self.observations = np.zeros((CAPACITY, 4, 84, 84), np.uint8)
        self.next_observations = np.zeros((CAPACITY, 4, 84, 84), np.uint8)
        self.actions = np.zeros(CAPACITY, np.int64)
        self.rewards, self.discounts, self.priorities = np.zeros((3, CAPACITY), np.float32)
        self.largest = 1.0
        self.waiting: list[tuple[np.ndarray, int, float]] = []
        self.steps = self.stored = self.updates = 0
        self.observation, _ = self.env.reset(seed=seed)

    def learn(self, until: int) -> None:
        """Go on until `until` environment steps have been made."""
        while self.steps < until:
            logits = self.net(torch.FloatTensor(self.observation)[None])
            action = int((logits.softmax(-1) @ self.support).argmax())
            self.net.redraw()
            following, reward, terminated, truncated, _ = self.env.step(action)
            self.waiting.append((self.observation, action, float(reward)))
            over = terminated or truncated
            while len(self.waiting) == N_STEP or (self.waiting and over):
                self.store(following, terminated)
            self.steps += 1
            self.observation = self.env.reset()[0] if over else following
            if self.stored >= FIRST and self.steps % PERIOD == 0:
                self.update()

    def store(self, following: np.ndarray, terminated: bool) -> None:
        """Store the oldest of the steps that wait."""
        row = self.stored % CAPACITY
        total = sum(DISCOUNT**j * reward for j, (_, _, reward) in enumerate(self.waiting))
        self.discounts[row] = 0.0 if terminated else DISCOUNT ** len(self.waiting)
        self.observations[row], self.actions[row], _ = self.waiting.pop(0)
        self.next_observations[row], self.rewards[row] = following, total
        self.priorities[row] = self.largest
        self.stored += 1

    def update(self) -> None:
        """Make one gradient update."""
        share = self.priorities[: min(self.stored, CAPACITY)] ** ALPHA
        share /= share.sum()
        rows = self.rng.choice(len(share), BATCH, p=share / share.sum(dtype=np.float64))
        weight = (len(share) * share[rows]) ** -BETA
        weight = torch.FloatTensor(weight / weight.max())
        every = torch.arange(BATCH)
        with torch.no_grad():
            following = torch.FloatTensor(self.next_observations[rows])
            best = (self.net(following).softmax(-1) @ self.support).argmax(-1)
            self.net.redraw()
            probs = self.target(following)[every, best].softmax(-1)
            goal = self.project(rows, probs)
        logits = self.net(torch.FloatTensor(self.observations[rows]))
        chosen = logits[every, torch.LongTensor(self.actions[rows])]
        each = -(goal * chosen.log_softmax(-1)).sum(-1)
        loss = (each * weight).mean()
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), MAX_NORM)
        self.optimizer.step()
        self.net.redraw()
        self.target.redraw()
        error = (each.detach() + torch.xlogy(goal, goal).sum(-1)).clamp(min=0).numpy() + 1e-6
        self.priorities[rows] = error
        self.largest = max(self.largest, float(error.max()))
        self.updates += 1
        if self.updates % TARGET_PERIOD == 0:
            self.target.load_state_dict(self.net.state_dict())

    def project(self, rows: np.ndarray, probs: Tensor) -> Tensor:
        """The distribution of what a transition led to, on the fixed returns."""
        reward, discount = (
            torch.FloatTensor(a[rows, None]) for a in (self.rewards, self.discounts)
        )
        place = (reward + discount * self.support).clamp(LOW, HIGH).sub(LOW)
        place *= (ATOMS - 1) / (HIGH - LOW)
        low, high = place.floor().long(), place.ceil().long()
        low[(high > 0) & (low == high)] -= 1
        high[(low < ATOMS - 1) & (low == high)] += 1
        goal = torch.zeros(BATCH, ATOMS)
        goal.scatter_add_(1, low, probs * (high - place))
        return goal.scatter_add_(1, high, probs * (place - low))


def cpu_seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def side_by_side(steps: int, seed: int) -> dict[str, np.ndarray]:
    """CPU seconds of each block of steps."""
    ours, plain = agent(seed), PlainLoop(seed)
    runs: dict[str, Callable[[int], object]] = {
        "plain loop": plain.learn,
        "hunch": lambda until: ours.learn(until, progress=False),
    }
    times: dict[str, list[float]] = {name: [] for name in runs}
    begun = FIRST + BLOCK
    for until in range(begun, begun + steps + 1, BLOCK):
        for name, learn in runs.items():
            times[name].append(cpu_seconds(lambda: learn(until)))  # noqa: B023
    return {name: np.array(taken[1:]) for name, taken in times.items()}  # the first fills memory


def parts(seed: int, rounds: int = 15) -> dict[str, float]:
    """CPU milliseconds of the parts of an agent step; the parts take turns."""
    ours = agent(seed)
    ours.learn(FIRST + BLOCK, progress=False)
    batch = ours._replay.sample(BATCH, ours._sampling, BETA)
    seen = ours._loop._observation.reshape(ours._loop._shape)
    first = np.zeros((1, 1), np.bool_)
    x = ours._seen(batch.observation)
    given = torch.randn(1, BATCH, (ACTIONS + 1) * ATOMS) / BATCH

    def learned() -> None:
        _, backward = ours._online.differentiable(x)
        backward(given)

    ways: dict[str, tuple[Callable[[], object], float]] = {
        "act on one row": (lambda: ours.act(seen, first), 1.0),
        "draw a batch": (lambda: ours._replay.sample(BATCH, ours._sampling, BETA), 1 / PERIOD),
        "target network, next observations": (lambda: ours._target(x), 1 / PERIOD),
        "online network, next observations": (lambda: ours._online(x), 1 / PERIOD),
        "online network, forwards and backwards": (learned, 1 / PERIOD),
        # Of what the line above left to it.
        "gradients of wide layers, clip and Adam": (lambda: ours._pair.step(0.0), 1 / PERIOD),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds + 1):
        for name, (way, share) in ways.items():
            times[name].append(cpu_seconds(way) * share * 1e3)
    return {name: float(np.median(taken[1:])) for name, taken in times.items()}


def best_rate(works: list[tuple[Callable[[], object], float]], rounds: int = 15) -> float:
    """The highest rate, of what the numbers count, at which one of the works was done."""
    return max(
        count / float(np.median([cpu_seconds(work) for _ in range(rounds)]))
        for work, count in works
    )


def floor() -> tuple[float, float, float, float]:
    """Milliseconds of an agent step for products and for memory, and the two rates."""
    convolutions = [(4, 32, 8, 4, 84), (32, 64, 4, 2, 20), (64, 64, 3, 1, 9)]
    works: list[tuple[Callable[[], object], float]] = []
    flops = 0.0  # of one image
    backward = 0.0
    for i, (p, q, kernel, stride, side) in enumerate(convolutions):
        images = torch.rand(BATCH, p, side, side).contiguous(memory_format=torch.channels_last)
        weight = torch.rand(q, p, kernel, kernel)
        own = 2.0 * ((side - kernel) // stride + 1) ** 2 * q * p * kernel**2
        works.append((lambda x=images, w=weight, s=stride: F.conv2d(x, w, stride=s), BATCH * own))
        flops += own
        backward += own * (2 if i else 1)
    square = torch.rand(1024, 1024)
    works.append((lambda: square @ square, 2.0 * 1024**3))
    weights = 3136 * HIDDEN * 2 + HIDDEN * ATOMS * (ACTIONS + 1)
    flops += 2.0 * weights
    backward += 4.0 * weights
    per_step = flops + (BATCH * (3 * flops + backward)) / PERIOD
    parameters = 2 * weights  # means and stds
    # Acting reads them. An update reads them in three forwards and a backward, and Adam reads and
    # writes them and two means; of their gradient no more than the cache holds need be anywhere.
    touched = parameters * (1 + (4 + 6) / PERIOD)
    source, copied = torch.rand(2, 16_000_000)
    bandwidth = best_rate([(lambda: copied.copy_(source), 2 * 4.0 * source.numel())])
    rate = best_rate(works)
    return per_step / rate * 1e3, 4 * touched / bandwidth * 1e3, rate / 1e9, bandwidth / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=480, help="environment steps each")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    times = side_by_side(options.steps, options.seed)
    print("# Rainbow on 84 × 84 × 4 frames\n")
    print(
        f"{options.steps} agent steps, an update of {BATCH} for each {PERIOD}, one thread, CPU "
        f"time, torch {torch.__version__.split('+')[0]}. Medians over blocks of {BLOCK} steps, in "
        "which the two take turns; in brackets the quarters.\n"
    )
    print("| | agent steps/s | ms a step | hunch is faster by |")
    print("|---|---|---|---|")
    ours = times["hunch"]
    for name, spent in times.items():
        low, middle, high = np.quantile(spent / ours, [0.25, 0.5, 0.75])
        step = float(np.median(spent)) / BLOCK
        print(f"| {name} | {1 / step:.1f} | {1e3 * step:.1f} "
              f"| {middle:.2f} ({low:.2f} – {high:.2f}) |")  # fmt: skip
    print("\n| part of an agent step of hunch | ms |")
    print("|---|---|")
    for name, spent_ms in parts(options.seed).items():
        print(f"| {name} | {spent_ms:.2f} |")
    products, memory, rate, bandwidth = floor()
    print(f"| floor: products at {rate:.0f} GFLOP/s | {products:.2f} |")
    print(f"| floor: weights through memory at {bandwidth:.0f} GB/s | {memory:.2f} |")


if __name__ == "__main__":
    main()
