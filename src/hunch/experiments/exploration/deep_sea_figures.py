"""Figures of the deep-sea experiment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hunch.plots import BLUE, CYCLE, GRAY, panel

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hunch.experiments.exploration.deep_sea import Result


def draw(result: Result) -> dict[str, tuple[Figure, str]]:
    """Episodes to solve against the size of the sea, one mark a run.

    Args:
        result: the runs.
    """
    figure, axes = panel("Episodes until deep sea is solved", "size N", "episodes")
    limit = result.settings.max_episodes
    agents = list(dict.fromkeys(t.agent for t in result.trials))
    for agent, color in zip(agents, [BLUE, *CYCLE[1:]], strict=False):
        solved = [(t.size, t.solved) for t in result.trials if t.agent == agent and t.solved]
        failed = [t.size for t in result.trials if t.agent == agent and not t.solved]
        if solved:
            axes.plot(*zip(*solved, strict=True), "o", color=color, ms=4, label=agent)
        if failed:
            label = None if solved else agent
            axes.plot(failed, [limit * 1.15] * len(failed), "x", color=color, ms=5, label=label)
    sizes = np.array(result.settings.sizes, float)
    axes.plot(sizes, 0.316 * sizes**3, ":", color=GRAY, label="0.316 N³ (Osband et al.)")
    axes.axhline(limit, color=GRAY, lw=0.8)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(sizes, [f"{size:.0f}" for size in sizes], minor=False)
    axes.minorticks_off()
    axes.legend(fontsize=8)
    caption = (
        f"One mark a run; crosses above the line were not solved within {limit:,} episodes. "
        f"Through the medians of the agent with priors: N^{result.exponent:.2f}."
    )
    return {"deep-sea": (figure, caption)}
