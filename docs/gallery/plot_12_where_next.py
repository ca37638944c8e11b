"""
Where should I measure next?
============================

Thompson sampling takes one member at random, believes it, and measures where its function is
largest. Members disagree where little is known, so choices spread there at first, and gather at
the maximum as it becomes clear. Rows below are what 20 members would do after 4, 8 and 12
measurements.
"""

import matplotlib.pyplot as plt
import torch

from hunch.inference import fit, predict
from hunch.nn import MLP, Ensemble, RandomFourierPrior, RandomizedPrior


def measure(x):
    """What is to be maximised; its largest value is at 0.75."""
    return torch.exp(-20 * (x - 0.75) ** 2) + 0.6 * torch.exp(-30 * (x - 0.2) ** 2)


generator = torch.Generator().manual_seed(1)
grid = torch.linspace(0, 1, 201).unsqueeze(1)
x = torch.tensor([[0.05], [0.25], [0.4], [0.5]])
figure, axes = plt.subplots(3, 1, figsize=(6, 6), sharex=True, layout="constrained")
for ax in axes:
    net = Ensemble(
        lambda: RandomizedPrior(
            MLP(1, [30, 30], 1, activation="tanh"),
            prior=RandomFourierPrior(1, 1, lengthscale=0.2),
            scale=0.5,
        ),
        num_members=20,
        seed=0,
    )
    fit(net, x, measure(x), bootstrap="none", steps=1000, lr=0.01, progress=False)
    members = predict(net, grid).members[:, :, 0]
    best = grid[members.argmax(dim=1), 0]
    ax.plot(grid[:, 0], members.T, color="tab:blue", linewidth=0.5, alpha=0.6)
    ax.plot(grid, measure(grid), "--", color="black", linewidth=1)
    ax.plot(x, measure(x), "o", color="tab:red", markersize=4)
    ax.plot(best, torch.full_like(best, -0.9), "|", color="tab:green", markersize=10)
    ax.set(ylabel="value", ylim=(-1.1, 2), title=f"{len(x)} measurements; green: members' choices")
    chosen = torch.randperm(20, generator=generator)[:4]
    x = torch.cat([x, best[chosen].unsqueeze(1)])
axes[-1].set_xlabel("x")
plt.show()
