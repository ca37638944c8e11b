"""The charts of the page that `hunch fit` leaves, each with a title from the data and a caption."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from hunch.charts import BLUE, CYCLE, GRAY, GREEN, INK, ORANGE, RED, SKY, Chart, cut
from hunch.tables.losses import best_other
from hunch.tables.verdict import number, percent

Drawn = tuple[Chart, str]

_MOST_DRIVERS: Final = 12
_MOST_BARS: Final = 15  # of classes, or of the values of a column
_MOST_LETTERS: Final = 22  # of a name on an axis
_MOST_NUMBERED: Final = 8  # classes on a side whose cells have room for a number
_STRONGEST: Final = 0.7  # opacity of a cell, on which its number can be read
_ALIKE: Final = 0.1  # the span of values over their mean, below which they are called the same
_HOLDS: Final = 0.05  # distance of shares, within which they are called as promised


def distribution(found: Mapping[str, Any], target: Mapping[str, Any]) -> Drawn:
    """How the target of the training rows is distributed."""
    if target["task"] == "classification":
        return _class_counts(found["counts"], target["name"])
    quantiles = found["quantiles"]
    title = (
        f"Nine tenths of {_short(target['name'], 30)} lie between {number(quantiles['0.05'])} and "
        f"{number(quantiles['0.95'])}"
    )
    chart = Chart(title, _short(target["name"], 40), "training rows")
    edges, counts = np.array(found["edges"]), found["counts"]
    chart.boxes(edges[:-1], edges[1:], 0.0, counts, SKY)
    median = quantiles["0.5"]
    chart.rule(x=median, color=INK, dash="5 4")
    caption = f"The broken line: the median, {number(median)}; half of the rows lie on each side."
    if found["beyond"]:
        rows = "row" if found["beyond"] == 1 else "rows"
        caption += f" The outermost bars hold {found['beyond']:,} {rows} from beyond the ends, too."
    return chart, caption


def _class_counts(counts: Mapping[str, int], name: str) -> Drawn:
    shown = sorted(counts.items(), key=lambda item: -item[1])[:_MOST_BARS]
    first, rows = shown[0]
    share = percent(rows / max(1, sum(counts.values())))
    title = f"{_short(first, 30)} is the commonest {_short(name, 30)}, {share} of rows"
    chart = Chart(title, "training rows", "", height=_height(len(shown)))
    chart.bars([count for _, count in shown], SKY).down([_short(value) for value, _ in shown])
    return chart, _of_many(len(shown), len(counts), "classes", "most frequent")


def _of_many(shown: int, count: int, what: str, which: str) -> str:
    return f"The {shown} {which} of {count} {what}." if shown < count else f"All {count} {what}."


def comparison(test: Mapping[str, Any], name: str) -> Drawn:
    """The deciding score of each model with its range."""
    key, scores = test["deciding"], test["scores"]
    other = best_other(scores, key)
    ours, theirs = scores["hunch"][key], scores[other][key]
    low, high = test["ahead"][other]["range"]
    apart = percent(abs(ours - theirs) / max(abs(theirs), np.finfo(float).tiny))
    title = f"hunch's {name} is {apart} {'smaller' if ours < theirs else 'larger'} than {other}'s"
    if low <= 0 <= high:  # what other test rows might turn round is no difference
        title = f"hunch's {name} cannot be told apart from {other}'s"
    chart = Chart(title, f"{name}, smaller is better", height=_height(len(scores)))
    for place, model in enumerate(scores):
        color = BLUE if model == "hunch" else GRAY
        chart.line(test["ranges"][model][key], [place, place], color, width=2.4)
        chart.dots([scores[model][key]], [place], color, size=9)
    return chart.down(list(scores)), (
        "Dots: on the test rows. Lines: 95 % ranges, what other test rows might have shown. All "
        "models are judged on the same rows, so lines that overlap may still differ for certain."
    )


def scattered(rows: Mapping[str, Sequence[float]], name: str) -> Drawn:
    """Predicted against actual, with the 90 % interval of each row."""
    predicted, actual, lower, upper = (
        np.array(rows[key]) for key in ("predicted", "actual", "lower", "upper")
    )
    inside = (lower <= actual) & (actual <= upper)
    log = bool(
        min(lower.min(), actual.min(), predicted.min()) > 0 and actual.max() > 100 * actual.min()
    )
    chart = Chart(
        f"{inside.sum():,} of {len(actual):,} true values lie inside their interval",
        f"predicted {_short(name, 30)}",
        f"actual {_short(name, 30)}",
        height=380,
        log_x=log,
        log_y=log,
    )
    chart.sticks(predicted, lower, upper, SKY, opacity=0.55)
    ends = [predicted.min(), predicted.max()]
    chart.line(ends, ends, GRAY, width=1.2, dash="2 3")
    chart.dots(predicted[inside], actual[inside], BLUE, size=4.5, label="inside")
    chart.dots(predicted[~inside], actual[~inside], RED, size=7, cross=True, label="outside")
    return chart, (
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
    right = f"{np.trace(table):,} of {table.sum():,} rows are taken for their own class"
    chart = Chart(right, "predicted class", "actual class", height=380)
    for (i, j), share in np.ndenumerate(shares):
        color = BLUE if i == j else ORANGE
        if share > 0:
            opacity = _STRONGEST * float(share)
            chart.boxes(j - 0.47, j + 0.47, i - 0.47, i + 0.47, color, opacity=opacity)
        if len(order) <= _MOST_NUMBERED:
            chart.text(j, i, f"{shown[i, j]:,}")
    labels = [_short(classes[i], 12) for i in order]
    return chart.across(labels).down(labels), (
        f"Test rows of `{name}` by their true class (a line each) and the class that was said. "
        "Blue ones are right, orange ones wrong; the stronger, the larger a part of its line. "
        + _of_many(len(order), len(table), "classes", "most frequent")
    )


def coverage(curve: Mapping[str, Any]) -> Drawn:
    """Share of rows within intervals, against what they promise."""
    levels, observed = np.array(curve["levels"]), curve["observed"]
    off = float((np.array(observed["hunch"]) - levels).mean())
    title = _as_promised(
        off,
        "Intervals hold about as many rows as they promise",
        "Intervals hold more rows than they promise",
        "Intervals hold fewer rows than they promise",
    )
    curves = {name: (levels, np.array(own)) for name, own in observed.items()}
    chart = _beside_the_truth(title, "promised", "observed", curves, 0.0)
    return (
        chart,
        "Share of test rows within intervals of each coverage. On the dotted line they hold what "
        "they promise; above it they are too wide.",
    )


def _as_promised(off: float, same: str, above: str, below: str) -> str:
    return same if abs(off) <= _HOLDS else above if off > 0 else below


def coverage_by(found: Mapping[str, Any], by: str, x: str) -> Drawn:
    """Share of rows within 90 % intervals, in groups of rows."""
    low, high = np.array(found["low"]), np.array(found["high"])
    off = int(((low > 0.9) | (high < 0.9)).sum())
    groups = len(found["at"])
    title = f"Intervals hold 90 % {by}"
    if off:
        title = f"Intervals do not hold 90 % {by}: {off} of {groups} groups are off"
    chart = Chart(title, _short(x, 40), "covered by 90 %")
    chart.rule(y=0.9)
    chart.sticks(found["at"], low, high, BLUE, width=2)
    chart.dots(found["at"], found["share"], BLUE, size=7)
    chart.limits(y=(min(0.5, *found["low"]) - 0.02, 1.02))
    chart.formats(y=lambda value: f"{100 * value:.0f} %")
    return chart, (
        f"Test rows in {groups} groups of equal size, with 95 % ranges. A line that does "
        "not reach the dotted one is a group whose intervals are too narrow or too wide."
    )


def reliability(curve: Mapping[str, Any]) -> Drawn:
    """How often the likeliest class is right, against its probability."""
    curves = {
        name: (np.array(own["confidence"]), np.array(own["accuracy"]))
        for name, own in curve.items()
    }
    sure, right = curves["hunch"]
    title = _as_promised(
        float((right - sure).mean()),
        "It is right about as often as it says",
        "It is right more often than it says",
        "It is right less often than it says",
    )
    low = max(0.0, min(float(min(x.min(), y.min())) for x, y in curves.values()) - 0.05)
    chart = _beside_the_truth(
        title, "probability of the likeliest class", "share of right ones", curves, low
    )
    chart.limits(x=(low, 1.01), y=(low, 1.03))
    groups = len(right)
    return chart, (
        f"Test rows in {groups} groups of equal size, by the probability. Below the dotted line a "
        "model is too sure."
    )


def _beside_the_truth(
    title: str, x: str, y: str, curves: Mapping[str, tuple[Any, Any]], low: float
) -> Chart:
    """What each model promises and what comes true; on the dotted line they are the same."""
    chart = Chart(title, x, y)
    chart.line([low, 1], [low, 1], GRAY, width=1.2, dash="2 3")
    for (name, points), color in zip(curves.items(), CYCLE, strict=False):
        chart.line(*points, color, label=name).dots(*points, color, size=5)
    return chart


def errors(bins: Mapping[str, Any], x: str, y: str) -> Drawn:
    """The mean error in groups of rows, by how unsure the model is."""
    found = list(bins["error"])
    rises = len(found) > 1 and found[-1] > 1.1 * found[0]
    title = (
        "Where it is less sure, it errs more" if rises else "Where it is less sure, it errs no more"
    )
    chart = Chart(title, _short(x, 40), y)
    chart.line(bins["unsure"], found, BLUE).dots(bins["unsure"], found, BLUE)
    return chart.limits(y=(0.0, None)), (
        f"Test rows in {len(found)} groups of equal size, by how unsure the model says it "
        "is. A line that rises says that it knows."
    )


def driving(shares: Mapping[str, float]) -> Drawn | str:
    """Which columns the prediction depends on."""
    if same := _all_alike("The prediction", shares.values()):
        return f"The prediction {same}."
    shown = list(shares.items())[:_MOST_DRIVERS]
    title = f"{_foremost(shares)} the prediction most"
    chart = Chart(title, "share of its variation", height=_height(len(shown)))
    chart.bars([share for _, share in shown], BLUE).down([_short(name) for name, _ in shown])
    return chart, (
        f"The {len(shown)} foremost of {len(shares)} columns tried. It is what the prediction "
        "depends on, which need not be what makes the target so."
    )


def doubting(epistemic: Mapping[str, float], aleatoric: Mapping[str, float]) -> Drawn | str:
    """Which columns the two parts of the doubt depend on."""
    if same := _all_alike("The doubt", [*epistemic.values(), *aleatoric.values()]):
        return f"The doubt {same}."
    both = {name: epistemic[name] + aleatoric[name] for name in epistemic}
    both = dict(sorted(both.items(), key=lambda item: -item[1]))
    order = list(both)[:_MOST_DRIVERS]
    title = f"{_foremost(both)} the doubt most"
    chart = Chart(title, "share of its variation", height=_height(len(order)) + 20)
    for part, shift, color, name in (
        (epistemic, -0.2, ORANGE, "epistemic"),
        (aleatoric, 0.2, GREEN, "aleatoric"),
    ):
        chart.bars([part[n] for n in order], color, thick=0.38, shift=shift, label=name)
    return chart.down([_short(name) for name in order]), (
        f"The {len(order)} foremost of {len(epistemic)} columns tried. Epistemic: what the model "
        "does not know for want of rows like these, and would learn from more of them. Aleatoric: "
        "the spread that stays, since the columns do not tell."
    )


def _all_alike(what: str, shares: Any) -> str:
    """What to say instead of bars that are all of one length; empty if they are not."""
    found = list(shares)
    largest, least = max(found), min(found)
    if len(found) > 1 and largest < 1e-3:
        return "depends on no column: each of their shares is below 0.001"
    if len(found) > 2 and largest - least <= _ALIKE * largest:
        return (
            f"depends on all columns alike: their shares lie between {number(least)} and "
            f"{number(largest)}"
        )
    return ""


def _foremost(shares: Mapping[str, float]) -> str:
    """The columns that are far ahead, with the verb that they take."""
    (first, most), *others = shares.items()
    second = [name for name, share in others[:1] if share > 0.6 * most]
    names = [_short(name, 20) for name in (first, *second)]
    return f"{' and '.join(names)} {'drive' if second else 'drives'}"


def unit_of(target: Mapping[str, Any]) -> str:
    """What the epistemic part is measured in."""
    if target["task"] == "classification":
        return "epistemic part / nats"
    return f"epistemic std of {_short(target['name'])}"


def along(name: str, found: Mapping[str, Any], unit: str) -> Drawn | str:
    """The epistemic part along the values of a column, or a sentence where it is the same."""
    values = np.array(found["epistemic"])
    if len(values) > 2 and np.ptp(values) <= _ALIKE * values.mean():
        return (
            f"Along `{name}` the {unit} is about the same, {number(values.min())} to "
            f"{number(values.max())}, for all {len(values)} "
            f"{'values' if found['kind'] in ('category', 'boolean') else 'groups of rows'}."
        )
    if found["kind"] in ("category", "boolean"):
        return _along_words(name, found, unit)
    show = day if found["kind"] == "date" else number
    least_sure = show(found["at"][int(values.argmax())])
    title = f"Least sure where {_short(name, 30)} is about {least_sure}"
    chart = Chart(title, _short(name, 40), unit)
    if found["kind"] == "date":
        chart.formats(x=day)
    chart.line(found["at"], values, ORANGE).dots(found["at"], values, ORANGE)
    caption = "Mean over test rows of about the same value."
    if found["missing"] is not None:
        chart.rule(y=found["missing"], dash="5 4")
        caption += " The broken line: rows without a value."
    return chart.limits(y=(0.0, None)), caption


def _along_words(name: str, found: Mapping[str, Any], unit: str) -> Drawn:
    pairs = sorted(zip(found["at"], found["epistemic"], strict=True), key=lambda pair: -pair[1])
    shown, others = pairs[:_MOST_BARS], pairs[_MOST_BARS:]
    title = f"Least sure where {_short(name, 30)} is {_short(shown[0][0], 24)}"
    chart = Chart(title, unit, height=_height(len(shown)))
    chart.bars([value for _, value in shown], ORANGE).down([_short(at) for at, _ in shown])
    caption = "Mean over the test rows of each value."
    if others:
        ends = f"{number(others[-1][1])} to {number(others[0][1])}"
        caption += f" {len(others):,} more values lie below these, from {ends}."
    return chart, caption


def away(far: Mapping[str, Any], target: Mapping[str, Any]) -> dict[str, Drawn]:
    """What is said of rows that are moved away from the data."""
    drawn = {}
    for key, unit in (("epistemic", unit_of(target)), ("probability", "largest probability")):
        if key not in far:
            continue
        own = far[key]
        chart = Chart(
            _far_title(key, own["median"]), "distance / standard deviations of each feature", unit
        )
        chart.band(far["shift"], own["low"], own["high"], BLUE)
        chart.line(far["shift"], own["median"], BLUE).dots(far["shift"], own["median"], BLUE)
        drawn[f"far-{key}"] = (
            chart.limits(y=(0.0, None)),
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


def day(days: float) -> str:
    """Days since 1970 as a date.

    Example:
        >>> day(365.5)
        '1971-01-01'
    """
    # numpy's days go beyond the year 9999, and before 1970 on every system.
    return str(np.datetime64(int(days // 1), "D"))


def _height(bars: int) -> float:
    """Room for so many lying bars, so that each name can be read."""
    return max(190.0, 84.0 + 19.0 * bars)


def _short(text: str, most: int = _MOST_LETTERS) -> str:
    return cut(text, most)
