"""How time and memory grow with members, rows, width, replicas, replay and columns, one at a time.

All else stays at a base point. Each point runs in a process of its own on one thread; CPU time is
the least of the rounds, since a busy machine only adds to it. Memory is the peak of what the
process held in RAM (`ru_maxrss`) less its peak after a small run of the same kind, so that
libraries are not counted. An exponent is the slope of logarithms over the upper half of an axis: 1
where twice as many take twice as much. Points beyond 60 s of CPU time or 8 GB are left out, and
named.

    python benchmarks/growth.py [--axes members rows] [--rounds 3] [--seed 0]
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

Found = dict[str, float]
Point = Callable[..., Found]

SECONDS, GIGABYTES = 60, 8
PEAK = "peak, MB"


@contextmanager
def clocked(found: Found, name: str, per: float = 1.0) -> Iterator[None]:
    """Add CPU time under a name; `per` units of it make one of the name's."""
    start = time.process_time()
    yield
    found[name] = found.get(name, 0.0) + (time.process_time() - start) * per


def ensemble(seed: int, members: int = 20, rows: int = 1000, width: int = 50) -> Found:
    """Networks with priors, of 8 inputs and two hidden layers, batches of 128."""
    import torch

    from hunch.inference import fit, predict
    from hunch.nn import MLP, Ensemble, RandomizedPrior

    x = torch.randn(rows, 8, generator=torch.Generator().manual_seed(seed))
    y = x.square().sum(1, keepdim=True)
    found: Found = {}
    with clocked(found, "make, s"):
        net = Ensemble(
            lambda: RandomizedPrior(MLP(8, [width] * 2, 1), prior=MLP(8, [width] * 2, 1)),
            num_members=members,
            seed=seed,
        )

    def steps(count: int) -> None:
        fit(net, x, y, steps=count, batch_size=128, seed=seed, progress=False)

    with clocked(found, "first step, s"):
        steps(1)
    # So many more that the first one does not rule the difference.
    few: Found = {}
    with clocked(few, "s"):
        steps(21)
    each = max(few["s"] - found["first step, s"], 0.0) / 20
    more = int(min(max(max(0.5, found["first step, s"]) / max(each, 1e-6), 20), 10_000))
    with clocked(found, "step, ms", 1e3 / more):
        steps(1 + more)
    found["step, ms"] = max(found["step, ms"] - found["first step, s"] * 1e3 / more, 0.0)
    with clocked(found, "predict, s"):
        predict(net, x)
    return found


def agents(seed: int, replicas: int = 1, steps: int = 100) -> Found:
    """DQN on CartPole: two hidden layers of 128, batches of 128, an update each step."""
    from hunch.rl import DQN

    found: Found = {}
    with clocked(found, "make, s"):
        agent = DQN("CartPole-v1", update_period=1, replicas=replicas, seed=seed)
    agent.learn(150, progress=False)
    with clocked(found, "step of all, ms", 1e3 / steps):
        agent.learn(150 + steps, progress=False)
    return found


