"""One test for each bug found in other libraries of the kind, named after where it was found.

The list with its sources is not repeated here; what each one was stands in the first line of its
test. What is tested is always hunch's own code.
"""

import copy
import itertools

import gymnasium
import numpy as np
import pytest
import torch
from torch import nn

import hunch.envs  # noqa: F401 registers them
from hunch.nn import Ensemble, NoisyLinear, noise, noisy, reset_noise
from hunch.rl import DQN, BootstrappedDQN, Linear, Replay
from hunch.rl.networks.value_networks import noisy_layers
from hunch.rl.replay.sum_tree import SumTree
from hunch.rl.replay.transitions import Step

FIRST = np.ones((1, 1), bool)
SMALL = {"hidden_sizes": (16, 16), "batch_size": 16}


def noisy_agent(**kwargs):
    return DQN("CartPole-v1", noisy=True, **{**SMALL, **kwargs})


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


# 1-13: noise


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


def test_independent_layers_start_as_the_paper_says():
    """Few have σ = 0.017 and means within √(3/p)."""
    layer = NoisyLinear(48, 500, noise="independent")
    assert set(layer.weight_sigma.flatten().tolist()) == {np.float32(0.017).item()}
    assert layer.weight.abs().max() <= 0.25
    assert layer.weight.abs().max() > 0.24


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


def test_notebook_and_torchrl_reset_noise_between_forward_and_backward():
    """Noise written in place under a graph that needed it was an error."""
    net = noisy(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)))
    with noise(net, "held"):
        reset_noise(net)
        first = net(torch.ones(3, 4)).sum()
        reset_noise(net)
        second = net(torch.ones(3, 4)).sum()  # two forwards, one backward
        reset_noise(net)
        (first + second).backward()
    assert net[2].weight_sigma.grad.abs().max() > 0


def test_torchrl_3002_cuda_graphs_replay_the_same_noise():
    """A captured graph froze its own draws: noise can be an input, and then nothing is drawn."""
    layer = NoisyLinear(4, 2)
    draws = [layer.draw() for _ in range(2)]
    before = torch.get_rng_state()
    outputs = []
    for draw in (*draws, draws[0]):
        with layer.using(draw):
            outputs.append(layer(torch.ones(1, 4)))
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(outputs[0], outputs[2])
    assert not torch.equal(outputs[0], outputs[1])


# 14-16: replay and targets


def one_step(t, *, reward=0.0, terminated=False, truncated=False, valid=True):
    """Step t of one environment, whose observations are t and, true and last, t + 0.5."""

    def one(value, kind):
        return np.array([[value]], kind)

    ended = terminated or truncated
    return Step(
        one([t], np.float32),
        one(t, np.int64),
        one(reward, np.float32),
        one([t + 0.5 if ended else t + 1], np.float32),
        one(terminated, bool),
        one(truncated, bool),
        one(valid, bool),
    )


def drawn(replay, count=2000):
    """What is drawn, by action: reward, discount and next observation."""
    batch = replay.sample(count, [np.random.default_rng(0)])
    fields = (batch.action, batch.reward, batch.discount, batch.next_observation[..., 0])
    return {
        int(a): tuple(map(float, rest)) for a, *rest in zip(*(f[0] for f in fields), strict=True)
    }


@pytest.mark.parametrize("alpha", [None, 0.5])
def test_cleanrl_nstep_loses_the_last_transitions_and_crosses_truncation(alpha):
    """The last n - 1 steps of an episode were never stored; a window went on past a time limit."""
    replay = Replay(100, (1,), n_step=3, discount=0.5, priority_exponent=alpha)
    for t in range(12):
        replay.add(one_step(t, reward=1.0, terminated=t == 4, truncated=t == 8))
    rows = drawn(replay)
    assert sorted(rows) == list(range(10))
    assert [rows[t][:2] for t in (2, 3, 4)] == [(1.75, 0.0), (1.5, 0.0), (1.0, 0.0)]
    assert [rows[t] for t in (6, 7, 8)] == [(1.75, 0.125, 8.5), (1.5, 0.25, 8.5), (1.0, 0.5, 8.5)]


def test_curt_park_8_9_66_and_ray_2737_bootstrap_over_n_steps_with_gamma_to_the_one():
    """After n rewards the value is worth γⁿ, and after fewer as many as there were."""
    replay = Replay(100, (1,), n_step=4, discount=0.9)
    for t in range(9):
        replay.add(one_step(t, reward=10.0**-t, truncated=t == 6))
    rows = drawn(replay)
    for t, steps in ((0, 4), (2, 4), (3, 4), (4, 3), (5, 2)):
        reward, discount, _ = rows[t]
        expected = sum(0.9**j * 10.0 ** -(t + j) for j in range(steps))
        assert reward == pytest.approx(expected, rel=1e-5)
        assert discount == pytest.approx(0.9**steps)


@pytest.mark.parametrize("alpha", [None, 0.6])
def test_curt_park_88_never_samples_the_last_item(alpha):
    """An index was one too small, so that the newest transition was never drawn."""
    for count in (1, 2, 9, 10, 11, 25):
        replay = Replay(10, (1,), priority_exponent=alpha)
        for t in range(count):
            replay.add(one_step(t))
        assert sorted(drawn(replay)) == list(range(max(0, count - 10), count))


