"""What the steps of a training go through: data in memory, or the batches of a loader."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hunch.errors import ConfigurationError, DataError, ShapeError
from hunch.inference.bootstrap import Bootstrap, Ids
from hunch.inference.data import check_targets, output_shape
from hunch.inference.indices import IndexedData, IndexedMembers
from hunch.inference.loaders import Batch, LoadedData, Passes, batches_of
from hunch.inference.losses import Loss
from hunch.inference.training import (
    MemberData,
    as_evidence,
    batches,
    forward_on,
    times_an_epoch,
)
from hunch.nn import Ensemble
from hunch.nn.inputs import Data, Loader, as_data

Members = Ensemble | IndexedMembers
Order = Iterator[tuple[int, Any]]
"""Epoch and batch of each step: rows of the data, None for all of them, or a loader's `Batch`."""


@dataclass(frozen=True)
class Source:
    """Data to train on, in the order of the steps.

    Args:
        data: gives the members' weights and targets of a batch.
        order: endless.
        size: number of data; 1 where nobody asks.
        ended: says of a number of steps just done whether an epoch has ended with it.
        per_epoch: steps in an epoch, where it is known.
        x: all inputs; None where they come from a loader.
        importance: how much each datum counts, or None.
        evidence: how much each counts where members did not see it, or None.
    """

    data: MemberData | IndexedData | LoadedData
    order: Order
    size: int
    ended: Callable[[int], bool]
    per_epoch: int = 1
    x: Tensor | None = None
    importance: Tensor | None = None
    evidence: Tensor | None = None

    def forward(self, members: Members) -> Callable[[Any], Tensor]:
        """From a batch of the order to the members' predictions."""
        if self.x is None:
            return lambda batch: members(batch.x)
        return forward_on(members, self.x)


@dataclass(frozen=True)
class Recipe:
    """How members' data differ, and what they are for.

    Args:
        bootstrap: its kind; None for the usual one.
        redraw: whether each epoch has one of its own.
        target_noise: standard deviation of the noise on the targets.
        loss: its name, or a function.
        seed: decides weights, noise and batches.
        first: the number of the first member.
    """

    bootstrap: Bootstrap | None
    redraw: bool
    target_noise: float
    loss: Loss
    seed: int
    first: int = 0


def in_memory(
    members: Members,
    x: Data,
    y: Data,
    recipe: Recipe,
    *,
    ids: Ids | None = None,
    weight: Data | None = None,
    batch_size: int | None = None,
) -> Source:
    """All data at once, shuffled into batches.

    Args:
        members: who is trained.
        x: inputs `(data, …)`.
        y: targets `(data, *out)`.
        recipe: how members' data differ.
        ids: one integer for each datum; its position if None.
        weight: how much each datum counts, `(data,)`.
        batch_size: data in a step; all of them if None.

    Raises:
        ConfigurationError: for noise on class numbers.
        DataError: if data are empty or hold NaN or infinities, or a weight is negative.
        ShapeError: if lengths differ or shapes do not fit the network.
    """
    x, y = as_data("x", x, members), as_data("y", y, members)
    n = x.shape[0]
    if y.shape[0] != n:
        raise ShapeError(
            f"`x` has {n} rows and `y` has {y.shape[0]}; expected one target for each row."
        )
    keys = np.arange(n) if ids is None else np.asarray(ids)
    if len(keys) != n:
        raise ShapeError(f"`ids` has {len(keys)} entries; expected {n}, one for each row of `x`.")
    importance = None if weight is None else _importance(as_data("weight", weight, members), n)
    check_targets(recipe.loss, y, output_shape(members, x))
    if recipe.loss == "cross_entropy":
        y = y.long()  # of unsigned integers torch has few functions
    _check_noise(recipe, y)
    noise, seed = recipe.target_noise, recipe.seed
    data: MemberData | IndexedData
    if isinstance(members, IndexedMembers):
        data = IndexedData(members, y, keys, noise, seed)
    else:
        kind = recipe.bootstrap or "multinomial"
        data = MemberData(members, x, y, keys, kind, recipe.redraw, noise, seed, recipe.first)
    evidence = None if importance is None else as_evidence(importance)
    entries = None
    if importance is not None and evidence is not None and batch_size and batch_size < n:
        times = times_an_epoch(importance)
        entries = torch.arange(n).repeat_interleave(times.cpu())
        share = len(entries) / n / times
        importance, evidence = importance * share, evidence * share
    per_epoch = 1 if batch_size is None else math.ceil(n / batch_size)
    order = batches(n, batch_size, seed, entries)
    return Source(
        data, order, n, lambda done: done % per_epoch == 0, per_epoch, x, importance, evidence
    )


def from_loader(members: Members, loader: Loader, recipe: Recipe, *, counted: bool) -> Source:
    """The batches of a loader, which begins anew at its end.

    Args:
        members: who is trained.
        loader: of batches `(x, y)` or `(x, y, ids)`.
        recipe: how members' data differ.
        counted: whether to go through it once before, to know the number of data.

    Raises:
        ConfigurationError: for a bootstrap that has to know all ids at once.
        DataError: if there is no batch; in the steps, if one is none.
        ShapeError: in the steps, if one does not fit the network.
    """
    data = LoadedData(
        members, recipe.bootstrap, recipe.redraw, recipe.target_noise, recipe.seed, recipe.first
    )
    size = sum(len(batch.x) for batch in batches_of(loader, members)) if counted else 1
    if size == 0:
        raise DataError("the loader gives no batch; expected at least one.")
    passes = Passes(loader, members)
    return Source(data, _fitting(passes, members, recipe), size, lambda done: passes.ended)


def _fitting(passes: Passes, members: Members, recipe: Recipe) -> Iterator[tuple[int, Batch]]:
    """The batches, each once it is seen to fit."""
    out = None
    for epoch, batch in passes:
        if out is None:
            out = output_shape(members, batch.x)
            _check_noise(recipe, batch.y)
        check_targets(recipe.loss, batch.y, out, "y of a batch")
        yield epoch, batch


def _importance(weight: Tensor, n: int) -> Tensor:
    if weight.shape != (n,):
        raise ShapeError(
            f"`weight` got shape {tuple(weight.shape)}; expected ({n},), one for each row of `x`."
        )
    if bool((weight < 0).any()):
        raise DataError("`weight` holds negative values; expected at least 0.")
    return weight


def _check_noise(recipe: Recipe, y: Tensor) -> None:
    if recipe.target_noise and not y.is_floating_point():
        raise ConfigurationError(
            f"`target_noise` got {recipe.target_noise} with class numbers as targets; expected 0."
        )
