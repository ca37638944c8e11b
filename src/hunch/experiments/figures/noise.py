"""Figures of the experiment on noisy layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hunch.experiments.figures.shared import bound
from hunch.experiments.noise import noisy_layers as layers
from hunch.experiments.noise.noise_moments import EDGES
from hunch.plots import BLUE, ORANGE, RED, panel

if TYPE_CHECKING:
    from hunch.experiments.figures.shared import Drawn, Figures

COLORS = {"factorized": BLUE, "independent": RED}


def noisy_layers(result: layers.Result) -> Figures:
    """How far moments are off their closed forms, output by output where known; the modes."""
    modes = {"noise-modes": _modes(result)}
    if result.moments[0].by_output is None:
        return {"moments": _moments(result), **modes}
    return {"noise-histogram": _histogram(result), "variance-scatter": _variances(result), **modes}


def _moments(result: layers.Result) -> Drawn:
    """The errors that the claim bounds, one group for each kind of noise and sharing."""
    figure, axes = panel("Moments of noisy layers' outputs", "", "error, %")
    places = np.arange(len(result.moments))
    mean = [100 * m.mean_error_in_stds for m in result.moments]
    variance = [100 * abs(m.variance_ratio - 1) for m in result.moments]
    axes.bar(places - 0.2, mean, 0.4, color=BLUE, label="of the mean, of a std")
    axes.bar(places + 0.2, variance, 0.4, color=ORANGE, label="of the variance")
    limit = 100 * result.settings.tolerance
    bound(axes, limit, "bound")
    axes.set_xticks(places, [f"{m.noise},\n{m.sharing}" for m in result.moments], fontsize=9)
    axes.set_ylim(0, 1.5 * limit)
    axes.legend(ncols=3, loc="upper center", fontsize=9, columnspacing=0.9)
    caption = f"Against the closed forms, over {result.settings.draws:,} draws of the noise."
    return figure, caption


def _histogram(result: layers.Result) -> Drawn:
    """The first action value's noise, in the stds that the closed form predicts."""
    figure, axes = panel(
        "Noise of one output", "(output − mean) / closed-form std", "probability density"
    )
    centres = (EDGES[1:] + EDGES[:-1]) / 2
    axes.plot(centres, np.exp(-(centres**2) / 2) / np.sqrt(2 * np.pi), "k--", lw=1, label="normal")
    for m in result.moments:
        if m.sharing == "shared" and (outputs := m.by_output):
            index = result.settings.hidden_units  # the second layer's first output
            ratio = outputs.measured[index] / outputs.closed[index]
            label = f"{m.noise}: variance {ratio:.3f} × predicted"
            axes.stairs(outputs.density, EDGES, color=COLORS[m.noise], lw=1.6, label=label)
    axes.set_xlim(EDGES[0], EDGES[-1])
    axes.set_ylim(0, axes.get_ylim()[1] * 1.35)
    axes.legend(loc="upper center")
    caption = (
        f"First action value over {result.settings.draws:,} draws of the last layer's noise. "
        "Independent noise is exactly normal; factorized noise, a product, has the predicted "
        "variance with a sharper peak and heavier tails."
    )
    return figure, caption


def _variances(result: layers.Result) -> Drawn:
    """Measured against closed-form variance, one point per output."""
    figure, axes = panel("Variance of every output", "closed-form variance", "measured variance")
    known = [(m, m.by_output) for m in result.moments if m.by_output]
    all_closed = np.concatenate([outputs.closed for _, outputs in known])
    low, high = all_closed.min(), all_closed.max()
    axes.plot([low, high], [low, high], color="0.5", lw=1, label="equal")
    for m, outputs in known:
        shared = m.sharing == "shared"
        axes.scatter(
            outputs.closed,
            outputs.measured,
            s=22,
            marker="o" if shared else "x",
            facecolors="none" if shared else COLORS[m.noise],
            edgecolors=COLORS[m.noise] if shared else None,
            linewidths=1,
            label=f"{m.noise}, {m.sharing}",
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.legend()
    worst = max(abs(m.variance_ratio - 1) for m in result.moments)
    caption = (
        "All outputs of both layers for both kinds of noise. Averaged over outputs, the variance "
        f"is at most {worst:.2%} off its closed form."
    )
    return figure, caption


def _modes(result: layers.Result) -> Drawn:
    """One action value over consecutive forwards, by noise mode."""
    figure, axes = panel("What each noise mode does", "forward", "first action value")
    forwards = result.settings.forwards
    steps = np.arange(forwards)
    styles = {
        "fresh": ("#009E73", "o-", 1.0),
        "auto": ("#0072B2", "s-", 1.4),
        "held": ("#D55E00", "^-", 1.4),
        "off": ("0.2", "-", 1.4),
    }
    for mode, (colour, style, width) in styles.items():
        axes.plot(
            steps, result.series[mode], style, color=colour, lw=width, ms=3, label=f'"{mode}"'
        )
    axes.axvline(forwards // 2 - 0.5, color="0.5", lw=1, ls=":")
    axes.annotate(
        "eval()", (forwards // 2, 0.02), xycoords=("data", "axes fraction"), fontsize=9, ha="left"
    )
    axes.set_ylim(axes.get_ylim()[0], axes.get_ylim()[1] + 0.25 * np.ptp(axes.get_ylim()))
    axes.legend(ncols=4, loc="upper center", columnspacing=0.9)
    caption = (
        "The same observation again and again. “fresh” draws in every forward; “auto” does so "
        f"until eval() at forward {forwards // 2}, then computes with the means, as “off” always "
        f"does; “held” changes only with reset_noise, here every {forwards // 3} forwards."
    )
    return figure, caption
