"""Batches from a loader, such as torch's `DataLoader`, in place of all data at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from hunch.errors import ConfigurationError, DataError, ShapeError
from hunch.inference.bootstrap import Bootstrap, standard_normals, weights_of_epochs
from hunch.inference.indices import IndexedData, IndexedMembers
from hunch.nn import Ensemble
from hunch.nn.inputs import Loader, as_data, is_array, kind_of


@dataclass(frozen=True)
class Batch:
    """One batch, of the network's type and on its device.

    Args:
        x: inputs `(batch, …)`.
        y: targets `(batch, *out)`.
        ids: one integer for each datum, if the loader gives them.
    """

    x: Tensor
    y: Tensor
    ids: npt.NDArray[np.integer[Any]] | None


def batches_of(loader: Loader, network: nn.Module, name: str = "the loader") -> Iterator[Batch]:
    """All batches `(x, y)` or `(x, y, ids)`, in turn; none if there are none.

    Args:
        loader: of batches.
        network: whose type and device they get.
        name: of the loader, for messages.

    Example:
        >>> [batch] = batches_of([(torch.zeros(3, 1), torch.zeros(3), [4, 5, 6])], nn.ReLU())
        >>> batch.x.shape, batch.ids
        (torch.Size([3, 1]), array([4, 5, 6]))
    """
    of = "" if name == "the loader" else f" of {name}"
    for number, found in enumerate(loader, 1):
        parts = found if isinstance(found, list | tuple) else []
        if len(parts) not in (2, 3) or not is_array(parts[0]) or not is_array(parts[1]):
            raise DataError(
                f"batch {number} of {name} is {kind_of(found)}; expected (x, y) or (x, y, ids)."
            )
        x = as_data(f"x of batch {number}{of}", parts[0], network)
        y = as_data(f"y of batch {number}{of}", parts[1], network)
        ids = np.asarray(torch.as_tensor(parts[2]).cpu()) if len(parts) == 3 else None
        if len(y) != len(x) or (ids is not None and ids.shape != (len(x),)):
            got = "" if ids is None else f", `ids` shape {ids.shape}"
            raise ShapeError(
                f"batch {number} of {name} has {len(x)} rows of `x` and {len(y)} of `y`{got}; "
                "expected one of each for each datum."
            )
        yield Batch(x, y, ids)


class Passes:
    """Endless (epoch, batch) of a loader, which begins anew whenever it has come to its end.

    Args:
        loader: of batches.
        network: whose type and device they get.

    Attributes:
        ended: whether the batch given last was the last one of its pass.

    Example:
        >>> passes = Passes([(torch.zeros(2, 1), torch.zeros(2)) for _ in range(2)], nn.ReLU())
        >>> [(next(passes)[0], passes.ended) for _ in range(3)]
        [(0, False), (0, True), (1, False)]
    """

    def __init__(self, loader: Loader, network: nn.Module) -> None:
        self.ended = False
        self._all = self._endless(loader, network)

    def __iter__(self) -> Iterator[tuple[int, Batch]]:
        return self

    def __next__(self) -> tuple[int, Batch]:
        """The next batch, and the number of the pass that it is of."""
        return next(self._all)

    def _endless(self, loader: Loader, network: nn.Module) -> Iterator[tuple[int, Batch]]:
        epoch = 0
        while True:
            batches = batches_of(loader, network)
            batch = next(batches, None)
            if batch is None:
                raise DataError(f"the loader gives no batch in pass {epoch + 1}; expected some.")
            while batch is not None:
                # Only who looks ahead knows that a pass has ended.
                ahead = next(batches, None)
                self.ended = ahead is None
                yield epoch, batch
                batch = ahead
            epoch += 1


class LoadedData:
    """Weights and targets of each member for a batch of a loader.

    Args:
        members: who is trained.
        kind: of bootstrap; None is `"poisson"` where batches have ids, else `"none"`.
        redraw: whether each pass has a bootstrap of its own.
        noise: standard deviation of the noise on the targets.
        seed: decides weights and noise.
        first: the number of the first member.

    Raises:
        ConfigurationError: for a bootstrap that has to know all ids; later, if weights or noise
            are tied to ids, and batches have none.
    """

    def __init__(
        self,
        members: Ensemble | IndexedMembers,
        kind: Bootstrap | None,
        redraw: bool,
        noise: float,
        seed: int,
        first: int = 0,
    ) -> None:
        if kind == "multinomial":
            raise ConfigurationError(
                "`bootstrap` got 'multinomial' with a loader; expected 'poisson', the same but for "
                "the fixed sum of weights, for which all ids would have to be known at once."
            )
        self.members, self.kind, self.redraw = members, kind, redraw
        self.noise, self.seed, self.first = noise, seed, first

    def batch(self, epoch: int, batch: Batch) -> tuple[Tensor, Tensor]:
        """Weights `(members, batch)` and targets `(members, batch, *out)`."""
        kind = self.kind or ("none" if batch.ids is None else "poisson")
        if batch.ids is None and (kind != "none" or self.noise):
            name, value = ("bootstrap", kind) if kind != "none" else ("target_noise", self.noise)
            raise ConfigurationError(
                f"`{name}` got {value!r}, which belongs to a datum, but the loader's batches are "
                "(x, y); expected (x, y, ids), with one integer for each datum, such as its number "
                "in the data set."
            )
        ids = np.arange(len(batch.x)) if batch.ids is None else batch.ids
        if isinstance(self.members, IndexedMembers):
            return IndexedData(self.members, batch.y, ids, self.noise, self.seed).batch(epoch, None)
        size = self.members.num_members
        epoch = epoch if self.redraw else 0
        weights = weights_of_epochs(
            kind, size, ids, range(epoch, epoch + 1), seed=self.seed, first=self.first
        )[0]
        targets = batch.y.unsqueeze(0)
        if self.noise:
            shape = tuple(batch.y.shape[1:])
            normals = standard_normals(size, ids, shape, seed=self.seed, first=self.first)
            targets = targets + self.noise * normals.to(batch.y)
        return weights.to(batch.x.device), targets.expand(size, *batch.y.shape)
