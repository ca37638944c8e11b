"""`hunch diagnose`: built-in problems, a user's own, JSON, the figure, wrong use."""

import json
import sys

import pytest

from hunch.cli.main import run
from hunch.experiments.gradients.gradient_problems import PROBLEMS, find_problem

MINE = """
import torch
from torch.distributions import Normal

def problem():
    return (lambda z: z**2, Normal, (torch.tensor(1.0), torch.tensor(0.01)))

def named():
    return dict(f=torch.square, dist_fn=lambda mu: Normal(mu, 1.0), params=torch.ones(2),
                exact=2 * torch.ones(2), about="two squares")

def wrong():
    return 3

class Askew(Normal):
    # Its density and its path are both wrong; its samples are right.

    def log_prob(self, value):
        return 1.5 * super().log_prob(value)

    def rsample(self, shape=()):
        z = super().rsample(shape)
        return z.detach() + 0.5 * (z - z.detach())

    def icdf(self, value):
        raise NotImplementedError

def askew():
    return dict(f=torch.square, dist_fn=Askew, params=(torch.ones(2), torch.ones(2)),
                exact=(2 * torch.ones(2), 2 * torch.ones(2)))

def half():
    return (lambda z: z**2, Normal, tuple(torch.tensor(x, dtype=torch.bfloat16) for x in (1, 0.5)))

def broken():
    raise ArithmeticError("mine")
"""
FAST = ["--repeats", "50", "-n", "4"]


@pytest.fixture
def mine(tmp_path, monkeypatch):
    (tmp_path / "my_model.py").write_text(MINE)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path / "my_model.py"
    sys.modules.pop("my_model", None)


def test_without_a_problem_the_built_in_ones_are_listed(capsys):
    assert run(["diagnose"]) == 0
    printed = capsys.readouterr().out
    assert [line.split()[0] for line in printed.splitlines()] == list(PROBLEMS)


@pytest.mark.parametrize("name", PROBLEMS)
def test_every_built_in_problem_has_a_diagnosis(name, capsys):
    assert run(["diagnose", name, "--json", *FAST]) == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert found["rows"]
    assert found["recommendation"] in captured.err  # the table is for people, beside the JSON
    assert found["seed"] == 0


def test_the_seed_decides_the_result(capsys):
    printed = []
    for seed in ("1", "1", "2"):
        assert run(["diagnose", "forum", "--json", "--seed", seed, *FAST]) == 0
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1] != printed[2]


def test_the_forum_is_told_what_cripples_it(capsys):
    assert run(["diagnose", "forum", "-n", "4", "--json"]) == 0
    rows = {
        (row["estimator"], row["baseline"], row["sampler"]): row
        for row in json.loads(capsys.readouterr().out)["rows"]
    }
    plain, loo = rows["score", "none", "iid"], rows["score", "loo", "iid"]
    assert plain["variance_cost"] > 50 * loo["variance_cost"]
    assert not plain["biased"]


def test_a_problem_of_ones_own_by_file_and_by_module(mine, capsys):
    for name in (f"{mine}:problem", "my_model:problem"):
        assert run(["diagnose", name, *FAST]) == 0
        assert "estimator='pathwise'" in capsys.readouterr().out
    assert run(["diagnose", "my_model:named", *FAST]) == 0
    printed = capsys.readouterr().out
    assert "two squares" in printed
    assert "reference: given" in printed
    assert find_problem("my_model:named").about == "two squares"


def test_where_no_estimator_is_right_the_exit_code_says_so(mine, capsys, monkeypatch):
    from hunch.gradients.estimators import measure

    monkeypatch.setattr(measure, "_SPLITTINGS", {})  # the measure asks neither density nor path
    assert run(["diagnose", "my_model:askew", "--json"]) == 1
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert all(row["biased"] for row in found["rows"])
    assert "No way that applies here is unbiased" in captured.err
    assert found["reference"] == "given"


def test_half_precision_is_not_exact_there_either(mine, capsys):
    assert run(["diagnose", "my_model:half", *FAST]) == 0
    printed = capsys.readouterr().out
    assert "exact" not in printed
    assert "reference: a long run of 'measure', confirmed by a long run of 'score'" in printed


@pytest.mark.parametrize("suffix", [".svg", ".png"])
def test_the_figure_is_written(tmp_path, capsys, suffix):
    pytest.importorskip("matplotlib")
    place = tmp_path / "new" / f"jump{suffix}"
    assert run(["diagnose", "jump", "--out", str(place), *FAST]) == 0
    head = place.read_bytes()[:8]
    assert head.startswith(b"<svg" if suffix == ".svg" else b"\x89PNG")
    assert [p.name for p in place.parent.iterdir()] == [place.name]
    assert str(place) in capsys.readouterr().out


def test_the_report_is_written_and_replaced_and_nothing_of_others_is(tmp_path, capsys):
    place = tmp_path / "report.html"
    for _ in range(2):
        assert run(["diagnose", "jump", "--out", str(place), *FAST]) == 0
        assert f"Report: {place}" in capsys.readouterr().out
    page = place.read_text("utf-8")
    assert "<h1>The gradient of jump</h1>" in page
    assert "A normal sample whose cost has a jump" in page
    assert page.count("<svg") == 1
    for name in ("variance × evaluations", "signal/noise", "rebar"):
        assert name in page
    place.write_text("<p>mine</p>")
    assert run(["diagnose", "jump", "--out", str(place), *FAST]) == 2
    assert place.read_text() == "<p>mine</p>"


def test_wrong_use_is_one_line_and_exit_code_2(mine, tmp_path, capsys):
    cases = {
        ("everything",): "no problem is called 'everything'; there are: forum-start, forum",
        ("my_model:nothing",): "has no 'nothing'; expected a function without arguments",
        ("my_model:wrong",): "returned int; expected (f, dist_fn, params)",
        ("no.such:f",): "there is no module 'no.such'",
        ("torch:ones",): "does not say what arguments it takes",
        ("..:f",): "'..' is relative",
        (f"{tmp_path}/none.py:f",): "there is no file",
        ("forum", "--out", "figure.txt"): "expected .html or .svg or .png or .pdf",
        ("forum", "-n", "0"): "0 is not in the range x>=1",
        ("forum", "--repeats", "9"): "9 is not in the range x>=10",
    }
    for arguments, message in cases.items():
        assert run(["diagnose", *arguments]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        lines = [line for line in captured.err.splitlines() if line != "hunch: loading torch"]
        assert len(lines) == 1
        assert message in lines[0]


def test_what_ones_own_code_raises_is_not_hidden(mine, capsys):
    assert run(["diagnose", "my_model:broken"]) == 2
    said = capsys.readouterr().err
    assert "ArithmeticError: mine" in said
    assert "my_model.py, line" in said
    assert run(["diagnose", "my_model:broken", "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err
    mine.with_name("imports_nothing.py").write_text("import no_such_package\n")
    assert run(["diagnose", "imports_nothing:f"]) == 2
    assert "no_such_package" in capsys.readouterr().err
