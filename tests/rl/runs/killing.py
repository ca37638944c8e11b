"""Train in a process of its own, kill it at a chosen moment, and compare what runs left behind."""

import json
import os
import signal
import subprocess
import sys
import time

from hunch.rl import Run

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


def start(*arguments):
    command = [sys.executable, "-m", "hunch", "train", *map(str, arguments)]
    return subprocess.Popen(
        command,
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # What a shell starts in the background ignores Ctrl-C, and so would its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def to_the_end(*arguments):
    process = start(*arguments)
    _, errors = process.communicate(timeout=1800)
    assert process.returncode == 0, errors
    return errors


def kill_at(process, folder, step, pause, by=signal.SIGKILL):
    """Kill a training `pause` seconds after its log has reached `step`; False if it ended before."""
    deadline = time.monotonic() + 1800
    while process.poll() is None and time.monotonic() < deadline:
        if logged_step(folder) >= step:
            time.sleep(pause)
            process.send_signal(by)
            break
        time.sleep(0.002)
    _, errors = process.communicate(timeout=600)
    return process.returncode == -signal.SIGKILL, errors


def logged_step(folder):
    try:
        rows = (folder / "logs" / "progress.csv").read_text().splitlines()
    except OSError:
        return 0
    return int(rows[-1].partition(",")[0]) if len(rows) > 1 and rows[-1].count(",") == 3 else 0


def left_behind(folder):
    """All that a run has learned: checksums of its last checkpoint and weights, bytes of its logs."""
    run = Run.open(folder)
    last = run.checkpoint.all()[-1]
    sums = [
        json.loads((place / "hunch.json").read_text())["files"] for place in (last, folder / "best")
    ]
    logs = {p.name: p.read_bytes() for p in (folder / "logs").glob("*.csv")}
    return last.name, sums, logs, (folder / "summary.json").read_text()
