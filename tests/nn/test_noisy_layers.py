"""Construction, forwards against naive references, and misuse."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from hunch.errors import ConfigurationError, ShapeError
from hunch.nn import NoisyConv2d, NoisyLinear, noise, reset_noise

KINDS = [
    ("factorized", False),
    ("factorized", True),
    ("independent", False),
    ("independent", True),
]


@pytest.fixture
def g():
    return torch.Generator().manual_seed(0)


def mlp(g=None, **settings):
    return nn.Sequential(
        NoisyLinear(4, 8, generator=g, **settings),
        nn.ReLU(),
        NoisyLinear(8, 2, generator=g, **settings),
    )


# --- initial values


@pytest.mark.parametrize(
    ("settings", "bound", "std", "bias_std"),
    [
        ({}, 1 / 8, 0.5 / 8, 0.5 / 8),
        ({"noise": "independent"}, math.sqrt(3 / 64), 0.017, 0.017),
        ({"bias_std": "out", "std_init": 0.4}, 1 / 8, 0.4 / 8, 0.4 / math.sqrt(10)),
        (
            {"noise": "independent", "init": "factorized"},
            1 / 8,
            0.5 / 8,
            0.5 / 8,
        ),
        ({"init": "independent"}, math.sqrt(3 / 64), 0.017, 0.017),
        ({"std_init": 0}, 1 / 8, 0.0, 0.0),
    ],
)
def test_initial_values(settings, bound, std, bias_std, g):
    layer = NoisyLinear(64, 10, generator=g, **settings)
    assert 0.95 * bound < layer.weight.abs().max() <= bound  # misses 1 seed in 10^14
    assert layer.bias.abs().max() <= bound
    torch.testing.assert_close(layer.weight_sigma, torch.full((10, 64), std))
    torch.testing.assert_close(layer.bias_sigma, torch.full((10,), bias_std))


def test_same_seed_gives_the_means_of_a_plain_linear_layer():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        plain = nn.Linear(5, 4)
        torch.manual_seed(3)
        layer = NoisyLinear(5, 4)
    assert torch.equal(layer.weight, plain.weight)
    assert torch.equal(layer.bias, plain.bias)


def test_convolution_counts_the_inputs_of_one_output():
    layer = NoisyConv2d(6, 4, (3, 5), groups=2)
    p = 3 * 3 * 5
    torch.testing.assert_close(layer.weight_sigma, torch.full((4, 3, 3, 5), 0.5 / math.sqrt(p)))
    assert layer.weight.abs().max() <= 1 / math.sqrt(p)
    assert [tuple(part.shape) for part in layer.draw()] == [(2 * p,), (4,)]


def test_generator_decides_initial_values_and_draws_and_spares_the_global_state():
    before = torch.get_rng_state()
    x, outs = torch.ones(3, 4), []
    for _ in range(2):
        g = torch.Generator().manual_seed(5)
        net = mlp(g)
        noise(net, "fresh", g)
        outs += [net(x), net(x)]
        reset_noise(net, g)
        noise(net, "held")
        outs.append(net(x))
    assert all(torch.equal(a, b) for a, b in zip(outs[:3], outs[3:], strict=True))
    assert not torch.equal(outs[0], outs[1])
    assert torch.equal(before, torch.get_rng_state())


def test_noise_is_neither_parameter_nor_buffer_nor_checkpoint():
    net = mlp()
    noise(net, "held")
    net(torch.ones(1, 4))
    names = {"weight", "bias", "weight_sigma", "bias_sigma"}
    assert {name.split(".")[1] for name, _ in net.named_parameters()} == names
    assert {name.split(".")[1] for name in net.state_dict()} == names
    assert list(net.buffers()) == []


@pytest.mark.parametrize("layer", [NoisyLinear(3, 2, bias=False), NoisyConv2d(3, 2, 1, bias=False)])
def test_without_bias(layer):
    assert layer.bias is None
    assert layer.bias_sigma is None
    x = torch.ones(2, 3) if isinstance(layer, NoisyLinear) else torch.ones(2, 3, 4, 4)
    for mode in ("fresh", "held", "off"):
        with noise(layer, mode):
            assert layer(x).shape[:2] == (2, 2)


def test_printing_shows_the_settings():
    assert "4, 8, bias=True, noise=factorized, std_init=0.5" in str(mlp())
    assert "kernel_size=(3, 3)" in str(NoisyConv2d(1, 2, 3))
    assert NoisyConv2d(1, 2, np.int64(3), stride=[2, 1]).kernel_size == (3, 3)


# --- forwards against naive references


@pytest.mark.parametrize("kind", ["factorized", "independent"])
def test_shared_forward_is_the_perturbed_linear_map(kind, g):
    layer = NoisyLinear(5, 3, noise=kind, generator=g, dtype=torch.float64)
    x = torch.randn(2, 7, 5, generator=g, dtype=torch.float64)
    draw = layer.draw(g)
    weight_noise = torch.outer(draw[1], draw[0]) if kind == "factorized" else draw[0]
    with layer.using(draw):
        out = layer(x)
    weight = layer.weight + layer.weight_sigma * weight_noise
    expected = torch.einsum("...i,oi->...o", x, weight) + layer.bias + layer.bias_sigma * draw[1]
    torch.testing.assert_close(out, expected)


@pytest.mark.parametrize("bias", [True, False])
def test_per_sample_forward_is_a_loop_of_shared_forwards(bias, g):
    each = NoisyLinear(5, 3, bias, per_sample=True, generator=g)
    shared = NoisyLinear(5, 3, bias)
    shared.load_state_dict(each.state_dict())
    x = torch.randn(2, 4, 5, generator=g)
    rows, columns = each.draw(g, batch_shape=(2, 4))
    with each.using((rows, columns)):
        out = each(x)
    for i in range(2):
        for j in range(4):
            with shared.using((rows[i, j], columns[i, j])):
                torch.testing.assert_close(out[i, j], shared(x[i, j]))


CONVOLUTIONS = [
    {"kernel_size": 3},
    {"kernel_size": (3, 2), "stride": (2, 1), "padding": (1, 0), "dilation": (1, 2)},
    {"kernel_size": 3, "groups": 2, "padding": 1, "bias": False},
    {"kernel_size": (2, 4), "padding": "same", "dilation": (2, 1), "groups": 4},
    {"kernel_size": 3, "padding": "valid", "stride": 2},
    {"kernel_size": 3, "padding": 2, "padding_mode": "circular"},
    {"kernel_size": (4, 3), "padding": "same", "padding_mode": "reflect"},
    {"kernel_size": 1, "padding": 1, "padding_mode": "replicate"},
]


# torch's own layer warns that it pads unevenly
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("arguments", CONVOLUTIONS)
def test_convolution_agrees_with_torch_and_per_sample_with_a_loop(arguments, g):
    shared = NoisyConv2d(4, 8, **arguments, generator=g)
    plain = nn.Conv2d(4, 8, **arguments)
    each = NoisyConv2d(4, 8, **arguments, per_sample=True)
    each.load_state_dict(shared.state_dict())
    x = torch.randn(3, 4, 9, 8, generator=g)

    plain.load_state_dict(shared.state_dict(), strict=False)
    with noise(shared, "off"):
        torch.testing.assert_close(shared(x), plain(x))

    rows, columns = each.draw(g, batch_shape=(3,))
    with each.using((rows, columns)):
        out = each(x)
    groups, p = shared.groups, shared.weight[0].numel()
    for n in range(3):
        with torch.no_grad():
            for o in range(8):  # output by output: each sees the input noise of its own group
                group = o * groups // 8
                eps = columns[n, o] * rows[n, group * p : (group + 1) * p]
                plain.weight[o] = shared.weight[o] + shared.weight_sigma[o] * eps.view(
                    shared.weight[o].shape
                )
                if shared.bias is not None:
                    plain.bias[o] = shared.bias[o] + shared.bias_sigma[o] * columns[n, o]
        expected = plain(x[n])
        torch.testing.assert_close(out[n], expected, atol=1e-5, rtol=1e-5)
        with shared.using((rows[n], columns[n])):
            torch.testing.assert_close(shared(x[n]), expected, atol=1e-5, rtol=1e-5)
        with each.using((rows[n], columns[n])):
            torch.testing.assert_close(each(x[n]), expected, atol=1e-5, rtol=1e-5)


def test_independent_convolution_noise_reaches_every_weight(g):
    layer = NoisyConv2d(2, 3, 2, noise="independent", generator=g)
    draw = layer.draw(g)
    x = torch.randn(1, 2, 4, 4, generator=g)
    with layer.using(draw):
        out = layer(x)
    expected = F.conv2d(
        x,
        layer.weight + layer.weight_sigma * draw[0],
        layer.bias + layer.bias_sigma * draw[1],
    )
    torch.testing.assert_close(out, expected)


@pytest.mark.parametrize(
    ("dtype", "kind", "per_sample"),
    [(dtype, *kind) for dtype in (torch.float64, torch.bfloat16) for kind in KINDS],
)
def test_other_precisions(dtype, kind, per_sample):
    layer = NoisyLinear(4, 3, noise=kind, per_sample=per_sample, dtype=dtype)
    assert layer(torch.ones(2, 4, dtype=dtype)).dtype == dtype
    moved = NoisyLinear(4, 3, noise=kind, per_sample=per_sample)
    noise(moved, "held")
    moved(torch.ones(2, 4))
    assert moved.to(dtype)(torch.ones(2, 4, dtype=dtype)).dtype == dtype


# --- misuse


@pytest.mark.parametrize("x", [torch.ones(2, 5), torch.ones(3, 3, 1), torch.tensor(1.0)])
def test_wrong_input_width_is_refused(x):
    with pytest.raises(ShapeError, match=r"`x` got shape .* expected \(\.\.\., 4\)"):
        NoisyLinear(4, 2)(x)


@pytest.mark.parametrize("shape", [(2, 2, 5, 5), (5, 5), (1, 2, 3, 5, 5)])
def test_wrong_image_shape_is_refused(shape):
    with pytest.raises(ShapeError, match="`x` got shape"):
        NoisyConv2d(3, 2, 2)(torch.ones(shape))


@pytest.mark.parametrize(
    ("arguments", "settings", "named"),
    [
        ((0, 2), {}, "in_features"),
        ((2, -1), {}, "out_features"),
        ((2.0, 2), {}, "in_features"),
        ((2, True), {}, "out_features"),
        ((2, 2), {"noise": "gaussian"}, "noise"),
        ((2, 2), {"init": "xavier"}, "init"),
        ((2, 2), {"bias_std": "both"}, "bias_std"),
        ((2, 2), {"noise_distribution": "laplace"}, "noise_distribution"),
        ((2, 2), {"std_init": -0.1}, "std_init"),
        ((2, 2), {"std_init": math.nan}, "std_init"),
        ((2, 2), {"std_init": "0.5"}, "std_init"),
        ((2, 2), {"noise": "independent", "bias_std": "out"}, "bias_std"),
        (
            (2, 2),
            {
                "noise": "independent",
                "per_sample": True,
                "noise_distribution": "truncated_normal",
            },
            "noise_distribution",
        ),
    ],
)
def test_bad_arguments_are_refused_by_name(arguments, settings, named):
    with pytest.raises(ConfigurationError, match=f"`{named}` got"):
        NoisyLinear(*arguments, **settings)


@pytest.mark.parametrize(
    ("arguments", "settings", "named"),
    [
        ((0, 2, 3), {}, "in_channels"),
        ((4, 2, 0), {}, "kernel_size"),
        ((4, 2, (3, 3, 3)), {}, "kernel_size"),
        ((4, 2, 3), {"stride": 0}, "stride"),
        ((4, 2, 3), {"padding": -1}, "padding"),
        ((4, 2, 3), {"padding": "full"}, "padding"),
        ((4, 2, 3), {"padding": "same", "stride": 2}, "padding"),
        ((4, 2, 3), {"padding_mode": "mirror"}, "padding_mode"),
        ((4, 2, 3), {"dilation": (1, 0)}, "dilation"),
        ((4, 2, 3), {"groups": 3}, "groups"),
        ((4, 2, 3), {"groups": 4}, "groups"),
        ((4, 2, 3), {"groups": 0}, "groups"),
        ((4, 2, 3), {"noise": "independent", "per_sample": True}, "per_sample"),
    ],
)
def test_bad_convolution_arguments_are_refused_by_name(arguments, settings, named):
    with pytest.raises(ConfigurationError, match=f"`{named}` got"):
        NoisyConv2d(*arguments, **settings)


@pytest.mark.parametrize("arguments", [{}, {"padding": "same"}, {"groups": 2}, {"stride": 2}])
def test_images_with_channels_last_in_memory(arguments, g):
    layer = NoisyConv2d(4, 6, 3, per_sample=True, generator=g, **arguments)
    x = torch.randn(2, 4, 7, 7, generator=g)
    draw = layer.draw(g, batch_shape=(2,))
    with layer.using(draw):
        wanted = layer(x)
        torch.testing.assert_close(layer(x.to(memory_format=torch.channels_last)), wanted)
        layer.to(memory_format=torch.channels_last)
        torch.testing.assert_close(layer(x), wanted)
    assert layer(x[:0]).shape == (0, *wanted.shape[1:])


def test_independent_layers_start_as_the_paper_says():
    """Few have σ = 0.017 and means within √(3/p)."""
    layer = NoisyLinear(48, 500, noise="independent")
    assert set(layer.weight_sigma.flatten().tolist()) == {np.float32(0.017).item()}
    assert layer.weight.abs().max() <= 0.25
    assert layer.weight.abs().max() > 0.24


# --- few rows


def test_noise_of_few_rows_and_many_weights_is_applied_to_the_rows(g):
    """And gives what the same rows among many give, gradients included."""
    layer = NoisyLinear(1024, 256, generator=g, dtype=torch.float64)
    x = torch.randn(9, 1024, generator=g, dtype=torch.float64)
    draw = layer.draw(g)
    assert layer._noise_by_rows(x[:8])
    assert not layer._noise_by_rows(x)
    assert layer._noise_by_rows(x[:8].view(2, 4, 1024))
    outward = torch.randn(9, 256, generator=g, dtype=torch.float64)
    outward[2:] = 0.0
    with layer.using(draw):
        many, few = layer(x), layer(x[:2])
    torch.testing.assert_close(few, many[:2])
    parameters = [*layer.parameters()]
    right = torch.autograd.grad(many, parameters, outward)
    for found, expected in zip(
        torch.autograd.grad(few, parameters, outward[:2]), right, strict=True
    ):
        torch.testing.assert_close(found, expected)
    independent = NoisyLinear(1024, 256, noise="independent")
    assert not independent._noise_by_rows(x[:2])
    assert not NoisyLinear(64, 64)._noise_by_rows(torch.zeros(1, 64))
