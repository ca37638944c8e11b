"""How an agent's training episodes went."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from hunch.charts import BLUE, GRAY, Chart, running_mean
from hunch.shown import card, data_frame, plotted

if TYPE_CHECKING:
    from hunch.shown import Axes, DataFrame

SHOWN_EPISODES: Final = 20  # progress, reports and reprs give the mean return of this many
_DOTS: Final = 400  # of the small chart of a notebook


@dataclass(repr=False)
class History:
    """How the training episodes went, one entry for each one finished.

    Args:
        returns: sum of rewards, in double precision and as the environment gave them.
        lengths: environment steps in the episode.
        ends: environment steps since the first episode began, when this one ended.
        infos: the numbers in the environment's last `info`, but for NaN.

    Example:
        >>> History([1.0, 3.0], [10, 20], [10, 30], [{}, {}])
        History(2 episodes in 30 steps: mean return of the last 2: 2)
    """

    returns: list[float] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    infos: list[dict[str, float]] = field(default_factory=list)

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw the return of each episode, and the mean of the last twenty.

        Args:
            ax: matplotlib's axes to draw in; None makes a figure.

        Raises:
            MissingDependencyError: if matplotlib is not installed.

        Example:
            >>> History([1.0, 3.0], [10, 20], [10, 30], [{}, {}]).plot().get_ylabel()
            'return'
        """
        return plotted(self, ax=ax)

    def to_frame(self) -> DataFrame:
        """A data frame of pandas, a row an episode: `end`, `return`, `length` and the infos.

        Raises:
            MissingDependencyError: if pandas is not installed.

        Example:
            >>> History([1.0], [10], [10], [{"won": 1.0}]).to_frame().columns.tolist()
            ['end', 'return', 'length', 'info.won']
        """
        names = sorted({name for info in self.infos for name in info})
        infos = {f"info.{n}": [info.get(n, np.nan) for info in self.infos] for n in names}
        return data_frame(
            {"end": self.ends, "return": self.returns, "length": self.lengths, **infos}
        )

    def __repr__(self) -> str:
        return f"History({self.in_words()})"

    def _repr_html_(self) -> str:
        return card("History", [[self.in_words()]], self.chart())

    def in_words(self) -> str:
        """How many episodes there were, and what the last ones returned."""
        if not self.returns:
            return "no episode ended yet"
        last = self.returns[-SHOWN_EPISODES:]
        return (
            f"{len(self.returns):,} episodes in {self.ends[-1]:,} steps: mean return of the last "
            f"{len(last)}: {np.mean(last):.4g}"
        )

    def chart(self) -> Chart | None:
        """Returns of the episodes, of very many some, and the mean around them; None for none."""
        if not self.returns:
            return None
        ends, returns = np.array(self.ends), np.array(self.returns)
        mean = running_mean(returns, SHOWN_EPISODES)
        some = np.unique(np.linspace(0, len(ends) - 1, _DOTS).astype(int))
        chart = Chart("", "environment steps", "return", height=200)
        chart.dots(ends[some], returns[some], GRAY, size=3, opacity=0.5, label="episode")
        return chart.line(ends[some], mean[some], BLUE, label=f"mean of {SHOWN_EPISODES}")
