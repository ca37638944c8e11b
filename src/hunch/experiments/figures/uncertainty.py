"""Figures of the experiments on uncertainty."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hunch.experiments.figures.shared import bound, curves, spread
from hunch.experiments.uncertainty import frozen_networks as frozen
from hunch.experiments.uncertainty import gp_posterior as process
from hunch.experiments.uncertainty import linear_posterior as linear
from hunch.experiments.uncertainty import randomized_priors as priors
from hunch.experiments.uncertainty import testbed_2d as testbed
from hunch.plots import BLUE, CYCLE, GRAY, GREEN, RED, panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from hunch.experiments.figures.shared import Drawn, Figures


def linear_posterior(result: linear.Result) -> Figures:
    """The divergence on every shape, and members' standard deviation against the posterior's."""
    figures = {
        f"linear-posterior-{shape[0]}": _axes_figure(result, shape)
        for shape in result.settings.shapes[:2]
        if result.row(linear.EXACT, shape).std is not None
    }
    return figures | {"linear-posterior-kl": _divergence(result)}


def _axes_figure(result: linear.Result, shape: tuple[int, int]) -> Drawn:
    title = f"Is it Bayes? {shape[0]} data, {shape[1]} dimensions"
    figure, ax = panel(title, "recipe", "std / exact std")
    for i, recipe in enumerate(linear.ENSEMBLES):
        row = result.row(recipe.name, shape)
        if row.std is not None and row.exact_std is not None:
            ratio = row.std / row.exact_std
            where = i + spread(len(ratio))
            ax.plot(where, np.maximum(ratio, 1e-2), "o", color=CYCLE[i], markersize=6)
    bound(ax, 1)
    ax.set_yscale("log")
    labels = ["exact\nrecipe", "no\nprior", "no\nnoise", "no\nridge", "boot-\nstrap", "blog"]
    ax.set_xticks(range(len(linear.ENSEMBLES)), labels)
    caption = (
        "One dot for each principal axis of the exact posterior, none below 0.01; the dashed line "
        f"is exact. {result.settings.num_members:,} members."
    )
    return figure, caption


def _divergence(result: linear.Result) -> Drawn:
    shapes = result.settings.shapes
    figure, ax = panel("How far from Bayes?", "data × dimensions", "KL divergence (nats)")
    exact, trained, blog = linear.EXACT, linear.TRAINED, linear.ENSEMBLES[-1].name
    shown = ((exact, "exact recipe"), (trained, "trained by fit"), (blog, "blog"))
    for i, (recipe, label) in enumerate(shown):
        divergence = [result.row(recipe, shape).kl for shape in shapes]
        ax.plot(range(len(shapes)), divergence, "os^"[i], color=CYCLE[i], label=label)
    bound(ax, 0.05)
    ax.set_yscale("log")
    ax.set_xticks(range(len(shapes)), [f"{n} × {d}" for n, d in shapes])
    ax.legend()
    k, d = result.settings.trained_members, max(d for _, d in shapes)
    caption = (
        "The dashed line is 0.05. With a finite number of members no divergence is 0: that of "
        f"{k:,} exact draws in {d} dimensions is about {d * (d + 3) / (4 * k):.3f}."
    )
    return figure, caption


def gp_posterior(result: process.Result) -> Figures:
    """Divergence of each agent for each shape."""
    shapes = result.settings.shapes
    figure, axes = curves(
        "Divergence from the exact posterior",
        "inputs × data",
        "KL, nats",
        range(len(shapes)),
        {
            agent: [result.kl(agent, inputs=d, ratio=r) for d, r in shapes]
            for agent in process.AGENTS
        },
        style="o-",
    )
    axes.set_yscale("log")
    labels = [f"{d}×{d * r}" for d, r in shapes]
    axes.set_xticks(range(len(shapes)), labels, fontsize=8, rotation=35)
    axes.legend(fontsize=8)
    return {"gp-posterior": (figure, "Mean over noise, seeds and test inputs.")}


def frozen_networks(result: frozen.Result) -> Figures:
    """Every set of other data, by network and score."""
    problems, scores = result.settings.problems, result.scores
    figure, axes = panel("Other data told from test data", "", "AUROC", width=8.0)
    for i, score in enumerate(scores):
        for kind, shape in ((frozen.FAR, "o"), (frozen.NEAR, "_"), (frozen.SCALED, "x")):
            x, y = [], []
            for k, problem in enumerate(problems):
                own = [
                    r.auroc.mean()
                    for r in result.rows
                    if (r.problem, r.score, r.kind) == (problem, score, kind)
                ]
                if kind == frozen.SCALED:
                    own = [min(own)] if own else []
                x += [k + (i - (len(scores) - 1) / 2) * 0.15] * len(own)
                y += own
            far = kind == frozen.FAR
            label = score if far else None
            axes.plot(x, y, shape, color=CYCLE[i], markersize=5, mew=0 if far else 1, label=label)
    bound(axes, 0.95)
    axes.axhline(0.5, color=GRAY, lw=0.8)
    axes.set_xticks(range(len(problems)), [name.replace(", ", "\n") for name in problems])
    axes.set_ylim(-0.05, 1.05)
    axes.set_yticks([0.0, 0.5, 1.0])
    axes.legend(fontsize=8, loc="lower right")  # where no set is so badly told
    caption = (
        "One mark for each set, the mean over seeds: far ones as dots, near ones as dashes; of "
        "those of another size the worst, as a cross. Dashed line 0.95, gray chance."
    )
    return {"frozen-networks": (figure, caption)}


def testbed_2d(result: testbed.Result) -> Figures:
    """Divergence against the number of data."""
    sizes = result.settings.sizes
    figure, axes = curves(
        "Joint divergence of ten classes",
        "training data",
        "of one network's",
        sizes,
        {
            agent: [result.ratio(agent, num_train=n) for n in sizes]
            for agent in testbed.AGENTS
            if agent not in (testbed.MLP, testbed.SHORT)
        },
        style="o-",
    )
    axes.axhline(1.0, color=GRAY, lw=0.8)
    axes.set_xscale("log")
    axes.set_ylim(bottom=0.0)
    axes.legend(fontsize=8)
    caption = "Mean over temperatures and seeds; 1 is one network without any randomness."
    return {"testbed-2d": (figure, caption)}


def randomized_priors(result: priors.Result) -> Figures:
    """The post's three views of each ensemble, and the bands on the second data set."""
    figures = {}
    for case in result.cases:
        name = f"{case.data}-{case.prior}"
        figures[f"{name}-band"] = _band(result, case)
        if case.data == priors.BLOG.data and case.members is not None:
            figures[f"{name}-members"] = _members(result, case, case.members)
            if case.priors is not None:
                figures[f"{name}-prior"] = _prior(result, case, case.priors)
    return figures


