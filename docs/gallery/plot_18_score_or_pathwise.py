"""
Score function or pathwise?
===========================

Where the cost is smooth both are right. The pathwise gradient looks through the sample and stays
quiet in many dimensions; the score function knows only one number per sample, and its noise grows
with their number. Where the cost has steps only the score function is right.
"""

import matplotlib.pyplot as plt
import torch

from hunch.gradients import expectation

generator = torch.Generator().manual_seed(0)
dimensions = [1, 3, 10, 30, 100]


def relative_noise(size, estimator):
    """Std of a gradient's first coordinate, from 16 samples, in units of its true size."""
    mu = torch.zeros(1000, size, requires_grad=True)
    dist = torch.distributions.Independent(torch.distributions.Normal(mu, 1.0), 1)
    loss = expectation(
        lambda z: ((z - 1) ** 2).sum(-1), dist, 16, estimator=estimator, generator=generator
    )
    loss.sum().backward()
    return mu.grad[:, 0].std().item() / 2


figure, ax = plt.subplots(figsize=(6, 3.4), layout="constrained")
for estimator, color in (("score", "tab:orange"), ("pathwise", "tab:blue")):
    ax.plot(
        dimensions,
        [relative_noise(size, estimator) for size in dimensions],
        "o-",
        color=color,
        label=estimator,
    )
ax.set(
    xlabel="dimensions of z", ylabel="noise of a coordinate / its size", xscale="log", yscale="log"
)
ax.legend()
plt.show()
