"""Members that are tables: what an update is, what it leaves alone, and what is refused."""

import gymnasium
import numpy as np
import pytest
import torch

from hunch.errors import ConfigurationError
from hunch.kernel import kernel
from hunch.rl import BootstrappedDQN, StopWhenSolved, evaluate

SIZE = 5
EVERYWHERE = ["hunch.rl.fast.one_hot_layer.kernel", "hunch.nn.compiled_chain.kernel"]


def tables(**kwargs):
    settings = {"hidden_sizes": (), "num_members": 3, "batch_size": 16, "learning_rate": 0.3}
    settings["env_kwargs"] = {"size": SIZE, "mapping_seed": 1}
    return BootstrappedDQN("hunch.envs:hunch/DeepSea-v0", **settings | kwargs)


def values_of(network, agent):
    """`(replicas, members, cells and none, actions)`: zeros alone have no values."""
    with torch.no_grad():
        q = network(torch.eye(SIZE**2).view(-1, SIZE, SIZE)).numpy().astype(np.float64)
    q = q.reshape(agent.replicas, agent.num_members, SIZE**2, -1)
    return np.concatenate([q, np.zeros_like(q[:, :, :1])], axis=2)


def moved(agent, batch, rate):
    """Where a batch moves each value: by hand, one transition after another."""
    q, target = (values_of(net, agent) for net in (agent.network, agent.target_network))
    change, times = np.zeros_like(q), np.zeros_like(q)
    for r in range(agent.replicas):
        for i, cell in enumerate(batch.observation[r]):
            following, action = batch.next_observation[r, i], batch.action[r, i]
            for k in range(agent.num_members):
                best = target[r, k, following].max()
                if agent.double:
                    best = target[r, k, following, q[r, k, following].argmax()]
                error = batch.reward[r, i] + batch.discount[r, i] * best - q[r, k, cell, action]
                if batch.mask is not None and not batch.mask[r, i, k]:
                    continue
                if batch.weight is not None:
                    error *= batch.weight[r, i]
                change[r, k, cell, action] += error
                times[r, k, cell, action] += 1
    return q + rate * change / np.maximum(times, 1)


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize(
    "given",
    [
        {},
        {"double": True, "replicas": 2},
        {"mask_probability": 0.5, "num_envs": 2},
        {"prioritized": True, "priority_correction": 0.5},
    ],
)
def test_values_go_towards_the_mean_target_of_their_batch(given, compiled, monkeypatch):
    if compiled and kernel() is None:
        pytest.skip("hunch was installed without the kernel")
    if not compiled:
        for place in EVERYWHERE:
            monkeypatch.setattr(place, lambda: None)
    agent = tables(target_update_period=3, **given).learn(40, progress=False)
    assert agent.updates > 10
    for _ in range(4):
        batch = agent._replay.sample(16, agent._sampling, 0.5)
        assert len(np.unique(batch.observation[0])) < 16  # some cells several times
        expected = moved(agent, batch, 0.3)
        agent._update(batch)
        np.testing.assert_allclose(values_of(agent.network, agent), expected, atol=2e-6)


def test_what_was_never_done_is_worth_the_prior():
    """To the bit, however much was learned of everything else: a network would have moved it."""
    agent = tables().learn(200, progress=False)
    done = np.zeros((SIZE**2, 2), bool)
    done[agent._replay._observation[:200].ravel(), agent._replay._action[:200].ravel()] = True
    assert 0.2 < done.mean() < 1
    before = tables()
    ours, prior = values_of(agent.network, agent)[0], values_of(before.network, before)[0]
    same = (ours == prior)[:, :-1]
    assert same[:, ~done].all()
    assert not same[:, done].all()
    assert [p.abs().sum() for n, p in before.network.named_parameters() if "model" in n] == [0.0]


def test_priors_are_standard_normal():
    """2,500 values, of which the mean is within 4.5 standard errors in all but 7 of a million."""
    agent = BootstrappedDQN(
        "hunch.envs:hunch/DeepSea-v0", env_kwargs={"size": 25}, hidden_sizes=(), num_members=2
    )
    assert agent.prior_scale == 1.0
    (prior,) = (p for n, p in agent.network.named_parameters() if "prior" in n)
    assert abs(prior.mean()) < 4.5 * prior.numel() ** -0.5
    assert abs(prior.var() - 1) < 4.5 * (2 / prior.numel()) ** 0.5


def test_replicas_are_agents_of_their_own():
    both = tables(replicas=2, seed=3).learn(60, progress=False)
    for r in range(2):
        alone = tables(seed=3 + r).learn(60, progress=False)
        np.testing.assert_array_equal(
            values_of(both.network, both)[r], values_of(alone.network, alone)[0]
        )


