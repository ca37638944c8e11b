"""`hunch study`: what it costs beside a plain loop, and what workers gain.

In turns, each with its start: a loop over 60 runs in one process, which has nothing of a study, and
studies by 1, 2 and 4 workers. Runs that wait for a simulator show what a study costs where others
use the cores.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import time
from collections.abc import Callable
from functools import partial

from measuring.studies import Place, short_runs

WAITING = """
agents = ["dqn"]
envs = ["waiting.py:make_env"]
seeds = {runs}
steps = 300
eval-every = 0
[set]
hidden_sizes = 8
batch_size = 8
"""


def timed(way: Callable[[], object]) -> tuple[float, float]:
    """Seconds on the wall and of processors, those of all that is started included."""
    wall = time.monotonic()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    way()
    now = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
    return time.monotonic() - wall, cpu


def times(places: dict[str, Place], rounds: int) -> str:
    lines = [
        "| runs | way | s | processor s | 1 worker / it | over the loop, s a run |",
        "|---|---|---|---|---|---|",
    ]
    for label, place in places.items():
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
                f"| {runs} {label} | {name} | {wall:.0f} | {cpu:.0f} "
                f"| {ratios[middle]:.2f} ({ratios[0]:.2f}–{ratios[-1]:.2f}) | {said} |"
            )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=10, help="of six cells")
    parser.add_argument("--steps", type=int, default=5000, help="of each run that computes")
    parser.add_argument("--only", choices=("compute", "wait"), help="runs of one kind alone")
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    kinds = {
        "compute": partial(short_runs, arguments.seeds, arguments.steps),
        "wait": partial(Place, WAITING.format(runs=3 * arguments.seeds)),
    }
    places = {
        f"that {kind}": make() for kind, make in kinds.items() if arguments.only in (None, kind)
    }
    try:
        found = times(places, arguments.rounds)
    finally:
        for place in places.values():
            shutil.rmtree(place.folder, ignore_errors=True)
    print(
        "# What studies cost\n\nSeconds on the wall and of processors, the start of workers "
        f"included, on {os.cpu_count()} cores; the middle, and the range, of turns: "
        f"{arguments.rounds}. At the beginning {load:.0f} other processes wanted the cores.\n"
    )
    print(found, end="")


if __name__ == "__main__":
    main()
