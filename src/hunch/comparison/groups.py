"""Which records are of one agent, which of one environment, and what both are called."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from hunch.comparison.records import Record

_STEPS: Final = "steps"


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


def group_names(records: Sequence[Record], environments: Sequence[str]) -> list[str]:
    """For each record its group: the name given, or the agent with what tells it from others.

    A setting tells agents of a name apart where it differs within an environment; one that each
    environment has of its own does not. So do the steps that the agents were to make.

    Args:
        records: all that are compared.
        environments: the name of the environment of each.
    """
    settings = [_own(record) for record in records]
    told: dict[str, list[str]] = {}
    for agent in {own.agent for own in records}:
        names: dict[str, None] = {}
        for env in dict.fromkeys(environments):
            within = [
                settings[i]
                for i, own in enumerate(records)
                if own.given is None and own.agent == agent and environments[i] == env
            ]
            names |= dict.fromkeys(_differing(within))
        told[agent] = list(names)
    return [
        own.given if own.given is not None else _with(own.agent, settings[i], told[own.agent])
        for i, own in enumerate(records)
    ]


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
    parts = [f"{key}={_text(values[key])}" for key in told if key in values]
    return " ".join([name, *parts])


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
