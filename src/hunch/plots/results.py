"""Figures of results: what `.plot()` of a result draws."""

from __future__ import annotations

from functools import singledispatch
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
from torch import Tensor

from hunch.charts import running_mean
from hunch.errors import ConfigurationError, ShapeError
from hunch.gradients import Diagnosis
from hunch.inference import ClassPredictive, History, Predictive
from hunch.plots.diagnosis import draw_diagnosis
from hunch.plots.panel import BLACK, BLUE, CYCLE, GRAY, ORANGE, panel
from hunch.rl import History as Episodes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = npt.NDArray[np.float64]

_SHOWN_EPISODES: Final = 20  # that a running mean is taken over


def plot(result: Any, **options: Any) -> Axes:
    """Draw a result, in a new figure or in axes of one's own.

    The same as the result's own method `plot`, which says what is drawn and what it takes.

    Args:
        result: a `hunch.inference.Predictive`, `hunch.inference.ClassPredictive` or
            `hunch.inference.History`, a `hunch.rl.History`, or a `hunch.gradients.Diagnosis`.
        **options: as that method takes them; `ax` are the axes to draw in.

    Returns:
        The axes; `axes.figure.savefig("name.png")` writes them.

    Raises:
        ConfigurationError: if it is no such result.
        MissingDependencyError: if matplotlib is not installed.

    Example:
        >>> import torch
        >>> plot(Predictive(torch.randn(5, 20))).get_ylabel()
        'y'
    """
    return _drawn(result, **options)


@singledispatch
def _drawn(result: Any, **options: Any) -> Axes:
    raise ConfigurationError(
        f"`result` got a {type(result).__name__}; expected a Predictive, ClassPredictive, History "
        "or Diagnosis."
    )


@_drawn.register(Predictive)
def _predictive(
    result: Predictive,
    x: Any = None,
    y: Any = None,
    *,
    coverage: float = 0.95,
    ax: Axes | None = None,
) -> Axes:
    mean = _column("members", result.mean)
    low, high = (_column("members", end) for end in result.interval(coverage))
    epistemic = _column("members", result.epistemic)
    place, order = _along(x, mean)
    axes = _axes(ax, "Prediction", "x" if x is not None else "points, by prediction", "y")
    at = place[order]
    share = f"{100 * coverage:g} % of observations"
    inner = mean - 2 * epistemic, mean + 2 * epistemic
    axes.fill_between(at, low[order], high[order], color=BLUE, alpha=0.15, lw=0, label=share)
    label = "± 2 epistemic std"
    axes.fill_between(
        at, inner[0][order], inner[1][order], color=BLUE, alpha=0.3, lw=0, label=label
    )
    axes.plot(at, mean[order], color=BLUE, linewidth=1.8, label="mean")
    if y is not None:
        _dots(axes, place, _column("y", y), BLACK, "observed")
    axes.legend(frameon=False)
    return axes


@_drawn.register(ClassPredictive)
def _classes(
    result: ClassPredictive, x: Any = None, y: Any = None, *, ax: Axes | None = None
) -> Axes:
    if x is None:
        if y is not None:
            raise ConfigurationError("`y` is given without `x`; expected both, or neither.")
        axes = _axes(ax, "Two parts of the doubt", "aleatoric / nats", "epistemic / nats")
        axes.plot(_array(result.aleatoric), _array(result.epistemic), ".", color=BLUE, alpha=0.6)
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        return axes
    probs = _array(result.probs)
    members = _array(result.members.softmax(-1))
    place, order = _along(x, probs[:, 0])
    axes = _axes(ax, "Probability of each class", "x", "probability")
    for c in range(probs.shape[1]):
        color = CYCLE[c % len(CYCLE)]
        low, high = np.quantile(members[:, order, c], [0.05, 0.95], axis=0)
        axes.fill_between(place[order], low, high, color=color, alpha=0.2, linewidth=0)
        axes.plot(place[order], probs[order, c], color=color, linewidth=1.8, label=f"class {c}")
    if y is not None:
        for c in range(probs.shape[1]):
            own = place[np.asarray(_column("y", y)) == c]
            axes.plot(own, np.zeros(len(own)), "|", color=CYCLE[c % len(CYCLE)], markersize=9)
    axes.legend(frameon=False)
    return axes


