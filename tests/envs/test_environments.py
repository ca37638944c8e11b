"""Each environment through Gymnasium: its rules, its ends, its refusals."""

import subprocess
import sys
import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import hunch.envs
from hunch.errors import ConfigurationError

NAMES = ["hunch/DeepSea-v0", "hunch/CartPoleSwingup-v0", "hunch/Chain-v0"]


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        (NAMES[0], {}),
        (NAMES[0], dict(size=2, stochastic=True, mapping_seed=None)),
        (NAMES[1], {}),
        (NAMES[2], {}),
        (NAMES[2], dict(size=3, features="one-hot")),
    ],
)
def test_gymnasium_checks_pass(name, settings):
    env = gymnasium.make(name, **settings).unwrapped
    with warnings.catch_warnings():
        # Speeds have no bound, and we say so; Gymnasium's own CartPole does too.
        if name == NAMES[1]:
            warnings.filterwarnings("ignore", message=".*A Box observation space m.*infinity")
        check_env(env)


def test_the_names_work_without_an_import_and_without_torch():
    script = """
import sys, gymnasium
env = gymnasium.make("hunch.envs:hunch/DeepSea-v0", size=20)
assert env.reset(seed=0)[0].shape == (20, 20)
batch = gymnasium.make_vec("hunch.envs:hunch/Chain-v0", num_envs=3, size=20)
assert batch.reset(seed=0)[0].shape == (3, 20)
if __name__ == "__main__":
    make = lambda: gymnasium.make("hunch.envs:hunch/DeepSea-v0", size=5)
    envs = gymnasium.vector.AsyncVectorEnv([make, make])
    assert envs.reset(seed=0)[0].shape == (2, 5, 5)
    envs.step([0, 1])
    envs.close()
assert "torch" not in sys.modules
"""
    command = [sys.executable, "-W", "error", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def play(env, actions, seed=0):
    env.reset(seed=seed)
    return [env.step(action) for action in actions]


def test_deep_sea_pays_for_the_one_path_and_terminates():
    env = gymnasium.make("hunch/DeepSea-v0", size=20, mapping_seed=42, stochastic=False)
    path = np.diag(env.unwrapped._mapping).copy()
    steps = play(env, path)
    assert sum(step[1] for step in steps) == pytest.approx(0.99)
    assert [step[2] for step in steps] == [False] * 19 + [True]
    assert not any(step[3] for step in steps)
    assert not steps[-1][0].any()
    assert steps[-1][4] == {"bad_episode": False, "denoised_return": 1.0}
    path[10] = 1 - path[10]
    steps = play(env, path)
    assert sum(step[1] for step in steps) <= 0
    assert steps[-1][4] == {"bad_episode": True, "denoised_return": 0.0}


def test_stochastic_deep_sea_returns_its_optimum_on_average():
    # 4,000 episodes: standard error 0.018 (noise of variance 1 in about 60 % of them), so 0.09 is
    # five of them; the seed is fixed.
    size = 10
    envs = gymnasium.make_vec(
        "hunch/DeepSea-v0", 4000, size=size, mapping_seed=None, stochastic=True
    )
    envs.reset(seed=0)
    total = sum(envs.step(np.ones(4000, dtype=int))[1] for _ in range(size))
    best = hunch.envs.DeepSea(size, stochastic=True).optimal_return
    assert best == pytest.approx(0.9**9 - 0.01)
    assert abs(total.mean() - best) < 0.09
    assert 0.5 < total.std() < 1.5


def test_other_mapping_seeds_give_other_mappings():
    mappings = [hunch.envs.DeepSea(10, mapping_seed=seed)._mapping for seed in (0, 1, None)]
    assert (mappings[0] != mappings[1]).any()
    assert (mappings[2] == 1).all()


def test_swingup_terminates_when_time_is_over_and_off_the_track():
    env = gymnasium.make("hunch/CartPoleSwingup-v0")
    still = play(env, [1] * 1001)
    assert [step[2] for step in still] == [False] * 1000 + [True]
    env.reset(seed=0)
    count, over = 0, False
    while not over:
        seen, _, over, truncated, _ = env.step(2)
        assert not truncated
        count += 1
    assert count < 200
    assert seen[0] > 1


def test_a_hanging_pole_stays_down_and_an_upright_one_pays():
    env = gymnasium.make("hunch/CartPoleSwingup-v0", init_range=0.0)
    env.reset(seed=0)
    assert env.step(1)[1] == 0
    assert env.step(0)[1] == -0.1
    env.reset(seed=0)
    env.unwrapped._theta = 0.0
    env.unwrapped._turn()
    *_, info = (step := env.step(1))
    assert step[1] == 1.0
    assert info == {"upright": True}


@pytest.mark.parametrize("features", ["thermometer", "one-hot"])
def test_chain_pays_at_both_ends_and_truncates(features):
    env = gymnasium.make("hunch/Chain-v0", size=4, features=features)
    start, _ = env.reset(seed=0)
    assert start.tolist() == ([1, 1, 0, 0] if features == "thermometer" else [0, 1, 0, 0])
    steps = play(env, [1] * 12)
    assert [step[1] for step in steps] == [0, 0] + [1] * 10
    assert [step[3] for step in steps] == [False] * 11 + [True]
    assert not any(step[2] for step in steps)
    steps = play(env, [0, 0, 1])
    assert [step[1] for step in steps] == [0, 0.001, 0]
    assert hunch.envs.Chain(4).optimal_return == 10
    assert hunch.envs.Chain(100, episode_length=20).optimal_return == pytest.approx(0.019)


@pytest.mark.parametrize("name", NAMES)
def test_steps_that_no_episode_can_answer_are_refused(name):
    env = gymnasium.make(name, disable_env_checker=True, render_mode="rgb_array")
    with pytest.raises(ConfigurationError, match=r"call reset\(\) before step"):
        env.step(0)
    with pytest.raises(ConfigurationError, match=r"call reset\(\) before step"):
        env.render()
    with pytest.raises(ConfigurationError, match=r"`options` of reset got \['speed'\]"):
        env.reset(options={"speed": 2})
    env.reset(seed=0)
    for action in (-1, 3, 0.5, "left", None):
        with pytest.raises(ConfigurationError, match=r"`action` got .* expected an integer from 0"):
            env.step(action)
    over = False
    while not over:
        _, _, terminated, truncated, _ = env.step(np.int64(0))
        over = terminated or truncated
    with pytest.raises(ConfigurationError, match="The episode is over"):
        env.step(0)


@pytest.mark.parametrize("name", NAMES)
def test_images_show_the_state(name):
    env = gymnasium.make(name, render_mode="rgb_array")
    env.reset(seed=0)
    before = env.render()
    assert before.dtype == np.uint8
    assert before.shape[2] == 3
    assert before.shape[0] % 2 == before.shape[1] % 2 == 0
    for _ in range(9):
        env.step(1 if name != NAMES[1] else 2)
    assert (env.render() != before).any()
    plain = gymnasium.make(name)
    plain.reset(seed=0)
    with pytest.raises(ConfigurationError, match="render_mode='rgb_array'"):
        plain.unwrapped.render()


WRONG = [
    (NAMES[0], dict(size=1), "`size` got 1; expected an integer of at least 2"),
    (NAMES[0], dict(size=2.5), "`size` got 2.5"),
    (NAMES[0], dict(size=True), "`size` got True"),
    (NAMES[0], dict(mapping_seed=-1), "`mapping_seed` got -1"),
    (NAMES[0], dict(stochastic="no"), "`stochastic` got 'no'; expected False or True"),
    (NAMES[0], dict(move_cost=float("nan")), "`move_cost` got nan"),
    (NAMES[1], dict(max_time=0), "`max_time` got 0; expected a finite number above 0"),
    (NAMES[1], dict(height_threshold="high"), "`height_threshold` got 'high'"),
    (NAMES[1], dict(init_range=-1.0), "`init_range` got -1.0"),
    (NAMES[2], dict(size=2), "`size` got 2; expected an integer of at least 3"),
    (NAMES[2], dict(features="onehot"), "`features` got 'onehot'; expected 'thermometer' or"),
    (NAMES[2], dict(episode_length=0), "`episode_length` got 0"),
]


@pytest.mark.parametrize(("name", "wrong", "message"), WRONG)
def test_wrong_settings_are_refused(name, wrong, message):
    with pytest.raises(ConfigurationError, match=message):
        gymnasium.make(name, **wrong)
    with pytest.raises(ConfigurationError, match=message):
        gymnasium.make_vec(name, num_envs=2, **wrong)
