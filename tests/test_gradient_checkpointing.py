"""`torch.utils.checkpoint` runs a function again in the backward pass: the draws are the same again.

Every test compares with the same computation without checkpointing, from the same states.
"""

import contextlib
import copy
import gc
import inspect
import itertools

import pytest
import torch
from torch import nn
from torch.distributions import Bernoulli, Gamma, MultivariateNormal, Normal, OneHotCategorical
from torch.utils.checkpoint import checkpoint

from hunch import recomputation
from hunch.errors import ConfigurationError
from hunch.gradients import EMA, expectation
from hunch.inference import Predictive
from hunch.nn import MLP, Ensemble, Epinet, NoisyConv2d, NoisyLinear, noise, reset_noise

KINDS = {
    "non-reentrant": {"use_reentrant": False},
    "reentrant": {"use_reentrant": True},
    "states not kept": {"use_reentrant": False, "preserve_rng_state": False},
    "reentrant, states not kept": {"use_reentrant": True, "preserve_rng_state": False},
}
if "early_stop" in inspect.signature(checkpoint).parameters:  # not in torch 2.6
    KINDS["whole"] = {"use_reentrant": False, "early_stop": False}


@pytest.fixture(autouse=True)
def default_generator_as_before():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def generator(seed=1):
    return torch.Generator().manual_seed(seed)


def mlp(dropout=0.3, **settings):
    return nn.Sequential(
        NoisyLinear(4, 8, **settings),
        nn.Tanh(),
        nn.Dropout(dropout),  # draws too: all must fall into step again
        NoisyLinear(8, 3, **settings),
    )


NETWORKS = {
    "factorized": mlp,
    "per sample": lambda p: mlp(p, per_sample=True),
    "independent": lambda p: mlp(p, noise="independent"),
    "convolution": lambda p: nn.Sequential(
        nn.Unflatten(1, (1, 2, 2)), NoisyConv2d(1, 2, 2, per_sample=True), nn.Dropout(p)
    ),
    "ensemble, bmm": lambda p: Ensemble(lambda: mlp(p), 3, engine="bmm"),
    "ensemble, vmap": lambda p: Ensemble(lambda: mlp(p), 3, engine="vmap"),
    "ensemble, loop": lambda p: Ensemble(lambda: mlp(p), 3, engine="loop"),
    "ensemble per sample": lambda p: Ensemble(lambda: mlp(p, per_sample=True), 3),
}
# What is set before the forward; a context is left before the backward.
SETTINGS = {
    "as it is": lambda net, g: contextlib.nullcontext(),
    "own generator": lambda net, g: contextlib.nullcontext(noise(net, "auto", g)),
    "own generator for now": lambda net, g: noise(net, "fresh", g),
    "off for now": lambda net, g: noise(net, "off"),
    "held": lambda net, g: contextlib.nullcontext(noise(net, "held")),
    "held for now": lambda net, g: noise(net, "held", g),
}
# What happens between forward and backward.
MEANWHILE = {
    "nothing": lambda net, g: None,
    "drawn": lambda net, g: torch.randn(3, generator=g),
    "eval": lambda net, g: [m.eval() for m in net.modules() if isinstance(m, NoisyLinear)],
    "reset": lambda net, g: reset_noise(net),
    "off": lambda net, g: noise(net, "off"),
    "another generator": lambda net, g: noise(net, "fresh", generator(9)),
}


def gradients(net, how, setting, meanwhile):
    """Output, gradients and the state of a generator of one's own."""
    net, g, x = copy.deepcopy(net), generator(), torch.linspace(-1, 1, 20).view(5, 4)
    x.requires_grad_()
    torch.manual_seed(7)
    with setting(net, g):
        y = net(x) if how is None else checkpoint(net, x, **how)
    meanwhile(net, g)
    y.square().sum().backward()
    found = [x.grad, *(p.grad for p in net.parameters())]
    return [y.detach(), *(f for f in found if f is not None), g.get_state()]


