"""An ensemble of modules that exist already."""

import pytest
import torch
from torch import nn

from hunch.errors import ConfigurationError
from hunch.inference import predict
from hunch.nn import MLP, Ensemble, RandomizedPrior, noisy

G = torch.Generator().manual_seed(0)
X = torch.randn(64, 3, generator=G)
Y = torch.sin(X.sum(1, keepdim=True))


class Cnn(nn.Module):
    """What a user has: batch norm, dropout, a convolution, a layer that is used twice."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(1, 4, 2)
        self.norm = nn.BatchNorm1d(4)
        self.drop = nn.Dropout(0.3)
        self.twice = nn.Linear(8, 8)
        self.out = nn.Linear(8, 1)

    def forward(self, x):
        h = self.drop(torch.relu(self.norm(self.conv(x.unsqueeze(1))))).flatten(1)
        return self.out(torch.relu(self.twice(torch.relu(self.twice(h)))))


def trained(build, seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = build()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
        for _ in range(20):
            optimizer.zero_grad()
            (net(X) - Y).square().mean().backward()
            optimizer.step()
    return net


BUILDS = {
    "mlp": lambda: MLP(3, [8], 1),
    "cnn": Cnn,
    "prior": lambda: RandomizedPrior(MLP(3, [8], 1), MLP(3, [8], 1)),
    "noisy": lambda: noisy(nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))),
}


@pytest.mark.parametrize("build", BUILDS)
def test_trained_modules_say_together_what_they_say_alone(build):
    modules = [trained(BUILDS[build], seed).eval() for seed in range(3)]
    alone = torch.stack([module(X) for module in modules]).detach()
    net = Ensemble(modules)
    assert net.num_members == 3
    torch.testing.assert_close(predict(net, X).members, alone, rtol=1e-5, atol=1e-6)
    loop = Ensemble(modules, engine="loop")
    assert torch.equal(predict(loop, X).members, alone)
    for k, module in enumerate(modules):
        for (name, own), (_, copied) in zip(
            module.state_dict().items(), net.member(k).state_dict().items(), strict=True
        ):
            assert torch.equal(own, copied), name


@pytest.mark.parametrize("mode", [True, False])
def test_modes_are_kept_and_the_modules_stay_the_callers_own(mode):
    modules = [Cnn().train(mode) for _ in range(2)]
    for module in modules:
        module.norm.eval()  # frozen statistics, as in fine-tuning
    net = Ensemble(nn.ModuleList(modules))
    assert net.training is mode
    assert net.member(0).drop.training is mode
    assert not net.member(0).norm.training
    before = modules[0].out.weight.clone()
    with torch.no_grad():
        net.get_parameter("out.weight").zero_()
    assert torch.equal(modules[0].out.weight, before)
    assert modules[0].out.weight.requires_grad


class Rated(nn.Linear):
    """A module that notes how well it did."""

    def __init__(self, score):
        super().__init__(2, 1)
        self.score = score


def other_mode():
    return [nn.Sequential(nn.Linear(2, 1), nn.Dropout()) for _ in range(2)]


ONE = nn.Linear(2, 1)
WRONG = {
    "got an empty list": [],
    "members 0 and 2 are one and the same module": [ONE, nn.Linear(2, 1), ONE],
    r"`factory\[1\]` is a str": [ONE, "linear"],
    r"`factory\[0\]` is compiled; expected the module itself": [torch.compile(ONE), ONE],
    r"member 1 has other parameters than member 0: `weight` is a parameter \(3, 2\) .* and not a parameter \(1, 2\)": [
        ONE,
        nn.Linear(2, 3),
    ],
    "`bias` is missing and not a parameter": [ONE, nn.Linear(2, 1, bias=False)],
    "of torch.float64 on cpu and not": [ONE, nn.Linear(2, 1).double()],
    "differs from member 0 in 'training'; put all members into one mode": [
        other_mode()[0],
        other_mode()[1].eval(),
    ],
    "differs from member 0 in 'score'; members may differ": [Rated(0.1), Rated(0.2)],
    "differs from member 0 in '1.p'": [
        nn.Sequential(nn.Linear(2, 1), nn.Dropout(p)) for p in (0.1, 0.2)
    ],
}


@pytest.mark.parametrize("message", WRONG)
def test_what_makes_no_ensemble_is_one_sentence(message):
    with pytest.raises(ConfigurationError, match=message) as caught:
        Ensemble(WRONG[message])
    assert "\n" not in str(caught.value)


def test_arguments_that_a_list_has_no_use_for():
    modules = [nn.Linear(2, 1) for _ in range(2)]
    assert Ensemble(iter(modules), 2).num_members == 2
    with pytest.raises(ConfigurationError, match="`num_members` got 3 with a list of 2"):
        Ensemble(modules, num_members=3)
    with pytest.raises(ConfigurationError, match="`seed` got 0 with a list"):
        Ensemble(modules, seed=0)
    with pytest.raises(ConfigurationError, match="`num_members` is missing"):
        Ensemble(lambda: nn.Linear(2, 1))
    with pytest.raises(ConfigurationError, match="`factory` got a Sequential; expected a function"):
        Ensemble(nn.Sequential(*modules))
    copy = nn.Linear(2, 1)
    copy.load_state_dict(modules[0].state_dict())
    with pytest.raises(ConfigurationError, match="members 0 and 2 are equal"):
        Ensemble([*modules, copy])
