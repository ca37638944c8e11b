"""`hunch study`: what a file may say, and what the command says of it."""

import json

import click
import pytest

from hunch.cli.main import run
from hunch.cli.study import study
from hunch.cli.study_file import read_study
from hunch.errors import ConfigurationError
from hunch.studies import Limits

BOTH = 'agents = ["dqn"]\nenvs = ["CartPole-v1"]\n'


@pytest.fixture
def read(tmp_path):
    def reading(text):
        (tmp_path / "s.toml").write_text(text)
        return read_study(click.Context(study), str(tmp_path / "s.toml"))

    return reading


def test_every_agent_in_every_environment_with_every_setting(read):
    found = read(
        """
        agents = ["dqn", {agent = "a2c", label = "wide", set = {hidden_sizes = "64"}}]
        envs = ["CartPole-v1", {env = "hunch/DeepSea-v0", env_kwargs = {size = 5}, steps = 300}]
        seeds = [3, 5]
        steps = 500
        eval-every = 100
        retries = 4
        time-limit = 60
        [set]
        discount = 0.9
        [[settings]]
        label = "slow"
        set = {learning_rate = 1e-4}
        [[settings]]
        label = "fast"
        wrap = ["TimeLimit(50)"]
        """
    )
    assert found.limits == Limits(retries=4, time_limit=60)
    assert len(found.cells) == 8
    assert {cell.seeds for cell in found.cells} == {(3, 5)}
    by_name = {cell.name: cell for cell in found.cells}
    assert len(by_name) == 8
    slow = by_name["dqn-CartPole-v1-slow"].work["plan"]
    assert (slow["steps"], slow["settings"]["discount"]) == (500, 0.9)
    assert slow["settings"]["learning_rate"] == 1e-4
    assert slow["evaluate_every"] == 100
    deep = by_name["wide-DeepSea-v0-fast"].work
    assert deep["plan"]["steps"] == 300
    assert deep["plan"]["settings"]["env"] != "hunch/DeepSea-v0", "it is wrapped"
    assert deep["about"]["wrap"] == ["TimeLimit(50)"]
    assert deep["plan"]["settings"]["hidden_sizes"] == [64]
    assert "seed" not in deep["plan"]["settings"]
    assert found.own == []


