"""REBAR and RELAX: right in their parts, quieter with a good surrogate, and what they refuse."""

import pytest
import torch
from torch.distributions import Bernoulli, Categorical, OneHotCategorical

from hunch.errors import ConfigurationError
from hunch.gradients import Relax, expectation
from hunch.gradients.estimators import relax

from ..problems import DRAWS, LIMIT, MORE, PROBLEMS, estimates, tensor, worst, z_score

ALL = PROBLEMS | MORE


def test_the_value_is_the_mean_cost_and_a_scale_of_zero_the_score():
    problem = MORE["joint bernoulli"]
    value, zero = estimates(problem, 1, draws=50, estimator=Relax(scale=0.0))
    again, rebar = estimates(problem, 1, draws=50, estimator="rebar")
    torch.testing.assert_close(value, again)
    corners = tensor(0.25, 2.25, 6.25)  # (a + 2 b - 0.5)²
    assert (value[:, None] - corners).abs().amin(1).max() < 1e-9
    assert not torch.allclose(zero, rebar)


def test_a_second_draw_that_does_not_move_with_the_parameter_would_be_noticed(monkeypatch):
    right = relax._logistic

    def wrong(logits, u, v):
        sample, before, after = right(logits, u, v)
        return sample, before, after.detach()

    monkeypatch.setattr(relax, "_logistic", wrong)
    problem = PROBLEMS["bernoulli"]
    assert worst(problem, estimates(problem, 2, estimator="rebar")) > 2 * LIMIT


def test_two_percent_too_much_would_be_noticed(monkeypatch):
    right = relax._logistic

    def tilted(logits, u, v):
        return right(logits + 0.02 * (logits - logits.detach()), u, v)

    problem = MORE["joint bernoulli"]
    monkeypatch.setattr(relax, "_logistic", tilted)
    assert worst(problem, estimates(problem, 2, estimator="rebar")) > LIMIT
    monkeypatch.setattr(relax, "_logistic", right)
    exp = torch.exp
    monkeypatch.setattr(relax.torch, "exp", lambda x: exp(1.02 * x))
    assert worst(problem, estimates(problem, 2, estimator="rebar")) > LIMIT


@pytest.mark.parametrize("one_hot", [False, True])
def test_given_the_sample_the_second_draw_is_distributed_like_the_first(one_hot):
    logits = tensor(0.4, -0.7, 1.5).log_softmax(-1)
    dist = OneHotCategorical(logits=logits) if one_hot else Bernoulli(logits=logits)
    generator = torch.Generator().manual_seed(53)
    u, v = torch.rand(2, DRAWS, 3, dtype=torch.float64, generator=generator)
    sample, soft = relax._draws(dist, u, v, 1.0)
    first, second = soft.chunk(2)
    torch.testing.assert_close(sample.mean(0), dist.mean, atol=0.006, rtol=0)
    for draw in (first, second):  # both round to the sample
        rounded = draw == draw.amax(-1, keepdim=True) if one_hot else draw > 0.5
        assert torch.equal(rounded.double(), sample)
    for power in (1, 2):
        found = (first**power - second**power).mean(0)
        assert found.abs().max() < 4.5 * 2**0.5 / DRAWS**0.5


def test_second_derivatives_are_unbiased():
    problem = PROBLEMS["bernoulli"]
    logits = problem.params[0].expand(DRAWS).clone().requires_grad_()
    generator = torch.Generator().manual_seed(54)
    value = expectation(
        problem.cost, problem.dist(logits), 2, estimator="rebar", generator=generator
    )
    (first,) = torch.autograd.grad(value.sum(), logits, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), logits)
    p = problem.params[0].sigmoid()
    assert z_score(second, 1.2 * p * (1 - p) * (1 - 2 * p)) <= LIMIT


def test_rebar_is_quieter_than_the_score_function():
    for name in ("bernoulli", "joint bernoulli", "one-hot"):
        plain, quiet = (
            estimates(ALL[name], 1, draws=5_000, estimator=how, baseline=None)[1].var(0).sum()
            for how in ("score", "rebar")
        )
        assert quiet < plain


