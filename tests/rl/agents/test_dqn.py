import copy
import pickle

import gymnasium
import numpy as np
import pytest
import torch
from torch import nn

from hunch.errors import ConfigurationError, ShapeError
from hunch.nn import MLP, NoisyConv2d, NoisyLinear, RandomizedPrior, noise
from hunch.rl import DQN, Linear, Transitions, evaluate
from hunch.rl.networks.noise import FreshNoise
from hunch.rl.networks.target_network import NetworkPair, as_vector, clip
from hunch.rl.networks.value_networks import noisy_layers

FIRST = np.ones((1, 1), bool)
SMALL = {"hidden_sizes": (8, 8), "batch_size": 16, "min_replay_size": 16}


def weights(agent):
    return torch.cat([p.detach().flatten() for p in agent.network.parameters()])


def test_same_seed_same_weights_and_the_global_random_state_is_untouched():
    torch_before = torch.get_rng_state()
    numpy_before = pickle.dumps(np.random.get_state())  # noqa: NPY002
    agents = [
        DQN(
            "CartPole-v1", noisy=True, double=True, seed=seed, **SMALL, update_period=1, n_step=1
        ).learn(150, progress=False)
        for seed in (4, 4, 5)
    ]
    assert torch.equal(weights(agents[0]), weights(agents[1]))
    assert agents[0].history == agents[1].history
    assert agents[0].losses == agents[1].losses
    assert not torch.equal(weights(agents[0]), weights(agents[2]))
    assert torch.equal(torch_before, torch.get_rng_state())
    assert numpy_before == pickle.dumps(np.random.get_state())  # noqa: NPY002


@pytest.mark.parametrize("noisy", [False, True])
def test_looking_at_an_agent_does_not_change_what_it_becomes(noisy):
    watched, alone = (
        DQN("CartPole-v1", noisy=noisy, seed=1, **SMALL, update_period=1, n_step=1)
        for _ in range(2)
    )
    for until in range(40, 121, 40):
        watched.learn(until, progress=False)
        watched.predict(np.zeros(4))
        watched.predict(np.zeros((3, 4)), deterministic=False)
        evaluate(watched, episodes=2)
        evaluate(watched, episodes=1, deterministic=False)
    alone.learn(120, progress=False)
    assert torch.equal(weights(watched), weights(alone))


def test_learn_counts_the_steps_of_the_whole_life():
    agent = DQN("CartPole-v1", **SMALL, update_period=1, n_step=1)
    assert agent.learn(40, progress=False) is agent
    assert (agent.steps, agent.updates) == (40, 25)
    agent.learn(40, progress=False)
    assert agent.steps == 40
    agent.learn(60, progress=False)
    assert agent.steps == 60
    with pytest.raises(ConfigurationError, match="`steps` got -1"):
        agent.learn(-1)


def test_periods_count_what_they_say():
    agent = DQN(
        "CartPole-v1",
        noisy=True,
        update_period=3,
        target_update_period=5,
        target_update_rate=1.0,
        **SMALL,
        n_step=1,
    )
    agent.learn(16 + 3 * 4 + 1, progress=False)  # updates at steps 18, 21, 24, 27
    assert agent.updates == 4
    assert not torch.equal(agent._pair.target_vector, agent._pair.vector)
    before = agent._pair.target_vector.clone()
    agent.learn(30, progress=False)
    assert agent.updates == 5
    assert torch.equal(agent._pair.target_vector, agent._pair.vector)
    assert not torch.equal(agent._pair.target_vector, before)


def test_a_round_has_as_many_updates_as_asked_for():
    agent = DQN("CartPole-v1", update_period=3, updates_per_round=4, **SMALL, n_step=1)
    agent.learn(16 + 3 * 2 + 1, progress=False)  # rounds at steps 18 and 21
    assert agent.updates == 8


def test_target_moves_by_its_rate():
    agent = DQN(
        "CartPole-v1",
        target_update_period=1,
        target_update_rate=0.25,
        **SMALL,
        update_period=1,
        n_step=1,
    )
    agent.learn(15, progress=False)
    before = agent._pair.target_vector.clone()
    agent.learn(16, progress=False)
    moved = before + 0.25 * (weights(agent) - before)
    assert torch.allclose(agent._pair.target_vector, moved, atol=1e-7)