def test_a_job_is_what_hunch_train_makes_of_its_line(read, tmp_path, monkeypatch):
    from hunch.rl.runs.plan import read_run_file
    from hunch.studies import Study, work

    monkeypatch.chdir(tmp_path)
    text = BOTH + "steps = 150\n[set]\nhidden_sizes = 4\nbatch_size = 8\nreplay_capacity = 200\n"
    begun = Study.begin("study", read(text).cells)
    task = begun.jobs[0].task()
    words = task["about"]["command"].split()
    assert words[-2:] == ["--seed", "0"]
    assert run([*words[1:], "--out", "line"]) == 0
    assert work(begun, 1, progress=False).done == 1
    line, about = read_run_file("line")
    own, own_about = read_run_file(begun.output_folder(begun.jobs[0]))
    assert own == line
    assert own_about["summary"] == about["summary"]
    assert own_about["command"] + " --out line" == about["command"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "asks for nothing"),
        ("agents = ['dqn']", "has agents and no envs"),
        ("envs = ['CartPole-v1']", "has envs and no agents"),
        (BOTH + "seed = 3", "did you mean 'seeds'?"),
        (BOTH + "seeds = 0", "expected a number of seeds"),
        (BOTH + "seeds = [1, 1]", "none of them twice"),
        (BOTH + "seeds = true", "expected a number of seeds"),
        (BOTH + "steps = 'many'", "s.toml': Invalid value for '--steps': 'many' is not a valid"),
        (BOTH + "report = 'yes'", "has report = 'yes'; expected true or false"),
        (BOTH + "tensorboard = 1", "has tensorboard = 1; expected true or false"),
        (BOTH + "retries = -1", "`retries` got -1"),
        (BOTH + "[set]\nlearnin_rate = 1", "learning_rate"),
        (BOTH + "set = 3", "expected a table"),
        (BOTH + "[[settings]]\nname = 'a'", "'name' in settings"),
        ("agents = [{label = 'x'}]\nenvs = ['CartPole-v1']", "tables with agent = a word"),
        ("agents = ['dqm']\nenvs = ['CartPole-v1']", "s.toml': Invalid value"),
        ("agents = ['dqm']\nenvs = ['CartPole-v1']", "'dqm' is not one of"),
        ("agents = ['dqm']\nenvs = ['CartPole-v1']", "did you mean 'dqn'?"),
        ("agents = ['dqn']\nenvs = ['CartPole-v7']", "CartPole"),
        ("agents = 'dqn'\nenvs = ['CartPole-v1']", "expected a list"),
        ("agents = [", "is no TOML"),
        ("[[fit]]\ntarget = 'y'", "without data"),
        ("[[fit]]\ndata = 'none.csv'\ntarget = 'y'", "cannot read"),
        ("[[fit]]\ndata = 'a.csv'\ntarget = 'y'\nmembers = 'x'", "s.toml': Invalid value for"),
        ("[[fit]]\ndata = 'a.csv'\ntarget = 'y'\nmember = 3", "did you mean 'members'?"),
        ("reproduce = ['chian']", "did you mean 'chain'?"),
        ("reproduce = ['uci']", "--data FOLDER"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_sentence(read, tmp_path, text, says):
    with pytest.raises(ConfigurationError) as refused:
        read(text)
    assert says in str(refused.value)
    assert list(tmp_path.iterdir()) == [tmp_path / "s.toml"]


def test_fit_jobs_and_claims(read, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv").write_text(
        "x,z,y\n" + "".join(f"{i},{i % 7},{2 * i}\n" for i in range(40))
    )
    text = "seeds = 2\nreproduce = ['chain']\n[[fit]]\ndata = 'a.csv'\ntarget = 'y'\nmembers = 2\ndrop = ['z']"
    fit, claim = read(text).cells
    assert fit.work["options"] == {"members": 2, "drop": ["z"]}
    assert fit.work["data"] == [str(tmp_path / "a.csv")]
    assert claim.work == {"claim": "chain"}
    assert fit.seeds == claim.seeds == (0, 1)


def test_a_model_of_a_table_is_a_job_like_others(read, tmp_path, monkeypatch, capsys):
    pytest.importorskip("pyarrow")
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv").write_text("x,y\n" + "".join(f"{i},{2 * i}\n" for i in range(40)))
    (tmp_path / "s.toml").write_text(
        "[[fit]]\ndata = 'a.csv'\ntarget = 'y'\nmembers = 2\nlabel = 'twos'\n"
        "[[fit]]\ndata = 'a.csv'\ntarget = 'z'"
    )
    assert run(["study", "s.toml", "--workers", "1", "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert (said["done"], said["failed"]) == (1, 1)
    good, bad = said["jobs"]
    assert good["env"] == "twos"
    assert good["rmse"] > 0
    assert "has no column 'z'" in bad["reason"]
    assert bad["failures"] == 1, "a job that cannot work is not tried again"
    assert run(["predict", "studies/s/jobs/fit-twos/0/model", "a.csv", "--out", "p.csv"]) == 0
    # Other data of the same name are not taken for those that the study was begun with.
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    capsys.readouterr()
    assert run(["study", "s.toml", "--workers", "1"]) == 2
    assert run(["study", "work", "studies/s", "--workers", "1", "--retry-failed"]) == 1
    assert "was changed since the study was begun" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["stauts", "s"], "'stauts' is no file and no command; did you mean 'status'?"),
        (["s"], "'s' is the folder of a study, which goes on by: hunch study work s"),
    ],
)
def test_what_is_no_file_of_a_study(words, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "study.json").write_text("{}")
    assert run(["study", *words]) == 2
    assert f"hunch: {says}" in capsys.readouterr().err


def test_status_of_what_is_no_study(tmp_path, capsys):
    assert run(["study", "status", str(tmp_path)]) == 2
    assert "is no study" in capsys.readouterr().err
    assert run(["study", "work", str(tmp_path)]) == 2


@pytest.mark.parametrize(
    "words",
    [["--ray", "a", "--dask", "b"], ["--slurm-set", "timeout_min=3"], ["--workers", "0"]],
)
def test_options_that_do_not_go_together(words, tmp_path, capsys):
    (tmp_path / "s.toml").write_text(BOTH)
    assert run(["study", str(tmp_path / "s.toml"), *words]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("option", "module", "extra"),
    [(["--slurm"], "submitit", "slurm"), (["--ray=auto"], "ray", "ray"), (["--dask=x"], "distributed", "dask")],
)  # fmt: skip
def test_an_executor_that_is_not_installed_is_named(
    option, module, extra, tmp_path, monkeypatch, capsys
):
    import sys

    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, module, None)
    (tmp_path / "s.toml").write_text("reproduce = ['chain']")
    assert run(["study", "s.toml", *option]) == 2
    assert f"pip install 'torch-hunch[{extra}]'" in capsys.readouterr().err
