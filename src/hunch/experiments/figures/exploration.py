"""Figures of the experiments on exploration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hunch.experiments.exploration import bayesian_optimization as optimization
from hunch.experiments.exploration import bsuite as suite
from hunch.experiments.exploration import chain as chains
from hunch.experiments.exploration import deep_sea as sea
from hunch.experiments.exploration import neural_bandit as bandit
from hunch.experiments.figures.shared import curves
from hunch.plots import BLUE, CYCLE, GRAY, GREEN, ORANGE, PURPLE, RED, panel

if TYPE_CHECKING:
    from hunch.experiments.figures.shared import Drawn, Figures

FAMILIES = dict(zip(bandit.FAMILIES, (RED, ORANGE, GREEN, PURPLE, BLUE), strict=True))


def deep_sea(result: sea.Result) -> Figures:
    """Episodes to solve against the size of the sea, one mark a run."""
    figure, axes = panel("Episodes until deep sea is solved", "size N", "episodes")
    limit, more = result.settings.max_episodes, result.settings.table_episodes
    agents = list(dict.fromkeys(t.agent for t in result.trials))
    for agent, color in zip(agents, CYCLE, strict=False):
        solved = [(t.size, t.solved) for t in result.trials if t.agent == agent and t.solved]
        failed = [t.size for t in result.trials if t.agent == agent and not t.solved]
        if solved:
            axes.plot(*zip(*solved, strict=True), "o", color=color, ms=4, label=agent)
        if failed:
            label = None if solved else agent
            axes.plot(failed, [limit * 1.15] * len(failed), "x", color=color, ms=5, label=label)
    sizes = np.array(sorted({t.size for t in result.trials}), float)
    axes.plot(sizes, 0.316 * sizes**3, ":", color=GRAY, label="0.316 N³ (Osband et al.)")
    axes.axhline(limit, color=GRAY, lw=0.8)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(sizes, [f"{size:.0f}" for size in sizes], minor=False)
    axes.minorticks_off()
    axes.legend(fontsize=8)
    caption = (
        f"One mark a run; crosses above the line were not solved within {limit:,} episodes "
        f"(tables: {more:,}). Through the medians of networks with priors: N^{result.exponent:.2f}."
    )
    return {"deep-sea": (figure, caption)}


def chain(result: chains.Result) -> Figures:
    """Episodes until solved, for each agent."""
    sizes, limit = result.settings.sizes, result.settings.max_episodes
    medians = {
        agent: [
            np.median([at or 1.1 * limit for at in result.solved(agent, size)]) for size in sizes
        ]
        for agent in chains.AGENTS
    }
    figure, axes = curves(
        "Episodes until the chain is solved",
        "N",
        "episodes",
        sizes,
        medians,
        style="o-",
        colors=(BLUE, ORANGE, GRAY),
    )
    axes.axhline(limit, color=GRAY, lw=0.8)
    axes.legend(fontsize=8)
    caption = f"Median over seeds; above the line: not solved within {limit:,} episodes."
    return {"chain": (figure, caption)}


def bsuite(result: suite.Result) -> Figures:
    """Scores beside the published ones."""
    figure, axes = panel("bsuite scores", "", "score")
    problems = result.problems.values()
    places = np.arange(len(problems))
    axes.bar(places - 0.2, [p.score for p in problems], 0.4, color=BLUE, label="hunch")
    label = "published bootstrapped DQN"
    axes.bar(places + 0.2, [p.published for p in problems], 0.4, color=GRAY, label=label)
    axes.set_xticks(places, list(result.problems), rotation=35, ha="right", fontsize=8)
    axes.set_ylim(0, 1.3)
    axes.legend(fontsize=8, loc="upper right", ncols=2)
    caption = "Scores by bsuite's definition; not all ids of every problem were played."
    return {"bsuite": (figure, caption)}


def neural_bandit(result: bandit.Result) -> Figures:
    """Regret over time of each family's best agent, and the whole regret of all agents."""
    return {
        "neural-bandit-curves": _bandit_curves(result),
        "neural-bandit-agents": _bandit_agents(result),
    }


def _bandit_curves(result: bandit.Result) -> Drawn:
    figure, ax = panel("Regret, the best of each family", "step", "regret per step")
    steps = result.settings.problem.num_steps
    for family, color in FAMILIES.items():
        if row := result.best(family):
            times = (np.arange(len(row.curve)) + 0.5) * steps / len(row.curve)
            ax.plot(times, row.curve, color=color, linewidth=1.8, label=row.agent)
    label = "at random"
    ax.axhline(result.regret_at_random, color=GRAY, linewidth=1, linestyle="--", label=label)
    ax.set_ylim(bottom=0)
    ax.legend(loc="best")
    return figure, f"Mean of {result.settings.num_seeds} bandits, the same for all agents."


def _bandit_agents(result: bandit.Result) -> Drawn:
    height = 1.2 + 0.19 * len(result.agents)
    figure, ax = panel("Regret of every agent", "regret per step", "", height=height)
    for place, row in enumerate(result.agents):
        color = FAMILIES[row.family]
        ax.errorbar(row.regret, place, xerr=row.half_width, color=color, fmt="o", markersize=4)
    ax.set_yticks(range(len(result.agents)), [row.agent for row in result.agents])
    ax.invert_yaxis()
    ax.set_xlim(left=0)
    return figure, "Mean over all steps and bandits, with its 95 % interval."


def bayesian_optimization(result: optimization.Result) -> Figures:
    """Median regret over evaluations, one figure a problem."""
    figures = {}
    for p in result.settings.problems:
        medians = result.median_regret_by_evaluation[p.name]
        at = np.arange(1, p.evaluations + 1)
        figure, axes = curves(p.name, "evaluation", "median simple regret", at, medians)
        axes.set_yscale("log")
        axes.legend(fontsize=8)
        seeds = result.settings.num_seeds
        caption = f"Median of {seeds} seeds; the first {p.initial} evaluations are Sobol points."
        figures[f"bayesian-optimization-{p.name.lower()}"] = (figure, caption)
    return figures
