"""Running means and variances against those of all rows at once."""

import torch

from hunch.nn import Normalizer


def test_a_normalizer_knows_the_mean_and_variance_of_all_it_saw():
    x = torch.randn(50, 2, generator=torch.Generator().manual_seed(0)) * 3 + 5
    net = Normalizer(2)
    for part in x.split([1, 20, 29]):
        net.update(part)
    assert torch.allclose(net.mean, x.mean(0), atol=1e-5)
    assert torch.allclose(net.variance, x.var(0, correction=0), atol=1e-4)
    assert torch.allclose(net(x).mean(0), torch.zeros(2), atol=1e-5)
    assert net(torch.full((1, 2), 1e6)).tolist() == [[10.0, 10.0]]
