"""
What is the gradient of a step?
===============================

The cost 1{z > 1} has the derivative zero wherever it has one, so backpropagation learns nothing.
Its mean over z ~ N(μ, 1/2) does depend on μ, smoothly, and the score function estimates how. Dots
are estimates from 64 samples each, the curve is exact.
"""

import matplotlib.pyplot as plt
import torch

from hunch.gradients import expectation

where = torch.linspace(-0.5, 2.5, 25)
mu = where.repeat_interleave(8).requires_grad_()
dist = torch.distributions.Normal(mu, 0.5)
generator = torch.Generator().manual_seed(0)
loss = expectation(lambda z: (z > 1).float(), dist, 64, generator=generator)
loss.sum().backward()

normal = torch.distributions.Normal(where, 0.5)
at_the_step = torch.tensor(1.0)
figure, (top, bottom) = plt.subplots(2, 1, figsize=(6, 4.6), sharex=True, layout="constrained")
top.plot(mu.detach(), loss.detach(), ".", color="tab:blue", markersize=4)
top.plot(where, 1 - normal.cdf(at_the_step), color="black")
top.set(ylabel="mean cost")
bottom.plot(mu.detach(), mu.grad, ".", color="tab:blue", markersize=4, label="estimates")
bottom.plot(where, normal.log_prob(at_the_step).exp(), color="black", label="exact")
bottom.set(xlabel="μ", ylabel="derivative by μ")
bottom.legend()
plt.show()
