"""A run's folder: killed, resumed, damaged, extended, refused."""

import json
import random
import shutil
import signal

import numpy as np
import pytest
from killing import kill_at, left_behind, start, to_the_end

from hunch.errors import ConfigurationError, FolderError, HunchWarning
from hunch.rl import DQN, Plan, Run
from hunch.rl.runs.summary import summarize
from hunch.storage import dump_json, sealed, unsealed

SMALL = dict(hidden_sizes=(8,), batch_size=8, noisy=True, epsilon=0.0)


def plan_of(steps=400, **options):
    options = (
        dict(evaluate_every=100, evaluate_episodes=2, checkpoint_every=100, log_every=50) | options
    )
    settings = DQN("CartPole-v1", replicas=2, **SMALL).settings
    return Plan("DQN", settings, steps=steps, **options)


def weights(agent):
    return {name: value.numpy().copy() for name, value in agent.network.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def logs(run):
    return {p.name: p.read_text() for p in (run.folder / "logs").glob("*.csv")}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that was never interrupted."""
    run = Run.begin(tmp_path_factory.mktemp("runs") / "whole", plan_of())
    return run, run.train(progress=False)


@pytest.mark.parametrize(
    ("steps", "begins"),
    [
        pytest.param(500, (20, 250), marks=pytest.mark.slow),
        pytest.param(1000, (20, 250, 480, 700), marks=pytest.mark.proof),
    ],
)
def test_a_training_killed_at_random_moments_ends_with_the_same_bits(steps, begins, tmp_path):
    arguments = [
        "noisy-dqn",
        "CartPole-v1",
        f"--steps={steps}",
        "--checkpoint-every=40",
        "--replicas=2",
    ]
    arguments += ["--set=hidden_sizes=8,8", "--set=batch_size=16", "--eval-every=250", "--seed=3"]
    to_the_end(*arguments, "--out", tmp_path / "whole")
    chance = random.Random(1)
    way = [*arguments, "--out", tmp_path / "killed"]
    for begin in begins:
        moment = begin + chance.uniform(0, 200)
        died, errors = kill_at(start(*way), tmp_path / "killed", moment, chance.uniform(0, 0.02))
        assert died, errors
        way = ["--resume", tmp_path / "killed"]
    to_the_end(*way)
    assert left_behind(tmp_path / "killed") == left_behind(tmp_path / "whole")


class Killed(Exception):
    pass


class KillAt:
    """A callback that ends the training as a kill does: nothing is written after it."""

    def __init__(self, step):
        self.every, self.step = 1, step

    def __call__(self, agent):
        if agent.steps == self.step:
            raise Killed


def train_killed(run, step):
    build = run._build

    def with_killer():
        build()
        run.callbacks.insert(0, KillAt(step))

    run._build = with_killer
    with pytest.raises(Killed):
        run.train(progress=False)


@pytest.mark.parametrize("step", [1, 99, 100, 101, 250, 399])
def test_logs_and_best_weights_of_a_resumed_run_are_those_of_one_never_killed(
    whole, step, tmp_path
):
    run = Run.begin(tmp_path / "run", plan_of())
    train_killed(run, step)
    again = Run.open(tmp_path / "run")
    agent = again.train(progress=False)
    assert same(weights(agent), weights(whole[1]))
    assert same(weights(again.best_agent()), weights(whole[0].best_agent()))
    assert logs(again) == logs(whole[0])
    assert again.evaluation.scores == whole[0].evaluation.scores


def test_the_newest_checkpoint_being_damaged_the_one_before_is_taken(whole, tmp_path):
    run = Run.begin(tmp_path / "run", plan_of())
    train_killed(run, 350)
    newest = run.checkpoint.all()[-1]
    state = newest / "state.safetensors"
    state.write_bytes(state.read_bytes()[:-100])
    said = []
    again = Run.open(tmp_path / "run")
    agent = again.train(progress=False, tell=said.append)
    assert len(said) == 1
    assert "truncated or changed" in said[0]
    assert "\n" not in said[0]
    assert same(weights(agent), weights(whole[1]))
    assert (run.folder / "checkpoints" / f"refused-{newest.name}").is_dir()


def test_a_foreign_checkpoint_is_refused_and_the_one_before_is_taken(whole, tmp_path):
    run = Run.begin(tmp_path / "run", plan_of())
    train_killed(run, 250)
    other = DQN("CartPole-v1", replicas=2, **SMALL, seed=9)
    run.checkpoint(other.learn(390, progress=False))
    said = []
    agent = Run.open(tmp_path / "run").train(progress=False, tell=said.append)
    assert "is a checkpoint of another run" in said[0]
    assert same(weights(agent), weights(whole[1]))


def test_all_checkpoints_gone_means_from_the_start(whole, tmp_path):
    run = Run.begin(tmp_path / "run", plan_of())
    train_killed(run, 350)
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    with pytest.raises(FolderError, match="has no checkpoint to load"):
        run.last_agent()
    again = Run.open(tmp_path / "run")
    assert same(weights(again.train(progress=False)), weights(whole[1]))
    assert logs(again) == logs(whole[0])


def test_what_a_kill_left_half_written_is_cleared_away(tmp_path):
    run = Run.begin(tmp_path / "run", plan_of())
    train_killed(run, 150)
    left = tmp_path / "run" / "checkpoints" / ".step-000000000200.abc"
    left.mkdir()
    Run.open(tmp_path / "run").train(progress=False)
    assert not left.exists()
    assert len(list((tmp_path / "run" / "checkpoints").iterdir())) == 2


def test_a_longer_budget_goes_on_as_if_it_had_been_asked_for_at_once(whole, tmp_path):
    run = Run.begin(tmp_path / "run", plan_of(steps=230))
    run.train(progress=False)
    assert run.finished == "complete"
    again = Run.open(tmp_path / "run")
    again.extend(400)
    assert again.finished is None
    assert same(weights(again.train(progress=False)), weights(whole[1]))
    assert logs(again) == logs(whole[0])
    with pytest.raises(ConfigurationError, match="`steps` got 300, but the run was begun with 400"):
        again.extend(300)


def test_a_finished_run_is_left_as_it_is(tmp_path):
    run = Run.begin(tmp_path / "run", plan_of(steps=1000, stop_at=5.0))
    run.train(progress=False)
    assert run.finished == "stop_at"
    assert run.train(progress=False).steps == 100


def test_deep_sea_stops_when_it_is_solved_and_says_when(tmp_path):
    from hunch.rl import BootstrappedDQN

    agent = BootstrappedDQN("hunch/DeepSea-v0", env_kwargs=dict(size=4), num_members=5)
    plan = Plan("BootstrappedDQN", agent.settings, steps=2000, stop_when_solved=(0.9, 1, 4))
    run = Run.begin(tmp_path / "run", plan)
    trained = run.train(progress=False)
    summary = summarize(run, trained, episodes=1)
    assert run.finished == "solved"
    assert trained.steps < 2000
    episodes = summary.replicas[0].solved
    bad = [info["bad_episode"] for info in trained.history.infos]
    assert len(bad) == episodes
    assert sum(bad) < 0.9 * episodes
    assert all(sum(bad[:n]) >= 0.9 * n for n in range(1, episodes))
    assert f"solved in {episodes} episodes" in summary.lines()[1]
    assert Run.open(tmp_path / "run").train(progress=False).steps == trained.steps


def test_only_one_process_trains_a_run(tmp_path):
    fcntl = pytest.importorskip("fcntl")
    run = Run.begin(tmp_path / "run", plan_of())
    with (tmp_path / "run" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(FolderError, match="being trained by another process"):
            run.train(progress=False)


def test_nothing_of_anybodys_is_overwritten(whole, tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "empty").mkdir()
    for place, message in [
        (tmp_path / "notes", "is not empty"),
        (tmp_path / "file", "is a file"),
        (whole[0].folder, "is a run already; go on with it by `hunch train --resume"),
    ]:
        with pytest.raises(FolderError, match=message):
            Run.begin(place, plan_of())
    assert (tmp_path / "notes" / "mine.txt").read_text() == "mine"
    assert Run.begin(tmp_path / "empty", plan_of()).folder == tmp_path / "empty"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty", "file", "notes"]
    with pytest.raises(FolderError, match="is no run"):
        Run.open(tmp_path / "notes")


def test_the_folder_says_what_it_is(whole):
    run, _ = whole
    found = json.loads((run.folder / "run.json").read_text())
    assert found["plan"]["settings"]["env"] == "CartPole-v1"
    assert found["versions"]["torch"]
    assert found["finished"] == "complete"
    assert Run.open(run.folder).plan == run.plan


def test_playing_touches_nothing(whole, tmp_path):
    run = Run.begin(tmp_path / "run", plan_of())
    train_killed(run, 350)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "run").rglob("*")}
    opened = Run.open(tmp_path / "run")
    assert opened.last_agent().steps == 300
    best = opened.best_agent()
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "run").rglob("*")} == before
    assert len(summarize(opened, best, 2).replicas[1].last) == 2


def test_ctrl_c_writes_a_checkpoint_and_says_how_to_go_on(tmp_path):
    arguments = ["dqn", "CartPole-v1", "--steps=100000", "--set=hidden_sizes=8", "--eval-every=0"]
    process = start(*arguments, "--out", tmp_path / "run")
    _, errors = kill_at(process, tmp_path / "run", 1, 0, by=signal.SIGINT)
    assert process.returncode == 130
    assert errors.splitlines()[-1].startswith(
        "hunch: interrupted; go on with: hunch train --resume"
    )
    run = Run.open(tmp_path / "run")
    assert run.last_agent().steps > 0
    assert run.finished is None


# What a damaged or a forged file may not do


def rewritten(run, change):
    """`run.json` with other values, and the seal that a forger would give it."""
    values = unsealed(json.loads((run.folder / "run.json").read_text()), run.folder)
    change(values)
    (run.folder / "run.json").write_text(dump_json(sealed(values)))


def without_a_seal(run, change=lambda values: None):
    """`run.json` as older versions wrote it."""
    values = unsealed(json.loads((run.folder / "run.json").read_text()), run.folder)
    change(values)
    (run.folder / "run.json").write_text(dump_json(values))


@pytest.fixture
def copied(whole, tmp_path):
    shutil.copytree(whole[0].folder, tmp_path / "run")
    return Run.open(tmp_path / "run")


def test_one_bit_of_a_plan_is_noticed(copied):
    """It was taken for a learning rate of 0.003, exit code 0."""
    place = copied.folder / "run.json"
    text = place.read_text()
    assert '"learning_rate": 0.001' in text
    place.write_text(text.replace('"learning_rate": 0.001', '"learning_rate": 0.003'))
    with pytest.raises(FolderError, match=r"run\.json' is not as hunch wrote it"):
        Run.open(copied.folder)


@pytest.mark.parametrize("seal", [rewritten, without_a_seal])
@pytest.mark.parametrize(
    "change",
    [
        lambda values: values["plan"]["settings"].update(learning_rate=0.003),
        lambda values: values["plan"].update(evaluate_every=0),
    ],
)
def test_good_checkpoints_are_left_alone_where_none_of_them_fits(seal, change, copied):
    before = sorted(copied.folder.rglob("*"))
    seal(copied, change)
    said = []
    with pytest.raises(FolderError, match=r"No checkpoint in .* fits, .* nothing was touched"):
        Run.open(copied.folder).train(progress=False, tell=said.append)
    assert said == []
    assert sorted(copied.folder.rglob("*")) == before


def test_a_checkpoint_that_may_not_be_read_is_not_damaged(copied, monkeypatch):
    before = sorted(copied.folder.rglob("*"))

    def refused(file):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("hunch.storage.folders.checksum", refused)
    with pytest.raises(FolderError, match=r"cannot read .*: Permission denied"):
        copied.train(progress=False)
    assert sorted(copied.folder.rglob("*")) == before


def test_a_run_of_before_seals_goes_on_and_is_sealed_then(whole, copied):
    without_a_seal(copied, lambda values: values.pop("summary", None))
    for place in [*copied.checkpoint.all(), copied.folder / "best"]:
        listed = unsealed(json.loads((place / "hunch.json").read_text()), place)
        (place / "hunch.json").write_text(dump_json(listed))
    again = Run.open(copied.folder)
    assert again.plan == whole[0].plan
    assert same(weights(again.best_agent()), weights(whole[0].best_agent()))
    again.extend(450)
    assert again.train(progress=False).steps == 450
    assert "seal" in json.loads((copied.folder / "run.json").read_text())


WRONG_TYPES = {
    "plan": 3,
    "plan.steps": "many",
    "plan.steps ": 1.5,
    "plan.settings": [],
    "plan.agent": None,
    "plan.sett9ngs": {},
    "plan.stop_when_solved": [0.9],
    "plan.stop_when_solved ": 3,
    "plan.stop_at": "high",
    "plan.log_every": 0,
    "plan.tensorboard": "yes",
    "plan.evaluation_env_kwargs": [1],
    "plan.settings.seed": [0],
    "plan.settings.replicas": "two",
    "plan.settings.hidden_sizes": 5,
    "plan.settings.hidden_sizes ": [10**15],
    "plan.settings.epsilon": {"Linear": [1]},
    "plan.settings.batch_size": {"float": "x"},
    "plan.settings.wings": 2,
    "plan.settings.env": 7,
    "finished": "nearly",
    "versions": [1],
    "judge_episodes": "x",
}


@pytest.mark.parametrize("path", WRONG_TYPES)
def test_values_of_a_wrong_type_are_one_line_also_under_a_right_seal(path, tmp_path):
    run = Run.begin(tmp_path / "run", plan_of())
    *outer, name = path.strip().split(".")

    def change(values):
        for key in outer:
            values = values[key]
        values[name] = WRONG_TYPES[path]

    rewritten(run, change)
    with pytest.raises((FolderError, ConfigurationError)) as error:
        Run.open(run.folder).new_agent()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["episodes.csv", "evaluations.csv"])
def test_a_damaged_log_is_written_anew_from_what_the_agent_remembers(name, whole, copied):
    place = copied.folder / "logs" / name
    content = bytearray(place.read_bytes())
    content[-5] ^= 1
    place.write_bytes(content)
    assert copied.damaged_logs() == [place]
    copied.train(progress=False)
    assert logs(copied) == logs(whole[0])


def test_a_damaged_log_that_nobody_remembers_is_kept_beside(copied):
    place = copied.folder / "logs" / "progress.csv"
    content = place.read_bytes().replace(b"50,", b"60,", 1)
    place.write_bytes(content)
    with pytest.warns(HunchWarning, match=r"damaged and begins anew; .* 'damaged-progress\.csv'"):
        copied.train(progress=False)
    assert place.with_name("damaged-progress.csv").read_bytes() == content


def test_a_damaged_summary_is_noticed(copied):
    agent = copied.last_agent()
    summarize(copied, agent, episodes=1)
    place = copied.folder / "summary.json"
    assert Run.open(copied.folder).summary()["steps"] == 400
    place.write_text(place.read_text().replace("400", "500"))
    with pytest.raises(FolderError, match=r"summary\.json' is not as hunch wrote it"):
        Run.open(copied.folder).summary()


def test_an_older_checkpoint_is_not_taken_without_a_word(copied):
    newest = copied.checkpoint.all()[-1]
    (newest / "state.safetensors").unlink()
    with pytest.warns(HunchWarning, match=r"is missing; .* The checkpoint before it is taken"):
        assert copied.last_agent().steps == 300


def test_two_runs_begun_at_once_leave_one_and_no_litter(tmp_path, monkeypatch):
    second = []

    def meanwhile(path):
        if not second:
            second.append(True)
            Run.begin(tmp_path / "run", plan_of())

    monkeypatch.setattr("hunch.storage.folders.flush", meanwhile)
    with pytest.raises(FolderError, match="is a run already"):
        Run.begin(tmp_path / "run", plan_of())
    assert [p.name for p in tmp_path.iterdir()] == ["run"]
    assert Run.open(tmp_path / "run").plan == plan_of()
