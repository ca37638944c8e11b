"""What each noise mode does, and that it is put back."""

import pytest
import torch
from torch import nn

from hunch.errors import ConfigurationError, ShapeError
from hunch.nn import NoisyConv2d, NoisyLinear, noise, noisy, reset_noise

X = torch.ones(3, 4)


def net(**settings):
    return nn.Sequential(
        NoisyLinear(4, 8, **settings), nn.ReLU(), nn.Sequential(NoisyLinear(8, 2, **settings))
    )


def modes(module):
    return [layer._mode for layer in module.modules() if isinstance(layer, NoisyLinear)]


@pytest.mark.parametrize("per_sample", [False, True])
@pytest.mark.parametrize(
    ("mode", "training", "repeats", "is_mean", "reset_changes"),
    [
        ("auto", True, False, False, True),
        ("auto", False, True, True, False),
        ("fresh", True, False, False, True),
        ("fresh", False, False, False, True),
        ("held", True, True, False, True),
        ("held", False, True, False, True),
        ("off", True, True, True, False),
        ("off", False, True, True, False),
    ],
)
def test_modes(mode, training, per_sample, repeats, is_mean, reset_changes):
    module = net(per_sample=per_sample)
    with noise(module, "off"):
        mean = module(X)
    module.train(training)
    noise(module, mode)
    first, second = module(X), module(X)
    reset_noise(module)
    third = module(X)
    assert torch.equal(first, second) == repeats
    assert torch.equal(first, mean) == is_mean
    assert torch.equal(second, third) != reset_changes


def test_context_restores_every_layer_also_after_an_error():
    module = net()
    noise(module[2], "held")
    with noise(module, "off") as inside:
        assert inside is module
        assert modes(module) == ["off", "off"]
        with pytest.raises(RuntimeError, match="boom"), noise(module, "fresh"):
            raise RuntimeError("boom")
        assert modes(module) == ["off", "off"]
    assert modes(module) == ["auto", "held"]


def test_called_it_stays():
    module = net()
    noise(module, "off")
    assert modes(module) == ["off", "off"]


def test_context_restores_the_generator():
    module, g = net(), torch.Generator().manual_seed(0)
    with noise(module, "fresh", g):
        module(X)
    state = g.get_state()
    module(X)
    assert torch.equal(g.get_state(), state)


def test_a_generator_without_a_new_one_stays():
    module, g = net(), torch.Generator().manual_seed(0)
    noise(module, "fresh", g)
    noise(module, "auto")
    state = g.get_state()
    module(X)
    assert not torch.equal(g.get_state(), state)


def test_reset_draws_once_for_the_whole_network():
    module, g = net(), torch.Generator().manual_seed(3)
    reset_noise(module, g)
    eps = torch.randn(4 + 8 + 8 + 2, generator=torch.Generator().manual_seed(3))
    expected = (eps.sign() * eps.abs().sqrt()).split([4, 8, 8, 2])
    layers = [layer for layer in module.modules() if isinstance(layer, NoisyLinear)]
    held = [part for layer in layers for part in layer._held]
    for part, value in zip(held, expected, strict=True):
        torch.testing.assert_close(part, value)


def test_reset_of_mixed_kinds_reaches_every_layer():
    module = nn.ModuleList(
        [
            NoisyLinear(4, 3),
            NoisyLinear(4, 3, noise="independent", bias=False),
            NoisyLinear(4, 3, noise_distribution="truncated_normal"),
            NoisyLinear(4, 3, dtype=torch.float64),
            NoisyConv2d(2, 3, 2, noise="independent"),
            NoisyLinear(4, 3),
        ]
    )
    noise(module, "held")
    before = [layer._held for layer in module]
    reset_noise(module)
    for layer, old in zip(module, before, strict=True):
        shapes = [tuple(part.shape) for part in layer._held]
        assert shapes == layer.draw_shapes()
        assert all(part.dtype == layer.weight.dtype for part in layer._held)
        assert not any(torch.equal(a, b) for a, b in zip(layer._held, old, strict=True))
    assert not torch.equal(module[0]._held[0], module[5]._held[0])


def test_reset_on_one_layer_leaves_the_others():
    module = net()
    noise(module, "held")
    kept = module[0]._held
    reset_noise(module[2])
    assert module[0]._held is kept


def test_setting_held_again_keeps_the_draw():
    module = net()
    noise(module, "held")
    out = module(X)
    noise(module, "fresh")
    module(X)
    noise(module, "held")
    assert torch.equal(module(X), out)


def test_generators_of_layers_are_respected_by_reset():
    module, g = net(), torch.Generator().manual_seed(0)
    noise(module[0], "held", g)
    state = g.get_state()
    reset_noise(module)
    assert not torch.equal(g.get_state(), state)


def test_held_per_sample_noise_belongs_to_one_batch_size():
    layer = NoisyLinear(4, 2, per_sample=True)
    noise(layer, "held")
    out = layer(X)
    assert len(out[:, 0].unique()) == 3
    with pytest.raises(ShapeError, match="drawn for \\(3,\\); call reset_noise"):
        layer(torch.ones(2, 4))
    assert torch.equal(layer(X), out)
    reset_noise(layer)
    assert layer(torch.ones(2, 4)).shape == (2, 2)


def test_held_per_sample_noise_comes_from_the_generator_of_its_reset():
    layer, outs = NoisyLinear(4, 2, per_sample=True), []
    noise(layer, "held")
    for _ in range(2):
        reset_noise(layer, torch.Generator().manual_seed(1))
        outs.append(layer(X))
    assert torch.equal(*outs)


def test_active_mode():
    layer = NoisyLinear(4, 2)
    assert layer.active_mode == "fresh"
    assert layer.eval().active_mode == "off"
    noise(layer, "held")
    assert layer.active_mode == "held"


def test_misuse_is_refused():
    with pytest.raises(ConfigurationError, match="`mode` got 'on'; expected one of 'fresh'"):
        noise(net(), "on")
    for call in (reset_noise, lambda module: noise(module, "held")):
        with pytest.raises(ConfigurationError, match="Linear without noisy layers"):
            call(nn.Linear(2, 2))


def test_a_generator_may_live_on_another_device_than_the_parameters():
    g = torch.Generator().manual_seed(0)
    layer = NoisyLinear(4, 2, device="meta", generator=g)  # the means take draws from it too
    noise(layer, "held", g)
    state = g.get_state()
    reset_noise(layer, g)
    assert all(part.device.type == "meta" for part in layer._held)
    assert layer(torch.ones(3, 4, device="meta")).shape == (3, 2)
    assert not torch.equal(g.get_state(), state)


def test_notebook_and_torchrl_reset_noise_between_forward_and_backward():
    """Noise written in place under a graph that needed it was an error."""
    net = noisy(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)))
    with noise(net, "held"):
        reset_noise(net)
        first = net(torch.ones(3, 4)).sum()
        reset_noise(net)
        second = net(torch.ones(3, 4)).sum()  # two forwards, one backward
        reset_noise(net)
        (first + second).backward()
    assert net[2].weight_sigma.grad.abs().max() > 0


def test_torchrl_3002_cuda_graphs_replay_the_same_noise():
    """A captured graph froze its own draws: noise can be an input, and then nothing is drawn."""
    layer = NoisyLinear(4, 2)
    draws = [layer.draw() for _ in range(2)]
    before = torch.get_rng_state()
    outputs = []
    for draw in (*draws, draws[0]):
        with layer.using(draw):
            outputs.append(layer(torch.ones(1, 4)))
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(outputs[0], outputs[2])
    assert not torch.equal(outputs[0], outputs[1])
