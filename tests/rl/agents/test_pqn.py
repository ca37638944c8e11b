"""`PQN`: what holds for every agent; its targets and updates against formulas of their own."""

import copy
import functools
from contextlib import ExitStack

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import SyncVectorEnv
from test_saving import check_exact

import hunch.envs  # noqa: F401 registers them
from hunch.errors import ConfigurationError
from hunch.nn import MLP, Ensemble, NoisyLinear, RandomizedPrior, noise
from hunch.rl import PQN, Linear, evaluate
from hunch.rl.runs.weights import set_weights, weights_of
from hunch.seeding import numpy_generator

SMALL = {
    "hidden_sizes": (8,),
    "env_kwargs": {"max_episode_steps": 17},
    "rollout_length": 5,
    "batch_size": 4,
}
KINDS = {
    "plain": {"num_envs": 3, "learning_rate": Linear(0.02, 0.0, 200), "epsilon": 0.3},
    "one step": {"num_envs": 2, "rollout_length": 1, "td_lambda": 0.0, "epochs": 1},
    "noisy": {"num_envs": 2, "noisy": True, "max_gradient_norm": 0.5},
    "members": {"num_envs": 3, "num_members": 3, "prior_scale": 2.0},
    "members without norm": {"num_envs": 2, "num_members": 2, "layer_norm": False},
    "one environment": {"num_envs": 1, "layer_norm": False, "reward_scale": 0.1},
}


def make(kind, **more):
    return PQN(**{"env": "CartPole-v1", **SMALL, **KINDS[kind], **more})


def parameters(network):
    return torch.cat([t.detach().flatten() for t in network.state_dict().values()])


@pytest.mark.parametrize("kind", KINDS)
def test_a_replica_is_the_agent_of_its_seed(kind):
    together = make(kind, replicas=3, seed=4).learn(90, progress=False)
    assert isinstance(together.network, Ensemble)
    losses = []
    for r in range(3):
        alone = make(kind, seed=4 + r).learn(90, progress=False)
        assert alone.history == together.histories[r]
        assert alone.updates == together.updates > 10
        own = weights_of(together, r)
        found = torch.cat([w.flatten() for w in own.values()])
        assert torch.allclose(parameters(alone.network), found, atol=1e-5)
        x = np.random.default_rng(0).normal(size=(50, 4))
        for deterministic in (True, False):
            assert np.array_equal(
                alone.predict(x, deterministic), together.replica(r).predict(x, deterministic)
            )
        losses.append(alone.losses)
    assert np.allclose(np.mean(losses, axis=0), together.losses, rtol=1e-4)


@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_in_pieces_ends_with_the_same_bits(kind, replicas, tmp_path):
    rng = np.random.default_rng(len(kind))
    check_exact(lambda: make(kind, replicas=replicas, seed=3), tmp_path / "a", rng, PQN)


@pytest.mark.parametrize("kind", ["plain", "noisy", "members"])
def test_looking_at_an_agent_does_not_change_what_it_becomes(kind, tmp_path):
    watched, alone = (make(kind) for _ in range(2))
    for until in (30, 61, 100):
        watched.learn(until, progress=False).save(tmp_path / "a")
        evaluate(watched, episodes=2)
        evaluate(watched, episodes=1, deterministic=False)
    alone.learn(100, progress=False)
    assert torch.equal(parameters(watched.network), parameters(alone.network))


# One rollout, by formulas of their own


class Recording(PQN):
    """Remembers its steps, what it was trained towards, and the noise of each forward."""

    def observe(self, step):
        # The loop writes the next episode's first observation over what a step led to.
        self.steps_seen = [*getattr(self, "steps_seen", []), copy.deepcopy(step)]
        super().observe(step)

    def _targets(self, *args):
        self.targets = super()._targets(*args)
        return self.targets


