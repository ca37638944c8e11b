"""
What if I know roughly how the function looks?
==============================================

A prior may be any function: one that is known, a pretrained network, a draw from a Gaussian
process. The members learn the difference from it, and far from the data they fall back on it.
Here the truth is a sine with a drift; one ensemble is told of a sine.
"""

import matplotlib.pyplot as plt
import torch
from torch import nn

from hunch.inference import fit, predict
from hunch.nn import MLP, Ensemble, RandomFourierPrior, RandomizedPrior


def truth(x):
    """A sine with a drift."""
    return torch.sin(3 * x) + 0.2 * x


class SineAndMore(nn.Module):
    """The sine that is known, and a random function for what is not."""

    def __init__(self):
        super().__init__()
        self.random = RandomFourierPrior(1, 1, lengthscale=1.0)

    def forward(self, x):
        """Their sum."""
        return torch.sin(3 * x) + 0.3 * self.random(x)


def told():
    """The sine is part of the prior."""
    return RandomizedPrior(MLP(1, [30, 30], 1), prior=SineAndMore())


def untold():
    """A draw from a Gaussian process as prior."""
    return RandomizedPrior(MLP(1, [30, 30], 1), prior=RandomFourierPrior(1, 1, lengthscale=1.0))


x = torch.linspace(-2, 0.5, 25).unsqueeze(1)
grid = torch.linspace(-2.5, 3.5, 201).unsqueeze(1)
figure, axes = plt.subplots(1, 2, figsize=(8, 3.2), sharey=True, layout="constrained")
for ax, member, title in zip(axes, (untold, told), ("prior: smooth", "prior: a sine"), strict=True):
    net = Ensemble(member, num_members=20, seed=0)
    fit(net, x, truth(x), steps=800, lr=0.01, progress=False)
    p = predict(net, grid)
    mean, std = p.mean[:, 0], p.std[:, 0]
    ax.fill_between(grid[:, 0], mean - 2 * std, mean + 2 * std, color="tab:blue", alpha=0.25)
    ax.plot(grid, mean, color="tab:blue", label="mean, two standard deviations")
    ax.plot(grid, truth(grid), "--", color="black", linewidth=1, label="truth")
    ax.plot(x, truth(x), "o", color="tab:red", markersize=3)
    ax.set(title=title, xlabel="x", ylim=(-5, 5))
axes[0].legend(loc="lower left", fontsize=8)
plt.show()
