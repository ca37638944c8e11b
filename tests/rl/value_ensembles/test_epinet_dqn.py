"""The cheap variant of bootstrapped DQN: one network with an epinet, an index for each episode."""

import numpy as np
import pytest
import torch
from torch import nn

import hunch.envs  # noqa: F401
from hunch.errors import ConfigurationError
from hunch.nn import Epinet
from hunch.rl import BootstrappedDQN, evaluate
from hunch.rl.fast.epinet_backprop import EpinetPass

SMALL = {"num_members": 4, "hidden_sizes": (8, 8), "batch_size": 8, "epinet": True, "index_dim": 3}
SMALL |= {"random_steps": 0}
SEA = "hunch/DeepSea-v0"


def agent(env="CartPole-v1", **kwargs):
    return BootstrappedDQN(env, **{**SMALL, **kwargs})


@pytest.mark.parametrize("kwargs", [{}, {"num_envs": 3}, {"replicas": 2, "num_envs": 2}])
def test_one_index_plays_an_episode(kwargs):
    played, begun = [], []
    made = agent(**kwargs)
    act = made.act

    def watched(observation, is_first):
        actions = act(observation, is_first)
        played.append(made._active.copy())
        begun.append(is_first.copy())
        return actions

    made.act = watched
    made.learn(120, progress=False)
    indices, is_first = np.stack(played), np.stack(begun)
    changed = (indices[1:] != indices[:-1]).any(-1)
    assert np.array_equal(changed, is_first[1:])
    assert changed.sum() > 2
    apart = indices.reshape(len(indices), -1, 3)
    assert len(np.unique(apart[0], axis=0)) == apart.shape[1]


@pytest.mark.parametrize("env", ["CartPole-v1", SEA])
def test_actions_are_those_of_the_index_and_values_those_of_the_network(env):
    made = agent(env, replicas=2, num_envs=3).learn(60, progress=False)
    shape = made.observation_shape
    x = np.random.default_rng(0).normal(size=(2, 3, *shape)).astype(np.float32)
    if env == SEA:
        x = np.zeros((6, 100), np.float32)
        x[np.arange(5), [0, 7, 13, 50, 99]] = 1.0  # and one of zeros
        x = x.reshape(2, 3, *shape)
    best = made.act(x, np.zeros((2, 3), bool))
    for r in range(2):
        for e in range(3):
            one = made.network.member(r)
            q = one(torch.from_numpy(x[r, e : e + 1]), torch.from_numpy(made._active[r, e]))
            assert best[r, e] == q.argmax()
    members = made._ensemble
    q = members.values(0, members.stored(x), None)
    for r in range(2):
        own = made.network.member(r)(torch.from_numpy(x[r]), members._trained[r])
        assert torch.allclose(q[r], own, atol=1e-5)


@pytest.mark.parametrize("env", ["CartPole-v1", SEA])
def test_an_update_follows_the_gradient_that_autograd_finds(env):
    made = agent(env, replicas=2, batch_size=40).learn(39, progress=False)
    batch = made._replay.sample(40, [np.random.default_rng(r) for r in range(2)])
    members = made._ensemble
    members.begin_update(batch)
    q, learn = members.differentiable(batch.observation, batch.prior)
    slope = torch.randn_like(q)
    x = torch.from_numpy(batch.observation)
    if env == SEA:
        x = nn.functional.one_hot(x.long(), 101)[..., :100].float().view(2, 40, 10, 10)
    sides = [made.network.member(r) for r in range(2)]
    for r, side in enumerate(sides):
        (side(x[r], members._trained[r]) * slope[r]).sum().backward()
    # An update of rate 0 leaves the gradient where it is.
    learn(slope, 0.0)
    start = 0
    names = {id(p): name for name, p in made.network.named_parameters()}
    for parameter in made._pair.parameters:
        own = made._pair.gradient[start : start + parameter.numel()].view(parameter.shape)
        start += parameter.numel()
        for r, side in enumerate(sides):
            expected = side.get_parameter(names[id(parameter)]).grad
            assert torch.allclose(own[r], expected, atol=1e-4), names[id(parameter)]
    assert start == made._pair.gradient.numel()


def test_rows_that_are_looked_up_move_as_well():
    made = agent(SEA, env_kwargs={"size": 4}).learn(7, progress=False)
    layers = [
        made.network.get_parameter(n) for n in ("trunk.1.weight", "learned.from_input.weight")
    ]
    before = [layer.detach().clone() for layer in layers]
    made.learn(20, progress=False)
    seen = np.unique(made._replay._observation[: made.steps])
    seen = seen[seen < 16]
    for old, new in zip(before, layers, strict=True):
        moved = (old != new).any(1)[0].nonzero().flatten().tolist()
        assert set(moved) <= set(seen.tolist())
        assert moved
    made.learn(24, progress=False)  # 17 updates; after 16 the target took over all
    made.learn(23 + 4, progress=False)
    assert made.updates == 20
    for name in ("trunk.1.weight", "learned.from_input.weight"):
        pair = [n.get_parameter(name) for n in (made.network, made.target_network)]
        assert torch.equal(*pair)


@pytest.mark.parametrize("env", ["CartPole-v1", SEA])
def test_the_prior_never_changes_and_is_the_same_in_the_target(env):
    made = agent(env)

    def priors():
        networks = (made.network, made.target_network)
        return [
            {k: v.clone() for k, v in n.state_dict().items() if k.startswith("prior")}
            for n in networks
        ]

    first = priors()
    made.learn(60, progress=False)
    for own in (*first, *priors()):
        assert own.keys() == first[0].keys()
        assert all(torch.equal(value, first[0][name]) for name, value in own.items())
    assert len(first[0]) > 2
    assert made.updates > 0


