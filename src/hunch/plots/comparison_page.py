"""The page of a comparison: who is ahead, profiles, curves, each environment, what was compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hunch.charts import CYCLE, GRAY, Chart, cut
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

if TYPE_CHECKING:
    from hunch.comparison import Comparison, Group, Interval

_DRAWN: Final = len(CYCLE)  # groups that have a color of their own
_NAME: Final = 34  # letters of a group's name in a chart
_WORDS: Final = {
    "interquartile_mean": "Interquartile mean: the mean of the middle half of all seeds of all "
    "environments. It moves less with single seeds than the mean.",
    "mean": "Mean: over environments, of the mean over seeds.",
    "median": "Median: over environments, of the mean over seeds.",
    "optimality_gap": "Optimality gap: how far seeds stay below 1 in the mean; what is beyond 1 "
    "makes up for nothing.",
}


def comparison_page(found: Comparison) -> str:
    """The page as one self-contained HTML text.

    Args:
        found: what `hunch.comparison.compare` returned.
    """
    names = [group.name for group in found.groups]
    title = " and ".join(names) if len(names) == 2 else f"{len(names)} agents"
    several = len(found.environments) + len(found.others) > 1
    sections = [
        Section("figures", "All environments together", found.intervals_said(), _sums(found)),
        Section("curves", "Seeds one by one, and on the way", _about_curves(found), _curves(found)),
        *([_environments(found)] if several else []),
        Section("compared", "What was compared", f"{_capital(found.what())}.", _sources(found)),
    ]
    return render_page(
        f"{title} compared" if len(names) > 1 else names[0], _introduction(found), sections
    )


def _introduction(found: Comparison) -> list[Block]:
    # The verdict is a good one if something was found out.
    tone: str = "good" if found.is_clear() else "fair"
    blocks: list[Block] = [Notice(found.verdict, "good" if tone == "good" else "fair")]
    facts = []
    for group in found.groups[:3] if found.environments else ():
        figure = group.figures["interquartile_mean"]
        note = "interquartile mean"
        if figure.low is not None:
            note += f", {_ends(figure)}"
        facts.append((cut(group.name, _NAME), _figure(figure), note))
    if facts:
        blocks.append(Facts(facts))
    if found.remarks:
        blocks.append(Text("\n\n".join(found.remarks)))
    return blocks


def _sums(found: Comparison) -> list[Block]:
    if not found.environments:
        return [Text("No two groups have an environment in common.")]
    head, *rows = found.table()
    words = [text for name, text in _WORDS.items() if name in found.groups[0].figures]
    blocks: list[Block] = [
        Beside([Figures({"means": _means(found)})], [Text("\n\n".join(words))]),
        Table([name.replace("_", " ") for name in head], [_in_two(row) for row in rows]),
    ]
    if len(found.groups) > 1:
        blocks += [Text(_OF_IMPROVEMENT, heading="Probability of improvement"), _improvement(found)]
    return blocks


_OF_IMPROVEMENT: Final = (
    "How likely a seed of the row's agent does better than one of the column's, ties counted half, "
    "in the mean over environments. An interval that holds 0.5 does not tell the two apart; each "
    "is for its pair alone."
)


def _means(found: Comparison) -> tuple[Chart, str]:
    names = [cut(group.name, _NAME) for group in found.groups]
    unit = "score" if found.scales else "return"
    chart = Chart("", f"interquartile mean of the {unit}", height=70.0 + 34 * len(names))
    chart.down(names)
    for i, group in enumerate(found.groups):
        figure, color = group.figures["interquartile_mean"], _color(i)
        if figure.low is not None and figure.high is not None:
            chart.line([figure.low, figure.high], [i, i], color, width=5, opacity=0.45)
        chart.dots([figure.value], [i], color, size=9)
    return chart, f"Interquartile means, lines are {found.confidence:.3g} intervals."


def _improvement(found: Comparison) -> Table:
    names = [group.name for group in found.groups]
    rows = [[a, *("–" if a == b else _two_lines(found.ahead[a, b]) for b in names)] for a in names]
    return Table(["", *(f"over {name}" for name in names)], rows)


def _curves(found: Comparison) -> list[Block]:
    figures = {}
    if found.environments:
        figures["profiles"] = _profiles(found)
    if any(group.curve is not None for group in found.groups):
        figures["sample-efficiency"] = _efficiency(found)
    blocks: list[Block] = [Figures(figures)] if figures else []
    if len(found.groups) > _DRAWN:
        blocks.append(Text(f"Only the first {_DRAWN} groups are drawn."))
    return blocks or [Text("There is nothing to draw.")]


def _about_curves(found: Comparison) -> str:
    least = min(group.seeds[0] for group in found.groups)
    most = max(group.seeds[1] for group in found.groups)
    seeds = f"{least}" if least == most else f"{least} to {most}"
    word = "seed" if seeds == "1" else "seeds"
    return (
        f"{seeds} {word} of each group and environment; bands are {found.confidence:.3g} intervals."
    )


def _profiles(found: Comparison) -> tuple[Chart, str]:
    unit = "score" if found.scales else "return"
    chart = Chart("", unit, "share of seeds above it")
    for i, group in _drawn(found):
        if group.profile is not None:
            share, low, high = group.profile
            _band(chart, i, group, found.thresholds, low, high)
            chart.line(found.thresholds, share, _color(i), label=cut(group.name, _NAME))
    chart.limits(y=(0.0, 1.0))
    return chart, (
        "Performance profiles: what share of all seeds comes above a value. The higher line is "
        "better; where lines cross, neither is better throughout."
    )


def _efficiency(found: Comparison) -> tuple[Chart, str]:
    unit = "score" if found.scales else "return"
    chart = Chart("", found.steps, f"interquartile mean of the {unit}")
    for i, group in _drawn(found):
        if group.curve is not None:
            x, (middle, low, high) = group.curve
            _band(chart, i, group, x, low, high)
            chart.line(x, middle, _color(i), label=cut(group.name, _NAME))
    source = "training episodes" if found.score == "training" else "evaluations during training"
    return chart, (
        f"Sample efficiency: interquartile mean of {source}. What a training came to when it ended "
        "early counts from there on."
    )


def _band(chart: Chart, i: int, group: Group, x: object, low: object, high: object) -> None:
    if group.seeds[1] > 1:
        chart.band(x, low, high, _color(i), opacity=0.15)  # type: ignore[arg-type]


def _environments(found: Comparison) -> Section:
    head, *rows = found.table_by_environment()
    source = "Interquartile means of the returns themselves, none of them scaled."
    blocks: list[Block] = [Table(["environment", *head[1:]], [_in_two(row) for row in rows])]
    if found.scales:
        scales = [
            [f"`{name}`", f"{scale.low:.4g}", scale.why_low, f"{scale.high:.4g}", scale.why_high]
            for name, scale in found.scales.items()
        ]
        blocks += [
            Text(
                "So that environments can be held beside each other, a return becomes a score:",
                heading="Scales",
            ),
            Table(["environment", "0 is", "that is", "1 is", "that is"], scales, words=True),
        ]
    return Section("environments", "One environment at a time", source, blocks)


def _sources(found: Comparison) -> list[Block]:
    rows = [[f"`{cut(place, 90)}`", group.name] for group in found.groups for place in group.places]
    return [Table(["folder", "group"], rows, words=True)]


def _drawn(found: Comparison) -> list[tuple[int, Group]]:
    return list(enumerate(found.groups))[:_DRAWN]


def _color(i: int) -> str:
    return CYCLE[i] if i < _DRAWN else GRAY


def _figure(interval: Interval) -> str:
    return str(interval).partition(" ")[0]


def _ends(interval: Interval) -> str:
    return str(interval).partition(" ")[2].strip("()")


def _two_lines(interval: Interval) -> str:
    return f"{_figure(interval)}\n{_ends(interval)}"


def _in_two(row: list[str]) -> list[str]:
    """Cells whose interval stands below the figure, in small letters."""
    return [row[0], *(cell.replace(" (", "\n").rstrip(")") for cell in row[1:])]


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
