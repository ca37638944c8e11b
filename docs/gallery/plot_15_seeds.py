"""
How much does the seed matter?
==============================

Eight agents that differ in their seed alone, trained at once with ``replicas=8``. After 4,000
steps of CartPole some are far ahead of others. One curve of one seed says little; that is why
results here are over several.
"""

import matplotlib.pyplot as plt
import numpy as np

from hunch.rl import DQN

agent = DQN("CartPole-v1", noisy=True, double=True, random_steps=0, replicas=8, seed=0)
agent.learn(4_000, progress=False)

figure, ax = plt.subplots(figsize=(6, 3.4), layout="constrained")
for history in agent.histories:
    returns = np.array(history.returns)
    steps = np.cumsum(returns)  # a step of CartPole earns 1
    smooth = np.convolve(returns, np.ones(10) / 10, mode="valid")
    ax.plot(steps[9:], smooth, linewidth=1.2)
ax.set(
    xlabel="environment steps",
    ylabel="return, mean of 10 episodes",
    title="the same agent with eight seeds",
)
plt.show()