def td_returns(steps, e, values, *, discount, td_lambda, scale):
    """G of each step of an environment: r + γ ((1 - λ) v' + λ G'), forwards and without sharing."""

    def from_step(t):
        s = steps[t]
        reward = scale * float(s.reward[0, e])
        if s.terminated[0, e]:
            return reward
        after = values(s.next_observation[0, e])
        if s.truncated[0, e] or t == len(steps) - 1:
            return reward + discount * after
        return reward + discount * ((1 - td_lambda) * after + td_lambda * from_step(t + 1))

    return [from_step(t) for t in range(len(steps))]


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("td_lambda", [0.0, 0.7, 1.0])
def test_targets_are_the_returns_of_a_plain_loop(compiled, members, td_lambda, monkeypatch):
    if not compiled:
        monkeypatch.setattr("hunch.rl.agents.pqn.whole_lambda_returns", lambda *a, **k: None)
    settings = {
        "num_envs": 3, "rollout_length": 40, "td_lambda": td_lambda, "num_members": members,
        "prior_scale": 5.0, "reward_scale": 0.5, "discount": 0.9, "hidden_sizes": (8,),
        "env_kwargs": {"max_episode_steps": 13}, "epsilon": 1.0,
    }  # fmt: skip
    agent = Recording("CartPole-v1", **settings, seed=2)
    network = PQN("CartPole-v1", **settings, seed=2).network
    agent.learn(120, progress=False)
    steps = agent.steps_seen
    ends = [sum(s[name].sum() for s in (step._asdict() for step in steps))
            for name in ("terminated", "truncated")]  # fmt: skip
    assert min(ends) > 2  # both kinds are met
    for k in range(members):
        own = network.member(k) if members > 1 else network

        def values(x, own=own):
            with torch.no_grad():
                return float(own(torch.from_numpy(x)[None]).max())

        expected = [
            td_returns(steps, e, values, discount=0.9, td_lambda=td_lambda, scale=0.5)
            for e in range(3)
        ]
        found = agent.targets[0, :, k].reshape(40, 3).T
        assert np.allclose(found, expected, atol=1e-5)


def network():
    return torch.nn.Sequential(
        torch.nn.Linear(4, 6), torch.nn.LayerNorm(6), torch.nn.ReLU(), torch.nn.Linear(6, 2)
    )


def noisy_network():
    return torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.ReLU(), NoisyLinear(6, 2))


UPDATES = {
    "the ready-made network": {"hidden_sizes": (7, 5)},
    "a network of one's own": {"network": network},
    "members": {"network": network, "num_members": 3, "prior_scale": 4.0},
    "noise": {"network": noisy_network, "noisy": True},
}


@pytest.mark.parametrize("kind", UPDATES)
def test_the_updates_of_a_rollout_are_plain_torch(kind):
    """Passes, batches, the gradient's norm, Adam: all of it by torch's own."""
    settings = {
        "num_envs": 2, "rollout_length": 12, "epochs": 3, "batch_size": 10, "td_lambda": 0.8,
        "max_gradient_norm": 0.7, "learning_rate": 0.01, "env_kwargs": {"max_episode_steps": 7},
        **UPDATES[kind],
    }  # fmt: skip
    agent = Recording("CartPole-v1", **settings, seed=2)
    draws = []
    drawn = agent._values.noise.draws
    agent._values.noise.draws = lambda: draws.append(drawn()) or draws[-1]
    twins = PQN("CartPole-v1", **settings, seed=2).network
    members = settings.get("num_members", 1)
    twins = [twins.member(k) for k in range(members)] if members > 1 else [twins]
    agent.learn(24, progress=False)
    steps = agent.steps_seen
    observation = torch.from_numpy(np.concatenate([s.observation[0] for s in steps]))
    action = torch.from_numpy(np.concatenate([s.action[0] for s in steps]))
    orders = numpy_generator(2, "order")
    batches = [b for _ in range(3) for b in np.array_split(orders.permutation(24), 3)]
    losses = np.zeros(len(batches))
    for k, twin in enumerate(twins):
        target = torch.from_numpy(agent.targets[0, :, k])
        trained = [p for p in twin.parameters() if p.requires_grad]
        optimizer = torch.optim.Adam(trained, lr=0.01)
        for i, rows in enumerate(batches):
            with ExitStack() as stack:
                if draws:  # those of the batches are the last ones
                    (own,) = draws[i - len(batches)].values()
                    stack.enter_context(twin[-1].using(own))
                q = twin(observation[rows])[range(len(rows)), action[rows]]
            loss = 0.5 * torch.nn.functional.mse_loss(q, target[rows])
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, 0.7)
            optimizer.step()
            losses[i] += loss.item() / members
        mine = agent.network.member(k) if members > 1 else agent.network
        assert torch.allclose(parameters(mine), parameters(twin), atol=1e-6)
    assert agent.updates == 9
    assert np.allclose(agent.losses, losses, rtol=1e-4)


