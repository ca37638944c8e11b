"""The charts of a run's report, from its logs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from hunch.charts import BLUE, CYCLE, GRAY, Chart, held, running_mean
from hunch.rl.agents.history import SHOWN_EPISODES
from hunch.rl.runs.loggers import EPISODES, EVALUATIONS, NOISE, PROGRESS, columns_of_log

Array = npt.NDArray[np.float64]
Drawn = tuple[Chart, str]

BANDS_FROM: Final = 4  # seeds; of fewer a band says how few they are, and hides the curves
_POINTS: Final = 200  # of a curve
_DOTS: Final = 1_500  # episodes that are drawn one by one
# 97.5 % points of Student's t for 1, 2, … degrees of freedom; beyond, the normal's and a little.
_STUDENT: Final = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.20, 2.18, 2.16)


def learning_curves(logs: Path, chance: float | None = None) -> dict[str, Drawn]:
    """Charts of a run's logs: returns in training, in evaluations, the loss, the noise.

    Args:
        logs: the folder of the logs.
        chance: the mean return of random play, drawn beside the agent's.

    Returns:
        Name to (chart, caption); only those for which there are data.
    """
    drawn = {
        "evaluation-return": _evaluation_return(columns_of_log(logs / EVALUATIONS), chance),
        "training-return": _training_return(columns_of_log(logs / EPISODES), chance),
        "loss": _loss(columns_of_log(logs / PROGRESS)),
        "noise": _noise(columns_of_log(logs / NOISE)),
    }
    return {name: figure for name, figure in drawn.items() if figure is not None}


def mean_and_interval(curves: Array) -> tuple[Array, Array]:
    """Mean over replicas and half the width of its 95 % confidence interval (Student's t).

    Args:
        curves: `(replicas, points)`; a point that is NaN in a replica is left out there.

    Example:
        >>> mean, half = mean_and_interval(np.array([[1.0, 2.0], [3.0, 2.0]]))
        >>> mean.tolist(), half.round(2).tolist()
        ([2.0, 2.0], [12.71, 0.0])
    """
    known = ~np.isnan(curves)
    count = known.sum(0)
    mean = np.where(known, curves, 0.0).sum(0) / np.maximum(count, 1)
    square = (np.where(known, curves - mean, 0.0) ** 2).sum(0) / np.maximum(count - 1, 1)
    factors = [0.0, 0.0, *_STUDENT]
    factor = np.array([factors[n] if n < len(factors) else 1.96 + 2.4 / (n - 1) for n in count])
    return np.where(count > 0, mean, np.nan), factor * np.sqrt(square / np.maximum(count, 1))


def _training_return(log: Mapping[str, Array], chance: float | None) -> Drawn | None:
    if not log:
        return None
    replicas = np.unique(log["replica"]).astype(int)
    grid = np.linspace(0, log["step"].max(), _POINTS)
    curves, ends = [], []
    for r in replicas:
        own = log["replica"] == r
        steps, returns = log["step"][own], log["return"][own]
        curves.append(held(grid, steps, running_mean(returns, SHOWN_EPISODES)))
        ends.append([returns[:SHOWN_EPISODES].mean(), returns[-SHOWN_EPISODES:].mean()])
    first, last = np.mean(ends, axis=0)
    title = f"In training the return went from {as_return(first)} to {as_return(last)}"
    chart = Chart(title, "environment steps", "return")
    if len(replicas) == 1:
        some = np.unique(np.linspace(0, len(log["step"]) - 1, _DOTS).astype(int))
        chart.dots(log["step"][some], log["return"][some], GRAY, size=3, opacity=0.5)
    _draw(chart, grid, np.array(curves), chance)
    caption = f"Mean of the last {SHOWN_EPISODES} episodes. The agent explores in them."
    return chart, caption + (" Dots are episodes." if len(replicas) == 1 else "")


def _evaluation_return(log: Mapping[str, Array], chance: float | None) -> Drawn | None:
    if not log:
        return None
    steps = np.unique(log["step"])
    curves = np.array(
        [
            held(steps, log["step"][log["replica"] == r], log["mean_return"][log["replica"] == r])
            for r in np.unique(log["replica"])
        ]
    )
    mean, _ = mean_and_interval(curves)
    best = int(np.nanargmax(mean))
    title = f"Evaluations: {as_return(mean[best])} at best, after {steps[best]:,.0f} steps"
    chart = Chart(title, "environment steps", "return")
    _draw(chart, steps, curves, chance, dots=True)
    return chart, "Greedy episodes, the same starts each time; they choose the best weights."


def _loss(log: Mapping[str, Array]) -> Drawn | None:
    known = ~np.isnan(log["loss"]) if log else np.zeros(0, bool)
    if not known.any():
        return None
    losses = log["loss"][known]
    title = f"The loss went from {losses[0]:.3g} to {losses[-1]:.3g}"
    log_y = bool(losses.min() > 0 and losses.max() > 10 * losses.min())
    chart = Chart(title, "environment steps", "mean loss since the point before", log_y=log_y)
    chart.line(log["step"][known], losses, BLUE)
    return chart, "Mean over gradient updates and replicas. It need not fall: targets move."


def _noise(log: Mapping[str, Array]) -> Drawn | None:
    if not log:
        return None
    names = [name for name in log if name.startswith("layer_")]
    ratio = np.mean([log[name][-1] / log[name][0] for name in names if log[name][0]] or [1.0])
    word = "shrank to" if ratio < 0.95 else "grew to" if ratio > 1.05 else "stayed at"
    title = f"The noise {word} {ratio:.2f} times what it was"
    chart = Chart(title, "environment steps", "mean |σ|")
    for i, name in enumerate(names):
        label = name.replace("_", " ") if len(names) <= len(CYCLE) else ""
        chart.line(log["step"], log[name], CYCLE[i % len(CYCLE)], label=label)
    return chart.limits(y=(0.0, None)), (
        "Mean size of the learned noise of each noisy layer, counted from the input, over its "
        "weights and the replicas. An agent that has learned what to do has no need of noise."
    )


def _draw(
    chart: Chart, x: Array, curves: Array, chance: float | None, *, dots: bool = False
) -> None:
    """The mean over replicas with its band, if they are enough, each replica, and random play."""
    mean, half = mean_and_interval(curves)
    if chance is not None:
        chart.line(x[[0, -1]], [chance, chance], GRAY, width=1.4, dash="5 4", label="random play")
    if len(curves) > 1:
        opacity = max(0.15, min(0.5, 4 / len(curves)))
        for curve in curves:
            chart.line(x, curve, GRAY, width=1, opacity=opacity)
        if len(curves) >= BANDS_FROM:
            chart.band(x, mean - half, mean + half, BLUE)
    label = "the agent" if len(curves) == 1 else f"mean of {len(curves)} seeds"
    chart.line(x, mean, BLUE, width=2.4, label=label)
    if dots:
        chart.dots(x, mean, BLUE)


def as_return(value: float) -> str:
    """A return: one decimal, or three digits that count where it is small."""
    return f"{value:,.1f}" if abs(value) >= 10 else f"{value:.3g}"
