"""What stands at the end of a network: two streams side by side."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Streams(nn.Module):
    """Two networks on the same features, their outputs side by side.

    The shape of a dueling network: one stream for the value of the observation, one for the
    advantages of the actions. What they add up to is the reader's business.

    Args:
        value: from features `(…, in)` to `(…, p)`.
        advantage: from features `(…, in)` to `(…, q)`.

    Shape:
        `(…, in)` to `(…, p + q)`.

    Example:
        >>> Streams(nn.Linear(4, 1), nn.Linear(4, 2))(torch.zeros(5, 4)).shape
        torch.Size([5, 3])

    Reference:
        Wang et al. (2016), "Dueling network architectures for deep reinforcement learning",
        figure 1.
    """

    def __init__(self, value: nn.Module, advantage: nn.Module) -> None:
        super().__init__()
        self.value = value
        self.advantage = advantage

    def forward(self, features: Tensor) -> Tensor:
        """Return the outputs of both streams, the value's first."""
        return torch.cat([self.value(features), self.advantage(features)], dim=-1)
