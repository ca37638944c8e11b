"""An epinet as members: each index drawn is one, for a training step or for a prediction."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor, nn

from hunch.errors import ConfigurationError
from hunch.inference.bootstrap import standard_normals
from hunch.nn import Epinet
from hunch.seeding import check_seed, torch_generator

INDICES_OF_A_STEP = 16
INDICES_OF_A_PREDICTION = 100


class IndexedMembers(nn.Module):
    """An epinet under indices held for the moment, with the face of an ensemble.

    Args:
        epinet: whose parameters all members share.
        num_members: indices held, at least 1.
        seed: decides them.
        purpose: names the stream that they come from.

    Shape:
        x `(batch, …)` to `(members, batch, out)`.

    Example:
        >>> from hunch.nn import MLP
        >>> net = IndexedMembers(Epinet(MLP(1, [9], 2)), 5, seed=0, purpose="training")
        >>> net(torch.zeros(3, 1)).shape
        torch.Size([5, 3, 2])
    """

    def __init__(self, epinet: Epinet, num_members: int, *, seed: int, purpose: str) -> None:
        super().__init__()
        check_seed(seed)
        self.skeleton, self.num_members = epinet, num_members
        self.training = epinet.training
        self.generator = torch_generator(seed, "epinet indices", purpose)
        self.redraw()

    def redraw(self) -> None:
        """Hold new indices."""
        self.indices = self.skeleton.draw_indices(self.num_members, self.generator)

    def forward(self, x: Tensor) -> Tensor:
        """Evaluate all members."""
        out: Tensor = self.skeleton(x, self.indices)
        return out


class IndexedData:
    """Targets of indices that each batch draws anew, with noise that is one function of an index.

    A datum has a fixed direction c of length 1; under index z its noise is σ cᵀz, which is N(0, σ²)
    over indices. So an index sees the same noise whenever it comes, as a member does.

    Args:
        members: whose indices are drawn.
        y: targets `(data, *out)`.
        keys: one integer for each datum.
        noise: σ.
        seed: decides the directions.

    Reference:
        Osband, Wen, Asghari, Dwaracherla, Ibrahimi, Lu & Van Roy (2023), "Epistemic neural
        networks", section 4, with the perturbation of the targets that it takes for regression.
    """

    def __init__(
        self,
        members: IndexedMembers,
        y: Tensor,
        keys: npt.NDArray[Any],
        noise: float,
        seed: int,
    ) -> None:
        self.members, self.targets = members, y.unsqueeze(0)
        self.directions: Tensor | None = None
        if noise:
            size = members.skeleton.index_dim
            normals = standard_normals(size, keys, tuple(y.shape[1:]), seed=seed)
            self.directions = (noise * normals / normals.norm(dim=0)).to(y)

    def batch(self, epoch: int, rows: Tensor | None) -> tuple[Tensor, Tensor]:
        """Weights `(members, batch)`, all 1, and targets `(members, batch, *out)`."""
        self.members.redraw()
        targets = self.targets if rows is None else self.targets[:, rows]
        if self.directions is None:
            targets = targets.expand(self.members.num_members, *targets.shape[1:])
        else:
            directions = self.directions if rows is None else self.directions[:, rows]
            noise = self.members.indices.to(directions) @ directions.flatten(1)
            targets = targets + noise.reshape(-1, *directions.shape[1:])
        return torch.ones(targets.shape[:2], device=targets.device), targets


def number_of_indices(name: str, value: int | None, default: int) -> int:
    """The number asked for, or the default.

    Raises:
        ConfigurationError: if it is below 1.

    Example:
        >>> number_of_indices("num_indices", None, 16)
        16
    """
    if value is None:
        return default
    if value < 1:
        raise ConfigurationError(f"`{name}` got {value}; expected at least 1.")
    return value
