"""The one look of every figure: a single panel that reads well on a phone and in a paper."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from hunch.charts.colors import PALETTE
from hunch.errors import MissingDependencyError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CYCLE: Final = tuple(PALETTE.values())
BLUE, ORANGE, GREEN, RED, PURPLE, SKY, GRAY = CYCLE
BLACK: Final = "#111111"

_STYLE: Final[dict[str, Any]] = {
    "axes.grid": True,
    "axes.labelsize": 10,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "font.size": 9.5,
    "grid.alpha": 0.25,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
}


def panel(
    title: str,
    x_label: str,
    y_label: str,
    *,
    width: float = 4.6,
    height: float = 3.4,
) -> tuple[Figure, Axes]:
    """A figure of one panel in the house style.

    Args:
        title: what it shows, short.
        x_label: quantity and unit.
        y_label: quantity and unit.
        width: in inches.
        height: in inches.

    Raises:
        MissingDependencyError: if matplotlib is not installed.

    Example:
        >>> figure, ax = panel("A line", "x", "y")
        >>> _ = ax.plot([0, 1], [0, 1], color=BLUE)
    """
    matplotlib = _matplotlib()
    with matplotlib.rc_context(_STYLE):
        figure = matplotlib.figure.Figure(figsize=(width, height), layout="constrained")
        ax = figure.subplots()
        ax.set(title=title, xlabel=x_label, ylabel=y_label)
    return figure, ax


def band(
    ax: Axes,
    x: npt.ArrayLike,
    mean: npt.ArrayLike,
    std: npt.ArrayLike,
    color: str,
    label: str | None = None,
) -> None:
    """Draw a mean with shaded bands of one and two standard deviations.

    Example:
        >>> figure, ax = panel("A band", "x", "y")
        >>> band(ax, [0, 1], [0, 1], [0.1, 0.2], BLUE)
    """
    m, s = np.asarray(mean), np.asarray(std)
    for width in (2, 1):
        ax.fill_between(x, m - width * s, m + width * s, color=color, alpha=0.18, linewidth=0)
    ax.plot(x, m, color=color, linewidth=1.8, label=label)


def to_svg(figure: Figure) -> str:
    """The figure as an `<svg>` element, the same bytes for the same figure.

    Example:
        >>> figure, ax = panel("A line", "x", "y")
        >>> to_svg(figure).startswith("<svg")
        True
    """
    matplotlib = _matplotlib()
    buffer = io.StringIO()
    # A fixed salt and no date: identifiers would otherwise change from run to run.
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": "hunch", "path.simplify_threshold": 0.4}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    # Paths to a hundredth of a point: finer digits only make the page heavy.
    return re.sub(r' d="[^"]*"', lambda path: re.sub(r"(\.\d\d)\d+", r"\1", path[0]), text)


def _matplotlib() -> Any:
    try:
        import matplotlib
        import matplotlib.figure
    except ImportError as error:
        raise MissingDependencyError(
            'figures need matplotlib: pip install "torch-hunch[plot]"'
        ) from error
    return matplotlib
