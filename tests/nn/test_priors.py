import pytest
import torch
from torch import nn

from hunch.errors import ConfigurationError, ShapeError
from hunch.nn import MLP, Ensemble, RandomFourierPrior, RandomizedPrior


def test_the_prior_is_frozen_but_in_the_checkpoint():
    net = RandomizedPrior(MLP(1, [4], 1), MLP(1, [4], 1), scale=3.0)
    assert {n.split(".")[0] for n, p in net.named_parameters() if p.requires_grad} == {"model"}
    assert {"scale", "prior.0.weight"} <= net.state_dict().keys()
    x = torch.randn(5, 1)
    torch.testing.assert_close(net(x), net.model(x) + 3.0 * net.prior(x))


def test_the_callers_network_stays_as_it_was():
    pretrained = MLP(1, [4], 1)
    net = RandomizedPrior(MLP(1, [4], 1), pretrained)
    assert all(p.requires_grad for p in pretrained.parameters())
    assert pretrained.training
    with torch.no_grad():
        pretrained[0].weight.add_(1.0)
    assert not torch.allclose(net.prior[0].weight, pretrained[0].weight)


def test_the_prior_is_differentiable_in_x():
    net = RandomizedPrior(nn.Linear(1, 1), lambda x: torch.sin(3 * x))
    x = torch.zeros(1, 1, requires_grad=True)
    (slope,) = torch.autograd.grad(net(x).sum(), x)
    torch.testing.assert_close(slope, net.model.weight + 3.0)


def test_fourier_prior_draws_have_the_kernel_as_covariance():
    # 4,000 draws: a covariance estimate has a standard error of at most sqrt(2/4000) = 0.022, and
    # the largest of 25 stays below 0.11 = 5 standard errors with probability above 0.9999.
    draws = Ensemble(
        lambda: RandomFourierPrior(2, 1, lengthscale=0.5, num_features=64), 4000, seed=0
    )
    x = 0.5 * torch.randn(5, 2, generator=torch.Generator().manual_seed(0))
    values = draws(x).squeeze(-1)
    kernel = torch.exp(-torch.cdist(x, x).square() / (2 * 0.5**2))
    assert values.mean(0).abs().max() < 0.08
    assert (values.T.cov() - kernel).abs().max() < 0.11


def test_glorot_range_and_activation_of_the_mlp():
    net = MLP(300, [200], 1, activation=nn.Softplus, generator=torch.Generator().manual_seed(0))
    bound = (6 / 500) ** 0.5
    assert bound * 0.99 < net[0].weight.abs().max() <= bound
    assert net[0].bias.abs().max() <= 300**-0.5
    assert isinstance(net[1], nn.Softplus)
    again = MLP(300, [200], 1, generator=torch.Generator().manual_seed(0))
    assert again[0].weight.equal(net[0].weight)


def test_wrong_use_is_refused():
    with pytest.raises(ConfigurationError, match="`scale` got -1"):
        RandomizedPrior(nn.Linear(1, 1), torch.sin, scale=-1)
    with pytest.raises(ConfigurationError, match="`prior` got float"):
        RandomizedPrior(nn.Linear(1, 1), 1.0)
    with pytest.raises(ConfigurationError, match="`model` got"):
        RandomizedPrior(torch.sin, torch.sin)
    with pytest.raises(ConfigurationError, match="`lengthscale` got 0"):
        RandomFourierPrior(1, 1, lengthscale=0)
    with pytest.raises(ConfigurationError, match="`num_features` got 0"):
        RandomFourierPrior(1, 1, num_features=0)
    with pytest.raises(ConfigurationError, match="`hidden_sizes` got 0; expected an integer"):
        MLP(1, [0], 1)
    with pytest.raises(ConfigurationError, match="`activation` got 'swish'; expected one of elu"):
        MLP(1, [2], 1, activation="swish")
    with pytest.raises(ShapeError, match="`x` has 2 features in its last axis; expected 1"):
        MLP(1, [2], 1)(torch.zeros(5, 2))
