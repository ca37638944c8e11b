"""How results show themselves: in a line, in a notebook, as a figure, as a data frame."""

from __future__ import annotations

import html
import importlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from hunch.charts import Chart
from hunch.errors import MissingDependencyError

if TYPE_CHECKING:
    from matplotlib.axes import Axes as Axes
    from pandas import DataFrame as DataFrame

_PLOTS: Final = "hunch.plots.results"


def plotted(result: Any, **options: Any) -> Axes:
    """Draw a result by `hunch.plots.plot`.

    What draws stands above what is drawn, and is asked for by its name when somebody wants a
    figure: nothing below is tied to it, or to matplotlib.

    Raises:
        MissingDependencyError: if matplotlib is not installed.
    """
    axes: Axes = importlib.import_module(_PLOTS).plot(result, **options)
    return axes


def data_frame(columns: Mapping[str, Any]) -> DataFrame:
    """Columns by name as a data frame of pandas.

    Raises:
        MissingDependencyError: if pandas is not installed.

    Example:
        >>> data_frame({"a": [1, 2]}).shape
        (2, 1)
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise MissingDependencyError("a data frame needs pandas: pip install pandas") from error
    return pd.DataFrame(dict(columns))


def span_of(values: Any) -> str:
    """The range of an array or tensor in a few words; of one that has no values, its shape.

    Example:
        >>> span_of(np.array([0.5, 2.25])), span_of(np.array([1.0, np.nan])), span_of(np.zeros(0))
        ('0.5 to 2.25', '1, and NaN', 'empty')
    """
    try:
        own = values.detach().cpu().double() if hasattr(values, "detach") else values
        found = np.asarray(own, np.float64)
    except Exception:  # a tensor of shapes alone, or within a transform: a repr must not fail
        return f"of shape {tuple(values.shape)}"
    finite = found[np.isfinite(found)]
    if not len(finite):
        return "NaN" if found.size else "empty"
    low, high = f"{finite.min():.4g}", f"{finite.max():.4g}"
    span = low if low == high else f"{low} to {high}"
    return span if len(finite) == found.size else f"{span}, and NaN"


def card(title: str, rows: Sequence[Sequence[str]], chart: Chart | None = None) -> str:
    """A small table for a notebook, and a chart below it.

    Example:
        >>> card("Net", [["members", "<3>"]])[-53:]
        '<td>members</td><td>&lt;3&gt;</td></tr></table></div>'
    """
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    drawn = f'<div style="max-width:420px">{chart.to_svg()}</div>' if chart is not None else ""
    return f"<div><b>{html.escape(title)}</b><table>{body}</table>{drawn}</div>"
