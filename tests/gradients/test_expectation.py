"""The rules of `expectation`: what is drawn, which estimator is chosen, what is refused."""

import pytest
import torch
from torch.distributions import (
    Bernoulli,
    Binomial,
    Categorical,
    Gamma,
    Independent,
    MultivariateNormal,
    Normal,
    Poisson,
    Uniform,
)
from torch.func import grad, vmap

from hunch.errors import ConfigurationError, DataError, ShapeError
from hunch.gradients import expectation
from hunch.gradients.checks.continuity import dependence


def normal(*shape, dtype=torch.float32):
    mu = torch.zeros(shape, dtype=dtype, requires_grad=True)
    return mu, Normal(mu, torch.ones_like(mu))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("estimator", ["auto", "score", "pathwise"])
def test_generator_decides_every_draw_and_the_global_one_is_left_alone(estimator):
    _, dist = normal(3)
    before = torch.get_rng_state()
    generator = seeded()
    first, second, again = (
        expectation(torch.square, dist, 4, estimator=estimator, generator=g)
        for g in (generator, generator, seeded())
    )
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


def test_without_a_generator_the_default_one_advances():
    _, dist = normal(3)
    torch.manual_seed(0)
    first = expectation(torch.square, dist, 4)
    assert not torch.equal(first, expectation(torch.square, dist, 4))
    torch.manual_seed(0)
    assert torch.equal(first, expectation(torch.square, dist, 4))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_is_kept(dtype):
    mu, dist = normal(2, dtype=dtype)
    for estimator in ("score", "pathwise", "auto"):
        value = expectation(torch.square, dist, 3, estimator=estimator)
        assert value.dtype == dtype
        assert torch.autograd.grad(value.sum(), mu)[0].dtype == dtype


def test_integer_and_boolean_costs_become_numbers():
    logits = torch.zeros(3, requires_grad=True)
    value = expectation(lambda z: z, Categorical(logits=logits), 8, generator=seeded())
    assert value.dtype == torch.float32
    value.backward()
    assert logits.grad.abs().sum() > 0
    _, dist = normal()
    assert 0 < expectation(lambda z: z > 0, dist, 100, generator=seeded()) < 1