@pytest.mark.every(2)
@pytest.mark.filterwarnings("ignore:None of the inputs")
@pytest.mark.parametrize("meanwhile", MEANWHILE)
@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("kind", KINDS)
def test_noise_is_the_same_again(kind, setting, meanwhile):
    # Torch itself draws another dropout where it was told not to keep its states.
    dropout = 0.0 if "not kept" in kind else 0.3
    usual = kind in ("non-reentrant", "reentrant")
    for name, make in NETWORKS.items() if usual else [("factorized", mlp)]:
        if name == "ensemble per sample" and "held" in setting:
            continue
        net = make(dropout)
        arguments = (SETTINGS[setting], MEANWHILE[meanwhile])
        wanted = gradients(net, None, *arguments)
        found = gradients(net, KINDS[kind], *arguments)
        assert len(wanted) == len(found), name
        for one, two in zip(wanted, found, strict=True):
            torch.testing.assert_close(one, two, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("kind", KINDS)
def test_noise_handed_over_for_the_forward_alone(kind):
    layer = NoisyLinear(4, 3)
    x = torch.ones(2, 4, requires_grad=True)
    grads = []
    for how in (None, KINDS[kind]):
        layer.zero_grad()
        with layer.using(layer.draw(generator())):
            y = layer(x) if how is None else checkpoint(layer, x, **how)
        y.square().sum().backward()
        grads.append(layer.weight_sigma.grad)
    assert torch.equal(*grads)


FAMILIES = {
    "Normal": lambda p: Normal(p, p.exp()),
    "MultivariateNormal": lambda p: MultivariateNormal(p, p.exp().diag()),
    "Gamma": lambda p: Gamma(p.exp(), p.exp()),
    "Bernoulli": lambda p: Bernoulli(logits=p),
    "OneHotCategorical": lambda p: OneHotCategorical(logits=p),
}
WAYS = [
    ("Normal", {"estimator": "auto"}),
    ("Normal", {"estimator": "score"}),
    ("Normal", {"estimator": "score", "baseline": "ema"}),
    ("Normal", {"estimator": "pathwise", "sampler": "antithetic"}),
    ("Normal", {"estimator": "score", "sampler": "sobol"}),
    ("Normal", {"estimator": "measure"}),
    ("MultivariateNormal", {"estimator": "pathwise"}),
    ("Gamma", {"estimator": "pathwise"}),
    ("Gamma", {"estimator": "measure"}),
    ("Bernoulli", {"estimator": "score", "mask": torch.isfinite}),
    ("Bernoulli", {"estimator": "rebar"}),
    ("Bernoulli", {"estimator": "measure"}),
    ("OneHotCategorical", {"estimator": "gumbel"}),
    ("OneHotCategorical", {"estimator": "straight_through"}),
]


def loss_and_gradient(family, way, how, own):
    """Of two expectations in one region, the second with another distribution."""
    g = generator() if own else None
    p = torch.tensor([0.2, -0.3, 0.5], dtype=torch.float64, requires_grad=True)

    def cost(z):
        squares = (z - 0.3) ** 2
        return squares.sum(-1) if family in ("MultivariateNormal", "OneHotCategorical") else squares

    def region(p):
        first = expectation(cost, FAMILIES[family](p.sin()), 4, generator=g, **way)
        second = expectation(torch.square, Normal(p.sum(), 1.0), 2, generator=g)
        return first.square().sum() * second

    torch.manual_seed(7)
    loss = region(p) if how is None else checkpoint(region, p, **how)
    torch.manual_seed(8)
    torch.rand(5, generator=g)
    loss.backward()
    return [loss.detach(), p.grad] + ([g.get_state()] if own else [])


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("family", "way"), WAYS)
def test_samples_are_the_same_again(family, way, kind, own):
    wanted = loss_and_gradient(family, way, None, own)
    for one, two in zip(wanted, loss_and_gradient(family, way, KINDS[kind], own), strict=True):
        torch.testing.assert_close(one, two)


@pytest.mark.parametrize("kind", KINDS)
def test_a_moving_average_learns_once_and_answers_the_same(kind):
    found = []
    for how in (None, KINDS[kind]):
        p, ema, g = torch.zeros(3, requires_grad=True), EMA(0.5), generator()
        ema(torch.full((4, 3), 2.0))

        def region(p, ema=ema, g=g):
            dist = Normal(p, 1.0)
            return expectation(
                torch.square, dist, 4, estimator="score", baseline=ema, generator=g
            ).square()  # whose backward needs the value: it must be computed again

        (region(p) if how is None else checkpoint(region, p, **how)).sum().backward()
        found.append(torch.stack([p.grad, ema.value.expand(3), ema.weight.expand(3)]))
    torch.testing.assert_close(*found)


@pytest.mark.filterwarnings("ignore:None of the inputs")
@pytest.mark.parametrize(("outer", "inner"), [*itertools.product(KINDS.values(), repeat=2)])
def test_regions_within_regions_and_two_backward_passes(outer, inner):
    layer = NoisyLinear(3, 3)

    def half(x):
        return layer(layer(x).sin())

    def whole(x):
        return checkpoint(half, half(checkpoint(half, x, **inner)), **inner) * layer(x)

    grads = []
    for how in (None, outer):
        noise(layer, "fresh", generator())
        layer.zero_grad()
        x = torch.ones(2, 3, requires_grad=True)
        y = half(half(half(x))) * layer(x) if how is None else checkpoint(whole, x, **how)
        y.square().sum().backward(retain_graph=True)
        y.square().sum().backward()
        grads.append(layer.weight_sigma.grad)
    torch.testing.assert_close(*grads)


