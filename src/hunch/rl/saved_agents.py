"""Agents in folders: settings as JSON, tensors as safetensors."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from hunch.errors import FolderError
from hunch.rl.schedules import Linear
from hunch.storage import (
    new_folder,
    open_folder,
    read_json,
    read_tensors,
    versions,
    write_json,
    write_tensors,
)

KIND: Final = "agent"
GIVEN: Final = {"given": "when the agent was made"}  # stands for what JSON cannot hold
SETTINGS_FILE: Final = "agent.json"
STATE_FILE: Final = "state.safetensors"


def write_agent(
    path: str | os.PathLike[str], name: str, settings: Mapping[str, Any], state: dict[str, Tensor]
) -> None:
    """Write an agent's folder, whole or not at all.

    Example:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp() + "/agent"
        >>> write_agent(folder, "DQN", {"seed": 0}, {"w": torch.ones(2)})
        >>> read_agent(folder, "DQN")
        ({'seed': 0}, {'w': tensor([1., 1.])})
    """
    with new_folder(path, KIND) as folder:
        put_agent(folder, name, settings, state)


def put_agent(
    folder: Path, name: str, settings: Mapping[str, Any], state: Mapping[str, Tensor]
) -> None:
    """Write an agent's files into a folder that is being filled; see `write_agent`."""
    write_json(
        folder / SETTINGS_FILE,
        {"agent": name, "settings": dict(settings), "versions": versions()},
    )
    write_tensors(folder / STATE_FILE, state)


def read_agent(
    path: str | os.PathLike[str], name: str | None = None
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Settings and tensors of a folder that `write_agent` wrote; see there for an example.

    Args:
        path: the folder.
        name: the agent's class; None takes any.

    Raises:
        FolderError: if there is no such folder, a file in it is not as it was written, or it is
            another class's.
    """
    folder = open_folder(path, KIND)
    found = read_json(folder / SETTINGS_FILE)
    if name is not None and found["agent"] != name:
        raise FolderError(
            f"{str(path)!r} holds a {found['agent']}; expected a {name}: "
            f"load it with {found['agent']}.load."
        )
    settings = {key: from_json(value) for key, value in found["settings"].items()}
    return settings, read_tensors(folder / STATE_FILE)


def agent_name(path: str | os.PathLike[str]) -> str:
    """The class of the agent in a folder.

    Raises:
        FolderError: as `read_agent`.
    """
    name: str = read_json(open_folder(path, KIND) / SETTINGS_FILE)["agent"]
    return name


def to_json(value: Any) -> Any:
    """An argument as a plain value; `GIVEN` for what has none, or holds anything that has none.

    Example:
        >>> to_json(Linear(1.0, 0.1, steps=100)), to_json((8, 8)), to_json(float("inf"))
        ({'Linear': [1.0, 0.1, 100]}, [8, 8], {'float': 'inf'})
    """
    if isinstance(value, Linear):
        return {"Linear": [to_json(part) for part in (value.start, value.end, value.steps)]}
    if isinstance(value, torch.device):
        return str(value)
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return {"float": str(value)}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        items = [to_json(item) for item in value]
        return GIVEN if GIVEN in items else items
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        entries = {key: to_json(item) for key, item in value.items()}
        return GIVEN if GIVEN in entries.values() else entries
    return GIVEN


def from_json(value: Any) -> Any:
    """What `to_json` was given.

    Example:
        >>> from_json({"Linear": [1.0, 0.1, 100]})
        Linear(start=1.0, end=0.1, steps=100)
    """
    if isinstance(value, dict) and value != GIVEN:
        if set(value) == {"Linear"}:
            return Linear(*value["Linear"])
        if set(value) == {"float"}:
            return float(value["float"])
        return {key: from_json(item) for key, item in value.items()}
    return [from_json(item) for item in value] if isinstance(value, list) else value
