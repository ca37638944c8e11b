"""Every row of the speed tables on two checkouts of hunch, block by block in turns.

    python benchmarks/versions/compare.py BEFORE AFTER [--rounds 40] [--only TEXT]

BEFORE and AFTER are the roots of two checkouts. Each runs in a process of its own on one thread,
with the scripts of this checkout, the same seeds and therefore the same work; a block of the one
follows a block of the other, so that what else the machine does meets both. A row shows the medians
of the blocks' CPU time, the median of the ratios after / before with its 95 % interval (order
statistics), and the ratio of the shortest blocks: other work only ever adds time. Peers are left
out: they are the same on both sides.
"""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

Block = Callable[[], object]
SCRIPTS = Path(__file__).resolve().parents[1]


# The rows: each makes what it needs and returns one block of work, some tens of milliseconds.


AS_BEFORE = {"random_steps": 0, "noise_draws": 1}


def as_it_knows(agent: Callable[..., object]) -> Callable[..., object]:
    """An agent's class, which is not told what says that it is as it was before it had that."""
    known = inspect.signature(agent).parameters
    newer = {name: value for name, value in AS_BEFORE.items() if name not in known}

    def made(*args: object, **how: object) -> object:
        for name, value in newer.items():
            if how.pop(name, value) != value:
                raise ValueError(f"an older checkout has no `{name}` but {value}.")
        return agent(*args, **how)

    return made


def dqn_rows() -> Iterator[tuple[str, Callable[[], Block]]]:
    import dqn

    dqn.DQN = as_it_knows(dqn.DQN)

    def learning(steps: int, **how: object) -> Block:
        agent = dqn.agent(0, **how)
        agent.learn(500, progress=False)
        return lambda: agent.learn(agent.steps + steps, progress=False)

    yield "dqn: hunch", partial(learning, 60)
    yield "dqn: hunch, 16 replicas", partial(learning, 10, replicas=dqn.REPLICAS)
    yield "dqn: hunch, no noise", partial(learning, 80, noisy=False)


def bootstrapped_rows() -> Iterator[tuple[str, Callable[[], Block]]]:
    import bootstrapped_dqn as script

    def updating() -> Block:
        agent = script.BootstrappedDQN(
            script.Blank,
            num_members=script.MEMBERS,
            hidden_sizes=(50, 50),
            prior_scale=script.SCALE,
            n_step=1,
            update_period=1,
            target_update_period=4,
            target_update_rate=1.0,
            seed=0,
        )
        agent.learn(500, progress=False)

        def block() -> None:
            for _ in range(15):
                agent._update(agent._replay.sample(script.BATCH, agent._sampling))

        return block

    yield "bootstrapped_dqn: hunch", updating


