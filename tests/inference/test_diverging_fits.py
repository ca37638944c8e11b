"""A training that diverges says so, whatever its steps, batches and patience."""

import itertools

import pytest
import torch

from hunch.errors import DataError
from hunch.inference import fit
from hunch.nn import MLP, Ensemble, Epinet, RandomizedPrior

X = torch.linspace(-1, 1, 40).reshape(-1, 1)


def finite(net):
    return all(bool(p.isfinite().all()) for p in net.parameters())


@pytest.mark.parametrize(
    ("lr", "steps", "options"),
    list(itertools.product([1e20, 1e30, 1e38], [1, 2, 60], [{}, {"batch_size": 8}])),
)
def test_an_ensemble_with_absurd_rates(lr, steps, options):
    net = Ensemble(lambda: RandomizedPrior(MLP(1, [20], 1), prior=MLP(1, [20], 1)), 3, seed=0)
    if lr < 1e38 and steps == 1:  # the first step of Adam is as long as the rate, which is finite
        fit(net, X, X.sin(), lr=lr, steps=steps, progress=False, **options)
        assert finite(net)
        return
    with pytest.raises(DataError, match=r"diverged .* smaller `lr`"):
        fit(net, X, X.sin(), lr=lr, steps=steps, progress=False, **options)


def test_patience_does_not_hide_it():
    net = Ensemble(lambda: MLP(1, [20], 1), 3, seed=0)
    with pytest.raises(DataError, match="diverged"):
        fit(net, X, X.sin(), lr=1e30, steps=400, patience=50, progress=False)


def test_one_member_of_several():
    net = Ensemble(lambda: MLP(1, [20], 1), 3, seed=0)
    with pytest.raises(DataError, match="diverged"):
        fit(net, X, X.sin(), lr=[1e-3, 1e-3, 1e30], steps=50, progress=False)


def test_an_epinet():
    net = Epinet(MLP(1, [20], 1), index_dim=4)
    with pytest.raises(DataError, match="diverged"):
        fit(net, X, X.sin(), lr=1e30, steps=50, target_noise=0.1, progress=False)
