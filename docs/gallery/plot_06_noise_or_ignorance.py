"""
Is it noise, or ignorance?
==========================

Noise (aleatoric) is what stays however many data come; ignorance (epistemic) is what more data
would remove. A ``GaussianHead`` learns the first, the members' disagreement is the second. Data
are noisy on the right and missing in the middle, and the two curves say so.
"""

import matplotlib.pyplot as plt
import torch

from hunch.inference import fit, predict
from hunch.nn import MLP, Ensemble, GaussianHead, RandomizedPrior

generator = torch.Generator().manual_seed(0)
x = torch.rand(400, 1, generator=generator)
x = torch.where(x < 0.5, x * 1.4 - 1, x * 1.4 - 0.4)  # from -1 to -0.3, and from 0.3 to 1
spread = torch.where(x > 0, 0.4, 0.1)
y = torch.sin(4 * x) + spread * torch.randn(x.shape, generator=generator)
grid = torch.linspace(-1.5, 1.5, 201).unsqueeze(1)


def member():
    """A mean with a prior, and a network of its own for the noise."""
    mean = RandomizedPrior(MLP(1, [30], 1, activation="tanh"), prior=MLP(1, [30], 1), scale=2.0)
    return GaussianHead(mean, MLP(1, [30], 1, activation="tanh"))


net = Ensemble(member, num_members=20, seed=0)
fit(net, x, y, loss="beta_nll", lr=0.02, steps=800, progress=False)
p = predict(net, grid)

figure, (top, bottom) = plt.subplots(2, 1, figsize=(6, 5), sharex=True, layout="constrained")
top.plot(x, y, ".", color="tab:red", markersize=3, alpha=0.6)
low, high = p.interval(0.9)
top.fill_between(grid[:, 0], low[:, 0], high[:, 0], color="tab:blue", alpha=0.25)
top.plot(grid, p.mean, color="tab:blue")
top.set(ylabel="y", ylim=(-3, 3), title="mean and 90 % interval")
bottom.plot(grid, p.aleatoric, color="tab:orange", label="noise (aleatoric)")
bottom.plot(grid, p.epistemic, color="tab:blue", label="ignorance (epistemic)")
bottom.set(xlabel="x", ylabel="standard deviation", ylim=(0, 1.2))
bottom.legend()
plt.show()
