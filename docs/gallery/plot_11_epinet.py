"""
Can one network stand in for twenty?
====================================

An epinet is one network with a small one beside it that is fed a random index; each index is a
member. It has a fraction of the ensemble's parameters. On this task it finds the same places
doubtful, with a band of another width.
"""

import matplotlib.pyplot as plt
import torch

from hunch.inference import fit, predict
from hunch.nn import MLP, Ensemble, Epinet, RandomizedPrior

x = torch.cat([torch.linspace(-1, -0.4, 20), torch.linspace(0.3, 0.8, 20)]).unsqueeze(1)
y = torch.sin(4 * x) + 0.1 * torch.randn(40, 1, generator=torch.Generator().manual_seed(0))
grid = torch.linspace(-2, 2, 161).unsqueeze(1)

ensemble = Ensemble(
    lambda: RandomizedPrior(MLP(1, [50, 50], 1), prior=MLP(1, [50, 50], 1)), num_members=20, seed=0
)
with torch.random.fork_rng():
    torch.manual_seed(0)
    epinet = Epinet(MLP(1, [50, 50], 1), index_dim=8, hidden_sizes=(15,))

figure, axes = plt.subplots(1, 2, figsize=(8, 3.2), sharey=True, layout="constrained")
for ax, net, name in zip(axes, (ensemble, epinet), ("20 networks", "an epinet"), strict=True):
    fit(net, x, y, bootstrap="none", target_noise=0.1, steps=800, lr=0.01, progress=False)
    p = predict(net, grid, num_members=None if net is ensemble else 100)
    size = sum(parameter.numel() for parameter in net.parameters() if parameter.requires_grad)
    mean, std = p.mean[:, 0], p.std[:, 0]
    ax.fill_between(grid[:, 0], mean - 2 * std, mean + 2 * std, color="tab:blue", alpha=0.25)
    ax.plot(grid, mean, color="tab:blue")
    ax.plot(x, y, "o", color="tab:red", markersize=3)
    ax.set(title=f"{name}, {size:,} trained numbers", xlabel="x", ylim=(-4, 4))
axes[0].set_ylabel("y")
plt.show()
