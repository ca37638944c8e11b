"""Rewards that are too large for networks are made smaller, by the first of them."""

import numpy as np
import pytest

from hunch.rl.objectives.reward_scale import LARGE, RewardScale
from hunch.rl.replay.rollout import Rollout
from hunch.rl.replay.transitions import Step


def chosen(reward, *, discount=0.99, ended=None, replicas=1):
    scale = RewardScale(None, discount=discount, replicas=replicas)
    ended = np.zeros(reward.shape, bool) if ended is None else ended
    scale.choose(reward, np.zeros_like(ended), ended)
    return scale.multiplier


def lasting(size, steps=300):
    return np.full((steps, 1, 1), float(size))


@pytest.mark.parametrize("size", [0.0, 1e-4, 1.0, -1.25])
def test_rewards_of_usual_size_and_small_ones_stay(size):
    assert chosen(lasting(size)) == 1.0


@pytest.mark.parametrize("size", [1.3, 3.0, -10.0, 77.0, 1e3, -1e9])
def test_large_ones_end_between_64_and_128(size):
    (multiplier,) = chosen(lasting(size))
    assert LARGE / 2 < 100.0 * abs(size) * multiplier <= LARGE * (1 + 1e-9)
    assert np.log2(multiplier) == round(np.log2(multiplier))


def test_one_large_reward_counts_and_mean_rewards_by_how_long_they_may_last():
    once = np.zeros((300, 1, 1))
    once[7] = 2 * LARGE
    assert chosen(once) == 0.5
    short = np.ones((20, 1, 1), bool)
    short[:-1] = False
    assert chosen(lasting(5.0, 20), ended=short) < 1.0
    assert chosen(lasting(5.0, 20), ended=short, discount=0.5) == 1.0  # 10 at most


def test_without_discounting_returns_are_judged_by_one_of_99_hundredths():
    assert chosen(lasting(1.25, 10_000), discount=1.0) == 1.0


def test_less_may_be_left():
    scale = RewardScale(None, most=32.0, discount=0.99, replicas=1)
    no = np.zeros((300, 1, 1), bool)
    scale.choose(lasting(2.0), no, no)
    assert scale.multiplier == 1 / 8


def test_an_end_pays_once():
    paid = np.zeros((300, 1, 1))
    paid[::3] = 100.0
    ended = paid > 0
    scale = RewardScale(None, discount=0.99, replicas=1)
    scale.choose(paid, ended, ended)
    assert scale.multiplier == 1.0


def test_replicas_choose_for_themselves_and_once():
    reward = np.concatenate([lasting(1.0), lasting(100.0)], axis=1)
    scale = RewardScale(None, discount=0.99, replicas=2)
    no = np.zeros(reward.shape, bool)
    scale.choose(reward, no, no)
    assert scale.multiplier.tolist() == [1.0, 1 / 128]
    assert chosen(reward[:, 1:]) == 1 / 128
    scale.choose(100 * reward, no, no)
    assert scale.multiplier.tolist() == [1.0, 1 / 128]


def test_what_is_given_stays():
    scale = RewardScale(0.3, discount=0.99, replicas=2)
    scale.choose(np.full((9, 2, 1), 1e6), *[np.zeros((9, 2, 1), bool)] * 2)
    assert scale.multiplier.tolist() == [0.3, 0.3]


def test_a_rollout_is_judged_by_the_steps_that_count():
    rollout, no = Rollout(), np.zeros((1, 1), bool)
    x = np.zeros((1, 1, 2), np.float32)
    for reward, counts in ((1.0, True), (1e6, False), (1.0, True)):
        step = Step(x, no.astype(int), np.full((1, 1), reward, np.float32), x, no, no, ~no, no)
        rollout.add(step, step.action, counts=np.full((1, 1), counts))
    scale = RewardScale(None, discount=0.99, replicas=1)
    assert scale.of_trajectory(rollout.since(0)).reward.ravel().tolist() == [1.0, 1e6, 1.0]
    assert scale.multiplier == 1.0


def test_the_choice_is_kept_in_the_state():
    scale, other = (RewardScale(None, discount=0.99, replicas=1) for _ in range(2))
    scale.choose(lasting(100.0), *[np.zeros((300, 1, 1), bool)] * 2)
    other.load_state_dict({name: value.copy() for name, value in scale.state_dict().items()})
    no = np.zeros((1, 1), bool)
    x = np.zeros((1, 1, 2), np.float32)
    step = Step(x, no.astype(int), np.full((1, 1), 256.0, np.float32), x, no, no, ~no, no)
    assert other.multiplier == 1 / 128
    assert other.of_step(step).reward.item() == 2.0
