"""What the estimators learn from out-of-bag errors, against closed forms and drawn truths."""

import numpy as np
import pytest
import torch

pytest.importorskip("sklearn")
from hunch import RandomizedPriorRegressor
from hunch.errors import DataError
from hunch.inference import bootstrap_weights
from hunch.inference.out_of_bag import OutOfBag
from hunch.sklearn import learned_numbers
from hunch.sklearn import noise as noise_module
from hunch.sklearn.classifier import temperature
from hunch.sklearn.noise import (
    Residuals,
    Shape,
    absent_of,
    learn_noise,
    shape_of,
    square_about_mean,
)
from hunch.sklearn.noise import residuals_of as residuals_of_views
from hunch.sklearn.rows import Scale, as_rows, back_to_source
from hunch.sklearn.training import Recipe, build

RECIPE = Recipe(20, (20,), "silu", 1.0, "poisson", 0.1, None, 0.01, 100, 20, 0, False)


def test_quantiles_are_the_conformal_ones():
    scores = np.random.default_rng(0).normal(size=(199, 2))
    found = Shape(scores, np.ones(199)).quantiles(np.array([0.05, 0.5, 0.95]))
    # The i-th smallest of 199 stands for i/200.
    np.testing.assert_allclose(found, np.sort(scores, axis=0)[[9, 99, 189]])


def test_a_weight_of_two_is_nearly_two_scores():
    scores = np.random.default_rng(0).exponential(size=(500, 1))
    weight = np.random.default_rng(1).integers(1, 4, 500)
    levels = np.array([0.1, 0.5, 0.9])
    weighed = Shape(scores, weight / weight.mean()).quantiles(levels)
    repeated = Shape(np.repeat(scores, weight, axis=0), np.ones(weight.sum())).quantiles(levels)
    np.testing.assert_allclose(weighed, repeated, rtol=0.02)


def test_few_scores_are_symmetric_and_tails_go_on():
    few = Shape(np.array([[1.0], [2.0], [4.0]]), np.ones(3))
    found = few.quantiles(np.array([0.001, 0.05, 0.5, 0.95, 0.999]))[:, 0]
    np.testing.assert_allclose(found, -found[::-1], atol=1e-12)
    assert 4 < found[3] < found[4] < 20
    # Beyond the outermost of many Gaussian scores: as a Gaussian.
    many = Shape(np.random.default_rng(0).normal(size=(2000, 1)), np.ones(2000))
    assert many.quantiles(np.array([1 - 1e-6]))[0, 0] == pytest.approx(4.75, abs=1.0)


def test_coverage_of_a_new_score_is_what_it_should_be():
    # 4,000 draws of 15 scores and a new one: a false alarm is beyond 4 standard errors, 1 in 15,000.
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(4000):
        drawn = rng.standard_t(3, size=16)
        low, high = Shape(drawn[:15, None], np.ones(15)).quantiles(np.array([0.05, 0.95]))[:, 0]
        hits += low <= drawn[15] <= high
    assert abs(hits / 4000 - 0.9) < 0.019


def residuals_of(error, epistemic):
    return Residuals(torch.zeros_like(error), error, epistemic)


def test_the_level_of_the_noise_explains_the_errors_beside_the_spread():
    g = torch.Generator().manual_seed(0)
    error = 0.5 * torch.randn(20_000, 1, generator=g, dtype=torch.float64)
    epistemic = torch.full_like(error, 0.3)
    x = torch.zeros(20_000, 2, dtype=torch.float64)
    noise = learn_noise(RECIPE, x, residuals_of(error, epistemic), None, learned=False, before=None)
    assert float(noise.at(x)[0, 0]) == pytest.approx(0.4, abs=0.01)
    # Where the spread alone is larger than the errors, hardly any noise is left.
    wide = residuals_of(error, 2 * torch.ones_like(error))
    assert float(learn_noise(RECIPE, x, wide, None, learned=False, before=None).at(x)[0, 0]) < 1e-4


