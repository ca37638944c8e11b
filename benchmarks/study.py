"""`hunch study`: whether every result is made once and to the same bits, whoever makes it.

By 1, 2 and 4 workers; by two that are killed, 20 times at random moments; and on a Ray cluster of
two nodes, one of which is killed, where Ray is installed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import threading
import time

from hunch.rl import Run
from hunch.studies import Study
from measuring.studies import ENVIRONMENT, Place, short_runs


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
