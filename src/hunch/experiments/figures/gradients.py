"""Figures of the experiments on gradients, legible at the width of a phone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hunch.experiments.figures.shared import curves
from hunch.experiments.gradients import bayes_logistic as logistic
from hunch.experiments.gradients import discrete_vae as vae
from hunch.experiments.gradients import four_curves as forum
from hunch.experiments.gradients import four_curves_network as network
from hunch.experiments.gradients import gradient_variance as variances
from hunch.experiments.gradients.gradient_forms import FORMS
from hunch.plots import BLACK, BLUE, CYCLE, GREEN, PURPLE, RED, diagnosis_figure, panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from hunch.experiments.figures.shared import Drawn, Figures
    from hunch.experiments.gradients.bounds import BoundResult

COLORS = dict(zip((a.name for a in network.ARMS), (RED, BLUE, GREEN, PURPLE), strict=True))
MARKS = dict(zip(network.FORM_OF, "os^", strict=True))
NAMES = ("identity", "square", "cube", "sine")


def bayes_logistic(result: logistic.Result) -> Figures:
    """The bound in the course of training, and the diagnosis."""
    title = "Bayesian logistic regression"
    figure = _bounds(result, title, "evidence lower bound (nats)", below=25, above=1)
    caption = (
        f"Mean of {result.settings.replicas} seeds on the breast-cancer data, and each of them at "
        "the end (dots); every estimator evaluates the likelihood of a batch 94 times per update."
    )
    return {"bound": (figure, caption), "diagnosis": diagnosis_figure(result.diagnosis)}


def discrete_vae(result: vae.Result) -> Figures:
    """The bound in the course of training, and the diagnosis."""
    title = "Autoencoder with 32 coins"
    figure = _bounds(result, title, "held-out bound (nats per image)", below=10, above=0.5)
    caption = (
        f"Mean of {result.settings.replicas} seeds on scikit-learn's digits, and each of them at "
        "the end (dots); three evaluations of the decoder per image and update. Dashed: a biased "
        "gradient."
    )
    diagnosis = diagnosis_figure(result.diagnosis)
    diagnosis[0].set_figwidth(6.6)  # the name of an estimator with its settings is long
    return {"bound": (figure, caption), "diagnosis": diagnosis}


def _bounds(result: BoundResult, title: str, label: str, *, below: float, above: float) -> Figure:
    """The bounds of all arms, from so much below the best one to so much above it."""
    figure, axes = curves(title, "update", label, result.updates, result.bound)
    for line, (name, final) in zip(axes.lines, result.final_bound.items(), strict=True):
        line.set_linestyle("--" if name in vae.BIASED else "-")
        axes.plot([result.updates[-1]] * len(final), final, ".", color=line.get_color(), ms=4)
    axes.legend()
    top = max(bound.max() for bound in result.bound.values())
    axes.set_ylim(top - below, top + above)
    return figure


def gradient_variance(result: variances.Result) -> Figures:
    """Closed forms with measurements, and the network's errors."""
    return {"variance-forms": _forms(result), "network-error": _network(result)}


def _forms(result: variances.Result) -> Drawn:
    figure, ax = panel("Variance by the mean, d = 1", "spread σ", "variance × evaluations")
    shown = ("score", "score, best constant", "leave-one-out 4", "antithetic pair", "pathwise")
    fine = np.geomspace(0.01, 1, 60)
    for color, name in zip(CYCLE, shown, strict=False):
        form, i = FORMS[name], list(FORMS).index(name)
        # Where the variance does not depend on σ the form is one number.
        line = np.broadcast_to(form.by_mean(1.0, fine) * form.evaluations, fine.shape)
        ax.plot(fine, line, color=color, label=name)
        for j, (d, s) in enumerate(variances.POINTS):
            if d == 1.0:
                ax.plot(s, result.variance[i, j, 0] * form.evaluations, "o", color=color)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.legend()
    caption = (
        f"Closed forms (lines) and what {result.settings.samples:,} samples gave (dots), where the "
        "mean is off by 1. Only the score function without a baseline explodes as σ shrinks."
    )
    return figure, caption


