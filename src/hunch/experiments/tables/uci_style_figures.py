"""Figures of the experiment on scikit-learn's tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hunch.experiments.tables.methods import GP, LAPLACE, OURS
from hunch.plots import BLACK, BLUE, GRAY, GREEN, ORANGE, PURPLE, RED, panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from hunch.experiments.tables.uci_style import Result

# Drawn in this order, ours on top.
_MARKS: Final = {
    "linear": (PURPLE, "v"),
    "gradient boosting": (GREEN, "^"),
    "one network": (RED, "x"),
    LAPLACE: (BLACK, "D"),
    GP: (ORANGE, "s"),
    OURS: (BLUE, "o"),
}


def draw(result: Result) -> dict[str, tuple[Figure, str]]:
    """Coverage and CRPS of the methods on each table for regression.

    Args:
        result: all splits.
    """
    return {"coverage": _coverage(result), "crps": _crps(result)}


def _coverage(result: Result) -> tuple[Figure, str]:
    figure, axes = _tables(result, "Do 90 % intervals cover 90 %?", "covered, % of held-out values")
    for method in (GP, OURS):
        covered = [
            100 * result.mean(table, method, "covered") for table in result.settings.regression
        ]
        _dots(axes, covered, method)
    axes.axvspan(88, 93, color=GRAY, alpha=0.2, lw=0)
    _legend_below(figure)
    caption = (
        f"Averaged over {result.settings.splits} splits of each table; the band is 88 to 93 %."
    )
    return figure, caption


def _crps(result: Result) -> tuple[Figure, str]:
    figure, axes = _tables(
        result, "How good is the whole forecast?", "CRPS over that of the Gaussian process", 4.2
    )
    methods = {trial.method for trial in result.trials}
    for method in (m for m in _MARKS if m in methods and m != GP):
        _dots(axes, [result.crps_ratio(t, method) for t in result.settings.regression], method)
    axes.axvline(1, color=ORANGE, lw=1.5)
    _legend_below(figure)
    s = result.settings
    caption = (
        f"Less is better; the line is the Gaussian process. Averaged over {s.splits} splits of "
        f"each table for randomised priors, over the first {s.beside_splits} for the others."
    )
    return figure, caption


def _tables(result: Result, title: str, label: str, height: float = 3.4) -> tuple[Figure, Axes]:
    """A panel with a row for each table, the first on top."""
    figure, axes = panel(title, label, "", height=height)
    tables = result.settings.regression
    axes.set_yticks(range(len(tables)), [table.replace(", ", ",\n") for table in tables])
    axes.invert_yaxis()
    axes.margins(y=0.1)
    return figure, axes


def _legend_below(figure: Figure) -> None:
    """Inside it would hide dots, which may be anywhere."""
    figure.legend(loc="outside lower center", ncols=2)


def _dots(axes: Axes, values: list[float], method: str) -> None:
    color, mark = _MARKS[method]
    axes.plot(values, range(len(values)), mark, color=color, label=method)
