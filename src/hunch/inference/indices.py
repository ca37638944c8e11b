"""An epinet as members: each index drawn is one, for a training step or for a prediction."""

from __future__ import annotations

from typing import Any, Final, Literal

import numpy.typing as npt
import torch
from torch import Tensor, nn

from hunch.errors import ConfigurationError
from hunch.inference.bootstrap import standard_normals
from hunch.nn import Ensemble, Epinet, PostHocEpinet
from hunch.seeding import check_seed, torch_generator

Purpose = Literal["training", "prediction"]
_USUAL: Final[dict[Purpose, int]] = {"training": 16, "prediction": 100}  # indices at a time


class IndexedMembers(nn.Module):
    """An epinet under indices held for the moment, with the face of an ensemble.

    Args:
        epinet: whose parameters all members share.
        num_members: indices held, at least 1.
        seed: decides them.
        purpose: what they are for; each has random numbers of its own.
        classes: whether outputs are logits, which a `PostHocEpinet` asks.

    Shape:
        x `(batch, …)` to `(members, batch, out)`.

    Example:
        >>> from hunch.nn import MLP
        >>> net = IndexedMembers(Epinet(MLP(1, [9], 2)), 5, seed=0, purpose="training")
        >>> net(torch.zeros(3, 1)).shape
        torch.Size([5, 3, 2])
    """

    def __init__(
        self,
        epinet: Epinet | PostHocEpinet,
        num_members: int,
        *,
        seed: int,
        purpose: Purpose,
        classes: bool = False,
    ) -> None:
        super().__init__()
        check_seed(seed)
        self.how = {"classes": classes} if isinstance(epinet, PostHocEpinet) else {}
        self.skeleton, self.num_members = epinet, num_members
        self.training = epinet.training
        self.generator = torch_generator(seed, "epinet indices", purpose)
        self.redraw()

    def redraw(self) -> None:
        """Hold new indices."""
        self.indices = self.skeleton.draw_indices(self.num_members, self.generator)

    def forward(self, x: Tensor) -> Tensor:
        """Evaluate all members."""
        out: Tensor = self.skeleton(x, self.indices, **self.how)
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


def as_members(
    ensemble: Ensemble | Epinet | PostHocEpinet,
    name: str,
    value: int | None,
    *,
    seed: int,
    purpose: Purpose,
    classes: bool = False,
) -> Ensemble | IndexedMembers:
    """An ensemble as it is; an epinet under as many indices as asked for.

    Args:
        ensemble: either.
        name: of the argument that asks for a number.
        value: that number; None for the purpose's own.
        seed: decides the indices.
        purpose: what they are for.
        classes: whether outputs are logits.

    Raises:
        ConfigurationError: if the number is below 1, or given for an ensemble.

    Example:
        >>> from hunch.nn import MLP
        >>> net = Epinet(MLP(1, [9], 2))
        >>> as_members(net, "num_indices", None, seed=0, purpose="training").num_members
        16
    """
    if isinstance(ensemble, Epinet | PostHocEpinet):
        size = _USUAL[purpose] if value is None else value
        if size < 1:
            raise ConfigurationError(f"`{name}` got {size}; expected at least 1.")
        return IndexedMembers(ensemble, size, seed=seed, purpose=purpose, classes=classes)
    if value is not None:
        raise ConfigurationError(
            f"`{name}` got {value} for an ensemble of {ensemble.num_members}; expected None: only "
            "an epinet draws its members."
        )
    return ensemble
