"""The figure of a diagnosis: which way of estimating a gradient is how noisy, which is biased."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from hunch.charts import BLUE as PAGE_BLUE
from hunch.charts import ORANGE as PAGE_ORANGE
from hunch.charts import Chart
from hunch.plots.panel import BLUE, ORANGE, panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from hunch.gradients import Diagnosis

_TITLE = "Noise of the gradient"
_UNIT = "variance × evaluations"


def diagnosis_figure(diagnosis: Diagnosis) -> tuple[Figure, str]:
    """Variance per evaluation of every estimator, best on top, biased ones apart by color.

    Args:
        diagnosis: what `hunch.gradients.diagnose` returned.

    Returns:
        The figure and a caption.

    Raises:
        MissingDependencyError: if matplotlib is not installed.

    Example:
        >>> import torch
        >>> from hunch.gradients import diagnose
        >>> normal = torch.distributions.Normal
        >>> found = diagnose(torch.square, normal, (torch.ones(2), torch.ones(2)), n=4, repeats=50)
        >>> figure, caption = diagnosis_figure(found)
        >>> len(figure.axes)
        1
    """
    height = max(2.4, 0.9 + 0.24 * len(diagnosis.rows))
    figure, axes = panel(_TITLE, _UNIT, "", height=height)
    _draw(diagnosis, axes)
    return figure, caption_of(diagnosis)


def draw_diagnosis(diagnosis: Diagnosis, axes: Axes | None = None) -> Axes:
    """The same in axes that are there already, or in a figure of its own."""
    if axes is None:
        return diagnosis_figure(diagnosis)[0].axes[0]
    axes.set(title=_TITLE, xlabel=_UNIT)
    _draw(diagnosis, axes)
    return axes


def _draw(diagnosis: Diagnosis, axes: Axes) -> None:
    rows, edge = diagnosis.rows, _edge(diagnosis)
    for place, row in enumerate(rows):
        color = BLUE if row.trusted else ORANGE
        if _has_place(row.variance_cost):
            axes.plot([edge, row.variance_cost], [place, place], color=color, linewidth=1.2)
            axes.plot(row.variance_cost, place, "o" if row.trusted else "X", color=color)
        else:
            label = "fails" if row.failed else "exact"
            axes.annotate(label, (edge, place), va="center", color=color, fontsize=9)
    axes.set_xscale("log")
    axes.set_xlim(left=edge)
    axes.set_yticks(range(len(rows)), [row.label for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")


def diagnosis_chart(diagnosis: Diagnosis) -> tuple[Chart, str]:
    """The same for a page, with a title that says what is best.

    Example:
        >>> import torch
        >>> from hunch.gradients import diagnose
        >>> found = diagnose(torch.square, torch.distributions.Exponential, torch.ones(1), n=4)
        >>> diagnosis_chart(found)[0].title
        'pathwise + sobol is the quietest of the trusted ways'
    """
    rows, edge = diagnosis.rows, _edge(diagnosis)
    trusted = [row for row in rows if row.trusted]
    title = "No way that was tried is trusted"
    if trusted:
        best = min(trusted, key=lambda row: (row.variance_cost, row.evaluations))
        title = f"{best.label} is the quietest of the trusted ways"
    chart = Chart(title, _UNIT, height=max(190.0, 70.0 + 21.0 * len(rows)), log_x=True)
    for place, row in enumerate(rows):
        color = PAGE_BLUE if row.trusted else PAGE_ORANGE
        if _has_place(row.variance_cost):
            chart.line([edge, row.variance_cost], [place, place], color, width=1.4)
            chart.dots([row.variance_cost], [place], color, size=8, cross=not row.trusted)
        else:
            label = "fails" if row.failed else "exact"
            chart.text(edge, place, f" {label}", color=color, anchor="start")
    chart.limits(x=(edge, None))
    return chart.down([row.label for row in rows]), caption_of(diagnosis)


def caption_of(diagnosis: Diagnosis) -> str:
    """What the figure shows, in words."""
    return (
        f"Variance of the gradient times evaluations of the cost, {diagnosis.repeats} calls with "
        f"n={diagnosis.n}; lower is better. Orange crosses are biased, or nothing judged them."
    )


def _has_place(value: float) -> bool:
    return 0 < value < math.inf


def _edge(diagnosis: Diagnosis) -> float:
    """Where the axis begins: an exact estimator has no place on it, and its mark stands there."""
    noisy = [row.variance_cost for row in diagnosis.rows if _has_place(row.variance_cost)]
    return float(10 ** math.floor(math.log10(min(noisy)) - 0.5)) if noisy else 1e-3
