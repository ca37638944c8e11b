"""Figures and intervals against rliable's, recorded by `tools/record_rliable.py`."""

import json
from pathlib import Path

import numpy as np
import pytest

from hunch import comparison
from hunch.comparison.bootstrap import drawn_again, percentile_ends
from hunch.comparison.statistics import by_environment
from hunch.errors import ConfigurationError, DataError, ShapeError

RECORDED = json.loads(Path(__file__).with_name("rliable.json").read_text("utf-8"))
SETS = list(RECORDED["sets"])
FIGURES = ["interquartile_mean", "mean_score", "median_score", "optimality_gap"]


def scores_of(name):
    return [np.array(own) for own in RECORDED["sets"][name]["scores"]]


def same_resamples(*samples):
    """The draws that rliable made, in its order: one of each sample in turn."""
    stream = np.random.RandomState(RECORDED["seed"])
    taken = [[] for _ in samples]
    for _ in range(RECORDED["resamples"]):
        for indices, sample in zip(taken, samples, strict=True):
            indices.append(stream.choice(len(sample), sample.shape, replace=True))
    return [
        drawn_again(by_environment(s), {str(e): np.stack(i)[..., e] for e in range(s.shape[1])})
        for s, i in zip(samples, taken, strict=True)
    ]


def ends(statistic, *samples):
    return np.array(percentile_ends(statistic(*same_resamples(*samples)), 0.95))


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("figure", FIGURES)
def test_a_figure_and_its_interval_are_rliables(name, figure):
    first, _ = scores_of(name)
    statistic = getattr(comparison, figure)
    value, interval = RECORDED["sets"][name]["figures"][figure]
    assert statistic(first) == pytest.approx(value[0], abs=1e-9)
    np.testing.assert_allclose(ends(statistic, first), np.array(interval)[:, 0], atol=1e-9, rtol=0)


@pytest.mark.parametrize("name", SETS)
def test_the_probability_of_improvement_is_rliables(name):
    value, interval = RECORDED["sets"][name]["probability_of_improvement"]
    pair = scores_of(name)
    assert comparison.probability_of_improvement(*pair) == pytest.approx(value[0], abs=1e-9)
    found = ends(comparison.probability_of_improvement, *pair)
    np.testing.assert_allclose(found, np.array(interval)[:, 0], atol=1e-9, rtol=0)


@pytest.mark.parametrize("name", SETS)
def test_a_performance_profile_is_rliables(name):
    thresholds = RECORDED["sets"][name]["thresholds"]
    shares, bands = RECORDED["sets"][name]["performance_profile"]
    first, _ = scores_of(name)

    def profile(scores):
        return comparison.performance_profile(scores, thresholds)

    np.testing.assert_allclose(profile(first), shares, atol=1e-9, rtol=0)
    np.testing.assert_allclose(ends(profile, first), bands, atol=1e-9, rtol=0)


def test_unlike_numbers_of_seeds_are_given_by_name():
    scores = {"a": [0.0, 1.0, 2.0, 3.0], "b": [4.0, 6.0]}
    assert comparison.interquartile_mean(scores) == pytest.approx((1 + 2 + 3 + 4) / 4)
    assert comparison.mean_score(scores) == pytest.approx((1.5 + 5.0) / 2)
    ahead = comparison.probability_of_improvement(scores, {"a": [1.0], "b": [9.0]})
    assert ahead == pytest.approx((2.5 / 4 + 0.0) / 2)


def test_an_interval_is_of_its_seed_alone_and_the_global_stream_stays():
    scores = scores_of("skewed")[0]
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    a, b, other = (
        comparison.bootstrap_interval(comparison.interquartile_mean, scores, seed=s, resamples=500)
        for s in (0, 0, 1)
    )
    assert a == b
    assert (a.low, a.high) != (other.low, other.high)
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002


def test_resamples_do_not_depend_on_how_many_are_held_at_once(monkeypatch):
    from hunch.comparison import bootstrap

    pair = scores_of("tied")
    args = (comparison.probability_of_improvement, *pair)
    whole = comparison.bootstrap_interval(*args, resamples=400)
    monkeypatch.setattr(bootstrap, "_AT_ONCE", 500)
    assert comparison.bootstrap_interval(*args, resamples=400) == whole


def test_environments_are_drawn_apart():
    # One seed good everywhere and one bad everywhere: drawn together the mean would reach 0 and 1
    # in a quarter of the resamples each; drawn apart over 8 environments in 1 of 65,536.
    scores = np.array([[0.0] * 8, [1.0] * 8])
    found = comparison.bootstrap_interval(comparison.mean_score, scores)
    assert 0.05 < found.low < found.high < 0.95


@pytest.mark.parametrize(
    ("scores", "error", "says"),
    [
        ([1.0, 2.0], ShapeError, "(seeds, environments)"),
        ({}, ShapeError, "no seed"),
        ({"a": []}, ShapeError, "no seed"),
        ([[np.nan], [1.0]], DataError, "not finite in environment '0'"),
        ({"a": [[1.0]], "b": [1.0]}, ShapeError, "differ by environment"),
    ],
)
def test_scores_that_cannot_be_compared_are_refused(scores, error, says):
    with pytest.raises(error) as caught:
        comparison.interquartile_mean(scores)
    assert says in str(caught.value)


def test_two_agents_must_have_played_the_same_environments():
    with pytest.raises(ShapeError, match="environments a, `other` b"):
        comparison.probability_of_improvement({"a": [1.0]}, {"b": [1.0]})


@pytest.mark.parametrize("bad", [dict(confidence=1.0), dict(resamples=0), dict(seed=-1)])
def test_numbers_out_of_range_are_refused(bad):
    with pytest.raises(ConfigurationError, match=next(iter(bad))):
        comparison.bootstrap_interval(comparison.mean_score, [[1.0]], **bad)
