"""Checkpoints of other layers load, strictly, and give the same mean output."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from hunch.nn import NoisyConv2d, NoisyLinear, noise

LAYOUTS = {
    "notebook, CleanRL, torchrl, Kaixhin": (
        ("weight_mu", "weight_sigma", "bias_mu", "bias_sigma"),
        {"weight_epsilon": (3, 4), "bias_epsilon": (3,)},
    ),
    "noisy-networks factorised": (
        ("mu_weight", "sigma_weight", "mu_bias", "sigma_bias"),
        {"epsilon_input": (4,), "epsilon_output": (3,)},
    ),
    "noisy-networks independent": (
        ("mu_weight", "sigma_weight", "mu_bias", "sigma_bias"),
        {"epsilon_weight": (3, 4), "epsilon_bias": (3,)},
    ),
    "tianshou": (
        ("mu_W", "sigma_W", "mu_bias", "sigma_bias"),
        {"eps_p": (4,), "eps_q": (3,)},
    ),
    "pfrl": (("mu.weight", "sigma.weight", "mu.bias", "sigma.bias"), {}),
    "own": (("weight", "weight_sigma", "bias", "bias_sigma"), {}),
}


def checkpoint(layout, prefix="", bias=True):
    names, noise_shapes = LAYOUTS[layout]
    shapes = ((3, 4), (3, 4), (3,), (3,))
    kept = zip(names, shapes, strict=True) if bias else zip(names[:2], shapes[:2], strict=True)
    state = {prefix + name: torch.randn(shape) for name, shape in kept}
    for name, shape in noise_shapes.items():
        if bias or "bias" not in name:
            state[prefix + name] = torch.randn(shape)
    return state, [state[prefix + name] for name in names if prefix + name in state]


class Agent(nn.Module):
    def __init__(self, bias=True):
        super().__init__()
        self.feature = nn.Linear(2, 4)
        self.heads = nn.ModuleDict({"value": NoisyLinear(4, 3, bias)})


@pytest.mark.parametrize("assign", [False, True])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layout_loads_strictly(layout, bias, assign):
    layer, x = NoisyLinear(4, 3, bias), torch.randn(5, 4)
    state, values = checkpoint(layout, bias=bias)
    keys = list(state)
    layer.load_state_dict(state, assign=assign)
    assert list(state) == keys  # the caller's checkpoint is left as it was
    torch.testing.assert_close(layer.weight_sigma, values[1], check_dtype=False)
    with noise(layer, "off"):
        expected = F.linear(x, values[0], values[2] if bias else None)
        torch.testing.assert_close(layer(x), expected)
    if bias:
        torch.testing.assert_close(layer.bias_sigma.detach(), values[3])
    layer(x).sum().backward()
    assert layer.weight_sigma.grad is not None


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layout_loads_strictly_inside_a_network(layout, bias):
    agent = Agent(bias)
    state, values = checkpoint(layout, "heads.value.", bias)
    feature = {f"feature.{name}": value for name, value in agent.feature.state_dict().items()}
    agent.load_state_dict({**feature, **state})
    assert torch.equal(agent.heads["value"].weight, values[0])


@pytest.mark.parametrize(
    ("plain", "layer"),
    [
        (nn.Linear(4, 3), NoisyLinear(4, 3)),
        (nn.Linear(4, 3, bias=False), NoisyLinear(4, 3, bias=False)),
        (nn.Conv2d(4, 2, 3, groups=2), NoisyConv2d(4, 2, 3, groups=2)),
    ],
)
def test_plain_layers_load_and_stds_stay(plain, layer):
    with torch.no_grad():
        layer.weight_sigma.fill_(0.3)
    sigma = layer.weight_sigma
    nn.Sequential(layer).load_state_dict(nn.Sequential(plain).state_dict())
    assert layer.weight_sigma is sigma
    assert (sigma == 0.3).all()
    x = torch.randn(2, 4) if isinstance(plain, nn.Linear) else torch.randn(2, 4, 5, 5)
    assert torch.equal(layer.eval()(x), plain(x))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_missing_entry_is_reported(layout):
    for name in LAYOUTS[layout][0]:
        state, _ = checkpoint(layout)
        del state[name]
        with pytest.raises(RuntimeError, match="Missing key"):
            NoisyLinear(4, 3).load_state_dict(state)


def test_a_mixture_is_reported():
    state = {**checkpoint("tianshou")[0], "weight": torch.randn(3, 4)}
    with pytest.raises(RuntimeError, match="Missing key"):
        NoisyLinear(4, 3).load_state_dict(state)


def test_an_unknown_entry_and_a_wrong_shape_are_reported():
    state = {**checkpoint("tianshou")[0], "temperature": torch.ones(1)}
    with pytest.raises(RuntimeError, match="Unexpected key"):
        NoisyLinear(4, 3).load_state_dict(state)
    with pytest.raises(RuntimeError, match="size mismatch"):
        NoisyLinear(5, 3).load_state_dict(checkpoint("pfrl")[0])
    with pytest.raises(RuntimeError, match="Unexpected key"):
        NoisyLinear(4, 3, bias=False).load_state_dict(checkpoint("pfrl")[0])


def test_means_load_back_into_a_plain_layer():
    layer, plain = NoisyLinear(4, 3), nn.Linear(4, 3)
    left = plain.load_state_dict(layer.state_dict(), strict=False)
    assert left.missing_keys == []
    assert torch.equal(plain.weight, layer.weight)
