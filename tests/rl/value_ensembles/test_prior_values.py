"""The values of priors, by hand and by torch, are those of the networks' own forward."""

import numpy as np
import pytest
import torch

from hunch.rl import BootstrappedDQN


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("replicas", [1, 2])
def test_priors_are_those_of_the_networks(fast, replicas):
    settings = {"num_members": 3, "prior_scale": 2.0, "hidden_sizes": (8,), "fast": fast}
    agent = BootstrappedDQN("CartPole-v1", replicas=replicas, **settings)
    x = np.random.default_rng(0).normal(size=(replicas, 5, 4)).astype(np.float32)
    found = agent._ensemble.prior(x)  # (replicas, batch, members, actions)
    with torch.no_grad():
        each = torch.from_numpy(x).repeat_interleave(3, 0)
        priors = agent.network.part("prior")(each, per_member=True)
    expected = 2.0 * priors.view(replicas, 3, 5, 2).transpose(1, 2).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert np.ptp(found, axis=1).min() > 0.01  # they depend on what is seen
