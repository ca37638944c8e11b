"""The figures of the page that `hunch fit` leaves, each with its caption."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from hunch.plots.panel import BLACK, BLUE, CYCLE, GRAY, GREEN, ORANGE, RED, SKY, panel
from hunch.tables.verdict import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Drawn = tuple["Figure", str]

_MOST_DRIVERS: Final = 12
_MOST_BARS: Final = 15  # of classes
_MOST_LETTERS: Final = 18  # of a name on an axis
_MOST_NUMBERED: Final = 8  # classes on a side whose cells have room for a number


def distribution(found: Mapping[str, Any], target: Mapping[str, Any]) -> Drawn:
    """How the target of the training rows is distributed."""
    if target["task"] == "classification":
        return _class_counts(found["counts"], target["name"])
    figure, ax = panel("How the target is spread", short(target["name"], 40), "training rows")
    _plain_ticks(ax)
    edges, counts = np.array(found["edges"]), found["counts"]
    ax.bar(edges[:-1], counts, np.diff(edges), align="edge", color=SKY)
    median = found["quantiles"]["0.5"]
    ax.axvline(median, color=BLACK, linewidth=1.2, linestyle="--")
    caption = f"The broken line: the median, {number(median)}; half of the rows lie on each side."
    if found["beyond"]:
        rows = "row" if found["beyond"] == 1 else "rows"
        caption += f" The outermost bars hold {found['beyond']:,} {rows} from beyond the ends, too."
    return figure, caption


def _class_counts(counts: Mapping[str, int], name: str) -> Drawn:
    shown = sorted(counts.items(), key=lambda item: -item[1])[:_MOST_BARS]
    figure, ax = panel(f"Rows of each class of {short(name, 30)}", "training rows", "")
    _plain_ticks(ax)
    places = range(len(shown))
    ax.barh(places, [count for _, count in shown], color=SKY)
    ax.set_yticks(places, [short(value) for value, _ in shown])
    ax.invert_yaxis()
    return figure, _of_many(len(shown), len(counts), "classes", "most frequent")


def _of_many(shown: int, count: int, what: str, which: str) -> str:
    return f"The {shown} {which} of {count} {what}." if shown < count else f"All {count} {what}."


def comparison(test: Mapping[str, Any], name: str) -> Drawn:
    """The deciding score of each model with its range."""
    key = test["deciding"]
    models = list(test["scores"])
    figure, ax = panel(f"{name}: smaller is better", name, "", height=2.9)
    _plain_ticks(ax)
    for place, model in enumerate(models):
        low, high = test["ranges"][model][key]
        color = BLUE if model == "hunch" else GRAY
        ax.plot([low, high], [place, place], color=color, linewidth=2.2)
        ax.plot(test["scores"][model][key], place, "o", color=color, markersize=7)
    ax.set_yticks(range(len(models)), models)
    ax.set_ylim(len(models) - 0.5, -0.5)
    return figure, (
        "Dots: on the test rows. Lines: 95 % ranges, what other test rows might have shown. All "
        "models are judged on the same rows, so lines that overlap may still differ for certain."
    )


def scattered(rows: Mapping[str, Sequence[float]], name: str) -> Drawn:
    """Predicted against actual, with the 90 % interval of each row."""
    predicted, actual, lower, upper = (
        np.array(rows[key]) for key in ("predicted", "actual", "lower", "upper")
    )
    inside = (lower <= actual) & (actual <= upper)
    figure, ax = panel("Predicted and actual", "predicted", "actual", height=3.9)
    if min(lower.min(), actual.min(), predicted.min()) > 0 and actual.max() > 100 * actual.min():
        ax.set(xscale="log", yscale="log")
    _plain_ticks(ax)
    ax.vlines(predicted, lower, upper, color=SKY, linewidth=1.1, alpha=0.6)
    ends = [predicted.min(), predicted.max()]
    ax.plot(ends, ends, color=GRAY, linewidth=1, linestyle=":")
    ax.plot(predicted[inside], actual[inside], ".", color=BLUE, markersize=5, label="inside")
    ax.plot(predicted[~inside], actual[~inside], "X", color=RED, markersize=5, label="outside")
    ax.legend(loc="upper left")
    return figure, (
        f"{len(actual):,} test rows: dots are true values of `{name}`, bars the 90 % intervals "
        "that were given without knowing them. About one dot in ten should lie outside of its bar. "
        "On the dotted line a prediction is exact."
    )


def confused(counts: Sequence[Sequence[int]], classes: Sequence[str], name: str) -> Drawn:
    """Of each true class, how many rows were taken for which class."""
    table = np.array(counts)
    order = np.sort(np.argsort(-table.sum(axis=1), kind="stable")[:_MOST_BARS])
    shown = table[np.ix_(order, order)]
    shares = shown / np.maximum(table.sum(axis=1)[order], 1)[:, None]
    figure, ax = panel("Predicted and actual", "predicted class", "actual class", height=3.9)
    for (i, j), share in np.ndenumerate(shares):
        color = BLUE if i == j else ORANGE
        ax.bar(j, 0.94, 0.94, i - 0.47, color=color, alpha=float(share))
        if len(order) <= _MOST_NUMBERED:
            ax.text(j, i, f"{shown[i, j]:,}", ha="center", va="center")
    labels = [short(classes[i], 12) for i in order]
    ax.set_xticks(range(len(order)), labels, rotation=0 if len(order) <= 4 else 90)
    ax.set_yticks(range(len(order)), labels)
    ax.set(xlim=(-0.5, len(order) - 0.5), ylim=(len(order) - 0.5, -0.5))
    ax.grid(visible=False)
    return figure, (
        f"Test rows of `{name}` by their true class (a line each) and the class that was said. "
        "Blue ones are right, orange ones wrong; the stronger, the larger a part of its line. "
        + _of_many(len(order), len(table), "classes", "most frequent")
    )


def coverage(curve: Mapping[str, Any]) -> Drawn:
    """Share of rows within intervals, against what they promise."""
    curves = {name: (curve["levels"], observed) for name, observed in curve["observed"].items()}
    figure, _ = _beside_the_truth("Coverage of intervals", "promised", "observed", curves)
    return (
        figure,
        "Share of test rows within intervals of each coverage. On the dotted line they hold what "
        "they promise; above it they are too wide.",
    )


def coverage_by(found: Mapping[str, Any], title: str, x: str) -> Drawn:
    """Share of rows within 90 % intervals, in groups of rows."""
    figure, ax = panel(title, short(x, 40), "covered by 90 %")
    _plain_ticks(ax)
    ax.axhline(0.9, color=GRAY, linewidth=1, linestyle=":")
    ax.vlines(found["at"], found["low"], found["high"], color=BLUE, linewidth=1.6)
    ax.plot(found["at"], found["share"], "o", color=BLUE, markersize=5)
    ax.set_ylim(min(0.5, *found["low"]) - 0.02, 1.02)
    ax.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    return figure, (
        f"Test rows in {len(found['at'])} groups of equal size, with 95 % ranges. A line that does "
        "not reach the dotted one is a group whose intervals are too narrow or too wide."
    )


def reliability(curve: Mapping[str, Any]) -> Drawn:
    """How often the likeliest class is right, against its probability."""
    curves = {name: (own["confidence"], own["accuracy"]) for name, own in curve.items()}
    figure, ax = _beside_the_truth(
        "Reliability", "probability of the likeliest class", "share of right ones", curves
    )
    low = max(0, min(min(x + y) for x, y in curves.values()) - 0.05)
    ax.set(xlim=(low, 1.01), ylim=(low, 1.03))
    groups = len(next(iter(curves.values()))[1])
    return figure, (
        f"Test rows in {groups} groups of equal size, by the probability. Below the dotted line a "
        "model is too sure."
    )


def _beside_the_truth(
    title: str, x: str, y: str, curves: Mapping[str, tuple[list[float], list[float]]]
) -> tuple[Figure, Axes]:
    """What each model promises and what comes true; on the dotted line they are the same."""
    figure, ax = panel(title, x, y)
    ax.plot([0, 1], [0, 1], color=GRAY, linewidth=1, linestyle=":")
    for (name, points), color in zip(curves.items(), CYCLE, strict=False):
        ax.plot(*points, color=color, marker="o", markersize=3, label=name)
    ax.legend()
    return figure, ax


def errors(bins: Mapping[str, Any], x: str, y: str) -> Drawn:
    """The mean error in groups of rows, by how unsure the model is."""
    figure, ax = panel("Errors by how unsure it is", short(x, 40), y)
    _plain_ticks(ax)
    ax.plot(bins["unsure"], bins["error"], color=BLUE, marker="o", markersize=4)
    ax.set_ylim(bottom=0)
    return figure, (
        f"Test rows in {len(bins['error'])} groups of equal size, by how unsure the model says it "
        "is. A line that rises says that it knows."
    )


def driving(shares: Mapping[str, float]) -> Drawn:
    """Which columns the prediction depends on."""
    shown = list(shares.items())[:_MOST_DRIVERS]
    figure, ax = panel("What drives the prediction", "share of its variation", "")
    ax.barh([short(name) for name, _ in shown], [share for _, share in shown], color=BLUE)
    ax.invert_yaxis()
    return figure, (
        f"The {len(shown)} foremost of {len(shares)} columns tried. It is what the prediction "
        "depends on, which need not be what makes the target so."
    )


def doubting(epistemic: Mapping[str, float], aleatoric: Mapping[str, float]) -> Drawn:
    """Which columns the two parts of the doubt depend on."""
    order = sorted(epistemic, key=lambda name: -epistemic[name] - aleatoric[name])[:_MOST_DRIVERS]
    figure, ax = panel("What drives the doubt", "share of its variation", "")
    places = np.arange(len(order))
    ax.barh(places - 0.2, [epistemic[n] for n in order], 0.38, color=ORANGE, label="epistemic")
    ax.barh(places + 0.2, [aleatoric[n] for n in order], 0.38, color=GREEN, label="aleatoric")
    ax.set_yticks(places, [short(name) for name in order])
    ax.invert_yaxis()
    ax.legend(loc="lower right")
    return figure, (
        f"The {len(order)} foremost of {len(epistemic)} columns tried. Epistemic: what the model "
        "does not know for want of rows like these, and would learn from more of them. Aleatoric: "
        "the spread that stays, since the columns do not tell."
    )


def unit_of(target: Mapping[str, Any]) -> str:
    """What the epistemic part is measured in."""
    if target["task"] == "classification":
        return "epistemic part / nats"
    return f"epistemic std of {short(target['name'])}"


def along(name: str, found: Mapping[str, Any], unit: str) -> Drawn:
    """The epistemic part along the values of a column."""
    if found["kind"] in ("category", "boolean"):
        return _along_words(name, found, unit)
    figure, ax = panel(f"Doubt along {short(name, 30)}", short(name, 40), unit)
    _plain_ticks(ax)
    if found["kind"] == "date":
        ax.locator_params(axis="x", nbins=4)
        ax.xaxis.set_major_formatter(lambda days, _: day(days))
    ax.plot(found["at"], found["epistemic"], color=ORANGE, marker="o", markersize=4)
    caption = "Mean over test rows of about the same value."
    if found["missing"] is not None:
        ax.axhline(found["missing"], color=GRAY, linestyle="--", linewidth=1)
        caption += " The broken line: rows without a value."
    ax.set_ylim(bottom=0)
    return figure, caption


def _along_words(name: str, found: Mapping[str, Any], unit: str) -> Drawn:
    # Bars lie down and the figure grows with their number, so that each value can be read.
    figure, ax = panel(
        f"Doubt along {short(name, 30)}", unit, "", height=max(3.4, 1 + 0.17 * len(found["at"]))
    )
    _plain_ticks(ax)
    places = range(len(found["at"]))  # two values may look the same once they are cut
    ax.barh(places, found["epistemic"], color=ORANGE)
    ax.set_yticks(places, [short(at) for at in found["at"]])
    ax.invert_yaxis()
    return figure, "Mean over the test rows of each value."


def away(far: Mapping[str, Any], target: Mapping[str, Any]) -> dict[str, Drawn]:
    """What is said of rows that are moved away from the data."""
    drawn = {}
    for key, unit in (("epistemic", unit_of(target)), ("probability", "largest probability")):
        if key not in far:
            continue
        figure, ax = panel(
            _far_title(key, far[key]["median"]),
            "distance / standard deviations of each feature",
            unit,
        )
        _plain_ticks(ax)
        ax.fill_between(
            far["shift"], far[key]["low"], far[key]["high"], color=BLUE, alpha=0.2, linewidth=0
        )
        ax.plot(far["shift"], far[key]["median"], color=BLUE, marker="o", markersize=4)
        ax.set_ylim(bottom=0)
        drawn[f"far-{key}"] = (
            figure,
            "Test rows, moved away in random directions: the median, and a band that holds eight "
            "tenths of them. A line that rises says that it is wary of rows unlike any it has seen."
            if key == "epistemic"
            else "The probability of the likeliest class of the same rows: the less, the warier.",
        )
    return drawn


def _far_title(key: str, medians: Sequence[float]) -> str:
    """What the figure shows, which need not be what one hopes for."""
    more, always = _grows(medians if key == "epistemic" else [-value for value in medians])
    if key == "probability":
        return "Far away, less certain" if more else "Far away, no less certain"
    if not more:
        return "Far away, no less sure"
    return "Further away, less sure" if always else "Far away, less sure"


def _grows(values: Sequence[float]) -> tuple[bool, bool]:
    """Whether the last value is above the first, and whether none is below the one before.

    Up to a twentieth, which is what chance makes of medians that are equal.

    Example:
        >>> _grows([1.0, 3.0, 2.9]), _grows([1.0, 0.5, 2.0]), _grows([1.0, 1.02])
        ((True, True), (True, False), (False, True))
    """
    steps = [after - before + 0.05 * abs(before) for before, after in itertools.pairwise(values)]
    return values[-1] > values[0] + 0.05 * abs(values[0]), min(steps) >= 0


def _plain_ticks(ax: Axes) -> None:
    """Figures on the axes as in the tables, rather than as multiples of 1e6 in a corner."""
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(lambda value, _: number(value))
    if ax.get_xscale() == "linear":
        ax.locator_params(axis="x", nbins=5)  # of seven digits more would touch


def day(days: float) -> str:
    """Days since 1970 as a date.

    Example:
        >>> day(365.5)
        '1971-01-01'
    """
    # numpy's days go beyond the year 9999, and before 1970 on every system.
    return str(np.datetime64(int(days // 1), "D"))


def short(text: str, most: int = _MOST_LETTERS) -> str:
    """Text that fits beside an axis."""
    # A dollar sign would begin a formula for matplotlib.
    cut = text if len(text) <= most else text[: most - 1] + "…"
    return cut.replace("$", r"\$")
