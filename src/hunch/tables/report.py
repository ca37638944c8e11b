"""The page that `hunch fit` leaves: drawn from the same figures that `--json` prints."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from hunch.plots.page import Block, Figures, Section, Table, Text, render_page
from hunch.plots.panel import BLUE, CYCLE, GRAY, ORANGE, panel
from hunch.tables.suspects import caution
from hunch.tables.target import without_target_in_words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Figures_ = dict[str, tuple["Figure", str]]

_SCORES: Final = {
    "rmse": "RMSE",
    "mae": "MAE",
    "r2": "R²",
    "crps": "CRPS",
    "coverage_90": "covered by 90 %",
    "width_90": "width of 90 %",
    "accuracy": "accuracy",
    "log_loss": "log loss",
    "brier": "Brier",
    "calibration_error": "calibration error",
}
_IN_PERCENT: Final = ("coverage_90", "accuracy")
_MEANING: Final = {
    "regression": "RMSE and MAE: how far off it is, as the root of the mean square and as the mean "
    "size, in units of the target. R²: the share of the target's variance that is explained. "
    "CRPS: the same as MAE for a forecast that says how sure it is, here a normal distribution. "
    "Covered by 90 %: the share of rows within their 90 % interval; width: how wide that is in the "
    "mean. Calibration error: the mean distance of the curve below from the dotted line.",
    "classification": "Accuracy: how often the likeliest class is right. Log loss: minus the "
    "logarithm of the probability that the right class was given; Brier: the squared distance of "
    "the probabilities from the right class. Calibration error: how far the likeliest class's "
    "probability is from how often it is right.",
}
_MOST_DRIVERS: Final = 12
_MOST_LETTERS: Final = 18  # of a name on an axis


def table_report(summary: Mapping[str, Any]) -> str:
    """The report as one self-contained HTML text.

    Args:
        summary: what `hunch.tables.fit_table` returns.
    """
    target, figures = summary["target"], summary["test"]
    sections = [
        Section("scores", "How good it is", _same_rows(summary), _scores(summary)),
        Section("calibration", "Whether it knows how far off it is", *_calibration(summary)),
        Section(
            "unsure",
            "Where it is least sure, and why",
            "Epistemic: the part of the uncertainty that more data would remove.",
            _unsure(figures["unsure"], target),
        ),
        Section(
            "far",
            "Away from the data",
            _far_in_words(figures["far"]),
            [Figures(_far(figures["far"], target))],
        ),
        Section("columns", "What became of the columns", _origin(summary), _columns(summary)),
    ]
    return render_page(f"hunch: {target['name']}", [Text(_introduction(summary))], sections)


def rounded(value: float) -> str:
    """A measured figure as the page shows it: three digits that count.

    Example:
        >>> rounded(0.123456), rounded(54.96), rounded(123456.7)
        ('0.123', '55.0', '123,457')
    """
    return f"{value:,.0f}" if abs(value) >= 99.95 else f"{value:#.3g}"


def number(value: float) -> str:
    """A number of the data, or on an axis: at most four digits that count.

    Example:
        >>> number(0.123456), number(123456.7), number(0.0)
        ('0.1235', '123,457', '0')
    """
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def _introduction(summary: Mapping[str, Any]) -> str:
    target, rows = summary["target"], summary["rows"]
    what = "a number" if target["task"] == "regression" else f"{len(target['classes'])} classes"
    first = caution(summary)
    own = summary.get("test_file")
    judged = f"rows of `{own}`" if own else "that had no part in it"
    return (f"{first}\n\n" if first else "") + (
        f"A model of `{target['name']}`, {what} ({target['why']}), from `{summary['data']}`: "
        f"trained on {rows['train']:,} rows, tested on {rows['test']:,} {judged}.\n\n"
        "`hunch predict MODEL NEW.csv --out predictions.csv`, with MODEL the folder of this page, "
        "predicts new rows."
    )


def _same_rows(summary: Mapping[str, Any]) -> str:
    return f"All models see the same features and the same {summary['rows']['train']:,} rows."


def _scores(summary: Mapping[str, Any]) -> list[Block]:
    scores = summary["test"]["scores"]
    # A score a row: four models fit beside each other on a phone, seven scores do not.
    rows = [
        [_SCORES[key], *[_score(key, own[key]) for own in scores.values()]]
        for key in scores["hunch"]
    ]
    task = summary["target"]["task"]
    better = "Smaller is better, but for R²; coverage should be 90 %."
    if task == "classification":
        better = "Smaller is better, but for accuracy."
    note = f"{better} {_notes(summary['test']['notes'])}".strip()
    return [Table(["", *scores], rows, note), Text(_MEANING[task])]


def _notes(notes: Mapping[str, str]) -> str:
    """One sentence for each note, and who shares it."""
    shared: dict[str, list[str]] = {}
    for name, note in notes.items():
        shared.setdefault(note, []).append(name)
    said = [f"{' and '.join(names)}: {note}." for note, names in shared.items()]
    return " ".join(sentence[0].upper() + sentence[1:] for sentence in said)


def _score(key: str, value: float) -> str:
    return f"{100 * value:.1f} %" if key in _IN_PERCENT else rounded(value)


def _calibration(summary: Mapping[str, Any]) -> tuple[str, list[Block]]:
    figures, name = summary["test"], summary["target"]["name"]
    curve, errors = figures["curve"], figures["error_by_std"]
    if summary["target"]["task"] == "regression":
        said = "Intervals and error bars on the test rows."
        drawn = {
            "coverage": _coverage(curve),
            "error-by-std": _errors(errors, f"predicted std of {name}", "mean absolute error"),
        }
    else:
        said = "Probabilities on the test rows."
        drawn = {
            "reliability": _reliability(curve),
            "error-by-entropy": _errors(errors, "entropy / nats", "share of errors"),
        }
    return said, [Figures(drawn)]


def _coverage(curve: Mapping[str, Any]) -> tuple[Figure, str]:
    curves = {name: (curve["levels"], observed) for name, observed in curve["observed"].items()}
    figure, _ = _beside_the_truth("Coverage of intervals", "promised", "observed", curves)
    return (
        figure,
        "Share of test rows within intervals of each coverage. On the dotted line they hold what "
        "they promise; above it they are too wide.",
    )


def _reliability(curve: Mapping[str, Any]) -> tuple[Figure, str]:
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


def _errors(bins: Mapping[str, Any], x: str, y: str) -> tuple[Figure, str]:
    figure, ax = panel("Errors by how unsure it is", _short(x, 40), y)
    _plain_ticks(ax)
    ax.plot(bins["unsure"], bins["error"], color=BLUE, marker="o", markersize=4)
    ax.set_ylim(bottom=0)
    return figure, (
        f"Test rows in {len(bins['error'])} groups of equal size, by how unsure the model says it "
        "is. A line that rises says that it knows."
    )


def _unsure(unsure: Mapping[str, Any], target: Mapping[str, Any]) -> list[Block]:
    drawn: Figures_ = {"drivers": _drivers(unsure["drivers"])}
    unit = _unit(target)
    for i, (name, along) in enumerate(unsure["along"].items()):
        drawn[f"along-{i + 1}"] = _along(name, along, unit)
    return [Figures(drawn)]


def _unit(target: Mapping[str, Any]) -> str:
    if target["task"] == "classification":
        return "epistemic part / nats"
    return f"epistemic std of {_short(target['name'])}"


def _drivers(drivers: Mapping[str, float]) -> tuple[Figure, str]:
    shown = list(drivers.items())[:_MOST_DRIVERS]
    figure, ax = panel("Which columns drive it", "share of its variation", "")
    ax.barh([_short(name) for name, _ in shown], [share for _, share in shown], color=BLUE)
    ax.invert_yaxis()
    return figure, (
        f"The {len(shown)} foremost of {len(drivers)} columns tried: how much of the variation of "
        "the epistemic part goes when a column is shuffled. Shares overlap, and exceed 1 where "
        "shuffling makes rows that cannot be."
    )


def _along(name: str, along: Mapping[str, Any], unit: str) -> tuple[Figure, str]:
    if along["kind"] in ("category", "boolean"):
        return _along_words(name, along, unit)
    figure, ax = panel(f"Along {_short(name, 30)}", _short(name, 40), unit)
    _plain_ticks(ax)
    if along["kind"] == "date":
        ax.locator_params(axis="x", nbins=4)
        ax.xaxis.set_major_formatter(lambda days, _: _day(days))
    ax.plot(along["at"], along["epistemic"], color=ORANGE, marker="o", markersize=4)
    caption = "Mean over test rows of about the same value."
    if along["missing"] is not None:
        ax.axhline(along["missing"], color=GRAY, linestyle="--", linewidth=1)
        caption += " The broken line: rows without a value."
    ax.set_ylim(bottom=0)
    return figure, caption


def _along_words(name: str, along: Mapping[str, Any], unit: str) -> tuple[Figure, str]:
    # Bars lie down and the figure grows with their number, so that each value can be read.
    figure, ax = panel(
        f"Along {_short(name, 30)}", unit, "", height=max(3.4, 1 + 0.17 * len(along["at"]))
    )
    _plain_ticks(ax)
    places = range(len(along["at"]))  # two values may look the same once they are cut
    ax.barh(places, along["epistemic"], color=ORANGE)
    ax.set_yticks(places, [_short(at) for at in along["at"]])
    ax.invert_yaxis()
    return figure, "Mean over the test rows of each value."


def _far(far: Mapping[str, Any], target: Mapping[str, Any]) -> Figures_:
    drawn: Figures_ = {}
    for key, unit in (("epistemic", _unit(target)), ("probability", "largest probability")):
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
            "Median over test rows; the band holds eight tenths of them.",
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


def _far_in_words(far: Mapping[str, Any]) -> str:
    said = "Test rows, moved away in random directions."
    if "probability" not in far:
        return said
    median = far["probability"]["median"]
    return (
        f"{said} In the median the likeliest class has the probability {median[0]:.2f} at the data "
        f"and {median[-1]:.2f} at {far['shift'][-1]:g} standard deviations."
    )


def _origin(summary: Mapping[str, Any]) -> str:
    rows = summary["rows"]
    without = summary.get("without_target", 0)
    sampled = rows["used"] + without
    taken = "" if sampled == rows["file"] else f", of which {sampled:,} were taken"
    left_out = f"; {without_target_in_words(without, sampled)}" if without else ""
    return (
        f"{rows['file']:,} rows{taken}{left_out}; {summary['features']} features. "
        f"Seed {summary['seed']}."
    )


def _columns(summary: Mapping[str, Any]) -> list[Block]:
    said = summary["columns"].get("said", {})
    asked = {*said.get("categorical", []), *said.get("numeric", [])}
    used = [
        [f"`{c['name']}`", _what(c) + (", as asked" if c["name"] in asked else "")]
        for c in summary["columns"]["used"]
    ]
    dropped = [[f"`{c['name']}`", f"dropped: {c['why']}"] for c in summary["columns"]["dropped"]]
    return [Table(["column", "became"], used + dropped, words=True)]


def _what(column: Mapping[str, Any]) -> str:
    if column["kind"] == "category":
        said = f"{len(column['values'])} values" + (" and a rest" if column["other"] else "")
    elif column["kind"] == "boolean":
        said = "true or false"
    else:
        show = _day if column["kind"] == "date" else number
        said = f"{column['kind']}, {show(column['low'])} to {show(column['high'])}"
    if column["decimal"] == ",":
        said += ", with a decimal comma"
    if column["unit"]:
        said += f", in {column['unit']}"
    if column["order"]:
        said += f", written {'/'.join(column['order'])}"
    return said + (", and whether it is missing" if column["missing"] else "")


def _plain_ticks(ax: Axes) -> None:
    """Figures on the axes as in the tables, rather than as multiples of 1e6 in a corner."""
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(lambda value, _: number(value))


def _day(days: float) -> str:
    # numpy's days go beyond the year 9999, and before 1970 on every system.
    return str(np.datetime64(int(days // 1), "D"))


def _short(text: str, most: int = _MOST_LETTERS) -> str:
    # A dollar sign would begin a formula for matplotlib.
    cut = text if len(text) <= most else text[: most - 1] + "…"
    return cut.replace("$", r"\$")
