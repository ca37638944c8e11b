"""`diagnose` on problems whose verdict is known: what is wrong is seen, whatever else is wrong.

Verdicts have a false-alarm rate of one in a thousand tables; here are some 20, with fixed seeds.
"""

import json
import math

import pytest
import torch
from torch import nn
from torch.distributions import (
    Bernoulli,
    Gamma,
    Independent,
    Laplace,
    NegativeBinomial,
    Normal,
    OneHotCategorical,
    OneHotCategoricalStraightThrough,
)

from hunch.gradients import Diagnosis, Relax, diagnose
from hunch.gradients.diagnosis import references, table
from hunch.gradients.diagnosis.repeated import Repeated, Way
from hunch.plots import diagnosis_figure

FEW = 400


def rows_of(found):
    return {row.label: row for row in found.rows}


def squared(z):
    return (z - 0.3) ** 2


def coin(logits):
    return Bernoulli(logits=logits)


class ListsWrongly(Bernoulli):
    """Says that its values were 0 and 2."""

    def enumerate_support(self, expand=True):
        return 2 * super().enumerate_support(expand)


class ScoresWrongly(Normal):
    """Its log-probability is a fifth too steep."""

    def log_prob(self, value):
        return 1.2 * super().log_prob(value)


class MovesWrongly(Laplace):
    """Its samples are right and their path is half as long."""

    def rsample(self, sample_shape=()):
        z = super().rsample(sample_shape)
        return z.detach() + 0.5 * (z - z.detach())


# ------------------------------------------------------------------ no estimator is its own judge


def test_an_enumeration_that_is_wrong_is_not_its_own_judge():
    found = diagnose(
        squared, lambda l: ListsWrongly(logits=l, validate_args=False), torch.tensor(0.3), 4,
        repeats=FEW,
    )  # fmt: skip
    rows = rows_of(found)
    assert rows["enumerate"].biased
    assert not rows["enumerate"].trusted
    assert found.reference == "a long run of 'measure'"
    assert found.second_reference == "a long run of 'score'"
    assert found.rows[0].trusted
    assert "Use estimator='enumerate'" not in found.recommendation
    assert "Found biased, though no cost should make it so: enumerate by" in found.recommendation


def test_all_but_one_estimator_wrong():
    """The score is too steep, the path too short: the differences of the mean agree with neither."""

    class Both(MovesWrongly):
        def log_prob(self, value):
            return 1.2 * super().log_prob(value)

    params = (torch.tensor(1.0), torch.tensor(0.5))
    found = diagnose(squared, Both, params, 4, repeats=1000)
    assert found.reference == "differences of the mean cost"
    assert found.second_reference is None
    assert found.gradient_norm == pytest.approx((1.4**2 + 2**2) ** 0.5, rel=0.02)
    rows = rows_of(found)
    assert rows["pathwise"].biased
    assert rows["score + loo"].biased
    assert found.rows[0].label == "pathwise + sobol"  # drawn by icdf(), whose path is right
    # With one right estimator among them it is the one that is recommended.
    found = diagnose(squared, MovesWrongly, params, 4, repeats=FEW)
    assert found.reference == "a long run of 'score'"
    assert found.second_reference == "differences of the mean cost"
    assert rows_of(found)["score + loo"].trusted
    assert rows_of(found)["pathwise"].biased
    found = diagnose(squared, ScoresWrongly, params, 4, repeats=1000)
    assert (found.reference, found.second_reference) == (
        "a long run of 'measure'", "a long run of 'pathwise'",
    )  # fmt: skip
    assert found.rows[0].estimator == "pathwise"
    assert rows_of(found)["score + loo + sobol"].biased


def test_a_score_without_another_estimator_is_judged_by_differences():
    found = diagnose(
        lambda z: (z - 4).abs(), lambda p: NegativeBinomial(torch.tensor(5.0), probs=p),
        torch.tensor(0.3), 4, repeats=FEW,
    )  # fmt: skip
    assert found.second_reference == "differences of the mean cost"
    assert all(row.judged for row in found.rows)
    assert found.rows[0].trusted
    jump = diagnose(
        lambda z: z**2 + (z > 1).float(), Laplace, (torch.tensor(1.0), torch.tensor(0.5)), 4,
        repeats=FEW,
    )  # fmt: skip
    assert jump.second_reference == "differences of the mean cost"
    assert jump.rows[0].estimator == "score"
    assert jump.rows[0].trusted
    assert "the cost is not continuous" in jump.recommendation


