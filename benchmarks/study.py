"""`hunch study`: 60 short runs by 1, 2 and 4 workers, by workers that are killed, and on Ray.

First what must be equal: every result once, and the same bits whoever made it. Then time, all in
turns: a loop over the runs in one process, which has nothing of a study, and studies beside it.
Runs that wait for a simulator show what the study itself costs where others use the cores.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from hunch.rl import Run
from hunch.studies import Study

STUDY = """
agents = ["dqn", "noisy-dqn", "a2c"]
envs = ["CartPole-v1", {{env = "hunch/DeepSea-v0", env_kwargs = {{size = 5}}}}]
seeds = {seeds}
steps = {steps}
eval-every = 0
checkpoint-every = {every}
lease = 5
"""
WAITING_STUDY = """
agents = ["dqn"]
envs = ["waiting.py:make_env"]
seeds = {runs}
steps = 300
eval-every = 0
[set]
hidden_sizes = 8
batch_size = 8
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
# Ray lets its workers yield to everybody else, which says nothing of them.
os.environ |= {"OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
ENVIRONMENT = dict(os.environ)


class Place:
    """A folder with the file of a study, of which copies are begun."""

    def __init__(self, text: str, label: str) -> None:
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
        self.label = label

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


def timed(way: Callable[[], object]) -> tuple[float, float]:
    """Seconds on the wall and of processors, those of all that is started included."""
    wall = time.monotonic()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    way()
    now = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
    return time.monotonic() - wall, cpu


def bits(study: Study) -> dict[str, object]:
    """All that the runs have learned, by job."""
    found: dict[str, object] = {}
    for one in study.finished():
        last = Run.open(one.folder).checkpoint.all()[-1]
        sums = json.loads((last / "hunch.json").read_text())["files"]
        logs = {p.name: p.read_bytes() for p in (one.folder / "logs").glob("*.csv")}
        found[one.job.name] = (last.name, sums, logs, (one.folder / "summary.json").read_bytes())
    return found


def once(study: Study) -> int:
    """Jobs with one result and nothing in the making."""
    return sum(
        [p.name for p in study.job_folder(job).iterdir() if p.is_dir()] == [job.output]
        and study.record_file(job).is_file()
        for job in study.jobs
    )


def killed(place: Place, kills: int, seed: int) -> tuple[Study, int]:
    """Two workers, of which one is killed at a random moment, and begun again, many times."""
    study, draw, made = place.begun(), random.Random(seed), 0

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            place.worker(study), cwd=place.folder, env=ENVIRONMENT, stdout=subprocess.DEVNULL
        )

    workers = [start(), start()]
    while any(worker.poll() is None for worker in workers):
        time.sleep(draw.uniform(0.5, 8.0) if made < kills else 0.2)
        chosen = draw.randrange(2)
        if made < kills and workers[chosen].poll() is None:
            workers[chosen].kill()
            workers[chosen].wait()
            made += 1
            workers[chosen] = start()
    return study, made


def on_two_nodes(place: Place) -> Study | None:
    """A Ray cluster on this machine, of whose two nodes one is killed; None without Ray."""
    try:
        from ray.cluster_utils import Cluster
    except ImportError:
        return None
    from hunch.studies.executors import on_ray

    study = place.begun()
    with contextlib.redirect_stdout(sys.stderr):
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
        node = cluster.add_node(num_cpus=1)

        def kill() -> None:
            while study.status().done < 5:
                time.sleep(0.1)
            cluster.remove_node(node, allow_graceful=False)

        threading.Thread(target=kill, daemon=True).start()
        address = {"address": cluster.address}
        on_ray(study, 2, {}, address, progress=False, tell=lambda line: None)
        cluster.shutdown()
    return study


def equality(place: Place, kills: int, seed: int) -> str:
    one = place.work(1)
    expected = bits(one)
    studies: dict[str, Study | None] = {"1 worker": one}
    for workers in (2, 4):
        studies[f"{workers} workers"] = place.work(workers)
    study, made = killed(place, kills, seed)
    studies[f"2 workers, {made} SIGKILLs"] = study
    studies["2 Ray nodes, one killed"] = on_two_nodes(place)
    lines = ["| workers | runs | done once | equal bit for bit |", "|---|---|---|---|"]
    for name, own in studies.items():
        if own is not None:
            found = bits(own)
            equal = sum(found.get(job) == expected[job] for job in expected)
            lines.append(f"| {name} | {len(expected)} | {once(own)} | {equal} |")
    return "\n".join(lines) + "\n"


def times(places: list[Place], rounds: int) -> str:
    lines = [
        "| runs | way | s | processor s | 1 worker / it | over the loop, s a run |",
        "|---|---|---|---|---|---|",
    ]
    for place in places:
        ways: dict[str, Callable[[], object]] = {"loop": place.loop}
        for n in (1, 2, 4):
            ways[f"{n} worker{'s' * (n > 1)}"] = partial(place.work, n)
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, way in ways.items():
                found[name].append(timed(way))
        runs = len(place.begun().jobs)
        for name, own in found.items():
            wall, cpu = (sorted(x)[len(x) // 2] for x in zip(*own, strict=True))
            ratios = sorted(a[0] / b[0] for a, b in zip(found["1 worker"], own, strict=True))
            over = sorted((a[0] - b[0]) / runs for a, b in zip(own, found["loop"], strict=True))
            middle = len(own) // 2
            said = f"{over[middle]:.2f}" if name == "1 worker" else "–"
            lines.append(
                f"| {runs} {place.label} | {name} | {wall:.0f} | {cpu:.0f} "
                f"| {ratios[middle]:.2f} ({ratios[0]:.2f}–{ratios[-1]:.2f}) | {said} |"
            )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=10, help="of six cells")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    text = STUDY.format(
        seeds=arguments.seeds, steps=arguments.steps, every=max(1, arguments.steps // 4)
    )
    short = Place(text, "that compute")
    waiting = Place(WAITING_STUDY.format(runs=6 * arguments.seeds), "that wait")
    load = os.getloadavg()[0]
    try:
        equal = equality(short, arguments.kills, arguments.seed)
        took = times([waiting, short], arguments.rounds)
    finally:
        for place in (short, waiting):
            shutil.rmtree(place.folder, ignore_errors=True)
    print(f"# Studies\n\nEvery result once, and equal to that of one worker:\n\n{equal}")
    print(
        "Seconds on the wall and of processors, the start of workers included, the middle of "
        f"{arguments.rounds} rounds (range), in turns on {os.cpu_count()} cores, for which "
        f"{load:.0f} other processes waited at the beginning:\n"
    )
    print(took, end="")


if __name__ == "__main__":
    main()
