"""Step for step what bsuite does: recorded transitions, and bsuite itself where it is installed."""

import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest

import hunch.envs  # noqa: F401 registers the environments

sys.path.insert(0, str(Path(__file__).parent))
import bsuite_twin
import make_golden

GOLDEN = np.load(Path(__file__).parent / "data" / "bsuite.npz")
SEAS, EPISODES = make_golden.DEEP_SEAS, make_golden.EPISODES
SEA_IDS = [f"{n}-{seed}-{'stochastic' if noisy else 'deterministic'}" for n, seed, noisy in SEAS]


class Replay:
    """Stands in for a numpy generator and plays back recorded draws."""

    def __init__(self, moves=(), noise=(), starts=()):
        self.moves, self.noise, self.starts = iter(moves), iter(noise), iter(starts)

    def random(self, size):
        return np.array([next(self.moves) for _ in range(size)])

    def standard_normal(self):
        return next(self.noise)

    def uniform(self, low, high, size=None):
        if size is None:
            return next(self.starts)
        return np.array([next(self.starts) for _ in range(size)])

    def integers(self, below):
        return next(self.starts)


def sea_recording(number):
    def before(per_episode):
        return sum(EPISODES * per_episode(size) for size, _, _ in SEAS[:number])

    size, mapping_seed, noisy = SEAS[number]
    steps = slice(before(lambda n: n), before(lambda n: n) + EPISODES * size)
    episodes = slice(number * EPISODES, (number + 1) * EPISODES)
    rows = {
        key: GOLDEN[f"sea/{key}"][episodes if key == "noise" else steps]
        for key in ("moves", "noise", "action", "cell", "reward", "last", "bad", "got")
    }
    return dict(size=size, mapping_seed=mapping_seed, stochastic=noisy), rows


def cell_of(observation):
    cells = np.flatnonzero(observation)
    return cells[0] if len(cells) else -1


@pytest.mark.parametrize("number", range(len(SEAS)), ids=SEA_IDS)
def test_deep_sea_repeats_the_recording(number):
    settings, rows = sea_recording(number)
    env = gymnasium.make("hunch/DeepSea-v0", **settings)
    env.unwrapped.np_random = Replay(rows["moves"], rows["noise"])
    bad = got = 0
    over = True
    for action, cell, reward, last, total_bad, total_got in zip(
        *(rows[key] for key in ("action", "cell", "reward", "last", "bad", "got")), strict=True
    ):
        if over:
            env.reset()
        seen, gained, over, truncated, info = env.step(action)
        assert (cell_of(seen), gained, over, truncated) == (cell, reward, last, False)
        bad += over and info["bad_episode"]
        got += over * info["denoised_return"]
        if over:
            assert (bad, got) == (total_bad, total_got)
    assert 0 < bad < EPISODES  # the recording shows good and bad episodes


@pytest.mark.parametrize("number", range(len(SEAS)), ids=SEA_IDS)
def test_a_batch_of_deep_seas_repeats_the_recording(number):
    settings, rows = sea_recording(number)
    envs = gymnasium.make_vec("hunch/DeepSea-v0", 1, autoreset_mode="SameStep", **settings)
    # One spare episode: the last step of the recording begins another.
    spare = np.append(rows["moves"], np.zeros(settings["size"])), np.append(rows["noise"], 0.0)
    envs.unwrapped._generators = [Replay(*spare)]
    envs.reset()
    for action, cell, reward, last in zip(
        *(rows[key] for key in ("action", "cell", "reward", "last")), strict=True
    ):
        seen, gained, over, _, infos = envs.step(np.array([action]))
        assert (gained[0], over[0]) == (reward, last)
        assert cell_of(infos["final_obs"][0] if last else seen) == cell


@pytest.mark.parametrize("size", [10, 20, 30, 50])
def test_the_action_mapping_is_that_of_the_sweep(size):
    recorded = np.unpackbits(GOLDEN[f"mapping-{size}"])[: size * size].reshape(size, size)
    env = gymnasium.make("hunch/DeepSea-v0", size=size).unwrapped
    np.testing.assert_array_equal(env._mapping, recorded)


