"""`diagnose`: its figures are the closed forms, its verdicts right, its output steady."""

import dataclasses
import json

import pytest
import torch
from torch.distributions import Bernoulli, Categorical, Independent, Normal, OneHotCategorical

from hunch.errors import ConfigurationError, ShapeError
from hunch.gradients import Diagnosis, Gumbel, diagnose
from hunch.gradients.diagnosis.repeated import Repeated, Way
from hunch.gradients.estimators import score

NORMAL = (torch.tensor(1.0), torch.tensor(0.7))


def by_label(diagnosis):
    return {row.label: row for row in diagnosis.rows}


def test_variances_are_the_closed_forms():
    # d = 1, σ = 0.7, by the mean: 15 s + 14 + 1 / s for the score, with s = σ².
    s, n = 0.49, 4
    only_mean = diagnose(
        torch.square, lambda mu: Normal(mu, 0.7), torch.tensor(1.0), n, repeats=20_000
    )
    rows = by_label(only_mean)
    pi = torch.pi
    forms = {
        "score + none": (1 / s + 14 + 15 * s) / n,
        "score + loo": (8 + 10 * s + (8 + 2 * s) / (n - 1)) / n,
        "score + none + antithetic": 8 * 2 / n,
        "pathwise": 4 * s / n,
        "measure": (16 - 4 * pi) / pi / n,
    }
    # The variance of 20,000 scores, whose fourth moment is large, is known to about 3 %.
    for label, variance in forms.items():
        assert rows[label].variance == pytest.approx(variance, rel=0.12), label
        assert rows[label].signal_to_noise == pytest.approx(2 / variance**0.5, rel=0.06)
    assert rows["pathwise + antithetic"].variance == 0
    costs = {label: row.evaluations for label, row in rows.items()}
    assert costs["score + loo"] == costs["pathwise"] == n
    assert costs["score + self-critical"] == n + 1
    assert costs["measure"] == 3 * n
    assert all(row.trusted for row in only_mean.rows)
    assert list(only_mean.rows) == sorted(only_mean.rows, key=lambda row: row.variance_cost)


def test_a_baseline_is_recommended_over_the_forums_score():
    found = diagnose(torch.square, Normal, (torch.tensor(1.0), torch.tensor(0.01)), n=4,
                     estimators=["score"])  # fmt: skip
    rows = by_label(found)
    assert "times lower than that of the score function without a baseline" in found.recommendation
    assert "noise is larger" not in found.recommendation
    faint = diagnose(torch.square, lambda mu: Normal(mu, 1.0), torch.tensor(0.05), n=2,
                     estimators=["score"])  # fmt: skip
    assert faint.rows[0].signal_to_noise < 1
    assert "noise is larger than the gradient: it takes the mean of about" in faint.recommendation
    assert rows["score + loo"].variance_cost < rows["score + none"].variance_cost / 100


def test_a_cost_with_a_jump_shows_the_path_as_biased():
    found = diagnose(lambda z: z**2 + (z > 1).float(), Normal, NORMAL)
    rows = by_label(found)
    assert found.reference == "a long run of 'measure'"
    for label in ("pathwise", "pathwise + antithetic", "pathwise + sobol"):
        assert rows[label].biased
        assert rows[label].unbiased_by_design
    assert found.rows[0].trusted
    assert "the cost is not continuous" in found.recommendation
    assert "'pathwise'" not in found.recommendation


@pytest.mark.parametrize("one_hot", [False, True])
def test_discrete_problems_are_held_against_enumeration(one_hot):
    table = torch.tensor([3.0, -1.0, 0.5, 2.0])
    logits = torch.tensor([0.1, -0.5, 0.9, 0.0])
    if one_hot:
        found = diagnose(lambda z: (z @ table) ** 2, lambda l: OneHotCategorical(logits=l), logits)
    else:
        found = diagnose(lambda z: table[z], lambda l: Categorical(logits=l), logits)
    assert found.reference == "enumeration"
    assert found.rows[0].signal_to_noise == float("inf")
    assert "it is exact, at 4 evaluations" in found.recommendation
    rows = by_label(found)
    assert rows["score + loo"].trusted
    biased = [row.estimator for row in found.rows if row.biased]
    assert biased == (["straight_through", "gumbel"] if one_hot else [])
    assert ("Biased: straight_through by" in found.recommendation) == one_hot


def test_a_broken_estimator_is_seen(monkeypatch):
    right = score.score_terms
    monkeypatch.setattr(score, "score_terms", lambda lp, c, b: right(1.1 * lp, c, b))
    rows = by_label(diagnose(torch.square, Normal, NORMAL, exact=(2 * NORMAL[0], 2 * NORMAL[1])))
    assert rows["score + loo"].biased
    assert rows["score + loo"].relative_bias == pytest.approx(0.1, abs=0.05)
    assert not rows["pathwise"].biased


