"""The scale of observations: its statistics against numpy's, and what it does to observations."""

import numpy as np
import pytest
import torch

from hunch.rl.networks.observation_scale import ObservationScale


def rows(replicas=1, envs=1, times=300, shape=(4,)):
    rng = np.random.default_rng(0)
    found = rng.normal(2.0, 1.0, (times, replicas, envs, *shape))
    return found.astype(np.float32)


def every(x):
    return np.ones(x.shape[:2], bool)


@pytest.mark.parametrize("envs", [1, 3, 20])
@pytest.mark.parametrize("shape", [(4,), (1,), (2, 3), ()])
def test_it_knows_the_mean_and_variance_of_all_it_saw(envs, shape):
    seen, scale = rows(2, envs, shape=shape), ObservationScale(shape, 2)
    for x in seen:
        scale.take_in(x, every(x))
    by_replica = np.moveaxis(seen, 1, 0).reshape(2, -1, *shape).astype(np.float64)
    assert scale.count.tolist() == [300 * envs] * 2
    np.testing.assert_allclose(scale.mean, by_replica.mean(1), rtol=1e-12)
    np.testing.assert_allclose(scale.variance, by_replica.var(1), rtol=1e-12)
    expected = (by_replica - by_replica.mean(1, keepdims=True)) / by_replica.std(1, keepdims=True)
    found = scale(by_replica.astype(np.float32))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5)
    for r in range(2):
        own = scale.of(torch.from_numpy(by_replica[r].astype(np.float32)), r)
        assert np.array_equal(own.numpy(), found[r])


def test_what_does_not_count_is_left_out():
    seen, scale = rows(2, 5), ObservationScale((4,), 2)
    counts = np.random.default_rng(1).random(seen.shape[:3]) < 0.5
    counts[:3] = False  # none at all at first
    for x, own in zip(seen, counts, strict=True):
        scale.take_in(x, own)
    for r in range(2):
        own = seen[:, r][counts[:, r]].astype(np.float64)
        assert scale.count[r] == len(own)
        np.testing.assert_allclose(scale.mean[r], own.mean(0), rtol=1e-12)
        np.testing.assert_allclose(scale.variance[r], own.var(0), rtol=1e-12)


@pytest.mark.parametrize("envs", [1, 3, 20])
@pytest.mark.parametrize("features", [1, 4])
def test_a_replica_has_the_bits_of_one_alone(envs, features):
    seen, together = rows(3, envs, shape=(features,)), ObservationScale((features,), 3)
    for x in seen:
        together.take_in(x, every(x))
    for r in range(3):
        alone = ObservationScale((features,))
        for x in seen[:, r : r + 1]:
            alone.take_in(x, every(x))
        for name, value in alone.state_dict().items():
            assert np.array_equal(value[0], together.state_dict()[name][r]), name
        assert np.array_equal(alone(seen[0, r : r + 1]), together(seen[0])[r : r + 1])


def test_other_units_give_the_same():
    """Of powers of two to the bit; thousandths and thousands are no harder than ones."""
    units = np.array([2.0**20, 1.0, 2.0**-20, 8.0], np.float32)
    seen = rows()
    scales = [ObservationScale((4,)) for _ in range(2)]
    for x in seen:
        scales[0].take_in(x, every(x))
        scales[1].take_in(x * units, every(x))
    np.testing.assert_allclose(scales[0](seen[7]), scales[1](seen[7] * units), rtol=1e-6)


def test_before_anything_is_seen_observations_are_only_clipped():
    x = np.array([[[0.5, -30.0, 30.0, 0.0]]], np.float32)
    assert ObservationScale((4,))(x).tolist() == [[[0.5, -10.0, 10.0, 0.0]]]


def test_what_hardly_varies_is_not_blown_up():
    """A number that differs by roundings stays near 0; one that was constant is clipped."""
    scale, x = ObservationScale((2,)), np.array([[[0.1, 3.0]]])
    for i in range(100):
        scale.take_in(np.float32(x * (1 + 1e-8 * (i % 2))), every(x))
    assert np.abs(scale(np.float32(x))).max() < 0.2
    assert scale(np.float32(x + 1)).tolist() == [[[10.0, 10.0]]]


def test_integers_and_truths_are_numbers_too():
    for dtype in (np.int64, bool):
        scale, x = ObservationScale((2,)), np.array([[[1, 0]]], dtype)
        for seen in (x, 1 - x.astype(int)):
            scale.take_in(seen.astype(dtype), every(x))
        assert scale(x).tolist() == [[[1.0, -1.0]]]
        assert scale.of(torch.tensor([[1.0, 0.0]]), 0).tolist() == [[1.0, -1.0]]


def test_looking_changes_nothing_and_loading_everything():
    scale, other, seen = ObservationScale((4,)), ObservationScale((4,)), rows()
    for x in seen:
        scale.take_in(x, every(x))
    before = {name: value.copy() for name, value in scale.state_dict().items()}
    found = scale(seen[0])
    assert all(np.array_equal(before[name], v) for name, v in scale.state_dict().items())
    assert not np.array_equal(found, other(seen[0]))
    other.load_state_dict(before)
    assert np.array_equal(found, other(seen[0]))
