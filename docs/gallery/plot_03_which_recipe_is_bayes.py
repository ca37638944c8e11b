"""
Which recipe is Bayes?
======================

A line through the origin, y = θx + noise, has a posterior that can be written down. An ensemble
draws from it exactly if each member has a prior, its own noise on the targets and a ridge.
Resampling the rows instead gives another distribution: with four rows it has lumps, one for each
choice of rows, and some slopes far off.
"""

import math

import matplotlib.pyplot as plt
import torch
from torch import nn

from hunch.inference import fit
from hunch.nn import Ensemble, RandomizedPrior

noise, prior_std = 0.5, 1.0
generator = torch.Generator().manual_seed(3)
x = torch.randn(4, 1, generator=generator)
y = 0.7 * x + noise * torch.randn(4, 1, generator=generator)

precision = 1 / prior_std**2 + (x**2).sum().item() / noise**2
mean, std = (x * y).sum().item() / noise**2 / precision, math.sqrt(1 / precision)


def member():
    """A slope that is learned, plus a slope that is drawn from the prior and kept."""
    prior = nn.Linear(1, 1, bias=False)
    nn.init.normal_(prior.weight, std=prior_std)
    learned = nn.Linear(1, 1, bias=False)
    nn.init.normal_(learned.weight, std=prior_std)
    return RandomizedPrior(learned, prior=prior)


def slopes(**recipe):
    """The slope of each of 2,000 members."""
    net = Ensemble(member, num_members=2000, seed=0)
    fit(net, x, y, steps=400, lr=0.05, progress=False, **recipe)
    one = torch.ones(1, 1)
    return net(one).detach().flatten().numpy()


exact = slopes(bootstrap="none", target_noise=noise, ridge=noise**2 / prior_std**2)
rows = slopes(bootstrap="multinomial")

# %%
# The curve is the posterior in closed form.

edges = torch.linspace(mean - 6 * std, mean + 6 * std, 60)
density = torch.exp(-0.5 * ((edges - mean) / std) ** 2) / (std * math.sqrt(2 * math.pi))
figure, ax = plt.subplots(figsize=(6, 3.4), layout="constrained")
ax.hist(exact, edges, density=True, alpha=0.5, color="tab:blue", label="noise on targets and ridge")
ax.hist(rows, edges, density=True, alpha=0.5, color="tab:orange", label="rows resampled")
ax.plot(edges, density, color="black", label="exact posterior")
ax.set(xlabel="slope θ", ylabel="density")
ax.legend()
plt.show()
