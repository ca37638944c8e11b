"""
What does a bootstrap do to a datum?
====================================

A bootstrap gives each member its own view of the data: how often each datum counts. Four ways to
draw the weights, here for 1,000 members and one datum each. All have the mean 1;
``"multinomial"`` and ``"poisson"`` leave out a datum for 37 % of the members,
``"double_or_nothing"`` for half, and ``"exponential"`` for none.
"""

import matplotlib.pyplot as plt
import numpy as np

from hunch.inference import bootstrap_weights

figure, axes = plt.subplots(2, 2, figsize=(7, 4.4), sharex=True, layout="constrained")
for ax, name in zip(
    axes.flat, ("multinomial", "poisson", "double_or_nothing", "exponential"), strict=True
):
    weights = bootstrap_weights(name, num_members=1000, ids=np.arange(50), seed=0)
    of_one = weights[:, 0]
    ax.hist(of_one, np.arange(-0.125, 5, 0.25), color="tab:blue")
    ax.set(title=f"{name}: mean {of_one.mean():.2f}, std {of_one.std():.2f}")
    ax.set_ylabel("members")
for ax in axes[1]:
    ax.set_xlabel("weight of the first datum")
plt.show()
