"""Agents in folders: settings as JSON, tensors as safetensors."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from hunch.errors import ConfigurationError, FolderError
from hunch.rl.agents.schedules import Linear
from hunch.storage import (
    as_written,
    expanded,
    new_folder,
    open_folder,
    read_json,
    read_tensors,
    recovered,
    versions,
    write_json,
    write_tensors,
)

KIND: Final = "agent"
GIVEN: Final = {"given": "when the agent was made"}  # stands for what JSON cannot hold
SETTINGS_FILE: Final = "agent.json"
STATE_FILE: Final = "state.safetensors"


def write_agent(
    path: str | os.PathLike[str],
    origin: Mapping[str, str],
    settings: Mapping[str, Any],
    state: dict[str, Tensor],
) -> None:
    """Write an agent's folder, whole or not at all.

    Example:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp() + "/agent"
        >>> write_agent(folder, {"agent": "DQN"}, {"seed": 0}, {"w": torch.ones(2)})
        >>> read_agent(folder, {"agent": "DQN"})
        ({'seed': 0}, {'w': tensor([1., 1.])})
    """
    with new_folder(path, KIND) as folder:
        put_agent(folder, origin, settings, state)


def put_agent(
    folder: Path,
    origin: Mapping[str, str],
    settings: Mapping[str, Any],
    state: Mapping[str, Tensor],
) -> None:
    """Write an agent's files into a folder that is being filled; see `write_agent`."""
    write_json(
        folder / SETTINGS_FILE,
        {**origin, "settings": dict(settings), "versions": versions()},
    )
    write_tensors(folder / STATE_FILE, state)


def read_agent(
    path: str | os.PathLike[str], origin: Mapping[str, str]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Settings and tensors of a folder that `write_agent` wrote; see there for an example.

    Args:
        path: the folder.
        origin: that of the agent's class.

    Raises:
        FolderError: if there is no such folder, a file in it is not as it was written, or it is
            another class's.
    """
    found = agent_values(path)
    name, module = found["agent"], found.get("module")
    if name != origin["agent"] or (module is not None and "module" not in origin):
        whose = name if module is None else f"{name} of the module {module!r}"
        raise FolderError(
            f"{str(path)!r} holds a {whose}; expected a {origin['agent']}: "
            f"load it with {name}.load."
        )
    folder = recovered(expanded(path))
    with as_written(folder / SETTINGS_FILE):
        settings = {key: from_json(value) for key, value in found["settings"].items()}
    return settings, read_tensors(folder / STATE_FILE)


def agent_values(path: str | os.PathLike[str], kind: str = KIND) -> dict[str, Any]:
    """What the JSON of an agent's folder says, once the folder is seen to be whole.

    Args:
        path: the folder.
        kind: of the folder.

    Raises:
        FolderError: if there is no such folder, or it is not as hunch writes it.

    Example:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp() + "/agent"
        >>> write_agent(folder, {"agent": "DQN"}, {"seed": 0}, {"w": torch.ones(2)})
        >>> agent_values(folder)["settings"]
        {'seed': 0}
    """
    place = open_folder(path, kind) / SETTINGS_FILE
    found = read_json(place)
    with as_written(place):
        texts = [found["agent"], found.get("module", "")]
        if not all(isinstance(text, str) for text in texts):
            raise TypeError("agent and module are no names")
        if not isinstance(found["settings"], dict):
            raise TypeError("settings are no arguments by name")
    values: dict[str, Any] = found
    return values


def origin_of(agent: type) -> dict[str, str]:
    """What a folder says of an agent's class; of one that is not hunch's, the module too.

    Example:
        >>> from hunch.rl import DQN
        >>> class MyDQN(DQN):
        ...     pass
        >>> origin_of(DQN), origin_of(MyDQN)["agent"]
        ({'agent': 'DQN'}, 'MyDQN')
    """
    name = agent.__name__
    ours = agent.__module__.partition(".")[0] == __name__.partition(".")[0]
    return {"agent": name} if ours else {"agent": name, "module": agent.__module__}


def arguments_of(agent: type, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments by name that a constructor gets in a call, with its own defaults.

    Those that a subclass hands on (`*args`, `**kwargs`) have the names that the class behind it
    gives them. There are none if nothing can be constructed so.

    Example:
        >>> class Parent:
        ...     def __init__(self, env, *, seed=0): ...
        >>> class Child(Parent):
        ...     def __init__(self, *args, bonus=1.0, **kwargs): ...
        >>> arguments_of(Child, ["CartPole-v1"], {"seed": 3})
        {'env': 'CartPole-v1', 'bonus': 1.0, 'seed': 3}
    """
    constructors = [cls.__init__ for cls in agent.__mro__ if "__init__" in vars(cls)]  # type: ignore[misc]
    signature = inspect.signature(constructors[0])
    try:
        bound = signature.bind(None, *args, **kwargs)
    except TypeError:
        return {}
    bound.apply_defaults()
    found: dict[str, Any] = {}
    for name, value in list(bound.arguments.items())[1:]:
        kind = signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_KEYWORD:
            found |= value
        elif kind is not inspect.Parameter.VAR_POSITIONAL:
            found[name] = value
        elif value:
            found |= zip(_named_places(constructors[1:]), value, strict=False)
    return found


def _named_places(constructors: Sequence[Callable[..., None]]) -> list[str]:
    """The names of the first constructor's arguments by position that are not handed on further."""
    for constructor in constructors:
        parameters = list(inspect.signature(constructor).parameters.values())[1:]
        if not any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters):
            return [p.name for p in parameters]
    return []


