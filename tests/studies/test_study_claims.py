"""Claims: one worker at a time, whoever dies, sleeps or comes late."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest

from hunch.studies import claims
from hunch.studies.claims import Watch, claim, clear, newest

ANOTHER_MACHINE = {"host": "another", "pid": 1, "machine": "another's", "started": 1}


def take(folder, start, won):
    start.wait()
    if claim(folder, Watch(60)) is not None:
        won.put(os.getpid())
    time.sleep(1)  # who has died has no claim


def test_of_many_who_claim_at_once_one_succeeds(tmp_path):
    context = multiprocessing.get_context("fork")
    for attempt in range(5):
        start, won = context.Event(), context.Queue()
        folder = tmp_path / str(attempt)
        others = [context.Process(target=take, args=(folder, start, won)) for _ in range(8)]
        for other in others:
            other.start()
        start.set()
        winner = won.get(timeout=20)
        for other in others:
            other.join()
        assert won.empty()
        assert json.loads((folder / "claim-000001").read_text())["pid"] == winner


def test_who_looked_before_another_claimed_comes_second(tmp_path, monkeypatch):
    """A disk of the network may show what was there a minute ago."""
    monkeypatch.setattr(claims, "newest", lambda folder: (0, True))
    assert claim(tmp_path, Watch(60)).number == 1
    assert claim(tmp_path, Watch(60)) is None


def test_a_claim_is_void_as_soon_as_its_process_was_killed(tmp_path):
    program = (
        "import sys, time; from pathlib import Path; from hunch.studies.claims import *;"
        "claim(Path(sys.argv[1]), Watch(60)); print('claimed', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", program, tmp_path], stdout=subprocess.PIPE)
    other.stdout.readline()
    watch = Watch(60)
    assert claim(tmp_path, watch) is None
    other.send_signal(signal.SIGSTOP)
    assert claim(tmp_path, watch) is None, "one that is stopped may go on"
    other.kill()
    deadline = time.monotonic() + 10
    while (mine := claim(tmp_path, watch)) is None and time.monotonic() < deadline:
        time.sleep(0.01)  # it is dead before anybody has waited for it
    assert mine.number == 2
    other.wait()


def test_a_process_of_the_same_number_that_began_later_is_another_one(tmp_path):
    tmp_path.joinpath("claim-000001").write_text(json.dumps(claims.this_process() | {"started": 1}))
    assert claim(tmp_path, Watch(60)).number == 2


@pytest.mark.parametrize("who", [json.dumps(ANOTHER_MACHINE), "", "nonsense", "[1]"])
def test_a_claim_of_another_machine_lasts_as_long_as_it_gives_signs(tmp_path, monkeypatch, who):
    now = [1000.0]
    monkeypatch.setattr(claims.time, "monotonic", lambda: now[0])
    file = tmp_path / "claim-000001"
    file.write_text(who)
    os.utime(file, (0, 0))  # that machine's clock is decades behind
    watch = Watch(60)
    for sign in range(1, 4):
        assert claim(tmp_path, watch) is None
        now[0] += 59
        assert claim(tmp_path, watch) is None
        os.utime(file, (sign, sign))
    assert claim(tmp_path, watch) is None
    now[0] += 61
    assert claim(tmp_path, watch).number == 2


def test_who_lost_a_claim_finds_out(tmp_path, monkeypatch):
    now = [0.0]
    mine = claim(tmp_path, Watch(60))
    watch = Watch(60)
    monkeypatch.setattr(claims.time, "monotonic", lambda: now[0])
    assert claim(tmp_path, watch) is None
    assert mine.holds()
    now[0] = 61.0  # this process lives, and seems to have slept
    other = claim(tmp_path, watch)
    assert other.number == 2
    assert not mine.holds()
    assert other.holds()


def test_no_number_is_used_twice_while_the_job_is_open(tmp_path):
    for number in range(1, 4):
        mine = claim(tmp_path, Watch(60))
        assert mine.number == number
        mine.let_go()
    assert newest(tmp_path) == (3, True)
    clear(tmp_path)
    assert newest(tmp_path) == (0, True)
