"""Enumeration: exact for every finite support, joined ones up to a stated number of outcomes."""

import pytest
import torch
from torch.distributions import (
    Bernoulli,
    Binomial,
    Categorical,
    Independent,
    OneHotCategorical,
    Poisson,
)
from torch.func import grad

from hunch.errors import ConfigurationError
from hunch.gradients import expectation
from hunch.gradients.estimators import enumeration

from ..problems import MORE, estimates, tensor, truths

DOUBLE = torch.float64


@pytest.mark.parametrize("name", ["joint bernoulli", "joint categorical"])
def test_joined_supports_are_exact(name):
    found = estimates(MORE[name], 1, draws=3, estimator="enumerate")
    for a, b in zip(found, truths(MORE[name]), strict=True):
        torch.testing.assert_close(a, b.expand_as(a))


def by_hand(dist, cost):
    """The mean by adding up what many exact draws would give: all combinations, one by one."""
    base = dist
    while isinstance(base, Independent):
        base = base.base_dist
    each = base.enumerate_support(expand=False).reshape(-1, *base.event_shape)
    joined = dist.event_shape[: len(dist.event_shape) - len(base.event_shape)]
    total = 0.0
    count = joined.numel() if joined else 0
    picks = [torch.arange(len(each))] * max(count, 1)
    for choice in torch.cartesian_prod(*picks).reshape(-1, len(picks)):
        z = each[choice].reshape((*joined, *base.event_shape))
        z = z.expand(1, *dist.batch_shape, *dist.event_shape)
        total = total + (dist.log_prob(z).exp() * cost(z))[0]
    return total


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda p: Independent(Bernoulli(logits=p), 1), (2, 3)),
        (lambda p: Independent(Bernoulli(logits=p), 2), (2, 3)),
        (lambda p: Independent(Independent(Bernoulli(logits=p), 1), 1), (2, 3)),
        (lambda p: Independent(Bernoulli(logits=p), 0), (3,)),
        (lambda p: Independent(Categorical(logits=p), 1), (2, 3, 4)),
        (lambda p: Independent(OneHotCategorical(logits=p), 1), (2, 3, 4)),
        (lambda p: Independent(Binomial(3, logits=p), 1), (2, 3)),
        (lambda p: Independent(Bernoulli(p.sigmoid()), 1), (2, 3)),
        (lambda p: Independent(OneHotCategorical(p.softmax(-1)), 1), (2, 3)),
        (lambda p: Independent(Categorical(p.softmax(-1)), 1), (3, 4)),
    ],
)
def test_every_combination_counts_once(make, shape):
    start = torch.randn(shape, dtype=DOUBLE, generator=torch.Generator().manual_seed(0))
    leaves = [start.clone().requires_grad_() for _ in range(2)]

    def cost(z):
        flat = z.double().reshape(*z.shape[: 1 + len(dist.batch_shape)], -1)
        places = torch.arange(1, 1 + flat.shape[-1], dtype=DOUBLE)
        return ((flat * places).sum(-1) - 1) ** 2

    dist = make(leaves[0])
    found = expectation(cost, dist, 1, estimator="enumerate")
    wanted = by_hand(make(leaves[1]), cost)
    assert found.shape == dist.batch_shape
    torch.testing.assert_close(found, wanted)
    slopes = [
        torch.autograd.grad(v.sum(), p)[0] for v, p in zip((found, wanted), leaves, strict=True)
    ]
    torch.testing.assert_close(*slopes)


def test_the_number_of_outcomes_is_limited():
    assert enumeration.MOST == 1024
    ten = Independent(Bernoulli(torch.full((10,), 0.5, requires_grad=True)), 1)
    value = expectation(lambda z: z.sum(-1), ten, 1, estimator="enumerate")
    assert value.item() == pytest.approx(5)
    eleven = Independent(Bernoulli(torch.full((11,), 0.5)), 1)
    with pytest.raises(ConfigurationError, match=r"11 coordinates .* 2\*\*11 outcomes.*1024"):
        expectation(lambda z: z.sum(-1), eleven, 1, estimator="enumerate")
    one = Independent(Categorical(logits=torch.zeros(3, 2000)), 0)
    assert expectation(lambda z: z * 1.0, one, 1, estimator="enumerate").shape == (3,)
    with pytest.raises(ConfigurationError, match="Poisson, whose support torch cannot list"):
        expectation(lambda z: z.sum(-1), Independent(Poisson(torch.ones(2)), 1), 1,
                    estimator="enumerate")  # fmt: skip
    nothing = Independent(Bernoulli(torch.ones(3, 0)), 1)
    assert (
        expectation(lambda z: z.sum(-1) + 2, nothing, 1, estimator="enumerate").tolist() == [2] * 3
    )


def test_second_derivatives_and_transforms():
    logits = tensor(0.4, -0.7).requires_grad_()

    def value(logits):
        dist = Independent(Bernoulli(logits=logits, validate_args=False), 1)
        return expectation(lambda z: z.prod(-1), dist, 1, estimator="enumerate")

    p = logits.detach().sigmoid()
    hessian = torch.autograd.functional.hessian(value, logits)
    assert float(hessian[0, 1]) == pytest.approx(float((p * (1 - p)).prod()))
    slopes = torch.vmap(grad(value))(logits.detach().expand(3, 2))
    torch.testing.assert_close(slopes, (p.flip(0) * p * (1 - p)).expand(3, 2))