# Exploration


def test_noise_is_new_in_every_forward_and_learned():
    agent = make("noisy", hidden_sizes=(8, 8))
    layers = [m for m in agent.network.modules() if isinstance(m, NoisyLinear)]
    assert len(layers) == 2  # the first one stays plain
    before = layers[0].weight_sigma.clone()
    x = np.ones((1, 1, 4), np.float32)
    values = [agent._values.played(x) for _ in range(3)]
    assert not np.array_equal(values[0], values[1])
    assert not np.array_equal(values[1], values[2])
    agent.learn(20, progress=False)
    assert not torch.equal(layers[0].weight_sigma, before)
    with torch.no_grad(), noise(agent.network, "off"):
        expected = int(agent.network(torch.zeros(1, 4)).argmax())
    assert agent.predict(np.zeros(4)) == expected


def test_a_member_plays_an_environment_for_an_episode_and_all_learn():
    class Watched(PQN):
        rows = ()

        def act(self, observation, is_first):
            chosen = super().act(observation, is_first)
            active = self._values.active.copy()
            self.rows = [*self.rows, (observation.copy(), is_first.copy(), active, chosen)]
            return chosen

    settings = {**SMALL, "num_members": 4, "prior_scale": 20.0, "num_envs": 3}
    settings["rollout_length"] = 100
    agent = Watched("CartPole-v1", **settings, seed=1)
    before = [parameters(agent.network.member(k)) for k in range(4)]
    agent.learn(297, progress=False)
    assert agent.updates == 0  # so that what the members like stays as it was
    seen, previous = set(), None
    for observation, is_first, active, chosen in agent.rows:
        if previous is not None:
            assert np.array_equal(active[~is_first], previous[~is_first])
        previous = active
        seen |= set(active[is_first].tolist())
        for e in range(3):
            with torch.no_grad():
                own = agent.network.member(int(active[0, e]))
                best = own(torch.from_numpy(observation[0, e])[None]).argmax()
            assert int(best) == chosen[0, e]
    assert seen == {0, 1, 2, 3}
    agent.learn(303, progress=False)
    assert agent.updates > 0
    priors = [name for name in agent.network.state_dict() if "prior" in name]
    assert priors
    for k in range(4):
        assert not torch.equal(parameters(agent.network.member(k)), before[k])
    fresh = Watched("CartPole-v1", **settings, seed=1).network.state_dict()
    now = agent.network.state_dict()
    assert all(torch.equal(now[name], fresh[name]) for name in priors)
    x = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        mean = torch.stack([agent.network.member(k)(x) for k in range(4)]).mean(0)
    assert np.array_equal(agent.predict(x.numpy()), mean.argmax(-1).numpy())


def test_members_are_those_of_an_ensemble_with_priors():
    agent = PQN("CartPole-v1", num_members=3, prior_scale=2.5, hidden_sizes=(8,), replicas=2,
                num_envs=3)  # fmt: skip
    assert agent.network.num_members == 6
    member = agent.network.member(4)
    assert isinstance(member, RandomizedPrior)
    assert agent.network.part("prior").num_members == 6
    x = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    agent._values.active[:] = [[0, 1, 2], [2, 1, 0]]
    agent._values.networks.values.add_(0.1)
    found = agent._values.played(x)
    for r, e in [(0, 1), (1, 0)]:
        own = agent.network.member(3 * r + int(agent._values.active[r, e]))
        with torch.no_grad():
            assert np.allclose(found[r, e], own(torch.from_numpy(x[r, e])[None])[0], atol=1e-5)


# Ends and environments