def test_buffers_reach_the_target_network():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(4, 2)
            self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

        def forward(self, x):
            self.calls += 1
            return self.linear(x)

    agent = DQN(
        "CartPole-v1",
        network=Counting,
        epsilon=0.0,
        target_update_period=10,
        target_update_rate=1.0,
        **SMALL,
        update_period=1,
        n_step=1,
    )
    agent.learn(25, progress=False)
    assert agent.target_network.calls > 25


# Noise


@pytest.mark.parametrize("parts", [1, 3])
def test_every_forward_has_noise_of_its_own(parts):
    settings = {**SMALL, "update_period": 1, "n_step": 1, "noise_draws": parts}
    agent = DQN("CartPole-v1", noisy=True, double=True, seed=0, **settings)
    seen = {"online": [], "target": []}
    for name, net in (("online", agent.network), ("target", agent.target_network)):
        for layer in noisy_layers(net):
            layer.register_forward_pre_hook(
                lambda layer, _, name=name: seen[name].append(layer._given[0].clone())
            )
    agent.learn(16 + 40, progress=False)
    layers, updates = 2, agent.updates * parts
    assert agent.updates == 41
    assert len(seen["target"]) == layers * updates
    assert len(seen["online"]) == layers * (2 * updates + agent.steps)  # loss, choice, action
    draws = {tuple(draw.tolist()) for draws in seen.values() for draw in draws}
    assert len(draws) == layers * (3 * updates + agent.steps)


def gradients(agent, batch, times):
    found = []
    for _ in range(times):
        compiled = agent._compiled and agent._compiled.gradient(
            batch, agent.double, agent.noise_draws
        )
        if not compiled:
            agent._gradient(batch)
        found.append(agent._pair.gradient.clone())
    return torch.stack(found)


@pytest.mark.parametrize("fast", [True, False])
def test_draws_divide_the_variance_that_noise_has(fast):
    # Of rows that are all alike each part's gradient is as noisy as that of the whole batch would
    # be, so that k draws have a k-th of its variance. Over 20 seeds the ratio was 15.8 on average,
    # with a standard deviation of 0.5.
    variances = []
    for draws in (1, 16):
        agent = DQN("CartPole-v1", noisy=True, seed=5, fast=fast, noise_draws=draws, **SMALL)
        batch = agent.learn(15, progress=False)._replay.sample(16, agent._sampling)
        assert agent.updates == 0
        alike = {
            name: np.ascontiguousarray(np.broadcast_to(value[:, :1], value.shape))
            for name, value in batch._asdict().items()
            if isinstance(value, np.ndarray)
        }
        variances.append(gradients(agent, batch._replace(**alike), 600).var(0).sum())
    assert 12 < variances[0] / variances[1] < 20


def test_how_many_draws_there_are_if_nothing_is_said():
    def draws(**how):
        return DQN("CartPole-v1", **how).noise_draws

    assert [draws(), draws(noise_draws=4)] == [1, 1]  # without noise
    assert [draws(noisy=True), draws(noisy=True, batch_size=5)] == [16, 5]
    assert draws(noisy=True, noise_draws=4, dueling=True) == 4
    assert draws(noisy=True, dueling=True) == draws(noisy=True, distributional="quantile") == 1
    images = gymnasium.spaces.Box(0, 1, (6, 6))
    made = gymnasium.make("CartPole-v1")
    shown = gymnasium.wrappers.TransformObservation(made, lambda x: np.zeros((6, 6)), images)
    assert DQN(lambda: shown, noisy=True).noise_draws == 1
    for wrong in (0, 129, 1.5):
        with pytest.raises(ConfigurationError, match="noise_draws"):
            draws(noisy=True, noise_draws=wrong)


def test_the_target_network_is_in_training_mode_and_noisy():
    agent = DQN("CartPole-v1", noisy=True, seed=0, **SMALL, update_period=1, n_step=1).learn(
        20, progress=False
    )
    assert all(module.training for module in agent.target_network.modules())
    x = torch.ones(1, 1, 4)
    assert not torch.equal(agent._target(x), agent._target(x))
    assert not any(p.requires_grad for p in agent.target_network.parameters())


