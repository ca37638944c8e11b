"""
How large should the prior be?
==============================

The scale of the prior says how far functions may wander where there are no data. Outside the points
doubt grows with it; in the gap between them the networks' own beginnings set a floor. A scale near
the spread of the targets is a good first guess, and a held-out set the judge.
"""

import matplotlib.pyplot as plt
import torch

from hunch.inference import fit, predict
from hunch.nn import MLP, Ensemble, RandomFourierPrior, RandomizedPrior

x = torch.cat([torch.linspace(-1, -0.4, 15), torch.linspace(0.4, 1, 15)]).unsqueeze(1)
y = torch.sin(4 * x)
grid = torch.linspace(-2, 2, 161).unsqueeze(1)

figure, ax = plt.subplots(figsize=(6, 3.4), layout="constrained")
for scale, color in zip((0.1, 0.3, 1.0, 3.0), plt.cm.viridis([0.1, 0.4, 0.65, 0.9]), strict=True):
    net = Ensemble(
        lambda scale=scale: RandomizedPrior(
            MLP(1, [30, 30], 1, activation="tanh"),
            prior=RandomFourierPrior(1, 1, lengthscale=0.5),
            scale=scale,
        ),
        num_members=20,
        seed=0,
    )
    fit(net, x, y, steps=3000, lr=0.005, bootstrap="none", progress=False)
    ax.plot(grid, predict(net, grid).std, color=color, label=f"scale {scale:g}")
ax.plot(x, torch.full_like(x, 0.002), "|", color="tab:red", label="data")
ax.set(xlabel="x", ylabel="members' standard deviation", yscale="log", ylim=(0.001, None))
ax.legend(ncols=2)
plt.show()
