"""The density that a forecast states: Student's t, in units of y."""

import numpy as np
import pytest
import torch
from scipy import stats

from hunch import RandomizedPriorRegressor
from hunch.errors import ShapeError
from hunch.experiments.tables.uci import gaussian_nll
from hunch.sklearn.noise import Shape
from hunch.sklearn.tails import student_of

SMALL = dict(n_estimators=10, max_iter=30, random_state=0)


@pytest.mark.parametrize("freedom", [2, 4, 10])
def test_the_degrees_of_freedom_are_found(freedom):
    z = 0.3 + 2 * np.random.default_rng(0).standard_t(freedom, size=(20_000, 1))
    found = student_of(Shape(z, np.ones(len(z))))
    theirs = stats.t.fit(z[:, 0])
    assert float(found.freedom) == pytest.approx(freedom, rel=0.4)
    assert float(found.place) == pytest.approx(theirs[1], abs=0.05)
    assert float(found.scale) == pytest.approx(theirs[2], rel=0.05)
    said = found.log_prob(torch.from_numpy(z[:100]))[:, 0]
    np.testing.assert_allclose(said, stats.t.logpdf(z[:100, 0], *theirs), atol=0.2)


def test_gaussian_errors_stay_gaussian_and_outputs_apart():
    draw = np.random.default_rng(0)
    z = np.stack([draw.normal(size=20_000), draw.standard_t(2, size=20_000)], axis=1)
    found = student_of(Shape(z, np.ones(len(z))))
    assert found.freedom[0] >= 25 > 3 > found.freedom[1]
    assert float(found.scale[0]) == pytest.approx(1, abs=0.03)


def heavy(rows, seed, outputs=1):
    draw = np.random.default_rng(seed)
    x = draw.uniform(-2, 2, (rows, 2))
    y = x[:, :1] + 0.3 * draw.standard_t(2.5, size=(rows, outputs))
    return x, y[:, 0] if outputs == 1 else y


@pytest.mark.every(2)
@pytest.mark.parametrize("logarithm", [False, True])
def test_the_density_has_an_area_of_one(logarithm):
    x, y = heavy(200, 0)
    y = np.exp(y) if logarithm else y
    model = RandomizedPriorRegressor(**SMALL, logarithm=logarithm).fit(x, y)
    row = np.repeat(x[:1], 200_001, axis=0)
    if logarithm:
        grid = np.geomspace(1e-9, 1e5, 200_001)
    else:
        grid = np.sinh(np.linspace(-9, 9, 200_001))
    density = model.predict_distribution(row).log_prob(torch.from_numpy(grid)).exp().numpy()
    assert np.trapezoid(density, grid) == pytest.approx(1, abs=0.02)


def test_heavy_tails_are_likelier_than_under_a_gaussian():
    x, y = heavy(500, 0)
    new, truth = heavy(2_000, 1)
    said = RandomizedPriorRegressor(**SMALL).fit(x, y).predict_distribution(new)
    own = -float(said.log_prob(torch.from_numpy(truth)).mean())
    assert own < gaussian_nll(said.mean.numpy(), said.std.numpy(), truth) - 0.05
    known = stats.t.logpdf((truth - new[:, 0]) / 0.3, 2.5) - np.log(0.3)
    assert own < -known.mean() + 0.1


def test_several_outputs_and_wrong_shapes():
    x, y = heavy(100, 0, outputs=2)
    said = RandomizedPriorRegressor(**SMALL).fit(x, y).predict_distribution(x)
    assert said.log_prob(torch.from_numpy(y)).shape == (100, 2)
    with pytest.raises(ShapeError, match=r"`y` got shape \(100,\); expected \(100, 2\)"):
        said.log_prob(torch.from_numpy(y[:, 0]))
