"""`hunch study`: whether every result is made once and to the same bits, whoever makes it.

By 1, 2 and 4 workers; by two of which one is killed and begun anew, 20 times at random moments,
each while there are runs left; and on a Ray cluster of two nodes, one of which is killed, where Ray
is installed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import sys
import threading
import time

from hunch.rl import Run
from hunch.studies import Study
from measuring.killing import Watched
from measuring.studies import ENVIRONMENT, Place, short_runs

A_RUN = 0.15  # seconds of the processor, about


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


def killed(place: Place, kills: int, seed: int) -> Study:
    """Two workers, one of which is killed so many times while there are runs left, and begun anew.

    A kill is due when so many runs have been begun, and a random part of what a run takes of the
    processor after that; it hits whoever is at a run. Half of them end the worker alone, half also
    the process that does its runs.
    """
    study, draw = place.begun(), random.Random(seed)
    # The last runs are left over, so that workers are at some when the last kill is due.
    due = sorted(draw.sample(range(1, len(study.jobs) - 1), kills))

    def start() -> Watched:
        return Watched.begin(place.worker(study), place.folder, ENVIRONMENT)

    workers = [start(), start()]
    for number in due:
        chosen = at_a_run(study, workers, number)
        chosen.wait_for(chosen.seconds() + draw.uniform(0, A_RUN))
        if study.status().done == len(study.jobs):
            raise SystemExit("all runs were done before the last kill; take more --seeds")
        chosen.kill(alone=draw.random() < 0.5)
        workers[workers.index(chosen)] = start()
    for worker in workers:
        code, said = worker.end()
        if code:
            raise SystemExit(said)
    return study


def at_a_run(study: Study, workers: list[Watched], number: int) -> Watched:
    """A worker that is at a run, once so many have been begun."""
    while True:
        begun = list(study.folder.glob("jobs/*/*"))
        for file in study.folder.glob("jobs/*/*/claim-*"):
            with contextlib.suppress(OSError, ValueError):
                pid = json.loads(file.read_text())["pid"]
                at_it = [w for w in workers if w.process.pid == pid and w.process.poll() is None]
                if at_it and len(begun) >= number:
                    return at_it[0]
        if all(worker.process.poll() is not None for worker in workers):
            raise SystemExit("all runs were done before the last kill; take more --seeds")
        time.sleep(0.005)


def on_two_nodes(place: Place) -> Study | None:
    """A Ray cluster on this machine, of whose two nodes one is killed; None without Ray."""
    try:
        from ray.cluster_utils import Cluster
    except ImportError:
        return None
    from hunch.studies.executors import on_ray

    study = place.begun()
    # Ray lets its workers yield to everybody else, which would say nothing of them.
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
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
    studies[f"2 workers, {kills} SIGKILLs"] = killed(place, kills, seed)
    studies["2 Ray nodes, one killed"] = on_two_nodes(place)
    lines = ["| workers | runs | done once | equal bit for bit |", "|---|---|---|---|"]
    for name, own in studies.items():
        if own is not None:
            found = bits(own)
            equal = sum(found.get(job) == expected[job] for job in expected)
            lines.append(f"| {name} | {len(expected)} | {once(own)} | {equal} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10, help="of six cells")
    parser.add_argument("--steps", type=int, default=300, help="of each run")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the kills")
    arguments = parser.parse_args()
    place = short_runs(arguments.seeds, arguments.steps)
    try:
        found = equality(place, arguments.kills, arguments.seed)
    finally:
        shutil.rmtree(place.folder, ignore_errors=True)
    print("# Studies: every result once, and equal to that of one worker\n")
    print(found, end="")


if __name__ == "__main__":
    main()
