"""Steps of value agents in few calls of the compiled kernel, against the plain versions."""

import copy

import numpy as np
import pytest
import torch

import hunch.envs  # noqa: F401
from hunch.kernel import kernel
from hunch.nn import MLP, NoisyLinear
from hunch.rl import DQN, BootstrappedDQN

pytestmark = pytest.mark.skipif(kernel() is None, reason="no compiled kernel")

SMALL = {
    "update_period": 1,
    "batch_size": 16,
    "hidden_sizes": (12, 9),
    "target_update_period": 5,
    "seed": 3,
}
Q_KINDS = {
    "plain": {},
    "noisy double": {"noisy": True, "double": True, "max_gradient_norm": 0.5},
    "prioritized": {"noisy": True, "prioritized": True, "n_step": 3},
    "one draw": {"noisy": True, "double": True, "noise_draws": 1},
    "four draws": {"noisy": True, "double": True, "noise_draws": 4, "prioritized": True},
    "three draws, which do not divide": {"noisy": True, "double": True, "noise_draws": 3},
    "four draws of replicas": {"noisy": True, "noise_draws": 4, "replicas": 3, "num_envs": 2},
    "replicas": {"noisy": True, "double": True, "replicas": 3, "num_envs": 2},
    "independent noise": {
        "noisy": True,
        "noise_draws": 4,
        "network": lambda: torch.nn.Sequential(
            NoisyLinear(4, 7, noise="independent"), torch.nn.Tanh(), NoisyLinear(7, 2)
        ),
    },
}
MEMBER_KINDS = {
    "plain": {},
    "double": {"double": True, "max_gradient_norm": 0.5, "num_envs": 2},
    "masks": {"mask_probability": 0.5},
    "squared": {"loss": "squared", "prior_scale": 20.0},
    "huber": {"loss": "huber", "prior_scale": 20.0, "mask_probability": 0.5},
    "replicas": {"replicas": 2, "double": True},
    "prioritized": {"prioritized": True, "priority_correction": 0.6, "mask_probability": 0.5},
    "prioritized replicas": {"prioritized": True, "replicas": 2, "priority_exponent": 0.5},
}
SEA = {"env_kwargs": {"size": 6}}


def of_both(make, before, until):
    """An agent as it learns in the kernel, and as it learns by single calls."""
    agents = [make(), make()]
    for agent in agents:
        agent.learn(before, progress=False)
    assert compiled_of(agents[0]) is not None
    drop(agents[1])
    for agent in agents:
        agent.learn(until, progress=False)
    return agents


def compiled_of(agent):
    return (agent._ensemble if isinstance(agent, BootstrappedDQN) else agent)._compiled


def drop(agent):
    (agent._ensemble if isinstance(agent, BootstrappedDQN) else agent)._compiled = None


def check_alike(agents):
    ours, theirs = agents
    assert len(ours.losses) > 40
    np.testing.assert_allclose(ours.losses, theirs.losses, rtol=1e-4, atol=1e-7)
    for own, other in zip(ours.network.parameters(), theirs.network.parameters(), strict=True):
        torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-6)
    for own, other in zip(ours.histories, theirs.histories, strict=True):
        assert own.returns == other.returns


@pytest.mark.parametrize("kind", Q_KINDS)
def test_a_dqn_learns_the_same(kind, one_thread):
    settings = SMALL | Q_KINDS[kind]
    if "network" in settings:
        del settings["hidden_sizes"]
    check_alike(of_both(lambda: DQN("CartPole-v1", **settings), 20, 90))


def test_noise_of_a_call_outlives_the_draw_of_the_next(one_thread):
    agent = DQN("CartPole-v1", noisy=True, double=True, noise_draws=1, **SMALL)
    agent.learn(30, progress=False)
    compiled, noise = agent._compiled, agent._online_noise
    noise._used = noise._ahead - 1  # the choice of actions has the last draw of a block
    agent._update(agent._replay.sample(16, agent._sampling))
    assert noise._used == 1
    held = compiled._choosing._noise[0][0]
    assert held.untyped_storage().data_ptr() != noise._draws[0][0][0].untyped_storage().data_ptr()
    assert compiled._choosing._places[0][0].first == held.data_ptr()


@pytest.mark.parametrize("kind", MEMBER_KINDS)
@pytest.mark.parametrize("env", ["CartPole-v1", "hunch/DeepSea-v0"])
def test_members_learn_the_same(env, kind, one_thread):
    settings = SMALL | MEMBER_KINDS[kind] | {"num_members": 3}
    if "Sea" in env:
        settings |= SEA
        settings.pop("max_gradient_norm", None)
        settings |= {"env_kwargs": {"size": 6}}
    check_alike(of_both(lambda: BootstrappedDQN(env, **settings), 20, 90))


def test_a_network_that_is_hooked_is_called(one_thread):
    agent = DQN("CartPole-v1", **SMALL)
    agent.learn(30, progress=False)
    calls = []
    agent.network.register_forward_hook(lambda *_: calls.append(1))
    agent.learn(31, progress=False)
    assert calls


def test_weights_moved_elsewhere_are_found(one_thread):
    agent = DQN("CartPole-v1", epsilon=0.0, **SMALL)
    agent.learn(30, progress=False)
    other = copy.deepcopy(agent.network)
    with torch.no_grad():
        for own in other.parameters():
            own.zero_()
        other[-1].bias.copy_(torch.tensor([0.0, 1.0]))
    agent.network.load_state_dict(other.state_dict(), assign=True)
    assert agent.act(np.ones((1, 1, 4), np.float32), np.zeros((1, 1), bool)).item() == 1


def test_weights_that_are_nan_are_refused(one_thread):
    agent = DQN("CartPole-v1", epsilon=0.0, **SMALL)
    agent.learn(30, progress=False)
    with torch.no_grad():
        next(agent.network.parameters()).fill_(float("nan"))
    with pytest.raises(Exception, match="NaN for finite observations"):
        agent.learn(31, progress=False)


def test_layers_the_kernel_has_not_are_left_to_torch():
    agent = DQN("CartPole-v1", network=torch.nn.Sequential(MLP(4, [8], 2), torch.nn.Softplus()))
    assert agent._compiled is None
    assert DQN("CartPole-v1", fast=False)._compiled is None
    assert DQN("CartPole-v1", dueling=True)._compiled is None