@pytest.mark.parametrize("kind", KINDS)
def test_indices_and_predictive_samples_are_the_same_again(kind):
    net, grads = Epinet(MLP(2, [5], 1), index_dim=3), []
    for how in (None, KINDS[kind]):
        w, g = torch.ones(3, requires_grad=True), generator()

        def region(w, g=g):
            indices = net.draw_indices(4, g) * w
            members = Predictive(w.expand(5, 1, 3), noise_std=torch.ones(()))
            return indices.square().sum() * members.sample(2, generator=g).square().sum()

        (region(w) if how is None else checkpoint(region, w, **how)).backward()
        grads.append(w.grad)
    assert torch.equal(*grads)


def test_what_draws_otherwise_the_second_time_is_refused():
    layer, widths = NoisyLinear(3, 3), iter([1, 2])

    def region(x):
        for _ in range(next(widths)):
            x = layer(x).sin()
        return x

    loss = checkpoint(region, torch.ones(2, 3, requires_grad=True), **KINDS["reentrant"]).sum()
    with pytest.raises(ConfigurationError, match="same calls in the same order"):
        loss.backward()


@pytest.mark.parametrize("kind", KINDS)
def test_a_backward_pass_may_draw_for_itself(kind):
    """A hook, and a function whose own backward samples: neither repeats anything."""

    def noise_of(g):
        return expectation(torch.square, Normal(torch.zeros(2), 1.0), 2, generator=g)

    class Noisy(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, g):
            ctx.g = g
            return x + noise_of(g)

        @staticmethod
        def backward(ctx, upstream):
            return upstream * noise_of(ctx.g), None

    found = []
    for how in (None, KINDS[kind]):
        g, seen, x = generator(), [], torch.ones(2, requires_grad=True)

        def region(x, g=g, seen=seen):
            y = x * noise_of(g)
            if y.requires_grad:
                y.register_hook(lambda grad: seen.append(noise_of(g)))
            return y.sin()

        y = region(x) if how is None else checkpoint(region, x, **how)
        Noisy.apply(y, g).sum().backward()
        found.append([x.grad, *seen, g.get_state()])
    assert all(torch.equal(one, two) for one, two in zip(*found, strict=True))


def test_records_go_with_the_graph():
    layer, x = NoisyLinear(3, 3), torch.ones(2, 3, requires_grad=True)
    loss = [checkpoint(layer, x, **how).sum() for how in KINDS.values()]
    assert len(recomputation._RECORDS) >= 2
    del loss
    gc.collect()
    assert not len(recomputation._RECORDS)


@pytest.mark.skipif(
    not hasattr(torch._C._autograd, "_top_saved_tensors_default_hooks"),
    reason="this torch cannot say whether it is worth a look",
)
def test_a_look_outside_of_any_region_is_not_made(monkeypatch):
    monkeypatch.setattr(recomputation, "_regions", lambda: pytest.fail("walked the stack"))
    layer, x = NoisyLinear(3, 3), torch.ones(2, 3, requires_grad=True)
    layer(x).sum().backward()
    with torch.no_grad():
        layer(x)
    with torch.inference_mode():
        layer(x)
    expectation(torch.square, Normal(x, 1.0), 2, generator=generator())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("family", "use_reentrant"),
    [
        ("Gamma", False),
        pytest.param("Gamma", True, marks=pytest.mark.proof),
        pytest.param("Normal", False, marks=pytest.mark.proof),
        pytest.param("Normal", True, marks=pytest.mark.proof),
    ],
)
def test_compiled_inside_a_region(family, use_reentrant):
    torch.compiler.reset()
    make = FAMILIES[family]
    g, net = generator(), nn.Sequential(NoisyLinear(3, 3), nn.Tanh())
    noise(net, "fresh", g)

    def loss(p):
        z = expectation(torch.square, make(p.sin()), 4, estimator="score", generator=g)
        return (net(p.sin()) * z).square().sum()

    found = []
    for function in (loss, torch.compile(loss, backend="eager")):
        g.manual_seed(1)
        p = torch.tensor([0.2, -0.3, 0.5], requires_grad=True)
        y = (
            function(p)
            if function is loss
            else checkpoint(function, p, use_reentrant=use_reentrant)
        )
        torch.rand(5, generator=g)
        y.backward()
        found.append(p.grad)
    torch.compiler.reset()
    torch.testing.assert_close(*found)
