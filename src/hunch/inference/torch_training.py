"""Training in torch, step by step; `compiled` is the other way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hunch.errors import ShapeError
from hunch.inference.losses import LossFunction
from hunch.inference.optimizers import OwnOptimizer
from hunch.inference.sources import Source
from hunch.inference.training import MemberAdam, Stopping, check_not_diverged, squared_norm
from hunch.seeding import Key, default_generator_seeded


@dataclass(frozen=True)
class TorchTraining:
    """A training whose steps torch makes.

    Args:
        parameters: what is trained.
        source: what the steps go through.
        forward: from a batch of it to predictions.
        loss: of predictions and targets.
        optimizer: moves the parameters.
        pull: what a member's squared parameters add to its loss, times this.
        shared: whether the parameters are of all members together.
        chance: what decides the random numbers of a step, before its number: a seed and keys.
            None leaves them to torch's default generator.
    """

    parameters: list[nn.Parameter]
    source: Source
    forward: Callable[[Any], Tensor]
    loss: LossFunction
    optimizer: MemberAdam | OwnOptimizer
    pull: float | Tensor | None
    shared: bool
    chance: tuple[int, Key, Key] | None = None

    def made(
        self, losses: Tensor, stopping: Stopping | None, start: int = 0
    ) -> Iterator[tuple[int, int]]:
        """Make the steps of a training.

        Args:
            losses: where each member's loss before each step goes, `(steps, members)`.
            stopping: what may end it early, by the out-of-bag loss, or None.
            start: steps that were made before.

        Yields:
            How many steps are done, and how many of them the bar of progress has not been told of.
        """
        steps, source = len(losses), self.source
        refresh = max(1, steps // 200)
        for step, (epoch, rows) in zip(range(start, steps), source.order, strict=False):
            with self._chance_of(step):
                each, weights = self._errors(epoch, rows)
                if stopping is not None:
                    counted = each if source.evidence is None else each * _of(source.evidence, rows)
                    if stopping.is_over(counted, weights):
                        return
                if source.importance is not None:
                    each = each * _of(source.importance, rows)
                self._move((each * weights).mean(dim=1), losses[step])
            done, more = step + 1, 0
            if done % refresh == 0 or done == steps:
                check_not_diverged([losses[done - 1 - step % refresh : done]], done)
                more = done - step // refresh * refresh
            yield done, more

    def _chance_of(self, step: int) -> AbstractContextManager[None]:
        if self.chance is None:
            return nullcontext()
        return default_generator_seeded(*self.chance, step)

    def _errors(self, epoch: int, rows: Any) -> tuple[Tensor, Tensor]:
        """The loss of each member and datum, and how much it counts, both `(members, batch)`."""
        weights, targets = self.source.data.batch(epoch, rows)
        each = self.loss(self.forward(rows), targets)
        if each.shape != weights.shape:
            raise ShapeError(
                f"`loss` returned shape {tuple(each.shape)}; expected (members, batch) = "
                f"{tuple(weights.shape)}."
            )
        return each, weights

    def _move(self, loss: Tensor, kept: Tensor) -> None:
        """Make a step down the members' losses, which are kept with their ridge."""
        kept.copy_(loss.detach())
        if self.pull is not None:  # its gradient needs no graph
            with torch.no_grad():
                kept += self.pull * squared_norm(self.parameters, shared=self.shared)
        self.optimizer.step(loss.mean() if self.shared else loss.sum(), self.pull)


def _of(values: Tensor, rows: Tensor | None) -> Tensor:
    return values if rows is None else values[rows]
