"""Rollouts: which episode a step belongs to, and where values are bootstrapped."""

import numpy as np
import pytest

from hunch.rl.replay.rollout import Rollout, Trajectory
from hunch.rl.replay.transitions import Step


def test_a_rollout_knows_episodes_and_closes_broken_ones():
    no = np.zeros((1, 2), bool)

    def step(t, terminated=no, truncated=no, is_first=no):
        x = np.full((1, 2, 1), t, np.float32)
        return Step(x, np.zeros((1, 2)), np.ones((1, 2), np.float32), x + 1, terminated, truncated, ~no, is_first)  # fmt: skip

    rollout = Rollout()
    left = np.array([[True, False]])
    for t, made in enumerate(
        [
            step(0, is_first=~no),
            step(1, terminated=left),
            step(2, is_first=left),
            step(3, is_first=~no),
        ]
    ):
        rollout.add(made, made.action, counts=~no)
        assert len(rollout) == t + 1
    trajectory = rollout.since(0)
    # Both episodes were broken off before step 3 without an end.
    assert trajectory.truncated[:, 0].tolist() == [
        [False] * 2,
        [False] * 2,
        [True] * 2,
        [False] * 2,
    ]
    assert trajectory.bootstrap_steps == [2, 3]
    assert trajectory.bootstrap_observation[:, 0, 0, 0].tolist() == [3.0, 4.0]
    episode, place = trajectory.episodes()
    assert episode.tolist() == [0, 1, 0, 1, 2, 1, 4, 3]
    assert place.tolist() == [0, 0, 1, 1, 0, 2, 0, 0]


@pytest.mark.parametrize("shape", [(4, 1, 1), (4, 3, 1), (4, 1, 3), (4, 2, 3)])
def test_rows_lie_side_by_side_whether_all_of_them_count_or_not(shape):
    values, all_of_them = np.arange(np.prod(shape)).reshape(shape), np.ones(shape, bool)
    first_left_out = all_of_them.copy()
    first_left_out[0] = False
    for counts, start in ((all_of_them, 0), (first_left_out, 1)):
        rows = Trajectory(*[values] * 5, counts, [], values).rows(values)
        expected = [[values[t, r] for t in range(start, 4)] for r in range(shape[1])]
        np.testing.assert_array_equal(rows, np.reshape(expected, (shape[1], -1)))
        assert rows.flags.c_contiguous  # the kernel reads them one after another
