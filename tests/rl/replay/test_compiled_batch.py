"""Batches taken from the replay buffer by the compiled kernel, against numpy's."""

import copy
import pickle

import numpy as np
import pytest
from streams import Stream

from hunch.kernel import kernel
from hunch.rl import Replay
from hunch.rl.replay import compiled_batch

pytestmark = pytest.mark.skipif(kernel() is None, reason="no compiled kernel")


@pytest.mark.parametrize("n_step", [1, 3])
@pytest.mark.parametrize(
    "kind",
    [
        {},
        {"replicas": 2, "envs": 3, "cuts": 0.1},
        {"envs": 2, "pauses": True},
        {"stack": 4, "replicas": 2, "cuts": 0.1},
    ],
    ids=["plain", "many", "pauses", "stacks"],
)
@pytest.mark.parametrize("prioritized", [False, True])
def test_batches_are_numpys_to_the_bit(n_step, kind, prioritized, monkeypatch):
    stream = Stream(0, **kind)
    lead = {"replicas": stream.lead[0], "envs": stream.lead[1]}
    replay = Replay(
        40 * stream.lead[1],
        stream.shape,
        stream.dtype,
        n_step=n_step,
        discount=0.97,
        frame_stack=stream.stack,
        priority_exponent=0.6 if prioritized else None,
        **lead,
    )
    for count in range(150):
        replay.add(stream.step()[0])
        if count % 10 or not replay.num_drawable:
            continue
        found = []
        for library in (kernel(), None):
            monkeypatch.setattr(compiled_batch, "kernel", lambda library=library: library)
            rngs = [np.random.default_rng(count + r) for r in range(stream.lead[0])]
            found.append(replay.sample(64, rngs))
        for ours, theirs in zip(*found, strict=True):
            assert (ours is None and theirs is None) or (
                ours.dtype == theirs.dtype and np.array_equal(ours, theirs)
            )


@pytest.mark.parametrize("way", [copy.deepcopy, lambda own: pickle.loads(pickle.dumps(own))])
def test_a_copy_draws_from_its_own_memory(way):
    stream = Stream(0)
    replay = Replay(100, stream.shape, stream.dtype)
    for _ in range(20):
        replay.add(stream.step()[0])
    copied = way(replay)
    replay._reward[:] = 7.0
    assert 7.0 not in copied.sample(64, [np.random.default_rng(0)]).reward
    assert (replay.sample(64, [np.random.default_rng(0)]).reward == 7.0).all()