AUTO = {
    "smooth": (lambda z: z**2, "pathwise"),
    "kinked": (lambda z: z.relu() + z.abs(), "pathwise"),
    "divided": (lambda z: torch.div(z, 2.0, rounding_mode=None), "pathwise"),
    "compared": (lambda z: (z > 0).float(), "score"),
    "detached": (lambda z: z.detach() ** 2, "score"),
    "sign": (lambda z: z.sign(), "score"),
    "rounded beside a smooth term": (lambda z: z**2 + z.round(), "score"),
    "floored": (lambda z: z.floor() * 2, "score"),
    "ceiled": (lambda z: z.ceil() * 2, "score"),
    "truncated": (lambda z: z.trunc() * 2, "score"),
    "remainder": (lambda z: z % 1.0, "score"),
    "floor division": (lambda z: torch.div(z, 2.0, rounding_mode="floor"), "score"),
    "operator //": (lambda z: z // 2.0, "score"),
}


@pytest.mark.parametrize("name", AUTO)
def test_auto_chooses_by_the_graph_between_cost_and_sample(name):
    cost, expected = AUTO[name]
    mu, dist = normal(4)
    value = expectation(cost, dist, 6, generator=seeded())
    same = {
        estimator: expectation(cost, dist, 6, estimator=estimator, generator=seeded())
        for estimator in {"score", expected}
    }
    torch.testing.assert_close(value, same[expected])
    found, wanted = (torch.autograd.grad(v.sum(), mu)[0] for v in (value, same[expected]))
    torch.testing.assert_close(found, wanted)
    if expected == "pathwise":
        other = torch.autograd.grad(same["score"].sum(), mu)[0]
        assert not torch.allclose(found, other)


def test_a_rounding_that_the_sample_does_not_pass_is_no_jump():
    theta = torch.tensor(1.3, requires_grad=True)
    z = torch.ones(2, requires_grad=True) * 2
    assert dependence(z * theta.round(), z) == "smooth"
    assert dependence(theta.round() * torch.ones(2), z) == "none"
    deep = z
    for _ in range(5_000):  # deeper than Python's recursion limit
        deep = deep + 1
    assert dependence(deep, z) == "smooth"
    assert dependence(deep.sign(), z) == "jump"


def test_auto_asks_again_only_for_a_cost_with_jumps():
    calls = []

    def cost(z):
        calls.append(z.requires_grad)
        return z.round() if len(calls) > 2 else z**2

    _, dist = normal()
    expectation(cost, dist, 2)
    expectation(cost, dist, 2, estimator="score")
    expectation(cost, dist, 2)
    assert calls == [True, False, True, False]


def test_auto_is_score_without_rsample():
    rate = torch.tensor(2.0, requires_grad=True)
    value = expectation(lambda z: z**2, Poisson(rate), 4, generator=seeded())
    other = expectation(lambda z: z**2, Poisson(rate), 4, estimator="score", generator=seeded())
    (a,) = torch.autograd.grad(value, rate)
    (b,) = torch.autograd.grad(other, rate)
    assert torch.equal(a, b)


def test_auto_baseline_is_leave_one_out_from_two_samples_on():
    mu, dist = normal(3)
    for n, same in ((1, None), (2, "loo"), (5, "loo")):
        a, b = (
            torch.autograd.grad(
                expectation(
                    torch.square, dist, n, estimator="score", baseline=how, generator=seeded()
                ).sum(),
                mu,
            )[0]
            for how in ("auto", same)
        )
        assert torch.equal(a, b)


def test_credit_per_factor_and_joint():
    mu, dist = normal(5, 4)
    assert expectation(torch.square, dist, 3).shape == (5, 4)
    joint = expectation(lambda z: z.square().sum(-1), Independent(dist, 1), 3)
    assert joint.shape == (5,)
    # A factor is not blamed for its neighbor's cost.
    one = expectation(torch.square, dist, 3, estimator="score")[0, 0]
    (gradient,) = torch.autograd.grad(one, mu)
    assert gradient[0, 0] != 0
    assert gradient.count_nonzero() == 1


def test_a_given_baseline_gets_no_gradient():
    mu, dist = normal(3)
    critic = torch.zeros(3, requires_grad=True)
    value = expectation(torch.square, dist, 2, estimator="score", baseline=critic * 2)
    assert torch.autograd.grad(value.sum(), [mu, critic], allow_unused=True)[1] is None
    per_sample = torch.zeros(2, 3)
    assert expectation(torch.square, dist, 2, estimator="score", baseline=per_sample).shape == (3,)
    assert expectation(torch.square, dist, 2, estimator="score", baseline=0.5).shape == (3,)


def test_without_gradients_it_is_the_mean_cost():
    _, dist = normal(3)
    with torch.no_grad():
        for estimator in ("auto", "score", "pathwise"):
            value = expectation(torch.square, dist, 4, estimator=estimator, generator=seeded())
            assert not value.requires_grad
    fixed = Normal(torch.zeros(3), 1.0)
    assert not expectation(torch.square, fixed, 4).requires_grad


def test_second_derivatives_of_gamma_need_the_score():
    a = torch.tensor(2.0, requires_grad=True)
    for estimator, works in (("score", True), ("pathwise", False)):
        value = expectation(torch.square, Gamma(a, 1.0), 4, estimator=estimator)
        (first,) = torch.autograd.grad(value, a, create_graph=True)
        if works:
            assert torch.isfinite(torch.autograd.grad(first, a)[0])
        else:
            with pytest.raises(RuntimeError, match="not implemented"):
                torch.autograd.grad(first, a)


# ------------------------------------------------------------------ torch.func


@pytest.mark.parametrize("estimator", ["score", "pathwise", "auto"])
def test_func_grad_agrees_with_backward(estimator):
    def loss(mu):
        dist = Normal(mu, 1.0)
        return expectation(torch.square, dist, 8, estimator=estimator, generator=seeded())

    mu = torch.tensor(0.7, requires_grad=True)
    (wanted,) = torch.autograd.grad(loss(mu), mu)
    torch.testing.assert_close(grad(loss)(mu.detach()), wanted)
    (first,) = torch.autograd.grad(loss(mu), mu, create_graph=True)
    (second,) = torch.autograd.grad(first, mu) if first.requires_grad else (torch.tensor(0.0),)
    torch.testing.assert_close(grad(grad(loss))(mu.detach()), second)


# The other two pairs are refused by torch itself: `Normal.sample` batches only "different" draws,
# `Normal.rsample` only the "same" ones.
@pytest.mark.parametrize("how", [("score", "different"), ("pathwise", "same")])
def test_vmap_over_parameters(how):
    estimator, randomness = how

    def loss(mu):
        dist = Normal(mu, 1.0, validate_args=False)
        return expectation(torch.square, dist, 20_000, estimator=estimator)

    torch.manual_seed(0)
    mu = torch.tensor([-1.0, 0.0, 1.0, 2.0])
    found = vmap(grad(loss), randomness=randomness)(mu)
    # d E[z²]/d mu = 2 mu; a leave-one-out estimate's standard deviation is at most 6.8 / √20,000.
    torch.testing.assert_close(found, 2 * mu, atol=0.25, rtol=0)
    outer = mu.clone().requires_grad_()
    vmap(loss, randomness=randomness)(outer).sum().backward()
    torch.testing.assert_close(outer.grad, 2 * mu, atol=0.25, rtol=0)


# ------------------------------------------------------------------ refusals


def test_cost_of_another_shape_is_refused_with_the_remedy():
    _, dist = normal(64, 4)
    for cost, words in (
        (lambda z: z.square().unsqueeze(-1), r"\(3, 64, 4, 1\).*\(3, 64, 4\).*squeeze the last 1"),
        (lambda z: z.square().sum(-1), r"\(3, 64\).*Independent\(dist, 1\)"),
        (lambda z: z.square().sum((1, 2)), r"Independent\(dist, 2\)"),
        (lambda z: z.square().mean(0), "keep the sample axis"),
        (lambda z: z.square().mean(), r"\(\)"),
        (lambda z: z.unsqueeze(1) * z.unsqueeze(2), "broadcast"),
    ):
        with pytest.raises(ShapeError, match=words):
            expectation(cost, dist, 3)
    with pytest.raises(ConfigurationError, match="`f` returned float"):
        expectation(lambda z: 1.0, dist, 3)


@pytest.mark.parametrize("estimator", ["auto", "score", "pathwise"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_costs_that_are_not_finite_are_refused(estimator, bad):
    _, dist = normal(4)
    mask = torch.zeros(3, 4)
    mask[1, 2] = bad
    with pytest.raises(DataError, match="1 of 12 values that are NaN or infinite"):
        expectation(lambda z: z**2 + mask, dist, 3, estimator=estimator)


def test_wrong_arguments_are_refused():
    _, dist = normal(3)
    for n in (0, -1, 2.0, True, None):
        with pytest.raises(ConfigurationError, match="`n` got"):
            expectation(torch.square, dist, n)
    for name in ("reinforce", "Measure", None, 3):
        with pytest.raises(ConfigurationError, match="'auto', 'score', 'pathwise', 'enumerate'"):
            expectation(torch.square, dist, 2, estimator=name)
    for baseline in ("mean", [1.0]):
        with pytest.raises(ConfigurationError, match="`baseline` got"):
            expectation(torch.square, dist, 2, baseline=baseline)
    for estimator in ("auto", "score", "pathwise"):
        with pytest.raises(ConfigurationError, match="n >= 2"):
            expectation(torch.square, dist, 1, baseline="loo", estimator=estimator)
    with pytest.raises(ConfigurationError, match=r"torch\.distributions\.Distribution"):
        expectation(torch.square, torch.zeros(3), 2)
    with pytest.raises(ShapeError, match=r"`baseline` got shape \(3, 1\).*\(3,\).*\(2, 3\)"):
        expectation(torch.square, dist, 2, estimator="score", baseline=torch.zeros(3, 1))


def test_estimators_refuse_what_they_cannot_do():
    p = torch.tensor([0.3, 0.6], requires_grad=True)
    _, dist = normal(2)
    with pytest.raises(ConfigurationError, match=r"Bernoulli, which has no rsample.*'score'"):
        expectation(torch.square, Bernoulli(p), 2, estimator="pathwise")
    with pytest.raises(ConfigurationError, match="carries no gradient of its samples"):
        expectation(lambda z: (z > 0).float(), dist, 2, estimator="pathwise")
    for finite in (dist, Independent(dist, 1), Binomial(torch.tensor([2, 3]), p)):
        with pytest.raises(ConfigurationError, match="support torch cannot list"):
            expectation(torch.square, finite, 2, estimator="enumerate")
    for estimator, which in (("pathwise", dist), ("enumerate", Bernoulli(p))):
        with pytest.raises(ConfigurationError, match="only the score function"):
            expectation(torch.square, which, 2, estimator=estimator, baseline="loo")


def test_a_support_that_moves_with_a_parameter_is_refused_by_the_score_only():
    top = torch.tensor([1.0, 2.0], requires_grad=True)
    for dist in (Uniform(0.0, top), Independent(Uniform(0.0, top), 0)):
        with pytest.raises(ConfigurationError, match="support moves"):
            expectation(torch.square, dist, 2, estimator="score")
    expectation(torch.square, Uniform(0.0, top), 50_000, generator=seeded()).sum().backward()
    torch.testing.assert_close(top.grad, 2 * top.detach() / 3, atol=0.03, rtol=0)  # E = top²/3
    mvn = MultivariateNormal(top, torch.eye(2))
    assert expectation(lambda z: z.sum(-1), mvn, 2, estimator="score").shape == ()


def test_a_generator_that_would_decide_nothing_is_refused():
    dist = Normal(torch.zeros(2, device="meta"), 1.0, validate_args=False)
    with pytest.raises(ConfigurationError, match="drawn on meta"):
        expectation(torch.square, dist, 2, estimator="score", generator=seeded())
