"""`hunch compare`: the table, the page, JSON, names and scales, wrong use."""

import json
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from hunch.cli.main import run

sys.path.append(str(Path(__file__).parents[1] / "comparison"))

from training_folders import some, write_monitor, write_run

QUICK = ["--resamples", "200"]


@pytest.fixture
def runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    curve = [(500, 50.0), (1000, 250.0)]
    write_run(tmp_path / "runs" / "a", some(300), evaluations=curve)
    write_run(tmp_path / "runs" / "b", some(100, seed=1), recipe="noisy-dqn", evaluations=curve)
    return tmp_path / "runs"


def test_the_table_says_who_is_ahead_and_from_what(runs, capsys):
    assert run(["compare", "runs", *QUICK]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert (
        lines[0] == "dqn is ahead: a seed of it beats one of noisy-dqn with probability 1 (1 to 1)."
    )
    assert lines[2].split() == ["group", "seeds", "steps", "interquartile", "mean", "mean"]
    assert [line.split()[0] for line in lines[3:5]] == ["dqn", "noisy-dqn"]
    assert "With 8 seeds, as with 5, an interval" in out
    assert "does so 81 to 90 times" in out
    assert "loading torch" in err


def test_json_is_alone_on_standard_output(runs, capsys):
    assert run(["compare", "runs", "--json", "--scale", "CartPole-v1=0,500", *QUICK]) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert found["scales"]["CartPole-v1"]["high"] == 500
    assert found["probability_of_improvement"][0]["value"] == 1.0
    assert len(found["groups"][0]["performance_profile"]["low"]) == len(found["thresholds"])
    assert found["groups"][0]["sample_efficiency"]["steps"] == [500, 1000]
    assert found["groups"][0]["places"] == ["runs/a"]
    assert "dqn is ahead" in err
    assert run(["compare", "runs", "--json", "--quiet", "--out", "page.html", *QUICK]) == 0
    assert capsys.readouterr().err == ""


def test_the_same_folders_give_the_same_bytes(runs, capsys):
    pages = []
    for _ in range(2):
        assert run(["compare", "runs", "--out", "page.html", *QUICK]) == 0
        pages.append((capsys.readouterr().out, Path("page.html").read_bytes()))
    assert pages[0] == pages[1]


def test_the_page_stands_alone_and_holds_all_figures(runs, capsys):
    write_run(runs / "c", some(-100), env="Acrobot-v1", chance=-500.0, evaluations=[(500, -300.0)])
    write_run(
        runs / "d",
        some(-300),
        env="Acrobot-v1",
        chance=-500.0,
        recipe="noisy-dqn",
        evaluations=[(500, -400.0)],
    )
    assert run(["compare", "runs", "--out", "page.html", *QUICK]) == 0
    page = Path("page.html").read_text("utf-8")
    assert "http" not in page.replace("http-equiv", "")
    for name in ("means", "profiles", "sample-efficiency"):
        assert f'id="{name}"' in page
    for words in ("Probability of improvement", "optimality gap", "reward threshold", "runs/a"):
        assert words in page
    for chart in page.split("<svg ")[1:]:
        ElementTree.fromstring("<svg " + chart.partition("</svg>")[0] + "</svg>")


def test_names_stand_before_folders(runs, capsys):
    assert run(["compare", "new=runs/a", "old=runs/b", "--quiet", *QUICK]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("new is ahead")
    assert err == ""


def test_a_folder_may_have_an_equals_sign_in_its_name(runs, capsys):
    (runs / "a").rename(runs / "lr=1")
    assert run(["compare", "runs/lr=1", *QUICK]) == 0
    assert capsys.readouterr().out.startswith("dqn is alone")


def test_logs_of_stable_baselines3_stand_beside_runs(runs, capsys):
    write_run(runs / "c", some(200), seed=20, episodes=[(10, 300.0)], n_step=5)
    for seed in range(3):
        write_monitor(Path("sb3", f"seed{seed}.monitor.csv"), some(100, 30, seed=seed))
    assert run(["compare", "runs/c", "sb3", *QUICK]) == 0
    out = capsys.readouterr().out
    assert "exploration and all" in out
    assert out.splitlines()[0].startswith("dqn is ahead")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nowhere"], "there is no such folder"),
        (["new="], "RUN got 'new='; expected NAME=RUN"),
        ([], "RUN"),
        (["runs", "--out", "page.txt"], "ends in .html"),
        (["runs", "--scale", "CartPole-v1"], "expected ENV=LOW,HIGH"),
        (["runs", "--scale", "CartPole-v1=1"], "expected ENV=LOW,HIGH"),
        (["runs", "--scale", "CartPole-v1=9,1"], "higher one"),
        (["runs", "--scale", "Pong=0,1"], "not compared"),
        (["runs", "--score", "best"], "no best weights"),
        (["runs/a/run.json"], "no log that can be compared"),
        (["runs", "--confidence", "1"], "confidence"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(runs, capsys, words, says):
    assert run(["compare", *words]) == 2
    err = capsys.readouterr().err
    assert says in err
    assert "Traceback" not in err


def test_a_page_of_somebody_elses_is_not_replaced(runs, capsys):
    Path("page.html").write_text("mine")
    assert run(["compare", "runs", "--out", "page.html", *QUICK]) == 2
    assert Path("page.html").read_text() == "mine"
