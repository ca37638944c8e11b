"""Figures of the experiments on tables."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from hunch.experiments.figures.shared import curves
from hunch.experiments.tables import far_from_data as far
from hunch.experiments.tables import peers
from hunch.experiments.tables import real_tables as real
from hunch.experiments.tables import uci as published
from hunch.experiments.tables import uci_style as style
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
_PEER_MARKS: Final = {
    peers.BOOSTING: (GREEN, "^"),
    peers.FOREST: (RED, "x"),
    peers.CV_PLUS: (GREEN, "v"),
    peers.NGBOOST: (BLACK, "D"),
    peers.CATBOOST: (PURPLE, "P"),
    peers.GP: (ORANGE, "s"),
}
_FARTHEST: Final = 4.0  # times as good, at the edge of the figure


def uci_style(result: style.Result) -> Figures:
    """Coverage and CRPS of the methods on each table for regression."""
    return {"coverage": _coverage(result), "crps": _crps(result)}


def _coverage(result: style.Result) -> Drawn:
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


def _crps(result: style.Result) -> Drawn:
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


def _tables(
    result: style.Result, title: str, label: str, height: float = 3.4
) -> tuple[Figure, Axes]:
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


def real_tables(result: real.Result) -> Figures:
    """Losses and coverage, a row a table."""
    numbers = _losses(result, "regression", "Pinball loss of tables of numbers")
    classes = _losses(result, "classification", "Log loss of tables of classes")
    return {
        "losses": numbers,
        "tables-classes": classes,
        "tables-coverage": _real_coverage(result),
    }


def _losses(result: real.Result, task: str, what: str) -> Drawn:
    tables = result.of(task)
    figure, axes = panel(
        "How good beside each peer?", "loss over that of ours", "", height=1.5 + 0.25 * len(tables)
    )
    for peer, (color, mark) in _PEER_MARKS.items():
        places = [(row, t) for row, t in enumerate(tables.values()) if peer in t.ratios]
        ratios = [min(max(1 / t.ratios[peer], 1 / _FARTHEST), _FARTHEST) for _, t in places]
        axes.plot(ratios, [row for row, _ in places], mark, color=color, label=peer, ms=5)
    axes.axvline(1, color=BLUE, lw=1.5)
    axes.set_xscale("log")
    ticks = (0.5, 1, 2, _FARTHEST)
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks], minor=False)
    axes.set_xticks([], minor=True)
    axes.set_yticks(range(len(tables)), list(tables))
    axes.invert_yaxis()
    _legend_below(figure)
    caption = (
        f"{what}; right of the line ours is better. Averaged over"
        f" {result.settings.splits} splits of each table; what is beyond {_FARTHEST:g} times "
        "is drawn at the edge."
    )
    return figure, caption


def _real_coverage(result: real.Result) -> Drawn:
    tables = result.of("regression")
    figure, axes = panel(
        "Do 90 % intervals cover 90 %?",
        "covered, % of held-out values",
        "",
        height=1.5 + 0.25 * len(tables),
    )
    ends: list[float] = []
    rows: list[float] = []
    for row, table in enumerate(tables.values()):
        of_peers = [100 * s["covered"] for m, s in table.scores.items() if m != real.OURS]
        ends += [min(of_peers), max(of_peers), math.nan]
        rows += [row, row, math.nan]
    axes.plot(ends, rows, color=GRAY, lw=4, alpha=0.6, label="least to most of the peers'")
    own = [100 * table.scores[real.OURS]["covered"] for table in tables.values()]
    axes.plot(own, range(len(own)), "o", color=BLUE, label=real.OURS, ms=5)
    axes.axvspan(88, 92, color=GRAY, alpha=0.2, lw=0)
    axes.set_yticks(range(len(tables)), list(tables))
    axes.invert_yaxis()
    _legend_below(figure)
    caption = (
        f"Averaged over {result.settings.splits} splits of each table; the band is 88 to 92 %."
    )
    return figure, caption


def uci(result: published.Result) -> Figures:
    """Likelihoods beside the published ones of deep ensembles."""
    tables = [name for name in result.tables if name in published.PUBLISHED]
    figure, axes = panel(
        "Better than deep ensembles?",
        "NLL less that of deep ensembles",
        "",
        height=3.4,
    )
    for row, name in enumerate(tables):
        other = published.PUBLISHED[name]
        nll, error, count = result.mean(name, "nll")
        axes.errorbar(
            nll - other.ensemble[1],
            row,
            xerr=error if count > 1 else 0.0,
            fmt="o",
            color=BLUE,
            label="" if row else "ours",
        )
        dropout = other.dropout[1] - other.ensemble[1]
        axes.plot(dropout, row, "x", color=RED, label="" if row else "MC dropout")
    axes.axvline(0, color=ORANGE, lw=1.5)
    axes.set_yticks(range(len(tables)), tables)
    axes.invert_yaxis()
    _legend_below(figure)
    caption = (
        "Negative log-likelihood of a Gaussian in units of y; left of the line is better. The bar "
        "is one standard error over splits, published figures are recalled."
    )
    return {"nll": (figure, caption)}
