"""Write tests/envs/data/bsuite.npz: what bsuite 0.3.6 does, for machines that do not have it.

Run in an environment that has bsuite: `python tests/envs/make_golden.py`.
"""

from pathlib import Path

import bsuite_twin
import numpy as np

DEEP_SEAS = [
    (size, seed, noisy) for size in (2, 5, 12) for seed in (42, 7) for noisy in (False, True)
]
# Settings of the swing-up, the draws its episode starts from, and what is done in it.
SWINGUPS = [
    ({}, (0.01, -0.02, 0.03, 0.04), "stay"),
    ({}, (0.05, 0.0, -0.05, 0.01), "right"),
    ({"height_threshold": 0.0}, (0.02, 0.01, -np.pi + 0.02, 0.0), "random"),
    ({"height_threshold": 0.9, "x_reward_threshold": 0.1}, (0.0, 0.0, -np.pi, 0.1), "random"),
    ({"move_cost": 0.5, "x_threshold": 1.0, "max_time": 1.5}, (0.0, 0.0, 0.0, 3.0), "random"),
]
# Easier problems, their settings, whether the policy is a skilled one, and how many episodes.
BASICS = [
    ("catch", {}, False, 20),
    ("catch", {"rows": 4, "columns": 3}, False, 20),
    ("mountain_car", {}, True, 2),
    ("mountain_car", {"max_steps": 120}, False, 2),
    ("cartpole", {}, True, 1),
    ("cartpole", {"height_threshold": 0.5, "init_range": 0.3, "timescale": 0.02}, False, 5),
    ("cartpole", {"x_threshold": 0.1, "max_time": 1.0, "init_range": 0.2}, False, 5),
]
BANDITS = [(seed, 11) for seed in range(20)] + [(3, 5)]
EPISODES = 25


def record_deep_sea(size, mapping_seed, stochastic):
    env, tape = bsuite_twin.deep_sea(size, mapping_seed, stochastic)
    generator = np.random.default_rng(size + mapping_seed)
    rows = {key: [] for key in ("moves", "noise", "action", "cell", "reward", "last", "bad", "got")}
    for _ in range(EPISODES):
        # Rounded, so that the file stays small; the comparison is exact all the same.
        tape.moves = np.round(generator.random(size), 3).tolist()
        tape.noise = round(float(generator.standard_normal()), 3)
        rows["moves"].extend(tape.moves)
        rows["noise"].append(tape.noise)
        env.reset()
        for action in bsuite_twin.deep_sea_actions(env, generator):
            step = env.step(action)
            cells = np.flatnonzero(step.observation)
            info = env.bsuite_info()
            rows["action"].append(action)
            rows["cell"].append(cells[0] if len(cells) else -1)
            rows["reward"].append(step.reward)
            rows["last"].append(step.last())
            rows["bad"].append(info["total_bad_episodes"])
            rows["got"].append(info["denoised_return"])
    kinds = {"action": np.int8, "cell": np.int16, "bad": np.int16, "got": np.int16}
    return {key: np.array(values, kinds.get(key)) for key, values in rows.items()}


def record_swingup(settings, start, policy, every=4):
    env, tape = bsuite_twin.swingup(**settings)
    generator = np.random.default_rng(0)
    tape.starts = list(start)
    seen, rewards, actions = [env.reset().observation[0]], [], []
    while True:
        action = {"stay": 1, "right": 2, "random": int(generator.integers(3))}[policy]
        step = env.step(action)
        actions.append(action)
        rewards.append(step.reward)
        seen.append(step.observation[0])
        if step.last():
            break
    # Every few observations are enough: an error in one shows in all that follow.
    return {
        "start": np.array(start),
        "action": np.array(actions, np.int8),
        "reward": np.array(rewards),
        "seen": np.array(seen[:-1:every]),
        "end": seen[-1],
        "upright": np.array(env.bsuite_info()["total_upright"]),
    }


def record_basic(name, settings, skilled, episodes):
    env, tape = bsuite_twin.basic(name, **settings)
    generator = np.random.default_rng(7)
    rows = {key: [] for key in ("start", "action", "reward", "last", "seen")}
    for _ in range(episodes):
        starts = bsuite_twin.draw_starts(name, generator, settings)
        tape.starts = list(starts)
        step = env.reset()
        rows["start"].extend(starts)
        rows["seen"].append(step.observation.reshape(-1))
        while not step.last():
            action = int(generator.integers(3))
            if skilled:
                action = bsuite_twin.skilled(name, step.observation)
            step = env.step(action)
            rows["action"].append(action)
            rows["reward"].append(step.reward)
            rows["last"].append(step.discount == 0)
            rows["seen"].append(step.observation.reshape(-1))
    kinds = {"action": np.int8, "reward": np.float32}
    out = {key: np.array(values, kinds.get(key)) for key, values in rows.items()}
    if name == "catch":
        out["seen"] = np.packbits(out["seen"].astype(np.uint8), axis=1)
    else:
        out["seen"] = out["seen"][::10]
    return out


def main():
    out = {}
    # One array per quantity, the problems one after another: each array has a header to pay for.
    seas = [record_deep_sea(*problem) for problem in DEEP_SEAS]
    for key in seas[0]:
        out[f"sea/{key}"] = np.concatenate([sea[key] for sea in seas])
    for size in (10, 20, 30, 50):
        env, _ = bsuite_twin.deep_sea(size, 42, False)
        out[f"mapping-{size}"] = np.packbits(env._action_mapping.astype(np.uint8))
    for number, (settings, start, policy) in enumerate(SWINGUPS):
        for key, values in record_swingup(settings, start, policy).items():
            out[f"swing-{number}/{key}"] = values
    for number, problem in enumerate(BASICS):
        for key, values in record_basic(*problem).items():
            out[f"basic-{number}/{key}"] = values
    pays = []
    for seed, arms in BANDITS:
        env, _ = bsuite_twin.basic("bandit", mapping_seed=seed, num_actions=arms)
        for arm in range(arms):
            env.reset()
            pays.append(env.step(arm).reward)
    out["bandits"] = np.array(pays)
    path = Path(__file__).parent / "data" / "bsuite.npz"
    path.parent.mkdir(exist_ok=True)
    np.savez_compressed(path, **out)
    print(path.name, path.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
