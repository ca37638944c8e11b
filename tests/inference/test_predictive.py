import math

import pytest
import torch

from hunch.errors import ConfigurationError
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
