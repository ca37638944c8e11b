"""What ensembles do beyond running their members, which test_module_zoo.py checks."""

import copy
import pickle

import pytest
import torch
from torch import nn

from hunch.errors import ConfigurationError, ShapeError
from hunch.nn import (
    MLP,
    Constant,
    Ensemble,
    FunctionPrior,
    GaussianHead,
    NoisyLinear,
    Normalizer,
    QuantileHead,
    RandomFourierPrior,
    RandomizedPrior,
    Streams,
    noise,
    reset_noise,
)
from hunch.nn.batched import has_rules

K, B = 4, 6


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.encode = nn.Linear(3, 3)
        self.decode = nn.Linear(3, 3)
        self.decode.weight = self.encode.weight

    def forward(self, x):
        return self.decode(torch.tanh(self.encode(x)))


def with_prior():
    return RandomizedPrior(MLP(3, [8], 2, activation="selu"), MLP(3, [8], 2), scale=0.7)


def test_one_optimizer_equals_one_each():
    net = Ensemble(with_prior, num_members=3, seed=0)
    members = [net.member(k) for k in range(3)]
    x, y = torch.randn(B, 3), torch.randn(B, 2)
    together = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], lr=0.01)
    apart = [torch.optim.Adam(m.model.parameters(), lr=0.01) for m in members]
    for _ in range(5):
        together.zero_grad()
        (net(x) - y).square().mean(dim=(1, 2)).sum().backward()
        together.step()
        for member, optimizer in zip(members, apart, strict=True):
            optimizer.zero_grad()
            (member(x) - y).square().mean().backward()
            optimizer.step()
    for k, member in enumerate(members):
        torch.testing.assert_close(net(x)[k], member(x), atol=1e-5, rtol=1e-5)


def test_names_are_the_members_own_and_checkpoints_round_trip():
    net = Ensemble(with_prior, num_members=K, seed=0)
    alone = with_prior()
    assert net.state_dict().keys() == alone.state_dict().keys()
    assert [n for n, _ in net.named_parameters()] == [n for n, _ in alone.named_parameters()]
    assert all(t.shape[0] == K for t in net.state_dict().values())
    other = Ensemble(with_prior, num_members=K, seed=1)
    other.load_state_dict(net.state_dict())
    x = torch.randn(B, 3)
    torch.testing.assert_close(other(x), net(x))
    inside = nn.Sequential(net)
    assert "0.model.0.weight" in inside.state_dict()
    assert len(list(inside.parameters())) == len(list(net.parameters()))


def test_deepcopy_pickle_and_moves_keep_the_ensemble_whole():
    net = Ensemble(with_prior, num_members=K, seed=0)
    x = torch.randn(B, 3)
    twin = copy.deepcopy(net)
    torch.testing.assert_close(twin(x), net(x))
    with torch.no_grad():
        next(twin.parameters()).add_(1.0)
    assert not torch.allclose(twin(x), net(x))
    assert pickle.loads(pickle.dumps(net))(x).equal(net(x))
    assert net.double()(x.double()).dtype == torch.float64
    assert net.member(0)(x.double()).dtype == torch.float64


def test_train_and_eval_reach_the_members_and_spare_the_prior():
    net = Ensemble(
        lambda: RandomizedPrior(MLP(3, [4], 1), nn.Sequential(nn.Linear(3, 1), nn.Dropout(0.5))),
        num_members=K,
        seed=0,
    )
    x = torch.randn(B, 3)
    assert net.train()(x).equal(net(x))  # the prior's dropout stays off
    assert net.eval().skeleton.model.training is False


def test_part_shares_tensors_and_splits_the_sum():
    net = Ensemble(with_prior, num_members=K, seed=0)
    x = torch.randn(B, 3)
    whole = net.part("model")(x) + 0.7 * net.part("prior")(x)
    torch.testing.assert_close(whole, net(x))
    assert next(net.part("model").parameters()) is next(net.parameters())
    function = Ensemble(lambda: RandomizedPrior(nn.Linear(1, 1), torch.sin), K, seed=0)
    assert function.part("prior")(torch.ones(2, 1)).shape == (K, 2, 1)
    with pytest.raises(ConfigurationError, match="'model', 'prior'"):
        net.part("nothing")


