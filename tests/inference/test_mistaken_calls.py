"""What somebody who comes with networks of her own gets wrong first is answered in a sentence."""

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler

from hunch.errors import ConfigurationError, DataError, HunchWarning, ShapeError
from hunch.inference import PredictiveModule, fit, predict
from hunch.nn import Ensemble

X, Y = torch.randn(12, 1, 6, 6), torch.arange(12) % 3


def network():
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(32, 3))


NET = Ensemble(network, 2, seed=0)


def trained(loader, **options):
    options = {"loss": "cross_entropy", "steps": 2, "progress": False, **options}
    return fit(NET, loader, **options)


@pytest.mark.parametrize(
    "loader",
    [
        DataLoader(X, batch_size=4, shuffle=True),
        DataLoader(X, sampler=WeightedRandomSampler([1.0] * 12, 12)),
    ],
)
def test_a_loader_that_shuffles_is_warned_of(loader):
    with pytest.warns(HunchWarning, match="`x` got a loader that shuffles: answers come in its"):
        predict(NET, loader)


def test_a_wrong_rank_is_one_sentence():
    with pytest.raises(ShapeError, match=r"`x` got shape \(12, 6\), which the network cannot take"):
        predict(NET, X[:, 0, 0])
    norms = Ensemble(lambda: nn.Sequential(nn.BatchNorm2d(1), nn.Conv2d(1, 1, 3)), 2)
    with pytest.raises(ShapeError, match="expected 4D input"):  # what a norm of torch says
        predict(norms, X[:, 0])


@pytest.mark.parametrize("use", [lambda net: predict(net, X), PredictiveModule])
def test_one_network_is_told_of_its_ways(use):
    with pytest.raises(
        ConfigurationError, match=r"PostHocEpinet\(net, x\).*Ensemble\(\[net, …\]\)"
    ):
        use(network())


def test_what_does_not_go_with_a_loader_is_named_by_its_value():
    loader = DataLoader(TensorDataset(X, Y), batch_size=4)
    with pytest.raises(ConfigurationError, match="`patience` got 3 with a loader; give `validat"):
        trained(loader, patience=3)


def test_validation_is_named_where_it_is_wrong():
    loader = DataLoader(TensorDataset(X, Y), batch_size=4)
    with pytest.raises(ConfigurationError, match=r"`validation` got Tensor; expected \(x, y\)"):
        trained(loader, validation=X)
    with pytest.raises(DataError, match=r"batch 1 of validation is a Tensor; expected \(x, y\)"):
        trained(loader, steps=3, validation=DataLoader(X, batch_size=4))


def test_a_schedule_by_a_loss_is_sent_to_a_loop_of_its_own():
    loader = DataLoader(TensorDataset(X, Y), batch_size=4)
    with pytest.raises(ConfigurationError, match=r"ReduceLROnPlateau, .* In a loop of your own"):
        trained(loader, schedule=torch.optim.lr_scheduler.ReduceLROnPlateau)


def test_a_network_of_several_answers_is_told_to_be_wrapped():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = network()

        def forward(self, x):
            return {"logits": self.net(x)}

    with pytest.raises(ShapeError, match=r"the network returns dict; .*wrap it in a module"):
        predict(Ensemble(Two, 2), X)
