"""What agents that learn a policy stand on, each against an independent formula."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from torch import nn
from torch.distributions import AffineTransform, Normal, TanhTransform, TransformedDistribution

from hunch.errors import ConfigurationError
from hunch.nn import Constant, Ensemble, NoisyLinear, Normalizer, Streams
from hunch.rl.networks.action_distributions import Categorical, Gaussian
from hunch.rl.networks.held_noise import HeldNoise
from hunch.rl.networks.replica_networks import ReplicaNetworks
from hunch.rl.objectives.advantages import advantages, leave_one_out_by_time
from hunch.rl.objectives.losses import policy_loss
from hunch.rl.replay.rollout import Rollout
from hunch.rl.replay.transitions import Step

BOX = Box(np.array([-2, 0.5], np.float32), np.array([4, 1], np.float32))


def rng(seed=0):
    return np.random.default_rng(seed)


# Distributions


def test_the_squashed_log_probability_is_that_of_torch():
    actions = Gaussian(BOX, "squashed")
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(500, 4, generator=generator, dtype=torch.float64).clamp(max=1.9)
    raw = 1.5 * torch.randn(500, 2, generator=generator, dtype=torch.float64)
    low, high = (torch.tensor(b, dtype=torch.float64) for b in (BOX.low, BOX.high))
    into_box = [TanhTransform(), AffineTransform((low + high) / 2, (high - low) / 2)]
    mean, log_std = outputs.chunk(2, -1)
    theirs = TransformedDistribution(Normal(mean, log_std.exp()), into_box)
    action = torch.as_tensor(actions.to_env(raw.numpy()))
    expected = (low + high) / 2 + (high - low) / 2 * raw.tanh()
    assert torch.allclose(action.double(), expected, atol=1e-6)
    ours = actions.log_prob(outputs, raw)
    assert torch.allclose(ours, theirs.log_prob(expected).sum(-1), atol=1e-6)


def test_the_squashed_density_integrates_to_one():
    actions = Gaussian(Box(-2, 2, (1,)), "squashed")
    action = torch.linspace(-2, 2, 40_003, dtype=torch.float64)[1:-1]
    outputs = torch.tensor([0.3, -0.5], dtype=torch.float64).expand(len(action), 2)
    density = actions.log_prob(outputs, torch.atanh(action / 2)[:, None]).exp()
    assert torch.trapezoid(density, action).item() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("far", [-30.0, 30.0])
def test_the_squashed_log_probability_of_what_was_squashed_flat_is_finite(far):
    actions = Gaussian(Box(-1, 1, (1,)), "squashed")
    outputs = torch.zeros(1, 2, requires_grad=True)
    log = actions.log_prob(outputs, torch.tensor([[far]]))
    (gradient,) = torch.autograd.grad(log.sum(), outputs)
    assert torch.isfinite(log).all()
    assert torch.isfinite(gradient).all()


def test_clipped_actions_are_judged_before_they_are_clipped():
    box = Box(np.array([-2, -np.inf], np.float32), np.array([4, np.inf], np.float32))
    actions = Gaussian(box, "clipped")
    raw = np.array([[3.0, 7.0], [0.5, -7.0]], np.float32)
    assert np.allclose(actions.to_env(raw), [[4.0, 7.0], [2.5, -7.0]])
    outputs = torch.tensor([[0.2, 0.1, -0.3, 0.4]]).expand(2, 4)
    scale = torch.tensor([3.0, 1.0])
    theirs = Normal(torch.tensor([1.0, 0]) + scale * outputs[:, :2], scale * outputs[:, 2:].exp())
    unclipped = torch.tensor([1.0, 0]) + scale * torch.from_numpy(raw)
    ours = actions.log_prob(outputs, torch.from_numpy(raw))
    assert torch.allclose(ours, theirs.log_prob(unclipped).sum(-1), atol=1e-5)


def test_entropies_are_those_of_torch():
    outputs = torch.randn(20, 4, generator=torch.Generator().manual_seed(1)).clamp(max=1.9)
    theirs = torch.distributions.Categorical(logits=outputs).entropy()
    assert torch.allclose(Categorical(4).entropy(outputs), theirs, atol=1e-6)
    theirs = Normal(0.0, outputs[:, 2:].exp()).entropy().sum(-1)
    assert torch.allclose(Gaussian(BOX, "clipped").entropy(outputs), theirs, atol=1e-6)


def test_draws_follow_the_distribution():
    """Bounds of 5 standard errors: a false alarm in 10⁶ runs, and the seeds are fixed."""
    logits = np.log(np.array([0.1, 0.0, 0.6, 0.3]) + 1e-300).astype(np.float32)
    drawn = Categorical(4).sample(np.broadcast_to(logits, (2, 50_000, 4)), [rng(0), rng(1)])
    for row in drawn:
        shares = np.bincount(row, minlength=4) / 50_000
        assert np.allclose(shares, [0.1, 0.0, 0.6, 0.3], atol=5 * (0.25 / 50_000) ** 0.5)
        assert shares[1] == 0
    assert not np.array_equal(drawn[0], drawn[1])
    outputs = np.broadcast_to(np.array([1.0, -1, 0.0, -1], np.float32), (1, 50_000, 4))
    raw = Gaussian(BOX, "squashed").sample(outputs, [rng(2)])[0]
    assert np.allclose(raw.mean(0), [1, -1], atol=5 * 50_000**-0.5)
    assert np.allclose(raw.std(0), np.exp([0, -1]), rtol=0.03)


def test_boxes_that_cannot_be_acted_in_are_refused():
    with pytest.raises(ConfigurationError, match="without bounds, into which nothing can be squa"):
        Gaussian(Box(-np.inf, np.inf, (1,)), "squashed")
    for box in (Box(0, 9, (1,), np.int64), Box(0, 1, (2, 2)), Box(0, 1, ())):
        with pytest.raises(ConfigurationError, match="expected a Box of one axis"):
            Gaussian(box, "clipped")
    with pytest.raises(ConfigurationError, match="`bounds` got 'folded'"):
        Gaussian(BOX, "folded")


# Advantages


def looped(reward, value, following, terminated, truncated, discount, lam):
    """Σ (γλ)ᵏ δ, each from its own sum."""
    found = np.zeros(len(reward))
    for t in range(len(reward)):
        weight = 1.0
        for k in range(t, len(reward)):
            led = 0.0 if terminated[k] else following[k]
            found[t] += weight * (reward[k] + discount * led - value[k])
            weight *= discount * lam
            if terminated[k] or truncated[k]:
                break
    return found


@pytest.mark.parametrize("lam", [0.0, 0.7, 1.0])
def test_advantages_are_sums_of_errors(lam):
    g = rng(3)
    shape = (40, 2, 3)
    reward, value, following = g.normal(size=(3, *shape))
    terminated = g.random(shape) < 0.1
    truncated = ~terminated & (g.random(shape) < 0.1)
    found = advantages(
        reward, value, following, terminated, truncated, discount=0.9, gae_lambda=lam
    )
    for r in range(2):
        for e in range(3):
            one = [x[:, r, e] for x in (reward, value, following, terminated, truncated)]
            assert np.allclose(found[:, r, e], looped(*one, 0.9, lam))


def test_leave_one_out_by_time_leaves_the_own_episode_out():
    returns = np.array([5.0, 4.0, 3.0, 7.0, 10.0, 9.0])
    episode, time = np.array([0, 0, 0, 1, 4, 4]), np.array([0, 1, 2, 0, 0, 1])
    found = leave_one_out_by_time(returns, episode, time)
    assert np.allclose(found, [8.5, 4.5, 0.0, 7.5, 6.0, 2.0])
    other = returns.copy()
    other[:3] = 100.0
    assert np.allclose(leave_one_out_by_time(other, episode, time)[:3], found[:3])


# Noise that is held


def test_noise_is_held_until_it_is_renewed_and_comes_back_from_a_state():
    def make():
        nets = [nn.Sequential(NoisyLinear(2, 3, noise="independent")) for _ in range(2)]
        for part in nets:
            nn.init.ones_(part[0].weight_sigma)
        return HeldNoise(
            Ensemble.from_modules(nets), [torch.Generator().manual_seed(r) for r in range(2)]
        )

    held, x = make(), torch.ones(4, 2)
    first = held(x)
    assert torch.equal(held(x), first)
    for _ in range(300):  # beyond a block of draws
        held.renew()
    state = {name: value.clone() for name, value in held.state_dict().items()}
    other = make()
    other.network.load_state_dict(held.network.state_dict())
    other.load_state_dict(state)
    assert torch.equal(other(x), held(x))
    held.renew()
    other.renew()
    assert torch.equal(other(x), held(x))
    assert not torch.equal(held(x), first)
    with pytest.raises(ConfigurationError, match="per_sample=True; expected per_sample=False"):
        HeldNoise(NoisyLinear(2, 1, per_sample=True), [torch.Generator()])


# Networks of replicas


def nets(count):
    torch.manual_seed(0)
    return [
        nn.Sequential(Normalizer(3), nn.Linear(3, 4), nn.Tanh(), Streams(nn.Linear(4, 1), Constant(torch.zeros(2))))
        for _ in range(count)
    ]  # fmt: skip


@pytest.mark.parametrize("count", [1, 3])
def test_networks_share_memory_and_move_as_under_adam(count):
    networks = ReplicaNetworks(nets(count), max_gradient_norm=0.5)
    twins = nets(count)
    optimizers = [torch.optim.Adam(twin.parameters(), lr=0.01) for twin in twins]
    x = torch.randn(count, 7, 3)

    def squares(out):
        return out.square().sum()

    for turn in range(6):
        due = list(range(count)) if turn % 2 == 0 else [count - 1]
        if len(due) == count:
            out = networks.stacked(x, per_member=True) if count > 1 else networks.stacked(x[0])
            gradient = networks.gradient(squares(out))
        else:
            gradient = networks.gradient(squares(networks.per_replica[due[0]](x[due[0]])), due[0])
        networks.step(due, gradient, 0.01)
        for r in due:
            optimizers[r].zero_grad()
            squares(twins[r](x[r])).backward()
            nn.utils.clip_grad_norm_(twins[r].parameters(), 0.5)
            optimizers[r].step()
        for r in due:
            networks.per_replica[r][0].update(x[r])
            twins[r][0].update(x[r])
    with torch.no_grad():
        for r in range(count):
            assert torch.allclose(networks.per_replica[r](x[r]), twins[r](x[r]), atol=1e-5)
            if count > 1:
                together = networks.stacked(x, per_member=True)[r]
                assert torch.allclose(together, twins[r](x[r]), atol=1e-5)
    assert networks.updates[-1] == 6


def test_a_normalizer_knows_the_mean_and_variance_of_all_it_saw():
    x = torch.randn(50, 2, generator=torch.Generator().manual_seed(0)) * 3 + 5
    net = Normalizer(2)
    for part in x.split([1, 20, 29]):
        net.update(part)
    assert torch.allclose(net.mean, x.mean(0), atol=1e-5)
    assert torch.allclose(net.variance, x.var(0, correction=0), atol=1e-4)
    assert torch.allclose(net(x).mean(0), torch.zeros(2), atol=1e-5)
    assert net(torch.full((1, 2), 1e6)).tolist() == [[10.0, 10.0]]


# Rollouts


def test_a_rollout_knows_episodes_and_closes_broken_ones():
    no = np.zeros((1, 2), bool)

    def step(t, terminated=no, truncated=no, is_first=no):
        x = np.full((1, 2, 1), t, np.float32)
        return Step(x, np.zeros((1, 2)), np.ones((1, 2), np.float32), x + 1, terminated, truncated, ~no, is_first)  # fmt: skip

    rollout = Rollout()
    left = np.array([[True, False]])
    for t, made in enumerate(
        [
            step(0, is_first=~no),
            step(1, terminated=left),
            step(2, is_first=left),
            step(3, is_first=~no),
        ]
    ):
        rollout.add(made, made.action, counts=~no)
        assert len(rollout) == t + 1
    trajectory = rollout.since(0)
    # Both episodes were broken off before step 3 without an end.
    assert trajectory.truncated[:, 0].tolist() == [
        [False] * 2,
        [False] * 2,
        [True] * 2,
        [False] * 2,
    ]
    assert trajectory.bootstrap_steps == [2, 3]
    assert trajectory.bootstrap_observation[:, 0, 0, 0].tolist() == [3.0, 4.0]
    episode, place = trajectory.episodes()
    assert episode.tolist() == [0, 1, 0, 1, 2, 1, 4, 3]
    assert place.tolist() == [0, 0, 1, 1, 0, 2, 0, 0]


def test_the_gradient_of_the_loss_is_the_formula():
    """−mean (G − b) ∇ log π + ½ c ∇ (v − G)² − h ∇ H, by plain autograd."""
    generator = torch.Generator().manual_seed(0)
    out = torch.randn(2, 9, 5, generator=generator, requires_grad=True)
    raw = torch.randint(4, (2, 9), generator=generator)
    target, baseline = torch.randn(2, 2, 9, generator=generator)
    actions, value, policy = Categorical(4), out[..., 0], out[..., 1:]
    ours = policy_loss(
        actions.log_prob(policy, raw),
        value,
        target,
        baseline,
        value_weight=0.7,
        entropy=actions.entropy(policy),
        entropy_weight=0.3,
    )
    dist = torch.distributions.Categorical(logits=out[..., 1:])
    by_hand = -((target - baseline) * dist.log_prob(raw)).mean(1)
    by_hand = by_hand + 0.35 * ((out[..., 0] - target) ** 2).mean(1) - 0.3 * dist.entropy().mean(1)
    for r in range(2):
        (a,) = torch.autograd.grad(ours[r], out, retain_graph=True)
        (b,) = torch.autograd.grad(by_hand[r], out, retain_graph=True)
        assert torch.allclose(a, b, atol=1e-6)


def test_spaces_have_their_distributions():
    from hunch.rl.agents.actor import action_distribution

    assert action_distribution(Discrete(3, start=1), "squashed").outputs == 3
    assert action_distribution(gymnasium.spaces.Box(-1, 1, (3,)), "squashed").outputs == 6