def test_stds_learn():
    agent = DQN("CartPole-v1", noisy=True, seed=0, **SMALL, update_period=1, n_step=1).learn(
        100, progress=False
    )
    layers = noisy_layers(agent.network)
    assert [type(m) for m in agent.network] == [
        nn.Linear, nn.ReLU, NoisyLinear, nn.ReLU, NoisyLinear
    ]  # fmt: skip
    for layer in layers:
        assert layer.weight_sigma.std() > 0  # all alike at first
        assert layer.bias_sigma.std() > 0


def test_acting_builds_no_graph():
    agent = DQN("CartPole-v1", noisy=True, seed=0, **SMALL, update_period=1, n_step=1)
    outputs = []
    agent.network.register_forward_hook(lambda *args: outputs.append(args[2].requires_grad))
    agent.act(np.zeros((1, 1, 4), np.float32), FIRST)
    agent.predict(np.zeros(4))
    assert outputs == [False, False]


def test_fresh_noise_has_the_distribution_of_the_layer():
    layer = NoisyLinear(3, 2, generator=torch.Generator().manual_seed(0))
    fresh, x = (
        FreshNoise(layer, [torch.Generator().manual_seed(1)]),
        torch.tensor([[1.0, -2.0, 0.5]]),
    )
    with torch.no_grad():
        drawn = torch.cat([fresh(x) for _ in range(5_000)])
        variance = (2 / torch.pi) * layer.weight_sigma**2 @ (x[0] ** 2)
        variance += (2 / torch.pi) ** 0.5 * layer.bias_sigma**2
        mean = nn.functional.linear(x, layer.weight, layer.bias)[0]
    # Six standard errors of the mean; the variance of these products of normals within 20 %.
    assert torch.allclose(drawn.mean(0), mean, atol=6 * (variance.max() / 5_000).sqrt().item())
    assert torch.allclose(drawn.var(0), variance, rtol=0.2)


def test_fresh_noise_serves_layers_with_noise_per_sample():
    net = nn.Sequential(NoisyLinear(2, 3), NoisyLinear(3, 1, per_sample=True))
    fresh = FreshNoise(net.eval(), [torch.Generator().manual_seed(0)])
    rows = fresh(torch.ones(5, 2)).flatten().tolist()
    assert len(set(rows)) == 5
    assert not net.training


def test_predict_uses_the_means_or_a_draw():
    agent = DQN("CartPole-v1", noisy=True, seed=0, **SMALL, update_period=1, n_step=1)
    rng = np.random.default_rng(0)
    observations = rng.normal(size=(200, 4)).astype(np.float32)
    with torch.no_grad(), noise(agent.network, "off"):
        best = agent.network(torch.from_numpy(observations)).argmax(1).numpy()
    assert np.array_equal(agent.predict(observations), best)
    assert [agent.predict(observation) for observation in observations[:5]] == best[:5].tolist()
    explored = [agent.predict(observations, deterministic=False) for _ in range(20)]
    assert any(not np.array_equal(actions, best) for actions in explored)
    assert agent.network.training


# ε-greedy


def test_epsilon_greedy_explores_as_often_as_it_says():
    agent = DQN("CartPole-v1", epsilon=0.5, seed=0, **SMALL, update_period=1, n_step=1)
    best = agent.predict(np.zeros(4))
    actions = agent.predict(np.zeros((4000, 4)), deterministic=False)
    other = float(np.mean(actions != best))
    assert abs(other - 0.25) < 5 * (0.25 * 0.75 / 4000) ** 0.5  # once in 10⁶
    acts = [agent.act(np.zeros((1, 1, 4), np.float32), FIRST).item() for _ in range(1000)]
    assert abs(np.mean(np.array(acts) != best) - 0.25) < 5 * (0.25 * 0.75 / 1000) ** 0.5


