"""How many steps per second the environments make: single, batched, and bsuite's own beside them.

All on one thread in one process, alternating, CPU time, the median of several rounds; actions are
drawn beforehand. bsuite and Gymnasium's SyncVectorEnv are the alternatives; bsuite is timed where
it is installed.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import gymnasium
import numpy as np

import hunch.envs  # noqa: F401 registers the environments
from measuring import spread, turns

PROBLEMS = {
    "deep sea, N = 10": ("hunch/DeepSea-v0", {"size": 10}),
    "deep sea, N = 20": ("hunch/DeepSea-v0", {"size": 20}),
    "deep sea, N = 50": ("hunch/DeepSea-v0", {"size": 50}),
    "deep sea, N = 20, stochastic": ("hunch/DeepSea-v0", {"size": 20, "stochastic": True}),
    "swing-up": ("hunch/CartPoleSwingup-v0", {}),
    "chain, N = 50": ("hunch/Chain-v0", {"size": 50}),
}
WIDTHS = (64, 512)
STEPS = 6400


def bsuite_env(name: str, settings: dict[str, object]) -> object | None:
    """The same problem in bsuite, or None if there is none or bsuite is missing."""
    try:
        from bsuite.environments.deep_sea import DeepSea
        from bsuite.experiments.cartpole_swingup.cartpole_swingup import CartpoleSwingup
    except ImportError:
        return None
    if name == "hunch/DeepSea-v0":
        deterministic = not settings.get("stochastic", False)
        return DeepSea(settings["size"], deterministic=deterministic, mapping_seed=42)
    return CartpoleSwingup() if name == "hunch/CartPoleSwingup-v0" else None


def play_bsuite(env: object, actions: list[int]) -> int:
    env.reset()
    for action in actions:
        env.step(action)  # begins the next episode by itself
    return len(actions)


def play_single(env: gymnasium.Env, actions: list[int]) -> int:
    env.reset(seed=0)
    for action in actions:
        _, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            env.reset()
    return len(actions)


def play_batch(envs: gymnasium.vector.VectorEnv, actions: np.ndarray) -> int:
    envs.reset(seed=0)
    for row in actions:
        envs.step(row)
    return actions.size


def runs_of(name: str, settings: dict[str, object]) -> dict[str, Callable[[], int]]:
    draw = np.random.default_rng(0)
    single = gymnasium.make(name, **settings).unwrapped
    num_actions = int(single.action_space.n)
    one = draw.integers(0, num_actions, STEPS).tolist()
    runs: dict[str, Callable[[], int]] = {"single": lambda: play_single(single, one)}
    peer = bsuite_env(name, settings)
    if peer is not None:
        runs["bsuite"] = lambda: play_bsuite(peer, one)
    sync = gymnasium.make_vec(name, 64, vectorization_mode="sync", **settings)
    rows = draw.integers(0, num_actions, (STEPS // 64, 64))
    runs["sync 64"] = lambda: play_batch(sync, rows)
    for width in WIDTHS:
        envs = gymnasium.make_vec(name, width, **settings)
        many = draw.integers(0, num_actions, (max(200, STEPS // width), width))
        runs[f"batch {width}"] = lambda envs=envs, many=many: play_batch(envs, many)
    return runs


def measure(rounds: int) -> str:
    columns = ["bsuite", "single", "sync 64", *(f"batch {width}" for width in WIDTHS)]
    lines = [
        "Steps per second of CPU time, one thread, in thousands, observations and resets included.",
        "",
        "| problem | bsuite | single | SyncVectorEnv, 64 | batch of 64 | batch of 512 | "
        "batch of 64 / bsuite |",
        "|---|---|---|---|---|---|---|",
    ]
    for problem, (name, settings) in PROBLEMS.items():
        runs = runs_of(name, settings)
        steps = {key: run() for key, run in runs.items()}
        times = turns(runs, rounds)
        rate = {key: steps[key] / spread(times[key]).median / 1000 for key in runs}
        cells = [f"{rate[key]:,.0f}" if key in rate else "–" for key in columns]
        ratio = f"**{rate['batch 64'] / rate['bsuite']:.0f}**" if "bsuite" in rate else "–"
        lines.append(f"| {problem} | {' | '.join(cells)} | {ratio} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    print(f"# Environments\n\n{measure(arguments.rounds)}", end="")


if __name__ == "__main__":
    main()
