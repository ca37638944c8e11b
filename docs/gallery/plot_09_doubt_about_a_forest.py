"""
How far off is my random forest?
================================

The forest is trained and stays as it is. ``DoubtRegressor`` learns from rows that it has not seen
how large its errors are, and where. The intervals are narrow for cheap flats and wide for dear
ones, although the forest itself says nothing about it.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.ensemble import RandomForestRegressor

from hunch import DoubtRegressor

rng = np.random.default_rng(0)
area = rng.uniform(20, 150, 1000)
age = rng.uniform(0, 100, 1000)
price = 4 * area * (1 - age / 250) * np.exp(rng.normal(0, 0.15, 1000))  # in thousands
X = np.column_stack([area, age])

forest = RandomForestRegressor(100, random_state=0).fit(X[:400], price[:400])
doubt = DoubtRegressor(forest, random_state=0).fit(X[400:600], price[400:600])
low, high = doubt.predict_interval(X[600:], coverage=0.9)
inside = (low <= price[600:]) & (price[600:] <= high)
print(f"{inside.mean():.1%} of 400 new flats lie in their 90 % interval")

# %%
# Flats in the order of the forest's prediction.

order = np.argsort(forest.predict(X[600:]))
figure, ax = plt.subplots(figsize=(6, 3.6), layout="constrained")
place = np.arange(len(order))
ax.vlines(place, low[order], high[order], color="tab:blue", alpha=0.35, linewidth=1)
ax.plot(place, forest.predict(X[600:])[order], color="black", linewidth=1.5, label="forest")
miss = ~inside[order]
ax.plot(place[miss], price[600:][order][miss], "o", color="tab:red", markersize=4, label="outside")
ax.plot(
    place[~miss], price[600:][order][~miss], ".", color="tab:gray", markersize=3, label="inside"
)
ax.set(xlabel="400 new flats, from cheap to dear", ylabel="price, thousands")
ax.legend()
plt.show()