def test_a_saved_agent_goes_on_to_the_same_bits(tmp_path):
    agent = tables(seed=2).learn(50, progress=False)
    agent.save(tmp_path / "agent")
    other = BootstrappedDQN.load(tmp_path / "agent")
    assert other.settings == agent.settings
    for each in (agent, other):
        assert each.learn(90, progress=False).updates > 60
    for ours, theirs in zip(agent.network.parameters(), other.network.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_new_weights_are_acted_on():
    agent = tables(num_members=1).learn(30, progress=False)
    first = np.ones((1, 1), bool)
    observation = np.zeros((1, 1, SIZE, SIZE), np.float32)
    observation[..., 0, 0] = 1.0
    weights = agent.network.state_dict()
    (name,) = (n for n in weights if "model" in n and n.endswith("weight"))
    for action in (0, 1):
        weights[name] = torch.zeros_like(weights[name])
        weights[name][:, action] = 100.0
        agent.network.load_state_dict(weights)
        assert agent.act(observation, first).item() == action
    agent._update(agent._replay.sample(16, agent._sampling))  # and bootstrapped from, at once
    target = values_of(agent.target_network, agent)
    np.testing.assert_array_equal(target, values_of(agent.network, agent))
    assert (target[0, 0, :-1, 1] > 20).sum() > SIZE**2 / 2


def test_values_with_certain_rewards_are_known_after_one_step_of_size_1():
    """Of each action, however seldom it is drawn beside others in the same state."""

    class Bandit(gymnasium.Env):
        observation_space = gymnasium.spaces.Discrete(1)
        action_space = gymnasium.spaces.Discrete(4)

        def reset(self, *, seed=None, options=None):
            return 0, {}

        def step(self, action):
            return 0, 1.0 + action, True, False, {}

    agent = BootstrappedDQN(
        Bandit, hidden_sizes=(), learning_rate=1.0, prior_scale=0.0, random_steps=10**9
    ).learn(512, progress=False)
    assert agent.updates == 1
    q = agent.network(torch.ones(1, 1))
    torch.testing.assert_close(q.squeeze(1), torch.tensor([[1.0, 2.0, 3.0, 4.0]]).expand(20, 4))


def test_what_is_not_set_fits_tables():
    agent = BootstrappedDQN("hunch.envs:hunch/DeepSea-v0", hidden_sizes=())
    assert (agent.num_members, agent.prior_scale, agent.learning_rate) == (20, 1.0, 0.5)
    assert (agent.batch_size, agent.settings["target_update_period"]) == (512, 1)
    # Elsewhere no hidden layer is a linear map, as ever.
    linear = BootstrappedDQN("CartPole-v1", hidden_sizes=())
    assert (linear.batch_size, linear.learning_rate, linear.prior_scale) == (128, 1e-3, 10.0)


@pytest.mark.parametrize(
    "given",
    [
        {"fast": False},
        {"max_gradient_norm": 1.0},
        {"target_update_rate": 0.5},
        {"learning_rate": 1.5},
    ],
)
def test_what_tables_cannot_be_is_said(given):
    with pytest.raises(ConfigurationError, match="expected"):
        tables(**given)


def test_numbers_of_states_have_no_scale():
    with pytest.raises(ConfigurationError, match=r"`normalize` got True for members that are tab"):
        BootstrappedDQN("FrozenLake-v1", hidden_sizes=(), normalize=True)


def test_a_small_sea_is_solved():
    """Seeds 0 to 9 need 74 to 113 episodes."""
    agent = tables(num_members=20, batch_size=512, learning_rate=0.5, env_kwargs={"size": 10})
    stop = StopWhenSolved(every=10)
    agent.learn(2_000, callbacks=[stop], progress=False)
    assert stop.solved[0] is not None


def test_numbers_of_states_are_rows_too():
    """CliffWalking's best way is 13 steps long; seeds 0 to 2 know it after 2,000 steps."""
    settings = {"hidden_sizes": (), "env_kwargs": {"max_episode_steps": 200}, "seed": 0}
    agent = BootstrappedDQN("CliffWalking-v1", **settings).learn(2_000, progress=False)
    assert evaluate(agent, 2).mean_return == -13.0
    assert agent.predict(36) == 0  # up, from the start
    q = agent.network(torch.eye(48)).mean(0)
    assert q[36].argmax() == 0


def test_values_of_priors_are_the_same_in_parts(monkeypatch):
    whole = tables()._ensemble.prior(np.arange(SIZE**2 + 1)[None])
    monkeypatch.setattr("hunch.rl.value_ensembles.value_ensemble._CELLS_AT_ONCE", 7)
    parts = tables()._ensemble.prior(np.arange(SIZE**2 + 1)[None])
    assert (whole[0, :-1] != 0).all()
    assert (whole[0, -1] == 0).all()
    np.testing.assert_array_equal(parts, whole)
