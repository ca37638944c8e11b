"""Extreme parameters and low precision: right, or refused in a sentence; never NaN without a word.

Statistical figures: 4.5 standard errors, a false alarm of 7e-6 each; about 60 of them, so that a
fresh choice of all seeds would raise one in 2,500 runs. The seeds are fixed.
"""

import math
import warnings

import pytest
import torch
from torch.distributions import (
    Bernoulli,
    Beta,
    Categorical,
    Dirichlet,
    Exponential,
    Gamma,
    Independent,
    InverseGamma,
    Laplace,
    LogNormal,
    Normal,
    OneHotCategorical,
    Poisson,
    SigmoidTransform,
    StudentT,
    TanhTransform,
    TransformedDistribution,
)

from hunch.errors import DataError, HunchError, HunchWarning
from hunch.gradients import (
    EMA,
    expectation,
    grpo_advantages,
    leave_one_out,
    rloo_advantages,
    surrogate,
)
from hunch.gradients.estimators.score import own_log_prob

ROWS = 40_000
HALF = (torch.float16, torch.bfloat16)
ALL = (*HALF, torch.float32, torch.float64)
INFINITE = float("inf")


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def gradients(f, make, params, n, dtype, rows=ROWS, seed=0, **how):
    """Many independent estimates of the gradient by each parameter, in double precision."""
    stacked = [torch.tensor(p, dtype=dtype) for p in params]
    stacked = [p.expand(rows, *p.shape).clone().requires_grad_() for p in stacked]
    value = expectation(f, make(*stacked), n, generator=seeded(seed), **how)
    return [g.double() for g in torch.autograd.grad(value.sum(), stacked)]


def away(found, truth, rounding=0.0):
    """Standard errors between the mean estimate and the truth."""
    error = found.std(0) / len(found) ** 0.5 + rounding + 1e-12
    return float(((found.mean(0) - truth).abs() / error).max())


# ------------------------------------------------------------------ large gaps, masked logits

WORTH = (1.0, 2.0, 3.0)


def worth_squared(z):
    return (z @ torch.tensor(WORTH, dtype=z.dtype)) ** 2


def enumerated(logits):
    logits = torch.tensor(logits, dtype=torch.float64, requires_grad=True)
    value = (logits.softmax(-1) * torch.tensor(WORTH, dtype=torch.float64) ** 2).sum()
    return torch.autograd.grad(value, logits)[0]


@pytest.mark.parametrize("dtype", ALL)
@pytest.mark.parametrize("gap", [0.0, 10.0, 44.0, 100.0, 1e4, INFINITE])
def test_rebar_is_right_however_improbable_an_outcome(gap, dtype):
    logits = [0.0, -gap, 0.5]
    (found,) = gradients(
        worth_squared, lambda l: OneHotCategorical(logits=l), [logits], 1, dtype, estimator="rebar"
    )
    rounding = 4 * torch.finfo(dtype).eps if dtype in HALF else 0.0
    assert away(found, enumerated(logits), rounding) < 4.5


@pytest.mark.parametrize("dtype", ALL)
@pytest.mark.parametrize("how", ["score", "enumerate"])
def test_masked_logits_have_no_gradient_and_spoil_none(how, dtype):
    logits = [0.0, -INFINITE, 0.5]
    rounding = 4 * torch.finfo(dtype).eps
    (found,) = gradients(
        lambda z: (z.to(dtype) + 1) ** 2, lambda l: Categorical(logits=l), [logits], 4, dtype,
        estimator=how,
    )  # fmt: skip
    assert (found[:, 1] == 0).all()
    assert away(found, enumerated(logits), rounding) < 4.5


# ------------------------------------------------------------------ transforms that round


def truth_of_squashed(squash, mean, scale):
    """By integration over the normal sample."""
    mean, scale = (torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (mean, scale))
    noise = torch.linspace(-9, 9, 200_001, dtype=torch.float64)
    weight = (-(noise**2) / 2).exp()
    value = ((squash(mean + scale * noise) - 0.3) ** 2 * weight).sum() / weight.sum()
    return torch.autograd.grad(value, (mean, scale))


@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("cache", [0, 1])
@pytest.mark.parametrize("scale", [3.0, 10.0])
@pytest.mark.parametrize("transform", [TanhTransform, SigmoidTransform])
def test_the_score_is_right_where_a_transform_rounds_to_its_edge(transform, scale, cache, joint):
    squash = torch.tanh if transform is TanhTransform else torch.sigmoid

    def make(mean, spread):
        dist = TransformedDistribution(Normal(mean, spread), [transform(cache_size=cache)])
        return Independent(dist, 0) if joint else dist

    for how in ({"sampler": "iid"}, {"sampler": "antithetic"}):
        found = gradients(
            lambda z: (z - 0.3) ** 2, make, [0.5, scale], 4, torch.float32, estimator="score", **how
        )
        for slope, truth in zip(found, truth_of_squashed(squash, 0.5, scale), strict=True):
            assert away(slope, truth) < 4.5


