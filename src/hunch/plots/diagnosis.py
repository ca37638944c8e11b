"""The figure of a diagnosis: which way of estimating a gradient is how noisy, which is biased."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from hunch.gradients import Diagnosis
from hunch.plots.panel import BLUE, ORANGE, panel

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
    rows = diagnosis.rows
    figure, ax = panel(
        "Noise of the gradient",
        "variance × evaluations",
        "",
        height=max(2.4, 0.9 + 0.24 * len(rows)),
    )
    noisy = [row.variance_cost for row in rows if 0 < row.variance_cost < math.inf]
    # On a logarithmic axis an exact estimator has no place: its mark stands at the left edge.
    edge = 10 ** math.floor(math.log10(min(noisy)) - 0.5) if noisy else 1e-3
    for place, row in enumerate(rows):
        color = BLUE if row.trusted else ORANGE
        if 0 < row.variance_cost < math.inf:
            ax.plot([edge, row.variance_cost], [place, place], color=color, linewidth=1.2)
            ax.plot(row.variance_cost, place, "o" if row.trusted else "X", color=color)
        else:
            label = "fails" if row.failed else "exact"
            ax.annotate(label, (edge, place), va="center", color=color, fontsize=9)
    ax.set_xscale("log")
    ax.set_xlim(left=edge)
    ax.set_yticks(range(len(rows)), [row.label for row in rows])
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.grid(visible=False, axis="y")
    caption = (
        f"Variance of the gradient times evaluations of the cost, {diagnosis.repeats} calls with "
        f"n={diagnosis.n}; lower is better. Orange crosses are biased, or nothing judged them."
    )
    return figure, caption
