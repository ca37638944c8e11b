"""The members that are trained apart from others: all, or a block of a divided ensemble."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from hunch.errors import ConfigurationError
from hunch.inference.bootstrap import Ids
from hunch.inference.compiled import Chain, CompiledTraining, chain_of, made_by
from hunch.inference.held_out import HeldOut
from hunch.inference.indices import IndexedMembers
from hunch.inference.losses import LossFunction
from hunch.inference.optimizers import OptimizerOf, OwnOptimizer, ScheduleOf
from hunch.inference.sources import Recipe, Source, from_loader, in_memory
from hunch.inference.torch_training import TorchTraining
from hunch.inference.training import (
    MemberAdam,
    MemberData,
    Memory,
    Stopping,
)
from hunch.nn import Ensemble, Epinet
from hunch.nn.borrowing import tensors_of
from hunch.nn.inputs import Data, Loader
from hunch.nn.noisy_base import DrawingLayer
from hunch.seeding import Key
from hunch.storage.parts import under

Members = Ensemble | IndexedMembers


@dataclass(frozen=True)
class Plan:
    """What `fit` was asked for, as far as the members of a part have to know it.

    Args:
        x: inputs, or a loader.
        y: targets; None with a loader.
        recipe: how members' data differ.
        loss: what each loses.
        rates: learning rates, one or one a member.
        pulls: ridges, one or one a member.
        optimizer: as in `fit`, checked.
        schedule: likewise.
        max_gradient_norm: likewise.
        validation: likewise.
        weight: likewise.
        ids: likewise.
        batch_size: likewise.
        total: members of the whole ensemble.
        one_by_one: whether somebody looks after each step.
        chance: what decides random numbers of forwards; None is torch's default generator.
    """

    x: Data | Loader
    y: Data | None
    recipe: Recipe
    loss: LossFunction
    rates: float | Tensor
    pulls: float | Tensor
    optimizer: OptimizerOf | None
    schedule: ScheduleOf | None
    max_gradient_norm: float | None
    validation: Any
    weight: Data | None
    ids: Ids | None
    batch_size: int | None
    total: int
    one_by_one: bool
    chance: int | None


@dataclass
class Part:
    """Members, their data and their optimizer, between two steps.

    Args:
        numbers: which members of the ensemble they are.
        network: whose tensors are trained.
        trainable: those among them.
        source: what the steps go through.
        training: makes the steps.
        at_once: how many of them in one call of the kernel.
        watched: the data beside the training data, or None.
        bag: what notes the out-of-bag losses, or None.
        losses: each member's before each step, `(steps, members)`.
        indices: of an epinet, whose generator goes on; else None.
    """

    numbers: range
    network: Ensemble | Epinet
    trainable: list[nn.Parameter]
    source: Source
    training: CompiledTraining | TorchTraining
    at_once: int
    watched: HeldOut | None
    bag: Stopping | None
    losses: Tensor
    indices: IndexedMembers | None
    made: Iterator[tuple[int, int]] = field(default_factory=lambda: iter(()))
    done: int = 0

    def begin(self, start: int, until: Callable[[int], int]) -> None:
        """Stand before the first step that is to be made.

        Args:
            start: steps that were made by another process.
            until: says of a number of steps done how many are to be done before the next look.
        """
        deque(itertools.islice(self.source.order, start), maxlen=0)
        self.done = start
        if isinstance(self.training, CompiledTraining):
            self.training.done = start
            order = self.source.order
            self.made = made_by(self.training, order, self.losses, self.bag, self.at_once, until)
        else:
            self.made = self.training.made(self.losses, self.bag, start)

    def go_to(self, step: int) -> None:
        """Make steps until so many are done."""
        while self.done < step:
            self.done, _ = next(self.made)

    @property
    def changing(self) -> list[Tensor]:
        """What a step may change: in the kernel parameters alone."""
        compiled = isinstance(self.training, CompiledTraining)
        return [*self.trainable, *(() if compiled else self.network.buffers())]

    def memory(self, done: int) -> Memory:
        """What the next steps depend on."""
        moved = self.training if isinstance(self.training, CompiledTraining) else None
        own, values = (moved or cast("TorchTraining", self.training).optimizer).memory()
        tensors = {f"network.{n}": t.detach() for n, t in self.tensors.items()}
        tensors |= {f"optimizer.{name}": tensor for name, tensor in own.items()}
        tensors["losses"] = self.losses[:done]
        if self.watched is not None and self.watched.found:
            tensors["validation"] = torch.stack(self.watched.found)
        if self.bag is not None and self.bag.seen:
            tensors["seen"] = torch.stack(self.bag.seen)
        if self.indices is not None:
            tensors["generator"] = self.indices.generator.get_state()
        return tensors, values

    def recall(self, memory: Memory, done: int) -> None:
        """Go on where the one with this memory stood."""
        tensors, values = memory
        with torch.no_grad():
            for name, tensor in self.tensors.items():
                tensor.copy_(tensors[f"network.{name}"])
        moved = self.training if isinstance(self.training, CompiledTraining) else None
        optimizer = moved or cast("TorchTraining", self.training).optimizer
        optimizer.recall((under("optimizer.", tensors), values))
        self.losses[:done] = tensors["losses"]
        if self.watched is not None and "validation" in tensors:
            self.watched.found = list(tensors["validation"].unbind())
        if self.bag is not None and "seen" in tensors:
            self.bag.seen = list(tensors["seen"].unbind())
        if self.indices is not None:
            self.indices.generator.set_state(tensors["generator"])

    @property
    def tensors(self) -> dict[str, Tensor]:
        """All parameters and buffers, by name."""
        root = self.network.skeleton if isinstance(self.network, Ensemble) else self.network
        return tensors_of(root)


def part_of(
    plan: Plan, network: Ensemble | Epinet, members: Members, numbers: range, losses: Tensor
) -> Part:
    """Everything that some members need to be trained.

    Args:
        plan: what was asked for.
        network: they, or the epinet that they are of.
        members: they.
        numbers: which of the whole ensemble they are.
        losses: where each member's before each step goes, `(steps, members)`.

    Raises:
        ConfigurationError: for what cannot be trained so.
        DataError: if data are empty or hold NaN or infinities.
        ShapeError: if shapes do not fit the network.
    """
    trainable = [p for p in network.parameters() if p.requires_grad]
    shared = isinstance(network, Epinet)
    if plan.chance is not None:
        _check_chance(network)
    rates, pulls = (_own(value, numbers, plan.total) for value in (plan.rates, plan.pulls))
    ridged = isinstance(pulls, Tensor) or pulls > 0
    own = None
    if plan.optimizer is not None or plan.schedule is not None:
        rate = cast("float", rates)  # `fit` has refused others
        norm = plan.max_gradient_norm
        own = OwnOptimizer(trainable, plan.optimizer, plan.schedule, rate, norm, shared=shared)
    recipe = replace(plan.recipe, first=numbers.start)
    if plan.y is None:
        source = from_loader(members, cast("Loader", plan.x), recipe, counted=ridged)
    else:
        source = in_memory(
            members,
            cast("Data", plan.x),
            plan.y,
            recipe,
            ids=plan.ids,
            weight=plan.weight,
            batch_size=plan.batch_size,
        )
    pull = pulls / source.size if ridged else None
    watched = None
    if plan.validation is not None:
        asked = members
        if isinstance(network, Epinet):  # each time under the same indices
            size, seed = members.num_members, recipe.seed
            asked = IndexedMembers(network, size, seed=seed, purpose="prediction")
        watched = HeldOut(asked, plan.validation, plan.loss, recipe.loss, plan.batch_size)
    chain = _chain(network, source.x, plan, own)
    at_once = 1
    training: CompiledTraining | TorchTraining
    if chain is not None:
        training = CompiledTraining(
            chain,
            cast("Ensemble", members),
            cast("Tensor", source.x),
            cast("MemberData", source.data),
            recipe.loss,
            source.importance,
            source.evidence,
            rates,
            pull,
            plan.max_gradient_norm,
        )
        batch = min(plan.batch_size or source.size, source.size)
        at_once = 1 if plan.one_by_one else training.steps_at_once(batch)
    else:
        moved = own or MemberAdam(trainable, rates, plan.max_gradient_norm, shared=shared)
        chance: tuple[int, Key, Key] | None = None
        if plan.chance is not None:
            chance = plan.chance, "forward", numbers.start
        training = TorchTraining(
            trainable, source, source.forward(members), plan.loss, moved, pull, shared, chance
        )
    indices = members if isinstance(members, IndexedMembers) else None
    return Part(
        numbers, network, trainable, source, training, at_once, watched, None, losses, indices
    )


def _chain(
    network: Ensemble | Epinet, x: Tensor | None, plan: Plan, own: OwnOptimizer | None
) -> Chain | None:
    """What the kernel is to train; None where torch is to."""
    if not isinstance(network, Ensemble) or network.engine not in ("auto", "kernel"):
        return None
    chain: Chain | str
    if own is not None:
        chain = "an optimizer or a schedule of your own"
    else:
        chain = "a loader" if x is None else chain_of(network, x, plan.recipe.loss)
    if network.engine == "auto":
        return chain if isinstance(chain, Chain) and chain.wins(plan.total) else None
    if isinstance(chain, str):
        raise ConfigurationError(
            f"`engine='kernel'` cannot train with {chain}; expected engine='auto', which takes "
            "torch there."
        )
    return chain


def _own(value: float | Tensor, numbers: range, total: int) -> float | Tensor:
    """What a number is, or a number for each member of the ensemble, for some of them."""
    if not isinstance(value, Tensor) or len(numbers) == total:
        return value
    return value[numbers.start : numbers.stop]


def _check_chance(network: nn.Module) -> None:
    """Refuse noise that does not come from the seed alone."""
    for layer in network.modules():
        if isinstance(layer, DrawingLayer) and (layer._shared or layer.active_mode == "held"):
            raise ConfigurationError(
                "a noisy layer has a generator of its own, or holds its noise; expected fresh "
                "noise without a generator where members are divided or a `checkpoint` is kept: "
                "it is drawn by `seed`, member and step."
            )
