import math

import pytest
import torch

from hunch.errors import ConfigurationError, DataError, ShapeError
from hunch.inference import Predictive

MEMBERS = torch.randn(40, 6, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_total_variance_is_the_sum_of_its_parts():
    p = Predictive(MEMBERS, noise_std=0.5)
    torch.testing.assert_close(p.std**2, p.epistemic**2 + p.aleatoric**2)
    torch.testing.assert_close(p.epistemic, MEMBERS.std(0))
    torch.testing.assert_close(p.mean, MEMBERS.mean(0))
    assert (p.aleatoric == 0.5).all()


def test_quantiles_without_noise_are_those_of_the_members():
    p = Predictive(MEMBERS)
    torch.testing.assert_close(p.quantile(0.9), torch.quantile(MEMBERS, 0.9, dim=0))
    low, high = p.interval(0.8)
    inside = ((MEMBERS >= low) & (MEMBERS <= high)).double().mean(0)
    assert (inside - 0.8).abs().max() <= 1 / 40 + 1e-9


@pytest.mark.parametrize("q", [0.001, 0.3, 0.5, 0.999])
def test_quantiles_with_noise_invert_the_mixture(q):
    p = Predictive(MEMBERS, noise_std=0.3)
    cdf = p.distribution().cdf(p.quantile(q))
    torch.testing.assert_close(cdf, torch.full_like(cdf, q))


def test_distribution_has_the_moments_of_the_predictive():
    p = Predictive(MEMBERS, noise_std=0.3)
    torch.testing.assert_close(p.distribution().mean, p.mean)
    # The mixture divides by the number of members, `std` by one less.
    between = p.epistemic**2 * 39 / 40
    torch.testing.assert_close(p.distribution().variance, between + 0.09)
    torch.testing.assert_close(Predictive(MEMBERS).distribution().stddev, p.epistemic)


def test_samples_have_the_moments_of_the_predictive():
    g = torch.Generator().manual_seed(0)
    p = Predictive(MEMBERS, noise_std=0.3)
    draws = p.sample(200_000, generator=g)
    # Standard errors below 2.8e-3; six of them.
    assert (draws.mean(0) - p.mean).abs().max() < 0.017
    assert (draws.var(0) - p.distribution().variance).abs().max() < 0.03
    # One sample is one member over the whole batch.
    whole = Predictive(MEMBERS).sample(5, generator=g)
    assert all(any(s.equal(m) for m in MEMBERS) for s in whole)


def test_one_member_has_no_epistemic_part():
    p = Predictive(MEMBERS[:1])
    assert (p.epistemic == 0).all()
    assert math.isclose(Predictive(MEMBERS[:1], noise_std=2.0).std[0].item(), 2.0)
    with pytest.raises(ConfigurationError, match="one member without noise"):
        p.distribution()


def test_wrong_use_is_refused():
    with pytest.raises(ConfigurationError, match="`noise_std` got -1"):
        Predictive(MEMBERS, noise_std=-1)
    p = Predictive(MEMBERS)
    with pytest.raises(ConfigurationError, match="`q` got 1"):
        p.quantile(1)
    with pytest.raises(ConfigurationError, match="`coverage` got 95"):
        p.interval(95)
    with pytest.raises(ConfigurationError, match="`num_samples` got 0"):
        p.sample(0)


STDS = 0.1 + torch.rand(40, 6, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("shape", [(), (6, 1), (40, 1, 1), (40, 6, 1)])
def test_noise_may_be_a_tensor(shape):
    noise = STDS[tuple(slice(s) for s in (40, 6, 1))].expand(40, 6, 1)
    noise = noise[(0,) * (3 - len(shape))] if len(shape) < 3 else noise[:, : shape[1]]
    p = Predictive(MEMBERS, noise_std=noise)
    full = noise.expand(40, 6, 1)
    torch.testing.assert_close(p.aleatoric**2, full.square().mean(0))
    torch.testing.assert_close(p.std**2, p.epistemic**2 + p.aleatoric**2)
    mixture = p.distribution()
    torch.testing.assert_close(mixture.variance, p.epistemic**2 * 39 / 40 + p.aleatoric**2)
    for q in (0.01, 0.5, 0.9):
        torch.testing.assert_close(mixture.cdf(p.quantile(q)), torch.full_like(p.mean, q))
    y = MEMBERS[0]
    torch.testing.assert_close(
        p.member_log_prob(y).logsumexp(0) - math.log(40), mixture.log_prob(y)
    )


def test_a_sample_takes_the_noise_of_its_own_member():
    members = torch.tensor([[0.0], [100.0]]).expand(2, 50_000)
    p = Predictive(members, noise_std=torch.tensor([[0.1], [5.0]]))
    draws = p.sample(20, generator=torch.Generator().manual_seed(0))
    first = draws.mean(1) < 50
    assert 0 < first.sum() < 20
    # Standard errors of 0.3 %; 15 of them.
    assert ((draws[first].std(1) / 0.1 - 1).abs() < 0.05).all()
    assert ((draws[~first].std(1) / 5 - 1).abs() < 0.05).all()


def test_members_without_noise_beside_noisy_ones():
    p = Predictive(torch.zeros(4, 1), noise_std=torch.tensor([[0.0], [0.0], [0.0], [1.0]]))
    assert p.quantile(0.5).abs() < 1e-6
    assert p.quantile(0.3).abs() < 1e-6  # three quarters of the mass are at 0
    torch.testing.assert_close(p.quantile(0.025), torch.tensor([-1.2816]), rtol=0, atol=1e-3)


def test_covariance_between_points():
    noise = STDS[:, :, :1]
    p = Predictive(MEMBERS, noise_std=noise)
    joint = p.covariance()
    assert joint.shape == (6, 6, 1)
    torch.testing.assert_close(joint.diagonal()[0], p.std[:, 0] ** 2)
    expected = MEMBERS[..., 0].T.cov()
    off = ~torch.eye(6, dtype=bool)
    torch.testing.assert_close(joint[..., 0][off], expected[off])
    many = Predictive(torch.randn(5, 4, 2, 3)).covariance()
    assert many.shape == (4, 4, 2, 3)
    assert (Predictive(MEMBERS[:1], noise_std=2.0).covariance()[..., 0] == 4 * torch.eye(6)).all()


@pytest.mark.parametrize("q", [0.05, 0.5, 0.8])
def test_quantiles_of_the_mixture_are_differentiable(q):
    members, stds = MEMBERS[:4].clone().requires_grad_(), STDS[:4].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda m, s: Predictive(m, s).quantile(q), (members, stds))


def test_large_batches_have_quantiles():
    p = Predictive(torch.linspace(0, 1, 3).reshape(3, 1).expand(3, 6_000_000))
    assert (p.quantile(0.5) == 0.5).all()  # torch.quantile takes 16 million numbers at most


def test_wrong_noise_is_refused():
    with pytest.raises(ShapeError, match=r"`noise_std` got shape \(5, 1\); expected one that"):
        Predictive(MEMBERS, noise_std=torch.ones(5, 1))
    with pytest.raises(ShapeError, match="broadcasts to"):
        Predictive(MEMBERS, noise_std=torch.ones(2, 40, 6, 1))
    with pytest.raises(DataError, match="negative values or NaN"):
        Predictive(MEMBERS, noise_std=torch.tensor(torch.nan))
    with pytest.raises(ConfigurationError, match="`noise_std` got 0; expected observation noise"):
        Predictive(MEMBERS).member_log_prob(MEMBERS[0])
    with pytest.raises(ShapeError, match=r"`y` got shape \(6,\); expected \(6, 1\)"):
        Predictive(MEMBERS, 1.0).member_log_prob(MEMBERS[0, :, 0])