def test_a_trained_transform_keeps_its_gradient():
    def make(mean, scale):
        base = Normal(torch.zeros_like(mean), 1.0)
        affine = torch.distributions.AffineTransform(mean, scale, cache_size=1)
        return TransformedDistribution(base, [affine, TanhTransform(cache_size=1)])

    found = gradients(
        lambda z: (z - 0.3) ** 2, make, [0.5, 1.0], 4, torch.float64, estimator="score"
    )
    for slope, truth in zip(found, truth_of_squashed(torch.tanh, 0.5, 1.0), strict=True):
        assert away(slope, truth) < 4.5


def test_a_density_that_is_not_finite_is_refused():
    moved = torch.full((64,), 3.0, requires_grad=True)
    base = Normal(torch.zeros(64), 1.0)
    affine = torch.distributions.AffineTransform(0.0, moved)
    dist = TransformedDistribution(base, [affine, TanhTransform()])
    words = r"TransformedDistribution, whose log-probability is NaN or infinite for \d+ of"
    for mask in (None, torch.isfinite):
        with pytest.raises(DataError, match=words):
            expectation(torch.square, dist, 64, estimator="score", mask=mask, generator=seeded())
    certain = Bernoulli(logits=torch.tensor([INFINITE, 0.0], requires_grad=True))
    for how in ("score", "enumerate", "rebar"):
        with pytest.raises(DataError, match="Bernoulli, whose log-probability is NaN"):
            expectation(torch.square, certain, 4, estimator=how)


def test_samples_at_infinity_have_no_path():
    scale = torch.full((2,), 1e10, requires_grad=True)
    with pytest.raises(DataError, match=r"LogNormal, of which \d+ of 128 numbers drawn are NaN"):
        expectation(lambda z: 1 / (1 + z), LogNormal(0.0, scale), 64, generator=seeded())


# ------------------------------------------------------------------ half precision


def test_sums_in_half_precision_do_not_overflow():
    cost = torch.tensor([[3e4], [4e4], [5e4], [6e4]], dtype=torch.float16)
    assert leave_one_out(cost).flatten().tolist() == [49984, 46656, 43328, 40000]
    mask = torch.ones_like(cost, dtype=torch.bool)
    assert leave_one_out(cost, mask=mask).isfinite().all()
    assert rloo_advantages(cost).isfinite().all()
    torch.testing.assert_close(
        grpo_advantages(cost).float(), grpo_advantages(cost.float()), atol=2e-3, rtol=0
    )
    ema = EMA()
    ema(cost)
    assert ema.value.item() == pytest.approx(45_000, rel=1e-3)
    logits = torch.zeros(1, dtype=torch.float16, requires_grad=True)
    dist = Bernoulli(logits=logits)
    for baseline in (None, "loo", "ema", 4e4):
        for sampler in ("iid", "antithetic"):
            value = expectation(
                lambda z: 4e4 + z, dist, 8, estimator="score", baseline=baseline, sampler=sampler
            )
            assert value.tolist() == [40_000]
    log_prob = dist.log_prob(torch.ones(4, 1, dtype=torch.float16))
    for dim in (0, None):
        assert surrogate(log_prob, cost, dim=dim).isfinite().all()
        assert surrogate(log_prob, cost, dim=dim, mask=mask).isfinite().all()


def test_a_mean_that_no_precision_holds_is_refused():
    logits = torch.zeros(1, requires_grad=True)
    with pytest.raises(DataError, match=r"too large for torch\.float32"):
        expectation(lambda z: z * 0 + 3e38, Bernoulli(logits=logits), 4, baseline=None)


@pytest.mark.parametrize("dtype", ALL)
@pytest.mark.parametrize("sampler", ["antithetic", "sobol"])
def test_rare_events_are_drawn_as_often_as_they_are_due(sampler, dtype):
    for make in (
        lambda p: Bernoulli(p),
        lambda p: Bernoulli(logits=p.logit()),
        lambda p: Categorical(torch.stack([1 - p, p], -1)),
    ):
        p = torch.full((100_000,), 1 / 1024, dtype=dtype)
        seen = []

        def cost(z, seen=seen):
            seen.append(z)
            return z * 0.0

        expectation(cost, make(p), 4, estimator="score", sampler=sampler, generator=seeded(2))
        # Pairs and points of one row cannot both be rare: as good as independent.
        rate = seen[0].double().mean() * 1024
        assert abs(rate - 1) < 4.5 * (1024 / 400_000) ** 0.5 + 8 * torch.finfo(dtype).eps


