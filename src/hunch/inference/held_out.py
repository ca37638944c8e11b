"""The losses on data that nobody trains on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from hunch.errors import ConfigurationError, DataError, ShapeError
from hunch.inference.data import check_targets, output_shape
from hunch.inference.indices import IndexedMembers
from hunch.inference.loaders import batches_of
from hunch.inference.losses import LossFunction
from hunch.inference.training import EarlyStopping
from hunch.nn import Ensemble
from hunch.nn.inputs import Loader, as_data, check_loader

Pair = tuple[Tensor, Tensor]


class HeldOut:
    """Data beside the training data, and what members lose on them.

    Args:
        members: who is asked, in eval mode.
        given: `(x, y)`, or a loader of batches `(x, y)`.
        loss: a function of predictions and targets.
        name: that of the loss, or the function itself.
        batch_size: rows of `(x, y)` asked about at once; all if None.

    Attributes:
        found: what members lost after each epoch, each `(members,)`.

    Raises:
        ConfigurationError: if `given` is neither.
        DataError: if data are empty, or hold NaN or infinities.
        ShapeError: if they do not fit the network.

    Example:
        >>> from hunch.inference.losses import loss_function
        >>> net = Ensemble(lambda: torch.nn.Linear(1, 1), 3)
        >>> data = torch.zeros(5, 1), torch.zeros(5, 1)
        >>> HeldOut(net, data, loss_function("mse", None), "mse").losses().shape
        torch.Size([3])
    """

    def __init__(
        self,
        members: Ensemble | IndexedMembers,
        given: Any,
        loss: LossFunction,
        name: object,
        batch_size: int | None = None,
    ) -> None:
        self.members, self.loss, self.name = members, loss, name
        self.pairs: list[Pair] | None = None
        self.loader: Loader = ()
        self.found: list[Tensor] = []
        if isinstance(given, tuple | list) and len(given) == 2 and all(map(_is_data, given)):
            self.pairs = self._parts(given, batch_size)
        else:
            if _is_data(given):
                raise ConfigurationError(
                    f"`validation` got {type(given).__name__}; expected (x, y), or a loader of "
                    "batches (x, y)."
                )
            check_loader("validation", given)
            self.loader = given

    def take(self) -> Tensor:
        """Keep the losses after an epoch, `(members,)`."""
        self.found.append(self.losses())
        return self.found[-1]

    def is_over(self, stopping: EarlyStopping | None) -> bool:
        """Take the losses after an epoch; whether training should stop."""
        found = self.take()
        return stopping is not None and stopping.is_over_with(float(found.mean()))

    @torch.no_grad()
    def losses(self) -> Tensor:
        """Each member's mean loss over the data, `(members,)`; members go on in training mode."""
        self.members.eval()
        try:
            total, count = torch.zeros(self.members.num_members), 0
            for x, y in self._loaded() if self.pairs is None else self.pairs:
                targets = y.expand(self.members.num_members, *y.shape)
                each = self.loss(self.members(x), targets)
                total += each.sum(dim=1).cpu()
                count += len(x)
        finally:
            self.members.train()
        if count == 0:
            raise DataError("`validation` gives no batch; expected at least one.")
        return total / count

    def _parts(self, given: Any, batch_size: int | None) -> list[Pair]:
        x, y = (as_data(f"validation[{i}]", part, self.members) for i, part in enumerate(given))
        if len(x) != len(y):
            raise ShapeError(
                f"`validation` has {len(x)} rows of x and {len(y)} of y; expected one target for "
                "each row."
            )
        check_targets(self.name, y, output_shape(self.members, x), "validation[1]")
        size = batch_size or len(x)
        return list(zip(x.split(size), y.split(size), strict=True))

    def _loaded(self) -> Iterator[Pair]:
        out = None
        for batch in batches_of(self.loader, self.members, "validation"):
            out = output_shape(self.members, batch.x) if out is None else out
            check_targets(self.name, batch.y, out, "y of validation")
            yield batch.x, batch.y


def _is_data(part: object) -> bool:
    return isinstance(part, Tensor) or hasattr(part, "__array__")
