"""
How much does a baseline help?
==============================

A constant added to the cost changes no true gradient, but without a baseline it blows up the
noise of its estimate. The mean of the other samples, ``"loo"``, takes the constant out and leaves
the estimate unbiased. Even with two samples it wins once the constant is not small.
"""

import matplotlib.pyplot as plt
import torch

from hunch.gradients import expectation

generator = torch.Generator().manual_seed(0)
constants = [0.0, 0.5, 1.0, 2.0, 5.0, 10.0]


def spread(constant, n, baseline):
    """Standard deviation of 4,000 gradients, each from n samples."""
    mu = torch.zeros(4000, requires_grad=True)
    loss = expectation(
        lambda z: (z - 1) ** 2 + constant,
        torch.distributions.Normal(mu, 1.0),
        n,
        estimator="score",
        baseline=baseline,
        generator=generator,
    )
    loss.sum().backward()
    return mu.grad.std().item()


figure, ax = plt.subplots(figsize=(6, 3.6), layout="constrained")
for n, style in ((2, ":"), (8, "--"), (32, "-")):
    for baseline, color in ((0.0, "tab:orange"), ("loo", "tab:blue")):
        label = f"n = {n}, {'no baseline' if baseline == 0.0 else 'leave-one-out'}"
        values = [spread(constant, n, baseline) for constant in constants]
        ax.plot(constants, values, style, marker="o", markersize=4, color=color, label=label)
ax.set(
    xlabel="constant added to the cost", ylabel="std of the gradient (true value −2)", yscale="log"
)
ax.legend(ncols=2, fontsize=8)
plt.show()