def test_rebar_draws_rare_events_in_half_precision():
    for dtype in HALF:
        for logit in (-6.0, -3.0, 3.0):
            exact = torch.tensor(logit).sigmoid() * torch.tensor(-logit).sigmoid() * 0.4
            (found,) = gradients(
                lambda z: (z - 0.3) ** 2, lambda l: Bernoulli(logits=l), [logit], 4, dtype,
                estimator="rebar",
            )  # fmt: skip
            assert away(found, exact, 0.01 * float(exact)) < 4.5


# ------------------------------------------------------------------ certain outcomes


@pytest.mark.parametrize("p", [0.0, 1e-30, 1.0])
def test_certain_outcomes_are_enumerated_and_spoken_of_by_the_score(p):
    coin = torch.tensor(p, requires_grad=True)
    wanted = 0.49 - 0.09

    def slope(dist, how):
        value = expectation(lambda z: (z - 0.3) ** 2, dist, 4, estimator=how)
        return torch.autograd.grad(value.sum(), coin)[0].item()

    for how in ("enumerate", "measure"):
        assert slope(Bernoulli(coin), how) == pytest.approx(wanted)
        two = Independent(Bernoulli(torch.stack([coin, torch.tensor(0.5)])), 1)
        value = expectation(lambda z: (z[..., 0] - 0.3) ** 2, two, 4, estimator=how)
        assert torch.autograd.grad(value, coin)[0].item() == pytest.approx(wanted)
    with pytest.warns(HunchWarning, match="closer to 0 or 1 than its precision tells apart"):
        slope(Bernoulli(coin), "score")
    kinds = [
        lambda q: Categorical(torch.stack([q, 1 - q])),
        lambda q: OneHotCategorical(torch.stack([q, 1 - q])),
    ]
    costs = [lambda z: 1.0 * z, lambda z: z[..., 1]]
    for make, cost in zip(kinds, costs, strict=True):
        value = expectation(cost, make(coin), 1, estimator="enumerate")
        assert torch.autograd.grad(value, coin)[0].item() == pytest.approx(-1)
    with pytest.warns(HunchWarning, match="closer to 0 or 1"):
        expectation(costs[0], kinds[0](coin), 4, estimator="score")


def test_ordinary_probabilities_are_left_alone():
    for p in (1e-6, 0.5, 1 - 1e-6):  # warnings are errors here
        coin = torch.tensor(p, requires_grad=True)
        expectation(torch.square, Bernoulli(coin), 4)
        expectation(lambda z: 1.0 * z, Categorical(torch.stack([coin, 1 - coin])), 4)
        expectation(torch.square, Bernoulli(logits=100 * coin), 4)
        expectation(torch.square, Bernoulli(coin.detach() * 0), 4)  # not trained


# ------------------------------------------------------------------ tiny concentrations


def test_underflow_is_spoken_of_where_the_score_is_wrong_by_it():
    one = torch.ones(())

    def trained(a, dtype=torch.float32):
        return torch.tensor(a, dtype=dtype, requires_grad=True)

    words = "more than one sample in a hundred lies closer to the edge"
    double = torch.float64
    for dist in (
        Gamma(trained(0.01), one),
        Gamma(trained(0.05), one),
        Gamma(trained(0.003, double), one.double()),
        InverseGamma(trained(0.01), one),
        Independent(Gamma(trained([0.01, 1.0]), 1.0), 1),
        Dirichlet(trained([0.01, 0.01, 0.01])),
        Beta(trained(0.01), one),
        Beta(one, trained(0.1)),  # 1 - z is rounded sooner than z
        Beta(one.double(), trained(0.1, double)),
    ):
        for mask in (None, torch.isfinite):
            with pytest.warns(HunchWarning, match=words):
                expectation(
                    lambda z: 1 / (1 + z.reshape(len(z), -1).sum(1)),
                    dist,
                    4,
                    estimator="score",
                    mask=mask,
                )
    for dist in (  # warnings are errors here
        Gamma(trained(0.1), one),
        Gamma(trained(0.01, double), one.double()),
        Gamma(torch.tensor(0.01), trained(1.0)),  # the rate's score needs no logarithm
        Beta(trained(0.1), one),
        Beta(one, trained(0.5)),
        Dirichlet(trained([0.1, 0.1])),
    ):
        expectation(lambda z: 1 / (1 + z.reshape(len(z), -1).sum(1)), dist, 4, estimator="score")
    for how in ("pathwise", "measure"):
        expectation(lambda z: 1 / (1 + z), Gamma(trained(0.01), one), 4, estimator=how)


