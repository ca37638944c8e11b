"""Bugs that other libraries have, or had, in the noise of their agents.

Each is named after the library in which the bug was found; what it was stands in the first line of
its test. What is tested is always hunch's own code.
"""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from hunch.nn import Ensemble, NoisyLinear, noise, noisy
from hunch.rl import DQN
from hunch.rl.networks.value_networks import noisy_layers

FIRST = np.ones((1, 1), bool)
SMALL = {"hidden_sizes": (16, 16), "batch_size": 16}


def noisy_agent(**kwargs):
    return DQN("CartPole-v1", noisy=True, **{**SMALL, "random_steps": 0, **kwargs})


def watch(agent):
    """Note the draws of every forward of both networks: `(network, layer, draw)`."""
    seen = []
    for name, net in (("online", agent.network), ("target", agent.target_network)):
        for i, layer in enumerate(noisy_layers(net)):
            layer.register_forward_pre_hook(
                lambda layer, _, key=(name, i): seen.append((*key, layer._given))
            )
    return seen


def flat(draw):
    return tuple(torch.cat([part.flatten() for part in draw]).tolist())


def test_torchrl_noisynet_is_inert_in_its_own_loss():
    """The loss switched the noise off, so that no std ever had a gradient."""
    agent = noisy_agent(learning_rate=1e-2)
    before = [copy.deepcopy(layer.state_dict()) for layer in noisy_layers(agent.network)]
    agent.learn(16, progress=False)
    assert agent.updates == 1
    start = 0
    for name, parameter in agent.network.named_parameters():
        part = agent._pair.gradient[start : start + parameter.numel()]
        start += parameter.numel()
        if "sigma" in name:
            assert part.abs().max() > 0
    for layer, old in zip(noisy_layers(agent.network), before, strict=True):
        assert not torch.equal(layer.weight_sigma, old["weight_sigma"])
        assert not torch.equal(layer.bias_sigma, old["bias_sigma"])


def test_torchrl_trainer_hook_resamples_neither_network():
    """Resetting the loss module's noise reached neither network; target and online shared theirs."""
    agent = noisy_agent()
    x = torch.ones(1, 1, 4)
    with torch.no_grad():
        outputs = [net(x) for _ in range(3) for net in (agent._online, agent._target)]
    # The weights of the two are equal still, so that nothing but noise tells them apart.
    assert torch.equal(agent._pair.vector, agent._pair.target_vector)
    assert len({tuple(output.flatten().tolist()) for output in outputs}) == 6


def test_rainbow_is_all_you_need_and_tianshou_silence_the_target_in_eval_mode():
    """`target.eval()` made the target's noise dead code."""
    agent = noisy_agent().learn(30, progress=False)
    x = torch.ones(1, 1, 4)
    assert all(module.training for module in agent.target_network.modules())
    assert not torch.equal(agent._target(x), agent._target(x))
    agent.predict(np.zeros(4))
    assert agent.network.training


def test_dopamine_and_kaixhin_use_one_draw_for_loss_choice_and_target():
    """One key served online, target and choice, and both streams of a dueling head."""
    agent = noisy_agent(double=True, dueling=True).learn(15, progress=False)
    seen = watch(agent)
    agent.learn(16, progress=False)
    calls = len(seen) // len(noisy_layers(agent.network))
    assert calls == 4  # action, target, choice, loss
    assert [name for name, _, _ in seen].count("target") == len(seen) // 4
    draws = [value for *_, draw in seen for value in flat(draw)]
    assert len(set(draws)) == len(draws)  # no value twice: not within a layer, not across the heads


@pytest.mark.parametrize("update_period", [1, 4])
def test_di_engine_cleanrl_and_ray_act_without_new_noise(update_period):
    """Acting was noise-free, or under one draw until learning began, or for several steps."""
    agent = noisy_agent(min_replay_size=10_000, update_period=update_period)
    seen = watch(agent)
    agent.learn(50, progress=False)
    assert agent.updates == 0
    assert len({flat(draw) for *_, draw in seen}) == len(seen) == 2 * 50
    agent = noisy_agent(update_period=update_period)
    at_origin = [agent.act(np.zeros((1, 1, 4), np.float32), FIRST).item() for _ in range(100)]
    assert set(at_origin) == {0, 1}


