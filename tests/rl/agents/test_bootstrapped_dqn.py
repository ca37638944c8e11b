"""`BootstrappedDQN`, and bugs that other libraries have, or had, in ensembles with priors.

Each is named after the library in which the bug was found; what it was stands in the first line of
its test. What is tested is always hunch's own code.
"""

import itertools

import numpy as np
import pytest
import torch

import hunch.envs  # noqa: F401 registers them
from hunch.errors import ConfigurationError
from hunch.nn import Ensemble
from hunch.rl import BootstrappedDQN

FIRST = np.ones((1, 1), bool)


def members(**kwargs):
    settings = {"num_members": 3, "hidden_sizes": (8,), "batch_size": 8, **kwargs}
    return BootstrappedDQN("CartPole-v1", **settings)


def member_vectors(ensemble, part="model"):
    return [
        torch.cat([p.flatten() for n, p in ensemble.member(k).named_parameters() if part in n])
        for k in range(ensemble.num_members)
    ]


@pytest.mark.parametrize("env", ["CartPole-v1", "hunch/DeepSea-v0"])
def test_agents_act_by_the_member_of_the_episode(env):
    settings = {"num_members": 5, "hidden_sizes": (8, 6), "batch_size": 8, "prior_scale": 3.0}
    settings |= {"random_steps": 0}
    agent = BootstrappedDQN(env, replicas=2, num_envs=2, **settings).learn(60, progress=False)
    assert agent.updates > 10
    envs = [agent.another_env() for _ in range(4)]
    observation = np.stack([e.reset(seed=i)[0] for i, e in enumerate(envs)]).astype(np.float32)
    shape = agent.observation_shape
    with torch.no_grad():
        q = agent.network(torch.from_numpy(observation)).reshape(2, 5, 2, 2, -1)
    continuing = np.zeros((2, 2), bool)
    for i in range(20):
        agent._active[:] = np.random.default_rng(i).integers(5, size=(2, 2))
        actions = agent.act(observation.reshape(2, 2, *shape), continuing)
        for r, e in np.ndindex(2, 2):
            assert actions[r, e] == q[r, agent._active[r, e], r, e].argmax()


def test_johannah_bootstrap_mask_is_a_no_op():
    """The loss was averaged before the mask came, so every head learnt from all data."""
    agent = members(mask_probability=0.5).learn(7, progress=False)
    before = member_vectors(agent.network)
    batch = agent._replay.sample(8, [np.random.default_rng(0)])
    mask = np.zeros((1, 8, 3), bool)
    mask[:, :, 1] = True
    agent._update(batch._replace(mask=mask))
    moved = [
        not torch.equal(old, new)
        for old, new in zip(before, member_vectors(agent.network), strict=True)
    ]
    assert moved == [False, True, False]
    # And row by row: a row that no member sees might as well hold anything.
    one, other = (members(mask_probability=0.5).learn(7, progress=False) for _ in range(2))
    mask = np.random.default_rng(1).random((1, 8, 3)) < 0.5
    mask[:, 0] = False
    changed = batch.reward.copy()
    changed[:, 0] = 1000.0
    one._update(batch._replace(mask=mask))
    other._update(batch._replace(mask=mask, reward=changed))
    assert torch.equal(one._pair.vector, other._pair.vector)


def test_johannah_masks_are_as_rare_as_they_should_be():
    """Each member keeps a transition with the probability asked for, and keeps its choice."""
    agent = members(mask_probability=0.3, num_members=20, replay_capacity=1000, batch_size=400)
    agent.learn(399, progress=False)
    batch = agent._replay.sample(2000, [np.random.default_rng(0)])
    share = agent._replay._mask[:399].mean()
    assert abs(share - 0.3) < 5 * (0.21 / (399 * 20)) ** 0.5  # once in 10⁶
    by_position = {}
    for position, row in zip(batch.position[0].tolist(), batch.mask[0].tolist(), strict=True):
        assert by_position.setdefault(position, row) == row
    assert members().learn(9, progress=False)._replay._mask is None  # all data for all by default


