"""
What does a noisy layer add to its output?
==========================================

A ``NoisyLinear`` has a mean and a learned standard deviation for each weight. Factorized noise
draws one number per input and output instead of one per weight. The variance of the output has a
closed form for both kinds; the shape has not: factorized noise has heavier tails than a normal
distribution.
"""

import math

import matplotlib.pyplot as plt
import torch

from hunch.nn import NoisyLinear

generator = torch.Generator().manual_seed(0)
x = torch.randn(10, generator=generator)
figure, axes = plt.subplots(1, 2, figsize=(8, 3.2), sharey=True, layout="constrained")
for ax, noise in zip(axes, ("factorized", "independent"), strict=True):
    layer = NoisyLinear(10, 1, noise=noise, per_sample=True, generator=generator)
    with torch.no_grad():
        layer.weight_sigma.fill_(0.2)
        layer.bias_sigma.fill_(0.1)
        torch.manual_seed(0)
        outputs = layer(x.expand(40_000, -1))[:, 0]
        mean = layer.weight[0] @ x + layer.bias[0]
    squares = (0.2**2 * x**2).sum().item()
    if noise == "factorized":
        variance = 2 / math.pi * squares + math.sqrt(2 / math.pi) * 0.1**2
    else:
        variance = squares + 0.1**2
    z = torch.linspace(-3, 3, 121)
    std = math.sqrt(variance)
    ax.hist((outputs - mean).numpy(), bins=z, density=True, color="tab:blue", alpha=0.5)
    normal = torch.exp(-0.5 * (z / std) ** 2) / (std * math.sqrt(2 * math.pi))
    ax.plot(z, normal, color="black", label="normal, std in closed form")
    ax.set(
        title=f"{noise}: std {(outputs - mean).std():.2f}",
        xlabel="output − its mean",
        yscale="log",
        ylim=(1e-3, 3),
    )
axes[0].legend()
axes[0].set_ylabel("density")
plt.show()