@pytest.mark.parametrize("far", [30.0, 1000.0])
def test_rows_far_out_that_are_predicted_exactly_lead_to_no_noise_of_nothing(far):
    g = torch.Generator().manual_seed(0)
    x = torch.randn(200, 3, generator=g, dtype=torch.float64)
    error = torch.randn(200, 1, generator=g, dtype=torch.float64)
    x[:3, 0], error[:3] = far, 0
    residuals = residuals_of(error, torch.zeros_like(error))
    noise = learn_noise(RECIPE, x, residuals, None, learned=True, before=None).at(x)
    assert noise.min() > 0.002 * float(noise.median())  # e to the power of -6 at least
    assert 0.8 < float(noise.median()) < 1.2


@pytest.mark.parametrize("varies", [True, False])
def test_the_noise_is_learned_where_it_varies_and_left_alone_where_not(varies):
    g = torch.Generator().manual_seed(0)
    x = 2 * torch.rand(600, 2, generator=g, dtype=torch.float64) - 1
    truth = 0.5 * torch.exp(varies * x[:, :1])
    error = truth * torch.randn(600, 1, generator=g, dtype=torch.float64)
    residuals = residuals_of(error, torch.zeros_like(error))
    noise = learn_noise(RECIPE, x, residuals, None, learned=True, before=None)
    assert float((noise.at(x) / truth).log().abs().mean()) < 0.12
    scores = shape_of(noise, RECIPE, x, residuals, None).scores
    assert np.sqrt(np.mean(scores**2)) == pytest.approx(1, abs=0.05)