@pytest.mark.parametrize("number", range(len(make_golden.SWINGUPS)))
@pytest.mark.parametrize("batched", [False, True])
def test_swingup_repeats_the_recording(number, batched):
    settings, _, _ = make_golden.SWINGUPS[number]
    rows = {key.split("/")[1]: GOLDEN[key] for key in GOLDEN if key.startswith(f"swing-{number}/")}
    chance = Replay(starts=rows["start"])
    if batched:
        envs = gymnasium.make_vec("hunch/CartPoleSwingup-v0", 1, **settings)
        envs.unwrapped._generators = [chance]
    else:
        envs = gymnasium.make("hunch/CartPoleSwingup-v0", **settings)
        envs.unwrapped.np_random = chance
    seen, rewards, ends, upright = [envs.reset()[0]], [], [], 0
    for action in rows["action"]:
        observation, reward, terminated, truncated, info = envs.step(
            np.array([action]) if batched else action
        )
        assert not np.any(truncated)
        seen.append(observation)
        rewards.append(np.squeeze(reward))
        ends.append(bool(np.squeeze(terminated)))
        upright += int(np.squeeze(info["upright"]))
    np.testing.assert_array_equal(rewards, rows["reward"])
    assert ends == [False] * (len(ends) - 1) + [True]
    assert upright == rows["upright"]
    seen = np.array(seen).reshape(len(seen), 8)
    np.testing.assert_allclose(seen[:-1:4], rows["seen"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(seen[-1], rows["end"], rtol=1e-5, atol=1e-6)


def test_the_recordings_of_swingup_show_every_case():
    lengths = [len(GOLDEN[f"swing-{number}/action"]) for number in range(5)]
    assert lengths[0] == 1001  # out of time, with bsuite's rounding
    assert lengths[1] < 200  # off the track
    assert max(int(GOLDEN[f"swing-{number}/upright"]) for number in range(5)) >= 10


@pytest.mark.parametrize("size", [2, 10, 33, 50])
@pytest.mark.parametrize("stochastic", [False, True])
def test_ten_thousand_steps_of_deep_sea_equal_bsuite(size, stochastic):
    pytest.importorskip("bsuite", reason="bsuite is not installed; the recordings stand in for it")
    peer, tape = bsuite_twin.deep_sea(size, 42, stochastic)
    env = gymnasium.make("hunch/DeepSea-v0", size=size, mapping_seed=42, stochastic=stochastic)
    policy, twin = np.random.default_rng(1), np.random.default_rng(3)
    steps = bad = got = 0
    while steps < 10_000:
        seen, _ = env.reset(seed=None if steps else 3)
        if stochastic:
            tape.moves, tape.noise = twin.random(size), twin.standard_normal()
        np.testing.assert_array_equal(seen, peer.reset().observation, strict=True)
        for action in bsuite_twin.deep_sea_actions(peer, policy):
            seen, reward, terminated, truncated, info = env.step(action)
            step = peer.step(action)
            np.testing.assert_array_equal(seen, step.observation, strict=True)
            assert reward == step.reward
            assert (terminated, truncated) == (step.last(), False)
            assert not step.last() or step.discount == 0
            steps += 1
        bad += info["bad_episode"]
        got += info["denoised_return"]
        assert peer.bsuite_info() == {"total_bad_episodes": bad, "denoised_return": got}
    assert env.unwrapped.optimal_return == peer._optimal_return


SWINGUP_SETTINGS = [
    {},
    {"height_threshold": 0.0, "x_reward_threshold": 1.0, "init_range": 2.5},
    {"height_threshold": 0.95, "x_reward_threshold": 0.05, "move_cost": 0.3},
    {"init_range": 3.0, "x_threshold": 2.0, "timescale": 0.02, "max_time": 3.0},
    {"theta_dot_threshold": 4.0, "height_threshold": -0.5},
]


@pytest.mark.parametrize("settings", SWINGUP_SETTINGS)
def test_ten_thousand_steps_of_swingup_equal_bsuite(settings):
    pytest.importorskip("bsuite", reason="bsuite is not installed; the recordings stand in for it")
    peer, tape = bsuite_twin.swingup(**settings)
    env = gymnasium.make("hunch/CartPoleSwingup-v0", **settings)
    policy, twin = np.random.default_rng(1), np.random.default_rng(3)
    reach = settings.get("init_range", 0.05)
    steps, upright, over = 0, 0, True
    while steps < 10_000 or not over:
        if over:
            tape.starts = [twin.uniform(-reach, reach) for _ in range(4)]
            seen, _ = env.reset(seed=None if steps else 3)
            np.testing.assert_allclose(seen, peer.reset().observation[0], rtol=1e-6, atol=1e-6)
        action = int(policy.integers(3))
        seen, reward, over, truncated, info = env.step(action)
        step = peer.step(action)
        np.testing.assert_allclose(seen, step.observation[0], rtol=1e-5, atol=1e-6)
        assert seen.dtype == step.observation.dtype
        assert (reward, over, truncated) == (step.reward, step.last(), False)
        assert not over or step.discount == 0
        upright += info["upright"]
        steps += 1
    assert upright == peer.bsuite_info()["total_upright"]


BASICS = {
    "catch": "hunch/Catch-v0",
    "bandit": "hunch/Bandit-v0",
    "mountain_car": "hunch/BsuiteMountainCar-v0",
    "cartpole": "hunch/BsuiteCartPole-v0",
}


@pytest.mark.parametrize("number", range(len(make_golden.BASICS)))
def test_easier_problems_repeat_the_recording(number):
    name, settings, _, episodes = make_golden.BASICS[number]
    rows = {key.split("/")[1]: GOLDEN[key] for key in GOLDEN if key.startswith(f"basic-{number}/")}
    env = gymnasium.make(BASICS[name], **settings)
    env.unwrapped.np_random = Replay(starts=rows["start"])
    seen, over = [], True
    for action, reward, last in zip(rows["action"], rows["reward"], rows["last"], strict=True):
        if over:
            seen.append(env.reset()[0])
        observation, gained, over, truncated, _ = env.step(action)
        assert (gained, over, truncated) == (reward, last, False)
        seen.append(observation)
    assert over
    assert np.sum(rows["last"]) == episodes
    seen = np.array(seen).reshape(len(seen), -1)
    if name == "catch":
        np.testing.assert_array_equal(np.packbits(seen.astype(np.uint8), axis=1), rows["seen"])
    else:
        np.testing.assert_allclose(seen[::10], rows["seen"], rtol=1e-5, atol=1e-6)


def test_the_recordings_of_easier_problems_show_every_case():
    steps = [
        np.diff(np.flatnonzero(np.append(True, GOLDEN[f"basic-{n}/last"]))).tolist()
        for n in range(len(make_golden.BASICS))
    ]
    assert all(count < 300 for count in steps[2])  # over the hill
    assert steps[3] == [120, 120]  # out of time
    assert steps[4] == [1001]  # out of time, with bsuite's rounding
    assert GOLDEN["basic-4/reward"].sum() == 1001
    assert all(count < 200 for count in steps[5])  # fallen
    rewards = [GOLDEN[f"basic-{n}/reward"] for n in (0, 1)]
    assert all({-1, 0, 1} == set(reward.tolist()) for reward in rewards)


def test_the_arms_of_the_bandit_are_those_of_the_sweep():
    pays = []
    for seed, arms in make_golden.BANDITS:
        env = gymnasium.make(BASICS["bandit"], mapping_seed=seed, num_actions=arms)
        for arm in range(arms):
            seen, _ = env.reset(seed=arm)
            _, reward, over, truncated, _ = env.step(arm)
            assert (seen, over, truncated) == (1, True, False)
            pays.append(reward)
    np.testing.assert_array_equal(pays, GOLDEN["bandits"])


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("catch", {}),
        ("catch", {"rows": 3, "columns": 7}),
        ("bandit", {"mapping_seed": 4}),
        ("bandit", {"mapping_seed": 0, "num_actions": 3}),
        ("mountain_car", {}),
        ("mountain_car", {"max_steps": 170}),
        ("cartpole", {}),
        ("cartpole", {"height_threshold": 0.2, "x_threshold": 0.5, "init_range": 1.0}),
        ("cartpole", {"height_threshold": -1.1, "timescale": 0.02, "max_time": 3.0}),
    ],
)
@pytest.mark.parametrize("skilled", [False, True])
def test_ten_thousand_steps_of_easier_problems_equal_bsuite(name, settings, skilled):
    pytest.importorskip("bsuite", reason="bsuite is not installed; the recordings stand in for it")
    peer, tape = bsuite_twin.basic(name, **settings)
    env = gymnasium.make(BASICS[name], **settings)
    policy, twin = np.random.default_rng(1), np.random.default_rng(3)
    exact = name in ("catch", "bandit")
    steps, over = 0, True
    while steps < 10_000 or not over:
        if over:
            tape.starts = bsuite_twin.draw_starts(name, twin, settings)
            seen, _ = env.reset(seed=None if steps else 3)
            step = peer.reset()
            assert np.array_equal(seen.reshape(-1), step.observation.reshape(-1))
        action = int(policy.integers(env.action_space.n))
        if skilled and not exact and policy.random() < 0.9:
            action = bsuite_twin.skilled(name, step.observation)
        seen, reward, over, truncated, _ = env.step(action)
        step = peer.step(action)
        assert seen.dtype == step.observation.dtype
        if exact:
            np.testing.assert_array_equal(seen.reshape(-1), step.observation.reshape(-1))
        else:
            np.testing.assert_allclose(seen, step.observation[0], rtol=1e-5, atol=1e-6)
        assert (reward, over, truncated) == (step.reward, step.last(), False)
        assert not over or step.discount == 0
        steps += 1
