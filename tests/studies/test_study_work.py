"""Workers: results once and equal bit for bit, whatever becomes of those who make them."""

import errno
import gc
import json
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings

import click
import pytest
from study_bits import bits, check_tidy, start, study_file, to_the_end

from hunch.cli.main import run
from hunch.cli.study import study as command
from hunch.cli.study_file import read_study
from hunch.errors import FolderError, HunchError
from hunch.studies import Study, live
from hunch.studies.claims import started, this_process
from hunch.studies.hand import Hand
from hunch.studies.runner import has_no_room
from hunch.studies.work import work

pytest.importorskip("fcntl")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A study done by one worker, and its file."""
    place = tmp_path_factory.mktemp("studies")
    study_file(place)
    said, errors = to_the_end("small.toml", "--out=one", "--workers=1", cwd=place)
    assert "dqn    CartPole-v1   4/4" in said
    assert "4 jobs in one" in errors
    check_tidy(place / "one")
    return place


@pytest.fixture
def begun(place, tmp_path):
    """The same study, of which nothing is done."""
    (tmp_path / "study").mkdir()
    shutil.copy(place / "one" / "study.json", tmp_path / "study")
    return Study.open(tmp_path / "study")


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.005)
    return found


def checkpoints(study):
    """Checkpoints that attempts have written so far."""
    return [p.name for p in study.folder.glob("jobs/*/*/attempt-*/checkpoints/step-*")]


def test_done_work_is_skipped_and_another_file_refused(place):
    before = {p: p.stat().st_mtime_ns for p in (place / "one").rglob("*") if p.is_file()}
    to_the_end("small.toml", "--out=one", cwd=place)
    assert {p: p.stat().st_mtime_ns for p in (place / "one").rglob("*") if p.is_file()} == before
    (place / "other.toml").write_text(
        study_file(place).read_text().replace("steps = 6", "steps = 7")
    )
    _, errors = to_the_end("other.toml", "--out=one", cwd=place, code=2)
    assert "other cells, seeds or limits" in errors


def test_what_a_killed_worker_left_is_taken_up_from_its_checkpoint(place, begun):
    worker = start("work", begun.folder, "--workers=2", cwd=place)
    wait_for(lambda: "step-000000000300" in checkpoints(begun))
    worker.kill()
    worker.communicate()
    left = max(checkpoints(begun))
    status = work(begun, 2, progress=False)
    assert status.done == 4
    assert bits(begun.folder) == bits(place / "one")
    check_tidy(begun.folder)
    assert left >= "step-000000000300"


def test_an_attempt_begins_where_the_one_before_it_ended(place, begun, monkeypatch):
    job = begun.jobs[0]
    shutil.copytree(
        place / "one" / "jobs" / "dqn-CartPole-v1" / "0" / "run",
        begun.job_folder(job) / "attempt-000001",
    )
    (begun.job_folder(job) / "claim-000001").touch()
    (begun.job_folder(job) / "claim-000001.free").touch()
    marked = begun.job_folder(job) / "attempt-000001" / "checkpoints" / "mark"
    marked.touch()
    assert work(begun, 1, progress=False).done == 4
    assert (begun.output_folder(job) / "checkpoints" / "mark").exists()
    assert bits(begun.folder) == bits(place / "one")


def test_two_workers_do_each_job_once(place, begun):
    others = [start("work", begun.folder, "--workers=1", cwd=place) for _ in range(2)]
    for other in others:
        _, errors = other.communicate(timeout=300)
        assert other.returncode == 0, errors
        assert " times: " not in errors, "none of their attempts failed"
    assert bits(begun.folder) == bits(place / "one")
    check_tidy(begun.folder)


def test_ctrl_c_leaves_a_study_that_goes_on(place, begun):
    worker = start(
        "work", begun.folder, "--workers=1", cwd=place,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    wait_for(lambda: checkpoints(begun))
    worker.send_signal(signal.SIGINT)
    _, errors = worker.communicate(timeout=60)
    assert worker.returncode == 130, errors
    assert f"go on with: hunch study work {begun.folder}" in errors
    assert begun.status().running == 0, "its claims are let go of"
    assert begun.status().left > 0
    assert work(begun, 1, progress=False).done == 4
    assert bits(begun.folder) == bits(place / "one")


@pytest.mark.slow
def test_a_worker_that_slept_for_a_lease_has_lost_its_job_and_does_no_harm(place, tmp_path):
    study_file(tmp_path, seeds=1, steps=4000, lease=1)
    to_the_end("small.toml", "--out=whole", "--workers=1", cwd=tmp_path)
    (tmp_path / "study").mkdir()
    shutil.copy(tmp_path / "whole" / "study.json", tmp_path / "study")
    study = Study.open(tmp_path / "study")
    worker = start("work", study.folder, "--workers=1", cwd=place)
    wait_for(lambda: checkpoints(study))
    runner = wait_for(lambda: children(worker.pid))[0]
    for pid in (worker.pid, runner):
        os.kill(pid, signal.SIGSTOP)
    other = start("work", study.folder, "--workers=1", cwd=place)
    wait_for(lambda: list(study.folder.glob("jobs/*/*/attempt-000002/checkpoints/step-*")))
    for pid in (runner, worker.pid):
        os.kill(pid, signal.SIGCONT)
    for process in (worker, other):
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    assert bits(study.folder) == bits(tmp_path / "whole")
    check_tidy(study.folder)


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return list(map(int, file.read().split()))


def test_a_result_that_is_there_already_stays(place, begun):
    """Whoever comes second finds the place taken, and what it made is dropped."""
    job = begun.jobs[0]
    source = place / "one" / "jobs" / "dqn-CartPole-v1" / "0" / "run"
    shutil.copytree(source, begun.output_folder(job))
    mark = begun.output_folder(job) / "mark"
    mark.touch()
    assert work(begun, 1, progress=False).done == 4
    assert mark.exists()
    assert bits(begun.folder) == bits(place / "one")


def test_who_died_between_a_result_and_its_record_leaves_nothing_else(place, begun):
    folders = [begun.job_folder(job) for job in begun.jobs]
    for job, folder in zip(begun.jobs, folders, strict=True):
        shutil.copytree(place / "one" / folder.relative_to(begun.folder), folder)
        assert begun.output_folder(job).is_dir()
        (folder / "attempt-000001").mkdir()
        for left in ("claim-000002", "output-000002.txt"):
            (folder / left).touch()
        (folder / "claim-000002.free").touch()
    assert work(begun, 1, progress=False).done == 4
    assert bits(begun.folder) == bits(place / "one")
    assert [[p.name for p in folder.iterdir()] for folder in folders] == [["run"]] * 4


def test_who_died_between_a_record_and_tidying_up_leaves_nothing_to_the_next(place, tmp_path):
    shutil.copytree(place / "one", tmp_path / "one")
    study = Study.open(tmp_path / "one")
    first, second = (study.job_folder(job) for job in study.jobs[:2])
    (first / "claim-000001").write_text(json.dumps(this_process() | {"started": 1}))  # it is dead
    (first / "attempt-000001").mkdir()
    (first / "output-000001.txt").touch()
    (study.record_file(study.jobs[0]).parent / ".0.json.hunch-0a1b2c3d").touch()
    (second / "claim-000003.free").touch()
    (second / "claim-000003").touch()
    (second / "output-000002.txt").write_text("printed")
    assert work(study, 1, progress=False).done == 4
    assert [p.name for p in first.iterdir()] == ["run"]
    assert {p.name for p in second.iterdir()} == {"run", "output-000002.txt"}
    check_tidy(study.folder)
    assert bits(study.folder) == bits(place / "one")


@pytest.mark.slow
def test_a_result_that_was_damaged_before_its_record_was_written_is_made_anew(place, begun):
    job = begun.jobs[0]
    shutil.copytree(
        place / "one" / "jobs" / "dqn-CartPole-v1" / "0" / "run", begun.output_folder(job)
    )
    (begun.output_folder(job) / "summary.json").write_text("{}")
    said = []
    assert work(begun, 1, progress=False, tell=said.append).done == 4
    assert len(said) == 1
    assert "done anew" in said[0]
    assert bits(begun.folder) == bits(place / "one")


ODD = """
import errno, os, signal, sys, time
import gymnasium


