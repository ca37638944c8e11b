"""Distributions of actions against those of torch, and against their own draws."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from torch.distributions import AffineTransform, Normal, TanhTransform, TransformedDistribution

from hunch.errors import ConfigurationError
from hunch.rl.networks.action_distributions import Categorical, Gaussian

BOX = Box(np.array([-2, 0.5], np.float32), np.array([4, 1], np.float32))


def rng(seed=0):
    return np.random.default_rng(seed)


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


def test_spaces_have_their_distributions():
    from hunch.rl.agents.actor import action_distribution

    assert action_distribution(Discrete(3, start=1), "squashed").outputs == 3
    assert action_distribution(gymnasium.spaces.Box(-1, 1, (3,)), "squashed").outputs == 6
