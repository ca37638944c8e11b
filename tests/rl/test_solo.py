"""Values of one member in numpy against the ensemble's own."""

import numpy as np
import pytest
import torch
from torch import nn

import hunch.envs  # noqa: F401 registers them
from hunch.nn import MLP, Ensemble, NoisyLinear, RandomizedPrior, Streams
from hunch.rl import DQN, BootstrappedDQN
from hunch.rl.solo import SoloValues


class Residual(nn.Module):
    """Its layers in a row are not what it computes."""

    def __init__(self):
        super().__init__()
        self.linear, self.relu = nn.Linear(6, 6), nn.ReLU()

    def forward(self, x):
        return x + self.relu(self.linear(x))


class Doubled(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


def twice():
    layer = nn.Linear(6, 6)
    return nn.Sequential(nn.Flatten(), layer, nn.ReLU(), layer, nn.Linear(6, 2))


RELU = nn.ReLU()
# A network from (2, 3) to 2 values, and whether numpy may run it.
NETWORKS = {
    "flattened": (lambda: nn.Sequential(nn.Flatten(), MLP(6, [5, 4], 2)), True),
    "linear": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(6, 2)), True),
    "one relu twice": (
        lambda: nn.Sequential(
            nn.Flatten(), nn.Linear(6, 6), RELU, nn.Linear(6, 6), RELU, nn.Linear(6, 2)
        ),
        True,
    ),
    "one layer twice": (twice, True),
    "residual": (lambda: nn.Sequential(nn.Flatten(), Residual(), nn.Linear(6, 2)), False),
    "residual alone": (
        lambda: nn.Sequential(
            nn.Flatten(), nn.Linear(6, 6), nn.ReLU(), Residual(), nn.Linear(6, 2)
        ),
        False,
    ),
    "streams": (
        lambda: nn.Sequential(
            nn.Flatten(),
            nn.Linear(6, 6),
            nn.ReLU(),
            Streams(nn.Sequential(nn.Linear(6, 1), nn.ReLU()), nn.Linear(6, 1)),
        ),
        True,
    ),
    "flattened later": (
        lambda: nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(6, 2)),
        False,
    ),
    "subclass": (lambda: nn.Sequential(nn.Flatten(), Doubled(6, 2)), False),
    "tanh": (
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 2)),
        False,
    ),
    "no bias": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(6, 2, bias=False)), True),
    "normalised": (
        lambda: nn.Sequential(
            nn.Flatten(),
            nn.Linear(6, 4),
            nn.LayerNorm(4, elementwise_affine=False),
            nn.ReLU(),
            nn.Linear(4, 2),
        ),
        True,
    ),
    "affine norm": (
        lambda: nn.Sequential(nn.Flatten(), nn.LayerNorm(6), nn.Linear(6, 2)),
        False,
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("scale", [0.0, 3.0])
def test_values_are_those_of_the_member(name, scale):
    make, supported = NETWORKS[name]
    net = Ensemble(lambda: RandomizedPrior(make(), make(), scale), 6, seed=0)
    solo = SoloValues.of(net, replicas=2, one_hot=False)
    assert (solo is not None) == supported
    if solo is None:
        return
    rng = np.random.default_rng(0)
    for _ in range(2):
        observation = rng.normal(size=(2, 3)).astype(np.float32)
        with torch.no_grad():
            expected = net(torch.from_numpy(observation[None]))[:, 0].numpy()
            for r, m in np.ndindex(2, 3):
                assert np.allclose(solo(observation, r, m), expected[3 * r + m], atol=1e-5)
            for p in net.parameters():
                p.add_(0.1)  # what is learned shows at once


@pytest.mark.parametrize("env", ["CartPole-v1", "hunch/DeepSea-v0"])
def test_agents_act_by_the_member_of_the_episode(env):
    settings = {"num_members": 5, "hidden_sizes": (8, 6), "batch_size": 8, "prior_scale": 3.0}
    agent = BootstrappedDQN(env, replicas=2, num_envs=2, **settings).learn(60, progress=False)
    assert agent._guesses._solo is not None
    assert agent.updates > 10
    envs = [agent.another_env() for _ in range(4)]
    observation = np.stack([e.reset(seed=i)[0] for i, e in enumerate(envs)]).astype(np.float32)
    shape = agent.observation_shape
    with torch.no_grad():
        q = agent.network(torch.from_numpy(observation)).reshape(2, 5, 2, 2, -1)
    continuing = np.zeros((2, 2), bool)
    for _ in range(20):
        agent._active[:] = np.random.default_rng(0).integers(5, size=(2, 2))
        actions = agent.act(observation.reshape(2, 2, *shape), continuing)
        for r, e in np.ndindex(2, 2):
            assert actions[r, e] == q[r, agent._active[r, e], r, e].argmax()


@pytest.mark.parametrize("kind", ["factorized", "independent"])
@pytest.mark.parametrize("num_envs", [1, 3])
def test_noisy_agents_act_under_the_noise_of_the_step(kind, num_envs):
    def network():
        layer = NoisyLinear(4, 8, noise=kind)
        return nn.Sequential(layer, nn.ReLU(), NoisyLinear(8, 2, noise=kind, bias=False))

    agents = [
        DQN("CartPole-v1", noisy=True, network=network, num_envs=num_envs, seed=3) for _ in range(2)
    ]
    agents[1]._solo = None  # torch acts
    assert agents[0]._solo is not None
    rng = np.random.default_rng(0)
    begins = np.zeros((1, num_envs), bool)
    chosen = []
    for _ in range(50):
        observation = rng.normal(size=(1, num_envs, 4)).astype(np.float32)
        actions = [agent.act(observation, begins) for agent in agents]
        assert np.array_equal(*actions)
        chosen += actions[0].ravel().tolist()
    assert len(set(chosen)) == 2


def test_a_hook_brings_torch_back():
    agent = DQN("CartPole-v1", noisy=True, hidden_sizes=(8,))
    seen = []
    agent.network[-1].register_forward_hook(lambda module, inputs, output: seen.append(output))
    agent.act(np.zeros((1, 1, 4), np.float32), np.zeros((1, 1), bool))
    assert len(seen) == 1
