"""What a member's forward changes stays with that member, in every engine; or it is refused."""

import threading
import types

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize

from hunch.errors import ConfigurationError
from hunch.inference import fit, predict
from hunch.nn import (
    MLP,
    Ensemble,
    Epinet,
    GaussianHead,
    NoisyConv2d,
    NoisyLinear,
    RandomizedPrior,
    noise,
    reset_noise,
)

K, B = 3, 5
RUNS = [("auto", None), ("vmap", None), ("vmap", 2), ("loop", None)]


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


class Centred(nn.Module):
    """Features less a running mean, which each forward assigns anew."""

    def __init__(self, size=3):
        super().__init__()
        self.layer = nn.Linear(3, size)
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("seen", torch.tensor(0))
        self.register_buffer("last", torch.zeros(size), persistent=False)

    def forward(self, x):
        h = self.layer(x)
        self.mean = 0.9 * self.mean + 0.1 * h.detach().mean(0)
        self.seen = self.seen + 1
        if self.training:
            self.last = h[0].detach() * 2
        return h * self.mean - self.last


def inside_head():
    return GaussianHead(Centred(2), MLP(3, [4], 2))


def inside_model():
    return RandomizedPrior(Centred(2), MLP(3, [4], 2))


def inside_prior():
    return RandomizedPrior(MLP(3, [4], 2), Centred(2))


def inside_ensemble():
    return Ensemble(Centred, 2)


def shared_twice():
    return nn.Sequential(*[Centred()] * 2)


class TiedBuffers(Centred):
    def __init__(self):
        super().__init__()
        self.register_buffer("other", self.mean)

    def forward(self, x):
        self.other = self.other + 1.0
        return super().forward(x) + self.other


def compare_state(net, members):
    for k, member in enumerate(members):
        own = dict(net.member(k).named_buffers(remove_duplicate=False))
        for name, buffer in member.named_buffers(remove_duplicate=False):
            torch.testing.assert_close(own[name], buffer, msg=name)


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize(("engine", "chunk_size"), RUNS)
@pytest.mark.parametrize(
    "make",
    [
        Centred,
        inside_head,
        inside_model,
        inside_prior,
        inside_ensemble,
        shared_twice,
        TiedBuffers,
    ],
)
def test_buffers_that_a_forward_assigns_are_each_members_own(make, engine, chunk_size, mode):
    net = Ensemble(make, K, seed=0, engine=engine, chunk_size=chunk_size).train(mode == "train")
    members = [net.member(k) for k in range(K)]
    for _ in range(3):
        x = torch.randn(B, 3)
        outputs = net(x)
        for k, member in enumerate(members):
            alone = member(x)
            torch.testing.assert_close(outputs[k], alone)
            alone.square().sum().backward()
        outputs.square().sum().backward()
    compare_state(net, members)
    assert not any(buffer.requires_grad for buffer in net.buffers())
    assert all(buffer.is_contiguous() for buffer in net.buffers())
    for name, parameter in net.named_parameters():
        for k, member in enumerate(members):
            own = member.get_parameter(name).grad
            assert (own is None) == (parameter.grad is None)
            if own is not None:
                torch.testing.assert_close(parameter.grad[k], own)
    if make is TiedBuffers:
        return  # what a forward has untied, a checkpoint cannot put into what is tied
    again = Ensemble(make, K, seed=1, engine=engine).train(mode == "train")
    again.load_state_dict(net.state_dict())
    for name, buffer in again.state_dict().items():
        torch.testing.assert_close(buffer, net.state_dict()[name])


