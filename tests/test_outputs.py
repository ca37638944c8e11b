"""Outputs of every command: never over what hunch did not write, wherever a name leads."""

import os
import stat

import numpy as np
import pyarrow as pa
import pytest

from hunch.cli.main import run
from hunch.rl import DQN
from hunch.storage import new_folder
from hunch.tables.columns import Columns
from hunch.tables.model import KIND, train
from hunch.tables.target import Target

YEARS = b"years of work"


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A table, a model of it, an agent and a benchmark."""
    place = tmp_path_factory.mktemp("inputs")
    x = np.arange(40) / 40
    (place / "a.csv").write_text("x,y\n" + "".join(f"{v},{2 * v}\n" for v in x))
    table = pa.table({"x": x, "y": 2 * x})
    rules, features = Columns.learn_and_encode(table.select(["x"]))
    target = Target("y", "regression")
    with new_folder(place / "model", KIND) as folder:
        train(rules, target, features, 2 * x, members=2, progress=False).put(folder)
    DQN("CartPole-v1", hidden_sizes=(4,)).save(place / "agent")
    (place / "scripts").mkdir()
    (place / "scripts" / "nothing.py").write_text(
        '"""Nothing."""\nprint("| a |\\n|---|\\n| 1 |")\n'
    )
    return place


@pytest.fixture
def commands(inputs, tmp_path, monkeypatch):
    """Each command by its name: the words before its output, and the output's name."""
    import hunch.cli.bench
    from hunch.experiments.demo.outcome import Outcome
    from hunch.experiments.demo.runner import Part
    from hunch.experiments.uncertainty import linear_posterior

    done = Outcome(summary="", blocks=[], checks=[], results={})
    monkeypatch.setattr(Part, "run", lambda self, **settings: done)
    monkeypatch.setattr(linear_posterior, "Settings", linear_posterior.Settings.quick)
    monkeypatch.setattr(hunch.cli.bench, "_PLACES", (inputs / "scripts",))
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    data, model = str(inputs / "a.csv"), str(inputs / "model")
    small = ["--steps=20", "--set=hidden_sizes=4", "--eval-every=0"]
    return {
        "fit": (["fit", data, "--target=y", "--members=2", "--out"], "out", ""),
        "predict": (["predict", model, data, "--out"], "out.csv", ""),
        "train": (["train", "dqn", "CartPole-v1", *small, "--out"], "out", ""),
        "play": (["play", str(inputs / "agent"), "--episodes=1", "--video"], "out.mp4", ""),
        "reproduce": (["reproduce", "linear-posterior", "--out"], "", "linear-posterior.json"),
        "demo": (["demo", "--quick", "--out"], "out", ""),
        "bench": (["bench", "nothing", "--out"], "", "bench-nothing.md"),
        "diagnose": (["diagnose", "jump", "-n", "4", "--repeats=10", "--out"], "out.svg", ""),
    }


NAMES = ["fit", "predict", "train", "play", "reproduce", "demo", "bench", "diagnose"]


def called(commands, name, folder):
    """Call a command with its output in a folder; its exit code."""
    words, own, _ = commands[name]
    return run([*words, f"{folder}/{own}" if own else folder])


def place_of(commands, name, folder):
    _, own, inner = commands[name]
    return folder / (own or inner)


def one_line(capsys):
    said = [s for s in capsys.readouterr().err.splitlines() if "loading torch" not in s]
    assert len(said) == 1, said
    return said[0]


@pytest.mark.parametrize("there", ["file", "link", "broken link", "loop", "pipe", "null device"])
@pytest.mark.parametrize("name", NAMES)
def test_nothing_of_the_users_is_overwritten(name, there, commands, tmp_path, capsys):
    place = place_of(commands, name, tmp_path)
    mine = tmp_path / "mine"
    mine.write_bytes(YEARS)
    if there == "file":
        place.write_bytes(YEARS)
    elif there == "link":
        place.symlink_to(mine)
    elif there == "broken link":
        place.symlink_to(tmp_path / "nothing")
    elif there == "loop":
        place.symlink_to(place)
    elif there == "pipe":
        os.mkfifo(place)
    else:
        # A link to it, and not a device itself: a fault here must do no harm.
        place.symlink_to(os.devnull)
    before = os.lstat(place)
    assert called(commands, name, ".") == 2
    assert one_line(capsys).startswith("hunch: ")
    after = os.lstat(place)
    assert (before.st_ino, before.st_mode, before.st_mtime_ns) == (
        after.st_ino,
        after.st_mode,
        after.st_mtime_ns,
    )
    assert mine.read_bytes() == YEARS
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted({"home", "mine", place.name})


@pytest.mark.parametrize("name", NAMES)
def test_a_home_folder_is_expanded_before_it_is_looked_at(name, commands, tmp_path, capsys):
    place = place_of(commands, name, tmp_path / "home")
    place.write_bytes(YEARS)
    assert called(commands, name, "~") == 2
    one_line(capsys)
    assert place.read_bytes() == YEARS
    assert called(commands, name, "~nosuchuser") == 2
    assert "a user that is not known" in one_line(capsys)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["home"]


SLOW = ("fit", "reproduce", "diagnose", "bench")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n in SLOW)) for n in NAMES]
)
def test_what_hunch_wrote_it_replaces_and_the_umask_decides_who_reads_it(
    name, commands, tmp_path, capsys
):
    if name == "play":
        pytest.importorskip("imageio_ffmpeg")
    before = os.umask(0o027)
    try:
        assert called(commands, name, "~") == 0, capsys.readouterr().err
        # A run is gone on with, not replaced; that a claim is, tests/cli/test_cli.py sees.
        if name not in ("train", "reproduce"):
            assert called(commands, name, "~") == 0, capsys.readouterr().err
    finally:
        os.umask(before)
    capsys.readouterr()
    written = [p for p in (tmp_path / "home").rglob("*") if ".cache" not in p.parts]
    assert written
    assert place_of(commands, name, tmp_path / "home") in written
    for file in written:
        assert stat.S_IMODE(file.stat().st_mode) == (0o750 if file.is_dir() else 0o640), file
    assert not [p for p in written if ".hunch-" in p.name]


@pytest.mark.parametrize(
    "name", ["report.html", "summary.json", "logs/episodes.csv", ".lock", "best"]
)
def test_no_link_in_a_strangers_run_leads_to_a_file_of_the_users(
    name, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    small = ["--steps=40", "--set=hidden_sizes=4", "--eval-every=20", "--set=batch_size=8"]
    assert run(["train", "dqn", "CartPole-v1", *small, "--out=a"]) == 0
    capsys.readouterr()
    mine = tmp_path / "mine"
    mine.write_bytes(YEARS)
    theirs = tmp_path / "a" / name
    if theirs.is_dir():
        theirs.rename(tmp_path / "b")
    theirs.unlink(missing_ok=True)
    theirs.symlink_to(mine)
    assert run(["train", "--resume=a", "--steps=60"]) == 2
    assert "is a link to" in capsys.readouterr().err
    assert mine.read_bytes() == YEARS
