"""The figures of `four_curves`, one panel each, legible at the width of a phone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hunch.experiments.gradients.four_curves import Result
from hunch.experiments.gradients.four_curves_network import (
    ARMS,
    CURVES,
    FAST,
    FORM_OF,
    FORUM,
    LEAVE_ONE_OUT,
    PATHWISE,
)
from hunch.experiments.gradients.gradient_forms import FORMS
from hunch.plots import BLACK, BLUE, GREEN, PURPLE, RED, panel

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLORS = {FORUM.name: RED, LEAVE_ONE_OUT.name: BLUE, PATHWISE.name: GREEN, FAST.name: PURPLE}
MARKS = {FORUM.name: "o", LEAVE_ONE_OUT.name: "s", PATHWISE.name: "^"}
NAMES = ("identity", "square", "cube", "sine")


def draw(result: Result) -> dict[str, tuple[Figure, str]]:
    """All figures with their captions, by name."""
    figures = {name: _curve(result, index) for index, name in enumerate(NAMES)}
    figures["total-error"] = _total_error(result)
    figures["spread"] = _spread(result)
    figures["gradient-variance"] = _gradient_variance(result)
    return figures


def _curve(result: Result, index: int) -> tuple[Figure, str]:
    curve = CURVES[index]
    figure, axes = panel(f"y = {curve}: learned mean ± σ", "input x", "output y")
    grid = result.grid
    truth = (grid, grid**2, grid**3, np.sin(grid))[index]
    for arm in (FORUM, LEAVE_ONE_OUT, PATHWISE):
        trained = result.arms[arm.name]
        mean, std = trained.mean[:, index], trained.std[:, index]
        color = COLORS[arm.name]
        axes.fill_between(grid, mean - std, mean + std, color=color, alpha=0.25, linewidth=0)
        axes.plot(grid, mean, color=color, linewidth=1.8, label=arm.name)
    axes.plot(grid, truth, color=BLACK, linestyle=(0, (2, 2)), linewidth=1.4, label="truth")
    # A mean that has run away must not squeeze the others into a line.
    low, high = truth.min(), truth.max()
    margin = 0.25 * (high - low)
    axes.set_ylim(low - margin, high + margin)
    axes.legend()
    caption = (
        f"The curve {curve} after {result.iterations[-1]:,} updates, in each estimator's median "
        "seed by total error. The band is ± σ, thin where σ is small. Inputs are standard normal, "
        "so little is seen beyond ±2."
    )
    return figure, caption


def _total_error(result: Result) -> tuple[Figure, str]:
    figure, axes = panel(
        "Squared error of the four means", "update", "total squared error (sum of 4)"
    )
    rates = f"{result.settings.fast_learning_rate:g}"
    for arm in ARMS:
        total = result.arms[arm.name].total
        steps = result.iterations[: len(total)]
        color = COLORS[arm.name]
        label = f"leave-one-out, lr {rates}" if arm.fast else arm.name
        axes.fill_between(steps, total.min(1), total.max(1), color=color, alpha=0.2, linewidth=0)
        style = "--" if arm.fast else "-"
        axes.plot(steps, total.mean(1), style, color=color, linewidth=1.8, label=label)
    axes.set_yscale("log")
    axes.legend()
    caption = (
        f"Error of the means on {result.settings.test_inputs:,} fixed inputs: mean (line) and "
        f"range (band) over {result.settings.replicas} seeds, {result.settings.evaluations} "
        f"evaluations per curve and update, lr {result.settings.learning_rate:g} unless marked."
    )
    return figure, caption


def _spread(result: Result) -> tuple[Figure, str]:
    figure, axes = panel("Spread σ of the square's output", "update", "mean σ")
    square = 1
    for arm in (FORUM, LEAVE_ONE_OUT, PATHWISE):
        sigma = result.arms[arm.name].sigma[..., square]
        color = COLORS[arm.name]
        axes.fill_between(
            result.iterations, sigma.min(1), sigma.max(1), color=color, alpha=0.2, linewidth=0
        )
        axes.plot(result.iterations, sigma.mean(1), color=color, linewidth=1.8, label=arm.name)
    axes.set_yscale("log")
    axes.legend()
    caption = (
        f"{_falls(result, square)} Mean and range over {result.settings.replicas} seeds, "
        f"{result.iterations[-1]:,} updates. The forum's gradient has the noise d⁴/σ² where the "
        "mean is off by d."
    )
    return figure, caption


def _falls(result: Result, curve: int) -> str:
    ratio = {
        arm.name: result.arms[arm.name].sigma[[0, -1], :, curve].mean(1)
        for arm in (FORUM, LEAVE_ONE_OUT, PATHWISE)
    }
    still = [name for name, (first, last) in ratio.items() if last >= first]
    if still:
        return f"σ does not fall with {' and '.join(still)}."
    return "σ falls under every estimator, as it should."


def _gradient_variance(result: Result) -> tuple[Figure, str]:
    figure, axes = panel(
        "Variance of the mean's gradient, d = 1", "spread σ", "variance × evaluations"
    )
    rows = result.variance[result.variance[:, 0] == 1.0]
    fine = np.geomspace(rows[:, 1].min(), rows[:, 1].max(), 100)
    for column, (name, of) in enumerate(FORM_OF.items(), start=2):
        color = COLORS[name]
        formula = FORMS[of].by_mean(1.0, fine) * FORMS[of].evaluations
        axes.plot(fine, formula, color=color, linewidth=1.4)
        axes.plot(rows[:, 1], rows[:, column], MARKS[name], color=color, markersize=6, label=name)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.legend()
    caption = (
        f"Measured over {result.settings.draws:,} estimates (marks) against the closed forms "
        f"(lines), where the mean is off by d = 1. {_grow(rows)}"
    )
    return figure, caption


def _grow(rows: np.ndarray) -> str:
    """Which estimators' variance is much larger at the least σ than at σ = 1."""
    first, last = rows[rows[:, 1].argmax()], rows[rows[:, 1].argmin()]
    grown = [name for i, name in enumerate(FORM_OF, start=2) if last[i] > 10 * first[i]]
    if not grown:
        return "None grows tenfold as σ shrinks."
    return f"As σ shrinks, more than tenfold larger: {' and '.join(grown)}."
