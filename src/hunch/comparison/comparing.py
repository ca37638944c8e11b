"""Trainings to a comparison."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

import numpy as np

from hunch.charts import held
from hunch.comparison.bootstrap import RESAMPLES, Interval, bootstrap_band, bootstrap_interval
from hunch.comparison.groups import environment_names, group_names, largest_part
from hunch.comparison.records import SCORES, Record, Score, read_records, shown
from hunch.comparison.remarks import cautions, on_the_part, verdict_on
from hunch.comparison.result import Band, Comparison, Group
from hunch.comparison.scales import Bounds, Scale, check_scales, scales_for
from hunch.comparison.statistics import (
    Array,
    interquartile_mean,
    mean_score,
    median_score,
    optimality_gap,
    performance_profile,
    probability_of_improvement,
)
from hunch.errors import ConfigurationError
from hunch.seeding import check_seed
from hunch.validation import real_number, whole_number

Path = str | os.PathLike[str]

_THRESHOLDS: Final = 101
_BAND_RESAMPLES: Final = 2_000
_POINTS: Final = 60  # of a curve


def compare(
    runs: Sequence[Path] | Mapping[str, Path | Sequence[Path]],
    *,
    score: Score | None = None,
    scales: Mapping[str, Bounds] | None = None,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
    progress: bool = False,
) -> Comparison:
    """Compare agents by the folders of their trainings.

    Args:
        runs: folders of `hunch train`, folders that hold such at any depth, or logs of
            Stable-Baselines3 (`monitor.csv`); or a mapping from the names of groups to such.
            Without names, runs of the same agent and settings are a group.
        score: `"last"`, greedy episodes of the last weights; `"best"`, of those that did best in
            evaluations; `"evaluations"`, the last five evaluations; `"training"`, the last twenty
            training episodes. None is `"last"`, or `"training"` where there are logs of
            Stable-Baselines3, which have nothing else.
        scales: for each environment the return that is to be 0 and the one that is to be 1. Where
            several are compared, one that is not named goes from random play to its reward
            threshold, or to the highest score there is.
        confidence: of all intervals, between 0 and 1.
        resamples: of the bootstrap, at least 1.
        seed: of the resamples.
        progress: whether to show a bar on standard error while folders are read.

    Returns:
        The comparison: over the environments that all groups have; where there is none, of the
        groups that share most, and what is left out is named.

    Raises:
        ConfigurationError: if there is nothing to compare, a number is out of range, or a scale is
            missing.
        FolderError: if a file is not as it was written.

    Example:
        >>> import tempfile
        >>> from hunch.rl import DQN, Plan, Run
        >>> from hunch.rl.runs.summary import summarize
        >>> folder = tempfile.mkdtemp()
        >>> for seed in (0, 1):
        ...     settings = DQN("CartPole-v1", hidden_sizes=(8,), seed=seed).settings
        ...     run = Run.begin(f"{folder}/{seed}", Plan("DQN", settings, steps=100))
        ...     _ = summarize(run, run.train(progress=False), episodes=2)
        >>> found = compare([folder])
        >>> found.groups[0].name, found.groups[0].seeds, found.environments
        ('DQN', (2, 2), ('CartPole-v1',))
    """
    return compare_places(
        _named(runs),
        score=score,
        scales=scales,
        confidence=confidence,
        resamples=resamples,
        seed=seed,
        progress=progress,
    )


def compare_places(
    places: Sequence[tuple[str | None, Path]],
    *,
    score: Score | None = None,
    scales: Mapping[str, Bounds] | None = None,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
    progress: bool = False,
) -> Comparison:
    """As `compare`, of places that have a name each, or None; some may have and others not."""
    confidence = real_number("confidence", confidence, above=0.0, below=1.0)
    resamples = whole_number("resamples", resamples, at_least=1)
    check_seed(seed)
    if score is not None and score not in SCORES:
        raise ConfigurationError(f"`score` got {score!r}; expected one of {', '.join(SCORES)}.")
    found = read_records(places, score, progress=progress)
    members = _Members.of_records(found.records)
    check_scales(dict(scales or {}), members.environments)
    draw = _Draw(confidence, resamples, seed)
    common, left_out = members.environments_of_all(), {}
    if not common and (part := largest_part(members.environments_by_group())):
        left_out = {n: e for n, e in members.environments_by_group().items() if n not in part}
        members = members.only(part)
        common = members.environments_of_all()
    scales_used = scales_for(
        {env: own for env, own in members.by_environment().items() if env in common},
        {env: bounds for env, bounds in dict(scales or {}).items() if env in common},
    )
    values = [
        float(v)
        for name in members.groups
        for own in members.scores(name, common, scales_used).values()
        for v in own
    ]
    thresholds = np.linspace(min(values), max(values), _THRESHOLDS) if values else np.zeros(0)
    groups = [
        _group(name, members, common, scales_used, thresholds, draw) for name in members.groups
    ]
    if common:
        groups.sort(key=lambda own: -own.figures["interquartile_mean"].value)
    ahead = {
        (a.name, b.name): draw.interval(probability_of_improvement, *_returns((a, b), common))
        for a in groups
        for b in groups
        if a is not b and common
    }
    others = tuple(env for env in members.environments if env not in common)
    said = cautions(
        groups, common, others, scales_used, confidence, (members.records, members.group_of)
    )
    part_said = on_the_part(groups, common, left_out) if left_out else []
    return Comparison(
        groups=tuple(groups),
        environments=common,
        others=others,
        scales=scales_used,
        score=found.score,
        confidence=confidence,
        ahead=ahead,
        thresholds=thresholds,
        steps=members.steps_said(common),
        verdict=verdict_on(groups, common, ahead, part=bool(left_out)),
        remarks=(*part_said, *found.remarks, *members.remarks, *said),
        left_out=left_out,
    )


def _named(
    runs: Sequence[Path] | Mapping[str, Path | Sequence[Path]],
) -> list[tuple[str | None, Path]]:
    if isinstance(runs, Mapping):
        return [
            (str(name), place)
            for name, own in runs.items()
            for place in ([own] if isinstance(own, str | os.PathLike) else own)
        ]
    if isinstance(runs, str | os.PathLike):
        return [(None, runs)]
    return [(None, place) for place in runs]


class _Draw:
    """How intervals are made here: all with the same confidence, resamples and seed."""

    def __init__(self, confidence: float, resamples: int, seed: int) -> None:
        self.confidence, self.resamples, self.seed = confidence, resamples, seed

    def interval(self, statistic: Callable[..., Any], *scores: Mapping[str, Any]) -> Interval:
        """The figure of scores."""
        return bootstrap_interval(
            statistic,
            *scores,
            confidence=self.confidence,
            resamples=self.resamples,
            seed=self.seed,
        )

    def band(self, statistic: Callable[..., Any], scores: Mapping[str, Any]) -> Band:
        """Several figures of scores, such as those of a curve."""
        return bootstrap_band(
            statistic,
            scores,
            confidence=self.confidence,
            resamples=min(self.resamples, _BAND_RESAMPLES),
            seed=self.seed,
        )


class _Members:
    """Records by group and environment.

    Args:
        records: all of them.
        env_of: the environment of each.
        group_of: the group of each.
        remarks: sentences on how groups were told apart.
    """

    def __init__(
        self,
        records: Sequence[Record],
        env_of: Sequence[str],
        group_of: Sequence[str],
        remarks: Sequence[str],
    ) -> None:
        self.records, self.env_of, self.group_of = records, env_of, group_of
        self.remarks = remarks
        self.environments = tuple(dict.fromkeys(env_of))
        self.groups = tuple(dict.fromkeys(group_of))

    @classmethod
    def of_records(cls, records: Sequence[Record]) -> _Members:
        """With names for their environments and groups."""
        env_of = environment_names(records)
        return cls(records, env_of, *group_names(records, env_of))

    def only(self, groups: Collection[str]) -> _Members:
        """Some of the groups, under the same names."""
        rows = zip(self.records, self.env_of, self.group_of, strict=True)
        records, env_of, group_of = zip(*(row for row in rows if row[2] in groups), strict=True)
        return _Members(records, env_of, group_of, self.remarks)

    def environments_by_group(self) -> dict[str, tuple[str, ...]]:
        """Those that each group has."""
        return {name: tuple(self.of(name)) for name in self.groups}

    def by_environment(self) -> dict[str, list[Record]]:
        """All records of each environment."""
        return {env: self._some(None, env) for env in self.environments}

    def of(self, group: str) -> dict[str, list[Record]]:
        """A group's records in each environment that it has."""
        found = {env: self._some(group, env) for env in self.environments}
        return {env: own for env, own in found.items() if own}

    def environments_of_all(self) -> tuple[str, ...]:
        """Those that every group has."""
        return tuple(e for e in self.environments if all(self._some(g, e) for g in self.groups))

    def scores(
        self, group: str, environments: Sequence[str], scales: Mapping[str, Scale]
    ) -> dict[str, Array]:
        """A group's scores in some environments."""
        found = {}
        for env in environments:
            returns = np.array([own.score for own in self._some(group, env)])
            found[env] = scales[env](returns) if env in scales else returns
        return found

    def steps_said(self, environments: Sequence[str]) -> str:
        """What the x axis of curves is: steps, or their share where environments have unlike."""
        return "environment steps" if self._same_steps(environments) else "share of the steps"

    def budget(self, env: str, environments: Sequence[str]) -> float:
        """What an environment's steps are divided by."""
        if self._same_steps(environments):
            return 1.0
        return float(max(own.steps for own in self._some(None, env)))

    def _same_steps(self, environments: Sequence[str]) -> bool:
        most = [max(own.steps for own in self._some(None, env)) for env in environments]
        return not most or max(most) <= 1.05 * min(most)

    def _some(self, group: str | None, env: str) -> list[Record]:
        return [
            own
            for own, g, e in zip(self.records, self.group_of, self.env_of, strict=True)
            if e == env and group in (None, g)
        ]


