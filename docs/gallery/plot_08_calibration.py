"""
Do 90 % intervals cover 90 %?
=============================

A claim about coverage can be counted. The members' disagreement knows nothing of the noise in the
targets, so intervals made of it alone are too narrow. Conformal calibration on rows that the
model has not seen widens them by as much as it takes, and keeps the promise whatever the model
is.
"""

import matplotlib.pyplot as plt
import torch

from hunch.inference import fit, interval_coverage, predict, split_conformal
from hunch.nn import MLP, Ensemble

generator = torch.Generator().manual_seed(0)


def draw(n):
    """Rows of five features and a noisy target."""
    x = torch.rand(n, 5, generator=generator) * 2 - 1
    noise = 0.3 * torch.randn(n, 1, generator=generator)
    return x, torch.sin(3 * x[:, :1]) * x[:, 1:2] + noise


(x, y), (x_calibrate, y_calibrate), (x_test, y_test) = draw(100), draw(200), draw(2000)
net = Ensemble(lambda: MLP(5, [50, 50], 1), num_members=20, seed=0)
fit(net, x, y, steps=2000, lr=0.01, progress=False)

p, q = predict(net, x_calibrate), predict(net, x_test)
conformal = split_conformal(p.mean, y_calibrate, scale=p.std)

levels = torch.linspace(0.1, 0.95, 18).tolist()
raw = [interval_coverage(*q.interval(c), y_test).item() for c in levels]
mended = [
    interval_coverage(*conformal.interval(q.mean, scale=q.std, coverage=c), y_test).item()
    for c in levels
]
figure, ax = plt.subplots(figsize=(4.6, 4.2), layout="constrained")
ax.plot([0, 1], [0, 1], color="black", linewidth=1)
ax.plot(levels, raw, "o-", color="tab:orange", label="members' own intervals")
ax.plot(levels, mended, "o-", color="tab:blue", label="after conformal calibration")
ax.set(xlabel="coverage that was promised", ylabel="share of 2,000 test rows inside")
ax.legend()
plt.show()
