"""`torch.compile` and `torch.export` where the batch changes: its size is a symbol then."""

import pytest
import torch
from torch import nn
from torch._dynamo.testing import CompileCounter
from torch.distributions import Bernoulli, Normal

from hunch.gradients import expectation
from hunch.nn import MLP, Ensemble, Epinet, NoisyConv2d, NoisyLinear, RandomizedPrior, noise
from hunch.nn.heads import GaussianHead


def layers(**settings):
    return nn.Sequential(NoisyLinear(4, 8, **settings), nn.ReLU(), NoisyLinear(8, 2, **settings))


class OnImages(nn.Module):
    def __init__(self, **settings):
        super().__init__()
        self.layer = NoisyConv2d(1, 2, 2, **settings)

    def forward(self, x):
        return self.layer(x.view(-1, 1, 2, 2))


class WithIndices(nn.Module):
    """An epinet with as many indices as there are rows."""

    def __init__(self):
        super().__init__()
        self.net = Epinet(MLP(4, [5], 2), index_dim=3)

    def forward(self, x):
        return self.net(x, self.net.draw_indices(x.shape[0]))


class Whole(nn.Module):
    """One input argument, whatever the module inside takes."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x)


def held(net):
    noise(net, "held")
    return net


NETWORKS = {
    "factorized": layers,
    "independent": lambda: layers(noise="independent"),
    "per sample": lambda: layers(per_sample=True),
    "per sample, independent": lambda: layers(per_sample=True, noise="independent"),
    "truncated": lambda: layers(per_sample=True, noise_distribution="truncated_normal"),
    "held": lambda: held(layers()),
    "eval": lambda: layers().eval(),
    "images": OnImages,
    "images, per sample": lambda: OnImages(per_sample=True),
    "epinet": WithIndices,
    "ensemble": lambda: Ensemble(layers, 3),
    "ensemble, vmap": lambda: Ensemble(layers, 3, engine="vmap"),
    "ensemble, per sample": lambda: Ensemble(lambda: layers(per_sample=True), 3),
    "prior": lambda: RandomizedPrior(MLP(4, [5], 2), MLP(4, [5], 2)),
    "head": lambda: GaussianHead(MLP(4, [5], 2), MLP(4, [5], 2)),
}
FIXED = ("held", "eval", "prior", "head")


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch.compiler.reset()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield
    torch.compiler.reset()


SLOW = ("ensemble, vmap", "ensemble, per sample")


@pytest.mark.every(3)
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.proof) if n in SLOW else n for n in NETWORKS]
)
def test_compiled_for_any_batch(name):
    counter, net = CompileCounter(), Whole(NETWORKS[name]())
    compiled = torch.compile(net, backend=counter, fullgraph=True)
    for rows in (3, 5, 9):
        x = torch.ones(rows, 4)
        out, again = compiled(x), compiled(x)
        assert out.shape == net(x).shape
        assert torch.equal(out, again) == (name in FIXED)
        out.sum().backward()
    assert counter.frame_count == 2  # one size, any size


@pytest.mark.every(2)
@pytest.mark.parametrize("name", NETWORKS)
def test_exported_for_any_batch(name):
    net = Whole(NETWORKS[name]())
    shapes = ({0: torch.export.Dim("rows")},)
    exported = torch.export.export(net, (torch.ones(3, 4),), dynamic_shapes=shapes).module()
    for rows in (5, 2):
        x = torch.ones(rows, 4)
        out, again = exported(x), exported(x)
        assert out.shape == net(x).shape
        assert torch.equal(out, again) == (name in FIXED)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("family", "how"),
    [
        ("normal", {"estimator": "score"}),
        ("normal", {"estimator": "pathwise", "sampler": "antithetic"}),
        pytest.param("normal", {"estimator": "measure"}, marks=pytest.mark.slow),
        pytest.param("bernoulli", {"estimator": "rebar"}, marks=pytest.mark.slow),
    ],
)
def test_an_expectation_compiled_for_any_batch(family, how):
    def loss(p):
        logits = {"logits": p, "validate_args": False}
        dist = Normal(p, 1.0, False) if family == "normal" else Bernoulli(**logits)
        return expectation(torch.square, dist, 4, **how)

    compiled = torch.compile(loss, backend="eager", dynamic=True)
    for rows in (3, 5):
        found = []
        for function in (loss, compiled):
            torch.manual_seed(1)
            p = torch.linspace(-1, 1, rows, requires_grad=True)
            value = function(p)
            value.sum().backward()
            found.append(torch.stack([value.detach(), p.grad]))
        torch.testing.assert_close(*found)


@pytest.mark.filterwarnings("ignore")
def test_a_generator_of_ones_own_does_not_go_into_one_graph():
    net = layers()
    noise(net, "fresh", torch.Generator())
    with pytest.raises(torch._dynamo.exc.Unsupported):
        torch.compile(net, backend="eager", fullgraph=True)(torch.ones(3, 4))
    torch.compiler.reset()
    assert torch.compile(net, backend="eager")(torch.ones(3, 4)).shape == (3, 2)
