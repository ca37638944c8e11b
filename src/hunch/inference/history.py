"""How a training went."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from hunch.charts import BLUE, ORANGE, Chart
from hunch.shown import card, data_frame, plotted

if TYPE_CHECKING:
    from hunch.shown import Axes, DataFrame

_POINTS: Final = 150  # of the small chart of a notebook


@dataclass(frozen=True, repr=False)
class History:
    """How a training went.

    Args:
        loss: each member's loss before each step, `(steps, members)`, ridge included; of an epinet
            that of each index drawn for the step.
        out_of_bag: with `patience` and no `validation`, the loss on data that members do not train
            on, averaged over members, `(epochs,)`; else empty.
        validation: with `validation`, each member's loss on those data after each epoch and after
            the last step, `(epochs, members)`; else empty.

    Example:
        >>> History(torch.tensor([[4.0, 2.0], [1.0, 2.0]]))
        History(2 steps, 2 members: mean loss 3 to 1.5)
    """

    loss: Tensor
    out_of_bag: Tensor = field(default_factory=lambda: torch.empty(0))
    validation: Tensor = field(default_factory=lambda: torch.empty(0))

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw the members' mean loss, a band of nine tenths of them, and that on other data.

        Args:
            ax: matplotlib's axes to draw in; None makes a figure.

        Raises:
            MissingDependencyError: if matplotlib is not installed.

        Example:
            >>> History(torch.rand(20, 5)).plot().get_xlabel()
            'steps'
        """
        return plotted(self, ax=ax)

    def to_frame(self) -> DataFrame:
        """A data frame of pandas, a row a step, a column a member: `loss_0`, `loss_1`, ….

        Raises:
            MissingDependencyError: if pandas is not installed.

        Example:
            >>> list(History(torch.rand(20, 2)).to_frame())
            ['loss_0', 'loss_1']
        """
        loss = self.loss.detach().cpu().numpy()
        return data_frame({f"loss_{k}": loss[:, k] for k in range(loss.shape[1])})

    def __repr__(self) -> str:
        return f"History({self._size()}: {self._course()})"

    def _repr_html_(self) -> str:
        if not len(self.loss):
            return card(f"History: {self._size()}", [])
        mean = self.loss.detach().mean(1).cpu()
        steps = torch.linspace(0, len(mean) - 1, min(len(mean), _POINTS)).long()
        log = bool(mean.min() > 0 and mean.max() > 10 * mean.min())
        chart = Chart("", "steps", "loss", height=180, log_y=log)
        chart.line(steps + 1, mean[steps], BLUE, label="mean of members")
        name, unseen = self.unseen
        if name:
            ends = torch.linspace(0, len(mean), len(unseen) + 1)[1:]
            chart.line(ends, unseen, ORANGE, label=name)
        return card(f"History: {self._size()}", [[self._course()]], chart)

    @property
    def unseen(self) -> tuple[str, Tensor]:
        """The mean loss on data that are not trained on, `(epochs,)`, and their name, or ""."""
        if len(self.validation):
            return "validation", self.validation.detach().mean(1).cpu()
        return "out of bag" if len(self.out_of_bag) else "", self.out_of_bag.detach().cpu()

    def _size(self) -> str:
        steps, members = self.loss.shape
        return f"{steps:,} steps, {members:,} members"

    def _course(self) -> str:
        if not len(self.loss):
            return "no step was made"
        first, last = self.loss[0].mean().item(), self.loss[-1].mean().item()
        said = f"mean loss {first:.4g} to {last:.4g}"
        name, unseen = self.unseen
        if name:
            said += f", {name} {unseen[-1].item():.4g}"
        return said
