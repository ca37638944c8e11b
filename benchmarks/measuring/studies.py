"""Studies of short runs, begun as often as a benchmark wants, for `study` and `study_times`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from hunch.studies import Study

# 60 runs with ten seeds; a checkpoint at every quarter of each.
SHORT = """
agents = ["dqn", "noisy-dqn", "a2c"]
envs = ["CartPole-v1", {{env = "hunch/DeepSea-v0", env_kwargs = {{size = 5}}}}]
seeds = {seeds}
steps = {steps}
eval-every = 0
checkpoint-every = {every}
lease = 5
"""
# Its episodes are of ten steps, each of which takes two milliseconds of no processor's time.
WAITING = """
import time
import gymnasium

class Waiting(gymnasium.Wrapper):
    def step(self, action):
        time.sleep(0.002)
        return super().step(action)

def make_env():
    return gymnasium.wrappers.TimeLimit(Waiting(gymnasium.make("CartPole-v1")), 10)
"""
# What a user's own loop does: each run in turn, in one process.
LOOP = """
import sys
from hunch.studies import Study
from hunch.cli.study_runner import ABOVE
from hunch.studies.kinds import Vouched, train
from pathlib import Path
import torch

torch.set_num_threads(1)
study, out = Study.open(sys.argv[1]), Path(sys.argv[2])
out.mkdir()
for job in study.jobs:
    place = out / job.name.replace("/", "-")
    train(job.task(), place, sys.argv[1], Vouched(own=("waiting.py:make_env",)), ABOVE)
"""
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


class Place:
    """A folder with the file of a study, of which copies are begun.

    Args:
        text: of the file.
    """

    def __init__(self, text: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="hunch-bench-study-"))
        (self.folder / "waiting.py").write_text(WAITING)
        (self.folder / "study.toml").write_text(text)
        plan = (
            "import click, sys; from hunch.cli.study import study;"
            "from hunch.cli.study_file import read_study; from hunch.studies import Study;"
            "read = read_study(click.Context(study), 'study.toml');"
            "Study.begin('begun', read.cells, read.limits)"
        )
        self.command(sys.executable, "-c", plan)

    def command(self, *words: object) -> None:
        """Run a command in the folder; what it says is only shown if it fails."""
        done = subprocess.run(
            list(map(str, words)), cwd=self.folder, env=ENVIRONMENT, capture_output=True, text=True
        )
        if done.returncode:
            raise SystemExit(f"{words}: {done.stderr}")

    def begun(self) -> Study:
        """The study, of which nothing is done."""
        folder = Path(tempfile.mkdtemp(dir=self.folder)) / "study"
        shutil.copytree(self.folder / "begun", folder)
        return Study.open(folder)

    def worker(self, study: Study, workers: int = 1) -> list[str]:
        """The command that a worker is."""
        words = [sys.executable, "-m", "hunch", "study", "work", str(study.folder), "--quiet"]
        return [*words, "--workers", str(workers), "--own", "waiting.py:make_env"]

    def loop(self) -> None:
        """All runs in turn, without a study."""
        study = self.begun()
        self.command(sys.executable, "-c", LOOP, study.folder, study.folder / "loop")
        shutil.rmtree(study.folder)

    def work(self, workers: int) -> Study:
        """The study, done by so many at a time."""
        study = self.begun()
        self.command(*self.worker(study, workers))
        return study


def short_runs(seeds: int, steps: int) -> Place:
    """A study of six cells, of agents of three kinds."""
    return Place(SHORT.format(seeds=seeds, steps=steps, every=max(1, steps // 4)))
