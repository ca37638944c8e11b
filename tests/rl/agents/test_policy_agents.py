"""`Reinforce` and `A2C`: what holds for every agent, and updates against formulas of their own."""

import copy
import functools

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import SyncVectorEnv
from test_saving import check_same

import hunch.envs  # noqa: F401 registers them
from hunch.errors import ConfigurationError
from hunch.nn import MLP, Ensemble, NoisyLinear, Normalizer, noise
from hunch.rl import A2C, DQN, Linear, Reinforce, evaluate
from hunch.rl.runs.weights import set_weights, weights_of

SMALL = {"hidden_sizes": (8,), "env_kwargs": {"max_episode_steps": 17}}
PENDULUM = {**SMALL, "env": "Pendulum-v1"}
KINDS = {
    "a2c": (A2C, {"num_envs": 3, "rollout_length": 5, "learning_rate": Linear(0.02, 0.0, 200)}),
    "a2c in a box": (A2C, {**PENDULUM, "num_envs": 2, "normalize": True, "reward_scale": 0.1}),
    "a2c with one step": (A2C, {"num_envs": 2, "rollout_length": 1, "gae_lambda": 0.0}),
    "noisy a2c": (A2C, {"noisy": True, "num_envs": 2, "rollout_length": 4}),
    "noisy a2c, factorized": (A2C, {"noisy": "factorized", "num_envs": 1, "activation": "relu"}),
    "reinforce": (Reinforce, {}),
    "reinforce by leave-one-out": (Reinforce, {"baseline": "loo", "num_envs": 2}),
    "reinforce without a baseline": (Reinforce, {"baseline": None, "episodes": 2}),
    "reinforce in a box": (
        Reinforce,
        {**PENDULUM, "std": "state", "bounds": "clipped", "num_envs": 2, "episodes": 4,
         "normalize": True, "max_gradient_norm": 0.5},
    ),
    "reinforce with several of several": (Reinforce, {"num_envs": 2, "episodes": 4}),
}  # fmt: skip


def make(kind, **more):
    cls, settings = KINDS[kind]
    return cls(**{"env": "CartPole-v1", **SMALL, **settings, **more})


def parameters(network):
    return torch.cat([t.detach().flatten() for t in network.state_dict().values()])


@pytest.mark.parametrize("kind", KINDS)
def test_a_replica_is_the_agent_of_its_seed(kind):
    together = make(kind, replicas=3, seed=4).learn(150, progress=False)
    assert isinstance(together.network, Ensemble)
    for r in range(3):
        alone = make(kind, seed=4 + r).learn(150, progress=False)
        ours, theirs = alone.history, together.histories[r]
        assert (ours.lengths, ours.ends) == (theirs.lengths, theirs.ends)
        assert np.allclose(ours.returns, theirs.returns, rtol=1e-4)
        assert alone.updates == together._actor.networks.updates[r] > 0
        member = together.network.member(r)
        assert torch.allclose(parameters(alone.network), parameters(member), atol=1e-5)
        x = np.random.default_rng(0).normal(size=(50, *alone.observation_shape))
        assert np.allclose(alone.predict(x), together.replica(r).predict(x), atol=1e-4)
        drawn = alone.predict(x, deterministic=False)
        assert np.allclose(drawn, together.replica(r).predict(x, deterministic=False), atol=1e-4)
    assert not torch.allclose(parameters(together.network.member(0)), parameters(member))


@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_in_pieces_ends_with_the_same_bits(kind, replicas, tmp_path):
    whole, carried = (make(kind, replicas=replicas, seed=3) for _ in range(2))
    moments = np.random.default_rng(len(kind)).integers(1, 150, size=4)
    for moment in sorted(moments.tolist()):
        carried.learn(moment, progress=False)
        carried.save(tmp_path / "a")
        carried = type(carried).load(tmp_path / "a")
    carried.learn(160, progress=False)
    whole.learn(160, progress=False)
    check_same(whole.state_dict(), carried.state_dict())
    assert whole.updates == carried.updates > 0
    assert whole.histories == carried.histories
    assert whole.losses == carried.losses
    # Memory is still shared: what one network learns the other acts by.
    if replicas > 1:
        own = parameters(carried._actor.networks.per_replica[1])
        assert torch.equal(own, parameters(carried.network.member(1)))
    explore = np.zeros((20, *whole.observation_shape))
    for r in range(replicas):
        a, b = whole.replica(r), carried.replica(r)
        assert np.array_equal(a.predict(explore, False), b.predict(explore, False))