def test_the_seed_decides_and_the_global_generator_is_left_alone():
    before = torch.get_rng_state()
    few, many = (Ensemble(with_prior, num_members=k, seed=5) for k in (2, 4))
    assert torch.equal(before, torch.get_rng_state())
    x = torch.randn(B, 3)
    torch.testing.assert_close(few(x), many(x)[:2])
    assert not torch.allclose(few(x), Ensemble(with_prior, 2, seed=6)(x))


def test_a_frozen_prior_is_differentiable_in_x():
    net = Ensemble(with_prior, num_members=K, seed=0)
    x = torch.randn(B, 3, requires_grad=True)
    (gradient,) = torch.autograd.grad(net.part("prior")(x).sum(), x)
    assert gradient.abs().sum() > 0


def test_an_ensemble_can_be_built_from_stacked_tensors():
    net = Ensemble(with_prior, num_members=K, seed=0)
    again = Ensemble.from_state_dict(with_prior(), net.state_dict())
    x = torch.randn(B, 3)
    assert again(x).equal(net(x))
    assert [p.requires_grad for p in again.parameters()] == [
        p.requires_grad for p in net.parameters()
    ]
    tied = Ensemble(Tied, num_members=K, seed=0)
    torch.testing.assert_close(Ensemble.from_state_dict(Tied(), tied.state_dict())(x), tied(x))
    with pytest.raises(ConfigurationError, match="has the names"):
        Ensemble.from_state_dict(MLP(3, [], 2), net.state_dict())
    with pytest.raises(ConfigurationError, match=r"has shape \(4, 9\); expected \(members, 2\)"):
        Ensemble.from_state_dict(
            MLP(3, [], 2), {"0.weight": torch.ones(4, 2, 3), "0.bias": torch.ones(4, 9)}
        )


def test_wrong_use_is_refused():
    with pytest.raises(ConfigurationError, match="`num_members` got 0"):
        Ensemble(with_prior, num_members=0)
    with pytest.raises(ConfigurationError, match="expected a function that builds"):
        Ensemble(nn.Linear(1, 1), num_members=2)
    module = nn.Linear(1, 1)
    with pytest.raises(ConfigurationError, match="members 0 and 1 are equal"):
        Ensemble(lambda: module, num_members=2)
    with pytest.raises(ConfigurationError, match=r"returned float; expected a torch.nn.Module"):
        Ensemble(lambda: 0.5, num_members=2)
    with pytest.raises(ConfigurationError, match="other parameters"):
        Ensemble.from_modules([nn.Linear(1, 1), nn.Linear(2, 1)])
    with pytest.raises(ConfigurationError, match="empty list"):
        Ensemble.from_modules([])
    with pytest.raises(ConfigurationError, match="`engine` got 'fast'"):
        Ensemble(with_prior, num_members=2, engine="fast")
    with pytest.raises(ConfigurationError, match="on one tensor"):
        Ensemble(Tied, num_members=2, engine="bmm")(torch.ones(2, 3))
    net = Ensemble(with_prior, num_members=K, seed=0)
    with pytest.raises(ConfigurationError, match="has 4 members"):
        net.member(4)
    with pytest.raises(ShapeError, match=r"expected \(4, batch"):
        net(torch.ones(3, B, 3), per_member=True)
    with pytest.raises(ShapeError, match="built with in_features=3"):
        net(torch.ones(B, 2))


def test_members_that_differ_outside_their_tensors_are_refused():
    rates = iter([0.1, 0.2])
    with pytest.raises(ConfigurationError, match=r"differs from member 0 in '1.p'"):
        Ensemble(lambda: nn.Sequential(nn.Linear(1, 1), nn.Dropout(next(rates))), num_members=2)

    phases = iter([0.0, 1.0])

    def shifted():
        phase = next(phases)
        return RandomizedPrior(nn.Linear(1, 1), lambda x: torch.sin(x + phase))

    with pytest.raises(ConfigurationError, match=r"prior\.function"):
        Ensemble(shifted, num_members=2)
    # A scale is a tensor, so it may differ.
    scales = iter([1.0, 2.0])
    net = Ensemble(lambda: RandomizedPrior(nn.Linear(1, 1), torch.sin, next(scales)), 2, seed=0)
    assert net.get_buffer("scale").tolist() == [1.0, 2.0]
    assert isinstance(net.skeleton.prior, FunctionPrior)


