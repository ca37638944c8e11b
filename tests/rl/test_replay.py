import numpy as np
import pytest

from hunch.errors import ConfigurationError, ShapeError
from hunch.rl import Replay


def filled(capacity, count):
    replay = Replay(capacity, (2,))
    for i in range(count):
        replay.add([i, -i], i, i / 2, [i + 1, 0], terminated=i % 3 == 0)
    return replay


def test_rows_stay_together_and_the_oldest_go_first():
    replay = filled(capacity=10, count=25)
    assert len(replay) == 10
    batch = replay.sample(2000, np.random.default_rng(0))
    assert set(batch.action) == set(range(15, 25))  # 10 rows, 2000 draws: misses one in 1e-90
    assert np.array_equal(batch.observation, np.stack([batch.action, -batch.action], axis=1))
    assert np.array_equal(batch.reward, batch.action / 2)
    assert np.array_equal(batch.next_observation[:, 0], batch.action + 1)
    assert np.array_equal(batch.terminated, batch.action % 3 == 0)


def test_draws_are_uniform():
    batch = filled(capacity=50, count=50).sample(100_000, np.random.default_rng(1))
    counts = np.bincount(batch.action, minlength=50)
    # χ² with 49 degrees of freedom exceeds 112 once in 10⁶.
    assert ((counts - 2000) ** 2 / 2000).sum() < 112


def test_a_partly_filled_buffer_never_returns_what_was_not_stored():
    assert filled(capacity=1000, count=3).sample(500, np.random.default_rng(0)).action.max() == 2


def test_fields_have_fixed_types_and_observations_the_one_asked_for():
    replay = Replay(5, (3, 2), np.uint8)
    replay.add(np.full((3, 2), 255), 1, 1.0, np.zeros((3, 2)), terminated=True)
    batch = replay.sample(4, np.random.default_rng(0))
    assert [field.dtype for field in batch] == [np.uint8, np.int64, np.float32, np.uint8, np.bool_]
    assert batch.observation.shape == (4, 3, 2)


def test_stored_rows_are_copies():
    replay, observation = Replay(5, (2,)), np.ones(2)
    replay.add(observation, 0, 0.0, observation, terminated=False)
    observation[:] = 9
    assert replay.sample(1, np.random.default_rng(0)).observation.max() == 1


def test_misuse_is_named():
    with pytest.raises(ConfigurationError, match="`capacity` got 0"):
        Replay(0, (2,))
    with pytest.raises(ConfigurationError, match="empty"):
        Replay(5, (2,)).sample(1, np.random.default_rng(0))
    with pytest.raises(ShapeError, match=r"`next_observation` got shape \(\); expected \(2,\)"):
        Replay(5, (2,)).add([0, 0], 0, 0.0, 1.0, terminated=False)