def test_few_calls_of_a_skewed_estimate_accuse_nobody():
    normal = (torch.tensor(0.0), torch.tensor(1.0))
    for seed in range(4):  # of the first two calls were called biased, by one look at 20 of them
        found = diagnose(lambda z: torch.exp(1.2 * z), Normal, normal, 4, repeats=20, seed=seed)
        assert not [row.label for row in found.rows if row.biased]


def test_few_calls_find_what_is_biased_all_the_same(monkeypatch):
    table = torch.tensor([3.0, -1.0, 0.5, 2.0])
    logits = torch.tensor([0.1, -0.5, 0.9, 0.0])
    for seed in range(4):
        found = diagnose(
            lambda z: (z @ table) ** 2,
            lambda l: OneHotCategorical(logits=l),
            logits,
            4,
            repeats=20,
            seed=seed,
        )
        biased = [row.estimator for row in found.rows if row.biased]
        assert "straight_through" in biased  # the other one is too noisy to be known by 20 calls
        assert set(biased) <= {"straight_through", "gumbel"}
    right = score.score_terms
    monkeypatch.setattr(score, "score_terms", lambda lp, c, b: right(1.5 * lp, c, b))
    rows = by_label(
        diagnose(torch.square, Normal, NORMAL, repeats=60, exact=(2 * NORMAL[0], 2 * NORMAL[1]))
    )
    assert rows["score + loo"].biased


def test_exact_gradients_may_be_given():
    right = (2 * NORMAL[0], 2 * NORMAL[1])
    good = diagnose(torch.square, Normal, NORMAL, exact=right, estimators=["pathwise", "score"])
    assert good.reference == "given"
    assert all(row.trusted for row in good.rows)
    assert good.gradient_norm == pytest.approx(2 * (1 + 0.49) ** 0.5)
    bad = diagnose(torch.square, Normal, NORMAL, exact=(right[0] + 1, right[1]))
    assert all(row.biased for row in bad.rows)
    assert "take another estimator" in bad.recommendation
    with pytest.raises(ShapeError, match="`exact` got shapes"):
        diagnose(torch.square, Normal, NORMAL, exact=(torch.ones(2), torch.ones(2)))


def test_what_does_not_go_row_by_row_is_called_one_by_one():
    mask = torch.tensor([1.0, 2.0, 3.0]).expand(4, 3)  # a cost written for n = 4

    def centered(w):
        return Normal(w - w.mean(), 1.0)

    w = torch.tensor([0.3, -0.2, 0.5])
    cases = [
        (torch.square, lambda w: Normal(w - 0.1, 1.0), True),
        (torch.square, centered, False),  # the rows would share their mean
        (lambda z: z**2 * mask, lambda w: Normal(w, 1.0), False),
        (lambda z: z**2 - z.mean(), lambda w: Normal(w, 1.0), False),
    ]
    for f, dist_fn, stacks in cases:
        assert Repeated(f, dist_fn, w, 4, 50, seed=0).stacks is stacks
    found = diagnose(torch.square, centered, w, 4, repeats=200, exact=2 * (w - w.mean()))
    rows = by_label(found)
    assert rows["score + loo"].trusted
    assert rows["score + ema"].trusted
    # w - mean has the same variance in every direction but one.
    assert rows["pathwise"].variance == pytest.approx(4 * 2 / 4, rel=0.3)


@pytest.mark.slow
def test_stacked_and_single_calls_agree():
    problem = Repeated(torch.square, Normal, NORMAL, 4, 1_000, seed=0)
    assert problem.stacks
    for way in (Way("score", "ema"), Way("score", "loo", "sobol"), Way("measure")):
        together = problem.estimates(way, 4, "a")
        problem.stacks = False
        each = problem.estimates(way, 4, "b")
        problem.stacks = True
        assert together.shape == each.shape == (1_000, 2)
        error = (together.var(0) + each.var(0)).div(1_000).sqrt()
        assert ((together.mean(0) - each.mean(0)).abs() <= 4.5 * error).all()
        torch.testing.assert_close(together.std(0), each.std(0), rtol=0.3, atol=0)


def test_the_same_seed_gives_the_same_file():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    one, two, other = (diagnose(torch.square, Normal, NORMAL, 4, seed=s) for s in (0, 0, 1))
    assert torch.equal(before, torch.get_rng_state())
    files = [json.dumps(d.to_json()) for d in (one, two, other)]
    assert files[0] == files[1] != files[2]
    assert "milliseconds" not in files[0]
    assert all(row.milliseconds > 0 for row in one.rows)
    again = Diagnosis.from_json(json.loads(files[0]))
    assert again.to_json() == one.to_json()
    assert again.rows[0] == dataclasses.replace(
        one.rows[0], milliseconds=again.rows[0].milliseconds
    )


