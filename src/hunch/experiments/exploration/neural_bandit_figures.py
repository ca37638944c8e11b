"""The figures of the neural bandit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hunch.experiments.exploration.neural_bandit import FAMILIES, Result, half_width
from hunch.plots import BLUE, GRAY, GREEN, ORANGE, PURPLE, RED, panel

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLORS = dict(zip(FAMILIES, (RED, ORANGE, GREEN, PURPLE, BLUE), strict=True))


def draw(result: Result) -> dict[str, tuple[Figure, str]]:
    """Regret over time of each family's best agent, and the whole regret of all agents."""
    return {"neural-bandit-curves": _curves(result), "neural-bandit-agents": _agents(result)}


def _curves(result: Result) -> tuple[Figure, str]:
    figure, ax = panel("Regret, the best of each family", "step", "regret per step")
    steps = result.settings.problem.num_steps
    for family in FAMILIES:
        row = result.best(family)
        if row is None:
            continue
        times = (np.arange(len(row.curve)) + 0.5) * steps / len(row.curve)
        ax.plot(times, row.curve, color=COLORS[family], linewidth=1.8, label=row.agent.name)
    ax.axhline(result.at_random, color=GRAY, linewidth=1, linestyle="--", label="at random")
    ax.set_ylim(bottom=0)
    ax.legend(loc="best")
    caption = f"Mean of {result.settings.num_seeds} bandits, the same for all agents."
    return figure, caption


def _agents(result: Result) -> tuple[Figure, str]:
    height = 1.2 + 0.19 * len(result.rows)
    figure, ax = panel("Regret of every agent", "regret per step", "", height=height)
    for place, row in enumerate(result.rows):
        color = COLORS[row.agent.family]
        ax.errorbar(
            row.regret.mean(),
            place,
            xerr=half_width(row.regret),
            color=color,
            fmt="o",
            markersize=4,
        )
    ax.set_yticks(range(len(result.rows)), [row.agent.name for row in result.rows])
    ax.invert_yaxis()
    ax.set_xlim(left=0)
    return figure, "Mean over all steps and bandits, with its 95 % interval."