def ensemble_rows() -> Iterator[tuple[str, Callable[[], Block]]]:
    import torch

    import ensemble as script
    from hunch.nn import Ensemble

    def training(row: script.Row, engine: str) -> Block:
        torch.manual_seed(0)
        members = [script.member(row, row.activation) for _ in range(row.members)]
        net = Ensemble.from_modules(members, engine=engine)
        return partial(script.fitted, row, net, *script.problem(row))

    for row in script.ROWS:
        for engine in ("auto", "bmm"):
            few = dataclasses.replace(row, steps=-(-row.steps // 10))
            yield f"ensemble: {row}, {engine}", partial(training, few, engine)


def envs_rows() -> Iterator[tuple[str, Callable[[], Block]]]:
    import envs as script

    def stepping(name: str, settings: dict[str, object], key: str) -> Block:
        return script.runs_of(name, settings)[key]

    for problem, (name, settings) in script.PROBLEMS.items():
        for key in ("single", "sync 64", *(f"batch {width}" for width in script.WIDTHS)):
            yield f"envs: {problem}, {key}", partial(stepping, name, settings, key)


def gradients_rows() -> Iterator[tuple[str, Callable[[], Block]]]:
    import torch

    import gradients as script

    def training(inputs: int, n: int, generator: bool, **how: object) -> Block:
        torch.manual_seed(0)
        if generator:
            how["generator"] = torch.Generator().manual_seed(0)
        loss = script.library(n, **how)
        return lambda: script.step_time(loss, inputs, 100)

    ways: dict[str, tuple[int, int, bool, dict[str, object]]] = {
        "score, no baseline": (64, 1, False, {"estimator": "score"}),
        "score, baseline=0.0": (64, 1, False, {"estimator": "score", "baseline": 0.0}),
        "score, leave-one-out": (32, 2, False, {"estimator": "score"}),
        "score, leave-one-out, generator": (32, 2, True, {"estimator": "score"}),
        "pathwise": (64, 1, False, {"estimator": "pathwise"}),
        "auto": (64, 1, False, {}),
    }
    for name, (inputs, n, generator, how) in ways.items():
        yield f"gradients: {name}", partial(training, inputs, n, generator, **how)
    yield "gradients: five seeds together", lambda: partial(script.together, 5, 100)


def noisy_rows() -> Iterator[tuple[str, Callable[[], Block]]]:
    import torch

    import noisy_layers as script

    def calling(what: str, name: str, batch: int, width: int, calls: int) -> Block:
        torch.manual_seed(0)
        x, gradient = torch.randn(batch, width), torch.ones(batch, width)
        variant = script.variants(width)[name]
        do = script.update if what == "update" else script.action

        def block() -> None:
            for _ in range(calls):
                do(variant, x, gradient)

        return block

    for batch, width, calls in ((1, 128, 200), (128, 128, 100), (512, 1024, 2)):
        for name in script.variants(2):
            if name.startswith("NoisyLinear"):
                for what in ("update", "action"):
                    title = f"noisy_layers: {name}, batch {batch}, {width}², {what}"
                    yield title, partial(calling, what, name, batch, width, calls)


def prioritized_rows() -> Iterator[tuple[str, Callable[[], Block]]]:
    import prioritized as script

    def drawing(stored: int, what: str) -> Block:
        rng = np.random.default_rng(0)
        tree = script.Ours(rng.random(stored))
        new = rng.random(script.DRAWS)

        def block() -> None:
            if what == "draw":
                for _ in range(100):
                    tree.round(rng, new)
            else:
                for leaf in range(2000):
                    tree.add(leaf, 0.5)

        return block

    for stored in (10_000, 131_072, 1_000_000):
        for what in ("draw", "add"):
            yield f"prioritized: {stored:,} stored, {what}", partial(drawing, stored, what)


def rainbow_rows() -> Iterator[tuple[str, Callable[[], Block]]]:
    import rainbow as script

    script.DQN = as_it_knows(script.DQN)

    def learning() -> Block:
        agent = script.agent(0)
        agent.learn(script.FIRST, progress=False)
        return lambda: agent.learn(agent.steps + script.BLOCK, progress=False)

    yield "rainbow: hunch", learning


FAMILIES = (
    dqn_rows,
    bootstrapped_rows,
    ensemble_rows,
    envs_rows,
    gradients_rows,
    noisy_rows,
    prioritized_rows,
    rainbow_rows,
)


def all_rows() -> dict[str, Callable[[], Block]]:
    """Those that this checkout can run: an older one lacks what some scripts ask for."""
    rows: dict[str, Callable[[], Block]] = {}
    for family in FAMILIES:
        try:
            rows.update(family())
        except ImportError as error:
            print(f"left out {family.__name__}: {error}", file=sys.stderr)
    return rows


def serve() -> None:
    """Answer each name on standard input with the CPU seconds of one block of that row."""
    import torch

    torch.set_num_threads(1)
    rows, ready = all_rows(), None
    sys.stdout.write("\n".join(rows) + "\n\n")
    sys.stdout.flush()
    for line in sys.stdin:
        name = line.strip()
        if ready is None or ready[0] != name:
            ready = (name, rows[name]())
            ready[1]()  # a warm-up
        start = time.process_time()
        ready[1]()
        sys.stdout.write(f"{time.process_time() - start}\n")
        sys.stdout.flush()


class Worker:
    """One checkout, at work when asked."""

    def __init__(self, root: Path) -> None:
        paths = os.pathsep.join([str(root.resolve() / "src"), str(SCRIPTS)])
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", str(Path(__file__).resolve()), "--serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        )
        self.rows = [row.strip() for row in iter(self._answer, "\n")]

    def seconds(self, row: str) -> float:
        """The CPU time of one block."""
        self._process.stdin.write(row + "\n")
        self._process.stdin.flush()
        return float(self._answer())

    def _answer(self) -> str:
        line = self._process.stdout.readline()
        if not line:  # what was wrong stands on standard error
            sys.exit("one of the checkouts cannot run these rows.")
        return line


def middle(ratios: np.ndarray) -> tuple[float, float, float]:
    """The median and its 95 % interval, from the ranks of a binomial."""
    ordered, n = np.sort(ratios), len(ratios)
    reach = 0.98 * np.sqrt(n)
    low, high = max(0, int(n / 2 - reach)), min(n - 1, int(np.ceil(n / 2 + reach)))
    return float(np.median(ordered)), float(ordered[low]), float(ordered[high])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--rounds", type=int, default=40, help="blocks of each")
    parser.add_argument("--only", default="", help="rows whose name has this text in it")
    options = parser.parse_args()
    before, after = Worker(options.before), Worker(options.after)
    print("| row | before, ms | after, ms | after / before | 95 % | of the shortest |")
    print("|---|---|---|---|---|---|")
    for row in before.rows:
        if options.only not in row or row not in after.rows:
            continue
        pairs = []
        for k in range(options.rounds):  # who goes first alternates too
            first, second = (before, after) if k % 2 == 0 else (after, before)
            one, two = first.seconds(row), second.seconds(row)
            pairs.append((one, two) if k % 2 == 0 else (two, one))
        old, new = np.array(pairs).T
        ratio, low, high = middle(new / old)
        print(
            f"| {row} | {1e3 * np.median(old):.2f} | {1e3 * np.median(new):.2f} "
            f"| {ratio:.3f} | {low:.3f} – {high:.3f} | {new.min() / old.min():.3f} |",
            flush=True,
        )


if __name__ == "__main__":
    serve() if "--serve" in sys.argv[1:] else main()