def test_tianshou_386_keeps_beta_fixed():
    """Importance weights must undo the preference in full by the end."""
    agent = DQN(
        "CartPole-v1", prioritized=True, priority_correction=Linear(0.4, 1.0, steps=60), **SMALL
    )
    betas, sample = [], agent._replay.sample

    def watched(batch_size, rngs, beta):
        betas.append(beta)
        return sample(batch_size, rngs, beta)

    agent._replay.sample = watched
    agent.learn(80, progress=False)
    assert betas[0] == pytest.approx(0.4 + 0.6 * 16 / 60)
    assert betas == sorted(betas)
    assert betas[-20:] == [1.0] * 20
    assert DQN("CartPole-v1").priority_correction == Linear(0.4, 1.0, steps=100_000)
    batch = sample(64, [np.random.default_rng(0)], 0.7)
    assert batch.weight.max() == 1.0
    assert batch.weight.min() < 1.0


@pytest.mark.parametrize("alpha", [None, 0.6])
def test_kaixhin_7_samples_transitions_that_straddle_the_write_head(alpha):
    """Behind the newest step stands the oldest one: no window may go from one to the other."""
    replay = Replay(8, (1,), n_step=3, discount=1.0, priority_exponent=alpha)
    for t in range(40):
        replay.add(one_step(t, reward=1.0))
        if t < 2:
            continue
        rows = drawn(replay, 300)
        assert sorted(rows) == list(range(max(0, t - 7), t - 1))
        assert set(rows.values()) == {(3.0, 1.0, float(a + 3)) for a in rows}


def test_flashbax_58_rounds_priorities_to_integers_and_to_zero():
    """An integer largest priority and a float32 tree made priorities 0."""
    replay = Replay(1000, (1,), priority_exponent=0.5)
    for t in range(1000):
        replay.add(one_step(t))
    everything = replay.sample(20_000, [np.random.default_rng(0)])
    errors = np.where(everything.action == 3, 1e-6, 1e9).astype(np.float32)
    replay.update_priorities(everything.position, errors)
    assert replay._priorities.tree.leaves.dtype == np.float64
    leaves = replay._priorities.tree.leaves[0][:1000]
    assert (leaves > 0).all()
    assert leaves[3] == pytest.approx(2e-6**0.5, rel=1e-2)
    assert replay._priorities.largest[0] == pytest.approx(1e9)


def test_cleanrl_sums_priorities_in_single_precision():
    """Small priorities vanished in a large float32 sum, and errors added up."""
    tree = SumTree(4096)
    tree.set([[0]], [[1e8]])
    for _ in range(50):
        tree.set([range(1, 4001)], [[0.5] * 4000])  # a float32 sum would not feel one of them
    assert tree.total[0] == 1e8 + 2000
    assert tree.find([[1e8 + 0.6, 1e8 + 1999.9]]).tolist() == [[2, 4000]]
    tree.set([[0]], [[0.0]])
    assert tree.total[0] == 2000


@pytest.mark.parametrize("n_step", [1, 3])
def test_curt_park_86_takes_a_time_limit_for_the_end(steady, n_step):
    """A value of 0 behind a time limit; here the bootstrap stops at `terminated` alone."""
    for truncates in (True, False):
        agent = DQN(steady(length=2, truncates=truncates), n_step=n_step, discount=0.5, **SMALL)
        agent.learn(30, progress=False)
        batch = agent._replay.sample(200, [np.random.default_rng(0)])
        assert (batch.discount == 0).any() == (not truncates)
        if truncates:
            # The true last observation is (1, 0.5), the next episode's first one (1, 0).
            assert (batch.next_observation[0, :, 1] == 0.5).any()


def test_cleanrl_499_stores_the_step_that_only_resets():
    """Gymnasium 1.0 answers the action after an end with the next episode's first observation."""
    envs = gymnasium.make_vec("hunch/Chain-v0", 2, size=3)
    assert envs.metadata["autoreset_mode"] is gymnasium.vector.AutoresetMode.NEXT_STEP
    agent = DQN(envs, replay_capacity=400, **SMALL).learn(300, progress=False)
    batch = agent._replay.sample(3000, [np.random.default_rng(0)])
    # One state to the left or right, or the wall: never from an end back to the start.
    here, there = (o[0].argmax(-1) for o in (batch.observation, batch.next_observation))
    going = batch.discount[0] > 0
    assert (np.abs(here - there)[going] <= 1).all()
    lengths = agent.history.lengths
    assert len(agent._replay) > sum(lengths)  # pauses are stored between the others …
    assert agent._replay.num_drawable < len(agent._replay)  # … and are not drawn


# 17-18: ensembles with priors


def members(**kwargs):
    settings = {"num_members": 3, "hidden_sizes": (8,), "batch_size": 8, **kwargs}
    return BootstrappedDQN("CartPole-v1", **settings)


def member_vectors(ensemble, part="model"):
    return [
        torch.cat([p.flatten() for n, p in ensemble.member(k).named_parameters() if part in n])
        for k in range(ensemble.num_members)
    ]


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
    assert agent.num_members == agent.network.num_members == 20
    assert agent.prior_scale > 0
    vectors = member_vectors(agent.network) + member_vectors(agent.network, "prior")
    assert len({tuple(v.tolist()) for v in vectors}) == 40


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
    agent = members()
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


# 19: starts


def test_curt_park_trains_from_one_single_start(steady):
    """Every episode was reset with the same seed; the action was computed with a graph."""
    env = gymnasium.make("CartPole-v1")
    starts, reset = [], env.reset

    def watched(**kwargs):
        observation, info = reset(**kwargs)
        starts.append(tuple(observation.tolist()))
        return observation, info

    env.reset = watched
    agent = noisy_agent(min_replay_size=1000)
    agent._loop.envs.envs[0] = env
    graphs = []
    agent.network.register_forward_hook(lambda *args: graphs.append(args[2].requires_grad))
    agent.learn(300, progress=False)
    assert len(set(starts)) == len(starts) > 5
    assert graphs == [False] * 300
    other = DQN("CartPole-v1", seed=1)
    assert agent._loop.envs._seeds != other._loop.envs._seeds
