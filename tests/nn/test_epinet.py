"""Epinets: the formula, what learns from what, and the prior."""

import copy

import pytest
import torch
from torch import nn

from hunch.errors import ConfigurationError, ShapeError
from hunch.nn import MLP, Ensemble, Epinet


def epinet(**kwargs):
    torch.manual_seed(0)
    settings = {"index_dim": 4, "hidden_sizes": (6, 5), "prior_scale": 0.7, **kwargs}
    return Epinet(MLP(3, [8, 7], 2), **settings)


def naive(net, x, z):
    """f(x, z) for one index, layer by layer, with the first layer of g and its outputs whole."""
    phi = net.trunk(x)
    g = net.learned
    parts = [g.from_features.weight, g.from_input.weight, g.from_index.weight]
    whole = torch.cat([phi, x, z.expand(len(x), -1)], 1) @ torch.cat(parts, 1).T
    rows = g.last(g.hidden(whole + g.from_features.bias)).reshape(len(x), len(z), -1)
    out = net.head(phi)
    for d in range(len(z)):
        out = out + z[d] * rows[:, d] + net.prior_scale * z[d] * net.prior.member(d)(x)
    return out


def test_the_formula_against_a_loop_over_indices():
    net = epinet()
    x, z = torch.randn(9, 3), net.draw_indices(5, torch.Generator().manual_seed(1))
    out = net(x, z)
    assert out.shape == (5, 9, 2)
    for k in range(5):
        assert torch.allclose(out[k], naive(net, x, z[k]), atol=1e-6)
        assert torch.allclose(net(x, z[k]), out[k], atol=1e-6)
    assert torch.equal(net.mean(x), net(x, torch.zeros(4)))
    assert (out[0] - out[1]).abs().max() > 1e-2


def test_the_index_network_sends_no_gradient_into_the_features():
    net = epinet()
    x, z = torch.randn(9, 3), net.draw_indices(5)
    # With μ's own part taken away nothing of the base network is left in the graph.
    (net(x, z) - net.mean(x).detach()).square().sum().backward()
    whole = {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}
    net.zero_grad()
    weight = 2 * (net(x, z) - net.mean(x)).detach().sum(0)
    (net.mean(x) * weight).sum().backward()
    for name, p in net.named_parameters():
        if name.startswith(("trunk", "head")):
            assert torch.allclose(p.grad, whole[name], atol=1e-4)
        elif name.startswith("learned"):
            assert whole[name].abs().max() > 0


def test_the_base_network_runs_once_and_x_has_a_gradient():
    net = epinet()
    calls = []
    net.trunk[0].register_forward_hook(lambda *_: calls.append(1))
    x = torch.randn(9, 3, requires_grad=True)
    net(x, net.draw_indices(50)).sum().backward()
    assert len(calls) == 1
    assert x.grad.abs().min() > 0


def test_the_prior_is_frozen_linear_in_z_and_in_the_state_dict():
    net = epinet()
    x = torch.randn(9, 3)
    z = net.draw_indices(6)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    assert any(name.startswith("prior.") for name in before)
    prior = net._mixed_prior(net.prior(x), z)
    assert torch.allclose(net._mixed_prior(net.prior(x), 2 * z), 2 * prior, atol=1e-5)
    both = net._mixed_prior(net.prior(x), z[:1] + z[1:2])[0]
    assert torch.allclose(both, prior[0] + prior[1], atol=1e-5)
    optimizer = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        net(x, z).square().sum().backward()
        optimizer.step()
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name]) == name.startswith("prior"), name
    twin = copy.deepcopy(net)
    assert torch.equal(twin(x, z), net(x, z))
    assert torch.equal(twin._mixed_prior(twin.prior(x), z), prior)
    assert not any(p.requires_grad for p in twin.prior.parameters())
    other = Epinet(MLP(3, [8, 7], 2), index_dim=4, hidden_sizes=(6, 5))
    other.load_state_dict(net.state_dict())
    assert torch.equal(other(x, z), net(x, z))


