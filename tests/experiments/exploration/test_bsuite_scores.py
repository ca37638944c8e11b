"""The scores are bsuite's: recorded ones, and bsuite itself where it is installed."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from hunch.errors import ConfigurationError
from hunch.experiments.exploration.bsuite_problems import PROBLEMS, problem
from hunch.experiments.exploration.bsuite_scores import (
    SEA_RULES,
    Solved,
    is_logged,
    logged_episodes,
    score,
    solved,
)

sys.path.insert(0, str(Path(__file__).parent))
import make_bsuite_scores as recorder

GOLDEN = json.loads(recorder.PATH.read_text())
CASES = [
    pytest.param(case, id=f"{case['name']}: {case['case']}".replace(" ", "-"))
    for case in GOLDEN["cases"]
]
WITHOUT = "bsuite is not installed; the recordings stand in for it"


def test_the_schedule_is_that_of_bsuite():
    last = 20_000
    assert logged_episodes(last).tolist() == GOLDEN["schedule"]
    assert [e for e in range(-1, last + 1) if is_logged(e)] == GOLDEN["schedule"]
    for episodes in (1, 9, 10, 11, 12, 99, 100, 119, 120):
        expected = [e for e in GOLDEN["schedule"] if e <= episodes]
        assert logged_episodes(episodes).tolist() == expected


@pytest.mark.parametrize("case", CASES)
def test_the_score_is_the_recorded_one(case):
    runs = {int(i): recorder.expand(pieces) for i, pieces in case["runs"].items()}
    assert score(case["name"], runs) == pytest.approx(case["score"], abs=1e-12)


def test_the_recordings_show_every_case():
    for name in PROBLEMS:
        scores = {case["score"] for case in GOLDEN["cases"] if case["name"] == name}
        assert {0.0, 1.0} <= scores | ({0.0} if name == "mountain_car" else set())
        assert len(scores) >= 6


@pytest.mark.parametrize("name", PROBLEMS)
def test_random_runs_score_what_bsuite_scores_them(name):
    pytest.importorskip("bsuite", reason=WITHOUT)
    generator = np.random.default_rng(11)
    for _ in range(3):
        ids = generator.permutation(problem(name).num_ids)[:4].tolist()
        lengths = [int(generator.integers(100, 1500))] * 4
        if name not in SEA_RULES:
            lengths[1] = int(generator.integers(100, 1500))
        runs = {
            i: recorder.expand(recorder.random_run(name, generator, length))
            for i, length in zip(ids, lengths, strict=True)
        }
        # To bsuite an id that has ended unsolved is an unsolved one: the same as a small budget.
        budget = min(lengths[0], 1000) if name in SEA_RULES else None
        cut = {i: run[:budget] for i, run in runs.items()}
        expected = recorder.bsuite_score(name, cut)
        assert score(name, runs, num_episodes=budget) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", PROBLEMS)
def test_what_is_recorded_from_a_real_run_scores_as_its_log(name):
    pytest.importorskip("bsuite", reason=WITHOUT)
    import pandas as pd
    from bsuite import bsuite, sweep
    from bsuite.utils.wrappers import Logging

    ids = (0, 1) if name in SEA_RULES else (0, 7)
    episodes = {"mountain_car": 3, "cartpole_swingup": 8}.get(name, 150)
    policy = np.random.default_rng(0)
    runs, frames = {}, []
    for index in ids:
        rows = recorder.Rows()
        inner = bsuite.load_from_id(f"{name}/{index}")
        env, values = Logging(inner, rows), []
        for _ in range(episodes):
            env.reset()
            bad, total, last, row = False, 0.0, False, 0
            while not last:
                action = int(policy.integers(env.action_spec().num_values))
                if name in SEA_RULES:
                    right = inner._action_mapping[row, row]
                    # Right nearly always, so that the share of bad episodes is near its bound.
                    action = int(right if policy.random() < 0.97 - 0.01 * index else 1 - right)
                    on_path = inner._column == row
                    bad, row = bad or (on_path and action != right), row + 1
                step = env.step(action)
                total, last = total + step.reward, step.last()
            values.append(bad if name in SEA_RULES else total)
        runs[index] = np.array(values)
        settings = sweep.SETTINGS[f"{name}/{index}"]
        frames.append(pd.DataFrame(rows.rows).assign(bsuite_id=f"{name}/{index}", **settings))
    expected = recorder.bsuite_analysis(name, frames)
    assert score(name, runs, num_episodes=episodes) == pytest.approx(expected, abs=1e-9)


def test_the_sweep_is_that_of_bsuite():
    pytest.importorskip("bsuite", reason=WITHOUT)
    from bsuite import sweep

    for name, ours in PROBLEMS.items():
        theirs = [i for i in sweep.SWEEP if i.split("/")[0] == name]
        assert ours.num_ids == len(theirs)
        assert {sweep.EPISODES[i] for i in theirs} == {ours.num_episodes}
        for i, settings in zip(theirs, ours.settings, strict=True):
            known = {k: v for k, v in sweep.SETTINGS[i].items() if k != "seed"}
            assert known == {k: v for k, v in settings.items() if k != "stochastic"}


def test_a_run_may_stop_when_solved():
    whole = [True] * 130 + [False] * 9870
    found = solved(whole)
    assert found == Solved(exact=145, logged=170)
    assert solved(whole[: found.logged]) == found
    assert score("deep_sea", {0: whole[: found.logged]}) == score("deep_sea", {0: whole}) == 1.0
    # After the exact episode alone bsuite's verdict is open: what follows may be bad again.
    stopped = {0: whole[: found.exact]}
    assert score("deep_sea", stopped, solved_by="exact") == 1.0
    with pytest.raises(ConfigurationError, match="id 0 of 'deep_sea' with 145 episodes"):
        score("deep_sea", stopped)
    assert score("deep_sea", {0: whole[: found.exact] + [True] * 9855}) == 0.0
    assert score("deep_sea", stopped, num_episodes=145) == 0.0


def test_a_lost_run_need_not_be_played_on():
    # For N = 10 only episodes before 1,124 count, of which the last logged one is 1,000.
    assert score("deep_sea", {0: [True] * 901}) == 0.0
    with pytest.raises(ConfigurationError, match="play on until"):
        score("deep_sea", {0: [True] * 899})
    with pytest.raises(ConfigurationError, match="play on until"):
        score("deep_sea_stochastic", {0: [False] * 99})
    assert score("deep_sea_stochastic", {0: [False] * 100}) == 1.0
    assert score("deep_sea_stochastic", {0: [False] * 99}, num_episodes=99) == 0.0


def test_regret_is_the_mean_over_all_episodes():
    # 900 behind the ideal return of -100 in nine episodes, nothing in the tenth.
    last = score("mountain_car", {0: [-1000.0] * 9 + [-100.0]})
    assert last == pytest.approx(1 - 810 / 1000)


def test_wrong_uses_are_refused_in_one_sentence():
    for call, message in (
        (lambda: score("deepsea", {0: [True]}), "`name` got 'deepsea'.*deep_sea"),
        (lambda: score("catch", {}), r"`runs` got ids \[\]; 'catch' has ids from 0 to 19"),
        (lambda: score("catch", {20: [1.0]}), r"`runs` got ids \[20\]"),
        (lambda: score("catch", {0: []}), r"a run got shape \(0,\)"),
        (lambda: score("catch", {0: [float("nan")]}), "no finite number"),
        (lambda: score("catch", {0: ["one"]}), "no finite number"),
        (lambda: score("deep_sea", {0: [0.5]}), "`bad` got other values than true and false"),
        (lambda: score("catch", {0: [1.0]}, num_episodes=0), "`num_episodes` got 0"),
        (lambda: score("catch", {0: [1.0]}, num_episodes=10_001), "expected 1 to 10000"),
        (lambda: score("deep_sea", {0: [True]}, solved_by="first"), "`solved_by` got 'first'"),
        (lambda: solved([True], name="catch"), "`name` got 'catch'; expected deep_sea or"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            call()