def noisy_member(per_sample=False, kind="factorized"):
    def build():
        return nn.Sequential(
            NoisyLinear(3, 16, noise=kind, std_init=0.5, per_sample=per_sample),
            nn.Tanh(),
            NoisyLinear(16, 2, noise=kind, std_init=0.5, per_sample=per_sample),
        )

    return build


@pytest.mark.parametrize("engine", ["bmm", "vmap", "loop"])
@pytest.mark.parametrize("kind", ["factorized", "independent"])
def test_noisy_members_have_noise_of_their_own(engine, kind):
    net = Ensemble(noisy_member(kind=kind), num_members=K, seed=0, engine=engine)
    x = torch.randn(1, 3, generator=torch.Generator().manual_seed(0)).expand(B, 3)
    means = net.eval()(x)
    torch.testing.assert_close(means[1], net.member(1).eval()(x))
    net.train()
    fresh = net(x)
    assert not torch.allclose(fresh, net(x))
    # One draw for the whole batch of a member, another for each member.
    assert fresh.std(dim=1).max() < 1e-5
    deviation = (fresh - means)[:, 0, 0]
    assert len(deviation.round(decimals=4).unique()) == K

    noise(net, "held")
    reset_noise(net, generator=torch.Generator().manual_seed(1))
    held = net(x)
    assert held.equal(net(x))
    for k in range(K):
        torch.testing.assert_close(net.member(k)(x), held[k], atol=1e-6, rtol=1e-5)
    again = Ensemble(noisy_member(kind=kind), num_members=K, seed=0, engine=engine)
    noise(again, "held")
    reset_noise(again, generator=torch.Generator().manual_seed(1))
    assert again(x).equal(held)
    copied = copy.deepcopy(net)
    assert copied(x).equal(held)
    held.sum().backward()
    assert net.get_parameter("0.weight_sigma").grad.abs().sum() > 0


def test_noisy_members_of_all_engines_agree_on_held_noise():
    outputs = []
    for engine in ("bmm", "vmap", "loop"):
        net = Ensemble(noisy_member(), num_members=K, seed=0, engine=engine)
        noise(net, "held")
        reset_noise(net, generator=torch.Generator().manual_seed(1))
        outputs.append(net(torch.ones(B, 3)))
    torch.testing.assert_close(outputs[0], outputs[1])
    torch.testing.assert_close(outputs[0], outputs[2])


def test_per_sample_noise_in_an_ensemble():
    for engine in ("auto", "loop"):
        net = Ensemble(noisy_member(per_sample=True), num_members=K, seed=0, engine=engine)
        out = net(torch.ones(B, 3))
        assert len(out[..., 0].flatten().round(decimals=5).unique()) == K * B
        noise(net, "held")
        with pytest.raises(ConfigurationError, match=r'got "held"|is "held"'):
            net(torch.ones(B, 3))


def test_a_single_noisy_layer_can_be_the_member():
    net = Ensemble(lambda: NoisyLinear(3, 2), num_members=K, seed=0)
    with noise(net, "off"):
        torch.testing.assert_close(net(torch.ones(1, 3)), net.eval()(torch.ones(1, 3)))
    reset_noise(net)


# Each layer of this package that runs all members at once; without its rule vmap would, unseen.
RULED = {
    "MLP": lambda: MLP(2, [3], 1),
    "NoisyLinear": lambda: NoisyLinear(2, 1),
    "RandomizedPrior": lambda: RandomizedPrior(nn.Linear(2, 1), nn.Linear(2, 1)),
    "FunctionPrior": lambda: FunctionPrior(torch.sin),
    "RandomFourierPrior": lambda: RandomFourierPrior(2, 1),
    "Normalizer": lambda: Normalizer(2),
    "Constant": lambda: Constant(torch.ones(2)),
    "Streams": lambda: Streams(nn.Linear(2, 1), nn.Linear(2, 1)),
    "GaussianHead": lambda: GaussianHead(nn.Linear(2, 1), nn.Linear(2, 1)),
    "QuantileHead": lambda: QuantileHead(nn.Linear(2, 1), nn.Linear(2, 2), levels=[0.1, 0.9]),
}


@pytest.mark.parametrize("name", RULED)
def test_layers_of_this_package_have_a_rule(name):
    assert has_rules(RULED[name]())
