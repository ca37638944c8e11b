"""Weights are what they claim in distribution, and a pure function of (seed, member, id)."""

import numpy as np
import pytest
import torch

from hunch.errors import ConfigurationError, DataError
from hunch.inference import bootstrap, bootstrap_weights, standard_normals
from hunch.kernel import kernel

VARIANCE = {
    "multinomial": 1.0,
    "poisson": 1.0,
    "exponential": 1.0,
    "double_or_nothing": 1.0,
    "none": 0.0,
}


@pytest.mark.parametrize("kind", VARIANCE)
def test_mean_and_variance(kind):
    # 10⁶ weights: the standard error of the mean is 1e-3 and of the variance at most 2.9e-3 (the
    # exponential, fourth central moment 9), so 6 of them are a false alarm rate below 1e-8.
    weights = bootstrap_weights(kind, 100, range(10_000), seed=3).double()
    assert abs(weights.mean().item() - 1) < 6e-3
    assert abs(weights.var().item() - VARIANCE[kind]) < 18e-3
    assert weights.min() >= 0


def test_poisson_frequencies():
    weights = bootstrap_weights("poisson", 100, range(10_000), seed=0)
    counts = torch.bincount(weights.long().flatten(), minlength=6)[:6] / weights.numel()
    expected = np.exp(-1) / np.cumprod([1, 1, 2, 3, 4, 5])
    # Standard error at most 4.9e-4 each; 6 of them.
    assert np.abs(counts.numpy() - expected).max() < 3e-3


def test_multinomial_counts_add_up_for_each_member():
    weights = bootstrap_weights("multinomial", 50, range(37), seed=1)
    assert (weights.sum(dim=1) == 37).all()
    # A datum is left out with probability (1 - 1/37)^37 = 0.363.
    assert abs((weights == 0).float().mean().item() - (1 - 1 / 37) ** 37) < 0.06


@pytest.mark.parametrize("kind", ["poisson", "exponential", "double_or_nothing"])
def test_a_weight_depends_on_seed_member_and_id_alone(kind):
    whole = bootstrap_weights(kind, 8, range(100), seed=5)
    some = bootstrap_weights(kind, 3, [70, 2, 70, 31], seed=5)
    assert some.equal(whole[:3][:, [70, 2, 70, 31]])
    assert not whole.equal(bootstrap_weights(kind, 8, range(100), seed=6))
    assert not whole.equal(bootstrap_weights(kind, 8, range(100), seed=5, epoch=1))
    far = bootstrap_weights(kind, 3, np.array([-1, 2**62]), seed=5)
    assert far.isfinite().all()


def test_multinomial_depends_on_the_set_of_ids_but_not_on_their_order():
    order = np.random.default_rng(0).permutation(20)
    straight = bootstrap_weights("multinomial", 4, np.arange(20), seed=5)
    assert bootstrap_weights("multinomial", 4, order, seed=5).equal(straight[:, order])


def test_members_data_and_epochs_are_uncorrelated():
    # 2,000 columns: a correlation has a standard error of 0.022. The largest of some 4,900 pairs
    # stays below 6 of them but for a chance of 1e-5.
    by_member = bootstrap_weights("exponential", 100, range(2000), seed=0)
    assert (torch.corrcoef(by_member) - torch.eye(100)).abs().max() < 0.135
    by_datum = bootstrap_weights("exponential", 2000, range(100), seed=0).T
    assert (torch.corrcoef(by_datum) - torch.eye(100)).abs().max() < 0.135
    again = bootstrap_weights("exponential", 100, range(2000), seed=0, epoch=1)
    pair = torch.stack([by_member.flatten(), again.flatten()])
    assert torch.corrcoef(pair)[0, 1].abs() < 0.015


@pytest.mark.skipif(kernel() is None, reason="hunch was installed without the kernel")
@pytest.mark.parametrize("kind", ["multinomial", "poisson"])
@pytest.mark.parametrize("ids", [range(1), range(2000), [5, 3, 3, -9], np.arange(90)[::3]])
def test_the_kernel_draws_the_same_bits(kind, ids, monkeypatch):
    drawn = bootstrap.weights_of_epochs(kind, 7, ids, range(3, 9), seed=4)
    monkeypatch.setattr(bootstrap, "kernel", lambda: None)
    assert torch.equal(drawn, bootstrap.weights_of_epochs(kind, 7, ids, range(3, 9), seed=4))


@pytest.mark.skipif(kernel() is None, reason="hunch was installed without the kernel")
def test_the_kernel_counts_rare_poisson_numbers_as_well():
    few = np.linspace(0.1, 0.9, 9)  # a distribution whose tenth number is not rare at all
    start, keys = np.array([3], np.uint64), np.arange(500, dtype=np.uint64)
    found = np.empty((1, 2, 500), np.float32)
    kernel().hunch_poisson(
        start.ctypes.data, 1, 2, keys.ctypes.data, 500, few.ctypes.data, 9, found.ctypes.data
    )
    expected = np.searchsorted(few, bootstrap._uniform(start, 2, keys))
    assert (found == expected).all()
    assert found.max() == 9


def test_target_noise_is_standard_normal_and_pure():
    noise = standard_normals(100, range(5000), (2,), seed=0)
    assert noise.shape == (100, 5000, 2)
    assert abs(noise.mean().item()) < 6e-3
    assert abs(noise.var().item() - 1) < 9e-3
    kurtosis = noise.pow(4).mean().item()
    assert abs(kurtosis - 3) < 0.06
    assert standard_normals(3, [7], (2,), seed=0).equal(noise[:3, 7:8])
    assert torch.corrcoef(noise.flatten(0, 1).T)[0, 1].abs() < 0.01


def test_wrong_use_is_refused():
    with pytest.raises(ConfigurationError, match="`bootstrap` got 'bernoulli'; expected one of"):
        bootstrap_weights("bernoulli", 2, range(3))
    with pytest.raises(ConfigurationError, match="`num_members` got 0"):
        bootstrap_weights("poisson", 0, range(3))
    with pytest.raises(ConfigurationError, match="`seed` got -1"):
        bootstrap_weights("poisson", 2, range(3), seed=-1)
    for ids in ([], [0.5], [[1]]):
        with pytest.raises(DataError, match="`ids` got"):
            bootstrap_weights("poisson", 2, ids)
