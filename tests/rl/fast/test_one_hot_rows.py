"""First layers that are looked up: in the compiled kernel as without it."""

import numpy as np
import pytest
import torch
from torch import nn

from hunch.kernel import kernel
from hunch.nn import Ensemble
from hunch.rl.fast.one_hot_layer import OneHotLayer

REPLICAS, MEMBERS, INPUTS, WIDTH = 2, 3, 7, 5


def layer_of(seed):
    online, target = (
        Ensemble(lambda: nn.Linear(INPUTS, WIDTH), REPLICAS * MEMBERS, seed=s).skeleton
        for s in (seed, seed + 1)
    )
    return OneHotLayer(online, target, REPLICAS)


@pytest.mark.skipif(kernel() is None, reason="hunch was installed without the kernel")
def test_rows_are_looked_up_summed_and_moved_as_without_the_kernel(monkeypatch):
    """Some rows several times, and one for observations of zeros, which no weight acts on."""
    cells = np.array([[0, 3, 3, 6, 7, 3], [1, 3, 0, 0, 7, 2]], np.int32)
    found = []
    for library in (kernel(), None):
        for place in ("hunch.rl.fast.one_hot_layer.kernel", "hunch.adam.kernel"):
            monkeypatch.setattr(place, lambda library=library: library)
        layer = layer_of(0)
        random = torch.Generator().manual_seed(0)
        for _ in range(3):
            gradient = torch.randn(REPLICAS * MEMBERS, 6, WIDTH, generator=random)
            layer.step(cells, gradient, 0.1)
        layer.sync_target()
        found.append([layer.hidden(cells), layer.hidden(cells, target=True)])
    for ours, plain in zip(*found, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-5, atol=1e-6)
        assert (ours[:, 4] == 0).all()
        assert len(ours[:, 0].unique()) > WIDTH