def _view(case: priors.Case, what: str) -> tuple[Figure, Axes]:
    short = {"mlp": "network prior", "sine": "sine prior", "pretrained": "pretrained prior"}
    figure, axes = panel(f"{what}: {short.get(case.prior, 'no prior')}", "x", "y")
    limit = 4.5 if case.data == priors.BLOG.data else 9.0
    axes.set_ylim(-limit, limit)
    return figure, axes


def _band(result: priors.Result, case: priors.Case) -> Drawn:
    figure, ax = _view(case, "Uncertainty")
    grid, mean, std = result.grid, case.mean, case.std
    caption = (
        f"Mean of {case.num_members} members and two standard deviations: blue, of the members, "
        "which leave out the noise"
    )
    if case.fitted is None:
        caption += "."
    else:
        left = residual(case.y, case.fitted)
        both = 2 * np.hypot(std, left)
        low, high = mean - both, mean + both
        ax.fill_between(grid, low, high, color=GRAY, alpha=0.2, linewidth=0, label="an observation")
        inside = [within(case.y, case.fitted, added) for added in (0.0, left)]
        caption += (
            f" and hold {inside[0]} of {len(case.x)} data; gray, of an "
            f"observation, with what is left at the data (a standard deviation of "
            f"{left:.2f}: noise, and what the fit has missed), {inside[1]} "
            f"of {len(case.x)}."
        )
    low, high = mean - 2 * std, mean + 2 * std
    ax.fill_between(grid, low, high, color=BLUE, alpha=0.35, linewidth=0, label="members")
    ax.plot(grid, mean, color=BLUE, linewidth=1.8)
    ax.plot(case.x, case.y, "o", color=RED, markersize=4)
    ax.legend(loc="upper right")
    return figure, f"{caption} Data in red; prior: {priors.PRIORS[case.prior]}."


def residual(y: priors.Array, fitted: priors.Array) -> float:
    """What is left between the data and the mean, beyond the members' own spread there.

    Noise, and what the fit has missed: a standard deviation, in units of y.
    """
    error = float(np.square(y - fitted.mean(axis=0)).mean())
    return float(np.sqrt(max(0.0, error - float(fitted.var(axis=0, ddof=1).mean()))))


def within(y: priors.Array, fitted: priors.Array, added: float) -> int:
    """How many data lie within two standard deviations, joined with `added`, of the mean."""
    std = np.hypot(fitted.std(axis=0, ddof=1), added)
    return int((np.abs(y - fitted.mean(axis=0)) <= 2 * std).sum())


def _members(result: priors.Result, case: priors.Case, members: priors.Array) -> Drawn:
    figure, ax = _view(case, "Members")
    ax.plot(result.grid, members.T, color=BLUE, alpha=0.35, linewidth=0.8)
    ax.plot(case.x, case.y, "o", color=RED, markersize=4)
    return figure, f"All {len(members)} members; data in red."


def _prior(result: priors.Result, case: priors.Case, drawn: priors.Array) -> Drawn:
    figure, ax = _view(case, "Prior alone")
    same = np.ptp(drawn, axis=0).max() < 1e-5
    shown = drawn[:1] if same else drawn
    alpha, width = (1.0, 1.8) if same else (0.45, 0.9)
    ax.plot(result.grid, shown.T, color=GREEN, alpha=alpha, linewidth=width)
    text = "The same function for every member." if same else "One untrained function a member."
    return figure, text
