import dataclasses

import numpy as np
import pytest
import torch

from hunch.errors import ConfigurationError
from hunch.experiments.claims.drawing import figures
from hunch.experiments.uncertainty import randomized_priors
from hunch.experiments.uncertainty.randomized_priors import BLOG, ENN, PRIORS, Settings
from hunch.experiments.uncertainty.toy_regression import TOY_DATA, toy_data
from hunch.storage import dump_json


@pytest.fixture(scope="module")
def result():
    return randomized_priors.run(Settings.quick(), seed=0, progress=False)


def test_every_ensemble_is_unsure_away_from_the_data(result):
    assert {(c.data, c.prior) for c in result.cases} == {
        (d, p) for d in ("osband2016", "enn") for p in PRIORS
    }
    assert all(c.holds for c in randomized_priors.check(result))


def test_priors_alone_are_what_was_added(result):
    sine = result.case("osband2016", "sine").priors
    np.testing.assert_allclose(sine, np.tile(np.sin(3 * result.grid), (20, 1)), atol=1e-6)
    pretrained = result.case("osband2016", "pretrained").priors
    truth = result.grid + np.sin(3 * result.grid)
    assert np.abs(pretrained[0] - truth).mean() < 0.15
    random = result.case("osband2016", "mlp").priors
    assert random.std(axis=0).min() > 0.1
    assert result.case("osband2016", "none").priors is None


def test_videos_begin_untrained_and_end_trained(result):
    assert next(video.title for video in result.videos) == "no prior, no bootstrap"
    x, y = toy_data("osband2016", 0)
    for video in result.videos:
        assert video.steps[0] == 0
        assert len(video.steps) == len(video.frames)
        grid = np.linspace(-1, 2, video.frames.shape[2])
        error = [
            np.mean([(np.interp(x[:, 0], grid, m) - y[:, 0].numpy()) ** 2 for m in video.frames[i]])
            for i in (0, -1)
        ]
        assert error[1] < 0.5 * error[0]


def test_same_seed_same_results():
    setups = tuple(dataclasses.replace(s, fit=s.fit | {"steps": 50}) for s in (BLOG, ENN))
    short = Settings(num_members=5, setups=setups, video_members=5, video_steps=10)
    first, again = (randomized_priors.run(short, seed=0, progress=False) for _ in range(2))
    assert dump_json(first.to_json()) == dump_json(again.to_json())


def test_figures_are_made(result):
    drawn = figures("randomized-priors", result)
    assert len(drawn) == 11 + 4
    assert all(caption for _, caption in drawn.values())


@pytest.mark.parametrize("name", TOY_DATA)
def test_toy_data_are_reproducible_and_differ_between_seeds(name):
    x, y = toy_data(name, 3)
    assert x.shape == y.shape
    assert x.shape[1] == 1
    assert all(a.equal(b) for a, b in zip((x, y), toy_data(name, 3), strict=True))
    assert not y.equal(toy_data(name, 4)[1])
    with pytest.raises(ConfigurationError, match="`name` got 'boston'; expected one of osband2016"):
        toy_data("boston")


def test_toy_data_follow_their_formulas():
    x, _ = toy_data("osband2016", 0)
    assert ((x[:12] >= 0) & (x[:12] < 0.6)).all()
    assert ((x[12:] >= 0.8) & (x[12:] < 1)).all()
    x, y = toy_data("enn", 0)
    # The first of RandomState(0).randn is 1.76405.
    torch.testing.assert_close(y[0], torch.tensor([0.176405]), atol=1e-5, rtol=0)
    many, waves = TOY_DATA["blundell2015"](0)
    smooth = many + 0.3 * torch.sin(2 * torch.pi * many) + 0.3 * torch.sin(4 * torch.pi * many)
    assert 0.01 < (waves - smooth).std() < 0.2
