"""Replica r of an agent with seed s is the agent of seed s + r."""

import numpy as np
import pytest
import torch
from torch import nn

import hunch.envs  # noqa: F401 registers them
from hunch.errors import ConfigurationError
from hunch.nn import Ensemble, NoisyConv2d, NoisyLinear
from hunch.rl import A2C, DQN, BootstrappedDQN, Linear, evaluate

SMALL = {
    "update_period": 1,
    "hidden_sizes": (16, 16),
    "batch_size": 16,
    "replay_capacity": 60,
    "learning_rate": 1e-3,
}
RAINBOW = {
    "noisy": True,
    "random_steps": 40,
    "double": True,
    "dueling": True,
    "prioritized": True,
    "n_step": 3,
    "distributional": True,
    "atoms": 11,
    "value_range": (0.0, 20.0),
}
KINDS = {
    "plain": {"epsilon": Linear(1.0, 0.1, 40)},
    "noisy": {"noisy": True},
    "noisy after chance": {"noisy": True, "random_steps": 40},
    "noisy from the first step": {"noisy": True, "random_steps": 0},
    "clipped": {"max_gradient_norm": 0.05, "epsilon": 0.3, "target_update_rate": 0.1},
    "rainbow": RAINBOW,
    "chosen range": {**RAINBOW, "value_range": "auto"},
    "quantile": {**RAINBOW, "distributional": "quantile", "noisy": False, "epsilon": 0.2},
    "several environments": {**RAINBOW, "num_envs": 2},
    "without noise in several": {"num_envs": 3, "epsilon": 0.5, "layer_norm": True},
}


class Watched(DQN):
    """Remembers what it did."""

    def act(self, observation, is_first):
        self.done = [*getattr(self, "done", []), super().act(observation, is_first)]
        return self.done[-1]


def parameters(network):
    return torch.cat([p.detach().flatten() for p in network.parameters()])


@pytest.mark.every(2)
@pytest.mark.parametrize("kind", KINDS)
def test_a_replica_is_the_agent_of_its_seed(kind):
    kwargs = {**SMALL, "target_update_period": 7, "target_update_rate": 1.0, **KINDS[kind]}
    together = Watched("CartPole-v1", replicas=3, seed=4, **kwargs).learn(90, progress=False)
    losses = []
    for r in range(3):
        alone = Watched("CartPole-v1", seed=4 + r, **kwargs).learn(90, progress=False)
        assert alone.updates == together.updates > 20
        assert np.array_equal([a[0] for a in alone.done], [a[r] for a in together.done])
        assert alone.history == together.histories[r]
        losses.append(alone.losses)
        for net, nets in (
            (alone.network, together.network),
            (alone.target_network, together.target_network),
        ):
            assert torch.allclose(parameters(net), parameters(nets.member(r)), atol=2e-5)
        x = np.random.default_rng(0).normal(size=(50, 4))
        assert np.array_equal(alone.predict(x), together.replica(r).predict(x))
    assert np.allclose(np.mean(losses, axis=0), together.losses, rtol=1e-3)
    seeds = {tuple(parameters(together.network.member(r)).tolist()) for r in range(3)}
    assert len(seeds) == 3


def test_a_replica_is_the_agent_of_its_seed_where_noise_is_drawn_in_small_blocks(monkeypatch):
    """What is drawn at once is limited; where a block ends must not depend on the replicas."""
    monkeypatch.setattr("hunch.rl.networks.noise.DRAWN_AHEAD", 1000)
    test_a_replica_is_the_agent_of_its_seed("noisy")


@pytest.mark.parametrize(
    ("env", "kwargs"),
    [
        ("CartPole-v1", {}),
        ("CartPole-v1", {"mask_probability": 0.5, "num_envs": 2, "double": True}),
        ("hunch/DeepSea-v0", {"mask_probability": 0.7, "n_step": 2}),
        ("CartPole-v1", {"prioritized": True, "priority_correction": 0.5}),
    ],
    ids=["plain", "masked", "deep sea", "prioritized"],
)
def test_a_replica_of_an_ensemble_is_the_ensemble_of_its_seed(env, kwargs):
    settings = {"num_members": 4, "hidden_sizes": (8, 8), "batch_size": 16, **kwargs}
    together = BootstrappedDQN(env, replicas=3, seed=4, **settings).learn(90, progress=False)
    for r in range(3):
        alone = BootstrappedDQN(env, seed=4 + r, **settings).learn(90, progress=False)
        assert alone.history == together.histories[r]
        for net, nets in (
            (alone.network, together.network),
            (alone.target_network, together.target_network),
        ):
            for k in range(4):
                own, other = parameters(net.member(k)), parameters(nets.member(4 * r + k))
                assert torch.allclose(own, other, atol=2e-5)


