import json
import random

import numpy as np
import pytest
import torch

from hunch.errors import ConfigurationError, MissingDependencyError
from hunch.experiments.claims.drawing import figures
from hunch.experiments.control import sb3_cartpole as experiment
from hunch.experiments.control.sb3_cartpole import Row, Score, Settings
from hunch.rl import Evaluation

TINY = Settings(
    frames=600,
    net_arch=(16,),
    learning_starts=100,
    train_freq=16,
    gradient_steps=8,
    selection_period=200,
    selection_episodes=4,
    evaluation_episodes=5,
    num_seeds=2,
)


@pytest.fixture(scope="module")
def result():
    pytest.importorskip("stable_baselines3")
    return experiment.run(TINY, seed=1, progress=False)


def row(best, last=30.0, seed=0):
    scores = [
        Score.of(Evaluation(np.full(3, mean), np.full(3, 9), np.zeros(3, bool)))
        for mean in (best, last)
    ]
    return Row(seed, np.array([20.0, 500.0, 30.0]), 5000, *scores)


def test_the_same_seed_gives_the_same_json_and_randomness_is_put_back(result):
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()  # noqa: NPY002
    again = experiment.run(TINY, seed=1, progress=False)
    text = json.dumps(again.to_json(), allow_nan=False)
    assert text == json.dumps(result.to_json())
    assert len(text) < 20_000
    assert "seconds" not in text
    assert random.getstate() == before[0]
    assert np.random.get_state()[1].tolist() == before[1]  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[2])


def test_rows_fit_together(result):
    assert [r.seed for r in result.seeds] == [1, 2]
    for r in result.seeds:
        assert r.selection_curve.shape == (3,)
        assert r.best_frame == 200 * (1 + int(np.argmax(r.selection_curve)))
        if r.best_frame == TINY.frames:
            assert r.best == r.last
    assert not np.array_equal(result.seeds[0].selection_curve, result.seeds[1].selection_curve)


def test_the_model_is_the_one_claimed():
    pytest.importorskip("stable_baselines3")
    model = experiment.make_model(Settings(), seed=0)
    layers = [type(m).__name__ for m in model.q_net.q_net]
    hidden_part = ["LayerNorm", "ReLU", "NoisyLinear"]
    assert layers == ["Linear", *hidden_part, *hidden_part]
    assert (model.exploration_initial_eps, model.exploration_final_eps) == (0, 0)
    assert model.lr_schedule(1.0) == Settings().learning_rate
    assert model.lr_schedule(0.0) == 0


def test_checks_say_what_they_hold():
    enough = experiment.Result(Settings.proof(), (row(500.0), row(474.5, seed=1)))
    (check,) = experiment.check(enough)
    assert (check.value, check.bound, check.holds) == (474.5, 475, False)
    assert "best model" in check.what
    (check,) = experiment.check(experiment.Result(Settings.quick(), (row(25.0),)))
    assert "too few frames" in check.what
    assert check.holds
    assert Settings.proof().num_seeds == 5
    assert Settings.proof().enough
    assert enough.to_json()["solved_seeds"] == {"best": 1, "last": 0}
    assert enough.to_markdown().splitlines()[2] == "| 0 | 500.0 | 500 | 5,000 | 30.0 | 30 |"


def test_figures_draw():
    pytest.importorskip("matplotlib")
    from hunch.plots import to_svg

    result = experiment.Result(Settings(), (row(500.0), row(480.0, seed=1)))
    drawn = figures("sb3-cartpole", result)
    assert set(drawn) == {"sb3-cartpole-curves", "sb3-cartpole-models"}
    for figure, caption in drawn.values():
        assert len(figure.axes) == 1
        assert figure.axes[0].get_xlabel()
        assert figure.axes[0].get_ylabel()
        assert caption.endswith(".")
        assert to_svg(figure).startswith("<svg")


def test_too_few_frames_are_refused():
    with pytest.raises(ConfigurationError, match="`frames` got 50"):
        experiment.run(Settings(frames=50), progress=False)


def test_a_missing_library_is_named(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "stable_baselines3", None)
    monkeypatch.setitem(sys.modules, "stable_baselines3.common.preprocessing", None)
    monkeypatch.delitem(sys.modules, "hunch.adapters.sb3", raising=False)
    with pytest.raises(MissingDependencyError, match=r"torch-hunch\[sb3\]"):
        experiment.run(Settings(), progress=False)