def test_differences_are_the_gradient():
    # E z² of a Laplace is μ² + 2 b².
    params = torch.tensor(0.7, dtype=torch.float64), torch.tensor(1.5, dtype=torch.float64)
    problem = Repeated(torch.square, Laplace, params, 16, 100, seed=1)
    found = references._difference(problem)
    away = (found.gradient - torch.tensor([1.4, 6.0])).abs() / found.error
    assert away.max() < 4.5
    assert found.error.max() < 0.2
    problem.stacks, problem.repeats = False, 20
    apart = references._difference(problem)
    assert (apart.gradient - torch.tensor([1.4, 6.0])).abs().max() < 6 * apart.error.max()
    # A parameter that may not be moved so far is moved by less, also where torch does not look.
    edge = Repeated(
        lambda z: z,
        lambda p: NegativeBinomial(torch.tensor(2.0).double(), probs=p, validate_args=False),
        torch.tensor(0.004).double(), 16, 100, seed=1,
    )  # fmt: skip
    found = references._difference(edge)
    assert abs(float(found.gradient) - 2 / 0.996**2) < 4.5 * float(found.error)


def test_where_nothing_judges_it_the_words_say_so(monkeypatch):
    monkeypatch.setattr(references, "_MOST", 0)  # as if there were too many coordinates
    found = diagnose(
        lambda z: (z - 4).abs(), lambda p: NegativeBinomial(torch.tensor(5.0), probs=p),
        torch.tensor(0.3), 4, repeats=50,
    )  # fmt: skip
    assert found.second_reference is None
    assert not any(row.judged or row.trusted or row.biased for row in found.rows)
    assert "unjudged" in str(found)
    assert "no independent reference for estimator='score'" in found.recommendation
    assert found.usable
    assert found.to_json()["rows"][0]["judged"] is False


class Pretender(OneHotCategorical):
    """One that nobody knows to be straight-through; torch's own is refused as a path."""

    has_rsample = True

    def rsample(self, sample_shape=()):
        return OneHotCategoricalStraightThrough(logits=self.logits).rsample(sample_shape)


@pytest.mark.parametrize("kind", [Pretender, OneHotCategoricalStraightThrough])
def test_a_path_that_rsample_pretends_to_have_is_seen(kind):
    found = diagnose(
        lambda z: (z @ torch.tensor([1.0, 2.0, 3.0]).to(z.dtype)) ** 2,
        lambda l: kind(logits=l), torch.tensor([0.0, 1.0, 0.5]), 4, repeats=FEW,
    )  # fmt: skip
    assert found.rows[0].estimator == "enumerate"
    if kind is Pretender:
        assert rows_of(found)["pathwise"].biased
        assert "rsample() is no true path" in found.recommendation
    else:
        assert "pathwise" not in rows_of(found)


# ------------------------------------------------------------------ half precision


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_noise_in_half_precision_is_not_called_exact(dtype):
    params = (torch.tensor(1.0, dtype=dtype), torch.tensor(0.05, dtype=dtype))
    found = diagnose(squared, Normal, params, 4, repeats=FEW)
    single = diagnose(squared, Normal, [p.float() for p in params], 4, repeats=FEW)
    same = rows_of(single)
    for label, row in rows_of(found).items():
        assert row.variance > 0, label
        assert not math.isinf(row.signal_to_noise)
        if same[label].variance:
            assert row.variance == pytest.approx(same[label].variance, rel=0.5)
    assert "exact" not in found.recommendation
    coins = diagnose(squared, coin, torch.tensor(0.3, dtype=dtype), 4, repeats=50)
    assert "it is exact" in coins.recommendation  # what has no noise at all is


def test_what_half_precision_spoils_is_found_biased():
    # 1000 + z² in bfloat16 is 1000 for every z below 2.
    params = (torch.tensor(1.0, dtype=torch.bfloat16), torch.tensor(0.5, dtype=torch.bfloat16))
    found = diagnose(lambda z: 1000 + z**2, Normal, params, 4, repeats=1000)
    rows = rows_of(found)
    for label in ("score + loo", "measure"):
        assert rows[label].biased
    assert found.rows[0].estimator == "pathwise"
    assert found.gradient_norm == pytest.approx(5**0.5, rel=0.05)  # which double precision knows


