"""The tables, with and without the optional peer."""

import dataclasses
import sys

import numpy as np
import pytest
import torch

pytest.importorskip("sklearn")

from hunch.experiments import uci_style
from hunch.experiments.table_laplace import (
    INSTALL_LAPLACE,
    LaplaceClassifier,
    LaplaceRegressor,
)
from hunch.experiments.table_methods import LAPLACE, OURS, REGRESSORS, methods_here


def line(rows=40):
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (rows, 1))
    return X, 50 + 20 * X[:, 0] + rng.normal(size=rows)


def test_the_experiment_works_without_laplace(monkeypatch):
    monkeypatch.setitem(sys.modules, "laplace", None)
    result = uci_style.run(uci_style.Settings.quick(), progress=False)
    assert {t.method for t in result.trials} == set(REGRESSORS) - {LAPLACE}
    assert INSTALL_LAPLACE in result.to_markdown()
    other = dataclasses.replace(result.trials[0], method=LAPLACE)
    with_it = dataclasses.replace(result, trials=(*result.trials, other))
    assert INSTALL_LAPLACE not in with_it.to_markdown()
    assert np.isfinite(result.crps_ratio("linnerud", OURS))


def test_laplace_has_its_row_where_it_is_installed():
    pytest.importorskip("laplace")
    assert methods_here() == list(REGRESSORS)


def test_laplace_learns_a_line_and_is_less_sure_away_from_it():
    pytest.importorskip("laplace")
    model = LaplaceRegressor(0).fit(*line())
    mean, std = model.predict(np.array([[0.0], [0.5], [10.0]]))
    # The noise's own deviation is 1 and the targets' is 12, so a broken scale is far outside.
    np.testing.assert_allclose(mean[:2], [50, 60], atol=2)
    assert 0.5 < std[0] < 2
    assert std[2] > 2 * std[0]


def test_laplace_tells_classes_apart_and_repeats_itself():
    pytest.importorskip("laplace")
    X, y = line()
    classes = (y > 50).astype(int)
    before = torch.get_rng_state()
    probs = LaplaceClassifier(0).fit(X, classes).predict_proba(X)
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-5)
    assert np.mean(probs.argmax(axis=1) == classes) > 0.9
    np.testing.assert_array_equal(LaplaceClassifier(0).fit(X, classes).predict_proba(X), probs)
    assert not np.array_equal(LaplaceClassifier(1).fit(X, classes).predict_proba(X), probs)
