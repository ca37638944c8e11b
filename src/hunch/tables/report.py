"""The page that `hunch fit` leaves: drawn from the same figures that `--json` prints."""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from hunch.plots.page import (
    Beside,
    Block,
    Facts,
    Figures,
    Notice,
    Section,
    Table,
    Text,
    render_page,
)
from hunch.storage import versions
from hunch.tables import pictures
from hunch.tables.baselines import CONSTANT
from hunch.tables.by_split import sections_by_split
from hunch.tables.data_sections import section_of_columns, section_of_data
from hunch.tables.row_section import section_of_rows
from hunch.tables.suspects import cautions
from hunch.tables.verdict import TONES, percent, rounded, span, verdict

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
_RANGES: Final = (
    "Small figures: 95 % ranges, what other test rows might have shown. They come from drawing {} "
    "anew, with replacement, 1,000 times (bootstrap){}; a calibration error has none, for it grows "
    "by the drawing itself."
)
_DRAWN: Final = ("the test rows", ", and for shares of rows from Wilson's formula")
_DRAWN_BY_GROUP: Final = ("whole groups of test rows", "")
_LEVEL: Final = "not to be told apart from"
_FEW: Final = 50  # test rows, below which ranges are rough
_UNSURE: Final = (
    "Epistemic: the part of the doubt that more rows like these would remove. Here along the "
    "columns that drive it most, and for rows unlike those that the model has learned from."
)
_SHARES: Final = (
    "How it is found: a column is shuffled among the test rows, and half the mean square of what "
    "changes, as a part of the whole variance, is the column's share (total share after Sobol'). "
    "Columns that work together are counted in each of their shares, so these may add up to more "
    "than 1."
)


def table_report(summary: Mapping[str, Any], made: datetime.date | None = None) -> str:
    """The report as one self-contained HTML text.

    Args:
        summary: what `hunch.tables.fit_table` returns.
        made: the date on the page; None: today, or that of SOURCE_DATE_EPOCH, where files are to
            come out the same on another day.
    """
    sections = [
        section_of_data(summary),
        Section("scores", "How good it is", _same_rows(summary), _scores(summary)),
        section_of_rows(summary),
        Section("calibration", "Whether it knows how far off it is", *_calibration(summary)),
        *sections_by_split(summary),
        Section(
            "drivers", "What drives the prediction, and what the doubt", _SHARES, _drivers(summary)
        ),
        Section("unsure", "Where it is least sure", _UNSURE, _unsure(summary)),
        section_of_columns(summary),
    ]
    introduction: list[Block] = [
        Text(_made(summary, made or _today())),
        Notice(verdict(summary), _tone(summary)),
        *[Notice(said, "bad") for said in cautions(summary)],
        Facts(_facts(summary)),
        Beside(*([Text(said)] for said in _introduction(summary))),
    ]
    return render_page(f"How well {summary['target']['name']} is predicted", introduction, sections)


def _unsure(summary: Mapping[str, Any]) -> list[Block]:
    """The doubt along columns, and away from the data."""
    figures, target = summary["test"], summary["target"]
    unit = pictures.unit_of(target)
    along = {
        f"along-{i + 1}": pictures.along(name, own, unit)
        for i, (name, own) in enumerate(figures["unsure"]["along"].items())
    }
    drawn = Figures({**along, **pictures.away(figures["far"], target)})
    return [drawn, Text(_far_in_words(figures["far"]))]


def _today() -> datetime.date:
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not epoch.isdecimal():
        return datetime.date.today()
    return datetime.datetime.fromtimestamp(int(epoch), datetime.UTC).date()


def _made(summary: Mapping[str, Any], made: datetime.date) -> str:
    return f"`{summary['data']}`, {made.day} {made:%B %Y}, hunch {versions()['hunch']}."


def _tone(summary: Mapping[str, Any]) -> Any:
    return "bad" if summary.get("suspects") else TONES[summary["test"]["grade"]]


