"""What `hunch.gradients` costs beside hand-written torch: one training step of the forum's network.

Run `python benchmarks/gradients.py`. One thread; the two ways take turns in short blocks, so that
other load on the machine meets both, and the ratio is the median over the blocks' ratios. The goal
is at most 1.1 times the hand-written step.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.distributions import Normal

from hunch.gradients import expectation

Loss = Callable[[Normal, Tensor], Tensor]


def hand_score(dist: Normal, y: Tensor) -> Tensor:
    z = dist.sample()
    return (dist.log_prob(z) * (z - y) ** 2).mean()


def hand_leave_one_out(dist: Normal, y: Tensor) -> Tensor:
    z = dist.sample((2,))
    cost = (z - y) ** 2
    return (dist.log_prob(z) * (cost - (cost.sum(0) - cost))).mean()


def hand_pathwise(dist: Normal, y: Tensor) -> Tensor:
    return ((dist.rsample() - y) ** 2).mean()


def library(n: int, **how: object) -> Loss:
    def loss(dist: Normal, y: Tensor) -> Tensor:
        return expectation(lambda z: (z - y) ** 2, dist, n, **how).mean()

    return loss


def step_time(loss: Loss, inputs: int, steps: int) -> float:
    """Processor seconds per training step, over `steps` steps from a fresh network."""
    net = nn.Sequential(nn.Linear(1, 128), nn.Sigmoid(), nn.Linear(128, 8))
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-4)
    start = time.process_time()
    for _ in range(steps):
        x = torch.randn(inputs, 1)
        y = torch.cat([x, x**2, x**3, torch.sin(x)], dim=1)
        means, log_sigmas = net(x).chunk(2, dim=-1)
        value = loss(Normal(means, log_sigmas.exp()), y)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    return (time.process_time() - start) / steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=40, help="turns of each way")
    parser.add_argument("--steps", type=int, default=100, help="training steps in a block")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    score = {"estimator": "score"}
    rows: list[tuple[str, int, Loss, Loss]] = [
        ("score, no baseline, 64 x 1", 64, hand_score, library(1, **score)),
        ("score, leave-one-out, 32 x 2", 32, hand_leave_one_out, library(2, **score)),
        (
            "the same with generator=",
            32,
            hand_leave_one_out,
            library(2, generator=generator, **score),
        ),
        ("pathwise, 64 x 1", 64, hand_pathwise, library(1, estimator="pathwise")),
        ("pathwise chosen by auto, 64 x 1", 64, hand_pathwise, library(1)),
    ]
    print("| estimator, inputs x samples | hand-written, ms | hunch, ms | ratio |")
    print("|---|---|---|---|")
    for name, inputs, by_hand, by_library in rows:
        pairs = []
        for _ in range(options.blocks):
            pair = [step_time(loss, inputs, options.steps) for loss in (by_hand, by_library)]
            pairs.append(pair)
        hand, ours = (1e3 * statistics.median(column) for column in zip(*pairs, strict=True))
        ratio = statistics.median(b / a for a, b in pairs)
        print(f"| {name} | {hand:.3f} | {ours:.3f} | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main()