def test_the_table_is_aligned():
    found = diagnose(torch.square, Normal, NORMAL, 4, repeats=50)
    lines = str(found).split("\n")
    table = lines[: lines.index("")]
    assert len(table) == 1 + len(found.rows)
    assert len({len(line) for line in table}) == 1
    assert table[0].split()[:3] == ["estimator", "baseline", "sampler"]
    column = table[0].index("sampler")
    for line, row in zip(table[1:], found.rows, strict=True):
        assert line.startswith(row.estimator)
        assert line[column:].startswith(row.sampler)
    assert "left out: straight_through + iid, gumbel + iid" not in str(found)  # reasons differ
    assert lines[-1] == found.recommendation


def test_a_coin_that_hardly_ever_falls_the_other_way_is_no_bias():
    logits = torch.tensor([0.3, 9.5])  # the second is tails once in 13,000 tosses
    found = diagnose(
        lambda z: (z.sum(-1) - 0.5) ** 2,
        lambda logits: Independent(Bernoulli(logits=logits), 1),
        logits,
        4,
        estimators=["score", "measure", "straight_through"],
        repeats=300,
    )
    rows = by_label(found)
    assert all(row.trusted for label, row in rows.items() if label != "straight_through")
    assert rows["straight_through"].biased


@pytest.mark.parametrize("seed", range(3))
def test_what_hangs_on_samples_that_never_came_is_not_judged(seed):
    # A cost of 100 for whatever falls: tosses of 1 in 8,000 are to take back what all others give.
    found = diagnose(
        lambda z: 100 + 0.05 * z.sum(-1),
        lambda logits: Independent(Bernoulli(logits=logits), 1),
        (torch.tensor([-9.0, 0.0]),),
        4,
        repeats=200,
        seed=seed,
    )
    rows = {row.label: row for row in found.rows}
    assert rows["score + none"].unseen
    assert not rows["score + none"].biased
    assert rows["score + none"].doubt == 1
    assert rows["score + loo"].trusted
    assert "score + none, which are unjudged: raise `repeats`" in found.recommendation


def test_names_temperatures_and_dicts():
    found = diagnose(
        lambda z: (z.sum(-1) - 1) ** 2,
        lambda logits, bias: Independent(Bernoulli(logits=logits + bias), 1),
        {"bias": torch.tensor(0.1), "logits": torch.tensor([0.2, -0.3])},
        4,
        estimators=["measure", Gumbel(0.2), Gumbel(2.0)],
        repeats=300,
    )
    assert found.coordinates == 3
    rows = {row.estimator: row for row in found.rows}
    assert rows["measure"].trusted
    cool, warm = rows[str(Gumbel(0.2))], rows[str(Gumbel(2.0))]
    assert not cool.unbiased_by_design
    assert warm.relative_bias > cool.relative_bias
    assert warm.variance < cool.variance


def test_ways_that_do_not_apply_are_named_with_the_reason():
    found = diagnose(torch.square, Normal, NORMAL, n=1, repeats=50)
    skipped = dict(found.skipped)
    assert "n >= 2" in skipped["score + loo + iid"]
    assert "even number" in skipped["score + none + antithetic"]
    assert "has no rsample" not in str(found)
    assert "left out: straight_through + iid" in str(found)


def test_refusals():
    for repeats in (9, 10.0, True):
        with pytest.raises(ConfigurationError, match="`repeats` got"):
            diagnose(torch.square, Normal, NORMAL, repeats=repeats)
    for names in ("reinforce", ["score", "auto"]):
        with pytest.raises(ConfigurationError, match="`estimators` got"):
            diagnose(torch.square, Normal, NORMAL, estimators=names)
    with pytest.raises(ConfigurationError, match="none that applies"):
        diagnose(torch.square, Normal, NORMAL, estimators="enumerate", repeats=20)
    with pytest.raises(ConfigurationError, match="`params` got int"):
        diagnose(torch.square, Normal, (0, 1))
    with pytest.raises(ConfigurationError, match="at least one number"):
        diagnose(torch.square, lambda: Normal(0.0, 1.0), ())
    with pytest.raises(ConfigurationError, match="carries no gradient of `params`"):
        diagnose(torch.square, lambda mu: Normal(mu.detach(), 1.0), torch.ones(1))
    with pytest.raises(ShapeError, match="keep the sample axis"):
        diagnose(lambda z: z.mean(0), Normal, (torch.ones(2), torch.ones(2)))