def test_medipixel_185_adds_epsilon_to_noise():
    """Users put ε-greedy on top of noise: here a noisy agent ignores ε."""
    greedy, random = (noisy_agent(epsilon=epsilon) for epsilon in (0.0, 1.0))
    x = np.random.default_rng(0).normal(size=(50, 4))
    played = [
        agent.learn(40, progress=False).predict(x, deterministic=False).tolist()
        for agent in (greedy, random)
    ]
    assert played[0] == played[1]
    assert torch.equal(greedy._pair.vector, random._pair.vector)


def test_cleanrl_factorized_layer_draws_independent_noise():
    """Every weight had noise of its own under the name "factorized"."""
    agent = noisy_agent()
    x = torch.ones(1, 1, 4)
    for layer in noisy_layers(agent.network):
        assert layer.noise == "factorized"
        with torch.no_grad():
            draw = layer.draw(torch.Generator().manual_seed(0))
            weight, _ = layer._perturbed(draw)
            perturbation = (weight - layer.weight) / layer.weight_sigma
        assert sum(part.numel() for part in draw) == layer.in_features + layer.out_features
        assert torch.linalg.matrix_rank(perturbation, rtol=1e-4) == 1
    assert agent._online(x).shape == (1, 1, 2)


def test_kaixhin_torchrl_and_the_notebook_divide_the_bias_std_by_outputs():
    """The paper has σ₀/√p, p the inputs, for weights and for biases."""
    for layer in noisy_layers(noisy_agent().network):
        std = 0.5 / layer.in_features**0.5
        assert torch.allclose(layer.weight_sigma, torch.full_like(layer.weight_sigma, std))
        assert torch.allclose(layer.bias_sigma, torch.full_like(layer.bias_sigma, std))
        assert layer.weight.abs().max() <= layer.in_features**-0.5


def test_thomashirtz_cannot_be_made_copied_or_trained_twice():
    """Not constructible on today's torch; no copy after a forward; stale weights after a change."""
    layer = NoisyLinear(3, 2)
    adam = torch.optim.Adam(layer.parameters(), lr=0.1)
    x = torch.ones(4, 3)
    with noise(layer, "held"):
        for _ in range(2):  # the same noise through two backwards with a step between them
            adam.zero_grad()
            layer(x).sum().backward()
            adam.step()
        twin = copy.deepcopy(layer)
        assert torch.equal(twin(x), layer(x))
        before = layer(x)
        with torch.no_grad():
            layer.weight.add_(1.0)
        assert torch.allclose(layer(x), before + 3, atol=1e-5)
        layer.load_state_dict(twin.state_dict())
        assert torch.equal(layer(x), before)
    agent = noisy_agent().learn(40, progress=False)
    assert copy.deepcopy(agent.network)(x.new_ones(1, 4)).shape == (1, 2)


def test_pfrl_is_noisy_in_eval_and_fails_under_vmap():
    """There was no way to switch the noise off, and drawing inside vmap raised."""
    agent = noisy_agent()
    answers = {tuple(agent.predict(np.eye(4)).tolist()) for _ in range(20)}
    assert len(answers) == 1
    net = nn.Sequential(NoisyLinear(4, 3)).eval()
    assert torch.equal(net(torch.ones(1, 4)), net(torch.ones(1, 4)))
    members = Ensemble(lambda: nn.Sequential(NoisyLinear(4, 3)), 5, seed=0, engine="vmap")
    out = members(torch.ones(1, 4))
    assert not torch.equal(out, members(torch.ones(1, 4)))


def test_tianshou_makes_noise_a_parameter_and_nobody_loads_plain_checkpoints():
    """ε stood among the parameters; the means had other names than `nn.Linear` has."""
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    made = noisy(net)
    made(torch.ones(1, 4))
    names = {name.split(".")[-1] for name, _ in made.named_parameters()}
    assert names == {"weight", "bias", "weight_sigma", "bias_sigma"}
    assert not list(made.buffers())
    assert set(made.state_dict()) == {name for name, _ in made.named_parameters()}
    agent = DQN("CartPole-v1", noisy=True, network=made)
    stds = {k: v.clone() for k, v in agent.network.state_dict().items() if "sigma" in k}
    agent.network.load_state_dict(net.state_dict(), strict=False)
    assert torch.equal(agent.network[2].weight, net[2].weight)
    assert all(torch.equal(agent.network.state_dict()[k], v) for k, v in stds.items())