@pytest.mark.parametrize("kind", ["a2c", "noisy a2c", "reinforce by leave-one-out"])
def test_looking_at_an_agent_does_not_change_what_it_becomes(kind, tmp_path):
    watched, alone = (make(kind) for _ in range(2))
    for until in (30, 61, 100):
        watched.learn(until, progress=False).save(tmp_path / "a")
        evaluate(watched, episodes=2)
        evaluate(watched, episodes=1, deterministic=False)
    alone.learn(100, progress=False)
    assert torch.equal(parameters(watched.network), parameters(alone.network))


# One update, by a formula of its own


def network():
    return MLP(4, [6], 3, activation="tanh")


class Recording(A2C):
    """Remembers its steps."""

    def observe(self, step):
        # The loop writes the next episode's first observation over what a step led to.
        self.steps_seen = [*getattr(self, "steps_seen", []), copy.deepcopy(step)]
        super().observe(step)


def test_an_update_of_a2c_is_plain_autograd():
    settings = {
        "network": network, "num_envs": 2, "rollout_length": 12, "gae_lambda": 0.8,
        "entropy_weight": 0.05, "value_weight": 0.4, "max_gradient_norm": float("inf"),
        "env_kwargs": {"max_episode_steps": 5}, "reward_scale": 0.5, "learning_rate": 0.01,
    }  # fmt: skip
    agent = Recording("CartPole-v1", **settings, seed=2)
    twin = A2C("CartPole-v1", **settings, seed=2).network
    agent.learn(24, progress=False)
    losses = []
    for e in range(2):
        steps = agent.steps_seen
        out = twin(torch.from_numpy(np.stack([s.observation[0, e] for s in steps])))
        bootstrap_observation = twin(
            torch.from_numpy(np.stack([s.next_observation[0, e] for s in steps]))
        )
        value, following = out[:, 0], bootstrap_observation[:, 0].detach()
        advantage = torch.zeros(len(steps))
        carried = 0.0
        for t in reversed(range(len(steps))):
            s = steps[t]
            assert s.truncated[0, e] or not s.terminated[0, e]  # 5 steps: time limits alone
            delta = 0.5 * s.reward[0, e] + 0.99 * following[t] - value[t].detach()
            carried = delta + 0.99 * 0.8 * (0 if s.truncated[0, e] else carried)
            advantage[t] = carried
        dist = torch.distributions.Categorical(logits=out[:, 1:])
        actions = torch.tensor([int(s.action[0, e]) for s in steps])
        error = value - (advantage + value.detach())
        losses.append(
            -(advantage * dist.log_prob(actions)) + 0.2 * error**2 - 0.05 * dist.entropy()
        )
    torch.stack(losses).mean().backward()
    optimizer = torch.optim.Adam(twin.parameters(), lr=0.01)
    optimizer.step()
    assert sum(s.truncated.sum() for s in agent.steps_seen) == 4
    assert torch.allclose(parameters(agent.network), parameters(twin), atol=1e-6)


@pytest.mark.parametrize("baseline", ["value", "loo", None])
def test_an_update_of_reinforce_is_plain_autograd(baseline):
    settings = {"network": network, "baseline": baseline, "episodes": 4, "num_envs": 2}

    class Watched(Reinforce):
        seen = ()

        def observe(self, step):
            self.seen = [*self.seen, step]
            return super().observe(step)

    agent = Watched("CartPole-v1", **settings, seed=2)
    twin = Reinforce("CartPole-v1", **settings, seed=2).network
    while agent.updates == 0:
        agent.learn(agent.steps + 2, progress=False)
    episodes = []
    for e in range(2):
        own = []
        for s in agent.seen:
            if len(own) // 1000 == 0 and sum(bool(x.terminated[0, e]) for x in own) < 2:
                own.append(s)
        cut = [i for i, s in enumerate(own) if s.terminated[0, e]]
        assert len(cut) == 2
        episodes += [(e, own[: cut[0] + 1]), (e, own[cut[0] + 1 :])]
    togo = []
    for e, steps in episodes:
        returns, after = [], 0.0
        for s in reversed(steps):
            after = float(s.reward[0, e]) + 0.99 * after
            returns.insert(0, after)
        togo.append(returns)
    terms = []
    for i, (e, steps) in enumerate(episodes):
        out = twin(torch.from_numpy(np.stack([s.observation[0, e] for s in steps])))
        log = torch.log_softmax(out[:, 1:], -1)[
            range(len(steps)), [int(s.action[0, e]) for s in steps]
        ]
        for t in range(len(steps)):
            expected = 0.0
            if baseline == "loo":
                others = [g[t] if t < len(g) else 0.0 for j, g in enumerate(togo) if j != i]
                expected = sum(others) / 3
            if baseline == "value":
                expected = out[t, 0].detach()
            term = -(togo[i][t] - expected) * log[t]
            if baseline == "value":
                term = term + 0.25 * (out[t, 0] - togo[i][t]) ** 2
            terms.append(term)
    torch.stack(terms).mean().backward()
    if baseline != "value":  # a value that is not learned gets no gradient
        twin[-1].weight.grad[0] = 0
    torch.optim.Adam(twin.parameters(), lr=0.01).step()
    assert torch.allclose(parameters(agent.network), parameters(twin), atol=2e-6)


