"""Advantages against a sum for each step."""

import numpy as np
import pytest

from hunch.rl.objectives.advantages import advantages, leave_one_out_by_time


def looped(reward, value, following, terminated, truncated, discount, lam):
    """Σ (γλ)ᵏ δ, each from its own sum."""
    found = np.zeros(len(reward))
    for t in range(len(reward)):
        weight = 1.0
        for k in range(t, len(reward)):
            led = 0.0 if terminated[k] else following[k]
            found[t] += weight * (reward[k] + discount * led - value[k])
            weight *= discount * lam
            if terminated[k] or truncated[k]:
                break
    return found


@pytest.mark.parametrize("lam", [0.0, 0.7, 1.0])
def test_advantages_are_sums_of_errors(lam):
    g = np.random.default_rng(3)
    shape = (40, 2, 3)
    reward, value, following = g.normal(size=(3, *shape))
    terminated = g.random(shape) < 0.1
    truncated = ~terminated & (g.random(shape) < 0.1)
    found = advantages(
        reward, value, following, terminated, truncated, discount=0.9, gae_lambda=lam
    )
    for r in range(2):
        for e in range(3):
            one = [x[:, r, e] for x in (reward, value, following, terminated, truncated)]
            assert np.allclose(found[:, r, e], looped(*one, 0.9, lam))


def test_leave_one_out_by_time_leaves_the_own_episode_out():
    returns = np.array([5.0, 4.0, 3.0, 7.0, 10.0, 9.0])
    episode, time = np.array([0, 0, 0, 1, 4, 4]), np.array([0, 1, 2, 0, 0, 1])
    found = leave_one_out_by_time(returns, episode, time)
    assert np.allclose(found, [8.5, 4.5, 0.0, 7.5, 6.0, 2.0])
    other = returns.copy()
    other[:3] = 100.0
    assert np.allclose(leave_one_out_by_time(other, episode, time)[:3], found[:3])
