"""What is compared, and that the claim can fail; with BoTorch also the whole path."""

import numpy as np
import pytest
import torch

from hunch.errors import ConfigurationError, MissingDependencyError
from hunch.experiments.claims.drawing import figures
from hunch.experiments.exploration import bayesian_optimization as experiment
from hunch.experiments.exploration.bayesian_optimization import (
    EXACT,
    IMPROVEMENT,
    METHODS,
    RANDOM,
    THOMPSON,
    Objective,
    Settings,
    Trial,
    solve_all,
    summary,
)


def result(last):
    """Regrets that fall from 10 to a final value a method, the same for all problems and seeds."""
    trials = tuple(
        Trial(method, p.name, seed, np.linspace(10.0, last[method], p.evaluations))
        for p in Settings().problems
        for method in METHODS
        for seed in range(10)
    )
    return summary(Settings(), trials)


@pytest.mark.parametrize(
    ("thompson", "improvement", "holds"),
    [
        (0.09, 0.09, [True] * 4),
        (0.11, 0.3, [False, False, True, True]),
        (0.4, 0.09, [False, True] * 2),
    ],
)
def test_the_claim_can_fail(thompson, improvement, holds):
    last = {RANDOM: 1.0, THOMPSON: thompson, IMPROVEMENT: improvement, EXACT: 1e-3}
    checks = experiment.check(result(last))
    assert [c.holds for c in checks] == holds
    assert (
        "| Branin | 50 | exact GP, qLogEI | 0.001 | 0.001 | 1e+03 |" in result(last).to_markdown()
    )


def test_medians_are_over_seeds():
    settings = Settings((Objective("Branin", 2, 2),))
    trials = [
        Trial(m, "Branin", s, np.array([9.0, r])) for s, r in enumerate((1, 2, 8)) for m in METHODS
    ]
    found = summary(settings, trials)
    assert found.median_regret_by_evaluation["Branin"][RANDOM].tolist() == [9.0, 2.0]
    assert found.median(RANDOM, "Branin") == 2.0


def test_figures_draw():
    pytest.importorskip("matplotlib")
    drawn = figures("bayesian-optimization", result(dict.fromkeys(METHODS, 0.1)))
    assert list(drawn) == ["bayesian-optimization-branin", "bayesian-optimization-hartmann-6"]
    assert all(len(figure.axes) == 1 for figure, _ in drawn.values())


def test_wrong_settings_are_refused():
    with pytest.raises(ConfigurationError, match="`problems` got 'Ackley'"):
        Settings((Objective("Ackley", 5, 8),))
    with pytest.raises(ConfigurationError, match="`initial` got 9 of 8 evaluations"):
        Settings((Objective("Branin", 9, 8),))


def test_a_missing_library_is_named(monkeypatch):
    import sys

    for name in [n for n in sys.modules if n.split(".")[0] == "botorch"]:
        monkeypatch.setitem(sys.modules, name, None)
    for name in ("botorch", "botorch.models.deterministic"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "hunch.adapters.botorch", raising=False)
    with pytest.raises(MissingDependencyError, match=r"torch-hunch\[botorch\]"):
        experiment.run(Settings.quick(), progress=False)


def test_the_whole_path_runs_repeats_and_leaves_the_global_generator_alone():
    pytest.importorskip("botorch")
    before = torch.get_rng_state()
    first, second = (experiment.run(Settings.quick(), progress=False) for _ in range(2))
    assert torch.equal(before, torch.get_rng_state())
    assert first.to_json() == second.to_json()
    trials = solve_all(Settings.quick(), 0)
    starts = [t.regrets[:5].tolist() for t in trials if t.method != RANDOM]
    assert starts[0] == starts[1] == starts[2]
    ends = {t.regrets[-1] for t in trials}
    assert all(0 <= regret < 60 for regret in ends)
    assert all(check.holds for check in experiment.check(first))


def test_the_functions_have_the_maxima_they_are_measured_by():
    pytest.importorskip("botorch")
    for name, at in (
        ("Branin", [9.42478, 2.475]),
        ("Hartmann-6", [0.20169, 0.150011, 0.476874, 0.275332, 0.311652, 0.6573]),
    ):
        function = experiment.make_function(name)
        value = function(torch.tensor(at, dtype=torch.double))
        assert abs(function.optimal_value - float(value)) < 1e-4
