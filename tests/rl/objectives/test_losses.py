"""Losses against their formulas."""

import torch

from hunch.rl.networks.action_distributions import Categorical
from hunch.rl.objectives.losses import policy_loss


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
