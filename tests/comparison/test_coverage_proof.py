"""How often the intervals hold the truth: what `docs/comparing-agents.md` says of few seeds."""

import numpy as np
import pytest

from hunch.comparison import (
    bootstrap_interval,
    interquartile_mean,
    mean_score,
    probability_of_improvement,
)
from hunch.comparison.remarks import COVERAGE

RUNS, RESAMPLES = 2_000, 1_000
SHAPES = {
    "normal": lambda rng, size: rng.normal(size=size),
    "skewed": lambda rng, size: np.exp(rng.normal(size=size)),
    # Seven of ten seeds solve it, the others stop anywhere below.
    "solved or not": lambda rng, size: np.where(
        rng.random(size) < 0.7, 1.0, 0.9 * rng.random(size)
    ),
}


def held(shape, statistic, seeds, environments, runs=RUNS):
    """Of how many simulated comparisons the 0.95 interval holds the truth, as a share."""
    draw = SHAPES[shape]
    rng = np.random.default_rng(seeds * 100 + environments)
    two = statistic is probability_of_improvement
    truth = 0.5 if two else statistic(draw(rng, (2_000_000, 1)))
    hits = 0
    for i in range(runs):
        scores = [draw(rng, (seeds, environments)) for _ in range(1 + two)]
        found = bootstrap_interval(statistic, *scores, resamples=RESAMPLES, seed=i)
        hits += found.low <= truth <= found.high
    return hits / runs


@pytest.mark.proof
@pytest.mark.parametrize("environments", [1, 5])
@pytest.mark.parametrize("seeds", sorted(COVERAGE))
def test_intervals_of_few_seeds_hold_the_truth_as_often_as_is_said(seeds, environments):
    # Each share is known to a standard error of at most 1.1 points.
    shares = {}
    for statistic in (interquartile_mean, mean_score, probability_of_improvement):
        for shape in SHAPES:
            shares[statistic.__name__, shape] = held(shape, statistic, seeds, environments)
            print(seeds, environments, statistic.__name__, shape, shares[statistic.__name__, shape])
    of_means = [share for (name, _), share in shares.items() if name == "interquartile_mean"]
    low, high = COVERAGE[seeds][environments > 1]
    assert 100 * min(of_means) == pytest.approx(low, abs=3)
    assert 100 * max(of_means) == pytest.approx(high, abs=3)


def test_an_interval_of_many_seeds_holds_the_truth():
    # Of 200 intervals 0.95 ± 0.09 hold it, at five standard errors: 6e-7 of a false alarm.
    share = held("normal", mean_score, seeds=60, environments=1, runs=200)
    assert 0.86 <= share <= 1.0