def test_a_surrogate_learns_to_make_the_gradient_quiet():
    generator = torch.Generator().manual_seed(55)
    network = torch.nn.Sequential(torch.nn.Linear(1, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1))
    weights = list(network.parameters())
    for parameter in weights:
        with torch.no_grad():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator))
    how = Relax(lambda z: network(z.unsqueeze(-1)).squeeze(-1))
    logits = torch.zeros(500, requires_grad=True)

    def square():
        dist = Bernoulli(logits=logits)
        # A black box: no gradient comes from the cost itself.
        loss = expectation(
            lambda z: 10 + (z > 0.5).float(), dist, 1, estimator=how, generator=generator
        )
        (gradient,) = torch.autograd.grad(loss.sum(), logits, create_graph=True)
        return gradient.square().mean()

    optimizer = torch.optim.Adam(weights, lr=0.05)
    start = square().item()
    for _ in range(150):
        for parameter, gradient in zip(
            weights, torch.autograd.grad(square(), weights), strict=True
        ):
            parameter.grad = gradient
        optimizer.step()
    assert start > 10  # (10.5 / 2)², less what the first surrogate did
    assert square().item() < start / 20


@pytest.mark.parametrize("one_hot", [False, True])
def test_an_evidence_bound_as_the_message_says_to_write_it(one_hot):
    start = tensor(0.4, -0.7, 1.2)

    def bound(z, q):
        if one_hot:
            return 1.5 * z @ tensor(1.0, 2.0, 3.0) + (z * q.logits).sum(-1)
        return 1.5 * z + q.log_prob(z)

    def make(logits, **how):
        kind = OneHotCategorical if one_hot else Bernoulli
        return kind(logits=logits, **how)

    exact = start.clone().requires_grad_()
    q = make(exact)
    values = q.enumerate_support()
    truth = (q.log_prob(values).exp() * bound(values, q)).sum()
    (truth,) = torch.autograd.grad(truth, exact)
    logits = start.expand(DRAWS, 3).clone().requires_grad_()
    q = make(logits, validate_args=False)
    found = expectation(
        lambda z: bound(z, q), q, 1, estimator="rebar", generator=torch.Generator().manual_seed(57)
    )
    assert z_score(torch.autograd.grad(found.sum(), logits)[0], truth) <= LIMIT


@pytest.mark.parametrize("how", ["rebar", "gumbel"])
def test_a_support_that_softened_samples_miss_is_said_in_our_words(how):
    logits = torch.zeros(3, requires_grad=True)
    # Validation is asked for: torch.compile turns the default off for the whole process.
    for kind in (Bernoulli, OneHotCategorical):
        q = kind(logits=logits, validate_args=True)
        with pytest.raises(
            ConfigurationError, match=r"log-probability of softened samples.*z \* logits"
        ):
            expectation(q.log_prob, q, 2, estimator=how)

    def broken(z):
        raise ValueError("mine")

    with pytest.raises(ValueError, match=r"^mine$"):
        expectation(broken, Bernoulli(logits=logits), 2, estimator=how)


def test_what_it_refuses():
    logits = torch.zeros(3, requires_grad=True)
    with pytest.raises(ConfigurationError, match="expected Bernoulli or OneHotCategorical"):
        expectation(lambda z: z * 1.0, Categorical(logits=logits), 2, estimator="rebar")
    dist = Bernoulli(logits=logits)
    with pytest.raises(ConfigurationError, match="only the score function"):
        expectation(torch.square, dist, 2, estimator="rebar", baseline="loo")
    with pytest.raises(ConfigurationError, match=r"Relax\(surrogate"):
        expectation(lambda z: (z > 0.5).float(), dist, 2, estimator="rebar")
    with pytest.raises(ConfigurationError, match="rounds softened samples"):
        expectation(lambda z: z + z.round(), dist, 2, estimator="rebar")
    with pytest.raises(ConfigurationError, match="`temperature` got"):
        Relax(temperature=0.0)
