"""Member k is the stand-alone module, forward and gradients, for every kind and every engine."""

import copy
from dataclasses import dataclass

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map

from hunch.errors import ConfigurationError
from hunch.nn import (
    MLP,
    Ensemble,
    GaussianHead,
    NoisyConv2d,
    NoisyLinear,
    QuantileHead,
    RandomFourierPrior,
    RandomizedPrior,
    Streams,
    noise,
    reset_noise,
)

K, B = 3, 6
ALL, MAPPED, LOOP = ("auto", "bmm", "vmap", "loop"), ("auto", "vmap", "loop"), ("auto", "loop")


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.encode = nn.Linear(3, 3)
        self.decode = nn.Linear(3, 3)
        self.decode.weight = self.encode.weight

    def forward(self, x):
        return self.decode(torch.tanh(self.encode(x)))


class Bare(nn.Module):
    def __init__(self):
        super().__init__()
        self.matrix = nn.Parameter(torch.randn(3, 2))
        self.register_buffer("shift", torch.randn(2))

    def forward(self, x):
        return torch.tanh(x @ self.matrix + self.shift)


class Structured(nn.Module):
    """A dictionary and a tensor in; a dictionary with a tuple, None and a number out."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(3, 2), nn.Linear(3, 2)

    def forward(self, inputs, x, shift=0.0):
        mean, scale = self.a(inputs["left"]) + shift, self.b(inputs["right"] * x).exp()
        return {"mean": mean, "rest": (scale, None, 3)}


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.attend = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, x):
        return self.attend(x, x, x, need_weights=False)


def frozen():
    net = MLP(3, [8], 2)
    net[0].requires_grad_(False)
    net[2].bias.requires_grad_(False)
    return net


def with_prior():
    return RandomizedPrior(MLP(3, [8], 2, activation="selu"), MLP(3, [8], 2), scale=0.7)


def encoder():
    layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True, dropout=0.0)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)


def noisy_mlp():
    return nn.Sequential(NoisyLinear(3, 5, std_init=0.5), nn.Tanh(), NoisyLinear(5, 2))


def sequence(*shape):
    return lambda: (torch.randn(*shape),)


FEATURES, SEQUENCES, IMAGES = sequence(B, 3), sequence(B, 3, 4), sequence(B, 1, 4, 4)


def structures():
    return {"left": torch.randn(B, 3), "right": torch.randn(B, 3)}, torch.randn(B, 3)


def words():
    return (torch.arange(B * 2).reshape(B, 2) % 7,)


@dataclass(frozen=True)
class Kind:
    """How a member is made, what it is given, and which engines run it in train and eval mode."""

    make: object
    inputs: object = FEATURES
    engines: tuple = MAPPED
    keywords: tuple = ()


ZOO = {
    "mlp": Kind(lambda: MLP(3, [8, 8], 2), engines=ALL),
    "linear without bias": Kind(lambda: nn.Linear(3, 2, bias=False), engines=ALL),
    "prior network": Kind(with_prior, engines=ALL),
    "prior function": Kind(
        lambda: RandomizedPrior(MLP(3, [8], 1), lambda x: x[:, :1].sin()), engines=ALL
    ),
    "prior fourier": Kind(
        lambda: RandomizedPrior(MLP(3, [8], 2), RandomFourierPrior(3, 2)), engines=ALL
    ),
    "gaussian head": Kind(lambda: GaussianHead(with_prior(), MLP(3, [4], 2)), engines=ALL),
    "quantile head": Kind(
        lambda: QuantileHead(MLP(3, [4], 1), MLP(3, [4], 2), levels=(0.1, 0.5, 0.9)), engines=ALL
    ),
    "streams": Kind(lambda: Streams(MLP(3, [4], 1), MLP(3, [4], 2)), engines=ALL),
    "layer norm": Kind(
        lambda: nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 1)), engines=ALL
    ),
    "partly frozen": Kind(frozen, engines=ALL),
    "noisy": Kind(noisy_mlp, engines=ALL),
    "noisy convolution": Kind(
        lambda: nn.Sequential(NoisyConv2d(1, 2, 2), nn.Flatten(), NoisyLinear(18, 1)), IMAGES
    ),
    "tied": Kind(Tied),
    "bare parameter": Kind(Bare),
    "batch norm": Kind(lambda: nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))),
    "instance norm": Kind(
        lambda: nn.Sequential(
            nn.Conv2d(1, 2, 2), nn.InstanceNorm2d(2, affine=True, track_running_stats=True)
        ),
        IMAGES,
    ),
    "group norm": Kind(lambda: nn.Sequential(nn.Conv2d(1, 4, 2), nn.GroupNorm(2, 4)), IMAGES),
    "prelu and rms norm": Kind(
        lambda: nn.Sequential(nn.Linear(3, 4), nn.PReLU(4), nn.RMSNorm(4), nn.Linear(4, 1))
    ),
    "embedding": Kind(
        lambda: nn.Sequential(nn.Embedding(7, 3), nn.Flatten(), nn.Linear(6, 1)), words
    ),
    "embedding bag": Kind(lambda: nn.EmbeddingBag(7, 4), words, engines=LOOP),
    "convolution": Kind(
        lambda: nn.Sequential(
            nn.Conv2d(1, 2, 2), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(18, 1)
        ),
        IMAGES,
    ),
    "transposed convolution": Kind(lambda: nn.ConvTranspose2d(1, 2, 2), IMAGES),
    "attention": Kind(Attention, SEQUENCES, engines=LOOP),
    "transformer": Kind(encoder, SEQUENCES, engines=LOOP),
    "lstm": Kind(lambda: nn.LSTM(4, 5, 2, batch_first=True, bidirectional=True), SEQUENCES, LOOP),
    "gru": Kind(lambda: nn.GRU(4, 5, batch_first=True), SEQUENCES, LOOP),
    "gru cell": Kind(lambda: nn.GRUCell(3, 5), engines=LOOP),
    "weight norm": Kind(
        lambda: nn.Sequential(parametrizations.weight_norm(nn.Linear(3, 4)), nn.Linear(4, 1)),
        engines=LOOP,
    ),
    "spectral norm": Kind(
        lambda: nn.Sequential(parametrizations.spectral_norm(nn.Linear(3, 4)), nn.Linear(4, 1)),
        engines=LOOP,
    ),
    "structures": Kind(Structured, structures, keywords=(("shift", 0.5),)),
    "nested": Kind(lambda: Ensemble(lambda: MLP(3, [4], 2), 2)),
    "nested layer": Kind(lambda: nn.Sequential(Ensemble(lambda: nn.Linear(3, 2), 2), nn.Tanh())),
}
CASES = [(name, engine) for name, kind in ZOO.items() for engine in kind.engines]


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def of_member(k, structure):
    return tree_map(lambda t: t[k] if isinstance(t, torch.Tensor) else t, structure)


def tensors(outputs):
    return [t for t in tree_leaves(outputs) if isinstance(t, torch.Tensor)]


def loss(outputs):
    return sum(t.square().mean() for t in tensors(outputs))


def run(module, inputs, keywords):
    """Leaves in place of the inputs, and the outputs."""
    inputs = tree_map(lambda t: t.detach().clone().requires_grad_(t.is_floating_point()), inputs)
    outputs = module(*inputs, **keywords)
    return inputs, outputs


def compare(actual, expected, tolerance):
    (actual, structure), (expected, alone) = tree_flatten(actual), tree_flatten(expected)
    assert structure == alone
    for a, b in zip(actual, expected, strict=True):
        if isinstance(b, torch.Tensor):
            assert a.dtype == b.dtype
            torch.testing.assert_close(a, b, atol=tolerance, rtol=tolerance)
        else:
            assert a == b


@pytest.mark.every(2)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize(("name", "engine"), CASES)
def test_member_equals_the_stand_alone_module(name, engine, mode, dtype):
    kind, tolerance = ZOO[name], 1e-6 if dtype == torch.float32 else 1e-12
    net = Ensemble(kind.make, K, seed=1, engine=engine).to(dtype).train(mode == "train")
    if "noisy" in name and mode == "train":
        noise(net, "held")
        reset_noise(net, generator=torch.Generator().manual_seed(2))
    members = [net.member(k) for k in range(K)]
    inputs = tree_map(lambda t: t.to(dtype) if t.is_floating_point() else t, kind.inputs())
    keywords = dict(kind.keywords)

    # What each member sees on its own, or all of them: the shared inputs' gradients add up.
    each = tree_map(lambda t: torch.stack([t] * K), inputs)
    given, outputs = run(net, inputs, keywords)
    sum(loss(of_member(k, outputs)) for k in range(K)).backward()
    total = [torch.zeros_like(t) for t in tree_leaves(given) if t.requires_grad]
    stacked = {n: p.grad for n, p in net.named_parameters()}
    for k, member in enumerate(members):
        own, alone = run(member, of_member(k, each), keywords)
        compare(of_member(k, outputs), alone, tolerance)
        loss(alone).backward()
        for n, p in member.named_parameters():
            assert (p.grad is None) == (stacked[n] is None)
            if p.grad is not None:
                compare(stacked[n][k], p.grad, tolerance)
        # Running statistics and power iterations move with the member.
        for n, b in member.named_buffers():
            compare(dict(net.named_buffers())[n][k], b, tolerance)
        for t, leaf in zip(total, [t for t in tree_leaves(own) if t.requires_grad], strict=True):
            t += leaf.grad
    compare([t.grad for t in tree_leaves(given) if t.requires_grad], total, tolerance)


@pytest.mark.parametrize(("name", "engine"), CASES)
def test_each_member_gets_inputs_of_its_own_without_a_graph(name, engine):
    kind = ZOO[name]
    net = Ensemble(kind.make, K, seed=1, engine=engine).eval()
    inputs = kind.inputs()
    scale = torch.arange(1, K + 1)
    each = tree_map(
        lambda t: torch.stack([t // s if t.dtype == torch.long else t / s for s in scale]), inputs
    )
    with torch.no_grad():
        outputs = net(*each, per_member=True, **dict(kind.keywords))
        for k in range(K):
            alone = net.member(k)(*of_member(k, each), **dict(kind.keywords))
            compare(of_member(k, outputs), alone, 1e-6)


@pytest.mark.every(2)
@pytest.mark.parametrize("name", ZOO)
def test_chunks_change_nothing(name):
    kind = ZOO[name]
    for engine in kind.engines:
        whole = Ensemble(kind.make, 5, seed=1, engine=engine)
        if "noisy" in name:
            noise(whole, "held")
            reset_noise(whole, generator=torch.Generator().manual_seed(2))
        chunked = copy.deepcopy(whole)
        chunked.chunk_size = 2
        inputs, keywords = kind.inputs(), dict(kind.keywords)
        compare(chunked(*inputs, **keywords), whole(*inputs, **keywords), 1e-6)
        each = tree_map(lambda t: torch.stack([t] * 5), inputs)
        compare(
            chunked(*each, per_member=True, **keywords),
            whole(*each, per_member=True, **keywords),
            1e-6,
        )


@pytest.mark.parametrize("name", ZOO)
def test_copies_and_checkpoints_are_whole(name):
    kind = ZOO[name]
    net, other = (Ensemble(kind.make, K, seed=seed).eval() for seed in (1, 2))
    inputs, keywords = kind.inputs(), dict(kind.keywords)
    expected = net(*inputs, **keywords)
    copied = copy.deepcopy(net)
    compare(copied(*inputs, **keywords), expected, 0.0)
    assert net.state_dict().keys() == kind.make().state_dict().keys()
    other.load_state_dict(net.state_dict())
    compare(other(*inputs, **keywords), expected, 0.0)
    with torch.no_grad():
        for tensor in copied.parameters():
            tensor.add_(1.0)
    compare(net(*inputs, **keywords), expected, 0.0)


@pytest.mark.parametrize("engine", ["bmm", "vmap", "loop"])
@pytest.mark.parametrize("chunk_size", [None, 3])
def test_dropout_masks_differ_between_members(engine, chunk_size):
    net = Ensemble(
        lambda: nn.Sequential(nn.Linear(1, 1), nn.Dropout(0.5)),
        8,
        seed=0,
        engine=engine,
        chunk_size=chunk_size,
    )
    masks = net(torch.ones(64, 1)) == 0
    # Two of 28 pairs of 64 fair coins are equal once in 10¹⁷ seeds.
    assert len(masks.flatten(1).unique(dim=0)) == 8


class _Largest(torch.utils._python_dispatch.TorchDispatchMode):
    """Remembers the largest tensor that any operation returned."""

    largest = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        sizes = [t.numel() for t in tree_leaves(out) if isinstance(t, torch.Tensor)]
        self.largest = max([self.largest, *sizes])
        return out


@pytest.mark.parametrize("engine", ["bmm", "vmap"])
def test_chunks_bound_the_memory(engine):
    net = Ensemble(lambda: MLP(1, [50], 1), 12, seed=0, engine=engine)
    sizes = []
    for net.chunk_size in (None, 12, 3):
        with torch.no_grad(), _Largest() as watch:
            net(torch.ones(100, 1))
        sizes.append(watch.largest)
    assert sizes == [12 * 100 * 50, 12 * 100 * 50, 3 * 100 * 50]


class Mean(nn.Module):
    def __init__(self, ensemble):
        super().__init__()
        self.ensemble = ensemble

    def forward(self, x):
        return self.ensemble(x).mean(dim=0)


@pytest.mark.parametrize(
    "engine", ["bmm", *(pytest.param(e, marks=pytest.mark.slow) for e in ("vmap", "loop"))]
)
def test_the_mean_can_be_exported_and_the_members_compiled(engine):
    net = Ensemble(with_prior, K, seed=0, engine=engine).eval()
    x, more = torch.randn(B, 3), torch.randn(11, 3)
    rows = torch.export.Dim("rows")
    exported = torch.export.export(Mean(net), (x,), dynamic_shapes=({0: rows},))
    torch.testing.assert_close(exported.module()(more), net(more).mean(dim=0))
    compiled = torch.compile(net, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), net(x))


def test_what_cannot_be_stacked_or_mapped_is_refused():
    with pytest.raises(ConfigurationError, match="`LazyLinear` has lazy parameters"):
        Ensemble(lambda: nn.LazyLinear(2), K)
    with pytest.warns(FutureWarning, match="weight_norm"):
        member = nn.utils.weight_norm(nn.Linear(3, 2))
    with pytest.raises(ConfigurationError, match="`Linear` holds a tensor computed from"):
        Ensemble(lambda: member, 1)
    with pytest.raises(ConfigurationError, match=r"parametrizations\.spectral_norm"):
        Ensemble(lambda: nn.utils.spectral_norm(nn.Linear(3, 2)), K)
    with pytest.raises(ConfigurationError, match="ensembles of noisy layers"):
        Ensemble(lambda: Ensemble(lambda: NoisyLinear(3, 2), 2), K)
    with pytest.raises(ConfigurationError, match="expected engine='loop'"):
        Ensemble(lambda: nn.LSTM(3, 2), K, engine="vmap")(torch.ones(2, 3))
    with pytest.raises(ConfigurationError, match="`chunk_size` got 0"):
        Ensemble(lambda: nn.Linear(1, 1), K, chunk_size=0)
    # A mistake of the caller's stays what torch calls it.
    with pytest.raises(RuntimeError, match="size"):
        Ensemble(Tied, K, engine="vmap")(torch.ones(2, 4))
