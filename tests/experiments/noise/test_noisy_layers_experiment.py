import dataclasses
import json

import numpy as np
import pytest

from hunch.errors import ConfigurationError
from hunch.experiments.claims.drawing import figures
from hunch.experiments.noise import noise_moments, noisy_layers

SMALL = noisy_layers.Settings(draws=4000)


@pytest.fixture(scope="module")
def result():
    return noisy_layers.run(SMALL, seed=3, progress=False)


def test_quick_settings_hold():
    # Over 60 seeds no figure came nearer to its bound than a third of it, 8 standard deviations.
    result = noisy_layers.run(noisy_layers.Settings.quick(), seed=1, progress=False)
    checks = noisy_layers.check(result)
    assert [str(c) for c in checks if not c.holds] == []
    assert len(checks) == 13


def test_same_seed_same_file_other_seed_other_file(result):
    again = noisy_layers.run(SMALL, seed=3, progress=False)
    other = noisy_layers.run(SMALL, seed=4, progress=False)
    text = json.dumps(result.to_json(), allow_nan=False)
    assert text == json.dumps(again.to_json(), allow_nan=False)
    assert text != json.dumps(other.to_json(), allow_nan=False)
    assert len(text) < 20_000


def test_a_wrong_closed_form_is_noticed(monkeypatch):
    monkeypatch.setattr(noise_moments, "_F_SQUARED", 1.0)
    result = noisy_layers.run(SMALL, seed=3, progress=False)
    broken = [c.what for c in noisy_layers.check(result) if not c.holds]
    assert broken == [
        "factorized noise, shared: relative error of the variance",
        "factorized noise, per sample: relative error of the variance",
    ]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"eval_difference": 1e-7}, "eval"),
        ({"layers_with_gradient": 3}, "gradient"),
    ],
)
def test_each_broken_figure_is_noticed(result, change, words):
    broken = noisy_layers.check(dataclasses.replace(result, **change))
    assert [words in c.what for c in broken if not c.holds] == [True]


def test_a_mode_that_does_other_than_documented_is_noticed(result):
    rows = list(result.modes)
    rows[3] = dataclasses.replace(rows[3], output_is_the_mean=True)
    broken = noisy_layers.check(dataclasses.replace(result, modes=tuple(rows)))
    assert [c.value for c in broken if not c.holds] == [1]


def test_dependent_rows_and_shifted_means_are_noticed(result):
    first, second, *rest = result.moments
    moments = (
        dataclasses.replace(first, mean_error_in_stds=first.mean_error_in_stds + 0.2),
        dataclasses.replace(second, row_correlation=20.0),
        *rest,
    )
    broken = noisy_layers.check(dataclasses.replace(result, moments=moments))
    assert len([c for c in broken if not c.holds]) == 2


def test_figures_are_legible_and_captioned(result, tmp_path):
    drawn = figures("noisy-layers", result)
    assert set(drawn) == {"noise-histogram", "variance-scatter", "noise-modes"}
    for name, (figure, caption) in drawn.items():
        (axes,) = figure.axes
        assert axes.get_title(loc="left")
        assert axes.get_xlabel()
        assert axes.get_ylabel()
        texts = [*axes.get_xticklabels(), *axes.get_yticklabels(), *axes.get_legend().get_texts()]
        assert min(text.get_fontsize() for text in texts) >= 9
        assert caption.endswith(".")
        figure.savefig(tmp_path / f"{name}.png")


def test_series_show_the_modes(result):
    auto, held, off = (result.series[mode] for mode in ("auto", "held", "off"))
    assert len(np.unique(auto[:15])) == 15
    assert np.array_equal(auto[15:], off[15:])
    assert [len(np.unique(held[i : i + 10])) for i in (0, 10, 20)] == [1, 1, 1]
    assert len(np.unique(held)) == 3
    assert len(np.unique(result.series["fresh"])) == 30


@pytest.mark.parametrize("sizes", [{"draws": 10}, {"forwards": 2}])
def test_sizes_that_cannot_work_are_refused(sizes):
    with pytest.raises(ConfigurationError, match=f"`{next(iter(sizes))}` got"):
        noisy_layers.Settings(**sizes)