def test_sizes_of_errors_come_from_members_that_did_not_see_them():
    """An error that taught the noise its size would look like any other in that unit."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(300, 8, generator=g, dtype=torch.float64)
    error = torch.randn(300, 1, generator=g, dtype=torch.float64) ** 3
    residuals = residuals_of(error, torch.zeros_like(error))
    noise = learn_noise(RECIPE, x, residuals, None, learned=True, before=None)
    ids = np.arange(300)
    weights = noise_module._noise_recipe(RECIPE).weights(ids)
    found = noise.left_out(RECIPE, x, ids).log() - noise.log_level
    each = noise.ensemble(x).detach()
    for row in range(3):
        unseen = weights[:, row] == 0
        assert 0 < int(unseen.sum()) < 10
        assert float(found[row]) == pytest.approx(float(each[unseen, row].mean()), rel=1e-6)
    scores = torch.from_numpy(shape_of(noise, RECIPE, x, residuals, None).scores)
    torch.testing.assert_close(scores, error / noise.left_out(RECIPE, x, ids))
    assert float((scores - error / noise.at(x)).abs().max()) > 0.05


def test_the_mean_of_folds_misses_by_what_one_misses_without_their_variance():
    """Errors that folds share, of size 1, and own ones of size 0.4: a mean of five has 1.032."""
    g = torch.Generator().manual_seed(0)
    shared, own = (torch.randn(n, 50_000, 1, generator=g, dtype=torch.float64) for n in (1, 5))
    by_one = torch.full((50_000, 1), 1.16, dtype=torch.float64)
    found = square_about_mean(by_one, 0.4 * own)
    missed = (shared[0] + 0.4 * own.mean(dim=0)).square().mean()
    assert float(found.mean()) == pytest.approx(float(missed), rel=0.02)
    assert float(square_about_mean(by_one, 9 * own).min()) == pytest.approx(1.16 / 5)
    assert torch.equal(square_about_mean(by_one, 0 * own), by_one)


def test_data_that_every_member_saw_are_left_out():
    error = torch.tensor([[1.0], [np.nan]], dtype=torch.float64)
    residuals = Residuals(error - 1, error, torch.ones(2, 1).double())
    noise = learn_noise(
        RECIPE, torch.zeros(2, 1).double(), residuals, None, learned=True, before=None
    )
    assert shape_of(noise, RECIPE, torch.zeros(2, 1).double(), residuals, None).scores.shape == (
        1,
        1,
    )


@pytest.mark.parametrize("noise", [0.0, 0.3, 3.0])
def test_errors_of_few_members_are_shortened_to_those_of_all(noise, monkeypatch):
    n, k, g = 20_000, 20, torch.Generator().manual_seed(0)
    spread = torch.tensor([1.0, 0.1])
    members = spread * torch.randn(k, n, 2, generator=g)
    y = noise * torch.randn(n, 2, generator=g)
    unseen = bootstrap_weights("poisson", k, range(n)) == 0
    bag = OutOfBag(members, unseen)
    monkeypatch.setattr("hunch.sklearn.noise.absentees_at", lambda *_: iter([bag]))
    absent = absent_of(build(RECIPE, 1, 2), y, unseen)
    found = residuals_of_views([absent], y, torch.ones(1, 2))
    squared = found.error[found.known].square().mean(0)
    # A mean of 20,000 squares is within 1 % once in three, of the shares' estimate within 1 % too.
    torch.testing.assert_close(squared, noise**2 + spread**2 / k, rtol=0.06, atol=0)
    few = (y - found.mean)[found.known].square().mean(0)
    assert few[0] > 2 * squared[0] or noise


def test_members_begin_with_no_mean_and_priors_that_differ():
    net = build(RECIPE, 3, 2)
    x = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    members = net(x)
    assert members.mean(0).abs().max() < 1e-6
    assert members.std(0).mean() > 0.1
    assert (members[0] != members[2]).any()


def test_the_temperature_is_the_likeliest():
    g = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(4000, 3, generator=g)
    gumbel = -torch.log(-torch.log(torch.rand(4000, 3, generator=g)))
    y = (logits + gumbel).argmax(dim=1)
    unseen = torch.ones(5, 4000, dtype=torch.bool)
    members = (2.5 * logits).expand(5, -1, -1)  # too sure by that factor
    assert temperature(members, unseen, y, None) == pytest.approx(2.5, rel=0.1)
    # Members that saw a datum have no say in it.
    unseen[1:] = False
    members = torch.cat([members[:1], 50 * logits.expand(4, -1, -1)])
    assert temperature(members, unseen, y, None) == pytest.approx(2.5, rel=0.1)
    assert temperature(members, torch.zeros_like(unseen), y, None) == 1.0


def test_rows_sort_repeat_and_come_back():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 3)), rng.normal(size=(30, 2))
    order = rng.permutation(30)
    a, b = as_rows(x, y, None), as_rows(x[order], y[order], None)
    np.testing.assert_array_equal(a.x, b.x)
    np.testing.assert_array_equal(a.y, b.y)
    np.testing.assert_array_equal(back_to_source(a.y, a, 30), y)
    weight = rng.uniform(0.1, 1, 30)
    weighed = as_rows(x, y, weight)
    assert weighed.weight.mean() == pytest.approx(1)
    np.testing.assert_allclose(weighed.weight, weight[weighed.source] / weight.mean())
    with pytest.raises(DataError, match="in every row"):
        as_rows(x, y, np.zeros(30))


def test_scales_of_weighed_and_constant_columns():
    x = np.array([[0.0, 0.1], [3.0, 0.1]])
    scale = Scale.of(x, np.array([0.5, 1.5]))
    np.testing.assert_allclose(scale.mean, [2.25, 0.1])
    np.testing.assert_allclose(scale.std, [np.sqrt(0.25 * 2.25**2 + 0.75 * 0.75**2), 1.0])
    np.testing.assert_allclose(scale.apply(x)[:, 1], 0, atol=1e-12)


def test_the_mean_of_folds_is_nearer_than_the_trees_of_one(monkeypatch):
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (150, 3))
    y = np.sign(X[:, 0]) + 2 * (X[:, 1] > 0.3) + 0.3 * rng.normal(size=150)
    model = RandomizedPriorRegressor(4, max_iter=5, gaussian_process=False, random_state=0)
    model.fit(X, y)
    assert model._shares[-1, 0] > 0.1  # of the trees
    ours = model.predict_distribution(X).aleatoric
    monkeypatch.setattr(learned_numbers, "square_about_mean", lambda square, parts: square)
    of_one = model.predict_distribution(X).aleatoric
    assert (ours <= of_one).all()
    assert (ours < 0.999 * of_one).double().mean() > 0.5