def test_bsuite_46_fails_from_the_second_run_in_one_process():
    """State of one agent reached the next."""
    first, second = (members(seed=2).learn(60, progress=False) for _ in range(2))
    assert torch.equal(first._pair.vector, second._pair.vector)
    assert first.history == second.history


def test_bsuite_32_has_an_ensemble_of_one_by_default():
    """With one member there is no disagreement to explore by."""
    agent = BootstrappedDQN("CartPole-v1")
    assert agent.num_members == agent.network.num_members == 10
    assert agent.prior_scale > 0
    vectors = member_vectors(agent.network) + member_vectors(agent.network, "prior")
    assert len({tuple(v.tolist()) for v in vectors}) == 20


@pytest.mark.parametrize("env", ["CartPole-v1", "hunch/DeepSea-v0"])
def test_bsuite_jax_targets_begin_with_another_prior(env):
    """Until the first copy the target's prior was not the online network's, and bootstraps erred."""
    agent = BootstrappedDQN(env, num_members=3, hidden_sizes=(8,), batch_size=8)
    for until in (0, 30):
        agent.learn(until, progress=False)
        online, target = (
            {k: v for k, v in net.state_dict().items() if k.startswith(("prior", "scale"))}
            for net in (agent.network, agent.target_network)
        )
        assert online.keys() == target.keys()
        assert len(online) > 2
        assert all(torch.equal(value, target[name]) for name, value in online.items())
        if until == 0:
            before = {name: value.clone() for name, value in online.items()}
            models = [member_vectors(n) for n in (agent.network, agent.target_network)]
            assert all(map(torch.equal, *models))
        else:
            assert agent.updates > 0
            assert all(torch.equal(value, before[name]) for name, value in online.items())


def test_bsuite_defaults_disagree_and_members_run_one_after_another():
    """One algorithm, other defaults in each framework, ε among them; a loop over members."""
    agent = members(random_steps=0)
    assert not hasattr(agent, "epsilon")  # a member is followed, not ε
    agent._active[:] = 1
    x = np.random.default_rng(0).normal(size=(1, 1, 4)).astype(np.float32)
    with torch.no_grad():
        best = agent.network.member(1)(torch.from_numpy(x[0])).argmax().item()
    assert {agent.act(x, ~FIRST).item() for _ in range(20)} == {best}
    assert isinstance(agent.network, Ensemble)
    assert agent._pair.vector.numel() == sum(p.numel() for p in agent._pair.parameters)


@pytest.mark.parametrize("num_envs", [1, 3])
def test_bsuite_37_one_member_plays_a_whole_episode(num_envs):
    """Deep exploration needs one member from the first step to the last."""
    agent = members(num_members=8, num_envs=num_envs, seed=1)
    played, act = [], agent.act

    def watched(observation, is_first):
        actions = act(observation, is_first)
        played.append((is_first[0].copy(), agent._active[0].copy()))
        return actions

    agent.act = watched
    agent.learn(300, progress=False)
    for (_, before), (is_first, now) in itertools.pairwise(played):
        assert (is_first | (now == before)).all()
    assert len({member for is_first, now in played for member in now[is_first].tolist()}) > 3


def test_a_state_of_another_seed_brings_its_priors_along():
    """Of one-hot observations they are looked up in a table, which is in no state."""
    settings = {"env_kwargs": {"size": 4}, "num_members": 3, "hidden_sizes": (8,)}
    agent, other = (BootstrappedDQN("hunch/DeepSea-v0", seed=s, **settings) for s in (0, 1))
    cells = np.arange(16)[None]
    theirs = other._ensemble.prior(cells)
    assert not np.array_equal(agent._ensemble.prior(cells), theirs)
    agent.load_state_dict(other.state_dict())
    assert np.array_equal(agent._ensemble.prior(cells), theirs)


