"""Environment steps per second of A2C on CartPole: environments in a batch and one by one.

All agents play rollouts of 16 steps with two perceptrons of two layers of 64 units, on one thread
in one process; they take turns in blocks, and CPU time is counted. An environment that a function
makes is stepped by itself, one made from an id with others in a batch. Where Stable-Baselines3 is
installed its A2C stands beside them, at the same settings, and where JAX is, one whose environments
and updates are compiled together.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable

import gymnasium
import torch

from hunch.rl import A2C
from measuring import Rates, Way, rate_ways, ratio, rounded, spread, table, turns, with_spread

COUNTS = (8, 64, 512)
HIDDEN = 64
ROLLOUT = 16
BLOCKS = 7
OTHERS = ("one by one", "Stable-Baselines3", "JAX")


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
        policy_kwargs={"net_arch": {"pi": [HIDDEN, HIDDEN], "vf": [HIDDEN, HIDDEN]}},
        seed=seed,
        device="cpu",
    )
    return lambda until: model.learn(until - model.num_timesteps, reset_num_timesteps=False)


def jax_loop(count: int, seed: int) -> Callable[[int], object] | None:
    """An A2C whose environments are written in JAX; None if that is not installed."""
    try:
        from peers import a2c_in_jax
    except ImportError:
        return None
    return a2c_in_jax.agent(count, ROLLOUT, seed)


def measured(count: int, rounds: int, seed: int) -> dict[str, list[float]]:
    """Seconds per step of each agent, block by block, and the machine's rates beside them."""
    runs = {
        "batch": hunch_agent("CartPole-v1", count, seed),
        "one by one": hunch_agent(cartpole, count, seed),
    }
    if (theirs := stable_baselines(count, seed)) is not None:
        runs["Stable-Baselines3"] = theirs
    if (jitted := jax_loop(count, seed)) is not None:
        runs["JAX"] = jitted
    block = count * rounds
    times = turns({name: in_blocks(learn, block) for name, learn in runs.items()}, BLOCKS - 1)
    return {name: [t / block for t in found] for name, found in times.items()}


def in_blocks(learn: Callable[[int], object], block: int) -> Way:
    """Learn a block more with each call."""
    ends = itertools.count(block, block)
    return lambda: learn(next(ends))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("# A2C on CartPole\n")
    print(
        f"Thousands of environment steps a second of CPU time, one thread, rollouts of {ROLLOUT} "
        f"steps, torch {torch.__version__.split('+')[0]}: medians over {BLOCKS - 1} blocks, in "
        "which all take turns, and the median ratio of the batch to each of the others with the "
        "middle half of the blocks'.\n"
    )
    rows = []
    for count in COUNTS:
        found = measured(count, ROLLOUT * max(5, 640 // count), options.seed)
        batch = found.pop("batch")
        cells = [str(count), rounded(1e-3 / spread(batch).median)]
        for name in OTHERS:
            own = found.get(name)
            cells += (
                ["–", "–"]
                if own is None
                else [rounded(1e-3 / spread(own).median), with_spread(ratio(own, batch))]
            )
        rows.append(cells)
    others = [heading for name in OTHERS for heading in (name, f"{name}, ratio")]
    print(table(["environments", "batch", *others], rows))
    times = turns(rate_ways(), BLOCKS)
    print(
        f"The floor, thousands of steps a second: {rounded(1e-3 / least(Rates.of(times)))}. It is "
        "the products of two networks, forwards twice and backwards once, and nothing of "
        f"environments, draws and losses, at these rates: {Rates.of(times)}."
    )


def least(rates: Rates) -> float:
    """Seconds of the products of one step: acting, and learning from it."""
    first, second, heads = 2 * 4 * HIDDEN, 2 * HIDDEN**2, HIDDEN * (2 + 1)
    return 2 * (4 * (first + second + heads) - first) * rates.operation


if __name__ == "__main__":
    main()