def test_a_noisy_agent_begins_at_random_and_then_has_noise_alone():
    def always_first():
        layer = NoisyLinear(4, 2, std_init=0.0)
        with torch.no_grad():
            layer.weight.zero_()
            layer.bias.copy_(torch.tensor([1.0, 0.0]))
        return layer

    settings = {**SMALL, "min_replay_size": 1_500, "replay_capacity": 5_000, "n_step": 1}
    agent = DQN("CartPole-v1", noisy=True, network=always_first, random_steps=1_000, **settings)
    agent.learn(1_200, progress=False)
    assert agent.updates == 0
    action = agent._replay.state_dict()["action"].reshape(-1)[:1_200]
    # A share of 3/4 and of 1/4 at random, half of which is the other action; once in 10⁶.
    for part, share in ((action[:500], 0.375), (action[500:1_000], 0.125)):
        assert abs(part.mean() - share) < 5 * (share * (1 - share) / 500) ** 0.5
    assert not action[1_000:].any()
    with pytest.raises(ConfigurationError, match="random_steps"):
        DQN("CartPole-v1", noisy=True, random_steps=-1)


def test_schedules_follow_environment_steps():
    agent = DQN(
        "CartPole-v1",
        epsilon=0.0,
        learning_rate=Linear(1e-2, 0.0, steps=50),
        **SMALL,
        update_period=1,
        n_step=1,
    )
    agent.learn(50, progress=False)
    before = weights(agent)
    agent.learn(60, progress=False)
    assert torch.equal(before, weights(agent))


# Targets


@pytest.mark.parametrize(("truncates", "worth"), [(True, 2.0), (False, 1.0)])
def test_termination_stops_the_bootstrap_and_a_time_limit_does_not(steady, truncates, worth):
    agent = DQN(
        steady(length=1, truncates=truncates),
        discount=0.5,
        learning_rate=0.01,
        target_update_period=10,
        target_update_rate=1.0,
        network=lambda: MLP(2, [16], 2),
        seed=0,
        batch_size=16,
        min_replay_size=16,
        update_period=1,
        n_step=1,
    ).learn(600, progress=False)
    # A step is worth 1 and, where only a time limit ended it, as much again discounted, in the
    # observation behind it, which the agent never acts in: its values there are whatever its network says.
    with torch.no_grad():
        q = agent.network(torch.tensor([[1.0, 0.0], [1.0, 0.5]]))
    behind = q[1].max().item()
    expected = 1.0 + 0.5 * behind if truncates else worth
    assert q[0].max().item() == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("fast", [False, True])
def test_loss_equals_the_formula_row_by_row(double, fast):
    agent = DQN(
        "CartPole-v1",
        double=double,
        fast=fast,
        discount=0.9,
        seed=0,
        **SMALL,
        update_period=1,
        n_step=1,
    )
    agent._pair.target_vector.mul_(-1.5)  # so that the two networks prefer different actions
    rng = np.random.default_rng(0)
    first, following = rng.normal(size=(2, 20, 4)).astype(np.float32)
    batch = Transitions(
        first[None],
        rng.integers(2, size=(1, 20)),
        rng.normal(size=(1, 20)).astype(np.float32),
        following[None],
        (0.9 * (rng.random((1, 20)) < 0.7)).astype(np.float32),
        None,
        np.zeros((1, 20), np.int64),
    )
    with torch.no_grad():
        q, q_next = (
            agent.network(torch.from_numpy(first)),
            agent.network(torch.from_numpy(following)),
        )
        evaluated = agent.target_network(torch.from_numpy(following))
    losses, errors = [], []
    for i in range(20):
        a = int((q_next if double else evaluated)[i].argmax())
        target = batch.reward[0, i] + batch.discount[0, i] * evaluated[i, a].item()
        error = abs(q[i, batch.action[0, i]].item() - target)
        losses.append(error**2 / 2 if error < 1 else error - 0.5)
        errors.append(error)
    assert (q_next.argmax(1) != evaluated.argmax(1)).any()
    with torch.no_grad():
        output, here = (agent._online(torch.from_numpy(x[None])) for x in (first, following))
        there = agent._target(torch.from_numpy(batch.next_observation))
        loss, _, error = agent._loss(output, there, here if double else None, batch)
    assert loss == pytest.approx(np.mean(losses), rel=1e-5)
    assert error[0].tolist() == pytest.approx(errors, rel=1e-4)


