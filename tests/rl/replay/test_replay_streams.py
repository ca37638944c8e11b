"""Replay against a loop over episodes that keeps everything."""

import math

import numpy as np
import pytest
from streams import Stream

from hunch.rl import Replay

LAYOUTS = {
    "one environment": {},
    "several": {"envs": 3},
    "replicas": {"replicas": 2, "envs": 2},
    "short episodes": {"envs": 2, "ends": 0.7},
    "endless": {"ends": 0.0},
    "pauses": {"envs": 3, "pauses": True},
    "faults": {"replicas": 2, "envs": 2, "cuts": 0.1},
    "pauses and faults": {"envs": 2, "pauses": True, "cuts": 0.1},
    "images": {"stack": 3},
    "images of several": {"replicas": 2, "envs": 2, "stack": 4, "ends": 0.15},
    "images and faults": {"envs": 2, "stack": 2, "cuts": 0.1},
}


def filled(stream, capacity, n_step, count, *, discount=0.9, alpha=None, reload=False):
    """A buffer with the stream's first steps; `reload` sends it through its state now and then."""

    def new():
        return Replay(
            capacity,
            stream.shape,
            stream.dtype,
            replicas=stream.lead[0],
            envs=stream.lead[1],
            n_step=n_step,
            discount=discount,
            priority_exponent=alpha,
            frame_stack=stream.stack,
            prior_shape=(2,),
            mask_size=stream.members,
        )

    def notes_of(observations):
        # Each replica priors in its own way, as each has networks of its own.
        own = np.arange(replay.replicas)[:, None, None]
        return stream.note_of(observations) + own

    replay = new()
    for i in range(count):
        replay.add(*stream.step())
        if i % 4 == 1:
            replay.cache_priors(notes_of)
        if reload and i % 7 == 3:
            state = {name: np.array(values) for name, values in replay.state_dict().items()}
            replay = new()
            replay.load_state_dict(state)
    replay.cache_priors(notes_of)
    return replay


def check_rows(batch, stream, n_step, discount):
    """Every row of a batch is what the episodes say."""
    for r, i in np.ndindex(batch.action.shape):
        action = int(batch.action[r, i])
        replica, e, t = stream.places[action]
        assert replica == r
        first = stream.records[r][e][t]
        reward, factor, last = stream.expected(action, n_step, discount)
        assert np.array_equal(batch.observation[r, i], first.observation)
        assert batch.reward[r, i] == pytest.approx(reward, rel=1e-5, abs=1e-5)
        assert batch.discount[r, i] == pytest.approx(factor, rel=1e-6)
        assert np.array_equal(batch.prior[r, i], stream.note_of(first.observation) + r)
        assert np.array_equal(batch.mask[r, i], first.mask)
        if not last.terminated:  # what is behind an end is multiplied with 0
            assert np.array_equal(batch.next_observation[r, i], last.following)
            assert np.array_equal(batch.next_prior[r, i], stream.note_of(last.following) + r)