def check_state(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> None:
    """Refuse the state of an agent of other settings, where that can be seen.

    Args:
        own: the agent's own state.
        given: another state.

    Raises:
        ConfigurationError: if observations or number of environments are others, or naming a
            tensor that differs in more than its length.

    Example:
        >>> seen = {"loop.observation": torch.zeros(1, 4)}
        >>> check_state(
        ...     {"agent.w": torch.ones(2, 3), **seen}, {"agent.w": torch.ones(5, 3), **seen}
        ... )
    """
    saved, seen = given["loop.observation"], own["loop.observation"]
    if saved.shape != seen.shape or saved.dtype != seen.dtype:
        types = [str(x.dtype).removeprefix("torch.") for x in (saved, seen)]
        described = [
            f"observations {tuple(x.shape[1:])} of {dtype} from {len(x)} environments"
            for x, dtype in zip((saved, seen), types, strict=True)
        ]
        raise ConfigurationError(
            f"the state is that of an agent with other settings: it has {described[0]}; expected "
            f"{described[1]}. Give the agent the `env` that the state was saved with."
        )
    for name in sorted(own.keys() | given.keys()):
        if not name.startswith("agent.") or any(part in name for part in _COME_AND_GO):
            continue
        kinds = [
            None if name not in state else (state[name].dtype, tuple(state[name].shape[1:]))
            for state in (own, given)
        ]
        whole = ".online." in name or ".target." in name or ".network." in name
        same = kinds[0] == kinds[1] and not (whole and own[name].shape != given[name].shape)
        if not same:
            raise ConfigurationError(
                f"the state is that of an agent with other settings: {name!r} is "
                f"{_described(given.get(name))}; expected {_described(own.get(name))}."
            )


# There is nothing of them at times, or was not in older states.
_COME_AND_GO: Final = (".finals.", ".rollout.", ".range.")


def _described(tensor: Tensor | None) -> str:
    return "missing" if tensor is None else f"{tensor.dtype} of shape {tuple(tensor.shape)}"


def agent_origin(path: str | os.PathLike[str]) -> dict[str, str]:
    """What a folder says of the class of its agent, as `origin_of` does.

    Raises:
        FolderError: as `read_agent`.
    """
    found = agent_values(path)
    return {key: found[key] for key in ("agent", "module") if key in found}


def check_nothing_missing(
    path: str | os.PathLike[str], settings: Mapping[str, Any], load: str
) -> None:
    """Refuse to make an agent without the arguments that no file holds.

    Args:
        path: the folder that the settings are from.
        settings: as it has them, with what was given in the places of its own.
        load: what was called.

    Raises:
        ConfigurationError: naming them.

    Example:
        >>> check_nothing_missing("run", {"seed": 0}, "DQN.load")
    """
    if missing := [name for name, value in settings.items() if value == GIVEN]:
        names = ", ".join(f"`{name}`" for name in missing)
        raise ConfigurationError(
            f"{str(path)!r} was saved with {names} that cannot be written to a file; expected "
            f"{load}(path, {', '.join(f'{name}=…' for name in missing)})."
        )


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
