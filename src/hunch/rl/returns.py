"""What an action is worth: the targets that a value network is trained towards.

Pure functions of tensors. `terminated` ends the sum of rewards; a time limit (`truncated`) does
not, so it never enters here.
"""

from __future__ import annotations

import torch
from torch import Tensor


def one_step_target(
    reward: Tensor, terminated: Tensor, next_value: Tensor, discount: float
) -> Tensor:
    """The reward, plus the discounted value of where it led unless the episode terminated there.

    y = r + γ (1 - terminated) v(s').

    Args:
        reward: reward of each transition, shape `(batch,)`.
        terminated: whether the environment ended the episode, boolean, shape `(batch,)`.
        next_value: value of each next observation, shape `(batch,)`.
        discount: γ, in [0, 1].

    Returns:
        The targets, shape `(batch,)`.

    Example:
        >>> import torch
        >>> ended = torch.tensor([False, True])
        >>> one_step_target(torch.ones(2), ended, torch.full((2,), 10.0), 0.5)
        tensor([6., 1.])
    """
    return torch.add(reward, next_value.masked_fill(terminated, 0.0), alpha=discount)


def max_value(q: Tensor) -> Tensor:
    """The value of the best action, from the values `(batch, actions)` that choose it as well.

    Example:
        >>> import torch
        >>> max_value(torch.tensor([[1.0, 3.0]]))
        tensor([3.])

    Reference:
        Mnih et al. (2015), "Human-level control through deep reinforcement learning".
    """
    return q.amax(1)


def double_value(q: Tensor, q_selecting: Tensor) -> Tensor:
    """The value under `q` of the action that `q_selecting` likes best; both `(batch, actions)`.

    One network chooses and another one judges, so an error of one is not taken for a high value.

    Example:
        >>> import torch
        >>> double_value(torch.tensor([[1.0, 3.0]]), torch.tensor([[5.0, 2.0]]))
        tensor([1.])

    Reference:
        van Hasselt, Guez & Silver (2016), "Deep reinforcement learning with double Q-learning",
        eq. 4.
    """
    return chosen(q, q_selecting.argmax(1))


def chosen(q: Tensor, action: Tensor) -> Tensor:
    """The entry of each row of `q (batch, actions)` that `action (batch,)` names.

    Example:
        >>> import torch
        >>> chosen(torch.tensor([[1.0, 3.0], [5.0, 2.0]]), torch.tensor([1, 0]))
        tensor([3., 5.])
    """
    return q.gather(1, action.unsqueeze(1)).squeeze(1)