def _group(
    name: str,
    members: _Members,
    common: Sequence[str],
    scales: Mapping[str, Scale],
    thresholds: Array,
    draw: _Draw,
) -> Group:
    own = members.of(name)
    returns = {env: tuple(record.score for record in records) for env, records in own.items()}
    figures: dict[str, Interval] = {}
    profile = None
    if common:
        scores = members.scores(name, common, scales)
        statistics: dict[str, Callable[..., Any]] = {
            "interquartile_mean": interquartile_mean,
            "mean": mean_score,
            # Of one environment it is the mean.
            **({"median": median_score} if len(common) > 1 else {}),
            **({"optimality_gap": optimality_gap} if scales else {}),
        }
        figures = {key: draw.interval(figure, scores) for key, figure in statistics.items()}
        profile = draw.band(lambda x: performance_profile(x, thresholds), scores)
    return Group(
        name=name,
        returns=returns,
        steps={env: tuple(record.steps for record in records) for env, records in own.items()},
        places=tuple(dict.fromkeys(shown(r.place) for records in own.values() for r in records)),
        figures=figures,
        by_environment={
            env: draw.interval(interquartile_mean, {env: scores}) for env, scores in returns.items()
        },
        profile=profile,
        curve=_curve({env: own[env] for env in common}, members, scales, draw),
    )