def test_only_some_members_may_assign_a_buffer():
    class Largest(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("top", torch.rand(()))

        def forward(self, x):
            if x.max() > self.top:
                self.top = x.max()
            return x + self.top

    net = Ensemble(Largest, K, seed=0)  # data-dependent control flow: for the loop
    members = [net.member(k) for k in range(K)]
    for level in net.get_buffer("top").sort().values + 1e-3:
        x = torch.full((2, 1), float(level))
        torch.testing.assert_close(net(x), torch.stack([m(x) for m in members]))
        compare_state(net, members)


class Assigning(nn.Module):
    """Assigns what it is told to."""

    def __init__(self, name, value):
        super().__init__()
        self.layer = nn.Linear(3, 3)
        self.register_buffer("state", torch.zeros(3))
        self.name, self.value = name, value

    def forward(self, x):
        h = self.layer(x)
        owner, _, name = self.name.rpartition(".")
        setattr(self.get_submodule(owner), name, self.value(h))
        return h


@pytest.mark.parametrize("engine", ["auto", "vmap", "loop"])
@pytest.mark.parametrize(
    ("name", "value", "match"),
    [
        ("state", lambda h: h.mean(0), r"`state` .* with a gradient.*expected `\.detach\(\)`"),
        ("state", lambda h: h.detach(), r"`state` got \(\(5, 3\)"),
        ("state", lambda h: h.detach()[0].double(), r"`state` got .*float64"),
        ("state", lambda h: None, "`state` got None"),
        ("layer.weight", lambda h: nn.Parameter(torch.ones(3, 3)), "`layer.weight` is a parameter"),
        ("plain", lambda h: h.detach(), "`plain` is an attribute that a member's forward changes"),
        ("plain", lambda h: {"h": [h]}, "`plain` is an attribute that a member's forward changes"),
    ],
)
def test_what_cannot_be_kept_is_refused_and_leaves_the_members_whole(engine, name, value, match):
    net = Ensemble(lambda: Assigning(name, value), K, seed=0, engine=engine)
    before = {n: t.clone() for n, t in net.state_dict().items()}
    with pytest.raises(ConfigurationError, match=match):
        net(torch.randn(B, 3))
    assert not hasattr(net.skeleton, "plain")
    assert all(t.equal(before[n]) and len(t) == K for n, t in net.state_dict().items())
    assert all(isinstance(p, nn.Parameter) for p in net.parameters())


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 2)
        self.calls, self.mask, self.kind = 0, None, {"calls": 0}

    def forward(self, x):
        if self.mask is None:
            self.mask = torch.tril(torch.ones(2, 2))
        self.calls += 1
        self.kind = {"calls": self.calls}
        return self.layer(x) @ self.mask * self.calls


@pytest.mark.parametrize(("engine", "chunk_size"), RUNS)
def test_what_all_members_change_alike_is_changed_once(engine, chunk_size):
    net = Ensemble(Counting, K, seed=0, engine=engine, chunk_size=chunk_size)
    members = [net.member(k) for k in range(K)]
    for call in (1, 2, 3):
        x = torch.randn(B, 3)
        torch.testing.assert_close(net(x), torch.stack([m(x) for m in members]))
        assert (net.skeleton.calls, net.skeleton.kind) == (call, {"calls": call})


def test_plain_tensors_changed_in_place_are_refused():
    class Adding(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.total = nn.Linear(3, 2), torch.zeros(2)

        def forward(self, x):
            self.total += self.layer(x).detach().sum(0)
            return self.total

    for engine in ("auto", "loop"):
        with pytest.raises(ConfigurationError, match="`total` is an attribute that a member's"):
            Ensemble(Adding, K, seed=0, engine=engine)(torch.ones(B, 3))


@pytest.mark.parametrize("chunk_size", [None, 2])
def test_an_input_changed_in_place_reaches_no_other_member(chunk_size):
    class Stepping(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 2)

        def forward(self, x):
            x += 1
            return self.layer(x)

    for engine in ("auto", "vmap", "loop"):
        net = Ensemble(Stepping, K, seed=0, engine=engine, chunk_size=chunk_size)
        expected = torch.stack([net.member(k)(torch.ones(B, 3)) for k in range(K)])
        each = torch.ones(K, B, 3)
        torch.testing.assert_close(net(each, per_member=True), expected)
        if engine == "loop" or chunk_size:
            with pytest.raises(ConfigurationError, match="changes its input in place"):
                Ensemble(Stepping, K, engine=engine, chunk_size=2)(torch.ones(B, 3))
        else:
            torch.testing.assert_close(net(torch.ones(B, 3)), expected)


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_auto_takes_the_loop_for_what_vmap_cannot_do(mode):
    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.norm, self.calls = nn.Linear(3, 2), nn.BatchNorm1d(2), 0

        def forward(self, x):
            self.calls += 1
            h = self.norm(self.layer(x))
            return h if h.sum() > 0 else -h * h.detach().max().item()

    def averaging():
        return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2, momentum=None), nn.Linear(2, 2))

    for make in (Branching, averaging):
        net = Ensemble(make, K, seed=0).train(mode == "train")
        members = [net.member(k) for k in range(K)]
        for call in (1, 2):
            x = torch.randn(B, 3)
            torch.testing.assert_close(net(x), torch.stack([m(x) for m in members]))
            compare_state(net, members)  # the try with vmap has left nothing behind
            assert getattr(net.skeleton, "calls", call) == call
    # A mistake of the caller's decides nothing.
    net = Ensemble(Counting, K, seed=0)
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        net(torch.randn(B, 4))
    net(torch.randn(B, 3))
    assert net._choose_engine((torch.randn(B, 3),), {}) == "vmap"