# Ends


@pytest.mark.parametrize("cls", [A2C, Reinforce])
@pytest.mark.parametrize("truncates", [False, True])
def test_values_go_on_behind_a_time_limit_and_nowhere_else(cls, truncates, two_steps):
    """With γ = 0.5 the value after the first step is 1, or 1 + ½ v(2): v(2) itself is never learned."""
    kind = {"rollout_length": 4} if cls is A2C else {}
    value_2 = 8.0

    class Table(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.table = torch.nn.Parameter(torch.zeros(2, 3))
            self.register_buffer("last", torch.tensor([[value_2, 0.0, 0.0]]))

        def forward(self, x):
            return torch.cat([self.table, self.last])[x[:, 0].long()]

    agent = cls(two_steps, env_kwargs={"truncates": truncates}, discount=0.5, network=Table,
                learning_rate=0.1, max_gradient_norm=float("inf"), num_envs=4, **kind)  # fmt: skip
    agent.learn(6_000, progress=False)
    after = 1 + 0.5 * value_2 * truncates
    expected = [1 + 0.5 * after, after]
    assert np.allclose(agent.network.table[:, 0].detach(), expected, atol=0.05)
    assert agent.predict(np.zeros(1)) in (5, 6)


@pytest.mark.parametrize("mode", ["NextStep", "SameStep", "Disabled"])
@pytest.mark.parametrize("cls", [A2C, Reinforce])
def test_vector_environments_in_all_ways_of_resetting(cls, mode):
    make = functools.partial(gymnasium.make, "CartPole-v1", max_episode_steps=9)
    envs = SyncVectorEnv([make] * 3, autoreset_mode=mode)
    agent = cls(envs, hidden_sizes=(8,), seed=1)
    assert agent.num_envs == 3
    agent.learn(300, progress=False)
    assert agent.updates > 3
    assert set(agent.history.lengths) <= set(range(1, 10))
    assert torch.isfinite(parameters(agent.network)).all()


def test_what_is_played_beyond_the_share_is_given_up():
    """Each update of `Reinforce` learns from as many episodes of each environment, all begun anew."""

    class Watched(Reinforce):
        counts = ()

        def _update(self, replica, trajectory):
            ended = (trajectory.terminated | trajectory.truncated) & trajectory.counts
            self.counts = [*self.counts, ended.sum((0, 1)).tolist()]
            first = trajectory.observation[0, 0]
            assert (np.abs(first) < 0.05).all()  # where CartPole begins
            super()._update(replica, trajectory)

    agent = Watched("CartPole-v1", num_envs=3, episodes=6, hidden_sizes=(8,))
    agent.learn(1_000, progress=False)
    assert len(agent.counts) > 3
    assert all(counts == [2, 2, 2] for counts in agent.counts)
    lengths = sum(agent.history.lengths)
    assert lengths <= agent.steps


# Noise


def test_noise_is_held_over_a_rollout_and_its_update():
    class Watched(A2C):
        draws = ()

        def act(self, observation, is_first):
            self.draws = [*self.draws, self._actor.noise._draws[0][0].clone()]
            return super().act(observation, is_first)

        def _update(self):
            self.learned_with = [*getattr(self, "learned_with", []), self._actor.noise._draws[0][0].clone()]  # fmt: skip
            super()._update()

    agent = Watched("CartPole-v1", noisy=True, num_envs=2, rollout_length=4, hidden_sizes=(8,))
    assert agent.entropy_weight == 0
    layers = [m for m in agent.network.modules() if isinstance(m, NoisyLinear)]
    assert len(layers) == 4
    assert all(layer.noise == "independent" for layer in layers)
    before = layers[0].weight_sigma.clone()
    agent.learn(24, progress=False)
    for k in range(3):
        rollout = agent.draws[4 * k : 4 * k + 4]
        assert all(torch.equal(draw, agent.learned_with[k]) for draw in rollout)
    assert not torch.equal(agent.draws[0], agent.draws[4])
    assert not torch.equal(layers[0].weight_sigma, before)  # the noise learns how large it is to be
    x = np.zeros(4)
    means = agent._actor.networks.per_replica[0]
    with torch.no_grad(), noise(means, "off"):
        expected = int(means(torch.zeros(1, 4))[0, 1:].argmax())
    assert agent.predict(x) == expected


def test_observations_are_normalised_by_what_was_seen():
    agent = A2C("Pendulum-v1", normalize=True, num_envs=2, rollout_length=5, hidden_sizes=(8,))
    agent.learn(20, progress=False)
    (normalizer,) = [m for m in agent.network.modules() if isinstance(m, Normalizer)]
    assert normalizer.count.item() == 20
    assert (normalizer.variance > 0).all()


def test_continuous_actions_stay_in_the_box_and_have_its_shape():
    agent = A2C("Pendulum-v1", num_envs=2, rollout_length=5, hidden_sizes=(8,))
    agent.learn(40, progress=False)
    x = np.random.default_rng(0).normal(size=(30, 3)) * 100
    for deterministic in (True, False):
        actions = agent.predict(x, deterministic)
        assert actions.shape == (30, 1)
        assert actions.dtype == np.float32
        assert (np.abs(actions) <= 2).all()
    assert agent.predict(x[0]).shape == (1,)
    assert evaluate(agent, episodes=3).returns.shape == (3,)


@pytest.mark.parametrize("cls", [A2C, Reinforce])
def test_what_is_right_is_learned(cls, matching):
    env = functools.partial(matching, start=3)
    agent = cls(env, hidden_sizes=(16,), learning_rate=0.02, discount=0.0, num_envs=4)
    agent.learn(4_000, progress=False)
    assert evaluate(agent, episodes=20).mean_return == 5.0


# Wrong uses


def test_wrong_uses_are_refused_in_one_line(two_steps):
    for cls, settings, message in [
        (DQN, {"env": "Pendulum-v1"}, "a finite set: this agent compares"),
        (A2C, {"noisy": "loud"}, "`noisy` got 'loud'; expected True, False"),
        (A2C, {"gae_lambda": 1.5}, "`gae_lambda` got 1.5"),
        (A2C, {"rollout_length": 0}, "`rollout_length` got 0"),
        (A2C, {"entropy_weight": -1.0}, "`entropy_weight` got -1.0"),
        (A2C, {"std": "fixed"}, "`std` got 'fixed'"),
        (A2C, {"initial_std": 0.0}, "`initial_std` got 0.0"),
        (A2C, {"activation": "swish"}, "`activation` got 'swish'"),
        (A2C, {"network": MLP(4, [8], 2)}, r"expected \(1, 3\), the value and then 2 outputs"),
        (A2C, {"network": network(), "replicas": 2}, "`network` got a module for 2 replicas"),
        (A2C, {"max_gradient_norm": 0.0}, "`max_gradient_norm` got 0.0"),
        (Reinforce, {"baseline": "mean"}, "`baseline` got 'mean'"),
        (Reinforce, {"baseline": "loo"}, "expected `episodes` of at least 2"),
        (Reinforce, {"episodes": 3, "num_envs": 2}, "`episodes` got 3 for 2 environments"),
        (Reinforce, {"network": lambda: torch.nn.Sequential(NoisyLinear(4, 3))}, "noisy layers"),
        (Reinforce, {"reward_scale": 0.0}, "`reward_scale` got 0.0"),
    ]:
        with pytest.raises(ConfigurationError, match=message) as error:
            cls(**{"env": "CartPole-v1", **settings})
        assert "\n" not in str(error.value)
    multi = gymnasium.spaces.Tuple([gymnasium.spaces.Discrete(2)] * 2)

    class Pairs(two_steps):
        action_space = multi

    with pytest.raises(ConfigurationError, match="a finite set, or a Box of one axis"):
        A2C(Pairs, env_kwargs={"truncates": True})
    envs = gymnasium.make_vec("CartPole-v1", num_envs=4)
    with pytest.raises(ConfigurationError, match="already made; expected neither"):
        A2C(envs, num_envs=3)


@pytest.mark.parametrize("kind", ["a2c in a box", "noisy a2c", "reinforce in a box"])
def test_weights_go_from_replica_to_replica(kind):
    """With the scale of observations, and into the memory by which a replica learns."""
    agents, other = make(kind, replicas=2), make(kind, replicas=2, seed=9)
    other.learn(150, progress=False)
    set_weights(agents, 1, weights_of(other, 0))
    x = np.random.default_rng(0).normal(size=(20, *other.observation_shape))
    assert np.allclose(agents.replica(1).predict(x), other.replica(0).predict(x), atol=1e-5)
    member = parameters(agents.network.member(1))
    assert torch.equal(member, parameters(other.network.member(0)))
    assert torch.equal(member, parameters(agents._actor.networks.per_replica[1]))
