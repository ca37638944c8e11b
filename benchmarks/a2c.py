"""Environment steps per second of A2C on CartPole: environments in a batch and one by one.

All agents play rollouts of 16 steps with two perceptrons of two layers of 64 units, on one thread
in one process; they take turns in blocks, and CPU time is counted. An environment that a function
makes is stepped by itself, one made from an id with others in a batch. Where Stable-Baselines3 is
installed its A2C stands beside them, at the same settings.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import gymnasium
import torch

from hunch.rl import A2C

COUNTS = (8, 64, 512)
ROLLOUT = 16
BLOCKS = 7


def cartpole() -> gymnasium.Env:
    return gymnasium.make("CartPole-v1")


def hunch_agent(env: object, count: int, seed: int) -> Callable[[int], object]:
    agent = A2C(env, num_envs=count, rollout_length=ROLLOUT, seed=seed)
    return lambda until: agent.learn(until, progress=False)


def stable_baselines(count: int, seed: int) -> Callable[[int], object] | None:
    """Stable-Baselines3's A2C at the same settings; None if it is not installed."""
    try:
        from stable_baselines3 import A2C as Theirs
        from stable_baselines3.common.vec_env import DummyVecEnv
    except ImportError:
        return None
    model = Theirs(
        "MlpPolicy",
        DummyVecEnv([cartpole] * count),
        learning_rate=1e-3,
        n_steps=ROLLOUT,
        gae_lambda=0.95,
        ent_coef=0.01,
        use_rms_prop=False,
        policy_kwargs={"net_arch": {"pi": [64, 64], "vf": [64, 64]}},
        seed=seed,
        device="cpu",
    )
    return lambda until: model.learn(until - model.num_timesteps, reset_num_timesteps=False)


def rates(count: int, rounds: int, seed: int) -> dict[str, list[float]]:
    """Steps per second of each agent, block by block but for the first, which warms up."""
    runs = {
        "batch": hunch_agent("CartPole-v1", count, seed),
        "one by one": hunch_agent(cartpole, count, seed),
    }
    if (theirs := stable_baselines(count, seed)) is not None:
        runs["Stable-Baselines3"] = theirs
    found: dict[str, list[float]] = {name: [] for name in runs}
    block = count * rounds
    for until in range(block, (BLOCKS + 1) * block, block):
        for name, learn in runs.items():
            start = time.process_time()
            learn(until)
            found[name].append(block / (time.process_time() - start))
    return {name: rate[1:] for name, rate in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("# A2C on CartPole\n")
    print(
        f"Thousands of environment steps a second of CPU time, one thread, rollouts of {ROLLOUT} "
        f"steps, torch {torch.__version__.split('+')[0]}: medians over {BLOCKS - 1} blocks, in "
        "which all take turns, and the median ratio of the batch to each of the others.\n"
    )
    print("| environments | batch | one by one | ratio | Stable-Baselines3 | ratio |")
    print("|---|---|---|---|---|---|")
    for count in COUNTS:
        found = rates(count, ROLLOUT * max(5, 640 // count), options.seed)
        batch = found.pop("batch")
        cells = [f"{statistics.median(batch) / 1e3:.1f}"]
        for name in ("one by one", "Stable-Baselines3"):
            if name not in found:
                cells += ["–", "–"]
                continue
            ratio = statistics.median(b / o for b, o in zip(batch, found[name], strict=True))
            cells += [f"{statistics.median(found[name]) / 1e3:.1f}", f"{ratio:.2f}"]
        print(f"| {count} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
