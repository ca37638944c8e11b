"""
Where has the model seen no data?
=================================

Twenty networks on all of the same points, once without and once with a random function added to
each that is never trained. Where there are data both ensembles agree with them. Elsewhere the
networks without priors still say nearly the same, and so look sure of what nothing supports.
"""

import matplotlib.pyplot as plt
import torch

from hunch.inference import fit, predict
from hunch.nn import MLP, Ensemble, RandomFourierPrior, RandomizedPrior

generator = torch.Generator().manual_seed(0)
x = torch.cat([torch.linspace(-1, -0.4, 15), torch.linspace(0.3, 0.7, 10)]).unsqueeze(1)
y = torch.sin(4 * x) + 0.05 * torch.randn(x.shape, generator=generator)
grid = torch.linspace(-2, 2, 201).unsqueeze(1)


def plain():
    """A network as it comes."""
    return MLP(1, [30, 30], 1, activation="tanh")


def with_prior():
    """The same, plus a random smooth function that stays as it is."""
    prior = RandomFourierPrior(1, 1, lengthscale=0.4)
    return RandomizedPrior(MLP(1, [30, 30], 1, activation="tanh"), prior=prior)


# %%
# ``fit`` trains all members at once; ``predict`` keeps what each of them says.

figure, axes = plt.subplots(1, 2, figsize=(8, 3.2), sharey=True, layout="constrained")
for ax, member, title in zip(
    axes, (plain, with_prior), ("without priors", "with priors"), strict=True
):
    net = Ensemble(member, num_members=20, seed=0)
    fit(net, x, y, bootstrap="none", steps=2000, lr=0.01, progress=False)
    p = predict(net, grid)
    mean, std = p.mean[:, 0], p.std[:, 0]
    ax.plot(grid[:, 0], p.members[:, :, 0].T, color="tab:blue", linewidth=0.4, alpha=0.5)
    ax.fill_between(grid[:, 0], mean - 2 * std, mean + 2 * std, color="tab:blue", alpha=0.2)
    ax.plot(x, y, "o", color="tab:red", markersize=3)
    ax.set(title=title, xlabel="x", ylim=(-4, 4))
axes[0].set_ylabel("y")
plt.show()