def replay(seed: int, capacity: int = 10_000) -> Found:
    """A prioritized DQN with 64 environments: its replay filled, then 20 rounds of learning."""
    from hunch.rl import DQN

    found: Found = {}
    agent = DQN(
        "CartPole-v1",
        prioritized=True,
        num_envs=64,
        update_period=1,
        replay_capacity=capacity,
        min_replay_size=capacity // 64 * 64,
        seed=seed,
    )
    with clocked(found, "fill, s"):
        agent.learn(capacity // 64 * 64, progress=False)
    with clocked(found, "round, ms", 1e3 / 20):
        agent.learn((capacity // 64 + 20) * 64, progress=False)
    return found


def table(seed: int, columns: int = 20) -> Found:
    """`RandomizedPriorRegressor` of 10 networks on 500 rows, at most 30 epochs."""
    import hunch

    rng = np.random.default_rng(seed)
    x = rng.normal(size=(500, columns))
    y = x[:, 0] ** 2 + x[:, 1] + 0.1 * rng.normal(size=500)
    found: Found = {}
    model = hunch.RandomizedPriorRegressor(n_estimators=10, max_iter=30, random_state=seed)
    with clocked(found, "fit, s"):
        model.fit(x, y)
    with clocked(found, "predict, s"):
        model.predict(x, return_std=True)
    return found


# What is measured, the argument that grows, its values (the smallest one warms up), the base point.
AXES: dict[str, tuple[Point, str, tuple[int, ...], str]] = {
    "members": (
        ensemble,
        "members",
        (1, 3, 10, 30, 100, 300, 1000, 3000, 10_000),
        "1,000 rows of 8 inputs, two hidden layers of 50, batches of 128",
    ),
    "rows": (
        ensemble,
        "rows",
        (100, 300, 1000, 3000, 10_000, 30_000, 100_000, 300_000, 1_000_000),
        "20 members, 8 inputs, two hidden layers of 50, batches of 128; all rows predicted",
    ),
    "width": (
        ensemble,
        "width",
        (16, 32, 64, 128, 256, 512, 1024),
        "20 members, 1,000 rows of 8 inputs, batches of 128",
    ),
    "replicas": (
        agents,
        "replicas",
        (1, 2, 4, 8, 16, 32, 64, 128, 256),
        "DQN on CartPole, two hidden layers of 128, batches of 128, a replay of 10,000",
    ),
    "replay": (
        replay,
        "capacity",
        (10_000, 30_000, 100_000, 300_000, 1_000_000),
        "the same DQN with priorities and 64 environments",
    ),
    "columns": (
        table,
        "columns",
        (5, 10, 20, 50, 100, 200, 500),
        "`RandomizedPriorRegressor`, 10 networks, 500 rows, at most 30 epochs",
    ),
}


# ------------------------------------------------------------------ one point, in its own process


def peak() -> float:
    """The most bytes this process has held in RAM so far."""
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)


def measure(axis: str, value: int, seed: int) -> Found:
    """One point, within its limits; ends where the process that asked for it does."""
    import resource

    import torch

    from hunch.interrupts import end_when

    end_when(lambda: os.read(0, 1))
    torch.set_num_threads(1)
    run, name, values, _ = AXES[axis]
    run(seed, **{name: values[0]})
    before = peak()
    spent = math.ceil(time.process_time())
    resource.setrlimit(resource.RLIMIT_CPU, (spent + SECONDS, spent + SECONDS))
    resource.setrlimit(resource.RLIMIT_DATA, (int(GIGABYTES * 1e9),) * 2)
    found = run(seed, **{name: value})
    return {**found, PEAK: (peak() - before) / 1e6}


def asked(axis: str, value: int, seed: int, line: int) -> Found | str:
    """What a process of its own found for a point, or why it found nothing."""
    done = subprocess.run(
        [sys.executable, __file__, "--point", axis, str(value), "--seed", str(seed)],
        stdin=line,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    if done.returncode == 0:
        found: Found = json.loads(done.stdout.splitlines()[-1])
        return found
    last = (done.stderr.strip().splitlines() or [""])[-1]
    if done.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        return f"more than {SECONDS} s"
    if "memory" in last.lower():
        return f"more than {GIGABYTES} GB"
    raise SystemExit(f"growth: {axis} {value} failed: {last}")


# ------------------------------------------------------------------ all of them


def exponent(values: list[int], numbers: list[float]) -> float:
    """The slope of logarithms over the upper half of an axis."""
    middle = math.sqrt(values[0] * values[-1])
    upper = [
        (math.log(v), math.log(n))
        for v, n in zip(values, numbers, strict=True)
        if v >= middle and n > 0
    ]
    return float(np.polyfit(*zip(*upper, strict=True), 1)[0]) if len(upper) > 1 else math.nan


def report(axis: str, points: dict[int, list[Found]], missing: dict[int, str]) -> None:
    print(f"## {axis}\n\n{AXES[axis][3]}.\n")
    values = sorted(points)
    names = list(points[values[0]][0])
    best = {v: {name: min(found[name] for found in points[v]) for name in names} for v in values}
    print(f"| {axis} | {' | '.join(names)} |\n|{'---|' * (1 + len(names))}")
    for v in values:
        print(f"| {v:,} | {' | '.join(f'{best[v][name]:.3g}' for name in names)} |")
    slopes = (exponent(values, [best[v][name] for v in values]) for name in names)
    print(f"| exponent | {' | '.join(f'{slope:.2f}' for slope in slopes)} |")
    for v, why in sorted(missing.items()):
        print(f"\nLeft out: {v:,}, {why}.")
    print(flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--axes", nargs="+", choices=AXES, default=list(AXES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--point", nargs=2, metavar=("AXIS", "VALUE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.point is not None:
        axis, value = options.point
        print(json.dumps(measure(axis, int(value), options.seed)))
        return
    line, _end = os.pipe()  # its other end closes with this process
    points: dict[str, dict[int, list[Found]]] = {axis: {} for axis in options.axes}
    missing: dict[str, dict[int, str]] = {axis: {} for axis in options.axes}
    for turn in range(options.rounds):
        for axis in options.axes:
            for value in AXES[axis][2]:
                if value >= min(missing[axis], default=math.inf):
                    missing[axis].setdefault(value, "beyond one that was left out")
                    continue
                print(
                    f"growth: round {turn + 1} of {options.rounds}, {axis} {value:,}",
                    file=sys.stderr,
                    flush=True,
                )
                found = asked(axis, value, options.seed, line)
                if isinstance(found, str):
                    missing[axis][value] = found
                    points[axis].pop(value, None)
                else:
                    points[axis].setdefault(value, []).append(found)
    print("# How time and memory grow\n")
    print(
        f"CPU time on one thread, the least of {options.rounds} rounds, and peak memory beyond "
        "that of a small run; each point in a process of its own. Exponents are slopes of "
        "logarithms over the upper half of an axis.\n"
    )
    for axis in options.axes:
        report(axis, points[axis], missing[axis])


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("growth: stopped", file=sys.stderr)
        raise SystemExit(130) from None
