"""Ctrl-C, SIGTERM and a killed program: every command ends in time, and so do its workers."""

import os
import signal
import subprocess
import sys
import time

import pytest

# Two seconds are promised on a machine with nothing else to do; tests run beside each other.
SECONDS = 2.0 if os.environ.get("HUNCH_QUIET_MACHINE") else 8.0
CSV = "a,b,price\n" + "".join(f"{i % 97},{i % 13},{i % 97 - i % 13}\n" for i in range(3000))
QUICK = ["--set=hidden_sizes=8", "--eval-every=0"]
COMMANDS = {
    "fit": ["fit", "a.csv", "--target=price"],
    "train": ["train", "dqn", "CartPole-v1", "--steps=1000000", *QUICK, "--out=new"],
    "play": ["play", "run", "--episodes=1000000"],
    "demo": ["demo", "--out=page"],
    "reproduce": ["reproduce", "chain"],
    "reproduce --jobs 2": ["reproduce", "chain", "--jobs=2"],
    "bench": ["bench", "ensemble"],
    "diagnose": ["diagnose", "coin", "--repeats=10000000"],
    "predict": ["predict", "model", "long.csv", "--out=new.csv"],
}


def start(words, folder):
    return subprocess.Popen(
        [sys.executable, "-m", "hunch", *words],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def group(leader):
    """Processes of the program's session that still run."""
    listed = subprocess.run(
        ["ps", "-e", "-o", "pid=,pgid=,stat="], capture_output=True, text=True, check=True
    )
    rows = [line.split() for line in listed.stdout.splitlines()]
    return [int(pid) for pid, own, stat in rows if int(own) == leader and not stat.startswith("Z")]


def wait_for(condition, seconds):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


def end_it(process, by, everybody):
    """Send the signal; return the seconds until the program and all that it began are gone."""
    sent = time.monotonic()
    try:
        os.killpg(process.pid, by) if everybody else process.send_signal(by)
        process.wait(timeout=30)
        assert wait_for(lambda: not group(process.pid), 30), "left behind"
        return time.monotonic() - sent
    finally:
        for pid in group(process.pid):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize(
    ("by", "everybody"),
    [
        (signal.SIGINT, True),
        pytest.param(signal.SIGTERM, False, marks=pytest.mark.slow),
        pytest.param(signal.SIGKILL, False, marks=pytest.mark.slow),
    ],
    ids=["Ctrl-C", "SIGTERM", "SIGKILL"],
)
def test_workers_end_with_the_program(by, everybody, tmp_path):
    process = start(COMMANDS["reproduce --jobs 2"], tmp_path)
    assert wait_for(lambda: len(group(process.pid)) >= 4, 60)  # itself, a tracker and two workers
    time.sleep(1.0)
    assert end_it(process, by, everybody) < SECONDS
    said = process.stderr.read()
    assert "Traceback" not in said
    if by != signal.SIGKILL:
        assert said.splitlines()[-1] == "hunch: interrupted"


def test_a_measurement_ends_with_the_program(tmp_path):
    process = start(COMMANDS["bench"], tmp_path)
    assert wait_for(lambda: len(group(process.pid)) >= 2, 60)
    time.sleep(0.5)
    assert end_it(process, signal.SIGKILL, everybody=False) < SECONDS


def test_an_interrupt_that_an_import_swallows_is_raised_again(tmp_path):
    (tmp_path / "greedy.py").write_text(
        "import os, signal, time\n"
        "try:\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    time.sleep(1)\n"
        "except BaseException:\n"
        "    pass\n"
        "time.sleep(60)\n"
    )
    started = time.monotonic()
    process = start(["play", "nosuch", "--import=greedy"], tmp_path)
    _, said = process.communicate(timeout=50)
    assert said.splitlines()[-1] == "hunch: interrupted"
    assert time.monotonic() - started < 30


@pytest.mark.proof
@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_ends_at_any_moment(name, by, tmp_path):
    (tmp_path / "a.csv").write_text(CSV)
    (tmp_path / "long.csv").write_text("a,b\n" + "1,2\n" * 3_000_000)
    for words in (
        ["fit", "a.csv", "--target=price", "--members=2"] if name == "predict" else [],
        ["train", "dqn", "CartPole-v1", "--steps=40", *QUICK, "--out=run"]
        if name == "play"
        else [],
    ):
        if words:
            assert start(words, tmp_path).wait() == 0
    for moment in (0.7, 1.0, 1.5, 2.5, 4.0, 7.0):
        process = start(COMMANDS[name], tmp_path)
        time.sleep(moment)
        if process.poll() is None:
            seconds = end_it(process, by, everybody=by == signal.SIGINT)
            assert seconds < SECONDS, (name, moment)
            assert process.returncode in (1, 130), (name, moment)
        assert "Traceback" not in process.stderr.read(), (name, moment)