@pytest.mark.every(2)
@pytest.mark.parametrize("n_step", [1, 3, 5])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("alpha", [None, 0.5], ids=["uniform", "priorities"])
def test_every_row_is_what_the_episodes_say_and_every_eligible_one_is_drawn(layout, n_step, alpha):
    # Counts before the ring is full, at its seam, and after several rounds.
    for seed, count in enumerate((n_step, 11, 12, 13, 14, 40, 61)):
        stream = Stream([n_step, seed], members=4, **LAYOUTS[layout])
        envs = stream.lead[1]
        replay = filled(stream, 12 * envs - (envs > 1), n_step, count, alpha=alpha)
        assert len(replay) == min(count, 12) * envs
        eligible = [stream.drawable(r, n_step, 12) for r in range(stream.lead[0])]
        assert replay.num_drawable == min(map(len, eligible))
        if not replay.num_drawable:
            continue
        # 40 draws for each of 36 rows at most: one is missed with probability 1e-15.
        rngs = [np.random.default_rng([seed, r]) for r in range(stream.lead[0])]
        batch = replay.sample(40 * max(map(len, eligible)), rngs)
        for r, actions in enumerate(eligible):
            assert set(batch.action[r].tolist()) == actions
        thinned = batch._replace(weight=None)
        thinned = type(batch)(*(f if f is None else f[:, :150] for f in thinned))
        check_rows(thinned, stream, n_step, 0.9)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_buffer_that_goes_through_its_state_is_the_same(layout):
    streams = [Stream(5, members=4, **LAYOUTS[layout]) for _ in range(2)]
    whole, carried = (
        filled(stream, 12 * stream.lead[1], 3, 50, alpha=0.7, reload=reload)
        for stream, reload in zip(streams, (False, True), strict=True)
    )
    for replay in (whole, carried):
        rng = [np.random.default_rng(0)] * replay.replicas
        batch = replay.sample(64, rng)
        replay.update_priorities(batch.position, np.abs(batch.reward))
        # Of what is overwritten no last observation is kept.
        assert len(replay.state_dict().get("finals.slot", [])) == replay._truncated.sum()
    states = [replay.state_dict() for replay in (whole, carried)]
    assert states[0].keys() == states[1].keys()
    for name, values in states[0].items():
        if not name.startswith("final_observations"):
            assert np.array_equal(values, states[1][name]), name
    batches = [
        replay.sample(500, [np.random.default_rng(r) for r in range(replay.replicas)], beta=0.5)
        for replay in (whole, carried)
    ]
    for field, other in zip(*batches, strict=True):
        assert np.array_equal(field, other)


def test_windows_do_not_cross_an_end_and_tails_are_not_lost():
    """By hand: an episode of three steps that terminates, one of two that is cut by time."""
    one = np.ones((1, 1))
    replay = Replay(20, (1,), n_step=3, discount=0.5)
    ends = [(0, 0), (0, 0), (1, 0), (0, 0), (0, 1), (0, 0), (0, 0), (0, 0)]
    from hunch.rl.replay.transitions import Step

    for t, (terminated, truncated) in enumerate(ends):
        replay.add(
            Step(
                np.full((1, 1, 1), 10 * t),
                t * one,
                (t + 1) * one,
                np.full((1, 1, 1), 10 * t + 1),
                one == terminated,
                one == truncated,
                one == 1,
            )
        )
    batch = replay.sample(500, [np.random.default_rng(0)])
    rows = {
        int(a): (float(r), float(d), float(o))
        for a, r, d, o in zip(
            batch.action[0],
            batch.reward[0],
            batch.discount[0],
            batch.next_observation[0, :, 0],
            strict=True,
        )
    }
    assert sorted(rows) == [0, 1, 2, 3, 4, 5]  # 6 and 7 wait for their third reward
    assert [rows[t][:2] for t in (0, 1, 2)] == [(1 + 2 / 2 + 3 / 4, 0), (2 + 3 / 2, 0), (3, 0)]
    assert rows[3] == (4 + 5 / 2, 1 / 4, 41)  # the true last observation, two steps on
    assert rows[4] == (5, 1 / 2, 41)
    assert rows[5] == (6 + 7 / 2 + 8 / 4, 1 / 8, 71)


def test_uniform_draws_are_uniform_over_eligible_transitions():
    stream = Stream(1, envs=3, pauses=True)
    replay = filled(stream, 45, 2, 40)
    actions = sorted(stream.drawable(0, 2, 15))
    drawn = replay.sample(60_000, [np.random.default_rng(2)]).action[0]
    counts = np.array([(drawn == action).sum() for action in actions])
    expected = len(drawn) / len(actions)
    statistic = ((counts - expected) ** 2 / expected).sum()
    freedom = len(actions) - 1
    assert statistic < freedom + 8 * math.sqrt(2 * freedom)  # less than once in 10⁶


def test_frames_are_stored_once():
    replay = Replay(1000, (4, 84, 84), np.uint8, frame_stack=4)
    values = [v for v in vars(replay).values() if isinstance(v, np.ndarray)]
    a_transition = sum(v.nbytes for v in values) / 1000
    assert 84 * 84 <= a_transition < 84 * 84 * 1.01
    plain = Replay(1000, (4, 84, 84), np.uint8)
    assert plain._observation.nbytes == 1001 * 4 * 84 * 84  # not twice either
