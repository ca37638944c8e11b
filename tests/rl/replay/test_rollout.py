"""Rollouts: which episode a step belongs to, and where values are bootstrapped."""

import numpy as np

from hunch.rl.replay.rollout import Rollout
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