def test_gradient_norm_is_limited():
    agent = DQN("CartPole-v1", max_gradient_norm=1e-3, **SMALL, update_period=1, n_step=1).learn(
        30, progress=False
    )
    assert agent._pair.gradient.norm().item() == pytest.approx(1e-3, rel=1e-4)


def test_vector_and_parameters_are_the_same_memory():
    net = nn.Sequential(nn.Linear(3, 4), NoisyLinear(4, 2))
    before = copy.deepcopy(net.state_dict())
    vector = as_vector(list(net.parameters()))
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())
    vector += 1
    assert all(torch.allclose(before[k] + 1, v) for k, v in net.state_dict().items())
    net.load_state_dict(before)
    assert torch.equal(vector, torch.cat([p.detach().flatten() for p in net.parameters()]))


def test_steps_of_the_pair_equal_adam():
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    by_hand = copy.deepcopy(net)
    pair, adam = NetworkPair(net), torch.optim.Adam(by_hand.parameters(), lr=0.01)
    for _ in range(5):
        adam.zero_grad()
        by_hand(torch.ones(5, 3)).square().sum().backward()
        adam.step()
        gradients = torch.autograd.grad(net(torch.ones(5, 3)).square().sum(), pair.parameters)
        pair.gradient.copy_(torch.cat([gradient.flatten() for gradient in gradients]))
        pair.step(learning_rate=0.01)
    for ours, theirs in zip(net.parameters(), by_hand.parameters(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-7)


def test_each_member_is_clipped_by_itself():
    gradients = [torch.tensor([[3.0, 0.0], [0.3, 0.0]]), torch.tensor([[4.0], [0.4]])]
    clip(gradients, max_norm=1.0)
    assert torch.allclose(gradients[0], torch.tensor([[0.6, 0.0], [0.3, 0.0]]))
    assert torch.allclose(gradients[1], torch.tensor([[0.8], [0.4]]))
    zero = torch.zeros(1, 3)
    clip([zero], max_norm=1.0)
    assert zero.tolist() == [[0.0, 0.0, 0.0]]


# Learning


@pytest.mark.parametrize("noisy", [False, True])
@pytest.mark.parametrize("double", [False, True])
def test_it_learns_to_match(matching, noisy, double):
    agent = DQN(
        matching(start=5),
        noisy=noisy,
        double=double,
        discount=0.5,
        learning_rate=1e-2,
        epsilon=0.2,
        target_update_period=20,
        target_update_rate=1.0,
        hidden_sizes=(32, 32),
        batch_size=32,
        seed=0,
        update_period=1,
        n_step=1,
    ).learn(600, progress=False)
    assert set(agent._first_env.actions) == {5, 6}
    assert evaluate(agent, episodes=20, seed=1).returns.tolist() == [5.0] * 20


# Networks


def test_a_network_may_be_given_or_made():
    made = DQN("CartPole-v1", network=lambda: nn.Linear(4, 2), seed=3, update_period=1, n_step=1)
    again = DQN("CartPole-v1", network=lambda: nn.Linear(4, 2), seed=3, update_period=1, n_step=1)
    assert torch.equal(weights(made), weights(again))
    given = MLP(4, [6], 2)
    assert DQN("CartPole-v1", network=given, update_period=1, n_step=1).network is given
    assert (
        len(
            noisy_layers(
                DQN("CartPole-v1", network=given, noisy=True, update_period=1, n_step=1).network
            )
        )
        == 2
    )
    mixed = nn.Sequential(nn.Linear(4, 3), NoisyLinear(3, 2))
    assert (
        len(
            noisy_layers(
                DQN("CartPole-v1", network=mixed, noisy=True, update_period=1, n_step=1).network
            )
        )
        == 1
    )


def test_frozen_parameters_stay_as_they_are():
    def network():
        return RandomizedPrior(MLP(4, [8], 2), prior=MLP(4, [8], 2))

    agent = DQN("CartPole-v1", network=network, seed=0, **SMALL, update_period=1, n_step=1)
    before = copy.deepcopy(agent.network.state_dict())
    agent.learn(200, progress=False)
    for name, value in agent.network.state_dict().items():
        assert torch.equal(value, before[name]) == (not name.startswith("model."))
        if not name.startswith("model."):
            assert torch.equal(value, agent.target_network.state_dict()[name])


def test_images_stay_small_in_memory_and_reach_a_noisy_convolution(steady):
    class Images(gymnasium.ObservationWrapper):
        observation_space = gymnasium.spaces.Box(0, 255, (3, 6, 6), np.uint8)

        def observation(self, observation):
            return np.full((3, 6, 6), 200, np.uint8)

    net = nn.Sequential(NoisyConv2d(3, 2, 3), nn.Flatten(), nn.Linear(32, 2))
    agent = DQN(
        Images(steady()),
        noisy=True,
        network=net,
        batch_size=8,
        min_replay_size=8,
        update_period=1,
        n_step=1,
    )
    agent.learn(20, progress=False)
    assert agent._replay.sample(1, [np.random.default_rng(0)]).observation.dtype == np.uint8
    flat = DQN(
        Images(steady()), noisy=True, batch_size=8, min_replay_size=8, update_period=1, n_step=1
    )
    assert flat.learn(20, progress=False).predict(np.zeros((3, 6, 6))) in (0, 1)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (nn.Linear(3, 2), r"cannot take a batch of one observation.*\(1, 4\)"),
        (nn.Linear(4, 3), r"returned shape \(1, 3\).*expected \(1, 2\)"),
        (nn.Linear(4, 2).requires_grad_(False), "`network` has nothing to train"),
        (lambda: 7, "`network` made 7"),
    ],
)
def test_networks_that_do_not_fit(network, message):
    with pytest.raises(ConfigurationError, match=message):
        DQN("CartPole-v1", network=network, update_period=1, n_step=1)


