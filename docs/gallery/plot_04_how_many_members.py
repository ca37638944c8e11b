"""
How many members are enough?
============================

The standard deviation of K members is itself an estimate, off by about 1/√(2(K − 1)) of its size.
Ten members know it to a quarter, forty to a ninth. Means need fewer. Since all members train in
one call, forty cost far less than forty times one.
"""

import matplotlib.pyplot as plt
import torch

from hunch.inference import fit, predict
from hunch.nn import MLP, Ensemble, RandomizedPrior

x = torch.linspace(-1, 0, 20).unsqueeze(1)
net = Ensemble(
    lambda: RandomizedPrior(MLP(1, [20, 20], 1), prior=MLP(1, [20, 20], 1)), num_members=600, seed=0
)
fit(net, x, torch.sin(4 * x), steps=300, lr=0.01, progress=False)
members = predict(net, torch.tensor([[1.0]])).members.flatten()
truth = members.std()

# %%
# The six hundred are dealt out into groups of K; dots are what each group says.

figure, ax = plt.subplots(figsize=(6, 3.4), layout="constrained")
sizes = torch.tensor([2, 3, 5, 10, 20, 40])
for size in sizes.tolist():
    groups = members[: 600 // size * size].view(-1, size)[:60]
    ratio = groups.std(dim=1) / truth
    ax.plot([size] * len(ratio), ratio, "o", color="tab:blue", alpha=0.25, markersize=4)
k = torch.arange(2, 41)
for sign in (-2, 2):
    ax.plot(k, 1 + sign / (2 * (k - 1)) ** 0.5, color="black", linewidth=1)
ax.set(xscale="log", xlabel="members K", ylabel="std of K members / std of 600", ylim=(0, 2.5))
ax.set_xticks(sizes.tolist(), [str(size) for size in sizes.tolist()])
ax.minorticks_off()
plt.show()
