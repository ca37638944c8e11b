"""What `hunch bench kills` stands on: moments of processor time, and files that are compared."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from hunch.errors import FolderError
from hunch.rl import Plan, Run

pytest.importorskip("fcntl")
if not Path("/proc/self/task").is_dir():
    pytest.skip("Linux alone tells what other processes use", allow_module_level=True)


@pytest.fixture
def killing(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    import measuring.killing

    return measuring.killing


@pytest.fixture
def kills(killing):
    pytest.importorskip("matplotlib")
    import kills

    return kills


def spin():
    while True:
        pass


def test_a_process_is_killed_once_it_has_used_its_time(killing, tmp_path):
    process = killing.Watched.fork(spin, tmp_path)
    assert process.wait_for(0.1)
    used = process.seconds()
    process.kill()
    assert 0.1 <= used < 5
    assert process.end()[0] == -signal.SIGKILL


def test_one_that_ended_before_is_not_killed(killing, tmp_path):
    process = killing.Watched.begin([sys.executable, "-c", "raise SystemExit(3)"], tmp_path, {})
    assert not process.wait_for(1000.0)
    process.kill()
    assert process.end()[0] == 3


@pytest.mark.parametrize("alone", [True, False])
def test_what_it_started_is_killed_too_unless_it_is_killed_alone(killing, tmp_path, alone):
    def family():
        if os.fork() == 0:
            os.setsid()  # as the process that does a study's jobs
        spin()

    process = killing.Watched.fork(family, tmp_path)
    assert process.wait_until(lambda: len(killing.family(process.process.pid)) == 2)
    _, child = process.kill(alone=alone)
    deadline = time.monotonic() + (0.2 if alone else 10)
    while killing.is_there(child) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert killing.is_there(child) == alone
    if alone:
        os.kill(child, signal.SIGKILL)


def test_all_is_compared_but_what_the_clock_says(kills, tmp_path):
    def run(name, seconds, steps, more=()):
        place = tmp_path / name / "run"
        place.mkdir(parents=True)
        values = f'"steps": {steps},\n"seconds": {seconds},\n"seal": "{name}"\n'
        (place / "run.json").write_text(f"{{{values}}}")
        for file in more:
            (place / file).mkdir()
        return kills.content(tmp_path / name)

    one = run("a", 1.5, 3)
    assert kills.differences(run("b", 2.5, 3), one) == ""
    assert kills.differences(run("c", 1.5, 4), one) == "run/run.json"
    assert kills.differences(run("d", 1.5, 3, [".x.hunch-1"]), one) == "run/.x.hunch-1/ is new"
    assert kills.differences({}, one) == "no run/, no run/run.json"
    assert kills.differences({"a/b.txt": b"", **one}, one, ["a/*.txt"]) == ""


def test_a_process_is_stopped_right_behind_a_call(killing, tmp_path):
    def three():
        (tmp_path / "a").write_text("all")
        Path("b").mkdir()
        (tmp_path / "a").read_text()
        Path("/dev/null").write_text("elsewhere")
        os.replace("a", "c")

    def left_by(number):
        for place in tmp_path.iterdir():
            place.rmdir() if place.is_dir() else place.unlink()
        changes = killing.Changes(number)
        process = killing.Watched.fork(lambda: changes.begin() or three() or 0, tmp_path)
        stopped = process.wait_until(lambda: killing.is_stopped(process.process.pid))
        process.kill()
        process.end()
        assert stopped == (number <= 3)
        assert len(changes.made()) == min(number, 3)
        return {p.name: p.is_dir() or p.read_text() for p in tmp_path.iterdir()}

    assert left_by(1) == {"a": ""}
    assert left_by(2) == {"a": "all", "b": True}
    assert left_by(3) == {"b": True, "c": "all"}
    assert left_by(4) == {"b": True, "c": "all"}


def test_calls_that_differ_in_numbers_are_of_one_kind(killing):
    calls = [
        "os.mkdir 'a/.step-40.hunch-0a1b2c3d'",
        "open 'a/b'",
        "os.mkdir 'a/.step-80.hunch-99999999'",
    ]
    assert killing.kinds(calls) == {"os.mkdir 'a/.step-#.#'": [1, 3], "open 'a/b'": [2]}


def judged(kills, place, command, **how):
    """A case of which there was an older output, without the runs that would say how it ends."""
    case = object.__new__(kills.Case)
    case.command, case.over, case.steps = command, True, 0
    case.before = {unit: kills.content(place / unit) for unit in command.units(place)}
    case.units = {}
    for name, value in how.items():
        setattr(case, name, value)
    return case


def test_what_is_torn_is_refused(kills, tmp_path):
    place = tmp_path / "place"
    settings = {"env": "CartPole-v1", "seed": 0, "replicas": 1}
    run = Run.begin(place / "run", Plan("DQN", settings, steps=300))
    (place / "p.csv").write_text("x,y\n1,2\n")
    (place / "claims").mkdir()
    (place / "claims" / "noisy-layers.json").write_text('{"holds": true}')
    cases = {
        name: judged(kills, place, kills.COMMANDS[name])
        for name in ("train dqn", "predict", "reproduce")
    }
    said = {name: case.check_whole(place) for name, case in cases.items()}
    assert said == {"train dqn": [], "predict": [], "reproduce": []}
    for file in (run.folder / "run.json", place / "p.csv", place / "claims" / "noisy-layers.json"):
        file.write_bytes(file.read_bytes()[:-5])
    (of_run,) = cases["train dqn"].check_whole(place)
    assert of_run.startswith("cannot be loaded: ")
    assert "run.json" in of_run
    assert cases["predict"].check_whole(place) == ["p.csv is neither the old one nor the new one"]
    assert len(cases["reproduce"].check_whole(place)) == 2
    cases["predict"].units = {"p.csv": kills.content(place / "p.csv")}
    assert cases["predict"].check_whole(place) == []
    (place / "p.csv").unlink()
    assert cases["predict"].check_whole(place) == ["the old output is gone"]


def test_a_checkpoint_that_was_lost_is_missed(kills, tmp_path):
    settings = {"env": "CartPole-v1", "seed": 0, "replicas": 1}
    Run.begin(tmp_path / "run", Plan("DQN", settings, steps=300))
    case = judged(kills, tmp_path, kills.COMMANDS["train dqn"], steps=200)
    assert case.check_whole(tmp_path) == ["steps are lost"]


WHOLE, TORN, LATE = "whole", "torn", "late"
OLD, NEW = b"old" * 9, b"new" * 9


def writer(how):
    """In place of a command: one that writes `out`, in this way."""

    def spin_for(seconds):
        end = time.process_time() + seconds
        while time.process_time() < end:
            pass

    def work(words):
        spin_for(0.02)
        if words == ["older"]:
            Path("out").write_bytes(OLD)
        elif how == TORN:  # in its place; in one call, so that moments by chance would miss it
            Path("out").write_bytes(NEW)
        else:
            Path("aside").write_bytes(NEW)
            spin_for(0.02)
            if how == LATE and Path("out").exists():
                Path("out").unlink()
            os.replace("aside", "out")
        spin_for(0.02)
        return 0

    return work


def check_out(place):
    if place.read_bytes() not in (OLD, NEW):
        raise FolderError("it is torn")


@pytest.mark.parametrize(
    ("how", "says"),
    [
        (WHOLE, None),
        (TORN, "out is neither the old one nor the new one"),
        (LATE, "the old output is gone"),
    ],
)
def test_a_writer_that_is_broken_is_found_out(kills, tmp_path, monkeypatch, how, says):
    start = kills.Case.start
    monkeypatch.setattr(kills, "run", writer(how))
    monkeypatch.setattr(
        kills.Case, "start", lambda *a, anew=False, **more: start(*a, **more)
    )  # never anew, since it is no command
    command = kills.Command("write", "out", "older", check_out, kills.just("out"))
    (tmp_path / "inputs").mkdir()
    cases = [kills.Case(command, tmp_path / "inputs", over, tmp_path) for over in (False, True)]
    assert len(cases[1].calls) == {WHOLE: 2, TORN: 1, LATE: 3}[how]
    found = kills.kills({"write": cases}, tmp_path, 8, seed=0)["write"]
    assert (found.kills, found.late, found.over, found.alone) == (8, 4, 4, 4)
    behind, faults = kills.kills_behind_calls({"write": cases}, tmp_path, seed=0)
    if says is None:
        assert found.faults == faults == []
        assert found.whole == found.equal == 8
        assert behind == {"write": "2 of 2"}
    else:  # moments by chance may all be others
        assert any(says in fault for fault in faults)
        assert behind == {"write": {TORN: "0 of 1", LATE: "2 of 3"}[how]}


def test_one_that_is_never_met_alive_is_a_fault(kills, tmp_path):
    case = judged(kills, tmp_path, kills.COMMANDS["predict"], begun=tmp_path / "begun")
    case.begun.mkdir()

    def start(place):
        process = kills.Watched.fork(lambda: 0, place)
        process.process.wait()
        return process

    found = kills.killed(case, start, tmp_path, alone=False)
    assert found == (["had ended before 100 moments"], [])
    assert [p.name for p in tmp_path.iterdir()] == ["begun"]
