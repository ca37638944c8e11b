import numpy as np
import pytest

from hunch.errors import ConfigurationError, DataError, ShapeError
from hunch.rl import Replay
from hunch.rl.replay.transitions import Step


def step(observation, action, reward, following, *, terminated=False, dtype=np.float32):
    """A step of one environment of one replica."""

    def one(value, kind):
        return np.array(value, kind)[None, None]

    no = np.zeros((1, 1), bool)
    ends = one(terminated, bool)
    return Step(
        one(observation, dtype),
        one(action, np.int64),
        one(reward, np.float32),
        one(following, dtype),
        ends,
        no,
        ~no,
    )


def filled(capacity, count, **kwargs):
    replay = Replay(capacity, (2,), **kwargs)
    for i in range(count):
        replay.add(step([i, -i], i, i / 2, [i + 1, -i - 1], terminated=i % 3 == 0))
    return replay


def sample(replay, count, seed=0, **kwargs):
    """A batch of the first replica."""
    batch = replay.sample(count, [np.random.default_rng(seed)], **kwargs)
    return type(batch)(*(field if field is None else field[0] for field in batch))


def test_rows_stay_together_and_the_oldest_go_first():
    replay = filled(capacity=10, count=25)
    assert len(replay) == 10
    batch = sample(replay, 2000)
    assert set(batch.action) == set(range(15, 25))  # 10 rows, 2000 draws: misses one in 1e-90
    assert np.array_equal(batch.observation, np.stack([batch.action, -batch.action], axis=1))
    assert np.array_equal(batch.reward, batch.action / 2)
    assert np.array_equal(batch.next_observation[:, 0], batch.action + 1)
    assert np.array_equal(batch.discount == 0, batch.action % 3 == 0)
    assert batch.weight is batch.prior is batch.next_prior is batch.mask is None


def test_a_loaded_buffer_is_drawn_from_at_once():
    replay, loaded = filled(capacity=10, count=25), Replay(10, (2,))
    loaded.load_state_dict(replay.state_dict())
    assert loaded.num_drawable == replay.num_drawable == 10
    for own, other in zip(sample(replay, 50), sample(loaded, 50), strict=True):
        assert own is other is None or np.array_equal(own, other)


def test_draws_are_uniform():
    batch = sample(filled(capacity=50, count=50), 100_000, seed=1)
    counts = np.bincount(batch.action, minlength=50)
    # χ² with 49 degrees of freedom exceeds 112 once in 10⁶.
    assert ((counts - 2000) ** 2 / 2000).sum() < 112


def test_a_partly_filled_buffer_never_returns_what_was_not_stored():
    assert sample(filled(capacity=1000, count=3), 500).action.max() == 2


def test_fields_have_fixed_types_and_observations_the_one_asked_for():
    replay = Replay(5, (3, 2), np.uint8, priority_exponent=1.0)
    replay.add(step(np.full((3, 2), 255), 1, 1.0, np.zeros((3, 2)), terminated=True))
    batch = sample(replay, 4)
    assert [field.dtype for field in batch[:7]] == [
        np.uint8, np.int64, np.float32, np.uint8, np.float32, np.float32, np.int64
    ]  # fmt: skip
    assert batch.observation.shape == (4, 3, 2)
    assert batch.discount.tolist() == [0.0] * 4


def test_stored_rows_are_copies():
    replay, given = Replay(5, (2,)), step([1, 1], 0, 0.0, [1, 1])
    replay.add(given)
    given.observation[:] = given.next_observation[:] = 9
    batch = sample(replay, 1)
    assert batch.observation.max() == batch.next_observation.max() == 1


def test_a_batch_is_a_copy():
    replay = filled(capacity=10, count=3)
    batch = sample(replay, 20)
    batch.observation[:] = batch.reward[:] = 99
    assert sample(replay, 20).observation.max() < 99
    assert sample(replay, 20).reward.max() < 99


@pytest.mark.parametrize("frame_stack", [1, 2])
def test_what_was_never_drawable_is_not_drawn(frame_stack):
    """Where nothing but pauses could be drawn there is nothing to draw, rather than a long wait."""
    shape = (frame_stack, 2) if frame_stack > 1 else (2,)
    replay = Replay(2, shape, n_step=2, priority_exponent=0.5, frame_stack=frame_stack)
    given = step(np.zeros(shape), 0, 0.0, np.zeros(shape))
    replay.add(given._replace(valid=np.zeros((1, 1), bool)))
    assert replay.num_drawable == 0
    replay.add(given)
    assert replay.num_drawable == 0
    with pytest.raises(ConfigurationError, match="holds 2 transitions"):
        sample(replay, 1)
    replay.add(given)
    assert replay.num_drawable == 1
    assert len(sample(replay, 3).action) == 3


