"""
Do mirrored samples help?
=========================

Antithetic samples come in pairs mirrored at the mean, Sobol points fill the space evenly. How
much either helps depends on the cost: for a nearly odd one mirrored pairs cancel the noise, for
an even one both of a pair say the same, and half of the samples are wasted.
"""

import matplotlib.pyplot as plt
import torch

from hunch.gradients import expectation

generator = torch.Generator().manual_seed(0)
costs = {
    "z": lambda z: z,
    "tanh z + 0.3 z²": lambda z: torch.tanh(z) + 0.3 * z**2,
    "z²": lambda z: z**2,
    "1{z > 1}": lambda z: (z > 1).float(),
}
samplers = {"iid": "tab:gray", "antithetic": "tab:orange", "sobol": "tab:blue"}


def noise_of_value(cost, sampler):
    """Standard deviation of 2,000 estimates of the mean cost, from 16 samples each."""
    dist = torch.distributions.Normal(torch.zeros(2000), 1.0)
    return expectation(
        cost, dist, 16, estimator="score", sampler=sampler, generator=generator
    ).std()


figure, ax = plt.subplots(figsize=(6, 3.4), layout="constrained")
for i, (name, color) in enumerate(samplers.items()):
    values = [noise_of_value(cost, name).item() for cost in costs.values()]
    ax.bar(
        [place + 0.27 * (i - 1) for place in range(len(costs))],
        values,
        0.25,
        color=color,
        label=name,
    )
ax.set_xticks(range(len(costs)), list(costs))
ax.set(xlabel="cost of z ~ N(0, 1)", ylabel="std of the estimated mean, 16 samples")
ax.legend()
plt.show()
