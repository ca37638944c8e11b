"""
Which pictures does a classifier not know?
==========================================

Digits 0 to 4 are learned; digits 5 to 9 come as a surprise. For each picture the entropy of the
members' mean is split in two: what members agree is ambiguous, and what they disagree about. The
second part is larger for most strange digits than for known ones. So is the plain doubt of the
mean prediction: on these pictures both tell them apart equally well.
"""

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits

from hunch.inference import fit, predict
from hunch.nn import MLP, Ensemble, RandomizedPrior

pictures, labels = load_digits(return_X_y=True)
x, y = torch.tensor(pictures / 16, dtype=torch.float32), torch.tensor(labels)
known, strange = x[y < 5], x[y >= 5]
train, test = known[:600], known[600:]

net = Ensemble(
    lambda: RandomizedPrior(MLP(64, [50], 5), prior=MLP(64, [50], 5), scale=3.0),
    num_members=20,
    seed=0,
)
fit(net, train, y[y < 5][:600], loss="cross_entropy", lr=0.01, steps=300, progress=False)
seen, new = predict(net, test, classes=True), predict(net, strange, classes=True)
print(f"accuracy on known digits: {(seen.probs.argmax(-1) == y[y < 5][600:]).float().mean():.3f}")

# %%
# How often is a strange digit more doubtful than a known one? That is the area under the ROC curve.

figure, axes = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
for ax, part, name in zip(
    axes,
    (lambda p: p.epistemic, lambda p: 1 - p.probs.max(-1).values),
    ("members' disagreement, nats", "1 − largest probability"),
    strict=True,
):
    old, odd = part(seen), part(new)
    area = (odd[:, None] > old).float().mean()
    edges = torch.linspace(0, float(torch.cat([old, odd]).max()), 40)
    ax.hist(old, edges, density=True, alpha=0.6, color="tab:blue", label="digits 0 to 4, held out")
    ax.hist(odd, edges, density=True, alpha=0.6, color="tab:orange", label="digits 5 to 9")
    ax.set(xlabel=name, title=f"area under the ROC curve {area:.2f}")
axes[0].legend()
plt.show()
