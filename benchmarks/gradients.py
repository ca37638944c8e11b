"""What `hunch.gradients` costs beside hand-written torch: one training step of the forum's network.

Run `python benchmarks/gradients.py`. One thread, processor time; the two ways take turns step by
step, so that other load and the clock of the machine meet both, and the ratio is the median over
blocks of such pairs, with the quarters around it. The goals: at most 1.08 times the hand-written
step, and five seeds trained together at least 3 times as fast as one after another. With
storchastic installed its step is timed too, last, because importing it changes torch for the whole
process.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.distributions import Normal

from hunch.experiments.gradients.four_curves_network import FORUM, initial_parameters, update
from hunch.gradients import expectation
from measuring import spread, turns

Loss = Callable[[Normal, Tensor], Tensor]
Timed = Callable[[], float]


def hand_score(dist: Normal, y: Tensor) -> Tensor:
    z = dist.sample()
    return (dist.log_prob(z) * (z - y) ** 2).mean()


def hand_leave_one_out(dist: Normal, y: Tensor) -> Tensor:
    z = dist.sample((2,))
    cost = (z - y) ** 2
    return (dist.log_prob(z) * (cost - (cost.sum(0) - cost))).mean()


def hand_four(dist: Normal, y: Tensor) -> Tensor:
    z = dist.sample((4,))
    cost = (z - y) ** 2
    return (dist.log_prob(z) * (cost - (cost.sum(0) - cost) / 3)).mean()


def hand_pathwise(dist: Normal, y: Tensor) -> Tensor:
    return ((dist.rsample() - y) ** 2).mean()


def library(n: int, **how: object) -> Loss:
    def loss(dist: Normal, y: Tensor) -> Tensor:
        return expectation(lambda z: (z - y) ** 2, dist, n, **how).mean()

    return loss


def trainer(loss: Loss, inputs: int) -> Callable[[], None]:
    """One training step of a fresh network, as a function."""
    net = nn.Sequential(nn.Linear(1, 128), nn.Sigmoid(), nn.Linear(128, 8))
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-4)

    def step() -> None:
        x = torch.randn(inputs, 1)
        y = torch.cat([x, x**2, x**3, torch.sin(x)], dim=1)
        means, log_sigmas = net(x).chunk(2, dim=-1)
        value = loss(Normal(means, log_sigmas.exp()), y)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()

    return step


def step_time(loss: Loss, inputs: int, steps: int) -> float:
    """Processor seconds per training step, over `steps` steps from a fresh network."""
    step = trainer(loss, inputs)
    start = time.process_time()
    for _ in range(steps):
        step()
    return (time.process_time() - start) / steps


def in_turns(blocks: int, steps: int, inputs: int, first: Loss, second: Loss) -> list[list[float]]:
    """Processor seconds per step of both, for each block; they take turns step by step.

    Each block has fresh networks, since a long one without a baseline collapses; their first steps,
    in which Adam makes its averages, do not count.
    """
    found = []
    for _ in range(blocks):
        ways = {name: trainer(loss, inputs) for name, loss in (("1", first), ("2", second))}
        found.append([statistics.fmean(each) for each in turns(ways, steps, warm=5).values()])
    return found


def one_after_another(seeds: int, steps: int) -> float:
    """Processor seconds per step of all seeds, the forum's script run for each."""
    return sum(step_time(hand_score, 64, steps) for _ in range(seeds))


def together(seeds: int, steps: int) -> float:
    """The same by the stacked networks of the `four-curves` experiment."""
    parameters = initial_parameters(seeds, seed=0)
    optimizer = torch.optim.Adam(parameters, lr=5e-4, fused=True)
    generator = torch.Generator().manual_seed(0)
    start = time.process_time()
    for _ in range(steps):
        update(parameters, optimizer, FORUM, 64, generator)
    return (time.process_time() - start) / steps


def storch_step_time(steps: int) -> float:
    """Storchastic's step with leave-one-out, 16 inputs x 4 samples as in its own examples."""
    import storch
    from storch.method import ScoreFunction

    net = nn.Sequential(nn.Linear(1, 128), nn.Sigmoid(), nn.Linear(128, 8))
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-4)
    method = ScoreFunction("z", n_samples=4, baseline_factory="batch_average")
    start = time.process_time()
    for _ in range(steps):
        x = torch.randn(16, 1)
        y = torch.cat([x, x**2, x**3, torch.sin(x)], dim=1)
        means, log_sigmas = net(x).chunk(2, dim=-1)
        means, log_sigmas, y = (
            storch.denote_independent(part.reshape(-1), 0, "factor")
            for part in (means, log_sigmas, y)
        )
        z = method(Normal(means, log_sigmas.exp()))
        storch.add_cost((z - y) ** 2, "cost")
        optimizer.zero_grad()
        storch.backward()
        optimizer.step()
    return (time.process_time() - start) / steps


def ratios(blocks: int, first: Timed, second: Timed) -> tuple[float, float, float]:
    """Median milliseconds of both, and the median over the blocks of second over first."""
    pairs = [(first(), second()) for _ in range(blocks)]
    one, two = (1e3 * statistics.median(column) for column in zip(*pairs, strict=True))
    return one, two, statistics.median(b / a for a, b in pairs)


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
        (
            "the same, on purpose: baseline=0.0",
            64,
            hand_score,
            library(1, baseline=0.0, **score),
        ),
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
    version = torch.__version__.split("+")[0]
    print(f"# A training step through hunch.gradients\n\nOne thread, torch {version}.\n")
    print("| estimator, inputs x samples | hand-written, ms | hunch, ms | ratio | half of them |")
    print("|---|---|---|---|---|")
    for name, inputs, by_hand, by_library in rows:
        found = in_turns(options.blocks, options.steps, inputs, by_hand, by_library)
        hand, ours = (1e3 * statistics.median(column) for column in zip(*found, strict=True))
        ratio, low, high = spread([b / a for a, b in found])
        cells = f"{hand:.3f} | {ours:.3f} | {ratio:.2f} | {low:.2f}–{high:.2f}"
        print(f"| {name} | {cells} |", flush=True)
    print("\n| five seeds of the forum's problem | ms per update of all |\n|---|---|")
    apart, joint, ratio = ratios(
        options.blocks,
        partial(one_after_another, 5, options.steps),
        partial(together, 5, options.steps),
    )
    print(f"| the forum's script, one after another | {apart:.3f} |")
    print(f"| together, on a leading axis | {joint:.3f} |")
    print(f"\nTogether is {1 / ratio:.1f} times as fast.", flush=True)
    if importlib.util.find_spec("storch") is not None:
        hand, theirs, ratio = ratios(
            options.blocks // 4,
            partial(step_time, hand_four, 16, options.steps),
            partial(storch_step_time, options.steps),
        )
        print(
            f"\nstorchastic {importlib.metadata.version('storchastic')}, leave-one-out, 16 x 4: "
            f"{theirs:.3f} ms beside {hand:.3f} by hand, {ratio:.1f} times as long."
        )


if __name__ == "__main__":
    main()
