"""Losses against their formulas."""

import pytest
import torch

from hunch.rl.networks.action_distributions import Categorical
from hunch.rl.objectives.losses import policy_loss, value_loss


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


@pytest.mark.parametrize("huber", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_losses_of_members_are_autograds(masked, weighted, huber):
    generator = torch.Generator().manual_seed(0)
    q = torch.randn(2, 3, 5, 4, generator=generator, requires_grad=True)
    action = torch.randint(4, (2, 5), generator=generator)
    target = torch.randn(2, 3, 5, generator=generator)
    mask = torch.rand(2, 3, 5, generator=generator) < 0.5 if masked else None
    weight = torch.rand(2, 5, generator=generator) if weighted else None
    loss, gradient, largest = value_loss(
        q.detach(), action, target, mask, weight, huber=huber, shared=2
    )
    each, errors = torch.zeros(2, 3, 5), torch.zeros(2, 3, 5)
    for r in range(2):
        for k in range(3):
            for i in range(5):
                error = q[r, k, i, action[r, i]] - target[r, k, i]
                learns = 1.0 if mask is None else float(mask[r, k, i])
                size = error.abs()
                linear = huber and size > 1
                each[r, k, i] = learns * (size - 0.5 if linear else 0.5 * error**2)
                each[r, k, i] *= 1.0 if weight is None else weight[r, i]
                errors[r, k, i] = learns * size.item()
    (expected,) = torch.autograd.grad(each.mean(-1).sum() / 2, q)
    assert torch.allclose(gradient, expected, atol=1e-6)
    assert abs(loss - each.mean().item()) < 1e-6
    assert torch.allclose(largest, errors.amax(1), atol=1e-6)
