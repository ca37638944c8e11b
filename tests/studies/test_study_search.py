"""Trials: settings that follow from those before them, told once, whoever is killed meanwhile."""

import json

import click
import pytest
from study_bits import bits, check_tidy, start, to_the_end

from hunch.cli.main import run
from hunch.cli.study import study as command
from hunch.cli.study_file import read_study
from hunch.comparison import compare
from hunch.errors import ConfigurationError, HunchError
from hunch.rl import Run
from hunch.studies import Limits, Study
from hunch.studies.search import (
    JOURNAL,
    Choice,
    Range,
    Search,
    Trial,
    TrialRun,
    tell_of,
)
from hunch.studies.work import work

pytest.importorskip("fcntl")
optuna = pytest.importorskip("optuna")

FILE = """
agents = ["dqn"]
envs = ["CartPole-v1"]
steps = 200
eval-every = 100
checkpoint-every = 50
{more}
[set]
batch_size = 8
replay_capacity = 500
[search]
trials = {trials}
prune = {prune}
[search.set]
learning_rate = {{low = 1e-4, high = 1e-2, log = true}}
hidden_sizes = ["4", "8,8"]
update_period = {{low = 2, high = 8}}
"""


def search_file(place, *, trials=4, prune="false", more=""):
    (place / "search.toml").write_text(FILE.format(trials=trials, prune=prune, more=more))


def begun_in(place, monkeypatch, **how):
    monkeypatch.chdir(place)
    search_file(place, **how)
    read = read_study(click.Context(command), "search.toml")
    return Study.begin("study", read.cells, read.limits)


def trials_of(folder):
    journal = optuna.storages.journal.JournalFileBackend(str(folder / JOURNAL))
    storage = optuna.storages.JournalStorage(journal)
    (name,) = optuna.get_all_study_names(storage)
    return optuna.load_study(study_name=name, storage=storage).get_trials()


def settings_of(study):
    """Of each job, what its run was made with."""
    names = ("learning_rate", "hidden_sizes", "update_period", "seed")
    runs = {one.job.name: Run.open(one.folder) for one in study.finished()}
    return {job: {n: run.plan.settings[n] for n in names} for job, run in runs.items()}


def test_one_worker_finds_the_same_each_time_and_says_which_is_best(tmp_path):
    search_file(tmp_path)
    said, _ = to_the_end("search.toml", "--out=one", "--workers=1", cwd=tmp_path)
    # Ended somewhere, and taken up: each trial goes on with the settings that it had.
    other = start("search.toml", "--out=two", "--workers=1", cwd=tmp_path)
    while not list((tmp_path / "two").glob("jobs/*/1/attempt-*/checkpoints/step-*")):
        assert other.poll() is None
    other.kill()
    other.communicate()
    to_the_end("search.toml", "--out=two", "--workers=1", cwd=tmp_path)
    one, two = Study.open(tmp_path / "one"), Study.open(tmp_path / "two")
    assert settings_of(one) == settings_of(two)
    assert bits(one.folder) == bits(two.folder)
    found = settings_of(one)
    assert len({s["learning_rate"] for s in found.values()}) == 4
    assert all(s["hidden_sizes"] in ([4], [8, 8]) for s in found.values())
    assert all(1e-4 <= s["learning_rate"] <= 1e-2 for s in found.values())
    best = max(one.finished(), key=lambda done: done.figures["last"])
    assert f"best of dqn CartPole-v1: trial {best.seed} with {best.figures['last']:.4g}" in said
    assert f"hidden_sizes={best.figures['set.hidden_sizes']}" in said
    told = {t.user_attrs["job"]: t.value for t in trials_of(two.folder)}
    assert told == {done.seed: done.figures["last"] for done in two.finished()}
    with pytest.raises(ConfigurationError, match="4 trials of a search"):
        compare([one.folder])


def test_workers_share_a_search(tmp_path, monkeypatch):
    study = begun_in(tmp_path, monkeypatch)
    assert work(study, 2, progress=False).done == 4
    check_tidy(study.folder)
    found = trials_of(study.folder)
    assert sorted(t.user_attrs["job"] for t in found) == [0, 1, 2, 3]
    assert all(t.state.is_finished() for t in found)
    about = json.loads((study.output_folder(study.jobs[0]) / "run.json").read_text())
    assert f"--set learning_rate={about['trial']['learning_rate']}" in about["command"]


