"""What a model is worth, in one sentence with the numbers that carry it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from hunch.tables.baselines import CONSTANT
from hunch.tables.losses import best_other

_CLOSE: Final = 0.02  # to the promised share
TONES: Final = {
    "useful": "good",
    "weak": "fair",
    "beaten": "fair",
    "no better": "bad",
    "worse": "bad",
}


def verdict(summary: Mapping[str, Any]) -> str:
    """The sentence, with names of columns between back-ticks.

    Args:
        summary: what `hunch.tables.fit_table` returns.
    """
    test, target = summary["test"], summary["target"]
    body = _of_numbers(test) if target["task"] == "regression" else _of_classes(test)
    return f"{_worth(summary)}: on {_judged_on(summary)} {body}."


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


def percent(share: float) -> str:
    """A share as the page shows it.

    Example:
        >>> percent(0.8956)
        '89.6 %'
    """
    return f"{100 * share:.1f} %"


def span(ends: Sequence[float], share: bool = False) -> str:
    """A range as the page shows it.

    Example:
        >>> span([0.81234, 0.94]), span([0.81234, 0.94], share=True)
        ('0.812 to 0.940', '81.2 to 94.0 %')
    """
    low, high = ends
    if share:
        return f"{100 * low:.1f} to {percent(high)}"
    return f"{rounded(low)} to {rounded(high)}"


def period(first: str | float, last: str | float) -> str:
    """From when to when, dates or numbers.

    Example:
        >>> period("2019-01-01", "2019-06-30"), period(2001.0, 2005.0)
        ('2019-01-01 to 2019-06-30', '2001 to 2005')
    """
    return " to ".join(end if isinstance(end, str) else f"{end:.10g}" for end in (first, last))


def _worth(summary: Mapping[str, Any]) -> str:
    suspects = list(summary.get("suspects", {}))
    if suspects:
        named = " and ".join(f"`{name}`" for name in suspects[:3])
        what = "column" if len(suspects) == 1 else "columns"
        return (
            f"Not to be trusted before {what} {named} is looked at, which may give the answer away"
        )
    test = summary["test"]
    always = _always(summary["target"]["task"])
    return {
        "useful": "Useful",
        "weak": f"A weak guide, a little better than {always}",
        "beaten": f"Useful, but {best_other(test['scores'], test['deciding'])} is better here",
        "no better": f"No better than {always}, as far as can be told",
        "worse": f"Worse than {always}, so do not use it",
    }[test["grade"]]


def _always(task: str) -> str:
    return "always saying the mean" if task == "regression" else "always saying the classes' shares"


def _judged_on(summary: Mapping[str, Any]) -> str:
    split, rows = summary.get("split", {}), f"{summary['rows']['test']:,}"
    if summary.get("test_file"):
        return f"the {rows} rows of `{summary['test_file']}`"
    if split.get("by") == "groups":
        groups = f"{split['test']:,} groups of `{split['column']}`"
        return f"{rows} rows of {groups} that it had never seen"
    if split.get("by") == "time":
        return f"the last {rows} rows by `{split['column']}` ({period(*split['test'])})"
    return f"{rows} rows that it had not seen"


def _of_numbers(test: Mapping[str, Any]) -> str:
    ours, ranges = test["scores"]["hunch"], test["ranges"]["hunch"]
    return (
        f"its typical error (root mean square) is {rounded(ours['rmse'])} "
        f"({span(ranges['rmse'])}), {_beside(test, 'always saying the mean')}; and its 90 % "
        f"intervals hold {percent(ours['coverage_90'])} of the true values "
        f"({span(ranges['coverage_90'], share=True)}), "
        f"{_as_promised(ours['coverage_90'], ranges['coverage_90'])}"
    )


def _beside(test: Mapping[str, Any], always: str) -> str:
    scores, key = test["scores"], test["deciding"]
    best = best_other(scores, key)
    return (
        f"against {rounded(scores[CONSTANT][key])} for {always} and {rounded(scores[best][key])} "
        f"for {best}, the best of {len(scores) - 2} other methods"
    )


def _as_promised(share: float, ends: Sequence[float]) -> str:
    """What the share of true values in 90 % intervals says of them.

    Example:
        >>> _as_promised(0.89, [0.8, 0.94]), _as_promised(0.85, [0.77, 0.91])
        ('as promised', 'which may be chance')
    """
    low, high = ends
    if high < 0.9:
        return "which is too few: they are too narrow"
    if low > 0.9:
        return "more than promised: they are wider than they need to be"
    return "as promised" if abs(share - 0.9) <= _CLOSE else "which may be chance"


def _of_classes(test: Mapping[str, Any]) -> str:
    ours, ranges = test["scores"]["hunch"], test["ranges"]["hunch"]
    return (
        f"it names the right class in {percent(ours['accuracy'])} "
        f"({span(ranges['accuracy'], share=True)}), where always naming the commonest class would "
        f"in {percent(test['scores'][CONSTANT]['accuracy'])}; and its probabilities lose "
        f"{rounded(ours['log_loss'])} (log loss, smaller is better; {span(ranges['log_loss'])}), "
        f"{_beside(test, 'always saying the shares of the classes')}"
    )
