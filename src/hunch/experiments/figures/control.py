"""Figures of the experiments on control."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hunch.charts import running_mean
from hunch.experiments.control import cartpole_seeds as seeds
from hunch.experiments.control import classic_control as classic
from hunch.experiments.control import continuous_control as continuous
from hunch.experiments.control import larger_problems as larger
from hunch.experiments.control import minatar as games
from hunch.experiments.control import noisy_a2c as a2c
from hunch.experiments.control import noisy_cartpole as pole
from hunch.experiments.control import relax_cartpole as relax
from hunch.experiments.control import sb3_cartpole as sb3
from hunch.experiments.control.trials import SOLVED
from hunch.experiments.figures.shared import bound, curves, quartiles, spread
from hunch.plots import BLUE, CYCLE, GRAY, ORANGE, SKY, panel

if TYPE_CHECKING:
    from hunch.experiments.figures.shared import Drawn, Figures


def cartpole_seeds(result: seeds.Result) -> Figures:
    """Evaluations during training: the median over seeds and the band between quartiles."""
    figure, axes = panel("CartPole-v1 by noise alone", "frames", "greedy return")
    frames, returns = result.curves.frames, result.curves.mean_return
    quartiles(axes, frames, returns, BLUE, "median and quartiles")
    axes.plot(frames, returns.min(0), ":", color=BLUE, label="worst seed")
    axes.legend(fontsize=8)
    caption = (
        f"{len(returns)} seeds trained at once; evaluation episodes, mean weights. Single "
        "seeds still fall back after having solved the task."
    )
    return {"cartpole-seeds": (figure, caption)}


def continuous_control(result: continuous.Result) -> Figures:
    """The mean return of every seed at the end, one figure a task."""
    return _by_task("continuous-control", result)


def classic_control(result: classic.Result) -> Figures:
    """The mean return of every seed at the end, one figure a task."""
    return _by_task("classic-control", result)


def larger_problems(result: larger.Result) -> Figures:
    """Likewise."""
    return _by_task("larger-problems", result)


def _by_task(name: str, result: continuous.Result | classic.Result | larger.Result) -> Figures:
    figures = {}
    for env in result.settings.frames:
        agents = sum(trial.env == env for trial in result.trials)
        figure, axes = panel(env, "", "mean return of a seed", width=max(4.6, 1.6 * agents))
        trials = [trial for trial in result.trials if trial.env == env]
        for place, (trial, color) in enumerate(zip(trials, CYCLE, strict=False)):
            where = place + spread(len(trial.mean_return))
            axes.plot(where, np.sort(trial.mean_return), "o", color=color, ms=5)
        bound(axes, SOLVED[env])
        axes.set_xticks(range(len(trials)), [trial.agent for trial in trials])
        axes.set_xlim(-0.5, len(trials) - 0.5)
        caption = (
            f"Greedy actions after {result.settings.frames[env]:,} frames, "
            f"{result.settings.evaluation_episodes} episodes a seed; the dashed line counts as "
            "solved."
        )
        figures[f"{name}-" + env.partition("-")[0].lower()] = (figure, caption)
    return figures


def minatar(result: games.Result) -> Figures:
    """The score of every seed in every game: at equal frames, and by the time that it took."""
    settings = result.settings
    equal = f"After {settings.frames:,} frames each"
    slow, fast = f"{settings.slow_frames:,}", f"{settings.fast_frames:,}"
    timed = f"{games.FAST} after {fast} frames, {games.SLOW} after {slow}, in more time"
    drawn = zip(("minatar", "minatar-time"), settings.pairs, (equal, timed), strict=False)
    return {name: _two_agents(result, *pair, what) for name, pair, what in drawn}


def _two_agents(result: games.Result, agent: str, other: str, what: str) -> Drawn:
    both = games.on_one_scale(result.returns(agent), result.returns(other))
    named = dict(zip((agent, other), both, strict=True))
    figure, axes = panel("MinAtar", "", "mean return, in units of both agents' mean", width=5.6)
    for shift, (name, scores), color in zip(
        (-0.2, 0.2), named.items(), (BLUE, ORANGE), strict=True
    ):
        for place, game in enumerate(result.settings.games):
            where = place + shift + spread(len(scores[game]), 0.12)
            label = name if place == 0 else None
            axes.plot(where, np.sort(scores[game]), "o", color=color, ms=4, label=label)
    axes.set_xticks(range(len(result.settings.games)), result.settings.games)
    axes.set_ylim(bottom=-0.1)
    axes.legend(fontsize=8)
    episodes = result.settings.evaluation_episodes
    return figure, f"{what}; one dot a seed, {episodes} greedy episodes by the last weights."


def relax_cartpole(result: relax.Result) -> Figures:
    """How many episodes each seed needed, beside the paper's means."""
    figure, axes = panel("CartPole with 2 × 10 units", "episodes until solved", "")
    names = result.baselines
    for place, (name, color) in enumerate(zip(names, (BLUE, ORANGE, GRAY), strict=False)):
        solved = sorted(trial.solved for trial in result.of(name) if trial.solved is not None)
        axes.plot(solved, place + spread(len(solved) or 1)[: len(solved)], "o", color=color, ms=5)
    for row, (name, mean) in enumerate(relax.PAPER.items()):  # one below the other
        axes.axvline(mean, color="black", lw=1, ls=":")
        axes.annotate(f" {name}, paper", (mean, len(names) - 0.35 - 0.15 * row), fontsize=8)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(-0.5, len(names) - 0.2)
    axes.set_xlim(left=0)
    unsolved = sum(trial.solved is None for trial in result.trials)
    rest = f" {unsolved} that never solved it are left out." if unsolved else ""
    caption = (
        f"One dot a seed: the episode that completes 100 of a mean return above {relax.SOLVED:g}."
        f"{rest} Dotted: the means that the RELAX paper reports."
    )
    return {"relax-cartpole": (figure, caption)}


