"""What `.plot()` of a result draws."""

import numpy as np
import pytest
import torch

from hunch.errors import ConfigurationError, ShapeError
from hunch.gradients import diagnose
from hunch.inference import ClassPredictive, History, Predictive
from hunch.rl import History as Episodes

pytest.importorskip("matplotlib")
from hunch.plots import panel, plot


def line(axes, label):
    (found,) = [drawn for drawn in axes.lines if drawn.get_label() == label]
    return np.array(found.get_xdata()), np.array(found.get_ydata())


def test_a_prediction_is_drawn_along_its_input():
    x = torch.tensor([0.5, -1.0, 2.0])
    p = Predictive(torch.randn(7, 3), noise_std=0.2)
    axes = p.plot(x[:, None], p.mean)
    at, mean = line(axes, "mean")
    order = x.argsort()
    np.testing.assert_allclose(at, x[order])
    np.testing.assert_allclose(mean, p.mean[order])
    low, high = p.interval(0.95)
    edges = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert edges.min() == pytest.approx(low.min().item(), abs=1e-6)
    assert edges.max() == pytest.approx(high.max().item(), abs=1e-6)
    assert line(axes, "observed")[1].tolist() == pytest.approx(p.mean.tolist())


def test_without_an_input_points_stand_in_the_order_of_their_prediction():
    p = Predictive(torch.randn(7, 30))
    at, mean = line(p.plot(y=torch.zeros(30)), "mean")
    assert at.tolist() == list(range(1, 31))
    assert (np.diff(mean) >= 0).all()


def test_several_outputs_or_inputs_are_refused():
    p = Predictive(torch.randn(7, 3))
    with pytest.raises(ShapeError, match=r"`x` got \(2,\) values a point"):
        p.plot(torch.zeros(3, 2))
    with pytest.raises(ShapeError, match="`x` got 4 points; expected 3"):
        p.plot(torch.zeros(4))
    with pytest.raises(ShapeError, match="`y` got 2 observations; expected 3"):
        p.plot(y=torch.zeros(2))
    with pytest.raises(ShapeError, match=r"`members` got \(2,\) values a point"):
        Predictive(torch.randn(7, 3, 2)).plot()


def test_classes_along_an_input_and_their_doubt():
    p = ClassPredictive(torch.randn(5, 4, 2))
    x = torch.tensor([3.0, 1.0, 2.0, 0.0])
    axes = p.plot(x, torch.tensor([0, 1, 1, 0]))
    np.testing.assert_allclose(line(axes, "class 1")[1], p.probs[x.argsort(), 1], rtol=1e-6)
    doubt = p.plot()
    np.testing.assert_allclose(doubt.lines[0].get_ydata(), p.epistemic, rtol=1e-6)
    with pytest.raises(ConfigurationError, match="`y` is given without `x`"):
        p.plot(y=x)


def test_a_training_shows_the_mean_and_what_was_held_out():
    loss, held_out = torch.rand(40, 3) + 0.5, torch.rand(4)
    axes = History(loss, held_out).plot()
    np.testing.assert_allclose(line(axes, "mean of members")[1], loss.mean(1), rtol=1e-6)
    assert line(axes, "out of bag")[0].tolist() == [10, 20, 30, 40]
    assert axes.get_yscale() == "linear"
    assert History(loss**20).plot().get_yscale() == "log"


def test_episodes_and_their_running_mean():
    returns = list(np.arange(30.0))
    axes = Episodes(returns, [1] * 30, list(range(1, 31)), [{}] * 30).plot()
    assert line(axes, "mean of the last 20")[1][-1] == pytest.approx(np.mean(returns[-20:]))
    assert len(line(axes, "episode")[0]) == 30
    Episodes().plot()


def test_results_are_drawn_in_axes_of_ones_own():
    found = diagnose(torch.square, torch.distributions.Exponential, torch.ones(1), n=4)
    given = (Predictive(torch.randn(2, 3)), History(torch.rand(3, 2)), Episodes([1.0], [1], [1]))
    for result in (*given, ClassPredictive(torch.randn(2, 3, 2)), found):
        _, axes = panel("mine", "x", "y")
        assert result.plot(ax=axes) is axes
        assert axes.lines
        assert plot(result) is not axes


def test_a_title_is_drawn_once():
    found = diagnose(torch.square, torch.distributions.Exponential, torch.ones(1), n=4)
    axes = found.plot()
    titles = [axes.get_title(loc=side) for side in ("left", "center")]
    assert titles == ["Noise of the gradient", ""]


def test_something_else_is_refused():
    with pytest.raises(ConfigurationError, match="`result` got a dict"):
        plot({})