def test_what_is_not_set_fits_the_observations():
    dense, sea = BootstrappedDQN("CartPole-v1"), BootstrappedDQN("hunch/DeepSea-v0")
    assert (dense.loss, dense.random_steps, dense.update_period) == ("huber", 10_000, 4)
    assert (sea.loss, sea.random_steps, sea.update_period) == ("squared", 0, 1)
    given = BootstrappedDQN("hunch/DeepSea-v0", n_step=2, loss="huber", random_steps=7)
    assert (given.loss, given.random_steps, given.update_period) == ("huber", 7, 1)
    # Saved by value, so that another version's choice does not change a life that goes on.
    assert {"n_step": 5, "random_steps": 10_000, "loss": "huber"}.items() <= dense.settings.items()
    assert (dense.num_members, sea.num_members) == (10, 20)
    assert (dense.settings["hidden_sizes"], sea.settings["hidden_sizes"]) == ([128, 128], [50, 50])
    assert {"n_step": 2, "random_steps": 7, "loss": "huber"}.items() <= given.settings.items()
    assert None not in {given.settings[name] for name in ("target_update_period", "update_period")}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"loss": "absolute"}, "`loss` got 'absolute'; expected 'huber' or 'squared'"),
        ({"random_steps": -1}, "`random_steps` got -1"),
        ({"hidden_sizes": 8}, "`hidden_sizes` got 8; expected a list with the width of each"),
        ({"n_step": 0}, "`n_step` got 0"),
        ({"update_period": 0}, "`update_period` got 0"),
        ({"target_update_period": 0}, "`target_update_period` got 0"),
        ({"target_update_rate": 2.0}, "`target_update_rate` got 2.0"),
    ],
)
def test_what_is_out_of_range_is_named(given, message):
    with pytest.raises(ConfigurationError, match=message):
        members(**given)


@pytest.mark.parametrize("which", ["network", "prior"])
def test_what_is_no_network_is_named(which):
    with pytest.raises(ConfigurationError, match=r"a network was given as 5; expected a torch"):
        members(**{which: 5})


def test_members_begin_at_random_and_then_follow_one():
    agent = members(random_steps=1_000, min_replay_size=1_500, replay_capacity=5_000, n_step=1)
    followed, act = [], agent.act

    def watched(observation, is_first):
        actions = act(observation, is_first)
        followed.append(actions == agent._ensemble.best(agent._ensemble.stored(observation)))
        return actions

    agent.act = watched
    agent.learn(1_200, progress=False)
    other = ~np.concatenate(followed).reshape(-1)
    # Half of the random ones, of which there are 3/4 and then 1/4, are the member's; once in 10⁶.
    for part, share in ((other[:500], 0.375), (other[500:1_000], 0.125)):
        assert abs(part.mean() - share) < 5 * (share * (1 - share) / 500) ** 0.5
    assert not other[1_000:].any()


def test_transitions_are_drawn_by_the_largest_error_of_all_members():
    agent = members(prioritized=True, priority_exponent=0.5, n_step=1, min_replay_size=20)
    agent.learn(20, progress=False)
    assert agent.updates == 1
    batch = agent._replay.sample(8, agent._sampling, beta=0.0)
    assert set(batch.weight.ravel()) == {1.0}
    observation, following = (
        torch.from_numpy(x[0]) for x in (batch.observation, batch.next_observation)
    )
    with torch.no_grad():
        value = agent.network(observation)[:, torch.arange(8), torch.from_numpy(batch.action[0])]
        after = agent.target_network(following).amax(-1)
    target = torch.from_numpy(batch.reward[0]) + torch.from_numpy(batch.discount[0]) * after
    largest = (value - target).abs().amax(0).double().numpy()
    agent._update(batch)
    kept = agent._replay._priorities.tree.get(batch.position)[0]
    np.testing.assert_allclose(kept, (largest + 1e-6) ** 0.5, rtol=1e-4)
    assert agent.learn(60, progress=False).updates > 1


def test_members_are_not_drawn_by_errors_unless_asked():
    assert members()._replay._priorities is None