@_drawn.register(History)
def _training(result: History, *, ax: Axes | None = None) -> Axes:
    loss = _array(result.loss)
    axes = _axes(ax, "Loss in training", "steps", "loss")
    steps = np.arange(1, len(loss) + 1)
    if loss.shape[1] > 1:
        low, high = np.quantile(loss, [0.05, 0.95], axis=1)
        label = "nine tenths of members"
        axes.fill_between(steps, low, high, color=BLUE, alpha=0.2, linewidth=0, label=label)
    axes.plot(steps, loss.mean(1), color=BLUE, linewidth=1.6, label="mean of members")
    name, unseen = result.unseen
    if name:
        ends = np.linspace(0, len(loss), len(unseen) + 1)[1:]
        axes.plot(ends, _array(unseen), color=ORANGE, linewidth=1.6, label=name)
    if loss.size and loss.min() > 0 and loss.max() > 10 * loss.min():
        axes.set_yscale("log")
    axes.legend(frameon=False)
    return axes


@_drawn.register(Episodes)
def _episodes(result: Episodes, *, ax: Axes | None = None) -> Axes:
    axes = _axes(ax, "Return of training episodes", "environment steps", "return")
    ends, returns = np.array(result.ends), np.array(result.returns)
    axes.plot(ends, returns, ".", color=GRAY, markersize=3, alpha=0.5, label="episode")
    count = min(_SHOWN_EPISODES, max(1, len(returns)))
    label = f"mean of the last {count}"
    axes.plot(ends, running_mean(returns, count), color=BLUE, linewidth=1.8, label=label)
    axes.legend(frameon=False)
    return axes


@_drawn.register(Diagnosis)
def _diagnosis(result: Diagnosis, *, ax: Axes | None = None) -> Axes:
    return draw_diagnosis(result, ax)


def _axes(ax: Axes | None, title: str, x_label: str, y_label: str) -> Axes:
    if ax is None:
        return panel(title, x_label, y_label)[1]
    ax.set(title=title, xlabel=x_label, ylabel=y_label)
    return ax


def _along(x: Any, values: Array) -> tuple[Array, npt.NDArray[np.intp]]:
    """Where points stand on the x axis, and their order along it: by prediction without `x`."""
    if x is None:
        order = np.argsort(values, kind="stable")
        place = np.empty(len(values))
        place[order] = np.arange(1, len(values) + 1)
        return place, order
    place = _column("x", x)
    if len(place) != len(values):
        raise ShapeError(f"`x` got {len(place)} points; expected {len(values)}, as predicted.")
    return place, np.argsort(place, kind="stable")


def _column(name: str, values: Any) -> Array:
    """One number a point."""
    found = _array(values)
    if found.ndim > 1 and found.shape[1:].count(1) == found.ndim - 1:
        found = found.reshape(len(found))
    if found.ndim != 1:
        raise ShapeError(
            f"`{name}` got {found.shape[1:]} values a point; expected one: a figure shows one "
            "output along one input. Take one by indexing."
        )
    return found


def _array(values: Any) -> Array:
    found = values.detach().cpu() if isinstance(values, Tensor) else values
    return np.asarray(found, np.float64)


def _dots(axes: Axes, x: Array, y: Array, color: str, label: str) -> None:
    if len(y) != len(x):
        raise ShapeError(f"`y` got {len(y)} observations; expected {len(x)}, one a point.")
    axes.plot(x, y, ".", color=color, markersize=3 if len(x) > 200 else 5, label=label)