@pytest.mark.parametrize("truncates", [False, True])
def test_values_go_on_behind_a_time_limit_and_nowhere_else(truncates, two_steps):
    value_2 = 8.0

    class Table(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.table = torch.nn.Parameter(torch.zeros(2, 2))
            self.register_buffer("last", torch.full((1, 2), value_2))

        def forward(self, x):
            return torch.cat([self.table, self.last])[x[:, 0].long()]

    agent = PQN(two_steps, env_kwargs={"truncates": truncates}, discount=0.5, network=Table, reward_scale=1.0,
                learning_rate=0.05, num_envs=4, rollout_length=5, batch_size=10, epsilon=0.5)  # fmt: skip
    agent.learn(4_000, progress=False)
    after = 1 + 0.5 * value_2 * truncates
    expected = np.array([[1 + 0.5 * after] * 2, [after] * 2])
    assert np.allclose(agent.network.table.detach(), expected, atol=0.1)
    assert agent.predict(np.zeros(1)) in (5, 6)


@pytest.mark.parametrize("mode", ["NextStep", "SameStep", "Disabled"])
@pytest.mark.parametrize("members", [1, 2])
def test_vector_environments_in_all_ways_of_resetting(mode, members):
    made = functools.partial(gymnasium.make, "CartPole-v1", max_episode_steps=9)
    envs = SyncVectorEnv([made] * 3, autoreset_mode=mode)
    agent = PQN(envs, hidden_sizes=(8,), rollout_length=7, num_members=members, seed=1)
    assert agent.num_envs == 3
    agent.learn(300, progress=False)
    assert agent.updates > 3
    assert set(agent.history.lengths) <= set(range(1, 10))
    assert torch.isfinite(parameters(agent.network)).all()


@pytest.mark.parametrize("more", [{}, {"noisy": True}, {"num_members": 3, "prior_scale": 1.0}])
def test_what_is_right_is_learned(matching, more):
    env = functools.partial(matching, start=3)
    agent = PQN(env, hidden_sizes=(16,), learning_rate=0.01, discount=0.0, num_envs=4, **more)
    agent.learn(2_000, progress=False)
    assert evaluate(agent, episodes=20).mean_return == 5.0


@pytest.mark.parametrize("more", [{}, pytest.param({"noisy": True}, marks=pytest.mark.slow)])
def test_a_pole_is_balanced_at_the_defaults(more):
    """30,000 frames; a random policy balances it for 22 steps, 500 is all there is."""
    agent = PQN("CartPole-v1", seed=1, **more).learn(30_000, progress=False)
    assert evaluate(agent, episodes=10).mean_return > 195


def test_weights_go_from_replica_to_replica():
    agents, other = make("members", replicas=2), make("members", replicas=2, seed=9)
    other.learn(150, progress=False)
    set_weights(agents, 1, weights_of(other, 0))
    x = np.random.default_rng(0).normal(size=(20, 4))
    assert np.array_equal(agents.replica(1).predict(x), other.replica(0).predict(x))


# Wrong uses


def test_wrong_uses_are_refused_in_one_line():
    for settings, message in [
        ({"env": "Pendulum-v1"}, "a finite set: this agent compares"),
        ({"td_lambda": 1.5}, "`td_lambda` got 1.5"),
        ({"rollout_length": 0}, "`rollout_length` got 0"),
        ({"epochs": 0}, "`epochs` got 0"),
        ({"batch_size": 0}, "`batch_size` got 0"),
        ({"epsilon": 1.5}, "`epsilon` got 1.5"),
        ({"num_members": 0}, "`num_members` got 0"),
        ({"prior_scale": -1.0}, "`prior_scale` got -1.0"),
        ({"reward_scale": 0.0}, "`reward_scale` got 0.0"),
        ({"max_gradient_norm": 0.0}, "`max_gradient_norm` got 0.0"),
        ({"noisy": True, "num_members": 2}, "`noisy` got True with num_members=2"),
        ({"network": MLP(4, [8], 3)}, r"expected \(1, 2\), one value per action"),
        ({"network": MLP(4, [8], 2), "replicas": 2}, "`network` got a module for 2 replicas"),
        ({"network": MLP(4, [8], 2), "num_members": 3}, "`network` got a module for 3 members"),
        ({"network": noisy_network, "num_members": 3}, "noisy layers with several members"),
    ]:
        with pytest.raises(ConfigurationError, match=message) as error:
            PQN(**{"env": "CartPole-v1", **settings})
        assert "\n" not in str(error.value)
