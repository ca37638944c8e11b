"""A noisy layer the way tutorials write it."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class DenseNoisyLinear(nn.Module):
    """Factorized noise kept as a full matrix."""

    def __init__(self, p: int, q: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(p)
        self.mean_w = nn.Parameter(torch.empty(q, p).uniform_(-bound, bound))
        self.mean_b = nn.Parameter(torch.empty(q).uniform_(-bound, bound))
        self.std_w = nn.Parameter(torch.full((q, p), 0.5 / math.sqrt(p)))
        self.std_b = nn.Parameter(torch.full((q,), 0.5 / math.sqrt(q)))
        self.register_buffer("noise_w", torch.empty(q, p))
        self.register_buffer("noise_b", torch.empty(q))
        self.redraw()

    def redraw(self) -> None:
        """Fill the noise buffers anew, in place."""
        q, p = self.mean_w.shape
        rows, columns = (x.sign() * x.abs().sqrt() for x in (torch.randn(q), torch.randn(p)))
        self.noise_w.copy_(rows.ger(columns))
        self.noise_b.copy_(rows)

    def forward(self, x: Tensor) -> Tensor:
        """Map `x (batch, p)` to `(batch, q)`."""
        weight = self.mean_w + self.std_w * self.noise_w
        return F.linear(x, weight, self.mean_b + self.std_b * self.noise_b)
