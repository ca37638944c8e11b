"""What an action is worth: the targets that a value network is trained towards.

Pure functions of tensors; any leading axes will do. The end of an episode enters through
`discount`, which is 0 where the environment ended it; a time limit is no such end.
"""

from __future__ import annotations

import torch
from torch import Tensor


def bootstrapped_target(reward: Tensor, discount: Tensor, next_value: Tensor) -> Tensor:
    """The reward, plus the discounted value of where it led.

    y = r + d v(s'), where r sums the rewards of n steps and d is γⁿ, or 0 at the end. In Q-learning
    v is max Q(s', ·), or `double_value`.

    Args:
        reward: reward of each transition, shape `(…, batch)`.
        discount: what the value is multiplied with, shape `(…, batch)`.
        next_value: value of each next observation, shape `(…, batch)`.

    Returns:
        The targets, shape `(…, batch)`.

    Example:
        >>> discount = torch.tensor([0.5, 0.0])
        >>> bootstrapped_target(torch.ones(2), discount, torch.full((2,), 10.0))
        tensor([6., 1.])

    Reference:
        Mnih et al. (2015), "Human-level control through deep reinforcement learning", algorithm 1.
    """
    return torch.addcmul(reward, discount, next_value)


def double_value(q: Tensor, q_selecting: Tensor) -> Tensor:
    """The value under `q` of the action that `q_selecting` likes best; both `(…, actions)`.

    One network chooses and another one evaluates, so an error of one is not taken for a high value.

    Example:
        >>> double_value(torch.tensor([[1.0, 3.0]]), torch.tensor([[5.0, 2.0]]))
        tensor([1.])

    Reference:
        van Hasselt, Guez & Silver (2016), "Deep reinforcement learning with double Q-learning",
        eq. 4.
    """
    return chosen(q, q_selecting.argmax(-1))


def chosen(q: Tensor, action: Tensor) -> Tensor:
    """The entry of each row of `q (…, actions)` that `action (…)` names.

    Example:
        >>> chosen(torch.tensor([[1.0, 3.0], [5.0, 2.0]]), torch.tensor([1, 0]))
        tensor([3., 5.])
    """
    return q.gather(-1, action.unsqueeze(-1)).squeeze(-1)


def chosen_distribution(distributions: Tensor, action: Tensor) -> Tensor:
    """The distribution of the action that `action (…)` names, of `(…, actions, atoms)`.

    Example:
        >>> chosen_distribution(torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]), torch.tensor([1]))
        tensor([[3., 4.]])
    """
    atoms = distributions.shape[-1]
    index = action[..., None, None].expand(*action.shape, 1, atoms)
    return distributions.gather(-2, index).squeeze(-2)


def project(reward: Tensor, discount: Tensor, next_probs: Tensor, support: Tensor) -> Tensor:
    """The distribution of r + d Z on the atoms of `support`; Z has probabilities `next_probs`.

    Each atom moves to r + d z, clipped to the support, and is shared between its two neighbours.

    Args:
        reward: shape `(…, batch)`.
        discount: 0 at the end of an episode, shape `(…, batch)`.
        next_probs: probabilities of the atoms of Z, shape `(…, batch, atoms)`.
        support: the atoms, evenly spaced and ascending, shape `(atoms,)`, or any that broadcasts
            with `next_probs`.

    Returns:
        Probabilities of the atoms, shape `(…, batch, atoms)`.

    Example:
        >>> support = torch.tensor([0.0, 1.0, 2.0])
        >>> project(torch.tensor([0.5]), torch.tensor([1.0]), torch.tensor([[1.0, 0, 0]]), support)
        tensor([[0.5000, 0.5000, 0.0000]])

    Reference:
        Bellemare, Dabney & Munos (2017), "A distributional perspective on reinforcement
        learning", eq. 7.
    """
    low, high = support[..., :1], support[..., -1:]
    last = support.shape[-1] - 1
    gap = (high - low) / last
    moved = reward.unsqueeze(-1) + discount.unsqueeze(-1) * support
    place = (moved.clamp(low, high) - low) / gap
    below = place.floor().clamp(0, last)
    share = place - below
    # An atom that falls on the last one has no neighbour above; its share there is 0.
    above = (below + 1).clamp(max=last)
    projected = torch.zeros_like(next_probs)
    projected.scatter_add_(-1, below.long(), next_probs * (1 - share))
    return projected.scatter_add_(-1, above.long(), next_probs * share)


def clipped_mass(reward: Tensor, discount: Tensor, next_probs: Tensor, support: Tensor) -> Tensor:
    """The mass of r + d Z that `project` puts at the ends of the support from beyond them.

    What is less than half an atom beyond an end belongs to the end.

    Args:
        reward: as in `project`.
        discount: as in `project`.
        next_probs: as in `project`.
        support: as in `project`.

    Returns:
        The mass below and above the support, shape `(…, batch, 2)`.

    Example:
        >>> support = torch.tensor([0.0, 1.0, 2.0])
        >>> probs = torch.full((1, 3), 0.25) * torch.tensor([1.0, 1.0, 2.0])
        >>> clipped_mass(torch.tensor([1.0]), torch.tensor([1.0]), probs, support)
        tensor([[0.0000, 0.5000]])
    """
    low, high = support[..., :1], support[..., -1:]
    half = 0.5 * (high - low) / (support.shape[-1] - 1)
    moved = reward.unsqueeze(-1) + discount.unsqueeze(-1) * support
    below = (next_probs * (moved < low - half)).sum(-1)
    return torch.stack([below, (next_probs * (moved > high + half)).sum(-1)], -1)
