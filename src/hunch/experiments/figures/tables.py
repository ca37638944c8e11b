"""Figures of the experiments on tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hunch.experiments.figures.shared import curves
from hunch.experiments.tables import far_from_data as far
from hunch.experiments.tables import uci_style as uci
from hunch.experiments.tables.methods import GP, LAPLACE, OURS
from hunch.plots import BLACK, BLUE, GRAY, GREEN, ORANGE, PURPLE, RED, panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from hunch.experiments.figures.shared import Drawn, Figures

# Drawn in this order, ours on top.
_MARKS: Final = {
    "linear": (PURPLE, "v"),
    "gradient boosting": (GREEN, "^"),
    "one network": (RED, "x"),
    LAPLACE: (BLACK, "D"),
    GP: (ORANGE, "s"),
    OURS: (BLUE, "o"),
}


def uci_style(result: uci.Result) -> Figures:
    """Coverage and CRPS of the methods on each table for regression."""
    return {"coverage": _coverage(result), "crps": _crps(result)}


def _coverage(result: uci.Result) -> Drawn:
    figure, axes = _tables(result, "Do 90 % intervals cover 90 %?", "covered, % of held-out values")
    for method in (GP, OURS):
        covered = [
            100 * result.tables[table][method]["covered"] for table in result.settings.regression
        ]
        _dots(axes, covered, method)
    axes.axvspan(88, 93, color=GRAY, alpha=0.2, lw=0)
    _legend_below(figure)
    caption = (
        f"Averaged over {result.settings.splits} splits of each table; the band is 88 to 93 %."
    )
    return figure, caption


def _crps(result: uci.Result) -> Drawn:
    figure, axes = _tables(
        result, "How good is the whole forecast?", "CRPS over that of the Gaussian process", 4.2
    )
    for method in _MARKS:
        ratios = [own[method] for own in result.ratios.values() if method in own]
        if ratios and method != GP:
            _dots(axes, ratios, method)
    axes.axvline(1, color=ORANGE, lw=1.5)
    _legend_below(figure)
    s = result.settings
    caption = (
        f"Less is better; the line is the Gaussian process. Averaged over {s.splits} splits of "
        "each table for randomised priors"
    )
    others = any(len(own) > 1 for own in result.ratios.values())
    rest = f", over the first {s.beside_splits} for the others." if others else "."
    return figure, caption + rest


def _tables(result: uci.Result, title: str, label: str, height: float = 3.4) -> tuple[Figure, Axes]:
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


def far_from_data(result: far.Result) -> Figures:
    """The largest probability by distance, with priors that grow and with such as do not."""
    figures = {}
    for name, model in (("growing", far.GROWING), ("level", far.LEVEL)):
        medians = {t: result.said[t, model, "all"].medians for t in result.settings.classes}
        title = f"Far from the data: {model}"
        figure, axes = curves(
            title, "distance / sd", "largest probability", far.DISTANCES, medians, style="o-"
        )
        axes.set_ylim(0, 1.03)
        axes.legend(fontsize=8)
        caption = (
            f"Median over test rows of {result.settings.splits} splits, "
            f"{result.settings.num_members} networks."
        )
        figures[f"far-from-data-{name}"] = (figure, caption)
    return figures
