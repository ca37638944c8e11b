"""Small studies, and what they leave behind, to be compared bit for bit."""

import json
import os
import subprocess
import sys

from hunch.rl import Run
from hunch.studies import Study

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}
SMALL = """
agents = ["dqn"]
envs = ["CartPole-v1"]
seeds = {seeds}
steps = {steps}
checkpoint-every = {every}
eval-every = 0
lease = {lease}
[set]
hidden_sizes = "8"
batch_size = 8
replay_capacity = 500
"""


def study_file(place, *, seeds=4, steps=600, every=100, lease=60, more=""):
    file = place / "small.toml"
    file.write_text(more + SMALL.format(seeds=seeds, steps=steps, every=every, lease=lease))
    return file


def start(*words, cwd, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "hunch", "study", *map(str, words)],
        cwd=cwd,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def to_the_end(*words, cwd, code=0):
    process = start(*words, cwd=cwd)
    said, errors = process.communicate(timeout=600)
    assert process.returncode == code, errors
    return said, errors


def bits(folder):
    """All that a study's trainings have learned: summaries, logs, checksums of last checkpoints."""
    study = Study.open(folder)
    found = {}
    for one in study.finished():
        last = Run.open(one.folder).checkpoint.all()[-1]
        sums = json.loads((last / "hunch.json").read_text())["files"]
        logs = {p.name: p.read_bytes() for p in (one.folder / "logs").glob("*.csv")}
        summary = (one.folder / "summary.json").read_bytes()
        found[one.job.name] = (last.name, sums, logs, summary, dict(one.figures))
    return found


def check_tidy(folder):
    """Each result once, and nothing in the making."""
    study = Study.open(folder)
    assert [one.job for one in study.finished()] == study.jobs
    for job in study.jobs:
        names = {p.name for p in study.job_folder(job).iterdir()}
        assert {n for n in names if not n.startswith(("failed-", "output-"))} == {job.output}
        assert [p.name for p in study.record_file(job).parent.iterdir() if p.name[0] == "."] == []
