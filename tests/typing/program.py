"""A user's program, whose types mypy and Pyright are to find as they are said here.

It is read, not run: `make check` gives it to mypy, `make release` to Pyright.
"""

from typing import assert_type

import numpy as np
import torch

import hunch
from hunch import DoubtRegressor, RandomizedPriorClassifier, RandomizedPriorRegressor
from hunch.gradients import expectation
from hunch.inference import ClassPredictive, History, Predictive, bootstrap_weights, fit, predict
from hunch.nn import MLP, Ensemble, NoisyLinear, RandomizedPrior, noise, noisy
from hunch.rl import A2C, DQN, BootstrappedDQN, Evaluation, evaluate

assert_type(hunch.__version__, str)

# Ensembles.
x, y = torch.zeros(4, 2), torch.zeros(4, 1)
net = Ensemble(lambda: RandomizedPrior(MLP(2, [8], 1), prior=MLP(2, [8], 1)), num_members=3)
assert_type(net, Ensemble)
assert_type(fit(net, x, y, steps=1), History)
assert_type(predict(net, x), Predictive)
assert_type(predict(net, x, classes=True), ClassPredictive)
assert_type(predict(net, x).std, torch.Tensor)
assert_type(bootstrap_weights("poisson", 3, range(4)), torch.Tensor)

# Noisy layers.
layer = NoisyLinear(2, 3)
assert_type(noisy(torch.nn.Sequential(torch.nn.Linear(2, 3))), torch.nn.Sequential)
assert_type(noisy(torch.nn.Linear(2, 3)), torch.nn.Module)
with noise(layer, "held"):
    layer(x)

# Gradients.
cost = expectation(lambda z: z.square(), torch.distributions.Normal(x, 1.0), 16)
assert_type(cost, torch.Tensor)

# Agents.
agent = DQN("CartPole-v1", noisy=True, replicas=2)
assert_type(agent.learn(10), DQN)
assert_type(BootstrappedDQN("CartPole-v1").learn(10), BootstrappedDQN)
assert_type(A2C.load("folder"), A2C)
assert_type(evaluate(agent, episodes=2), Evaluation)

# Tables.
X, target = np.zeros((4, 2)), np.zeros(4)
model = RandomizedPriorRegressor(random_state=0).fit(X, target)
assert_type(model, RandomizedPriorRegressor)
mean, std = model.predict(X, return_std=True)
low, high = model.predict_interval(X, coverage=0.9)
print(mean + std, high - low, model.predict(X) + 1.0)
doubt = DoubtRegressor(model, random_state=0).fit(X, target)
assert_type(doubt, DoubtRegressor)
print(RandomizedPriorClassifier().fit(X, target).predict_proba(X).mean())
