"""All parts of an ensemble in training, step by step, and what is decided about all of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from hunch.errors import ConfigurationError
from hunch.inference.parts import Part
from hunch.inference.training import EarlyStopping, MemberData, MembersUnseen
from hunch.nn.ranks import Share


class Together:
    """The parts of an ensemble: one, or the blocks of members of this process.

    Args:
        parts: in the order of their members.
        share: this process's part of a divided ensemble; None for a whole one.
        patience: as in `fit`.
        growth: its growth.
        steps: most of them.
        look_every: steps after which the caller looks at the latest; None has no such need.

    Raises:
        ConfigurationError: if nothing is left out of any member's data, on which to wait.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        share: Share | None,
        patience: int | None,
        growth: float,
        steps: int,
        look_every: int | None,
    ) -> None:
        self.parts, self.share, self.steps = parts, share, steps
        self.look_every = look_every
        self.per_epoch = parts[0].source.per_epoch
        self.watched = parts[0].watched is not None
        self.stopping: EarlyStopping | None = None
        if patience is not None:
            per_epoch = self.per_epoch
            self.stopping = EarlyStopping(self._changing, patience, per_epoch, growth)
            if not self.watched:
                self._check_out_of_bag()
                for part in parts:
                    part.bag = self.stopping if share is None else _bag_of(part, per_epoch)

    def _changing(self) -> list[Tensor]:
        return [tensor for part in self.parts for tensor in part.changing]

    def _check_out_of_bag(self) -> None:
        """Refuse to wait for a loss on data that members do not train on where there are none."""
        some = any(
            isinstance(part.source.data, MemberData)
            and not part.source.data.redraw
            and bool((part.source.data.weights == 0).any())
            for part in self.parts
        )
        if not self._any(some):
            raise ConfigurationError(
                "`patience` needs data that members do not train on; expected redraw=False and a "
                "`bootstrap` that leaves some out: 'multinomial', 'poisson' or "
                "'double_or_nothing'."
            )

    def made(self, start: int) -> Iterator[tuple[int, int]]:
        """Make the steps of all parts.

        Args:
            start: how many were made by another process.

        Yields:
            How many steps are done, and how many of them the bar of progress has not been told of.
        """
        for part in self.parts:
            part.begin(start, self._next_look)
        if self.share is None:
            yield from self.parts[0].made
            return
        done = start
        while done < self.steps:
            step = self._next_look(done)
            for part in self.parts:
                part.go_to(step)
            yield step, step - done
            done = step

    def _next_look(self, done: int) -> int:
        """The next number of steps at which something is decided about all parts."""
        looks = [self.steps]
        if self.look_every is not None:
            looks.append((done // self.look_every + 1) * self.look_every)
        if self.share is not None and (self.watched or self.stopping is not None):
            # Only a loader knows when it ends.
            per_epoch = 1 if self.parts[0].source.x is None else self.per_epoch
            looks.append((done // per_epoch + 1) * per_epoch)
        return min(looks)

    def ended_epoch(self, done: int) -> bool:
        """Whether an epoch has ended with the step that was the last one done."""
        return self.parts[0].source.ended(done)

    def is_over_by_bag(self, done: int) -> bool:
        """Whether the out-of-bag losses of all blocks say so, with those of the last step."""
        if self.stopping is None or self.share is None or done % self.per_epoch:
            return False
        each = [part.bag for part in self.parts if isinstance(part.bag, MembersUnseen)]
        if not each:
            return False
        sums = self.share.gathered(torch.cat([bag.sums for bag in each], dim=1).T.cpu())
        total, count = (math.fsum(column) for column in sums.T.tolist())
        over = self.stopping.is_over_with(
            total / count if count else math.inf,
            lambda: [tensor for bag in each for tensor in bag.candidates],
        )
        for bag in each:
            bag.candidates = []
        return over

    def is_over_by_watched(self) -> bool:
        """Take the losses on data beside the training data; whether training should stop."""
        watched = [part.watched for part in self.parts if part.watched is not None]
        if self.share is None:
            return watched[0].is_over(self.stopping)
        found = torch.cat([each.take() for each in watched])
        if self.stopping is None:
            return False
        # A sum that is right to the last bit does not depend on the order.
        total = math.fsum(self.share.gathered(found.double()).tolist())
        return self.stopping.is_over_with(total / self.share.total)

    def is_over_by_call(self, over: bool) -> bool:
        """Whether one of the processes wants to end."""
        return self._any(over)

    def _any(self, flag: bool) -> bool:
        if self.share is None:
            return flag
        return bool(self.share.reduced(torch.tensor([int(flag)]), "max"))

    @property
    def validation(self) -> Tensor:
        """What members lost on data beside the training data, `(epochs, members)`."""
        found = [part.watched.found for part in self.parts if part.watched is not None]
        if not found or not found[0]:
            return torch.empty(0)
        return torch.cat([torch.stack(each) for each in found], dim=1)


def _bag_of(part: Part, per_epoch: int) -> MembersUnseen:
    return MembersUnseen(lambda: part.changing, per_epoch)