def test_what_the_warning_recommends_is_right():
    # E[z / (1 + z)] of a Gamma of concentration a and rate 1, by integration over log z.
    a = torch.tensor(0.01, dtype=torch.float64, requires_grad=True)
    t = torch.linspace(-60, 5, 400_001, dtype=torch.float64)
    density = (a * t - t.exp() - torch.lgamma(a)).exp()
    value = (density * t.sigmoid()).sum() * (t[1] - t[0])
    (truth,) = torch.autograd.grad(value, a)
    for how in ("pathwise", "measure"):
        (found,) = gradients(
            lambda z: z / (1 + z), lambda a: Gamma(a, torch.ones_like(a)), [0.01], 4,
            torch.float32, estimator=how,
        )  # fmt: skip
        assert away(found, truth) < 4.5
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (found,) = gradients(
            lambda z: z / (1 + z), lambda a: Gamma(a, torch.ones_like(a)), [0.01], 4,
            torch.float32, estimator="score",
        )  # fmt: skip
    assert away(found, truth) > 9  # so that the warning is deserved


def test_torchs_wrong_paths_are_spoken_of():
    tiny = torch.full((2,), 0.003, requires_grad=True)
    for dist in (Beta(tiny[0], tiny[1]), Dirichlet(tiny)):
        for how in ("auto", "pathwise"):
            with pytest.warns(HunchWarning, match="several times too large; keep their sum above"):
                expectation(lambda z: z.reshape(len(z), -1).sum(1) ** 2, dist, 4, estimator=how)
    small = torch.full((2,), 0.01, requires_grad=True)
    expectation(torch.square, Beta(small[0], small[1]), 4)  # warnings are errors here


# ------------------------------------------------------------------ everything else at once

EXTREMES = {
    "normal": (Normal, [([1.0], [s]) for s in (1e-30, 1e-10, 1e-4, 1e10, 1e18)]),
    "laplace": (Laplace, [([1.0], [s]) for s in (1e-10, 1e-3, 1e10)]),
    "lognormal": (LogNormal, [([1.0], [s]) for s in (1e-30, 1e-4, 1e10, 1e30)]),
    "exponential": (Exponential, [([s],) for s in (1e-10, 1e-4, 1e10, 1e30)]),
    "poisson": (Poisson, [([s],) for s in (1e-10, 1e-4, 1e10, 1e30)]),
    "student": (StudentT, [([s],) for s in (1.0, 1e3, 1e6)]),
    "gamma": (Gamma, [([a], [s]) for a in (0.01, 1e3) for s in (1e-10, 1.0, 1e10)]),
    "coin": (lambda l: Bernoulli(logits=l), [([s],) for s in (-1e4, -44.0, 44.0, 1e4, INFINITE)]),
    "word": (lambda l: OneHotCategorical(logits=l), [([[0.0, -s]],) for s in (44, 1e4, INFINITE)]),
}  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("name", EXTREMES)
def test_a_finite_value_comes_with_a_finite_gradient(name, dtype):
    make, settings = EXTREMES[name]
    names = ["score", "pathwise", "auto", "measure", "enumerate", "rebar", "straight_through"]
    several = 0
    for params in settings:
        for how in (*names, "gumbel"):
            leaves = [torch.tensor(p, dtype=dtype, requires_grad=True) for p in params]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", HunchWarning)
                try:
                    dist = make(*leaves)
                    width = len(dist.event_shape)
                    value = expectation(
                        lambda z, width=width: 1 / (1 + z.flatten(2).sum(2) ** 2 if width else
                                                    1 + z.to(dtype) ** 2),
                        dist, 16, estimator=how, generator=seeded(),
                    )  # fmt: skip
                except (HunchError, ValueError, NotImplementedError):
                    continue  # torch's own words for parameters that round to none, or half Gammas
            assert value.isfinite().all()
            found = torch.autograd.grad(value.sum(), leaves, allow_unused=True)
            assert all(g is None or g.isfinite().all() for g in found), (params, how)
            several += 1
    # Torch draws no Gamma numbers in half precision.
    assert several > 3 or (name in ("gamma", "student") and dtype == torch.bfloat16)


@pytest.mark.parametrize("scale", [1e-25, 0.3, 1e25])
def test_the_score_of_a_normal_is_that_of_its_density(scale):
    # Single precision cannot hold the square of the first scale, nor of the last, by which torch's
    # own divides.
    away = torch.tensor([-1.0, 0.5, 3.0])
    loc = torch.zeros(3, requires_grad=True)
    spread = torch.full((3,), scale, requires_grad=True)
    value = own_log_prob(Normal(loc, spread), scale * away)
    by_loc, by_spread = torch.autograd.grad(value.sum(), (loc, spread))
    assert torch.allclose(by_loc * scale, away)
    assert torch.allclose(by_spread * scale, away.square() - 1, atol=1e-6)
    assert torch.allclose(value, -0.5 * away.square() - math.log(scale))