class Odd(gymnasium.Wrapper):
    def __init__(self, env, way):
        super().__init__(env)
        self.way, self.seen = way, 0

    def step(self, action):
        self.seen += 1
        if self.seen == 40 and "study_runner" in sys.argv[0] or os.environ.get("ODD"):
            if self.way == "raises":
                raise RuntimeError("the lake is frozen")
            if self.way == "fills":
                with open("filled", "x"):  # tried once: the next time another error is raised
                    pass
                raise OSError(errno.ENOSPC, "No space left on device")
            if self.way == "dies":
                os.kill(os.getpid(), signal.SIGSEGV)
            if self.way == "sleeps":
                time.sleep(60)
            if self.way == "hoards":
                self.hoard = bytearray(os.urandom(1000)) * 1_000_000
                time.sleep(60)
        return super().step(action)


def make_env(way="is fine"):
    return Odd(gymnasium.make("CartPole-v1"), way)
"""
ODD_STUDY = """
agents = ["dqn"]
envs = [
    "odd.py:make_env",
    {env = "odd.py:make_env", label = "raises", env_kwargs = {way = "raises"}},
    {env = "odd.py:make_env", label = "dies", env_kwargs = {way = "dies"}},
]
steps = 120
eval-every = 0
[set]
hidden_sizes = "8"
batch_size = 8
replay_capacity = 500
"""


@pytest.fixture
def odd(tmp_path, monkeypatch):
    """Begins a study whose jobs go wrong, each in its way; all of them, or one with a limit."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "odd.py").write_text(ODD)

    def begin(way=None, limit="retries = 0"):
        lines = ODD_STUDY.splitlines()
        if way is not None:
            kept = f'envs = [{{env = "odd.py:make_env", label = "odd", env_kwargs = {{way = "{way}"}}}}]'
            lines[2:7] = [kept]
        (tmp_path / "odd.toml").write_text("\n".join([limit, *lines]) + "\n")
        read = read_study(click.Context(command), "odd.toml")
        assert read.own == ["odd.py:make_env"] * len(read.own)
        return Study.begin("study", read.cells, read.limits)

    return begin


