"""Softened samples may not be asked what has no answer between the values, with validation or not."""

import pytest
import torch
from torch.distributions import (
    Bernoulli,
    Binomial,
    Categorical,
    Geometric,
    Independent,
    MixtureSameFamily,
    OneHotCategorical,
    OneHotCategoricalStraightThrough,
    RelaxedOneHotCategorical,
)

from hunch.errors import ConfigurationError
from hunch.gradients import Gumbel, Relax, diagnose, expectation

HOWS = ["rebar", "gumbel", Gumbel(hard=True), "straight_through"]
W = torch.tensor([0.3, -1.0, 0.5])


def one_hot(logits, validate=False):
    return OneHotCategorical(logits=logits, validate_args=validate)


class Mine(OneHotCategorical):
    """A class of one's own that says nothing of its log-probability."""


class MineToo(OneHotCategorical):
    def log_prob(self, value):
        return super().log_prob(value) - 0.5


class Smooth(OneHotCategorical):
    """One that has a log-probability between the values as well."""

    def log_prob(self, value):
        return (value * self.logits).sum(-1)


def asked(dist):
    """A cost with that distribution's log-probability of the sample in it."""
    return lambda z: dist.log_prob(z) + (z * W).sum(-1)


def wrong_costs(q):
    prior = torch.zeros(3)
    two = torch.zeros(2, 3)
    return {
        "its own": asked(q),
        "a prior": asked(one_hot(prior)),
        "in Independent": asked(Independent(one_hot(prior), 0)),
        "a mixture": asked(
            MixtureSameFamily(Categorical(torch.ones(2)), one_hot(two), validate_args=False)
        ),
        "straight-through": asked(
            OneHotCategoricalStraightThrough(logits=prior, validate_args=False)
        ),
        "a subclass": asked(Mine(logits=prior, validate_args=False)),
        "a subclass that adds": asked(MineToo(logits=prior, validate_args=False)),
        "a function of the sample": lambda z: one_hot(prior).log_prob(0.9 * z + 0.03) + z.sum(-1),
        "cut off to whole numbers": lambda z: (
            Categorical(logits=prior, validate_args=False).log_prob(2 * z[..., 0]) + (z * W).sum(-1)
        ),
    }


@pytest.mark.parametrize("name", wrong_costs(one_hot(torch.zeros(3))))
@pytest.mark.parametrize("how", HOWS, ids=str)
def test_what_jumps_between_the_values_is_refused_whatever_is_validated(how, name):
    logits = torch.tensor([0.5, -0.2, 1.0], requires_grad=True)
    q = one_hot(logits)
    cost = wrong_costs(q)[name]
    with pytest.raises(ConfigurationError, match=r"whatever validate_args is.*base_dist\.logits"):
        expectation(cost, q, 4, estimator=how)
    # A surrogate that jumps is no better; the cost beside a smooth one may be anything.
    with pytest.raises(ConfigurationError, match="log-probability"):
        expectation(lambda z: z.sum(-1), q, 4, estimator=Relax(cost))
    for right in ("score", Relax(lambda z: (z * W).sum(-1))):
        q = one_hot(logits)
        expectation(wrong_costs(q)[name], q, 4, estimator=right).backward()


def test_a_bernoulli_as_a_class_is_refused_too():
    logits = torch.zeros(3, requires_grad=True)
    q = Bernoulli(logits=logits)
    prior = Categorical(logits=torch.tensor([0.3, -0.1]), validate_args=False)
    for how in HOWS:
        with pytest.raises(ConfigurationError, match="whatever validate_args is"):
            expectation(lambda z: prior.log_prob(z) + z, q, 4, estimator=how)


