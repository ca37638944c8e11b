"""bsuite's easier problems through Gymnasium: their rules, their ends, their refusals."""

import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import hunch.envs
from hunch.errors import ConfigurationError

CATCH, BANDIT = "hunch/Catch-v0", "hunch/Bandit-v0"
CAR, POLE = "hunch/BsuiteMountainCar-v0", "hunch/BsuiteCartPole-v0"
NAMES = [CATCH, BANDIT, CAR, POLE]
DRAWN = [CATCH, CAR, POLE]


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        *((name, {}) for name in NAMES),
        (CATCH, {"rows": 2, "columns": 1}),
        (BANDIT, {"mapping_seed": None, "num_actions": 2}),
        (CAR, {"max_steps": 1}),
        (POLE, {"max_time": 0.01, "init_range": 0.0}),
    ],
)
def test_gymnasium_checks_pass(name, settings):
    env = gymnasium.make(name, **settings).unwrapped
    with warnings.catch_warnings():
        # Speeds have no bound, and we say so; Gymnasium's own CartPole does too.
        if name == POLE:
            warnings.filterwarnings("ignore", message=".*A Box observation space m.*infinity")
        check_env(env)


@pytest.mark.parametrize("name", NAMES)
def test_many_episodes_stay_in_the_spaces_and_end_by_termination(name):
    env = gymnasium.make(name)
    env.action_space.seed(0)
    over, steps = True, 0
    while steps < 3000:
        if over:
            seen, _ = env.reset(seed=0 if steps == 0 else None)
        seen, reward, over, truncated, _ = env.step(env.action_space.sample())
        assert seen in env.observation_space
        assert isinstance(reward, float)
        assert not truncated
        steps += 1


def test_a_paddle_under_the_ball_earns_one_and_elsewhere_costs_one():
    env = gymnasium.make(CATCH)
    for seed in range(12):
        board, _ = env.reset(seed=seed)
        ball = int(board[0].argmax())
        assert board[9, 2] == 1
        moves = [0] * (2 - ball) + [2] * (ball - 2)
        steps = [env.step(move) for move in moves + [1] * (9 - len(moves))]
        assert [step[1] for step in steps] == [0.0] * 8 + [1.0]
        assert [step[2] for step in steps] == [False] * 8 + [True]
        assert steps[-1][0].sum() == 1
        env.reset(seed=seed)
        wrong = [2 if ball < 2 else 0] * 9
        assert [env.step(move)[1] for move in wrong][-1] == -1.0


def test_all_columns_come_up_and_follow_from_the_seed():
    env = hunch.envs.Catch()
    env.reset(seed=5)
    balls = [int(env.reset()[0][0].argmax()) for _ in range(100)]
    assert set(balls) == set(range(5))
    env.reset(seed=5)
    assert [int(env.reset()[0][0].argmax()) for _ in range(100)] == balls


def test_each_arm_pays_its_own():
    for seed in (None, 0, 7):
        rewards = hunch.envs.Bandit(mapping_seed=seed).rewards
        np.testing.assert_allclose(np.sort(rewards), np.arange(11) / 10)
        assert (np.sort(rewards) == rewards).all() == (seed is None)


def test_swinging_gets_the_car_up_and_full_throttle_does_not():
    env = gymnasium.make(CAR, max_steps=300)
    seen, _ = env.reset(seed=0)
    count, over = 0, False
    while not over:
        seen, _, over, _, _ = env.step(2 if seen[1] >= 0 else 0)
        count += 1
    assert count < 200
    assert seen[0] >= 0.5
    env.reset(seed=0)
    steps = [env.step(2) for _ in range(300)]
    assert [step[2] for step in steps] == [False] * 299 + [True]
    assert max(step[0][0] for step in steps) < 0.5
    assert steps[-1][0][2] == 1


def test_the_left_end_stops_the_car():
    env = hunch.envs.BsuiteMountainCar()
    env.reset(seed=0)
    env._position, env._velocity = -1.19, -0.06
    seen = env.step(0)[0]
    np.testing.assert_allclose(seen, [-1.2, 0.0, 0.001], rtol=1e-6)
    assert env.step(1)[0][1] > 0


def test_an_upright_pole_earns_until_time_is_over_and_a_fall_ends_it():
    env = gymnasium.make(POLE, init_range=0.0)
    env.reset(seed=0)
    steps = [env.step(1) for _ in range(1001)]
    assert sum(step[1] for step in steps) == 1001
    assert [step[2] for step in steps] == [False] * 1000 + [True]
    env.reset(seed=0)
    rewards, over = [], False
    while not over:
        _, reward, over, _, _ = env.step(2)
        rewards.append(reward)
    assert rewards == [1.0] * (len(rewards) - 1) + [0.0]
    assert len(rewards) < 100


@pytest.mark.parametrize("name", NAMES)
def test_steps_that_no_episode_can_answer_are_refused(name):
    env = gymnasium.make(name, disable_env_checker=True)
    with pytest.raises(ConfigurationError, match=r"call reset\(\) before step"):
        env.step(0)
    with pytest.raises(ConfigurationError, match=r"`options` of reset got \['speed'\]"):
        env.reset(options={"speed": 2})
    env.reset(seed=0)
    for action in (-1, 11, 0.5, "left", None):
        with pytest.raises(ConfigurationError, match=r"`action` got .* expected an integer from 0"):
            env.step(action)
    over = False
    while not over:
        over = env.step(np.int64(0))[2]
    with pytest.raises(ConfigurationError, match="The episode is over"):
        env.step(0)


@pytest.mark.parametrize("name", DRAWN)
def test_images_show_the_state(name):
    env = gymnasium.make(name, render_mode="rgb_array").unwrapped
    with pytest.raises(ConfigurationError, match=r"call reset\(\) before step"):
        env.render()
    env.reset(seed=0)
    before = env.render()
    assert before.dtype == np.uint8
    assert before.shape[0] % 2 == before.shape[1] % 2 == 0
    for _ in range(9):
        env.step(2)
    assert (env.render() != before).any()
    plain = gymnasium.make(name).unwrapped
    plain.reset(seed=0)
    with pytest.raises(ConfigurationError, match="render_mode='rgb_array'"):
        plain.render()


@pytest.mark.parametrize("name", NAMES)
def test_gymnasium_batches_them(name):
    envs = gymnasium.make_vec(name, num_envs=3)
    seen, _ = envs.reset(seed=0)
    assert seen.shape == (3, *envs.single_observation_space.shape)
    assert envs.step(np.zeros(3, dtype=int))[1].shape == (3,)


@pytest.mark.parametrize(
    ("name", "wrong", "message"),
    [
        (CATCH, {"rows": 1}, "`rows` got 1; expected an integer of at least 2"),
        (CATCH, {"columns": 0}, "`columns` got 0"),
        (BANDIT, {"num_actions": 1}, "`num_actions` got 1"),
        (BANDIT, {"mapping_seed": -1}, "`mapping_seed` got -1"),
        (CAR, {"max_steps": 0.5}, "`max_steps` got 0.5"),
        (POLE, {"max_time": 0}, "`max_time` got 0; expected a finite number above 0"),
        (POLE, {"height_threshold": "high"}, "`height_threshold` got 'high'"),
        (
            POLE,
            {"init_range": -1.0},
            "`init_range` got -1.0; expected a finite number of at least 0",
        ),
    ],
)
def test_wrong_settings_are_refused(name, wrong, message):
    with pytest.raises(ConfigurationError, match=message):
        gymnasium.make(name, **wrong)
