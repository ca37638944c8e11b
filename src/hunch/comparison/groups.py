"""Which records are of one agent, which of one environment, and what both are called."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from hunch.comparison.records import Record
from hunch.rl.runs.plan import shown_setting

_STEPS: Final = "steps"
_MOST: Final = 4  # settings in a name
_MOST_PARTS: Final = 10_000  # sets of environments that groups may share


def environment_names(records: Sequence[Record]) -> list[str]:
    """For each record its environment, with those arguments that tell it from others of the name.

    Args:
        records: all that are compared.
    """
    told = {
        name: _differing([own.variant for own in records if own.environment == name])
        for name in {own.environment for own in records}
    }
    return [_with(own.environment, own.variant, told[own.environment]) for own in records]


def group_names(
    records: Sequence[Record], environments: Sequence[str]
) -> tuple[list[str], list[str]]:
    """For each record its group: the name given, or the agent with what tells it from others.

    A setting tells agents of a name apart where it differs within an environment; one that each
    environment has of its own does not. So do the steps that the agents were to make. Where more
    than a few settings do, groups have a number.

    Args:
        records: all that are compared.
        environments: the name of the environment of each.

    Returns:
        The groups, and sentences on those that have a number.
    """
    names = [own.given if own.given is not None else own.agent for own in records]
    said = []
    for agent in dict.fromkeys(own.agent for own in records if own.given is None):
        own = [i for i, one in enumerate(records) if one.given is None and one.agent == agent]
        settings = {i: _own(records[i]) for i in own}
        told: dict[str, None] = {}
        for env in dict.fromkeys(environments[i] for i in own):
            told |= dict.fromkeys(_differing([settings[i] for i in own if environments[i] == env]))
        found = {i: {name: settings[i].get(name) for name in told} for i in own}
        if len(told) <= _MOST:
            names = [_with(agent, found[i], told) if i in found else n for i, n in enumerate(names)]
            continue
        number: dict[str, int] = {}
        for i in own:
            number.setdefault(json.dumps(found[i], sort_keys=True), len(number) + 1)
            names[i] = f"{agent} #{number[json.dumps(found[i], sort_keys=True)]}"
        said.append(
            f"{agent} #1 to #{len(number)} differ in {', '.join(told)}; to give names to folders, "
            "put NAME= before them."
        )
    return names, said


def largest_part(environments: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """The groups that have most in common: groups times environments, and of equals more groups.

    Args:
        environments: those that each group has.

    Returns:
        At least two groups that share an environment; none if no two do.

    Example:
        >>> largest_part({"a": ["x", "y"], "b": ["y", "x"], "c": ["z"]})
        ('a', 'b')
    """
    own = {name: frozenset(envs) for name, envs in environments.items()}
    shared: dict[frozenset[str], None] = {}
    for envs in own.values():
        # What any groups so far share, and this one has too.
        new = dict.fromkeys([envs, *(known & envs for known in shared)])
        shared |= {part: None for part in new if part}
        if len(shared) > _MOST_PARTS:  # beyond that the largest seen so far will do
            break
    best: tuple[str, ...] = ()
    size = (0, 0)
    for part in shared:
        who = tuple(name for name, envs in own.items() if part <= envs)
        if len(who) > 1 and (len(who) * len(part), len(who)) > size:
            best, size = who, (len(who) * len(part), len(who))
    return best


def mixed_settings(records: Sequence[Record], groups: Sequence[str]) -> dict[str, list[str]]:
    """Groups whose members differ in more than seed, environment and steps, and in what.

    Args:
        records: all that are compared.
        groups: the group of each.
    """
    found: dict[str, list[str]] = {}
    for group in dict.fromkeys(groups):
        own = [record for record, name in zip(records, groups, strict=True) if name == group]
        found[group] = _differing([{"agent": record.agent, **record.settings} for record in own])
    return {group: names for group, names in found.items() if names}


def _own(record: Record) -> dict[str, Any]:
    """What may tell an agent from others of its name; a log that knows no plan has nothing."""
    if record.seed is None:
        return {}
    return {**record.settings, _STEPS: record.steps}


def _differing(values: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names that do not have the same value in all of them; to be absent is a value of its own."""
    names = dict.fromkeys(name for own in values for name in own)
    return [name for name in names if len({_text(own.get(name)) for own in values}) > 1]


def _with(name: str, values: Mapping[str, Any], told: Iterable[str]) -> str:
    parts = [f"{key}={shown_setting(values[key])}" for key in told if key in values]
    return " ".join([name, *parts])


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
