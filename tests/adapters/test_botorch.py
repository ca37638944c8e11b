"""The model inside BoTorch: acquisition functions, added data, paths, and what it refuses."""

import pytest
import torch

pytest.importorskip("botorch")

from botorch.acquisition import (
    LogExpectedImprovement,
    PosteriorMean,
    UpperConfidenceBound,
    qLogExpectedImprovement,
    qUpperConfidenceBound,
)
from botorch.acquisition.objective import LinearMCObjective
from botorch.acquisition.thompson_sampling import PathwiseThompsonSampling
from botorch.optim import optimize_acqf
from botorch.sampling.pathwise import draw_matheron_paths
from botorch.sampling.pathwise.posterior_samplers import get_matheron_path_model

from hunch.adapters.botorch import RandomizedPriorModel
from hunch.errors import ConfigurationError, DataError, ShapeError

BOUNDS = torch.tensor([[0.0, 10.0], [1.0, 30.0]], dtype=torch.double)


def function(x):
    """Largest, 5, at (0.3, 24)."""
    return 5 - 40 * (x[:, :1] - 0.3).square() - (x[:, 1:] / 20 - 1.2).square()


def data(n=25):
    unit = torch.rand(n, 2, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    x = BOUNDS[0] + unit * (BOUNDS[1] - BOUNDS[0])
    return x, function(x)


@pytest.fixture(scope="module")
def model():
    return RandomizedPriorModel(*data(), progress=False)


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def maximize(acquisition, q=1):
    return optimize_acqf(acquisition, bounds=BOUNDS, q=q, num_restarts=3, raw_samples=32)


def test_it_fits_its_observations_and_says_where_it_has_none(model):
    x, y = data()
    posterior = model.posterior(x)
    assert (posterior.mean - y).abs().max() < 0.1 * y.std()
    far = model.posterior(torch.tensor([[4.0, 90.0]], dtype=torch.double))
    assert far.variance.sqrt().item() > 20 * posterior.variance.sqrt().mean().item()


def test_shapes_and_types(model):
    x = torch.rand(4, 3, 5, 2, dtype=torch.double)
    posterior = model.posterior(x)
    assert posterior.mean.shape == (4, 3, 5, 1)
    assert posterior.values.shape == (4, 3, 16, 5, 1)
    assert posterior.rsample(torch.Size([7])).shape == (7, 4, 3, 5, 1)
    assert model.posterior(x.float()).mean.dtype == torch.float64
    together, alone = posterior.values[1, 2], model.posterior(x[1, 2]).values
    torch.testing.assert_close(together, alone)


@pytest.mark.parametrize(
    "make",
    [
        lambda m, y: LogExpectedImprovement(m, best_f=y.max()),
        lambda m, y: qLogExpectedImprovement(m, best_f=y.max()),
        lambda m, y: UpperConfidenceBound(m, beta=1.0),
        lambda m, y: qUpperConfidenceBound(m, beta=1.0),
    ],
)
def test_acquisition_functions_take_it(model, make):
    point, value = maximize(make(model, data()[1]))
    assert torch.isfinite(value)
    assert function(point).item() > data()[1].median()


def test_a_batch_of_points_at_once(model):
    points, _ = maximize(qLogExpectedImprovement(model, best_f=data()[1].max()), q=2)
    assert points.shape == (2, 2)


def test_paths_are_fixed_differentiable_functions(model):
    x = data()[0].clone().requires_grad_()
    values = model.posterior(x).values
    paths = model.thompson_paths(16, generator=torch.Generator().manual_seed(0))
    drawn = torch.stack([path(x) for path in paths])
    # Every member once, in another order.
    order = [int((drawn - v).abs().amax(dim=(1, 2)).argmin()) for v in values]
    assert sorted(order) == list(range(16))
    assert order != list(range(16))
    torch.testing.assert_close(drawn[order], values)
    assert drawn[0].equal(paths[0](x))
    (gradient,) = torch.autograd.grad(paths[0](x).sum(), x)
    step = torch.zeros_like(x)
    step[:, 1] = 1e-4
    slope = (paths[0](x + step) - paths[0](x - step)).squeeze(1) / 2e-4
    torch.testing.assert_close(gradient[:, 1], slope, atol=1e-5, rtol=1e-4)


def test_a_path_is_maximized_like_any_model(model):
    (path,) = model.thompson_paths()
    point, value = maximize(PosteriorMean(path))
    corner = path(BOUNDS).max()
    assert value >= corner
    torch.testing.assert_close(path(point).squeeze(), value)


def test_the_seed_decides():
    first, again, other = (
        RandomizedPriorModel(*data(), steps=5, num_members=3, seed=s, progress=False)
        for s in (1, 1, 2)
    )
    x = data()[0]
    assert first.posterior(x).mean.equal(again.posterior(x).mean)
    assert not torch.allclose(first.posterior(x).mean, other.posterior(x).mean)
    one, same = (first.thompson_paths(generator=torch.Generator().manual_seed(3))[0] for _ in "ab")
    assert one(x).equal(same(x))


def test_more_observations_go_on_from_the_members(model):
    x = torch.tensor([[0.3, 24.0], [0.9, 11.0]], dtype=torch.double)
    (path,) = model.thompson_paths()
    before = model.posterior(x).values.clone(), path(x)
    more = model.condition_on_observations(x, function(x) + 2)
    assert more.train_inputs[0].shape == (27, 2)
    error = (more.posterior(x).mean - function(x) - 2).abs()
    assert (error < 0.4 * (model.posterior(x).mean - function(x) - 2).abs()).all()
    # Nothing of this reaches the model that was there, or a path drawn from it.
    assert model.posterior(x).values.equal(before[0])
    assert path(x).equal(before[1])
    assert len(model.train_targets) == 25
    # Going on is not beginning anew: without a step the members are those of before.
    model = RandomizedPriorModel(*data(), steps=0, num_members=3, progress=False)
    same = model.condition_on_observations(x, function(x))
    for name, tensor in model.ensemble.state_dict().items():
        assert tensor.equal(same.ensemble.state_dict()[name])


def test_noise_makes_members_disagree_at_the_observations():
    x, y = data()
    exact, noisy = (RandomizedPriorModel(x, y, noise_std=std, progress=False) for std in (0.0, 2.0))
    assert noisy.posterior(x).variance.mean() > 20 * exact.posterior(x).variance.mean()


def test_several_outputs_and_constant_columns():
    x, y = data()
    x = torch.cat([x, torch.ones(25, 1)], dim=1)
    model = RandomizedPriorModel(x, torch.cat([y, 100 + 0 * y], dim=1), progress=False)
    mean = model.posterior(x).mean
    assert model.num_outputs == 2
    assert mean.shape == (25, 2)
    assert (mean[:, 1] - 100).abs().max() < 0.5
    assert model.thompson_paths()[0](x).shape == (25, 2)


def test_wrong_use_is_refused(model):
    x, y = data()
    with pytest.raises(
        ShapeError, match=r"`train_X` and `train_Y` got shapes \(25, 2\) and \(25,\)"
    ):
        RandomizedPriorModel(x, y.squeeze(1))
    with pytest.raises(DataError, match="`train_Y` holds NaN or infinite values in 1 of 25 rows"):
        RandomizedPriorModel(x, torch.where(torch.arange(25)[:, None] == 3, torch.nan, y))
    with pytest.raises(DataError, match="at least one row"):
        RandomizedPriorModel(x[:0], y[:0])
    with pytest.raises(ConfigurationError, match=r"`noise_std` got 0\.1 for 2 outputs"):
        RandomizedPriorModel(x, torch.cat([y, y], dim=1), noise_std=0.1)
    with pytest.raises(ConfigurationError, match="`num_paths` got 17; expected 1 to 16"):
        model.thompson_paths(17)
    with pytest.raises(ShapeError, match=r"expected \(k, 2\) and \(k, 1\)"):
        model.condition_on_observations(x[:, :1], y)
    with pytest.raises(ShapeError, match="`X` and `Y` got shapes"):
        model.condition_on_observations(x.expand(3, 25, 2), y.expand(3, 25, 1))


def test_an_observation_has_the_noise_too():
    x = torch.linspace(0, 1, 7, dtype=torch.double).unsqueeze(-1)
    model = RandomizedPriorModel(x, x.sin(), num_members=6, noise_std=0.5, progress=False)
    function, seen = model.posterior(x), model.posterior(x, observation_noise=True)
    assert torch.equal(seen.mean, function.mean)
    torch.testing.assert_close(seen.variance, function.variance + 0.25)
    torch.testing.assert_close(seen.mixture_variance, function.mixture_variance + 0.25)
    drawn = seen.rsample(torch.Size([4000]))
    # The members are drawn with replacement, so theirs is the variance of the six.
    expected = function.values.var(dim=0, correction=0) + 0.25
    torch.testing.assert_close(drawn.var(dim=0), expected, rtol=0.12, atol=0)
    base = torch.zeros(3, dtype=torch.long)
    one, same = (seen.rsample_from_base_samples(torch.Size([3]), base) for _ in range(2))
    assert torch.equal(one, same)


def test_pathwise_thompson_sampling_draws_members(model):
    x = data()[0]
    values = model.posterior(x).values.squeeze(-1)  # (16, 25)
    drawn = draw_matheron_paths(model, sample_shape=torch.Size([4, 4]))(x)
    assert drawn.shape == (4, 4, 25)
    order = [int((values - one).abs().amax(dim=1).argmin()) for one in drawn.flatten(0, 1)]
    assert sorted(order) == list(range(16))
    torch.testing.assert_close(drawn.flatten(0, 1), values[order])
    # Of more paths than members, some come again.
    assert draw_matheron_paths(model, sample_shape=torch.Size([20]))(x).shape == (20, 25)
    # One path at its own inputs, another at others.
    path = draw_matheron_paths(model, sample_shape=torch.Size([2]))
    torch.testing.assert_close(
        path(torch.stack([x, x + 1])), torch.stack([path(x)[0], path(x + 1)[1]])
    )
    assert path(x.expand(3, 1, 25, 2)).shape == (3, 2, 25)
    (one,) = draw_matheron_paths(model, sample_shape=torch.Size([1]))(x.expand(5, 25, 2))[:1]
    assert (values - one).abs().amax(dim=1).min() < 1e-9


@pytest.mark.parametrize("q", [1, 3])
def test_pathwise_thompson_sampling_is_maximized(model, q):
    acquisition = PathwiseThompsonSampling(model)
    points, value = maximize(acquisition, q)
    assert points.shape == (q, 2)
    with torch.no_grad():
        assert acquisition(points) == acquisition(points)
        torch.testing.assert_close(acquisition(points), value.reshape(1))
        # Where a path is largest it is so near the largest value that the data leave open.
        path = acquisition.samples
        own = path(points.unsqueeze(1)).flatten()
        corners = path(BOUNDS.expand(q, 2, 2)).squeeze(-1).amax(dim=1)
    assert (own >= corners - 1e-6).all()
    assert (function(points) > data()[1].median()).all()


def test_paths_of_several_outputs():
    x, y = data()
    model = RandomizedPriorModel(
        x, torch.cat([y, -y], dim=1), num_members=4, steps=30, progress=False
    )
    paths = draw_matheron_paths(model, sample_shape=torch.Size([4]))(x)
    assert paths.shape == (4, 2, 25)
    values = model.posterior(x).values.transpose(-1, -2)
    for one in paths:
        assert (values - one).abs().amax(dim=(1, 2)).min() < 1e-9
    assert get_matheron_path_model(model)(x).shape == (25, 2)
    acquisition = PathwiseThompsonSampling(
        model, objective=LinearMCObjective(torch.tensor([1.0, 0.5], dtype=torch.double))
    )
    assert maximize(acquisition, 2)[0].shape == (2, 2)
