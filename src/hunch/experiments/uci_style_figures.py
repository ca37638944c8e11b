"""Figures of the experiment on scikit-learn's tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hunch.experiments.table_methods import GP, OURS
from hunch.plots import BLUE, GRAY, ORANGE, panel

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hunch.experiments.uci_style import Result


def draw(result: Result) -> dict[str, tuple[Figure, str]]:
    """Coverage of 90 % intervals on each table, ours and the Gaussian process's.

    Args:
        result: all splits.
    """
    figure, axes = panel("Do 90 % intervals cover 90 %?", "covered, % of held-out values", "")
    tables = result.settings.regression[::-1]
    for method, color, mark in ((GP, ORANGE, "s"), (OURS, BLUE, "o")):
        covered = [100 * result.mean(table, method, "covered") for table in tables]
        axes.plot(covered, range(len(tables)), mark, color=color, label=method)
    axes.set_yticks(range(len(tables)), [table.replace(", ", ",\n") for table in tables])
    axes.axvspan(88, 93, color=GRAY, alpha=0.2, lw=0)
    axes.legend()
    caption = (
        f"Averaged over {result.settings.splits} splits of each table; the band is 88 to 93 %."
    )
    return {"coverage": (figure, caption)}
