"""The forum's network and its four curves, stacked over replicas, and one update of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Normal

from hunch.gradients import expectation
from hunch.seeding import default_generator_seeded

CURVES = ("x", "x²", "x³", "sin x")
HIDDEN = 128  # units, as in the forum's script
Parameters = tuple[Tensor, Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class Arm:
    """One way to train: an estimator, how it spends its evaluations, and a learning rate."""

    name: str
    estimator: str
    baseline: Literal["loo"] | float | None
    samples: int
    fast: bool = False


FORUM = Arm("forum", "score", 0.0, samples=1)  # no baseline, on purpose
LEAVE_ONE_OUT = Arm("leave-one-out", "score", "loo", samples=2)
PATHWISE = Arm("pathwise", "pathwise", None, samples=1)
FAST = Arm("leave-one-out, fast", "score", "loo", samples=2, fast=True)
AT_ONE_RATE = (FORUM, LEAVE_ONE_OUT, PATHWISE)
ARMS = (*AT_ONE_RATE, FAST)

# What the variance of the mean's gradient is called in `gradient_forms`.
FORM_OF = {FORUM.name: "score", LEAVE_ONE_OUT.name: "leave-one-out 2", PATHWISE.name: "pathwise"}


def targets(x: Tensor) -> Tensor:
    """The four curves at `x`, shape (..., 1) -> (..., 4).

    Example:
        >>> targets(torch.tensor([[2.0]]))[0, :3]
        tensor([2., 4., 8.])
    """
    return torch.cat([x, x**2, x**3, x.sin()], dim=-1)


def squared_error(y: Tensor, z: Tensor) -> Tensor:
    """The cost of samples `z` that should meet `y`."""
    return (z - y) ** 2


def initial_parameters(replicas: int, seed: int) -> Parameters:
    """What `torch.nn.Linear` starts from, stacked: the same starts for every arm."""
    nets = []
    for replica in range(replicas):
        with default_generator_seeded(seed, "four-curves", "init", replica):
            nets.append((nn.Linear(1, HIDDEN), nn.Linear(HIDDEN, 2 * len(CURVES))))
    stacks = []
    for layer in (0, 1):
        stacks.append(torch.stack([net[layer].weight.detach().T for net in nets]).contiguous())
        stacks.append(torch.stack([net[layer].bias.detach() for net in nets]).unsqueeze(1))
    w1, b1, w2, b2 = (stack.requires_grad_() for stack in stacks)
    return w1, b1, w2, b2


def forward(parameters: Parameters, x: Tensor) -> tuple[Tensor, Tensor]:
    """Means and spreads, each (replicas, inputs, curves), of x (inputs, 1), own or shared."""
    w1, b1, w2, b2 = parameters
    # With one input the first layer is an outer product, not worth a matrix product.
    hidden = torch.addcmul(b1, x, w1).sigmoid()
    means, log_sigmas = torch.baddbmm(b2, hidden, w2).chunk(2, dim=-1)
    return means, log_sigmas.exp()


def update(
    parameters: Parameters,
    optimizer: torch.optim.Optimizer,
    arm: Arm,
    evaluations: int,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """One gradient update of every replica on inputs of its own.

    Args:
        parameters: those of the stacked networks.
        optimizer: of these parameters.
        arm: which estimator.
        evaluations: of each curve's cost, per replica.
        generator: decides inputs and samples.

    Returns:
        Costs and spreads, each (replicas, inputs, curves).
    """
    cost, sigmas = batch_cost(parameters, arm, evaluations, generator)
    optimizer.zero_grad()
    # The mean over a replica's batch and curves, as in the script; replicas do not meet.
    (cost.sum() / cost[0].numel()).backward()
    optimizer.step()
    return cost, sigmas


def batch_cost(
    parameters: Parameters, arm: Arm, evaluations: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Costs with the arm's gradient and spreads, each (replicas, inputs, curves), of new inputs."""
    x = torch.randn((len(parameters[0]), evaluations // arm.samples, 1), generator=generator)
    y = targets(x)
    means, sigmas = forward(parameters, x)
    dist = Normal(means, sigmas, validate_args=False)
    cost = expectation(
        partial(squared_error, y),
        dist,
        arm.samples,
        estimator=arm.estimator,
        baseline=arm.baseline,
        generator=generator,
    )
    return cost, sigmas


@torch.no_grad()
def evaluate_means(parameters: Parameters, test: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Squared error of the means and mean spread over the test inputs, each (replicas, curves)."""
    sums = torch.zeros(2, len(parameters[0]), len(CURVES))
    for x in test.split(2_000):  # the hidden layer of all inputs at once would leave the cache
        means, sigmas = forward(parameters, x)
        sums += torch.stack([((means - targets(x)) ** 2).sum(1), sigmas.sum(1)])
    error, spread = (sums / len(test)).numpy()
    return error, spread
