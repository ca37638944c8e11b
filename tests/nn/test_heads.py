import pytest
import torch
from torch import nn

from hunch.errors import ConfigurationError, ShapeError
from hunch.nn import MLP, Ensemble, GaussianHead, QuantileHead, RandomizedPrior

X = torch.randn(6, 2, generator=torch.Generator().manual_seed(0))


def gaussian():
    mean = RandomizedPrior(MLP(2, [8], 3), prior=MLP(2, [8], 3))
    return GaussianHead(mean, MLP(2, [8], 3), floor=0.1)


def quantiles():
    return QuantileHead(MLP(2, [8], 3), MLP(2, [8], 12), levels=(0.1, 0.3, 0.5, 0.7, 0.95))


def trunk():
    return nn.Sequential(MLP(2, [8], 4), nn.Tanh(), GaussianHead(nn.Linear(4, 1), nn.Linear(4, 1)))


def test_a_gaussian_head_is_its_two_networks():
    head = gaussian()
    mean, std = head(X).unbind(-1)
    assert mean.equal(head.location(X))
    torch.testing.assert_close(std, 0.1 + torch.log1p(head.spread(X).exp()))
    far = GaussianHead(nn.Identity(), nn.Identity(), floor=0.1)(torch.tensor([-1e4]))
    torch.testing.assert_close(far[..., 1], torch.tensor([0.1]))


def test_the_prior_moves_the_mean_alone():
    head = gaussian()
    before = head(X)
    head.location.scale.fill_(100.0)
    moved = head(X)
    assert ((moved - before)[..., 0].abs() > 1).any()
    assert moved[..., 1].equal(before[..., 1])


def test_quantiles_do_not_cross_and_the_middle_is_the_location():
    head = quantiles()
    out = head(30 * X)
    assert out.shape == (6, 3, 5)
    assert (out.diff(dim=-1) >= 0).all()
    assert out[..., 2].equal(head.location(30 * X))
    # Each gap is a softplus of its own output, lowest gap first.
    gaps = nn.functional.softplus(head.spread(X)).reshape(6, 3, 4)
    torch.testing.assert_close(head(X).diff(dim=-1), gaps, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("build", [gaussian, quantiles, trunk])
@pytest.mark.parametrize("engine", ["bmm", "vmap", "loop"])
def test_members_equal_stand_alone_networks(build, engine):
    net = Ensemble(build, 4, seed=0, engine=engine)
    for k, out in enumerate(net(X)):
        torch.testing.assert_close(out, net.member(k)(X), rtol=1e-5, atol=1e-6)


def test_wrong_use_is_refused():
    with pytest.raises(ConfigurationError, match="`floor` got 0"):
        GaussianHead(MLP(2, [], 1), MLP(2, [], 1), floor=0)
    with pytest.raises(ShapeError, match=r"`spread` returned shape \(6, 2\) and `location` \(6, 1"):
        GaussianHead(MLP(2, [], 1), MLP(2, [], 2))(X)
    for levels in ((0.5,), (0.1, 0.1), (0.9, 0.1), (0.0, 0.5), (0.5, 1.0), (0.1, float("nan"))):
        with pytest.raises(ConfigurationError, match="`levels` got"):
            QuantileHead(MLP(2, [], 1), MLP(2, [], 1), levels=levels)
    with pytest.raises(ShapeError, match=r"for 3 levels; expected \(6, 2\)"):
        QuantileHead(MLP(2, [], 1), MLP(2, [], 1), levels=(0.1, 0.5, 0.9))(X)
    for build in (gaussian, trunk):
        with pytest.raises(ConfigurationError, match="`model` ends with a GaussianHead"):
            RandomizedPrior(build(), prior=MLP(2, [], 1))
