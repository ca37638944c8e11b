"""The compiled kernel trains as torch does, and says where it cannot."""

import itertools

import pytest
import torch

from hunch.errors import ConfigurationError, DataError
from hunch.inference import fit
from hunch.kernel import Layer, Training, kernel, loaded
from hunch.nn import MLP, Ensemble, Epinet, GaussianHead, RandomizedPrior

K, N = 4, 90
G = torch.Generator().manual_seed(0)
X = torch.randn(N, 3, generator=G)
# Noise that no member learns by heart: a loss that falls to nothing has no relative error.
Y = X @ torch.randn(3, 2, generator=G) + 0.5 * torch.randn(N, 2, generator=G)
CLASSES = torch.randint(0, 3, (N,), generator=G)
WEIGHT = 3 * torch.rand(N, generator=G)

compiled = pytest.mark.skipif(kernel() is None, reason="hunch was installed without the kernel")


def trained(engine, *, activation="silu", hidden=(20, 11), prior=True, x=X, y=Y, **settings):
    out = 3 if settings.get("loss") == "cross_entropy" else y.shape[1]

    def network():
        return MLP(x.shape[1], hidden, out, activation=activation)

    def member():
        return RandomizedPrior(network(), network(), 0.5) if prior else network()

    net = Ensemble(member, K, seed=0, engine=engine)
    settings = {"steps": 1000, "lr": 1e-3, "batch_size": 30} | settings
    return net, fit(net, x, y, progress=False, **settings)


SETTINGS = {
    "silu, batches": {},
    "tanh, all rows, one input": dict(
        activation="tanh", x=X[:, :1], y=Y[:, :1], batch_size=None, hidden=(20, 20)
    ),
    "selu, bootstrap anew each epoch": dict(activation="selu", redraw=True, hidden=(20,)),
    "gelu, classes": dict(activation="gelu", loss="cross_entropy", y=CLASSES),
    "elu, weights and all that is each member's": dict(
        activation="elu",
        weight=WEIGHT,
        lr=[1e-3, 2e-3, 5e-4, 1e-3],
        ridge=[0.0, 1.0, 0.1, 3.0],
        max_gradient_norm=1.0,
    ),
    "sigmoid, noise on targets, no prior": dict(
        activation="sigmoid", target_noise=0.3, prior=False, ridge=0.1, bootstrap="exponential"
    ),
    "silu, weights of classes": dict(loss="cross_entropy", y=CLASSES, weight=WEIGHT, hidden=(9,)),
    "linear": dict(hidden=(), bootstrap="double_or_nothing", batch_size=40),
    # A kink makes a hair's breadth a step: fewer of them.
    "relu": dict(activation="relu", steps=200),
}


