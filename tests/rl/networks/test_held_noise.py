"""Noise of networks that is held until it is renewed."""

import pytest
import torch
from torch import nn

from hunch.errors import ConfigurationError
from hunch.nn import Ensemble, NoisyLinear
from hunch.rl.networks.held_noise import HeldNoise


def test_noise_is_held_until_it_is_renewed_and_comes_back_from_a_state():
    def make():
        nets = [nn.Sequential(NoisyLinear(2, 3, noise="independent")) for _ in range(2)]
        for part in nets:
            nn.init.ones_(part[0].weight_sigma)
        return HeldNoise(
            Ensemble.from_modules(nets), [torch.Generator().manual_seed(r) for r in range(2)]
        )

    held, x = make(), torch.ones(4, 2)
    first = held(x)
    assert torch.equal(held(x), first)
    for _ in range(300):  # beyond a block of draws
        held.renew()
    state = {name: value.clone() for name, value in held.state_dict().items()}
    other = make()
    other.network.load_state_dict(held.network.state_dict())
    other.load_state_dict(state)
    assert torch.equal(other(x), held(x))
    held.renew()
    other.renew()
    assert torch.equal(other(x), held(x))
    assert not torch.equal(held(x), first)
    with pytest.raises(ConfigurationError, match="per_sample=True; expected per_sample=False"):
        HeldNoise(NoisyLinear(2, 1, per_sample=True), [torch.Generator()])
