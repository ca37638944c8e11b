"""Bugs that other libraries have, or had, in what they store and what they draw.

Each is named after the library in which the bug was found; what it was stands in the first line of
its test. What is tested is always hunch's own code.
"""

import gymnasium
import numpy as np
import pytest

import hunch.envs  # noqa: F401 - registers the chain
from hunch.rl import DQN, Linear, Replay
from hunch.rl.replay.transitions import Step

SMALL = {"update_period": 1, "hidden_sizes": (16, 16), "batch_size": 16}


def one_step(t, *, reward=0.0, terminated=False, truncated=False, valid=True):
    """Step t of one environment, whose observations are t and, true and last, t + 0.5."""

    def one(value, kind):
        return np.array([[value]], kind)

    ended = terminated or truncated
    return Step(
        one([t], np.float32),
        one(t, np.int64),
        one(reward, np.float32),
        one([t + 0.5 if ended else t + 1], np.float32),
        one(terminated, bool),
        one(truncated, bool),
        one(valid, bool),
    )


def drawn(replay, count=2000):
    """What is drawn, by action: reward, discount and next observation."""
    batch = replay.sample(count, [np.random.default_rng(0)])
    fields = (batch.action, batch.reward, batch.discount, batch.next_observation[..., 0])
    return {
        int(a): tuple(map(float, rest)) for a, *rest in zip(*(f[0] for f in fields), strict=True)
    }


@pytest.mark.parametrize("alpha", [None, 0.5])
def test_cleanrl_nstep_loses_the_last_transitions_and_crosses_truncation(alpha):
    """The last n - 1 steps of an episode were never stored; a window went on past a time limit."""
    replay = Replay(100, (1,), n_step=3, discount=0.5, priority_exponent=alpha)
    for t in range(12):
        replay.add(one_step(t, reward=1.0, terminated=t == 4, truncated=t == 8))
    rows = drawn(replay)
    assert sorted(rows) == list(range(10))
    assert [rows[t][:2] for t in (2, 3, 4)] == [(1.75, 0.0), (1.5, 0.0), (1.0, 0.0)]
    assert [rows[t] for t in (6, 7, 8)] == [(1.75, 0.125, 8.5), (1.5, 0.25, 8.5), (1.0, 0.5, 8.5)]


def test_curt_park_8_9_66_and_ray_2737_bootstrap_over_n_steps_with_gamma_to_the_one():
    """After n rewards the value is worth γⁿ, and after fewer as many as there were."""
    replay = Replay(100, (1,), n_step=4, discount=0.9)
    for t in range(9):
        replay.add(one_step(t, reward=10.0**-t, truncated=t == 6))
    rows = drawn(replay)
    for t, steps in ((0, 4), (2, 4), (3, 4), (4, 3), (5, 2)):
        reward, discount, _ = rows[t]
        expected = sum(0.9**j * 10.0 ** -(t + j) for j in range(steps))
        assert reward == pytest.approx(expected, rel=1e-5)
        assert discount == pytest.approx(0.9**steps)


@pytest.mark.parametrize("alpha", [None, 0.6])
def test_curt_park_88_never_samples_the_last_item(alpha):
    """An index was one too small, so that the newest transition was never drawn."""
    for count in (1, 2, 9, 10, 11, 25):
        replay = Replay(10, (1,), priority_exponent=alpha)
        for t in range(count):
            replay.add(one_step(t))
        assert sorted(drawn(replay)) == list(range(max(0, count - 10), count))


@pytest.mark.parametrize("alpha", [None, 0.6])
def test_kaixhin_7_samples_transitions_that_straddle_the_write_head(alpha):
    """Behind the newest step stands the oldest one: no window may go from one to the other."""
    replay = Replay(8, (1,), n_step=3, discount=1.0, priority_exponent=alpha)
    for t in range(40):
        replay.add(one_step(t, reward=1.0))
        if t < 2:
            continue
        rows = drawn(replay, 300)
        assert sorted(rows) == list(range(max(0, t - 7), t - 1))
        assert set(rows.values()) == {(3.0, 1.0, float(a + 3)) for a in rows}


@pytest.mark.parametrize("n_step", [1, 3])
def test_curt_park_86_takes_a_time_limit_for_the_end(steady, n_step):
    """A value of 0 behind a time limit; here the bootstrap stops at `terminated` alone."""
    for truncates in (True, False):
        agent = DQN(steady(length=2, truncates=truncates), n_step=n_step, discount=0.5, **SMALL)
        agent.learn(30, progress=False)
        batch = agent._replay.sample(200, [np.random.default_rng(0)])
        assert (batch.discount == 0).any() == (not truncates)
        if truncates:
            # The true last observation is (1, 0.5), the next episode's first one (1, 0).
            assert (batch.next_observation[0, :, 1] == 0.5).any()


def test_cleanrl_499_stores_the_step_that_only_resets():
    """Gymnasium 1.0 answers the action after an end with the next episode's first observation."""
    envs = gymnasium.make_vec("hunch/Chain-v0", 2, size=3)
    assert envs.metadata["autoreset_mode"] is gymnasium.vector.AutoresetMode.NEXT_STEP
    agent = DQN(envs, replay_capacity=400, **SMALL).learn(300, progress=False)
    batch = agent._replay.sample(3000, [np.random.default_rng(0)])
    # One state to the left or right, or the wall: never from an end back to the start.
    here, there = (o[0].argmax(-1) for o in (batch.observation, batch.next_observation))
    going = batch.discount[0] > 0
    assert (np.abs(here - there)[going] <= 1).all()
    lengths = agent.history.lengths
    assert len(agent._replay) > sum(lengths)  # pauses are stored between the others …
    assert agent._replay.num_drawable < len(agent._replay)  # … and are not drawn


def test_tianshou_386_keeps_beta_fixed():
    """Importance weights must undo the preference in full by the end."""
    agent = DQN(
        "CartPole-v1", prioritized=True, priority_correction=Linear(0.4, 1.0, steps=60), **SMALL
    )
    betas, sample = [], agent._replay.sample

    def watched(batch_size, rngs, beta):
        betas.append(beta)
        return sample(batch_size, rngs, beta)

    agent._replay.sample = watched
    agent.learn(80, progress=False)
    assert betas[0] == pytest.approx(0.4 + 0.6 * 16 / 60)
    assert betas == sorted(betas)
    assert betas[-20:] == [1.0] * 20
    assert DQN("CartPole-v1").priority_correction == Linear(0.4, 1.0, steps=100_000)
    batch = sample(64, [np.random.default_rng(0)], 0.7)
    assert batch.weight.max() == 1.0
    assert batch.weight.min() < 1.0


def test_flashbax_58_rounds_priorities_to_integers_and_to_zero():
    """An integer largest priority and a float32 tree made priorities 0."""
    replay = Replay(1000, (1,), priority_exponent=0.5)
    for t in range(1000):
        replay.add(one_step(t))
    everything = replay.sample(20_000, [np.random.default_rng(0)])
    errors = np.where(everything.action == 3, 1e-6, 1e9).astype(np.float32)
    replay.update_priorities(everything.position, errors)
    assert replay._priorities.tree.leaves.dtype == np.float64
    leaves = replay._priorities.tree.leaves[0][:1000]
    assert (leaves > 0).all()
    assert leaves[3] == pytest.approx(2e-6**0.5, rel=1e-2)
    assert replay._priorities.largest[0] == pytest.approx(1e9)