def _curve(
    own: Mapping[str, Sequence[Record]],
    members: _Members,
    scales: Mapping[str, Scale],
    draw: _Draw,
) -> tuple[Array, Band] | None:
    """Interquartile means along the steps; what a training came to last counts from there on."""
    if not own or any(not len(r.curve[0]) for records in own.values() for r in records):
        return None
    budget = {env: members.budget(env, tuple(own)) for env in own}
    curves = {
        env: [(r.curve[0] / budget[env], r.curve[1]) for r in records]
        for env, records in own.items()
    }
    every = [steps for rows in curves.values() for steps, _ in rows]
    # Before its first point nothing is known of a seed.
    begin = max(float(steps[0]) for steps in every)
    # A group that was to make fewer steps than others ends there.
    end = max(r.steps / budget[env] for env, records in own.items() for r in records)
    grid = np.unique(np.concatenate(every))
    grid = grid[(grid >= begin) & (grid <= end)]
    if len(grid) > _POINTS:
        grid = np.linspace(begin, min(end, grid[-1]), _POINTS)
    values = {
        env: np.stack([held(grid, *row) for row in rows]) for env, rows in curves.items()
    }  # (seeds, points)
    scaled = {env: scales[env](own) if env in scales else own for env, own in values.items()}

    def along(drawn: Mapping[str, Array]) -> Array:
        """Of seeds by their numbers, so that each resample is one of whole curves."""
        seeds = {env: np.asarray(numbers, np.int64) for env, numbers in drawn.items()}
        points = [
            interquartile_mean({env: scaled[env][:, p][seeds[env]] for env in scaled})
            for p in range(len(grid))
        ]
        return np.stack(points, axis=-1)

    band = draw.band(along, {env: np.arange(len(rows)) for env, rows in scaled.items()})
    return grid, band


def _returns(groups: Sequence[Group], environments: Sequence[str]) -> list[dict[str, Any]]:
    return [{env: own.returns[env] for env in environments} for own in groups]