# Misuse


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("discount", 1.01),
        ("discount", -0.1),
        ("learning_rate", -1e-3),
        ("learning_rate", float("nan")),
        ("learning_rate", Linear(1e-3, -1e-3, steps=5)),
        ("epsilon", 1.5),
        ("epsilon", Linear(2.0, 0.0, steps=5)),
        ("batch_size", 0),
        ("replay_capacity", 2.5),
        ("min_replay_size", 0),
        ("update_period", 0),
        ("updates_per_round", 0),
        ("target_update_period", "often"),
        ("target_update_rate", 0.0),
        ("target_update_rate", 1.1),
        ("max_gradient_norm", 0),
        ("max_gradient_norm", float("nan")),
        ("hidden_sizes", (8, 0)),
        ("seed", -1),
    ],
)
def test_numbers_that_cannot_work(name, value):
    with pytest.raises(ConfigurationError, match=f"`{name}` got"):
        DQN("CartPole-v1", **{name: value})


def test_more_misuse_is_named():
    with pytest.raises(ConfigurationError, match=r"`min_replay_size` got 60.*`replay_capacity`=50"):
        DQN(
            "CartPole-v1",
            replay_capacity=50,
            batch_size=16,
            min_replay_size=60,
            update_period=1,
            n_step=1,
        )
    with pytest.raises(ConfigurationError, match="`device` got 'toaster'"):
        DQN("CartPole-v1", device="toaster", update_period=1, n_step=1)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 2, 4), (0,)])
def test_wrong_observation_shapes(shape):
    agent = DQN("CartPole-v1", **SMALL, update_period=1, n_step=1)
    with pytest.raises(ShapeError, match=r"`observation` got shape .*; expected \(4,\) or a batch"):
        agent.predict(np.zeros(shape))


def test_steps_that_nobody_set_fit_the_agent():
    assert DQN("CartPole-v1").settings["n_step"] == 5
    assert DQN("CartPole-v1", double=True, prioritized=True).settings["n_step"] == 5
    assert DQN("CartPole-v1", noisy=True).settings["n_step"] == 3
    assert DQN("CartPole-v1", distributional=True).settings["n_step"] == 3
    assert DQN("hunch/DeepSea-v0", env_kwargs={"size": 5}).settings["n_step"] == 3  # an image
    agent = DQN("CartPole-v1", noisy=True, n_step=2)
    assert (agent.settings["n_step"], agent._replay.n_step) == (2, 2)