def _facts(summary: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    test = summary["test"]
    ours, ranges, constant = (
        test["scores"]["hunch"],
        test["ranges"]["hunch"],
        test["scores"][CONSTANT],
    )
    if summary["target"]["task"] == "regression":
        return [
            (
                "typical error",
                rounded(ours["rmse"]),
                f"{rounded(constant['rmse'])} for always the mean",
            ),
            ("explained", percent(max(ours["r2"], 0.0)), "of the target's variance (R²)"),
            (
                "held by 90 % intervals",
                percent(ours["coverage_90"]),
                f"95 % range {span(ranges['coverage_90'], share=True)}",
            ),
            ("width of 90 % intervals", rounded(ours["width_90"]), "in the mean over test rows"),
        ]
    return [
        (
            "right",
            percent(ours["accuracy"]),
            f"{percent(constant['accuracy'])} for the commonest class",
        ),
        (
            "log loss",
            rounded(ours["log_loss"]),
            f"{rounded(constant['log_loss'])} for always the classes' shares",
        ),
        (
            "probabilities are off by",
            percent(ours["calibration_error"]),
            "in the mean (calibration error)",
        ),
        ("test rows", f"{summary['rows']['test']:,}", "none of which it has learned from"),
    ]


def _introduction(summary: Mapping[str, Any]) -> tuple[str, str]:
    target, rows = summary["target"], summary["rows"]
    what = "a number" if target["task"] == "regression" else f"{len(target['classes'])} classes"
    own = summary.get("test_file")
    judged = f"rows of `{own}`" if own else "that had no part in it"
    return (
        f"A model of `{target['name']}`, {what} ({target['why']}), from `{summary['data']}`: "
        f"trained on {rows['train']:,} rows, tested on {rows['test']:,} {judged}.",
        "`hunch predict MODEL NEW.csv --out predictions.csv`, with MODEL the folder of this page, "
        "predicts new rows.",
    )


def _same_rows(summary: Mapping[str, Any]) -> str:
    return f"All models see the same features and the same {summary['rows']['train']:,} rows."


def _scores(summary: Mapping[str, Any]) -> list[Block]:
    test = summary["test"]
    scores, ranges = test["scores"], test["ranges"]
    # A score a row: the models fit beside each other on a page, seven scores with ranges do not.
    rows = [
        [
            _SCORES[key],
            *[_score(key, own[key], ranges[name].get(key)) for name, own in scores.items()],
        ]
        for key in scores["hunch"]
    ]
    task = summary["target"]["task"]
    better = "Smaller is better, but for R²; coverage should be 90 %."
    if task == "classification":
        better = "Smaller is better, but for accuracy."
    rough = " With so few test rows they are rough." if summary["rows"]["test"] < _FEW else ""
    by_group = "by_group" in test
    ranges_said = _RANGES.format(*(_DRAWN_BY_GROUP if by_group else _DRAWN))
    note = f"{better} {_notes(test['notes'])} {ranges_said}{rough}".strip()
    drawn = Figures({"comparison": pictures.comparison(test, _SCORES[test["deciding"]])})
    return [
        Table(["", *scores], rows, note),
        Beside([drawn], [Text(_MEANING[task]), Text(_ahead(test))]),
    ]


def _ahead(test: Mapping[str, Any]) -> str:
    """Which differences are more than chance, for all models saw the same test rows."""
    found: dict[str, list[str]] = {}
    for name, own in test["ahead"].items():
        low, high = own["range"]
        word = "clearly better than" if low > 0 else "clearly worse than" if high < 0 else _LEVEL
        found.setdefault(word, []).append(name)
    said = [f"{word} {_listed(names)}" for word, names in sorted(found.items())]
    score = _SCORES[test["deciding"]]
    return f"By {score}, row by row on the same test rows, hunch is {', and '.join(said)}."


def _listed(names: Sequence[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def _notes(notes: Mapping[str, str]) -> str:
    """One sentence for each note, and who shares it."""
    shared: dict[str, list[str]] = {}
    for name, note in notes.items():
        shared.setdefault(note, []).append(name)
    said = [f"{' and '.join(names)}: {note}." for note, names in shared.items()]
    return " ".join(sentence[0].upper() + sentence[1:] for sentence in said)


def _score(key: str, value: float, ends: Sequence[float] | None) -> str:
    show: Callable[[float], str] = percent if key in _IN_PERCENT else rounded
    show = _thousandths if key == "r2" else show
    if ends is None or show(ends[0]) == show(ends[1]):
        return show(value)
    between = span(ends, share=True) if show is percent else f"{show(ends[0])} to {show(ends[1])}"
    return f"{show(value)}\n{between}"


def _thousandths(value: float) -> str:
    """A share of which nothing is left is no long row of digits.

    Example:
        >>> _thousandths(0.7964), _thousandths(-5e-05)
        ('0.796', '0.000')
    """
    return f"{round(value, 3) + 0.0:.3f}"


def _calibration(summary: Mapping[str, Any]) -> tuple[str, list[Block]]:
    figures, name = summary["test"], summary["target"]["name"]
    curve, errors = figures["curve"], figures["error_by_std"]
    if summary["target"]["task"] == "regression":
        said = "Intervals and error bars on the test rows."
        by = figures["coverage_by"]
        drawn = {
            "coverage": pictures.coverage(curve),
            "error-by-std": pictures.errors(
                errors, f"predicted std of {name}", "mean absolute error"
            ),
            "coverage-by-prediction": pictures.coverage_by(
                by["predicted"], "whatever is predicted", f"predicted {name}"
            ),
            "coverage-by-std": pictures.coverage_by(
                by["std"], "however unsure it is", f"predicted std of {name}"
            ),
        }
    else:
        said = "Probabilities on the test rows."
        drawn = {
            "reliability": pictures.reliability(curve),
            "error-by-entropy": pictures.errors(errors, "entropy / nats", "share of errors"),
        }
    return said, [Figures(drawn), *_subgroups(figures["subgroups"])]


def _subgroups(found: Sequence[Mapping[str, Any]]) -> list[Block]:
    """Where they hold by the values of columns, those that are furthest from it marked."""
    if not found:
        return []
    regression = "width" in found[0]
    head = ["column", "value", "rows", "covered by 90 %", "mean width"]
    if not regression:
        head = ["column", "value", "rows", "right", "promised"]
    rows = []
    for own in found:
        promised = 0.9 if regression else own["promised"]
        mark = "" if own["low"] <= promised <= own["high"] else _off(own, promised, regression)
        rows.append(
            [
                f"`{own['column']}`",
                own["value"],
                f"{own['rows']:,}",
                f"{percent(own['share'])}{mark}\n{span((own['low'], own['high']), share=True)}",
                rounded(own["width"]) if regression else percent(promised),
            ]
        )
    note = "Values of at least 20 test rows. One in twenty is off by chance alone."
    return [Text("", heading="By subgroup"), Table(head, rows, f"Small: 95 % ranges. {note}")]


def _off(own: Mapping[str, Any], promised: float, regression: bool) -> str:
    if own["high"] < promised:
        return ", too narrow" if regression else ", too sure"
    return ", too wide" if regression else ", not sure enough"


def _drivers(summary: Mapping[str, Any]) -> list[Block]:
    test = summary["test"]
    shares = test["drivers"]
    drawn = {
        "drives-prediction": pictures.driving(shares["prediction"]),
        "drives-doubt": pictures.doubting(test["unsure"]["drivers"], shares["aleatoric"]),
    }
    return [Figures(drawn), Text(_tied(test["tied"]))]


def _tied(pairs: Sequence[Sequence[Any]]) -> str:
    if not pairs:
        return (
            "None of the foremost columns follows from another one (no correlation of their "
            "features reaches 0.7), so shuffling makes rows that could be."
        )
    named = ", ".join(f"`{a}` with `{b}` ({r:.2f})" for a, b, r in pairs[:4])
    return (
        f"A word of caution: some columns go together, {named}, correlation in brackets. "
        "Shuffling one of such a pair makes rows that cannot be, and the model may use either for "
        "the other: take their shares together."
    )


def _far_in_words(far: Mapping[str, Any]) -> str:
    if "probability" not in far:
        return ""
    median = far["probability"]["median"]
    return (
        f"In the median the likeliest class has the probability {median[0]:.2f} at the data "
        f"and {median[-1]:.2f} at {far['shift'][-1]:g} standard deviations."
    )
