"""Intervals of targets that have ends: what lies beyond an end need not be left out there."""

import numpy as np
import pytest
import torch

pytest.importorskip("sklearn")
from hunch import RandomizedPriorRegressor
from hunch.sklearn.forecast import Forecast, Seen, Units
from hunch.sklearn.noise import Shape
from hunch.sklearn.rows import Scale
from hunch.sklearn.targets import TargetForm

NORMAL = torch.distributions.Normal(0.0, 1.0)


def forecast(centers, low=-np.inf, high=np.inf, whole=False):
    """Standard Gaussian errors about some centers, cut off at the ends."""
    scores = NORMAL.icdf(torch.arange(1, 20_000).double() / 20_000).numpy()[:, None]
    units = Units(
        TargetForm.plain(np.array([low]), np.array([high]), np.array([whole])),
        Scale(np.zeros(1), np.ones(1)),
        Shape(scores, np.ones(len(scores))),
        flat=True,
    )
    center = torch.tensor(centers, dtype=torch.float64).reshape(1, -1, 1)
    return Forecast.of(Seen(center.expand(2, -1, 1), torch.ones(len(centers), 1)), units)


def q(level):
    return float(NORMAL.icdf(torch.tensor(level)))


def test_an_end_of_the_support_leaves_all_to_the_other_side():
    # 0 has the probability 0.31, 0.067 and 0.001.
    low, high = forecast([0.5, 1.5, 3.0], low=0.0).interval(0.9)
    assert low.tolist()[:2] == [0.0, 0.0]
    assert low[2] == pytest.approx(3 + q(0.05), abs=1e-3)
    assert high[0] == pytest.approx(0.5 + q(0.9), abs=1e-3)
    # No more is left out than the probability of 0, to a four-hundredth.
    assert 1.5 + q(1 - 0.0668) <= high[1] <= 1.5 + q(1 - 0.0668 + 0.0025) + 1e-3
    assert high[2] == pytest.approx(3 + q(0.95), abs=1e-3)


def test_the_upper_end_is_its_mirror_image_and_between_two_ends_all_is_held():
    low, high = forecast([0.5, 1.5, 3.0], low=0.0).interval(0.9)
    mirrored = forecast([-0.5, -1.5, -3.0], high=0.0).interval(0.9)
    torch.testing.assert_close(mirrored[0], -high, rtol=0, atol=1e-9)
    torch.testing.assert_close(mirrored[1], -low, rtol=0, atol=1e-9)
    narrow = forecast([0.5], low=0.0, high=1.0).interval(0.9)
    assert [float(end) for end in narrow] == [0.0, 1.0]
    free = forecast([0.5]).interval(0.9)
    assert [float(end) for end in free] == pytest.approx([0.5 + q(0.05), 0.5 + q(0.95)], abs=1e-3)


@pytest.mark.parametrize("whole", [False, True])
def test_a_larger_coverage_holds_a_smaller_one_and_each_what_it_says(whole):
    said = forecast(np.linspace(-1, 5, 61).tolist(), low=0.0, whole=whole)
    drawn = said.sample(10_000, generator=torch.Generator().manual_seed(0))
    before = None
    for coverage in np.linspace(0.05, 0.99, 24):
        low, high = said.interval(coverage)
        held = ((low <= drawn) & (drawn <= high)).double().mean(dim=0)
        assert (held > coverage - 0.02).all()  # four standard errors of 10,000 draws
        if before is not None:
            assert (low <= before[0]).all()
            assert (before[1] <= high).all()
        before = low, high


@pytest.mark.slow
def test_intervals_of_many_zeros_cover_what_they_promise():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3000, 3))
    rate = np.exp(0.5 + 0.5 * x[:, 0])
    y = rng.negative_binomial(0.7, 0.7 / (0.7 + rate)).astype(float)
    model = RandomizedPriorRegressor(10, max_iter=30, random_state=0).fit(x[:1000], y[:1000])
    low, high = model.predict_interval(x[1000:], 0.9)
    central = model.predict_quantiles(x[1000:], (0.05, 0.95)).T
    held, too_often = (
        float(np.mean((a <= y[1000:]) & (y[1000:] <= b))) for a, b in ((low, high), central)
    )
    # Give or take 0.025: three standard errors of 1,000 and 2,000 rows; a count more is in by then.
    assert 0.875 < held < 0.945 < too_often
    assert (high - low).mean() < 0.85 * (central[1] - central[0]).mean()
