"""`noisy(module)`: what it converts, keeps and refuses."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, weight_norm

from hunch.errors import ConfigurationError
from hunch.nn import NoisyConv2d, NoisyLinear, noise, noisy


def cnn():
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=2, padding="valid", padding_mode="reflect"),
        nn.ReLU(),
        nn.Conv2d(4, 4, (3, 1), padding=(1, 0), groups=2, bias=False),
        nn.Flatten(),
        nn.Linear(64, 3),
    )


@pytest.mark.parametrize(
    "settings",
    [{}, {"noise": "independent"}, {"per_sample": True}, {"bias_std": "out", "std_init": 0.1}],
)
def test_means_are_kept_and_the_original_is_untouched(settings):
    net, x = cnn(), torch.randn(2, 2, 9, 9)
    state = torch.get_rng_state()
    result = noisy(net, **settings)
    assert torch.equal(torch.get_rng_state(), state)
    assert [type(layer) for layer in net][::2] == [nn.Conv2d, nn.Conv2d, nn.Linear]
    assert isinstance(result[0], NoisyConv2d)
    assert isinstance(result[4], NoisyLinear)
    assert not torch.equal(result(x), net(x))
    assert torch.equal(result.eval()(x), net(x))
    assert all(a.data_ptr() != b.data_ptr() for a in net.parameters() for b in result.parameters())


def test_stds_are_those_of_the_constructor():
    for settings in ({}, {"noise": "independent"}, {"std_init": 0.1, "bias_std": "out"}):
        fresh = NoisyLinear(6, 3, **settings)
        result = noisy(nn.Linear(6, 3), **settings)
        assert torch.equal(result.weight_sigma, fresh.weight_sigma)
        assert torch.equal(result.bias_sigma, fresh.bias_sigma)
        assert result.extra_repr() == fresh.extra_repr()


def test_selection_by_name_and_layer():
    seen = []

    def choose(name, layer):
        seen.append((name, type(layer)))
        return isinstance(layer, nn.Linear)

    result = noisy(cnn(), layers=choose)
    assert seen == [("0", nn.Conv2d), ("2", nn.Conv2d), ("4", nn.Linear)]
    assert type(result[0]) is nn.Conv2d
    assert type(result[4]) is NoisyLinear


def test_device_dtype_grad_and_training_flags_are_kept():
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3)).to(torch.float64)
    net[0].requires_grad_(False)
    net[1].eval()
    result = noisy(net)
    assert all(p.dtype == torch.float64 for p in result.parameters())
    assert not any(p.requires_grad for p in result[0].parameters())
    assert all(p.requires_grad for p in result[1].parameters())
    assert (result[0].training, result[1].training) == (True, False)
    assert noisy(nn.Linear(2, 2, device="meta")).weight_sigma.device.type == "meta"


def test_a_layer_used_twice_stays_one_and_references_follow():
    shared = nn.Linear(3, 3)
    net = nn.Sequential(shared, nn.Tanh(), shared)
    net.favourites = [shared]
    result = noisy(net)
    assert result[0] is result[2]
    assert result.favourites[0] is result[0]
    assert len(list(result.parameters())) == 4


def test_tied_weights_stay_tied():
    net = nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 5))
    net[1].weight = net[0].weight
    result = noisy(net)
    assert result[0].weight is result[1].weight
    assert result[0].weight is not net[0].weight


def test_a_single_layer_is_converted():
    assert type(noisy(nn.Linear(2, 2))) is NoisyLinear


def test_attention_keeps_its_output_projection():
    net = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0)
    result = noisy(net)
    assert type(result.self_attn.out_proj) is type(net.self_attn.out_proj)
    assert isinstance(result.linear1, NoisyLinear)
    x = torch.randn(2, 5, 8)
    assert not torch.equal(result(x), result(x))
    with noise(result, "off"):
        torch.testing.assert_close(result(x), net(x))


def test_lazy_parametrized_and_hooked_layers_are_refused_unless_excluded():
    hooked = nn.Linear(3, 3)
    hooked.register_forward_hook(lambda *_: None)
    with pytest.warns(FutureWarning, match="weight_norm"):
        normed = weight_norm(nn.Linear(3, 3))
    cases = [
        (nn.LazyLinear(3), "run one forward first"),
        (parametrizations.spectral_norm(nn.Linear(3, 3)), "parametrized"),
        (hooked, "hooks"),
        (normed, "hooks"),
    ]
    for layer, reason in cases:
        net = nn.Sequential(nn.Linear(3, 3), layer)
        with pytest.raises(ConfigurationError, match=f"layer '1' .* {reason}"):
            noisy(net)
        if layer is not normed:  # which torch itself cannot deepcopy
            result = noisy(net, layers=lambda name, _: name == "0")
            assert not isinstance(result[1], NoisyLinear)


def test_nothing_to_convert_is_refused():
    for net in (nn.ReLU(), noisy(nn.Linear(2, 2))):
        with pytest.raises(ConfigurationError, match="nothing to make noisy"):
            noisy(net)
    with pytest.raises(ConfigurationError, match="nothing to make noisy"):
        noisy(nn.Linear(2, 2), layers=lambda name, layer: False)


def test_bad_settings_are_refused():
    with pytest.raises(ConfigurationError, match="`noise` got"):
        noisy(nn.Linear(2, 2), noise="gaussian")