def said_by(study):
    told = []
    status = work(study, 2, own=["odd.py:make_env"], progress=False, tell=told.append)
    return status, {row["job"]: row.get("reason") for row in study.rows()}, told


def test_why_jobs_failed_is_said_in_a_line_each_and_the_others_are_done(odd, tmp_path, capsys):
    study = odd()
    status, reasons, told = said_by(study)
    assert str(status) == "1 done, 0 running, 2 failed, 0 left"
    assert reasons["dqn-odd.py-make_env/0"] is None
    assert reasons["dqn-raises/0"].startswith(
        "RuntimeError: the lake is frozen (in odd.py, line 15"
    )
    assert reasons["dqn-dies/0"] == "its process was ended by SIGSEGV"
    assert "dqn-dies/0 failed, 1 of 1 times: its process was ended by SIGSEGV" in told
    assert (
        "the lake is frozen" in (study.folder / "jobs/dqn-raises/0/output-000001.txt").read_text()
    )
    assert run(["study", "status", "study"]) == 1
    assert "dqn-dies/0 failed: its process was ended by SIGSEGV" in capsys.readouterr().out
    # What failed is settled, until somebody wants it tried again.
    assert work(study, 1, own=["odd.py:make_env"], progress=False).failed == 2
    assert study.forget_failures() == 2
    assert study.status().left == 2
    (tmp_path / "odd.py").write_text(ODD.replace("self.seen == 40", "False"))
    assert said_by(study)[0].done == 3


@pytest.mark.parametrize(
    ("way", "limit", "says"),
    [
        ("sleeps", "time-limit = 2", "it took longer than the time limit of 2 s"),
        ("hoards", "memory-limit = 900", r"it held [\d,]+ MiB, and the memory limit is 900 MiB"),
    ],
)
def test_a_job_beyond_a_limit_is_ended(odd, way, limit, says):
    status, reasons, _ = said_by(odd(way, f"retries = 0\n{limit}"))
    assert status.failed == 1
    assert re.fullmatch(says, reasons["dqn-odd/0"])


def test_a_job_that_failed_is_tried_again_where_it_was(odd, tmp_path):
    """The lake thaws when somebody has looked: the second attempt ends what the first began."""
    thawing = ODD.replace(
        'raise RuntimeError("the lake is frozen")',
        "os.path.exists('looked') or (open('looked', 'w'), 1 / 0)",
    )
    (tmp_path / "odd.py").write_text(thawing)
    status, _, told = said_by(odd("raises", "retries = 1"))
    assert told[0].startswith("dqn-odd/0 failed, 1 of 2 times: ZeroDivisionError")
    assert status.done == 1


