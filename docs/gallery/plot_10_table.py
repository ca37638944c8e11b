"""
Which patients can be predicted well?
=====================================

The estimators take a table as scikit-learn's do, scale it themselves, and say for each row how
far off they may be. Rows whose interval is narrow should have smaller errors: sorted by it, they
do, though on a small noisy table the difference is modest.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_diabetes

from hunch import RandomizedPriorRegressor

X, y = load_diabetes(return_X_y=True)
model = RandomizedPriorRegressor(random_state=0).fit(X[:300], y[:300])
mean, std = model.predict(X[300:], return_std=True)
low, high = model.predict_interval(X[300:], coverage=0.9)
print(f"90 % intervals hold {np.mean((low <= y[300:]) & (y[300:] <= high)):.0%} of 142 patients")

figure, ax = plt.subplots(figsize=(6, 3.6), layout="constrained")
order = np.argsort(std)
thirds = np.array_split(order, 3)
error = np.abs(mean - y[300:])
ax.plot(std, error, "o", color="tab:blue", markersize=4, alpha=0.6)
for third in thirds:
    ax.plot(
        [std[third].min(), std[third].max()],
        [error[third].mean()] * 2,
        color="tab:red",
        linewidth=2.5,
    )
ax.set(xlabel="standard deviation said", ylabel="error made", title="red: mean error of each third")
plt.show()
