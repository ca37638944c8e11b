"""How fast estimators learn and predict a table beside their peers, and how fast `hunch` starts.

Run `python benchmarks/tables.py`. One thread, processor time, in turns; medians of several rounds.
The peers are scikit-learn's: fifty `MLPRegressor`s, of which two are fitted and one is asked, a
random forest, and gradient boosting. Programs are started as a user starts them; their time is
given as a multiple of that of `import torch`, which both the machine and its load change alike.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch

from hunch import RandomizedPriorRegressor

COLUMNS, LEARNED, ASKED, MANY = 20, 10_000, 100_000, 1_000_000
NETWORKS, FITTED = 50, 2
Way = Callable[[], object]

# The program up to the first step of the networks, without trees and process, whose own training
# would come before: what it takes to read, order, scale and draw.
BEFORE_STEPS = f"""
import resource, time, numpy as np, torch
from hunch import RandomizedPriorRegressor
from hunch.inference.compiled import CompiledTraining
torch.set_num_threads(1)
class Begun(Exception): pass
def begun(*_): raise Begun
CompiledTraining.run = begun
rng = np.random.default_rng(0)
X = rng.normal(size=({MANY}, {COLUMNS})); y = X[:, 0] + rng.normal(size={MANY})
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before, start = peak(), time.process_time()
try:
    RandomizedPriorRegressor({NETWORKS}, boosting=False, gaussian_process=False).fit(X, y)
except Begun:
    print(time.process_time() - start, (peak() - before) / {MANY})
"""


def table(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features, and a target that varies smoothly with some of them, and is noisy."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, COLUMNS))
    smooth = np.sin(2 * x[:, 0]) + x[:, 1] * x[:, 2] + 0.5 * np.abs(x[:, 3])
    return x, smooth + 0.3 * x[:, 4:8].sum(axis=1) + 0.3 * rng.normal(size=rows)


def turns(ways: Mapping[str, Way], rounds: int) -> dict[str, float]:
    """Median CPU seconds of each way."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            start = time.process_time()
            way()
            times[name].append(time.process_time() - start)
    return {name: statistics.median(found) for name, found in times.items()}


def of_fifty(name: str, seconds: float, of: int) -> float:
    """Seconds of all, where only some of fifty alike were timed."""
    return seconds * NETWORKS / of if name.startswith("50 ") else seconds


def estimators(rounds: int, seed: int) -> str:
    from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
    from sklearn.neural_network import MLPRegressor

    x, y = table(LEARNED, seed)
    asked, _ = table(ASKED, seed + 1)
    deep = {"hidden_layer_sizes": (50, 50)}
    groups = {
        "hunch, 50 networks": [RandomizedPriorRegressor(NETWORKS, random_state=seed)],
        "hunch as it comes, 20": [RandomizedPriorRegressor(random_state=seed)],
        "50 MLPRegressors": [MLPRegressor(random_state=k) for k in range(FITTED)],
        "50 of 50-50 units": [MLPRegressor(random_state=k, **deep) for k in range(FITTED)],
        "RandomForestRegressor": [RandomForestRegressor(random_state=seed)],
        "HistGradientBoosting": [HistGradientBoostingRegressor(random_state=seed)],
    }
    fits = {n: (lambda own=own: [m.fit(x, y) for m in own]) for n, own in groups.items()}
    learned = turns(fits, 1)
    asks = {n: (lambda own=own: own[0].predict(asked)) for n, own in groups.items()}
    predicted = turns(asks, rounds)
    lines = [
        f"{LEARNED:,} rows to learn (once), {ASKED:,} to predict, {COLUMNS} columns.",
        "",
        "| model | fit | its time / hunch's | predict | rows a second | its time / hunch's |",
        "|---|---|---|---|---|---|",
    ]
    first = next(iter(groups))
    for name in groups:
        fit, ask = of_fifty(name, learned[name], FITTED), of_fifty(name, predicted[name], 1)
        lines.append(
            f"| {name} | {fit:.1f} s | {fit / learned[first]:.2f} | {ask:.2f} s | "
            f"{ASKED / ask:,.0f} | **{ask / predicted[first]:.2f}** |"
        )
    return "\n".join(lines) + "\n"


def cpu_of(command: list[str], folder: Path) -> float:
    """CPU seconds of a program."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def programs(rounds: int) -> str:
    python = [sys.executable, "-c"]
    hunch = [sys.executable, "-m", "hunch"]
    # Compiled modules are kept, as they are on a user's machine from the second start on.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        os.environ["PYTHONPYCACHEPREFIX"] = str(folder / "modules")
        subprocess.run([*hunch, "sample"], cwd=folder, check=True, capture_output=True)
        rows = (folder / "flats.csv").read_text(encoding="utf-8").splitlines(keepends=True)
        (folder / "few.csv").write_text("".join(rows[:60]), encoding="utf-8")
        fit = [*hunch, "fit", "few.csv", "--target", "price", "--ids", "flat", "--out"]
        subprocess.run([*fit, "model"], cwd=folder, check=True, capture_output=True)
        predict = [*hunch, "predict", "model", "flats-new.csv", "--out"]
        subprocess.run([*predict, "first"], cwd=folder, check=True, capture_output=True)
        ways = {
            "import torch": [*python, "import torch"],
            "import torch, hunch": [*python, "import torch, hunch"],
            "hunch --help": [*hunch, "--help"],
            "hunch fit, 59 rows": fit,
            "hunch predict, 8 rows": predict,
        }
        times: dict[str, list[float]] = {name: [] for name in ways}
        for turn in range(rounds):
            for name, command in ways.items():
                end = [f"{turn}-{name.split()[1]}"] if command[-1] == "--out" else []
                times[name].append(cpu_of([*command, *end], folder))
    torch_s = times["import torch"]
    lines = ["| program | CPU time | / import torch |", "|---|---|---|"]
    for name, found in times.items():
        ratio = statistics.median(a / b for a, b in zip(found, torch_s, strict=True))
        lines.append(f"| `{name}` | {statistics.median(found):.2f} s | {ratio:.2f} |")
    return "\n".join(lines) + "\n"


def a_million_rows() -> str:
    done = subprocess.run(
        [sys.executable, "-c", BEFORE_STEPS], capture_output=True, text=True, check=False
    )
    if done.returncode or not done.stdout:
        return "A million rows: not measured without the compiled kernel.\n"
    seconds, bytes_of_a_row = map(float, done.stdout.split())
    return (
        f"{MANY:,} rows, {NETWORKS} networks: {seconds:.1f} s and {bytes_of_a_row:,.0f} bytes a "
        "row before the first step.\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"
    warnings.simplefilter("ignore")
    print(
        f"# Tables\n\nOne thread, CPU time, in turns.\n\n"
        f"{estimators(arguments.rounds, arguments.seed)}\n"
        f"{programs(arguments.rounds)}\n{a_million_rows()}",
        end="",
    )


if __name__ == "__main__":
    main()
