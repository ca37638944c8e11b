"""Noisy layers among the members of BootstrappedDQN: still in a prior, refused in what learns."""

import numpy as np
import pytest
import torch
from torch import nn

from hunch.errors import ConfigurationError
from hunch.nn import NoisyLinear
from hunch.rl import BootstrappedDQN

SMALL = {"num_members": 3, "batch_size": 8, "hidden_sizes": (8,)}


def noisy_network():
    return nn.Sequential(NoisyLinear(4, 8), nn.ReLU(), NoisyLinear(8, 2))


def plain_network():
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))


def test_a_noisy_prior_is_its_mean():
    agent = BootstrappedDQN("CartPole-v1", network=plain_network, prior=noisy_network, **SMALL)
    x = np.ones((1, 5, 4), np.float32)
    once, again = agent._ensemble.prior(x), agent._ensemble.prior(x)
    assert np.array_equal(once, again)
    with torch.no_grad():
        prior = agent.network.part("prior")(torch.ones(5, 4))  # in evaluation mode: the mean
    assert np.allclose(once[0].swapaxes(0, 1), 10 * prior.numpy(), atol=1e-5)
    agent.learn(40, progress=False)


@pytest.mark.parametrize("fast", [True, False])
def test_noise_in_what_learns_is_refused(fast):
    with pytest.raises(ConfigurationError, match="expected a network without noise"):
        BootstrappedDQN(
            "CartPole-v1", network=noisy_network, prior=plain_network, fast=fast, **SMALL
        )
