"""
Which agent finds the way through deep sea?
===========================================

In deep sea of size N, N moves to the right in a row lead to the only reward, and each costs a
little. Chance finds it once in 2ᴺ episodes. An agent of 20 networks with priors plays each
episode by one of them and keeps to its guess; ε-greedy dithers. Pictures show how often each cell
was visited, and curves the best return so far.
"""

import gymnasium
import matplotlib.pyplot as plt
import numpy as np

import hunch.envs  # noqa: F401 - registers deep sea
from hunch.rl import DQN, BootstrappedDQN, Linear

SIZE, EPISODES = 8, 150


class Counted(gymnasium.Wrapper):
    """Counts how often each cell is visited."""

    visits = None

    def step(self, action):
        """One move, and a mark where it leads."""
        observation, *rest = self.env.step(action)
        self.visits += np.reshape(observation, (SIZE, SIZE))
        return observation, *rest


def explored(make):
    """Visits of each cell, and the returns, of an agent that plays for a while."""
    env = Counted(gymnasium.make("hunch/DeepSea-v0", size=SIZE))
    env.visits = np.zeros((SIZE, SIZE))
    agent = make(env)
    agent.learn(SIZE * EPISODES, progress=False)
    return env.visits, np.array(agent.history.returns)


agents = {
    "20 networks with priors": lambda env: BootstrappedDQN(env, num_members=20, seed=0),
    "ε-greedy": lambda env: DQN(env, epsilon=Linear(1.0, 0.05, 400), seed=0),
}
figure, axes = plt.subplots(1, 3, figsize=(9, 3), layout="constrained")
for ax, (name, make) in zip(axes, agents.items(), strict=False):
    visits, returns = explored(make)
    ax.imshow(np.log10(1 + visits), cmap="Blues", vmin=0, vmax=2)
    ax.set(title=name, xticks=[], yticks=[])
    axes[2].plot(np.maximum.accumulate(returns), label=name)
axes[2].set(xlabel="episodes", ylabel="best return so far")
axes[2].legend(fontsize=8)
plt.show()
