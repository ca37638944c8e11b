"""Groups beside each other: the figures, as text, as tables and as plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from hunch.comparison.bootstrap import Interval
from hunch.comparison.records import LAST_EVALUATIONS, Score
from hunch.comparison.scales import Scale
from hunch.comparison.statistics import Array
from hunch.rl.agents.history import SHOWN_EPISODES

Band = tuple[Array, Array, Array]  # figures, lower and upper ends

_SAID: Final = {
    "last": "mean return of the weights at the end, in greedy episodes",
    "best": "mean return of the weights that did best in evaluations, in other greedy episodes",
    "evaluations": f"mean return of the last {LAST_EVALUATIONS} evaluations during training",
    "training": f"mean return of the last {SHOWN_EPISODES} training episodes, exploration and all",
}


@dataclass(frozen=True)
class Group:
    """One agent over its seeds and environments.

    Args:
        name: as it was given, or the agent with the settings that tell it from others.
        returns: of each seed, by environment.
        steps: environment steps that each seed was to make, by environment.
        places: folders that they came from.
        figures: interquartile mean, mean, median and optimality gap over the environments that all
            groups have, each with its interval; without one where there is a single seed.
        by_environment: the interquartile mean of the returns in each environment.
        profile: share of seeds above each threshold of the comparison.
        curve: where on the x axis, and the interquartile mean with its band there; None for none.
    """

    name: str
    returns: Mapping[str, tuple[float, ...]]
    steps: Mapping[str, tuple[int, ...]]
    places: tuple[str, ...]
    figures: Mapping[str, Interval]
    by_environment: Mapping[str, Interval]
    profile: Band | None
    curve: tuple[Array, Band] | None

    @property
    def seeds(self) -> tuple[int, int]:
        """The fewest and the most seeds that it has in an environment."""
        counts = [len(own) for own in self.returns.values()]
        return min(counts), max(counts)


@dataclass(frozen=True)
class Comparison:
    """Agents over seeds and environments.

    Made by `compare`.

    Args:
        groups: those of the highest interquartile mean first.
        environments: those that all groups have, over which figures are taken.
        others: those that some groups lack.
        scales: how returns became scores, by environment; empty where they are compared as they
            are.
        score: what is compared, one of `"last"`, `"best"`, `"evaluations"`, `"training"`.
        confidence: of all intervals.
        ahead: probability of improvement of the first over the second, by pair of names.
        thresholds: of the profiles, in units of the scores.
        steps: what the x axis of curves is, in words.
        verdict: one sentence.
        remarks: sentences on what to know before the figures are trusted.
        left_out: groups that are not among `groups`, since no environment is common to all, and the
            environments of each.
    """

    groups: tuple[Group, ...]
    environments: tuple[str, ...]
    others: tuple[str, ...]
    scales: Mapping[str, Scale]
    score: Score
    confidence: float
    ahead: Mapping[tuple[str, str], Interval]
    thresholds: Array
    steps: str
    verdict: str
    remarks: tuple[str, ...]
    left_out: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def what(self) -> str:
        """What is compared, in words."""
        said = _SAID[self.score]
        return f"{said}, scaled" if self.scales else said

    def lines(self) -> list[str]:
        """The comparison for a terminal."""
        lines = [f"{self.verdict}", ""]
        lines += _columns(self.table())
        if len(self.environments) + len(self.others) > 1:
            lines += ["", *_columns(self.table_by_environment())]
        pairs = [
            f"{a} over {b}: a seed is better with probability {interval}"
            for (a, b), interval in self.ahead.items()
            if a == self.groups[0].name
        ]
        lines += ["", *pairs] if pairs else []
        lines += ["", f"Compared: {self.what()}. {self.intervals_said()}"]
        lines += [f"{name}: {scale}." for name, scale in self.scales.items()]
        return [*lines, *self.remarks]

    def is_clear(self) -> bool:
        """Whether the first group is ahead of all others."""
        if not self.ahead:
            return False
        first = self.groups[0].name
        return all((own.low or 0.0) > 0.5 for (a, _), own in self.ahead.items() if a == first)

    def intervals_said(self) -> str:
        """What the brackets behind figures are."""
        share = f"{self.confidence:.3g}"
        return f"Behind each figure its {share} interval, by the stratified bootstrap over seeds."

    def table(self) -> list[list[str]]:
        """A head, and a row for each group."""
        names = list(self.groups[0].figures)
        rows = [["group", "seeds", "steps", *(name.replace("_", " ") for name in names)]]
        for group in self.groups:
            cells = [str(group.figures[name]) for name in names]
            rows.append([group.name, said_range(group.seeds), said_range(steps_of(group)), *cells])
        return rows

    def table_by_environment(self) -> list[list[str]]:
        """A head, and a row for each environment: interquartile means of returns."""
        head = ["return in", *(group.name for group in self.groups)]
        rows = [
            [env, *(str(group.by_environment.get(env, "–")) for group in self.groups)]
            for env in (*self.environments, *self.others)
        ]
        return [head, *rows]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "verdict": self.verdict,
            "remarks": list(self.remarks),
            "score": self.score,
            "confidence": self.confidence,
            "environments": list(self.environments),
            "not_in_all_groups": list(self.others),
            "left_out": {name: list(envs) for name, envs in self.left_out.items()},
            "scales": {name: scale.to_json() for name, scale in self.scales.items()},
            "groups": [_group_to_json(group) for group in self.groups],
            "probability_of_improvement": [
                {"group": a, "over": b, **interval.to_json()}
                for (a, b), interval in self.ahead.items()
            ],
            "thresholds": self.thresholds.tolist(),
            "steps": self.steps,
        }


def said_range(ends: tuple[float, float]) -> str:
    """Two ends as text, as one number where they are the same.

    Example:
        >>> said_range((5, 5)), said_range((1000, 2000))
        ('5', '1,000 to 2,000')
    """
    low, high = ends
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def steps_of(group: Group, environments: Sequence[str] = ()) -> tuple[int, int]:
    """The fewest and the most environment steps of a group's seeds, in some environments or all."""
    own = [n for env in environments or group.steps for n in group.steps.get(env, ())]
    return min(own), max(own)


def _group_to_json(group: Group) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": group.name,
        "returns": {env: list(own) for env, own in group.returns.items()},
        "steps": {env: list(own) for env, own in group.steps.items()},
        "places": list(group.places),
        **{name: interval.to_json() for name, interval in group.figures.items()},
        "by_environment": {env: own.to_json() for env, own in group.by_environment.items()},
    }
    if group.profile is not None:
        found["performance_profile"] = _band_to_json(group.profile)
    if group.curve is not None:
        x, band = group.curve
        found["sample_efficiency"] = {"steps": x.tolist(), **_band_to_json(band)}
    return found


def _band_to_json(band: Band) -> dict[str, Any]:
    return dict(zip(("value", "low", "high"), (own.tolist() for own in band), strict=True))


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """A table for a terminal: the first column to the left, the others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
