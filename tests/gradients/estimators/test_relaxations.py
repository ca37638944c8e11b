"""Straight-through and Gumbel-softmax: the bias they have is the bias they are known to have."""

import pytest
import torch
from torch.distributions import Bernoulli, Categorical, Independent, Normal, OneHotCategorical

from hunch.errors import ConfigurationError
from hunch.gradients import Gumbel, expectation

from ..problems import LIMIT, MORE, PROBLEMS, Problem, estimates, tensor, truths, z_score

BERNOULLI = PROBLEMS["bernoulli"]
LINEAR = {
    "bernoulli": Problem(
        (tensor(0.4),),
        lambda logits: Bernoulli(logits=logits),
        lambda z: 3 * z - 1,
        lambda logits: 3 * logits.sigmoid() - 1,
    ),
    "one-hot": Problem(
        (tensor(0.1, -0.5, 0.9),),
        lambda logits: OneHotCategorical(logits=logits),
        lambda z: z @ tensor(1.0, 4.0, -2.0),
        lambda logits: logits.softmax(-1) @ tensor(1.0, 4.0, -2.0),
    ),
    "joint": Problem(
        (tensor(0.4, -0.7),),
        lambda logits: Independent(Bernoulli(logits=logits), 1),
        lambda z: z @ tensor(1.0, 2.0),
        lambda logits: logits.sigmoid() @ tensor(1.0, 2.0),
    ),
}


@pytest.mark.parametrize(
    ("name", "sampler"),
    [(name, "iid") for name in LINEAR] + [("bernoulli", "antithetic"), ("joint", "sobol")],
)
def test_straight_through_is_right_for_linear_costs(name, sampler):
    problem = LINEAR[name]
    found = estimates(problem, 2, seed=41, estimator="straight_through", sampler=sampler)
    for a, b in zip(found, truths(problem), strict=True):
        assert z_score(a, b) <= LIMIT


@pytest.mark.parametrize("name", ["bernoulli", "joint bernoulli", "one-hot"])
def test_the_value_of_exact_samples_is_unbiased(name):
    problem = (PROBLEMS | MORE)[name]
    for how in ("straight_through", Gumbel(0.3, hard=True)):
        value, gradient = estimates(problem, 1, seed=42, estimator=how)
        assert z_score(value, truths(problem)[0]) <= LIMIT
        assert z_score(gradient, truths(problem)[1]) > 2 * LIMIT  # and the gradient is not


def test_the_bias_of_straight_through_is_the_known_one():
    # f = 3 (z - 0.3)²: the mean slope 6 (p - 0.3) where the difference f(1) - f(0) = 1.2 belongs.
    p = BERNOULLI.params[0].sigmoid()
    _, gradient = estimates(BERNOULLI, 1, seed=43, estimator="straight_through")
    assert z_score(gradient, 6 * (p - 0.3) * p * (1 - p)) <= LIMIT


@pytest.mark.parametrize("temperature", [0.3, 1.0])
def test_gumbel_is_right_for_the_softened_problem(temperature):
    # A soft Bernoulli is sigmoid((logit + logistic noise) / temperature): integrate over the noise.
    u = (torch.arange(400_000, dtype=torch.float64) + 0.5) / 400_000
    logits = BERNOULLI.params[0].clone().requires_grad_()
    soft = ((logits + u.log() - (-u).log1p()) / temperature).sigmoid()
    truth = BERNOULLI.cost(soft).mean()
    (slope,) = torch.autograd.grad(truth, logits)
    found = estimates(BERNOULLI, 1, seed=44, estimator=Gumbel(temperature))
    assert z_score(found[0], truth.detach()) <= LIMIT
    assert z_score(found[1], slope) <= LIMIT


def test_bias_falls_and_variance_grows_as_the_temperature_falls():
    exact = truths(BERNOULLI)[1]
    bias, variance = [], []
    for temperature in (1.0, 0.3, 0.05):
        _, gradient = estimates(BERNOULLI, 1, seed=45, estimator=Gumbel(temperature))
        bias.append(abs(gradient.mean() - exact))
        variance.append(gradient.var())
    assert bias[0] > bias[1] > bias[2]
    assert variance[0] < variance[1] < variance[2]


def test_the_name_stands_for_the_defaults():
    logits = torch.zeros(3, requires_grad=True)
    one, two, other = (
        expectation(
            torch.square,
            Bernoulli(logits=logits),
            4,
            estimator=how,
            generator=torch.Generator().manual_seed(0),
        )
        for how in ("gumbel", Gumbel(), Gumbel(0.1))
    )
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("how", ["straight_through", "gumbel"])
def test_what_they_refuse(how):
    logits = torch.zeros(3, requires_grad=True)
    for dist in (Categorical(logits=logits), Normal(logits, 1.0)):
        with pytest.raises(ConfigurationError, match="expected Bernoulli or OneHotCategorical"):
            expectation(lambda z: z * 1.0, dist, 2, estimator=how)
    dist = Bernoulli(logits=logits)
    with pytest.raises(ConfigurationError, match="only the score function"):
        expectation(torch.square, dist, 2, estimator=how, baseline="loo")
    with pytest.raises(ConfigurationError, match="carries no gradient of its samples"):
        expectation(lambda z: (z > 0.5).float(), dist, 2, estimator=how)
    if how == "gumbel":
        with pytest.raises(ConfigurationError, match="which torch cannot draw"):
            expectation(torch.square, dist, 2, estimator=how, sampler="sobol")
        for temperature in (0.0, -1.0, float("nan"), float("inf")):
            with pytest.raises(ConfigurationError, match="`temperature` got"):
                Gumbel(temperature)