def test_the_mean_over_indices_of_the_prior_is_zero():
    net = epinet()
    x, n = torch.randn(3, 3), 10_000
    values = net._mixed_prior(net.prior(x), net.draw_indices(n, torch.Generator().manual_seed(2)))
    error = values.std(0) / n**0.5
    assert (values.mean(0).abs() < 5 * error).all()  # six entries: fails once in 300,000 seeds
    assert torch.allclose(values.var(0), net.prior(x).square().sum(0), rtol=0.1)  # 7 sigma


def test_priors_of_all_kinds():
    x, z = torch.randn(9, 3), torch.randn(5, 4)
    given = Ensemble(lambda: MLP(3, [9], 2), 4, seed=0)
    net = epinet(prior=given)
    assert all(p.requires_grad for p in given.parameters())  # the copy was frozen
    expected = torch.einsum("kd,dbo->kbo", z, given(x))
    assert torch.allclose(net._mixed_prior(net.prior(x), z), expected, atol=1e-5)
    wave = epinet(prior=lambda x: torch.sin(x).expand(4, -1, -1)[..., :2])
    assert wave(x, z).shape == (5, 9, 2)
    assert torch.equal(epinet(prior_scale=0.0)(x, 0 * z[0]), epinet(prior_scale=0.0).mean(x))
    net.train()
    assert net.learned.training
    assert not net.prior.training


def test_images_and_features_alone():
    base = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(18, 2))
    x, z = torch.randn(9, 1, 5, 5), torch.randn(6, 8)
    prior = Ensemble(lambda: nn.Sequential(nn.Flatten(), nn.Linear(25, 2)), 8, seed=0)
    net = Epinet(base, prior=prior, in_features=0)
    assert net.learned.from_input is None
    assert net(x, z).shape == (6, 9, 2)
    assert Epinet(base, in_features=25)(x, z).shape == (6, 9, 2)
    flat = nn.Sequential(nn.Flatten(), *MLP(25, [4], 2))
    assert Epinet(flat)(x, z).shape == (6, 9, 2)


def test_a_stack_of_epinets():
    stack = Ensemble(lambda: Epinet(MLP(3, [8], 2), index_dim=4), 3, seed=0)
    x, z = torch.randn(9, 3), torch.randn(5, 4)
    out = stack(x, z)
    assert out.shape == (3, 5, 9, 2)
    for k in range(3):
        assert torch.allclose(stack.member(k)(x, z), out[k], atol=1e-6)


@pytest.mark.parametrize("shape", [(3,), (5, 3), (2, 5, 4), ()])
def test_wrong_indices_are_refused(shape):
    with pytest.raises(ShapeError, match=r"`z` got shape .*\(4,\) or \(members, 4\)"):
        epinet()(torch.zeros(9, 3), torch.zeros(shape))


def test_wrong_settings_are_refused():
    for model in (nn.Linear(3, 2), nn.Sequential(), nn.Sequential(nn.Linear(3, 2), nn.ReLU())):
        with pytest.raises(ConfigurationError, match=r"whose last layer is an nn\.Linear"):
            Epinet(model)
    with pytest.raises(ConfigurationError, match="`index_dim` got 0"):
        epinet(index_dim=0)
    with pytest.raises(ConfigurationError, match="`prior_scale` got -1"):
        epinet(prior_scale=-1)
    with pytest.raises(ConfigurationError, match="`hidden_sizes` got no layer"):
        epinet(hidden_sizes=())
    with pytest.raises(ConfigurationError, match="`prior` got int"):
        epinet(prior=3)
    base = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(18, 2))
    with pytest.raises(ConfigurationError, match="`in_features` cannot be told"):
        Epinet(base)
    with pytest.raises(ConfigurationError, match="`prior` got None with in_features=0"):
        Epinet(base, in_features=0)
    with pytest.raises(ShapeError, match=r"`prior` returned shape \(9, 2\)"):
        epinet(prior=lambda x: x[:, :2])(torch.zeros(9, 3), torch.zeros(4))