def test_a_trial_that_is_no_use_ends_as_a_shorter_run(tmp_path, monkeypatch):
    study = begun_in(tmp_path, monkeypatch, prune="true")
    job = study.jobs[0]
    trial = Trial(job.task(), study.folder)
    monkeypatch.setattr(trial._trial, "should_prune", lambda: True)
    plan = job.task()["plan"] | {"settings": job.task()["plan"]["settings"] | trial.settings}
    from hunch.rl import Plan

    run = TrialRun.begin(tmp_path / "run", Plan(**plan))
    run.trial = trial
    agent = run.train(progress=False)
    assert agent.steps == 100
    assert [score.step for score in run.evaluation.scores] == [100]
    opened = Run.open(tmp_path / "run")
    assert (opened.finished, opened.plan.steps, opened.about["begun_with"]) == (
        "complete",
        100,
        200,
    )
    from hunch.rl.runs.summary import summarize

    summarize(run, agent, episodes=2)
    tell_of(run, trial)
    tell_of(run, trial)  # whoever was killed before he could say so
    (told,) = trials_of(study.folder)
    assert told.state == optuna.trial.TrialState.PRUNED
    assert list(told.intermediate_values) == [100]
    # Whoever takes the job up goes on with the run as it is.
    out = study.job_folder(job) / "attempt-000001"
    (tmp_path / "run").rename(out.parent.mkdir(parents=True) or out)
    assert work(study, 1, progress=False).done == 4
    assert {one.seed: one.figures["steps"] for one in study.finished()}[0] == 100


def test_a_line_that_was_cut_off_was_never_said(tmp_path, monkeypatch):
    study = begun_in(tmp_path, monkeypatch)
    task = study.jobs[0].task()
    words = Trial(task, study.folder).words
    with (study.folder / JOURNAL).open("ab") as journal:
        journal.write(b'{"op_code":4,"wor')
    assert Trial(task, study.folder).words == words
    assert Trial(study.jobs[1].task(), study.folder).words != words
    assert len(trials_of(study.folder)) == 2


def test_a_search_of_a_strangers_imports_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.py").write_text("open('was-run', 'w')")
    cell = begun_in(tmp_path, monkeypatch).cells[0]
    space = {"env": Choice(["x"], ["evil:Env-v0"])}
    cell.work["search"]["space"] = Search(space).to_json()["space"]
    study = Study.begin("other", [cell], Limits(retries=0))
    assert work(study, 1, progress=False).failed == 4
    assert "evil" in study.failures(study.jobs[0])[0]
    assert not (tmp_path / "was-run").exists()


def test_plain_values_and_back():
    search = Search({"a": Range(1, 8), "b": Choice(["4", "8,8"], [[4], [8, 8]])}, prune=True)
    assert Search.from_json(json.loads(json.dumps(search.to_json()))) == search
    assert search.space["b"].value("8,8") == [8, 8]


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("trials = 4", "trials = 0", "trials = 0"),
        ("trials = 4", "", "trials = None"),
        ("steps = 200", "steps = 200\nseeds = 3", "seeds beside search"),
        ('agents = ["dqn"]\nenvs = ["CartPole-v1"]', 'reproduce = ["chain"]', "no agents"),
        ('["4", "8,8"]', "[]", "expected a list of values"),
        ('["4", "8,8"]', '["4", "eight"]', "hidden_sizes"),
        ("low = 1e-4", "low = 1", "low"),
        ("low = 1e-4", 'low = "x"', "learning_rate in search.set: `low` got 'x'"),
        ("log = true", 'log = "no"', "`log` got 'no'; expected true or false"),
        ("log = true", "logs = true", "did you mean 'log'"),
        ("learning_rate", "learning_rat", "learning_rate"),
        ("batch_size = 8", "batch_size = 8\nlearning_rate = 0.1", "in one of them"),
        ("prune = false", "prune = true", "evaluations"),
        ("prune = false", "prunes = false", "did you mean 'prune'"),
    ],
)
def test_what_cannot_be_searched_is_said_before(tmp_path, monkeypatch, capsys, before, after, says):
    monkeypatch.chdir(tmp_path)
    search_file(tmp_path)
    text = (tmp_path / "search.toml").read_text()
    assert before in text
    if says == "evaluations":
        text = text.replace("eval-every = 100", "eval-every = 0")
    (tmp_path / "search.toml").write_text(text.replace(before, after))
    assert run(["study", "search.toml", "--out", "study"]) == 2
    assert says in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "study").exists()


def test_without_optuna_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(HunchError, match=r"torch-hunch\[optuna\]"):
        begun_in(tmp_path, monkeypatch)


@pytest.mark.parametrize("bounds", [(2, 1, False), (0.0, 1.0, True), ("a", 1, False)])
def test_a_range_goes_upwards(bounds):
    with pytest.raises(ConfigurationError):
        Range(*bounds)
