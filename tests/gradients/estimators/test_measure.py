"""Measure-valued gradients: closed-form variances, first order only, and what they refuse."""

import pytest
import torch
from torch.distributions import Bernoulli, Beta, Categorical, Gamma, Independent, Normal, Poisson

from hunch.errors import ConfigurationError, ShapeError
from hunch.gradients import expectation
from hunch.gradients.estimators import measure

from ..problems import LIMIT, MORE, PROBLEMS, estimates, worst, z_score

ALL = PROBLEMS | MORE
MEASURE = {"estimator": "measure"}


@pytest.mark.parametrize("name", ["normal", "joint credit", "poisson", "gamma", "bernoulli"])
def test_two_percent_too_much_would_be_noticed(name, monkeypatch):
    right = measure._gradients

    def tilted(*args):
        return [1.02 * g for g in right(*args)]

    monkeypatch.setattr(measure, "_gradients", tilted)
    assert worst(ALL[name], estimates(ALL[name], 3, seed=31, **MEASURE)) > LIMIT


# For f = (z - y)², d = mu - y. Mean: 4 d side / √(2π), the side a Rayleigh distance of variance
# (2 - π/2) σ². Scale: 2 d M (1 - U) + σ M² (1 - U²), M double-sided Maxwell, U uniform.
@pytest.mark.parametrize(("d", "sigma"), [(1.0, 1.0), (1.0, 0.1), (1.0, 0.01), (0.1, 1.0)])
def test_variance_is_the_closed_form(d, sigma):
    mu = torch.full((400_000,), d, dtype=torch.float64, requires_grad=True)
    scale = torch.full_like(mu, sigma).requires_grad_()
    generator = torch.Generator().manual_seed(32)
    value = expectation(torch.square, Normal(mu, scale), 1, generator=generator, **MEASURE)
    by_mean, by_scale = torch.autograd.grad(value.sum(), (mu, scale))
    pi = torch.pi
    assert float(by_mean.var()) == pytest.approx((16 - 4 * pi) / pi * d**2, rel=0.03)
    assert float(by_scale.var()) == pytest.approx(4 * d**2 + 4 * sigma**2, rel=0.03)


def test_one_discrete_coordinate_is_exact():
    logits = torch.tensor([0.3, -1.0, 0.8], requires_grad=True)
    table = torch.tensor([1.0, 5.0, -2.0])
    for how in ("measure", "enumerate"):
        value = expectation(lambda z: table[z], Categorical(logits=logits), 1, estimator=how)
        (gradient,) = torch.autograd.grad(value, logits)
        if how == "measure":
            found = gradient
    torch.testing.assert_close(found, gradient)


def test_a_cost_that_depends_on_the_parameters_keeps_its_own_gradient():
    theta = torch.full((200_000,), 0.8, dtype=torch.float64, requires_grad=True)
    generator = torch.Generator().manual_seed(33)
    value = expectation(
        lambda z: theta * z**2, Normal(theta, 0.5), 2, generator=generator, **MEASURE
    )
    (gradient,) = torch.autograd.grad(value.sum(), theta)
    assert z_score(gradient, 3 * 0.64 + 0.25) <= LIMIT


def test_only_points_that_are_needed_are_made():
    calls = []

    def cost(z):
        calls.append((len(z), torch.is_grad_enabled()))
        return z**2

    mu, fixed = torch.zeros(3, requires_grad=True), torch.ones(3)
    expectation(cost, Normal(mu, fixed), 4, **MEASURE)
    expectation(cost, Normal(fixed, mu + 1), 4, **MEASURE)
    expectation(cost, Normal(fixed, fixed), 4, **MEASURE)
    with torch.no_grad():
        expectation(cost, Normal(mu, fixed), 4, **MEASURE)
    assert calls == [(4, True), (8, False), (4, True), (4, False), (4, True), (4, False)]


def test_generator_decides_every_draw():
    rate = torch.ones(3, requires_grad=True)
    before = torch.get_rng_state()
    for dist in (Gamma(rate, rate), Normal(rate, rate), Poisson(rate)):
        first, again = (
            torch.autograd.grad(
                expectation(
                    torch.square, dist, 4, generator=torch.Generator().manual_seed(0), **MEASURE
                ).sum(),
                rate,
            )[0]
            for _ in range(2)
        )
        assert torch.equal(first, again)
    assert torch.equal(before, torch.get_rng_state())


def test_higher_orders_are_refused():
    mu = torch.zeros(3, requires_grad=True)

    def value(mu):
        return expectation(torch.square, Normal(mu, 1.0), 4, **MEASURE).sum()

    (first,) = torch.autograd.grad(value(mu), mu, create_graph=True)
    with pytest.raises(ConfigurationError, match="first derivatives only"):
        torch.autograd.grad(first.sum(), mu)
    with pytest.raises(ConfigurationError, match="first derivatives only"):
        torch.func.grad(lambda m: torch.func.grad(value)(m).sum())(mu.detach())


def test_what_it_refuses():
    a = torch.ones(2, requires_grad=True)
    with pytest.raises(ConfigurationError, match="'measure' for Beta; expected one of Normal"):
        expectation(torch.square, Independent(Beta(a, a), 1), 4, **MEASURE)
    with pytest.raises(ConfigurationError, match="only the score function"):
        expectation(torch.square, Normal(a, 1.0), 4, baseline="loo", **MEASURE)
    with pytest.raises(ConfigurationError, match="Gamma, which torch cannot draw"):
        expectation(torch.square, Gamma(a, 1.0), 4, sampler="sobol", **MEASURE)
    with pytest.raises(ShapeError, match="keep the sample axis"):
        expectation(lambda z: z.mean(0), Bernoulli(a / 2), 4, **MEASURE)
