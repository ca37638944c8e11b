import dataclasses
import json

import numpy as np
import pytest

from hunch.errors import ConfigurationError
from hunch.experiments.claims.drawing import figures
from hunch.experiments.control import noisy_cartpole as experiment
from hunch.experiments.control.noisy_cartpole import Settings
from hunch.nn import NoisyLinear
from hunch.rl.networks.value_networks import noise_size

TINY = Settings(frames=1_000, hidden_size=16, batch_size=16, evaluation_episodes=5)


@pytest.fixture(scope="module")
def result():
    return experiment.run(TINY, seed=1, progress=False)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_json():
    short = dataclasses.replace(TINY, frames=400)
    first, again = (experiment.run(short, seed=1, progress=False) for _ in range(2))
    assert json.dumps(again.to_json()) == json.dumps(first.to_json(), allow_nan=False)
    assert again.shown.video == first.shown.video
    other = experiment.run_seed(short, seed=2, video=False, progress=False)
    assert other.video is None
    assert other.row.seed == 2
    assert not np.array_equal(other.evaluation_returns, first.shown.evaluation_returns)


def test_json_is_small_and_knows_no_clock(result):
    text = json.dumps(result.to_json())
    assert len(text) < 20_000
    assert "seconds" not in text


def test_curves_fit_together(result):
    shown = result.shown
    assert shown.frames[-1] == TINY.frames
    assert shown.loss.shape == (10,)
    assert np.isfinite(shown.loss).all()
    assert shown.sigma.shape == (2, 10)
    assert (shown.sigma > 0).all()
    assert shown.episode_frames[-1] <= TINY.frames
    assert np.array_equal(np.cumsum(shown.episode_returns), shown.episode_frames)  # 1 a step
    assert shown.row.mean_return == shown.evaluation_returns.mean()


def test_the_network_is_the_notebooks():
    agent = experiment.make_agent(Settings(), seed=0)
    layers = [type(m).__name__ for m in agent.network]
    hidden_part = ["LayerNorm", "ReLU", "NoisyLinear"]
    assert layers == ["Linear", *hidden_part, *hidden_part]
    hidden, output = agent.network[3], agent.network[6]
    std = Settings().std_init
    assert hidden.weight_sigma[0, 0].item() == pytest.approx(std / 128**0.5)
    assert output.bias_sigma[0].item() == pytest.approx(std / 2**0.5)
    assert agent._first_env.spec.max_episode_steps == 200


def test_the_size_of_noise_counts_every_weight_once():
    layer = NoisyLinear(3, 2)
    layer.weight_sigma.data.fill_(-1.0)
    layer.bias_sigma.data.fill_(3.0)
    assert noise_size(layer) == pytest.approx((6 + 6) / 8)


def test_several_seeds_make_a_table():
    settings = dataclasses.replace(TINY, frames=300, num_seeds=2)
    lines = experiment.run(settings, seed=4, progress=False).to_markdown().splitlines()
    assert len(lines) == 4
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["4", "5"]


def test_checks_say_what_they_hold(result):
    (check,) = experiment.check(result)
    assert "after 1,000 frames" in check.what
    enough = dataclasses.replace(result, settings=Settings())
    (check,) = experiment.check(enough)
    assert check.bound == 195
    assert not check.holds
    good, bad = (dataclasses.replace(result.rows[0], mean_return=m) for m in (195.0, 194.9))
    for failures, holds in ((1, True), (2, False)):
        rows = (bad,) * failures + (good,) * (10 - failures)
        (check,) = experiment.check(dataclasses.replace(enough, rows=rows))
        assert check.holds is holds
    assert Settings.proof().num_seeds == 10
    assert Settings.proof().enough
    assert not Settings.quick().enough


def test_figures_draw(result):
    pytest.importorskip("matplotlib")
    from hunch.plots import to_svg

    drawn = figures("noisy-cartpole", result)
    assert len(drawn) == 4
    for figure, caption in drawn.values():
        assert len(figure.axes) == 1
        assert figure.axes[0].get_xlabel()
        assert figure.axes[0].get_ylabel()
        assert caption.endswith(".")
        assert to_svg(figure).startswith("<svg")


def test_too_few_frames_are_refused():
    with pytest.raises(ConfigurationError, match="`frames` got 50"):
        experiment.run(Settings(frames=50), progress=False)