def test_hooks_and_forwards_of_an_instance_are_run_for_each_member():
    seen = []
    net = Ensemble(lambda: MLP(3, [4], 2), K, seed=0)
    x = torch.randn(B, 3)
    plain = net(x)
    handle = net.skeleton[0].register_forward_hook(lambda m, i, o: seen.append(tuple(o.shape)))
    torch.testing.assert_close(net(x), plain)
    assert seen == [(B, 4)] * K
    handle.remove()
    net.skeleton[0].register_full_backward_hook(lambda m, i, o: (torch.zeros_like(i[0]),))
    x.requires_grad_()
    net(x).sum().backward()
    assert x.grad.abs().max() == 0

    def doubled():
        member = MLP(3, [4], 2)
        member[2].forward = types.MethodType(
            lambda self, x: 2 * nn.functional.linear(x, self.weight, self.bias), member[2]
        )
        return member

    torch.testing.assert_close(Ensemble(doubled, K, seed=0)(x), 2 * plain)


def test_apply_shows_each_members_own_tensors():
    def orthogonal(part):
        if isinstance(part, nn.Linear):
            nn.init.orthogonal_(part.weight)
            part.bias.data = part.bias.data * 0 + 2
            part.bias.requires_grad_(False)

    for make in (lambda: nn.Linear(3, 3), lambda: nn.Sequential(nn.Linear(3, 3)), inside_apply):
        net = Ensemble(make, K, seed=0)
        assert net.apply(orthogonal) is net
        weight, bias = (
            next(p for n, p in net.named_parameters() if n.endswith(w)) for w in ("weight", "bias")
        )
        weight = weight.detach().flatten(0, -3)
        torch.testing.assert_close(weight @ weight.mT, torch.eye(3).expand_as(weight))
        assert not weight[0].allclose(weight[1])
        assert bias.unique().tolist() == [2.0]
        assert not bias.requires_grad
        assert weight.shape[0] >= K

    def replace(part):
        part.weight = nn.Parameter(torch.ones(3, 3))

    net = Ensemble(lambda: nn.Linear(3, 3), K, seed=0)
    kept = net.get_parameter("weight")
    assert net.apply(replace).get_parameter("weight") is kept
    assert kept.unique().tolist() == [1.0]
    states = iter([True, False, True])
    with pytest.raises(ConfigurationError, match="`fn` makes other parameters trainable"):
        net.apply(lambda part: part.requires_grad_(next(states)))
    with pytest.raises(ConfigurationError, match=r"`weight` got \(\(2, 3\)"):
        net.apply(lambda part: setattr(part, "weight", nn.Parameter(torch.ones(2, 3))))


def inside_apply():
    return Ensemble(lambda: nn.Linear(3, 3), 2)


def test_what_a_copy_of_a_tensor_would_lose_is_refused():
    def hooked():
        layer = nn.Linear(3, 2)
        layer.weight.register_hook(lambda g: g * 0)
        return layer

    with pytest.raises(ConfigurationError, match="`weight` has a gradient hook"):
        Ensemble(hooked, 1)
    frozen = nn.Linear(3, 2)
    frozen.weight.requires_grad_(False)
    with pytest.raises(ConfigurationError, match="`weight` has requires_grad=False in member 1"):
        Ensemble.from_modules([nn.Linear(3, 2), frozen])
    with pytest.raises(ConfigurationError, match="other parameters"):
        Ensemble.from_modules([nn.Linear(3, 2), nn.Linear(3, 2).double()])
    tied = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    tied[1].weight = tied[0].weight
    with pytest.raises(ConfigurationError, match="shared in the same places"):
        Ensemble.from_modules([nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3)), tied])
    generators = iter([torch.Generator().manual_seed(0) for _ in range(2)])
    with pytest.raises(ConfigurationError, match=r"gen.*draw from one source"):
        Ensemble(lambda: with_attribute("gen", next(generators)), 2)
    with pytest.raises(ConfigurationError, match=r"lock.*cannot be compared"):
        Ensemble(lambda: with_attribute("lock", threading.Lock()), 2)
    aliased = nn.Linear(3, 2)
    aliased.weights = [aliased.weight]
    with pytest.raises(ConfigurationError, match=r"`weights\[0\]` holds what is the member's own"):
        Ensemble(lambda: aliased, 1)
    held = nn.Linear(3, 2)
    held.act = lambda x: x @ held.weight
    with pytest.raises(ConfigurationError, match=r"`act` holds what is the member's own.*method"):
        Ensemble(lambda: held, 1)


def with_attribute(name, value):
    module = nn.Linear(3, 2)
    setattr(module, name, value)
    return module