def right_costs(q):
    """Costs that are continuous between the values, whatever they have in them."""
    prior, data = torch.zeros(3), torch.tensor([0.0, 1.0, 0.0])
    soft_data = torch.tensor([0.2, 0.5, 0.3])
    leaf = torch.tensor([0.2, 0.5, 0.3], requires_grad=True)
    return {
        "as the message says": lambda z: (z * q.logits).sum(-1) - (z * prior).sum(-1),
        "its own that is smooth": asked(Smooth(logits=prior, validate_args=False)),
        "data in a decoder of classes": lambda z: -one_hot(z @ torch.eye(3)).log_prob(data),
        "soft data": lambda z: -one_hot(2 * z).log_prob(soft_data),
        "soft data that are trained": lambda z: -one_hot(2 * z).log_prob(leaf),
        "classes as data": lambda z: -Categorical(logits=2 * z).log_prob(torch.tensor(1)),
        "coins": lambda z: (
            Bernoulli(logits=W, validate_args=False).log_prob(z).sum(-1) + (z * W).sum(-1)
        ),
        "counts": lambda z: Binomial(1, logits=W, validate_args=False).log_prob(z).sum(-1),
        "waiting": lambda z: Geometric(W.sigmoid(), validate_args=False).log_prob(z).sum(-1),
        "relaxed": lambda z: RelaxedOneHotCategorical(
            torch.tensor(0.7), logits=W, validate_args=False
        ).log_prob(z.clamp(1e-3).div(z.clamp(1e-3).sum(-1, keepdim=True))),
        "a maximum": lambda z: z.max(-1)[0] + (z * W).sum(-1),
        "looked at": lambda z: (z * W).sum(-1) + 0 * z.detach().long().sum(-1),
    }


@pytest.mark.parametrize("name", right_costs(one_hot(torch.zeros(3))))
@pytest.mark.parametrize("how", HOWS, ids=str)
def test_what_is_continuous_there_is_taken(how, name):
    logits = torch.tensor([0.5, -0.2, 1.0], requires_grad=True)
    q = one_hot(logits)
    expectation(right_costs(q)[name], q, 4, estimator=how).backward()
    assert logits.grad.abs().sum() > 0


def test_rebar_of_each_right_cost_is_unbiased():
    logits = torch.tensor([0.5, -0.2, 1.0])
    for name, cost in right_costs(one_hot(logits)).items():
        row = diagnose(cost, one_hot, (logits,), 2, estimators=["rebar"], repeats=400).rows[0]
        assert not row.biased, name


def test_a_word_that_is_given_up_on_purpose_is_taken():
    logits = torch.zeros(3, requires_grad=True)
    q = one_hot(logits)
    expectation(lambda z: asked(q)(z.detach()) + z.sum(-1), q, 4, estimator="straight_through")
    with torch.no_grad():
        expectation(asked(q), q, 4, estimator="straight_through")


def test_coins_are_as_before():
    logits = torch.zeros(3, requires_grad=True)
    q = Independent(Bernoulli(logits=logits, validate_args=False), 1)
    for how in HOWS:
        expectation(q.log_prob, q, 4, estimator=how)


@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_it_is_seen_inside_transforms_and_beside_modes_of_ones_own():
    from torch.utils._device import DeviceContext

    def loss(logits):
        q = one_hot(logits)
        return expectation(asked(q), q, 4, estimator="rebar", generator=None)

    with pytest.raises(ConfigurationError, match="validate_args"):
        torch.func.grad(loss)(torch.zeros(3))
    with pytest.raises(ConfigurationError, match="validate_args"):
        torch.func.vmap(torch.func.grad(loss), randomness="different")(torch.zeros(2, 3))
    with DeviceContext(torch.device("cpu")), pytest.raises(ConfigurationError, match="validate"):
        loss(torch.zeros(3, requires_grad=True))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch's own, of what it traces
def test_a_compiled_cost_is_computed_as_ever():
    logits = torch.tensor([0.5, -0.2, 1.0], requires_grad=True)

    def cost(z):
        return (z * W).sum(-1).square() + z.max(-1)[0]

    def gradient(f):
        g = torch.Generator().manual_seed(0)
        loss = expectation(f, one_hot(logits), 8, estimator="rebar", generator=g)
        return torch.autograd.grad(loss, logits)[0]

    torch.testing.assert_close(gradient(torch.compile(cost)), gradient(cost))


def test_diagnose_leaves_such_an_estimator_out_and_says_why():
    logits = torch.tensor([0.5, -0.2, 1.0])
    found = diagnose(asked(one_hot(logits)), one_hot, (logits,), 4, repeats=50)
    reasons = dict(found.skipped)
    for way in ("rebar + iid", "gumbel + iid", "straight_through + iid"):
        assert "whatever validate_args is" in reasons[way]