def test_a_full_disk_ends_the_worker_and_no_job_has_failed(odd, tmp_path):
    study = odd("fills")
    with pytest.raises(
        FolderError, match=r"dqn-odd/0 stopped: .*full.* goes on .* hunch study work"
    ):
        said_by(study)
    assert study.status().failed == 0
    assert study.failures(study.jobs[0]) == []
    (tmp_path / "odd.py").write_text(ODD.replace("self.seen == 40", "False"))
    assert said_by(study)[0].done == 1


def raised_from(cause, error):
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "is_so"),
    [
        (OSError(errno.ENOSPC, "no space"), True),
        (OSError(errno.EDQUOT, "a quota"), True),
        (OSError(errno.EROFS, "read only"), True),
        (OSError(errno.ENOENT, "no file"), False),
        (ValueError(f"I/O error: no space left (os error {errno.ENOSPC})"), True),
        (ValueError(f"I/O error: no such file (os error {errno.ENOENT})"), False),
        (raised_from(OSError(errno.ENOSPC, "no space"), FolderError("cannot write")), True),
        (raised_from(OSError(errno.EACCES, "no right"), FolderError("cannot write")), False),
    ],
)
def test_what_is_a_disk_without_room(error, is_so):
    assert has_no_room(error) == is_so
    outer = RuntimeError("while that was handled")
    outer.__context__ = error
    assert has_no_room(outer) == is_so


def test_code_that_only_the_folder_names_is_not_run(odd, tmp_path, capfd):
    odd()
    (tmp_path / "odd.py").write_text("open('was-run', 'w')")
    capfd.readouterr()
    assert run(["study", "work", "study", "--workers=1", "--quiet"]) == 2
    errors = capfd.readouterr().err
    assert "names odd.py:make_env, and a folder is no reason to run code" in errors
    assert errors.count("\n") == 1
    assert not (tmp_path / "was-run").exists()


def test_a_worker_that_cannot_begin_says_why(begun, monkeypatch):
    monkeypatch.setattr(
        "hunch.studies.hand._COMMAND", ("python3", "-c", "raise OSError('no torch')")
    )
    with pytest.raises(HunchError, match="cannot begin: OSError: no torch"):
        work(begun, 2, progress=False)


def test_a_hand_that_ended_leaves_no_file_open(monkeypatch):
    monkeypatch.setattr("hunch.studies.hand._COMMAND", ("cat",))
    heard = queue.SimpleQueue()
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        hand = Hand({"study": "none"}, heard)
        hand.start()
        hand.end()
        while heard.get(timeout=10)[2] is not None:  # the last thing that its listener says
            pass
        del hand
        gc.collect()
    assert not seen


def test_a_runner_ends_with_its_worker(begun):
    program = (
        "import sys, time; from hunch.studies.hand import Hand; import queue;"
        "hand = Hand(dict(study=sys.argv[1], own=[], imports=[], trust=False), queue.SimpleQueue());"
        "hand.start(); print(hand.pid, flush=True); time.sleep(60)"
    )
    words = [sys.executable, "-c", program, begun.folder]
    worker = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    runner = int(worker.stdout.readline())
    worker.kill()
    worker.wait()
    wait_for(lambda: not os.path.exists(f"/proc/{runner}") or is_gone(runner), 20)


def is_gone(pid):
    return started(pid) is None


def test_a_line_says_where_it_stands_every_ten_seconds(begun, capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(live.time, "monotonic", lambda: now[0])
    lines = live.Live(begun)
    for _ in range(25):
        now[0] += 1
        lines.show()
    assert capsys.readouterr().err.splitlines() == [
        "hunch: 0 done, 0 running, 0 failed, 4 left (0:10)",
        "hunch: 0 done, 0 running, 0 failed, 4 left (0:20)",
    ]


@pytest.mark.slow
def test_work_in_a_thread_and_by_python_alone(place, begun):
    """Where signals do not arrive, and without a guard around the main program."""
    done = []
    thread = threading.Thread(target=lambda: done.append(work(begun, 2, progress=False)))
    thread.start()
    thread.join()
    assert done[0].done == 4
    assert bits(begun.folder) == bits(place / "one")


def test_a_folder_that_cannot_be_written(begun):
    if os.getuid() == 0:
        pytest.skip("root may write anywhere")
    begun.folder.chmod(0o500)
    try:
        with pytest.raises((FolderError, OSError)):
            work(begun, 1, progress=False)
    finally:
        begun.folder.chmod(0o700)