def test_members_may_differ_in_buffers_that_no_checkpoint_holds():
    class Shifted(nn.Module):
        def __init__(self):
            super().__init__()
            self.matrix = nn.Parameter(torch.ones(3, 3))
            self.register_buffer("shift", torch.randn(3), persistent=False)

        def forward(self, x):
            return x @ self.matrix + self.shift

    net = Ensemble(Shifted, K, seed=0)  # not equal
    x = torch.randn(B, 3)
    torch.testing.assert_close(net(x)[2], net.member(2)(x))
    module = Shifted()
    again = Ensemble.from_state_dict(module, {"matrix": torch.ones(K, 3, 3)})
    torch.testing.assert_close(again(x), module(x).expand(K, B, 3))


def test_a_part_replaced_after_stacking_is_refused():
    net = Ensemble(lambda: nn.Sequential(nn.Linear(3, 4), nn.PReLU()), K, seed=0, engine="loop")
    net.skeleton[0] = nn.Linear(3, 4)
    with pytest.raises(ConfigurationError, match=r"`0.weight` has shape \(4, 3\)"):
        net(torch.randn(B, 3))


def test_a_cache_of_parametrizations_is_refused():
    net = Ensemble(lambda: parametrizations.weight_norm(nn.Linear(3, 2)), K, seed=0)
    with parametrize.cached(), pytest.raises(ConfigurationError, match="outside of it"):
        net(torch.randn(B, 3))


def test_members_on_the_meta_device_and_empty_batches():
    net = Ensemble(lambda: nn.Linear(3, 2, device="meta"), K)
    assert net(torch.ones(B, 3, device="meta")).shape == (K, B, 2)
    net = net.to_empty(device="cpu").apply(lambda part: part.reset_parameters())
    assert 0.1 < net.get_parameter("weight").std() < 1

    assert Epinet(MLP(3, [4], 2))(torch.ones(0, 3), torch.randn(5, 8)).shape == (5, 0, 2)
    layer = NoisyConv2d(3, 4, 3, per_sample=True)
    assert layer(torch.ones(0, 3, 5, 5)).shape == (0, 4, 3, 3)
    x = torch.randn(2, 3, 5, 5)
    twin = NoisyConv2d(3, 4, 3, per_sample=True)
    twin.load_state_dict(layer.state_dict())
    twin = twin.to(memory_format=torch.channels_last)
    outputs = []
    for one in (layer, twin):
        noise(one, "fresh", generator=torch.Generator().manual_seed(0))
        outputs.append(one(x.contiguous(memory_format=torch.channels_last)))
    torch.testing.assert_close(*outputs)


def test_noise_that_members_hold_is_held_by_the_ensemble():
    members = [nn.Sequential(NoisyLinear(3, 4), nn.Tanh(), NoisyLinear(4, 2)) for _ in range(K)]
    for member in members:
        noise(member, "held")
    x = torch.randn(B, 3)
    expected = torch.stack([m(x) for m in members])
    for engine in ("bmm", "vmap", "loop"):
        torch.testing.assert_close(Ensemble.from_modules(members, engine=engine)(x), expected)
    reset_noise(members[0])
    members[1][0]._held = None
    with pytest.raises(ConfigurationError, match="2 of 3 members hold noise"):
        Ensemble.from_modules(members)
    noise(members[1], "fresh")
    with pytest.raises(ConfigurationError, match="_mode"):
        Ensemble.from_modules(members)


def test_fit_runs_hooks_and_refuses_a_prior_that_changes():
    x, y = torch.randn(8, 3), torch.randn(8, 2)
    calls = []
    net = Ensemble(lambda: RandomizedPrior(MLP(3, [4], 2), MLP(3, [4], 2)), K, seed=0)
    net.skeleton.register_forward_hook(lambda m, i, o: calls.append(1) or o * 0.0)
    fit(net, x, y, steps=2, progress=False)
    assert len(calls) >= 2 * K
    changing = Ensemble(inside_prior, K, seed=0)
    with pytest.raises(ConfigurationError, match=r"`prior` changes its buffer 'mean'"):
        fit(changing, x, y, steps=2, progress=False)
    epinet = Epinet(MLP(3, [4], 2), index_dim=2, prior=Ensemble(Centred2, 2))
    with pytest.raises(ConfigurationError, match=r"`prior` changes its buffer 'mean'"):
        fit(epinet, x, y, steps=2, progress=False)

    net = Ensemble(inside_model, K, seed=0)
    members = [net.member(k).eval() for k in range(K)]
    p = predict(net, x)
    torch.testing.assert_close(p.members, torch.stack([m(x) for m in members]))
    compare_state(net, members)  # the forward that finds the shape has left nothing behind


def Centred2():
    return Centred(2)
