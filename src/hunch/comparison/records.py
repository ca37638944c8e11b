"""What the folders of finished trainings say: a record for each seed of each agent.

Folders are taken as data: nothing that they name is imported, and no agent is made.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, get_args

import numpy as np

from hunch.charts import running_mean
from hunch.comparison.monitors import Monitored, is_monitor, read_monitors
from hunch.comparison.statistics import Array
from hunch.errors import ConfigurationError, FolderError
from hunch.progress import progress_bar
from hunch.rl.agents.history import SHOWN_EPISODES
from hunch.rl.agents.saving import GIVEN
from hunch.rl.runs.loggers import EPISODES, EVALUATIONS, columns_of_log
from hunch.rl.runs.plan import COMPLETE, RUN_FILE, Plan, read_run_file
from hunch.rl.runs.run import read_summary
from hunch.storage import as_written, expanded

Score = Literal["last", "best", "evaluations", "training"]
SCORES: Final = get_args(Score)
LAST_EVALUATIONS: Final = 5
_NO_SETTINGS: Final = ("env", "env_kwargs", "seed", "replicas")
_FEW: Final = 3  # folders that a remark names


@dataclass(frozen=True)
class Record:
    """One seed of one agent in one environment.

    Args:
        place: the folder, or the file of a monitor.
        agent: its name, such as a recipe of `hunch train`.
        settings: arguments of the agent that may tell it from others of the name.
        environment: its name.
        variant: arguments of the environment.
        seed: None where the files do not say.
        steps: environment steps that it was to make; of a monitor those that it made.
        score: what is compared.
        curve: environment steps and the returns at them, in the order of time.
        given: the name that the user gave, if any.
        chance: mean return of random play, if it was measured.
        cut_short: whether the training ended because it was good enough.
    """

    place: Path
    agent: str
    settings: Mapping[str, Any]
    environment: str
    variant: Mapping[str, Any]
    seed: int | None
    steps: int
    score: float
    curve: tuple[Array, Array]
    given: str | None = None
    chance: float | None = None
    cut_short: bool = False

    def identity(self) -> str:
        """What two records have in common that are the same training made twice."""
        # Under two names it is asked for twice, such as of two versions of hunch.
        parts = (
            self.given,
            self.agent,
            self.settings,
            self.environment,
            self.variant,
            self.seed,
            self.steps,
        )
        return json.dumps(parts, sort_keys=True)


@dataclass(frozen=True)
class Found:
    """All records, and what is to be said about them.

    Args:
        records: in the order of the folders.
        score: what their scores are.
        remarks: sentences on what was left out.
    """

    records: tuple[Record, ...]
    score: Score
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Place:
    """A folder of a run, or a monitor of Stable-Baselines3; and under what it was found."""

    place: Path
    root: Path
    given: str | None
    monitors: tuple[Path, ...] = field(default=())


def read_records(
    places: Sequence[tuple[str | None, str | os.PathLike[str]]],
    score: Score | None = None,
    *,
    progress: bool = False,
) -> Found:
    """Read all trainings at and below some places.

    Args:
        places: a name, or None, and a folder or a monitor's file, each.
        score: what is compared; None is "last", or "training" where there is a monitor.
        progress: whether to show a bar on standard error.

    Raises:
        ConfigurationError: if there is nothing to compare there, or monitors cannot give the score.
        FolderError: if a file is not as it was written.
    """
    found = [own for given, place in places for own in _trainings_below(given, place)]
    # A trial that somebody names by itself is asked for; one that lies in a search is not.
    named = {root for root, count in Counter(own.root for own in found).items() if count == 1}
    found = list({own.place.resolve(): own for own in found}.values())
    monitored = any(own.monitors for own in found)
    if monitored and score not in (None, "training"):
        raise ConfigurationError(
            f"`score` got {score!r}, but the logs of Stable-Baselines3 in "
            f"{str(next(own.place for own in found if own.monitors))!r} hold the returns of "
            'training alone; expected "training", by which runs of hunch are compared too.'
        )
    chosen: Score = score or ("training" if monitored else "last")
    records: list[Record] = []
    open_ended: list[str] = []
    trials: dict[bool, list[str]] = {True: [], False: []}  # those named, those left out
    with progress_bar(len(found), "reading", "run", enabled=progress) as bar:
        for own in found:
            bar.update()
            if own.monitors:
                records += _of_monitor(own)
                continue
            plan, about = read_run_file(own.place)
            if "trial" in about:
                trials[own.root in named].append(shown(own.place))
                if own.root not in named:
                    continue
            if (of_run := _of_run(own, plan, about, chosen)) is None:
                open_ended.append(shown(own.place))
            else:
                records += of_run
    remarks = [*_said_of_open_ended(open_ended), *_said_of_trials(trials[False], trials[True])]
    kept, twice = _without_copies(records)
    if not kept:
        raise ConfigurationError(f"there is no finished training to compare. {' '.join(remarks)}")
    return Found(tuple(kept), chosen, (*remarks, *_said_of_copies(twice)))


def shown(place: Path) -> str:
    """A path as short as it can be from here.

    Example:
        >>> shown(Path.cwd() / "runs" / "a")
        'runs/a'
    """
    try:
        return str(place.relative_to(Path.cwd()))
    except ValueError:
        return str(place)


def _trainings_below(given: str | None, place: str | os.PathLike[str]) -> Iterator[_Place]:
    root = expanded(place)
    if root.is_file():
        if not is_monitor(root):
            raise FolderError(
                f"{str(place)!r} is no log that can be compared; expected a folder of "
                "`hunch train`, or monitor.csv of Stable-Baselines3."
            )
        yield _Place(root, root.parent, given, (root,))
        return
    if not root.is_dir():
        raise FolderError(f"{str(place)!r}: there is no such folder.")
    count = 0
    for folder, below, files in os.walk(root):
        here = Path(folder)
        below[:] = sorted(name for name in below if not name.startswith("."))
        if RUN_FILE in files:
            below.clear()
            count += 1
            yield _Place(here, root, given)
            continue
        for monitors in _monitors_in(here, files):
            count += 1
            yield _Place(monitors[0] if len(monitors) == 1 else here, root, given, monitors)
    if not count:
        raise FolderError(
            f"{str(place)!r} holds no run of `hunch train` ({RUN_FILE}) and no log of "
            "Stable-Baselines3 (monitor.csv) at any depth."
        )


def _monitors_in(folder: Path, files: Sequence[str]) -> Iterator[tuple[Path, ...]]:
    """Those of one training together: `0.monitor.csv`, `1.monitor.csv`, … are its environments."""
    monitors = sorted(folder / name for name in files if is_monitor(folder / name))
    numbered = [file for file in monitors if file.name.partition(".")[0].isdecimal()]
    if numbered:
        yield tuple(numbered)
    yield from ((file,) for file in monitors if file not in numbered)


def _of_monitor(own: _Place) -> list[Record]:
    log = read_monitors(own.monitors)
    if not len(log.returns):
        return []
    below = own.place.relative_to(own.root).parts
    # A folder for each agent, in which there are some for its seeds or environments, names it.
    folders = below[:-1] if own.place.is_file() else below
    agent = folders[0] if len(folders) > 1 else own.root.resolve().name
    agent += " (SB3)"  # no run of hunch with settings that are known
    return [
        Record(
            place=own.place,
            agent=agent,
            settings={},
            environment=log.environment,
            variant={},
            seed=None,
            steps=int(log.ends[-1]),
            score=_last_episodes(log.returns),
            curve=_training_curve(log),
            given=own.given,
        )
    ]


def _training_curve(log: Monitored) -> tuple[Array, Array]:
    return log.ends, running_mean(log.returns, SHOWN_EPISODES)


def _last_episodes(returns: Array) -> float:
    return float(returns[-SHOWN_EPISODES:].mean())


def _of_run(own: _Place, plan: Plan, about: Mapping[str, Any], score: Score) -> list[Record] | None:
    """A record for each replica; None if the run has not come to its end."""
    summary = read_summary(own.place, about)
    if not summary:
        return None
    curves = _curves(own.place, plan, training=score == "training")
    records = []
    with as_written(own.place):
        for r, judged in enumerate(summary["replicas"]):
            records.append(
                Record(
                    place=own.place,
                    agent=str(about.get("recipe", plan.agent)),
                    settings=_settings(plan),
                    environment=_environment(plan, about),
                    variant=_variant(plan, about),
                    seed=int(judged["seed"]),
                    steps=plan.steps,
                    score=_score_of(own.place, judged, curves[r], score),
                    curve=_drawn(curves[r], score),
                    given=own.given,
                    chance=_chance(summary),
                    cut_short=about.get("finished") != COMPLETE,
                )
            )
    return records


def _curves(place: Path, plan: Plan, *, training: bool) -> list[tuple[Array, Array]]:
    """Steps and returns of each replica: of its training episodes, or of its evaluations."""
    log = columns_of_log(place / "logs" / (EPISODES if training else EVALUATIONS))
    name = "return" if training else "mean_return"
    with as_written(place / "logs"):
        none = np.zeros(0)
        steps, replica, returns = (log.get(key, none) for key in ("step", "replica", name))
        return [(steps[replica == r], returns[replica == r]) for r in range(plan.replicas)]


def _drawn(curve: tuple[Array, Array], score: Score) -> tuple[Array, Array]:
    steps, returns = curve
    if score == "training" and len(returns):
        return steps, running_mean(returns, SHOWN_EPISODES)
    return curve


def _score_of(
    place: Path, judged: Mapping[str, Any], curve: tuple[Array, Array], score: Score
) -> float:
    if score in ("evaluations", "training"):
        returns = curve[1]
        if not len(returns):
            missing = "evaluations" if score == "evaluations" else "finished training episodes"
            raise ConfigurationError(
                f"{str(place)!r} has no {missing}, by which it was to be compared; leave the run "
                "out or compare another score."
            )
        if score == "training":
            return _last_episodes(returns)
        return float(returns[-LAST_EVALUATIONS:].mean())
    if judged[score] is None:
        raise ConfigurationError(
            f"{str(place)!r} has no best weights, since it was trained without evaluations; "
            "compare its last ones."
        )
    return float(judged[score]["mean_return"])


def _chance(summary: Mapping[str, Any]) -> float | None:
    found = summary.get("random")
    return None if found is None else float(found["mean_return"])


def _settings(plan: Plan) -> dict[str, Any]:
    return {name: value for name, value in plan.settings.items() if name not in _NO_SETTINGS}


def _environment(plan: Plan, about: Mapping[str, Any]) -> str:
    env = str(about.get("env", plan.settings.get("env")))
    place, colon, name = env.rpartition(":")
    # What is registered goes by its name, whatever module did it.
    return name if colon and not place.endswith(".py") and "-v" in name else env


def _variant(plan: Plan, about: Mapping[str, Any]) -> dict[str, Any]:
    kwargs = plan.settings.get("env_kwargs") or {}
    found = {} if kwargs == GIVEN else dict(kwargs)
    found |= {f"evaluation {k}": v for k, v in plan.evaluation_env_kwargs.items()}
    return found | ({"wrap": about["wrap"]} if about.get("wrap") else {})


def _without_copies(records: Sequence[Record]) -> tuple[list[Record], list[Record]]:
    """Of one training that was made twice the first alone: its seeds are no further evidence."""
    kept: dict[str, Record] = {}
    twice = []
    for record in records:
        # Logs that do not tell their seeds may be of any.
        key = str(record.place) if record.seed is None else record.identity()
        if kept.setdefault(key, record) is not record:
            twice.append(record)
    return list(kept.values()), twice


def _said_of_copies(twice: Sequence[Record]) -> list[str]:
    if not twice:
        return []
    return [
        f"Left out as the same training, seed included, of another folder: "
        f"{_named([shown(own.place) for own in twice])}."
    ]


def _said_of_open_ended(places: Sequence[str]) -> list[str]:
    if not places:
        return []
    return [
        f"Left out as not finished: {_named(places)}; `hunch train --resume` brings a run to its "
        "end."
    ]


def _said_of_trials(left_out: Sequence[str], named: Sequence[str]) -> list[str]:
    """That each trial of a search has settings of its own, and that the best one is the luckiest.

    Args:
        left_out: folders of trials that lie in what was to be compared.
        named: those of trials that were to be compared themselves.
    """
    said = []
    if left_out:
        count = f"{len(left_out)} {'trials' if len(left_out) > 1 else 'trial'}"
        said.append(
            f"Left out: {count} of a search ({_named(left_out)}). Trials are no seeds of one "
            "agent, and the best of many is the luckiest of them: `hunch study status` names it; "
            "train its settings on other seeds, and compare those runs."
        )
    if named:
        said.append(
            f"Trials of a search: {_named(named)}. If one was chosen by its return, that is too "
            "high; runs of its settings on other seeds would say by how much."
        )
    return said


def _named(places: Sequence[str]) -> str:
    places = sorted(set(places))
    more = f" and {len(places) - _FEW} more" if len(places) > _FEW else ""
    return ", ".join(places[:_FEW]) + more
