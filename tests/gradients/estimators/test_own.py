"""An estimator of one's own: what it is given, where it may stand, and what it may not return."""

from dataclasses import dataclass

import pytest
import torch
from torch.distributions import Bernoulli, Independent, LogNormal, Normal

from hunch.errors import ConfigurationError, DataError, ShapeError
from hunch.gradients import Gumbel, Relax, diagnose, expectation, leave_one_out, surrogate


def own_score(request):
    z = request.draw()
    cost = request.cost(z)
    return surrogate(request.dist.log_prob(z), cost, request.baseline_for(cost), samples=z)


def own_path(request):
    return request.cost(request.draw(differentiable=True, groups=1)).mean(0)


@dataclass(frozen=True)
class Shrunk:
    """A path whose gradient is too short, and says so."""

    factor: float
    biased: bool = True

    def __call__(self, request):
        value = own_path(request)
        return value.detach() + self.factor * (value - value.detach())


def gradients(how, f=torch.square, n=6, dtype=torch.float32, joined=0, **settings):
    torch.manual_seed(0)
    loc = torch.tensor([[0.3, -1.0], [0.7, 0.1]], dtype=dtype, requires_grad=True)
    spread = torch.full_like(loc, 0.8).requires_grad_()
    dist = Independent(Normal(loc, spread), joined)
    g = torch.Generator().manual_seed(1)
    value = expectation(f, dist, n, estimator=how, generator=g, **settings)
    return value, *torch.autograd.grad(value.sum(), (loc, spread))


@pytest.mark.parametrize("baseline", [None, "loo", "ema", "self-critical", 2.0])
@pytest.mark.parametrize("sampler", ["iid", "antithetic", "sobol"])
def test_the_score_written_by_a_user_is_the_score(baseline, sampler):
    settings = {"baseline": baseline, "sampler": sampler}
    own, ours = gradients(own_score, **settings), gradients("score", **settings)
    for mine, right in zip(own, ours, strict=True):
        torch.testing.assert_close(mine, right)


def test_costs_that_share_a_sample_and_half_precision_reach_it_as_they_reach_ours():
    def f(z):
        return z.prod(-1)

    pairs = [
        (gradients(own_path, f, joined=1), gradients("pathwise", f, joined=1)),
        (gradients(own_path, dtype=torch.float16), gradients("pathwise", dtype=torch.float16)),
    ]
    for own, ours in pairs:
        assert own[0].dtype == ours[0].dtype
        assert all(torch.equal(mine, right) for mine, right in zip(own, ours, strict=True))


def test_diagnose_measures_it_beside_ours():
    problem = torch.square, Normal, (torch.tensor(1.0), torch.tensor(0.5))
    found = diagnose(*problem, n=4, repeats=200, estimators=["score", own_score, Shrunk(0.9)])
    rows = {row.estimator: row for row in found.rows}
    own = rows["own_score"]
    assert own.trusted
    assert own.judged
    assert own.evaluations == 4
    short = rows[str(Shrunk(0.9))]
    assert short.biased
    assert not short.unbiased_by_design
    assert not rows["own_score"].biased
    assert rows["own_score"].signal_to_noise > 0
    alone = diagnose(*problem, n=4, repeats=50, estimators=own_path)
    assert [row.estimator for row in alone.rows] == ["own_path"]


def test_the_seed_decides_what_an_object_without_a_name_is_measured_to_be():
    class Own:
        def __call__(self, request):
            return own_score(request)

    problem = torch.square, Normal, (torch.tensor(1.0), torch.tensor(0.5))
    first, again = (
        diagnose(*problem, n=2, repeats=20, estimators=["score", own]).to_json()
        for own in (Own(), Own())
    )
    assert first == again


def test_one_that_is_wrong_without_saying_so_is_found_out():
    def shrunk(request):
        return Shrunk(0.8)(request)

    params = (torch.tensor(1.0), torch.tensor(0.1))
    found = diagnose(torch.square, Normal, params, n=8, repeats=200, estimators=["score", shrunk])
    assert {row.estimator: row.biased for row in found.rows}["shrunk"]


def test_a_baseline_is_refused_by_one_that_has_no_use_for_it():
    def path(request):
        request.refuse_baseline("path")
        return own_path(request)

    with pytest.raises(ConfigurationError, match="`baseline` was given with estimator='path'"):
        expectation(torch.square, Normal(torch.zeros(2), 1.0), 2, estimator=path, baseline="loo")


@pytest.mark.parametrize(
    ("how", "error", "words"),
    [
        (lambda request: request.cost(request.draw()), ShapeError, r"returned shape \(4, 2\)"),
        (lambda request: request.cost(request.draw()).mean(), ShapeError, r"returned shape \(\)"),
        (lambda request: 1.0, ShapeError, "`estimator` returned float"),
        (
            lambda request: request.cost(request.draw() / 0).mean(0),
            DataError,
            "returned by `f` got",
        ),
        (Relax, ConfigurationError, "`estimator` got the class Relax"),
        (Gumbel, ConfigurationError, "`estimator` got the class Gumbel"),
        (3, ConfigurationError, "`estimator` got 3; expected one of 'auto'"),
        ("scores", ConfigurationError, "`estimator` got 'scores'; expected one of 'auto'"),
    ],
)
def test_what_cannot_be_an_estimate_is_refused(how, error, words):
    dist = Normal(torch.zeros(2, requires_grad=True), 1.0)
    with pytest.raises(error, match=words):
        expectation(torch.square, dist, 4, estimator=how)


def test_a_mask_is_for_the_score_alone():
    dist = Bernoulli(logits=torch.zeros(2, requires_grad=True))
    with pytest.raises(ConfigurationError, match="`mask` was given"):
        expectation(torch.square, dist, 4, estimator=own_score, mask=torch.isfinite)


def test_a_transform_is_as_the_user_built_it():
    seen = []

    def look(request):
        seen.append(request)
        return own_path(request)

    dist = LogNormal(torch.zeros(2, requires_grad=True), 1.0)
    expectation(torch.square, dist, 3, estimator=look, baseline=1.0)
    (request,) = seen
    assert request.dist is dist
    assert request.f is torch.square
    assert (request.n, request.baseline, request.sampler) == (3, 1.0, "iid")
    cost = request.cost(request.draw())
    assert torch.equal(request.baseline_for(cost), torch.ones(3, 2))
    assert leave_one_out(cost).shape == cost.shape