def noisy_a2c(result: a2c.Result) -> Figures:
    """Evaluations on CartPole, and how many seeds solved the sea by which episode."""
    settings, colors = result.settings, {a2c.NOISY: ORANGE, a2c.ENTROPY: BLUE, a2c.NEITHER: GRAY}
    pole, axes = panel("CartPole-v1", "frames", "greedy return")
    for poles in result.cartpole:
        quartiles(axes, poles.frames, poles.mean_return, colors[poles.agent], poles.agent)
    axes.legend(fontsize=8)
    sea, axes = panel(f"Deep sea, N = {settings.size}", "episode", "seeds that solved it")
    for agent, color in colors.items():
        at = sorted(dive.solved for dive in result.dives(agent) if dive.solved is not None)
        x = [0, *at, settings.dives]
        axes.step(x, [*range(len(at) + 1), len(at)], where="post", color=color, label=agent)
    axes.set_ylim(-0.3, settings.num_seeds + 0.3)
    axes.legend(fontsize=8)
    count = f"{settings.num_seeds} seeds"
    return {
        "noisy-a2c-cartpole": (pole, f"Median and quartiles over {count}, mean weights."),
        "noisy-a2c-deep-sea": (sea, f"By bsuite's definition; {count} each."),
    }


def sb3_cartpole(result: sb3.Result) -> Figures:
    """The evaluations during training, and those of the best and the last model."""
    return {"sb3-cartpole-curves": _sb3_curves(result), "sb3-cartpole-models": _sb3_models(result)}


def _sb3_curves(result: sb3.Result) -> Drawn:
    count = max(len(row.selection_curve) for row in result.seeds)
    figure, ax = curves(
        "Stable-Baselines3's DQN with noise",
        "frame",
        "mean return (steps)",
        np.arange(1, count + 1) * result.settings.selection_period,
        {f"seed {row.seed}": row.selection_curve for row in result.seeds},
        style=".-",
    )
    bound(ax, sb3.SOLVED)
    ax.set_ylim(0, 680)  # the legend has its place above the cap of 500
    ax.legend(loc="upper center", ncols=3)
    episodes = result.settings.selection_episodes
    return figure, f"Mean of {episodes} deterministic episodes; the dashed line is {sb3.SOLVED:g}."