@pytest.mark.every(2)
@compiled
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
def test_losses_are_those_of_torch(settings):
    net, history = trained("kernel", **settings)
    other, expected = trained("bmm", **settings)
    torch.testing.assert_close(history.loss, expected.loss, rtol=1e-5, atol=0)
    for own, wanted in zip(net.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(own, wanted, rtol=1e-3, atol=2e-5)


@compiled
@pytest.mark.parametrize("settings", [dict(batch_size=None), {}, dict(weight=WEIGHT)])
@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
def test_training_stops_where_torch_would(settings, loss):
    y = CLASSES if loss == "cross_entropy" else Y
    settings = dict(activation="tanh", y=y, loss=loss, lr=0.01, patience=7) | settings
    net, history = trained("kernel", **settings)
    other, expected = trained("bmm", **settings)
    assert len(history.loss) < 1000
    assert history.loss.shape == expected.loss.shape
    torch.testing.assert_close(history.loss, expected.loss, rtol=1e-4, atol=0)
    torch.testing.assert_close(history.out_of_bag, expected.out_of_bag, rtol=1e-4, atol=0)
    for own, wanted in zip(net.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(own, wanted, rtol=1e-3, atol=1e-4)


@compiled
@pytest.mark.parametrize("lanes", [4, 8, 16])
def test_every_width_of_vectors(monkeypatch, lanes):
    if lanes > kernel().hunch_lanes():
        pytest.skip("this processor has none so wide")
    monkeypatch.setattr(kernel(), "hunch_lanes", lambda: lanes)
    for settings in (dict(steps=100), dict(loss="cross_entropy", y=CLASSES, steps=100)):
        history, expected = trained("kernel", **settings)[1], trained("bmm", **settings)[1]
        torch.testing.assert_close(history.loss, expected.loss, rtol=1e-5, atol=0)


@compiled
@pytest.mark.parametrize(
    ("shape", "hidden"),
    [((1, 1), (1,)), ((7, 4), (3, 5, 2)), ((33, 16), (17, 31)), ((200, 9), (6,))],
)
@pytest.mark.parametrize("bias", [True, False])
def test_odd_sizes(shape, hidden, bias):
    g = torch.Generator().manual_seed(1)
    x, y = torch.randn(shape, generator=g), torch.randn(shape[0], 3, generator=g)
    sizes = [shape[1], *hidden, 3]

    def member():
        layers = [torch.nn.Linear(p, q, bias) for p, q in itertools.pairwise(sizes)]
        return torch.nn.Sequential(*(part for layer in layers for part in (layer, torch.nn.Tanh())))

    def losses(engine):
        net = Ensemble(member, 3, seed=0, engine=engine)
        return fit(net, x, y, steps=30, lr=0.01, bootstrap="poisson", progress=False).loss

    torch.testing.assert_close(losses("kernel"), losses("bmm"), rtol=1e-5, atol=1e-6)


@compiled
def test_room_for_more_rows_is_room_for_fewer():
    layers = (Layer * 1)(Layer(None, None, 42, 42, 0))
    training = Training(layer=layers, layers=1, data=400, parameters=42 * 43)
    room = [kernel().hunch_scratch(training, rows) for rows in range(1, 400)]
    assert room == sorted(room)


@compiled
def test_the_same_bits_again_and_for_any_number_of_threads(monkeypatch):
    monkeypatch.setattr("hunch.inference.compiled._WORK_OF_A_THREAD", 1.0)
    before = torch.get_num_threads()
    runs = []
    try:
        for threads in (1, 1, 2, 3, 16):
            torch.set_num_threads(threads)
            runs.append(trained("kernel", steps=60))
    finally:
        torch.set_num_threads(before)
    for net, history in runs[1:]:
        assert torch.equal(history.loss, runs[0][1].loss)
        for own, first in zip(net.parameters(), runs[0][0].parameters(), strict=True):
            assert torch.equal(own, first)


@compiled
def test_a_member_trains_as_it_would_alone():
    few, many = (Ensemble(lambda: MLP(3, [20], 2), k, seed=0, engine="kernel") for k in (2, 5))
    losses = [fit(net, X, Y, steps=50, progress=False).loss for net in (few, many)]
    assert torch.equal(losses[0], losses[1][:, :2])


@compiled
def test_callbacks_come_after_each_step_and_see_it():
    net = Ensemble(lambda: MLP(3, [5], 2), 2, seed=0, engine="kernel")
    seen, versions = [], []
    weight = net.get_parameter("0.weight")

    def callback(done, losses):
        seen.append((done, weight.detach().clone()))
        versions.append(weight._version)

    fit(net, X, Y, steps=9, callback=callback, progress=False)
    assert [done for done, _ in seen] == list(range(1, 10))
    assert all(not torch.equal(a, b) for (_, a), (_, b) in itertools.pairwise(seen))
    assert sorted(set(versions)) == versions
    again = Ensemble(lambda: MLP(3, [5], 2), 2, seed=0, engine="kernel")
    fit(again, X, Y, steps=9, progress=False)
    assert torch.equal(again.get_parameter("0.weight"), weight)


@compiled
@pytest.mark.parametrize("activation", ["relu", "tanh", "silu", "elu", "selu", "gelu", "sigmoid"])
def test_nan_goes_through(activation):
    net = Ensemble(lambda: MLP(3, [5], 2, activation=activation), 2, seed=0, engine="kernel")
    with torch.no_grad():
        net.get_parameter("0.weight")[1, 2, 0] = float("nan")
    with pytest.raises(DataError, match="diverged"):
        fit(net, X, Y, steps=3, progress=False)


class Own(torch.nn.Linear):
    """A layer that may do anything."""


def hooked():
    net = MLP(3, [5], 2)
    net[0].register_forward_hook(lambda module, inputs, output: None)
    return net


def tied():
    net = MLP(3, [5, 5, 5], 2)
    net[4].weight = net[2].weight
    return net


def frozen():
    net = MLP(3, [5], 2)
    net[0].weight.requires_grad_(False)
    return net


OTHERS = {
    "the layer LayerNorm": lambda: torch.nn.Sequential(
        torch.nn.Linear(3, 2), torch.nn.LayerNorm(2)
    ),
    "the layer Own": lambda: torch.nn.Sequential(Own(3, 2)),
    "approximate='tanh'": lambda: MLP(3, [5], 2, activation=lambda: torch.nn.GELU("tanh")),
    "alpha=2": lambda: MLP(3, [5], 2, activation=lambda: torch.nn.ELU(2.0)),
    "Tanh that follows": lambda: torch.nn.Sequential(torch.nn.Tanh(), torch.nn.Linear(3, 2)),
    "hooks": hooked,
    "share": tied,
    "frozen": frozen,
    "float32": lambda: MLP(3, [5], 2, dtype=torch.float64),
}


@compiled
@pytest.mark.parametrize(("words", "member"), OTHERS.items(), ids=OTHERS.keys())
def test_what_it_cannot_train_is_said_or_left_to_torch(words, member):
    def made():
        torch.manual_seed(0)
        with torch.random.fork_rng(devices=[]):
            return Ensemble.from_modules([m := member(), other(m)])

    def other(first):
        second = member()
        second.load_state_dict({k: v + 0.1 for k, v in first.state_dict().items()})
        return second

    net = made()
    net.engine = "kernel"
    with pytest.raises(ConfigurationError, match=rf"`engine='kernel'` cannot train with.*{words}"):
        fit(net, X, Y, progress=False)
    assert fit(made(), X, Y, steps=3, progress=False).loss.isfinite().all()


@compiled
def test_other_losses_are_left_to_torch():
    def head():
        return GaussianHead(MLP(3, [5], 2), MLP(3, [5], 2))

    for loss, member in (("gaussian_nll", head), (lambda f, y: (f - y).abs().sum(-1), hooked)):
        with pytest.raises(ConfigurationError, match="another loss than 'mse' or 'cross_entropy'"):
            fit(Ensemble(member, 2, seed=0, engine="kernel"), X, Y, loss=loss, progress=False)


@compiled
def test_a_subclass_of_ensemble_is_left_to_torch():
    class Doubled(Ensemble):
        def forward(self, *inputs, **kwargs):
            return 2 * super().forward(*inputs, **kwargs)

    net, plain = (kind(lambda: MLP(3, [5], 2), 2, seed=0) for kind in (Doubled, Ensemble))
    losses = [fit(each, X, Y, steps=2, progress=False).loss for each in (net, plain)]
    assert not torch.allclose(*losses)


@compiled
def test_no_steps_and_one_row():
    net = Ensemble(lambda: MLP(3, [5], 2), 2, seed=0, engine="kernel")
    assert fit(net, X, Y, steps=0, progress=False).loss.shape == (0, 2)
    assert fit(net, X[:1], Y[:1], steps=3, bootstrap="none", progress=False).loss.isfinite().all()


@compiled
def test_an_epinet_is_left_to_torch():
    net = Epinet(MLP(3, [20], 2), index_dim=4)
    assert fit(net, X, Y, steps=3, progress=False).loss.isfinite().all()


@compiled
def test_the_forward_is_that_of_auto():
    net, other = (Ensemble(lambda: MLP(3, [5], 2), 2, seed=0, engine=e) for e in ("kernel", "auto"))
    assert torch.equal(net(X), other(X))
    assert torch.equal(net.part("0")(X), other.part("0")(X))


def test_without_it_everything_is_torch(monkeypatch):
    monkeypatch.setenv("HUNCH_KERNEL", "0")
    loaded.cache_clear()
    try:
        net, history = trained("auto", steps=5)
        assert torch.equal(history.loss, trained("bmm", steps=5)[1].loss)
        net.engine = "kernel"
        with pytest.raises(ConfigurationError, match="an installation without the compiled kernel"):
            fit(net, X, Y, progress=False)
    finally:
        loaded.cache_clear()