def test_each_replica_has_noise_and_draws_of_its_own():
    agents = DQN("CartPole-v1", noisy=True, replicas=2, **SMALL)
    with torch.no_grad():
        # The same network twice, so that nothing but the noise can differ.
        for p in agents.network.parameters():
            p[1] = p[0]
        outputs = agents._online(torch.ones(2, 1, 4))
    assert not torch.equal(outputs[0], outputs[1])
    agents.learn(30, progress=False)
    batch = agents._replay.sample(16, agents._sampling)
    assert not np.array_equal(batch.observation[0], batch.observation[1])


def test_looking_at_replicas_does_not_change_what_they_become():
    watched, alone = (DQN("CartPole-v1", noisy=True, replicas=2, **SMALL) for _ in range(2))
    for until in (30, 60):
        watched.learn(until, progress=False)
        evaluate(watched.replica(1), episodes=2)
        evaluate(watched.replica(0), episodes=1, deterministic=False)
    alone.learn(60, progress=False)
    assert torch.equal(parameters(watched.network), parameters(alone.network))


@pytest.mark.parametrize("independent", [False, True])
def test_noisy_convolutions_in_replicas(steady, independent):
    """An ensemble runs convolutions one member after another; each gets its own noise."""

    class Images(steady):
        def __init__(self):
            super().__init__(length=4)
            import gymnasium

            self.observation_space = gymnasium.spaces.Box(0, 255, (1, 5, 5), np.uint8)
            self.buffer = np.zeros((1, 5, 5), np.uint8)

        def reset(self, *, seed=None, options=None):
            self.t = 0
            self.seeds.append(seed)
            self.buffer = np.random.default_rng(seed).integers(0, 9, (1, 5, 5)).astype(np.uint8)
            return self.buffer, {}

        def step(self, action):
            self.t += 1
            self.buffer = np.roll(self.buffer, 1 + int(action), axis=2)
            return self.buffer, float(self.buffer[0, 0, 0]), False, self.t == 4, {}

    kind = "independent" if independent else "factorized"

    def network():
        return nn.Sequential(
            NoisyConv2d(1, 2, 3, noise=kind), nn.Flatten(), NoisyLinear(18, 2, noise=kind)
        )

    kwargs = {"noisy": True, "network": network, "batch_size": 8, "learning_rate": 1e-2}
    together = DQN(Images, replicas=2, seed=1, **kwargs).learn(40, progress=False)
    for r in range(2):
        alone = DQN(Images, seed=1 + r, **kwargs).learn(40, progress=False)
        assert alone.history == together.histories[r]
        member = together.network.member(r)
        assert torch.allclose(parameters(alone.network), parameters(member), atol=1e-4)


def test_noise_per_sample_in_replicas():
    def network():
        return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), NoisyLinear(8, 2, per_sample=True))

    kwargs = {"noisy": True, "network": network, "batch_size": 8, "update_period": 1}
    with pytest.raises(ConfigurationError, match="per_sample"):
        DQN("CartPole-v1", replicas=2, **kwargs)
    assert DQN("CartPole-v1", **kwargs).learn(20, progress=False).updates == 13


def test_replicas_have_no_single_answers():
    agents = DQN("CartPole-v1", replicas=2, **SMALL)
    assert isinstance(agents.network, Ensemble)
    with pytest.raises(ConfigurationError, match=r"`history` is one agent's.*`histories\[r\]`"):
        _ = agents.history
    with pytest.raises(ConfigurationError, match=r"`predict` is one agent's.*replica\(r\)"):
        agents.predict(np.zeros(4))
    for r in (-1, 2):
        with pytest.raises(ConfigurationError, match=f"`r` got {r}; expected 0 to 1"):
            agents.replica(r)
    with pytest.raises(ConfigurationError, match="`replicas` got 0"):
        DQN("CartPole-v1", replicas=0)
    with pytest.raises(ConfigurationError, match="`network` got a module for 2 replicas"):
        DQN("CartPole-v1", replicas=2, network=nn.Linear(4, 2))


class Centred(nn.Module):
    """Outputs less their running mean."""

    def __init__(self, written):
        super().__init__()
        self.linear, self.written = nn.Linear(4, 3), written
        self.register_buffer("mean", torch.zeros(3))

    def forward(self, x):
        out = self.linear(x)
        mean = 0.9 * self.mean + 0.1 * out.detach().mean(0)
        if self.written:
            self.mean.copy_(mean)
        else:
            self.mean = mean
        return out - mean


def test_buffers_that_replicas_would_no_longer_share_are_refused():
    agent = A2C("CartPole-v1", network=lambda: Centred(False), replicas=2, rollout_length=4)
    with pytest.raises(ConfigurationError, match=r"its buffer 'mean' anew.*self\.mean\.copy_"):
        agent.learn(200, progress=False)
    agent = A2C("CartPole-v1", network=lambda: Centred(True), replicas=2, rollout_length=4)
    networks = agent.learn(200, progress=False)._actor.networks
    for r in range(2):
        assert networks.per_replica[r].mean.abs().sum() > 0
        assert torch.equal(networks.per_replica[r].mean, networks.stacked.get_buffer("mean")[r])
