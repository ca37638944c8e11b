"""Member k of an ensemble is the stand-alone module: for every engine and kind of member."""

import copy
import pickle

import pytest
import torch
from torch import nn

from hunch.errors import ConfigurationError, ShapeError
from hunch.nn import MLP, Ensemble, FunctionPrior, RandomFourierPrior, RandomizedPrior

K, B = 4, 6


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.encode = nn.Linear(3, 3)
        self.decode = nn.Linear(3, 3)
        self.decode.weight = self.encode.weight

    def forward(self, x):
        return self.decode(torch.tanh(self.encode(x)))


class TwoOutputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.mean, self.scale = nn.Linear(3, 1), nn.Linear(3, 1)

    def forward(self, x, shift=0.0):
        return {"mean": self.mean(x) + shift, "scale": self.scale(x).exp()}


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(3, 5, batch_first=True)
        self.out = nn.Linear(5, 1)

    def forward(self, x):
        return self.out(self.lstm(x[:, None])[0][:, -1])


def with_prior():
    return RandomizedPrior(MLP(3, [8], 2, activation="selu"), MLP(3, [8], 2), scale=0.7)


ZOO = {
    "mlp": lambda: MLP(3, [8, 8], 2),
    "linear": lambda: nn.Linear(3, 2, bias=False),
    "prior network": with_prior,
    "prior function": lambda: RandomizedPrior(MLP(3, [8], 1), lambda x: x[:, :1].sin()),
    "prior fourier": lambda: RandomizedPrior(MLP(3, [8], 2), RandomFourierPrior(3, 2)),
    "tied": Tied,
    "layer norm": lambda: nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 1)),
    "batch norm": lambda: nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)),
    "lstm": Recurrent,
    "weight norm": lambda: nn.Sequential(
        nn.utils.parametrizations.weight_norm(nn.Linear(3, 4)), nn.Tanh(), nn.Linear(4, 1)
    ),
    "convolution": lambda: nn.Sequential(
        nn.Unflatten(1, (1, 1, 3)), nn.Conv2d(1, 2, (1, 2)), nn.Flatten(), nn.Linear(4, 1)
    ),
}


def engines(name):
    if name in ("lstm", "weight norm"):
        return ("auto", "loop")
    if name in ("mlp", "linear", "prior network", "prior function", "prior fourier"):
        return ("auto", "bmm", "vmap", "loop")
    return ("auto", "vmap", "loop")


@pytest.mark.parametrize(("name", "engine"), [(n, e) for n in ZOO for e in engines(n)])
def test_member_equals_the_stand_alone_module(name, engine):
    net = Ensemble(ZOO[name], num_members=K, seed=1, engine=engine).eval()
    x = torch.randn(B, 3, generator=torch.Generator().manual_seed(0))
    together = net(x)
    assert together.shape[:2] == (K, B)
    each = torch.stack([x * (k + 1) for k in range(K)])
    apart = net(each, per_member=True)
    for k in range(K):
        alone = net.member(k).eval()
        torch.testing.assert_close(together[k], alone(x), atol=1e-6, rtol=1e-6)
        torch.testing.assert_close(apart[k], alone(each[k]), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("name", ZOO)
def test_gradients_are_those_of_the_members_alone(name):
    net = Ensemble(ZOO[name], num_members=K, seed=1)
    members = [net.member(k) for k in range(K)]
    x = torch.randn(B, 3, generator=torch.Generator().manual_seed(0))
    net(x).square().mean(dim=(1, 2)).sum().backward()
    stacked = {n: p.grad for n, p in net.named_parameters() if p.requires_grad}
    for k, member in enumerate(members):
        member(x).square().mean().backward()
        for n, p in member.named_parameters():
            if p.requires_grad:
                torch.testing.assert_close(stacked[n][k], p.grad, atol=1e-5, rtol=1e-5)


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


def test_dropout_masks_differ_between_members():
    for engine in ("bmm", "vmap", "loop"):
        net = Ensemble(lambda: nn.Sequential(nn.Linear(1, 1), nn.Dropout(0.5)), 8, seed=0)
        net.engine = engine
        masks = net(torch.ones(64, 1)) == 0
        assert all(not masks[0].equal(masks[k]) for k in range(1, 8))


def test_structured_outputs_and_keyword_inputs():
    for engine in ("vmap", "loop"):
        net = Ensemble(TwoOutputs, num_members=K, seed=0, engine=engine)
        x = torch.randn(B, 3)
        out = net(x, shift=torch.ones(()))
        assert out["mean"].shape == out["scale"].shape == (K, B, 1)
        torch.testing.assert_close(out["mean"][2], net.member(2)(x, shift=1.0)["mean"])


def test_batch_norm_statistics_are_kept_for_each_member():
    net = Ensemble(lambda: nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)), K, seed=0)
    members = [net.member(k) for k in range(K)]
    x = torch.randn(B, 3)
    net(x)
    for k, member in enumerate(members):
        member(x)
        torch.testing.assert_close(net.state_dict()["1.running_mean"][k], member[1].running_mean)


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


def test_partly_frozen_members_stay_so():
    net = Ensemble(with_prior, num_members=K, seed=0)
    frozen = {n for n, p in net.named_parameters() if not p.requires_grad}
    assert frozen == {n for n, _ in net.named_parameters() if n.startswith("prior")}
    assert not any(p.requires_grad for p in net.member(0).prior.parameters())


def test_compiles_and_is_differentiable_in_x():
    net = Ensemble(with_prior, num_members=K, seed=0)
    x = torch.randn(B, 3, requires_grad=True)
    compiled = torch.compile(net, backend="aot_eager")
    torch.testing.assert_close(compiled(x), net(x))
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
