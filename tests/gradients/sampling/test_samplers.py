"""Antithetic and Sobol samples: how they are spread, what that is good for, where they are refused."""

import pytest
import torch
from torch.distributions import (
    Bernoulli,
    Beta,
    Categorical,
    Dirichlet,
    Gamma,
    Independent,
    Laplace,
    LogNormal,
    Normal,
    Poisson,
)
from torch.func import grad

from hunch.errors import ConfigurationError
from hunch.gradients import expectation
from hunch.gradients.baselines import from_samples, given
from hunch.gradients.sampling.samplers import draw

from ..problems import LIMIT, PROBLEMS, SAMPLED, estimates, worst


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("sampler", ["antithetic", "sobol"])
@pytest.mark.parametrize("baseline", ["loo", "ema"])
def test_leaving_out_the_sample_but_not_what_depends_on_it_would_be_noticed(
    monkeypatch, sampler, baseline
):
    monkeypatch.setattr(
        given, "leave_group_out", lambda cost, groups: from_samples.leave_one_out(cost)
    )
    right = given.earlier_average
    monkeypatch.setattr(given, "earlier_average", lambda cost, _: right(cost, len(cost)))
    problem = SAMPLED["normal"]
    found = estimates(problem, 4, estimator="score", baseline=baseline, sampler=sampler)
    assert worst(problem, found) > 2 * LIMIT


def test_antithetic_pairs_mirror_and_sobol_points_fill_every_cell():
    dist = Independent(Normal(torch.tensor([[1.0, -2.0]] * 5), 0.5), 1)
    pairs = draw(dist, 6, seeded(), differentiable=False, sampler="antithetic")
    assert pairs.shape == (6, 5, 2)
    torch.testing.assert_close(pairs[:3] + pairs[3:], 2 * dist.mean.expand(3, 5, 2))
    points = draw(dist, 32, seeded(), differentiable=False, sampler="sobol", groups=2)
    cells = (Normal(0.0, 1.0).cdf((points - dist.mean) / 0.5) * 16).long()
    for group in (0, 1):  # 16 points in 16 cells, in each coordinate of each factor
        assert (cells[group::2].sort(0).values == torch.arange(16)[:, None, None]).all()
    assert not torch.equal(points[:, 0], points[:, 1])
    quarters = cells[0::2] // 4  # and one in each of the 4 x 4 squares
    squares = (quarters[..., 0] * 4 + quarters[..., 1]).sort(0).values
    assert (squares == torch.arange(16)[:, None]).all()


@pytest.mark.parametrize("sampler", ["antithetic", "sobol"])
@pytest.mark.parametrize(
    "dist",
    [
        Normal(torch.tensor([1.0, 2.0]), 0.5),
        Laplace(torch.tensor([1.0, 2.0]), 0.5),
        LogNormal(torch.tensor([0.1, 0.2]), 0.5),
        Bernoulli(torch.tensor([0.1, 0.8])),
        Categorical(torch.tensor([[0.1, 0.2, 0.7], [0.5, 0.5, 0.0]])),
    ],
    ids=lambda dist: type(dist).__name__,
)
def test_samples_have_the_distribution(dist, sampler):
    z = draw(dist, 200_000, seeded(1), differentiable=False, sampler=sampler)
    assert z.dtype == dist.sample().dtype
    assert dist.support.check(z).all()
    table = torch.stack([(z <= at).double().mean(0) for at in (0, 1, 2)])
    plain = dist.sample((200_000,))
    other = torch.stack([(plain <= at).double().mean(0) for at in (0, 1, 2)])
    # A difference of two shares has a standard error of at most 0.0016.
    torch.testing.assert_close(table, other, atol=0.008, rtol=0)


def variance(problem, n, **how):
    return estimates(problem, n, draws=20_000, seed=23, **how)[1].var(0).sum()


def test_variance_falls_where_it_should():
    # d = 1, σ = 0.7. An antithetic pair cancels all of a score that is odd in the sample: 8 d².
    normal = PROBLEMS["normal"]
    score = {"estimator": "score", "baseline": None}
    assert variance(normal, 2, sampler="antithetic", **score) == pytest.approx(8, rel=0.1)
    assert variance(normal, 2, **score) == pytest.approx(11.8, rel=0.2)
    path = {"estimator": "pathwise"}
    assert variance(normal, 2, sampler="antithetic", **path) < 1e-20  # linear in the noise
    assert variance(normal, 32, sampler="sobol", **path) < variance(normal, 32, **path) / 8


def test_generator_decides_and_the_global_one_is_left_alone():
    mu = torch.zeros(3, requires_grad=True)
    dist = Normal(mu, 1.0)
    before = torch.get_rng_state()
    for sampler in ("antithetic", "sobol"):
        first, again, other = (
            expectation(torch.exp, dist, 4, sampler=sampler, generator=seeded(s)) for s in (0, 0, 1)
        )
        assert torch.equal(first, again)
        assert not torch.equal(first, other)
    assert torch.equal(before, torch.get_rng_state())


def test_what_samplers_refuse():
    mu = torch.zeros(3, requires_grad=True)
    dist = Normal(mu, 1.0)
    for sampler in ("halton", None, 3):
        with pytest.raises(
            ConfigurationError, match=r"`sampler` got.*'iid', 'antithetic', 'sobol'"
        ):
            expectation(torch.square, dist, 4, sampler=sampler)
    with pytest.raises(ConfigurationError, match=r"`n` got 3.*even.*pairs"):
        expectation(torch.square, dist, 3, sampler="antithetic")
    with pytest.raises(ConfigurationError, match=r"n >= 4.*pair must be left out"):
        expectation(torch.square, dist, 2, estimator="score", baseline="loo", sampler="antithetic")
    with pytest.raises(ConfigurationError, match=r"`n` got 5.*each half"):
        expectation(torch.square, dist, 5, estimator="score", sampler="sobol")
    rate = torch.ones(2, requires_grad=True)
    for other in (Poisson(rate), Gamma(rate, 1.0), Beta(rate, rate), Dirichlet(rate)):
        with pytest.raises(ConfigurationError, match=f"{type(other).__name__}, which torch cannot"):
            expectation(lambda z: 0 * z.sum(-1), other, 4, sampler="sobol")
    with pytest.raises(ConfigurationError, match="no sample is drawn"):
        expectation(torch.square, Bernoulli(rate / 2), 4, estimator="enumerate", sampler="sobol")
    wide = Independent(Normal(torch.zeros(30_000), 1.0), 1)
    with pytest.raises(ConfigurationError, match="events of 30000 numbers"):
        expectation(lambda z: z.sum(-1), wide, 4, sampler="sobol")


def test_torch_func_takes_antithetic_pairs_and_refuses_sobol_points():
    def loss(mu, sampler):
        dist = Normal(mu, 1.0, validate_args=False)
        return expectation(torch.square, dist, 8, estimator="pathwise", sampler=sampler)

    mu = torch.tensor(0.7)
    torch.testing.assert_close(grad(loss)(mu, "antithetic"), 2 * mu)
    with pytest.raises(ConfigurationError, match=r"torch\.func transform"):
        grad(loss)(mu, "sobol")