def _sb3_models(result: sb3.Result) -> Drawn:
    figure, ax = panel("Best and last model", "seed", "mean return (steps)")
    at = np.arange(len(result.seeds))
    for shift, name, color in ((-0.2, "best", BLUE), (0.2, "last", SKY)):
        means = [getattr(row, name).mean_return for row in result.seeds]
        ax.bar(at + shift, means, width=0.4, color=color, label=name)
    bound(ax, sb3.SOLVED)
    ax.set_xticks(at, [str(row.seed) for row in result.seeds])
    ax.legend(loc="lower right")
    episodes = result.settings.evaluation_episodes
    return figure, f"{episodes} deterministic episodes each; the dashed line is {sb3.SOLVED:g}."


def noisy_cartpole(result: pole.Result) -> Figures:
    """Score, loss, size of the noise and the evaluation, each in a figure of its own."""
    return {
        "noisy-cartpole-score": _score(result),
        "noisy-cartpole-loss": _loss(result),
        "noisy-cartpole-sigma": _sigma(result),
        "noisy-cartpole-evaluation": _evaluation(result),
    }


def _score(result: pole.Result) -> Drawn:
    shown = result.shown
    figure, ax = panel("Score while learning", "frame", "return of an episode (steps)")
    ax.plot(shown.episode_frames, shown.episode_returns, ".", color=SKY, label="episode")
    if len(shown.episode_returns):
        mean = running_mean(shown.episode_returns, 20)
        ax.plot(shown.episode_frames, mean, color=BLUE, linewidth=1.8, label="mean of last 20")
    bound(ax, pole.SOLVED, "solved")
    ax.legend(loc="lower right")
    return figure, "Training episodes, played under noise: one new draw of the weights per action."


def _loss(result: pole.Result) -> Drawn:
    shown, every = result.shown, pole.EVERY
    figure, ax = panel("Loss", "frame", "Huber loss (squared value)")
    ax.plot(shown.frames, shown.loss, color=SKY, linewidth=0.8, label=f"mean of {every} updates")
    smooth = pole.thinned(shown.loss)
    ax.plot(shown.frames[9::10], smooth, color=BLUE, linewidth=1.8, label=f"of {10 * every}")
    ax.set_yscale("log")
    ax.legend(loc="upper right")
    return figure, "In units of the squared value, so it rises where values do."


def _sigma(result: pole.Result) -> Drawn:
    figure, ax = panel("Size of the noise", "frame", "mean |σ| of a layer")
    names = ("hidden layer", "output layer")
    for name, sigma, color in zip(names, result.shown.sigma, CYCLE, strict=False):
        ax.plot(result.shown.frames, sigma, color=color, linewidth=1.8, label=name)
    ax.set_ylim(bottom=0)
    ax.legend(loc="best")
    return figure, "Each σ is a parameter: the loss alone decides how much the agent explores."


def _evaluation(result: pole.Result) -> Drawn:
    returns = result.shown.evaluation_returns
    figure, ax = panel(
        f"{len(returns)} greedy episodes from unseen starts", "episode, sorted", "return (steps)"
    )
    ax.bar(range(1, len(returns) + 1), np.sort(returns), width=1.0, color=BLUE)
    bound(ax, pole.SOLVED)
    ax.set_ylim(0, 1.05 * result.settings.max_episode_steps)
    caption = (
        f"Mean weights, no noise: mean return {returns.mean():.1f}, worst {returns.min():.0f}."
    )
    if not result.settings.enough:
        caption += f" After {result.settings.frames:,} frames."
    return figure, caption