def test_each_update_trains_new_indices():
    made = agent().learn(20, progress=False)
    seen = []
    for _ in range(3):
        made._update(made._replay.sample(8, made._sampling))
        seen.append(made._ensemble._trained.clone())
        assert seen[-1].shape == (1, 4, 3)
    assert not torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[1], seen[2])


def test_what_is_noted_is_the_values_of_the_prior_functions():
    made = agent(n_step=2).learn(60, progress=False)
    batch = made._replay.sample(20, [np.random.default_rng(0)])
    assert batch.prior.shape == (1, 20, 3, 2)
    epinet = made.network.member(0)
    assert isinstance(epinet, Epinet)
    x = torch.from_numpy(batch.observation[0])
    expected = 10.0 / 3**0.5 * epinet.prior(x).transpose(0, 1)
    assert torch.allclose(torch.from_numpy(batch.prior[0]), expected, atol=1e-4)
    assert agent(SEA)._replay._prior is None  # looked up by place instead


@pytest.mark.parametrize(
    ("env", "kwargs"),
    [
        ("CartPole-v1", {}),
        ("CartPole-v1", {"double": True, "n_step": 3, "replicas": 2, "num_envs": 2}),
        ("CartPole-v1", {"layer_norm": True, "max_gradient_norm": 1.0, "target_update_rate": 0.1}),
        (SEA, {"env_kwargs": {"size": 4, "stochastic": True}, "replicas": 2}),
    ],
)
def test_in_pieces_it_ends_with_the_same_bits(env, kwargs, tmp_path):
    def make():
        return agent(env, seed=3, replay_capacity=64, **kwargs)

    whole, carried = make(), make()
    for moment in (3, 47, 101):
        carried.learn(moment, progress=False)
        carried.save(tmp_path / "a")
        carried = BootstrappedDQN.load(tmp_path / "a")
    carried.learn(140, progress=False)
    whole.learn(140, progress=False)
    ours, theirs = whole.state_dict(), carried.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())
    assert whole.updates > 10
    assert whole.losses == carried.losses
    assert whole.histories == carried.histories
    x = np.zeros((5, *whole.observation_shape))
    for deterministic in (True, False):
        a, b = (one.replica(0).predict(x, deterministic) for one in (whole, carried))
        assert np.array_equal(a, b)


def test_a_replica_is_the_agent_of_its_seed():
    both, alone = agent(replicas=2, seed=4), agent(seed=5)
    both.learn(80, progress=False)
    alone.learn(80, progress=False)
    assert both.histories[1] == alone.history
    ours, theirs = both.network.member(1).state_dict(), alone.network.member(0).state_dict()
    assert all(torch.allclose(value, theirs[name], atol=1e-4) for name, value in ours.items())


def test_predictions_are_the_mean_over_indices_or_one_of_them():
    made = agent(num_members=5).learn(40, progress=False)
    indices = made._ensemble._predicting[0]
    assert indices.shape == (6, 3)
    assert torch.equal(indices[:3], -indices[3:])
    x = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    mean = made.network.member(0)(torch.from_numpy(x), indices).mean(0).argmax(-1)
    assert np.array_equal(made.predict(x), mean)
    assert np.array_equal(made.predict(x), made.predict(x))
    several = {tuple(made.predict(x, deterministic=False)) for _ in range(10)}
    assert len(several) > 1


def test_any_network_that_ends_with_a_linear_layer():
    def network():
        return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 2))

    made = agent(network=network, hidden_sizes=()).learn(40, progress=False)
    assert made.updates > 0
    assert isinstance(made._ensemble._passes[0], EpinetPass)
    linear = agent(hidden_sizes=()).learn(40, progress=False)
    assert np.isfinite(linear.losses).all()
    with pytest.raises(ConfigurationError, match=r"whose last layer is an nn\.Linear"):
        agent(network=lambda: nn.Sequential(nn.Linear(4, 2), nn.Tanh()))


def test_wrong_settings_are_refused():
    with pytest.raises(ConfigurationError, match=r"`mask_probability` got 0\.5 with epinet=True"):
        agent(mask_probability=0.5)
    with pytest.raises(ConfigurationError, match="`index_dim` got 0"):
        agent(index_dim=0)
    with pytest.raises(ConfigurationError, match="`hidden_sizes` got no layer"):
        agent(epinet_hidden_sizes=())


def test_it_learns_a_deep_sea():
    """Random moves would need some 2⁶ episodes to see the reward once."""
    made = BootstrappedDQN(SEA, env_kwargs={"size": 6, "mapping_seed": 42}, epinet=True, seed=0)
    made.learn(6 * 150, progress=False)
    returns = evaluate(made, episodes=1).returns
    assert returns[0] > 0.98


@pytest.mark.parametrize("kwargs", [{}, {"epinet": False}, {"env": SEA}])
def test_values_from_before_an_update_are_not_learned_from(kwargs):
    made = agent(**kwargs).learn(30, progress=False)
    batch = made._replay.sample(8, made._sampling)
    made._ensemble.begin_update(batch)
    both = [made._ensemble.differentiable(batch.observation, batch.prior) for _ in range(2)]
    assert torch.equal(both[0][0], both[1][0])
    gradient = torch.ones_like(both[0][0])
    both[0][1](gradient, 0.01)
    with pytest.raises(ConfigurationError, match="one update after each computation of values"):
        both[1][1](gradient, 0.01)
