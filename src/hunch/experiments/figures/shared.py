"""What many figures do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hunch.plots import BLACK, CYCLE, panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    Drawn = tuple[Figure, str]  # with its caption
    Figures = dict[str, Drawn]


def curves(
    title: str,
    x_label: str,
    y_label: str,
    x: npt.ArrayLike,
    by_name: Mapping[str, npt.ArrayLike],
    *,
    style: str = "-",
    colors: Iterable[str] = CYCLE,
) -> tuple[Figure, Axes]:
    """A panel with one named line for each entry, and no legend yet.

    Args:
        title: of the panel.
        x_label: quantity and unit.
        y_label: quantity and unit.
        x: `(n,)`; a line that is shorter has its first points.
        by_name: values of each line, at most `(n,)`.
        style: matplotlib's, of all lines.
        colors: of the lines, in order.

    Example:
        >>> figure, axes = curves("A line", "x", "y", [0, 1], {"a": [1.0, 2.0]})
        >>> axes.get_legend_handles_labels()[1]
        ['a']
    """
    figure, axes = panel(title, x_label, y_label)
    for color, (name, values) in zip(colors, by_name.items(), strict=False):
        y = np.asarray(values, float)
        axes.plot(np.asarray(x)[: len(y)], y, style, color=color, lw=1.6, ms=4, label=name)
    return figure, axes


def quartiles(
    axes: Axes, x: npt.ArrayLike, of_seeds: npt.NDArray[Any], color: str, label: str
) -> None:
    """The median over seeds, the first axis, and the band between the quartiles."""
    low, middle, high = np.quantile(of_seeds, (0.25, 0.5, 0.75), axis=0)
    axes.fill_between(x, low, high, color=color, alpha=0.22, linewidth=0)
    axes.plot(x, middle, color=color, label=label)


def bound(axes: Axes, at: float, label: str | None = None) -> None:
    """A dashed line that figures are to reach."""
    axes.axhline(at, color=BLACK, linewidth=1, linestyle="--", label=label)


def spread(count: int, width: float = 0.18) -> npt.NDArray[np.float64]:
    """Places side by side around 0 for dots that would hide each other."""
    return np.linspace(-width, width, count) if count > 1 else np.zeros(1)