def test_misuse_is_named():
    with pytest.raises(ConfigurationError, match="`capacity` got 0"):
        Replay(0, (2,))
    with pytest.raises(ConfigurationError, match="`n_step` got 0"):
        Replay(5, (2,), n_step=0)
    with pytest.raises(ConfigurationError, match="`n_step` got 3; expected at most 2, the steps"):
        Replay(5, (2,), envs=3, n_step=3)
    with pytest.raises(ConfigurationError, match="`priority_exponent` got -1"):
        Replay(5, (2,), priority_exponent=-1)
    with pytest.raises(ConfigurationError, match="holds 0 transitions"):
        sample(Replay(5, (2,)), 1)
    with pytest.raises(ShapeError, match=r"`next_observation` got shape \(1, 1\); expected"):
        Replay(5, (2,)).add(step([0, 0], 0, 0.0, 1.0))


# Priorities


def errors_of(batch, size):
    """The error that is given to a transition: a function of its action."""
    return np.array([size(int(a)) for a in batch.action.flat]).reshape(batch.action.shape)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_probability_is_proportional_to_priority_to_the_exponent(alpha):
    replay = filled(capacity=40, count=60, priority_exponent=alpha)
    everything = replay.sample(2000, [np.random.default_rng(0)])
    replay.update_priorities(everything.position, errors_of(everything, lambda a: 1 + a % 7))
    assert len(set(everything.action[0])) == 40
    priority = (1 + np.arange(20, 60) % 7 + 1e-6) ** alpha
    batches = [sample(replay, 100, seed) for seed in range(600)]
    counts = np.bincount(np.concatenate([b.action for b in batches]) - 20, minlength=40)
    expected = 60_000 * priority / priority.sum()
    # A draw from each of equal parts varies less than free draws, whose χ² with 39 degrees of
    # freedom exceeds 98 once in 10⁶.
    assert ((counts - expected) ** 2 / expected).sum() < 98


def test_weights_follow_the_formula():
    replay = filled(capacity=40, count=60, priority_exponent=0.6)
    everything = replay.sample(2000, [np.random.default_rng(0)])
    replay.update_priorities(everything.position, errors_of(everything, lambda a: a))
    priority = {a: (a + 1e-6) ** 0.6 for a in range(20, 60)}
    total = sum(priority.values())
    for beta in (0.0, 0.4, 1.0):
        batch = sample(replay, 32, beta=beta)
        weights = np.array([(40 * priority[int(a)] / total) ** -beta for a in batch.action])
        assert batch.weight == pytest.approx(weights / weights.max(), rel=1e-5)


def test_a_new_transition_has_the_largest_priority_so_far():
    replay = filled(capacity=40, count=10, priority_exponent=1.0)
    everything = replay.sample(500, [np.random.default_rng(0)])
    replay.update_priorities(everything.position, np.full((1, 500), 0.01))
    replay.add(step([10, -10], 10, 5.0, [11, -11]))
    drawn = sample(replay, 1000).action  # 1 beside ten of 0.01
    assert abs((drawn == 10).mean() - 1 / 1.1) < 0.01
    replay.update_priorities(everything.position, np.full((1, 500), 3.0))
    replay.add(step([11, -11], 11, 5.5, [12, -12]))
    drawn = sample(replay, 1000).action  # 3 beside ten of 3 and one of 1
    assert abs((drawn == 11).mean() - 3 / 34) < 0.01


def test_priorities_reach_the_transition_they_are_meant_for():
    """In several replicas and environments, where positions are easily mixed up."""
    rng = np.random.default_rng(3)
    replay = Replay(60, (1,), replicas=3, envs=4, priority_exponent=1.0)
    no = np.zeros((3, 4), bool)
    for t in range(22):
        # An action that says where it is: time, replica, environment.
        action = t * 12 + np.arange(12).reshape(3, 4)
        observation = rng.normal(size=(3, 4, 1))
        replay.add(Step(observation, action, no * 1.0, observation, no, no, ~no))
    batch = replay.sample(1000, [np.random.default_rng(r) for r in range(3)])
    replay.update_priorities(batch.position, errors_of(batch, lambda a: float(a % 5 == 0)))
    batch = replay.sample(1000, [np.random.default_rng(r) for r in range(3)])
    assert (batch.action % 5 == 0).all()
    assert (batch.action // 4 % 3 == np.arange(3)[:, None]).all()


def test_an_error_of_zero_does_not_shut_out_and_one_that_is_no_number_is_refused():
    replay = filled(capacity=5, count=5, priority_exponent=1.0)
    batch = replay.sample(50, [np.random.default_rng(0)])
    replay.update_priorities(batch.position, np.zeros((1, 50)))
    assert set(sample(replay, 500).action) == set(range(5))
    with pytest.raises(DataError, match="non-finite"):
        replay.update_priorities(batch.position, np.full((1, 50), np.nan))


def test_mass_never_exceeds_the_total():
    """The last of equal parts may round up to more than the whole."""

    class AlmostOne:
        def random(self, size):
            return np.full(size, np.nextafter(1.0, 0.0))

    for batch_size in range(1, 130):
        replay = filled(capacity=9, count=9, priority_exponent=1.0)
        batch = replay.sample(40, [np.random.default_rng(0)])
        replay.update_priorities(batch.position, errors_of(batch, lambda a: (a + 1) / 7))
        assert replay.sample(batch_size, [AlmostOne()]).action[0, -1] == 8