def test_a_problem_that_does_not_run_in_double_is_judged_in_its_own():
    network = nn.Linear(1, 1)
    problem = Repeated(
        lambda z: network(z.unsqueeze(-1)).squeeze(-1), Normal,
        (torch.tensor(0.0), torch.tensor(1.0)), 4, 50, seed=0,
    )  # fmt: skip
    assert problem.in_double() is problem
    found = diagnose(problem.f, Normal, tuple(problem.params), 4, repeats=50)
    assert found.rows[0].trusted
    twin = Repeated(squared, Normal, {"loc": torch.tensor(0.0), "scale": torch.tensor(1.0)}, 4, 50,
                    seed=0).in_double()  # fmt: skip
    assert [p.dtype for p in twin.params] == [torch.float64] * 2


# ------------------------------------------------------------------ NaN is failure


def test_nan_gradients_are_failures(monkeypatch):
    right = Repeated.once

    def sometimes(self, way, *rest):
        found = right(self, way, *rest)
        if way.estimator == "measure" and len(found) > 1:
            found[::50] = torch.nan
        return found

    monkeypatch.setattr(Repeated, "once", sometimes)
    params = (torch.tensor(1.0), torch.tensor(0.5))
    found = diagnose(squared, Normal, params, 4, repeats=FEW)
    row = rows_of(found)["measure"]
    assert row.failed == pytest.approx(1 / 50)
    assert not row.trusted
    assert found.rows[-1] == row
    assert found.reference == "a long run of 'score'"  # what fails is no reference
    assert found.second_reference == "a long run of 'pathwise'"
    assert "fails 2%" in str(found)
    assert "NaN or infinite gradients: measure." in found.recommendation
    written = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert Diagnosis.from_json(written).to_json() == written
    kept = written["rows"][-1]
    assert (kept["failed"], kept["bias_z"], kept["variance"]) == (row.failed, None, None)
    figure, _ = diagnosis_figure(found)
    assert "fails" in [text.get_text() for text in figure.axes[0].texts]


def test_an_estimator_whose_costs_are_nan_at_times_is_no_reference():
    def cost(z):  # the points of the measure lie further out than the samples
        return torch.where(z > 4.8, torch.nan, z)

    found = diagnose(cost, Normal, (torch.tensor(0.0), torch.tensor(1.0)), 4, repeats=500, seed=3)
    assert found.reference == "a long run of 'score'"
    assert found.second_reference == "a long run of 'pathwise'"
    assert found.rows[0].trusted


def test_a_value_that_is_nan_is_a_failure_too():
    problem = Repeated(squared, Normal, (torch.tensor(1.0), torch.tensor(0.5)), 2, 10, seed=0)

    class Spoilt(Relax):
        def __call__(self, request):
            value = squared(request.dist.rsample())
            value[3] = value[3].detach() * torch.nan
            return value

    found = problem.estimates(Way(Spoilt()), 2, "a stream")
    assert found.isfinite().all(1).tolist() == [i != 3 for i in range(10)]


def test_no_way_that_is_right_is_said():
    found = diagnose(
        lambda z: (z @ torch.tensor([1.0, 5.0])) ** 2, lambda l: OneHotCategorical(logits=l),
        torch.tensor([0.0, 0.5]), 4, repeats=FEW, estimators=["straight_through"],
    )  # fmt: skip
    assert not found.usable
    assert "No way that applies here is unbiased" in found.recommendation


def test_a_recommendation_of_what_failed_or_was_not_judged():
    row = table.Row("score", "loo", "iid", 0.0, 0.0, False, True, 4.0, 16, 0.2, 1.0)
    unjudged = table.Row(
        "pathwise", "", "iid", 0.0, 0.0, False, True, 1.0, 16, 2.0, 1.0, judged=False
    )
    assert "Use estimator='score'" in table.recommend([unjudged, row])
    assert "no independent reference for estimator='pathwise'" in table.recommend([unjudged])


def test_the_gamma_of_a_tiny_concentration():
    found = diagnose(
        lambda z: z / (1 + z), Gamma, (torch.tensor(0.01), torch.tensor(1.0)), 4, repeats=1000,
        estimators=["measure", "pathwise"],
    )  # fmt: skip
    assert found.rows[0].estimator == "measure"
    assert all(row.trusted for row in found.rows)


def test_coins_that_share_a_cost_are_enumerated():
    found = diagnose(
        lambda z: (z.sum(-1) - 0.5) ** 2, lambda l: Independent(coin(l), 1),
        torch.tensor([0.3, -0.4, 1.0]), 4, repeats=FEW,
    )  # fmt: skip
    assert found.reference == "enumeration"
    assert found.rows[0].estimator == "enumerate"
    assert found.rows[0].evaluations == 8
