"""What `hunch bench kills` stands on: moments of processor time, and files that are compared."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

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