def _network(result: variances.Result) -> Drawn:
    label = "squared error of gradient / squared length"
    figure, ax = panel("The forum's network", "parameters", label)
    for a, arm in enumerate(variances.NETWORK_ARMS):
        for look in (0, 1):
            values = result.error[look, :, a]
            where = look + 0.2 * (a - 1) + np.linspace(-0.06, 0.06, len(values))
            label = arm.name if look == 0 else ""
            ax.plot(where, values, "o", color=CYCLE[a], label=label or None, markersize=5)
    ax.set_xticks([0, 1], ["at the start", f"after {result.settings.updates:,} updates"])
    ax.set_yscale("log")
    ax.legend()
    caption = (
        f"One dot for each of {result.settings.networks} networks: how far a gradient from "
        f"{result.settings.evaluations} evaluations per curve is from the true one, before and "
        "after training with the forum's estimator. Above 1 the noise outweighs the gradient."
    )
    return figure, caption


def four_curves(result: forum.Result) -> Figures:
    """The curves where they are known, the error, the spread, and the gradient's variance."""
    figures = {}
    if result.arms[network.FORUM.name].mean is not None:
        figures = {name: _curve(result, index) for index, name in enumerate(NAMES)}
    figures["total-error"] = _total_error(result)
    figures["spread"] = _spread(result)
    figures["gradient-variance"] = _gradient_variance(result)
    return figures


def _curve(result: forum.Result, index: int) -> Drawn:
    curve = network.CURVES[index]
    figure, axes = panel(f"y = {curve}: learned mean ± σ", "input x", "output y")
    grid = result.grid
    truth = (grid, grid**2, grid**3, np.sin(grid))[index]
    for arm in network.AT_ONE_RATE:
        trained = result.arms[arm.name]
        if trained.mean is None or trained.std is None:
            continue
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


def _range(axes: Axes, steps: np.ndarray, of_seeds: np.ndarray, color: str, label: str) -> None:
    """The mean over seeds, the last axis, and the band of all of them."""
    axes.fill_between(steps, of_seeds.min(1), of_seeds.max(1), color=color, alpha=0.2, linewidth=0)
    axes.plot(steps, of_seeds.mean(1), color=color, linewidth=1.8, label=label)


def _total_error(result: forum.Result) -> Drawn:
    settings = result.settings
    label = "total squared error (sum of 4)"
    figure, axes = panel("Squared error of the four means", "update", label)
    for arm in network.ARMS:
        total = result.arms[arm.name].total
        steps = result.iterations[: len(total)]
        name = f"leave-one-out, lr {settings.fast_learning_rate:g}" if arm.fast else arm.name
        _range(axes, steps, total, COLORS[arm.name], name)
        axes.lines[-1].set_linestyle("--" if arm.fast else "-")
    axes.set_yscale("log")
    axes.legend()
    seeds = "mean (line) and range (band)" if total.shape[1] > 1 else "mean"
    caption = (
        f"Error of the means on {settings.test_inputs:,} fixed inputs: {seeds} "
        f"over {settings.replicas} seeds, {settings.evaluations} "
        f"evaluations per curve and update, lr {settings.learning_rate:g} unless marked."
    )
    return figure, caption


def _spread(result: forum.Result) -> Drawn:
    figure, axes = panel("Spread σ of the square's output", "update", "mean σ")
    square = 1
    for arm in network.AT_ONE_RATE:
        sigma = result.arms[arm.name].sigma[..., square]
        _range(axes, result.iterations, sigma, COLORS[arm.name], arm.name)
    axes.set_yscale("log")
    axes.legend()
    seeds = "Mean and range" if sigma.shape[1] > 1 else "Mean"
    caption = (
        f"{_falls(result, square)} {seeds} over {result.settings.replicas} seeds, "
        f"{result.iterations[-1]:,} updates. The forum's gradient has the noise d⁴/σ² where the "
        "mean is off by d."
    )
    return figure, caption


def _falls(result: forum.Result, curve: int) -> str:
    ratio = {
        arm.name: result.arms[arm.name].sigma[[0, -1], :, curve].mean(1)
        for arm in network.AT_ONE_RATE
    }
    still = [name for name, (first, last) in ratio.items() if last >= first]
    if still:
        return f"σ does not fall with {' and '.join(still)}."
    return "σ falls under every estimator, as it should."


def _gradient_variance(result: forum.Result) -> Drawn:
    figure, axes = panel(
        "Variance of the mean's gradient, d = 1", "spread σ", "variance × evaluations"
    )
    rows = result.variance[result.variance[:, 0] == 1.0]
    fine = np.geomspace(rows[:, 1].min(), rows[:, 1].max(), 100)
    for column, (name, of) in enumerate(network.FORM_OF.items(), start=2):
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
    grown = [name for i, name in enumerate(network.FORM_OF, start=2) if last[i] > 10 * first[i]]
    if not grown:
        return "None grows tenfold as σ shrinks."
    return f"As σ shrinks, more than tenfold larger: {' and '.join(grown)}."
