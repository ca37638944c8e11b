"""The action of each environment is that of the member drawn for its episode."""

import numpy as np
import pytest
import torch

import hunch.envs  # noqa: F401 registers them
from hunch.rl import BootstrappedDQN


@pytest.mark.parametrize("env", ["CartPole-v1", "hunch/DeepSea-v0"])
def test_agents_act_by_the_member_of_the_episode(env):
    settings = {"num_members": 5, "hidden_sizes": (8, 6), "batch_size": 8, "prior_scale": 3.0}
    agent = BootstrappedDQN(env, replicas=2, num_envs=2, **settings).learn(60, progress=False)
    assert agent.updates > 10
    envs = [agent.another_env() for _ in range(4)]
    observation = np.stack([e.reset(seed=i)[0] for i, e in enumerate(envs)]).astype(np.float32)
    shape = agent.observation_shape
    with torch.no_grad():
        q = agent.network(torch.from_numpy(observation)).reshape(2, 5, 2, 2, -1)
    continuing = np.zeros((2, 2), bool)
    for i in range(20):
        agent._active[:] = np.random.default_rng(i).integers(5, size=(2, 2))
        actions = agent.act(observation.reshape(2, 2, *shape), continuing)
        for r, e in np.ndindex(2, 2):
            assert actions[r, e] == q[r, agent._active[r, e], r, e].argmax()
