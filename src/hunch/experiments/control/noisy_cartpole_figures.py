"""The figures of the NoisyNet-DQN on CartPole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hunch.experiments.control.noisy_cartpole import EVERY, SOLVED, Array, Result, thinned
from hunch.plots import BLACK, BLUE, CYCLE, SKY, panel

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(result: Result) -> dict[str, tuple[Figure, str]]:
    """See `hunch.experiments.control.noisy_cartpole.plot`."""
    return {
        "noisy-cartpole-score": _score(result),
        "noisy-cartpole-loss": _loss(result),
        "noisy-cartpole-sigma": _sigma(result),
        "noisy-cartpole-evaluation": _evaluation(result),
    }


def _score(result: Result) -> tuple[Figure, str]:
    shown = result.shown
    figure, ax = panel("Score while learning", "frame", "return of an episode (steps)")
    ax.plot(shown.episode_frames, shown.episode_returns, ".", color=SKY, label="episode")
    if len(shown.episode_returns):
        mean = _running_mean(shown.episode_returns, 20)
        ax.plot(shown.episode_frames, mean, color=BLUE, linewidth=1.8, label="mean of last 20")
    ax.axhline(SOLVED, color=BLACK, linewidth=1, linestyle="--", label="solved")
    ax.legend(loc="lower right")
    return figure, "Training episodes, played under noise: one new draw of the weights per action."


def _loss(result: Result) -> tuple[Figure, str]:
    shown = result.shown
    figure, ax = panel("Loss", "frame", "Huber loss (squared value)")
    ax.plot(shown.frames, shown.loss, color=SKY, linewidth=0.8, label=f"mean of {EVERY} updates")
    smooth = thinned(shown.loss)
    ax.plot(shown.frames[9::10], smooth, color=BLUE, linewidth=1.8, label=f"of {10 * EVERY}")
    ax.set_yscale("log")
    ax.legend(loc="upper right")
    return figure, "In units of the squared value, so it rises where values do."


def _sigma(result: Result) -> tuple[Figure, str]:
    figure, ax = panel("Size of the noise", "frame", "mean |σ| of a layer")
    names = ("hidden layer", "output layer")
    for name, sigma, color in zip(names, result.shown.sigma, CYCLE, strict=False):
        ax.plot(result.shown.frames, sigma, color=color, linewidth=1.8, label=name)
    ax.set_ylim(bottom=0)
    ax.legend(loc="best")
    return figure, "Each σ is a parameter: the loss alone decides how much the agent explores."


def _evaluation(result: Result) -> tuple[Figure, str]:
    returns = result.shown.evaluation_returns
    figure, ax = panel(
        f"{len(returns)} greedy episodes from unseen starts", "episode, sorted", "return (steps)"
    )
    ax.bar(range(1, len(returns) + 1), np.sort(returns), width=1.0, color=BLUE)
    ax.axhline(SOLVED, color=BLACK, linewidth=1, linestyle="--")
    ax.set_ylim(0, 1.05 * result.settings.max_episode_steps)
    caption = (
        f"Mean weights, no noise: mean return {returns.mean():.1f}, worst {returns.min():.0f}."
    )
    if not result.settings.enough:
        caption += f" After {result.settings.frames:,} frames."
    return figure, caption


def _running_mean(values: Array, width: int) -> Array:
    """Mean of each value and up to `width - 1` before it."""
    sums = np.cumsum(np.concatenate([[0.0], values]))
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(ends - width, 0)
    mean: Array = (sums[ends] - sums[starts]) / (ends - starts)
    return mean
