"""The weights of one replica, taken out of an agent's networks and put back."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any, Final

import torch
from torch import Tensor

from hunch.errors import ConfigurationError
from hunch.rl.agents.a2c import A2C
from hunch.rl.agents.agent import Agent
from hunch.rl.agents.bootstrapped_dqn import BootstrappedDQN
from hunch.rl.agents.dqn import DQN
from hunch.rl.agents.pqn import PQN
from hunch.rl.agents.reinforce import Reinforce
from hunch.rl.agents.saving import (
    SETTINGS_FILE,
    agent_values,
    check_nothing_missing,
    from_json,
    origin_of,
)
from hunch.rl.agents.trust import check_trusted
from hunch.storage import (
    as_written,
    expanded,
    new_folder,
    read_tensors,
    recovered,
    versions,
    write_json,
    write_tensors,
)
from hunch.storage.parts import Arrays, state_of

KIND: Final = "weights"
WEIGHTS_FILE: Final = "weights.safetensors"

Weights = dict[str, Tensor]
_OURS: Final = {cls.__name__: cls for cls in (A2C, DQN, BootstrappedDQN, PQN, Reinforce)}


def weights_of(agent: Agent, replica: int) -> Weights:
    """A copy of the weights that one replica acts with, and of its statistics of observations.

    Args:
        agent: an agent with an attribute `network`.
        replica: from 0 to `agent.replicas - 1`.

    Example:
        >>> from hunch.rl import DQN
        >>> agents = DQN("CartPole-v1", replicas=2, hidden_sizes=(8,))
        >>> sorted(shape for shape in (tuple(w.shape) for w in weights_of(agents, 1).values()))
        [(1, 2), (1, 2, 8), (1, 8), (1, 8, 4)]
    """
    state = _acting(agent)
    return {name: _part(value, agent.replicas, replica).clone() for name, value in state.items()}


@torch.no_grad()
def set_weights(agent: Agent, replica: int, weights: Mapping[str, Tensor]) -> None:
    """Let a replica act with weights that `weights_of` gave.

    Raises:
        ConfigurationError: if they are another network's.

    Example:
        >>> from hunch.rl import DQN
        >>> agent, other = (DQN("CartPole-v1", hidden_sizes=(8,), seed=seed) for seed in (0, 1))
        >>> set_weights(agent, 0, weights_of(other, 0))
        >>> agent.predict([0.0, 0.1, 0.2, 0.3]) == other.predict([0.0, 0.1, 0.2, 0.3])
        True
    """
    state = _acting(agent)
    parts = {name: _part(value, agent.replicas, replica) for name, value in state.items()}
    if {k: v.shape for k, v in parts.items()} != {k: v.shape for k, v in weights.items()}:
        raise ConfigurationError(
            "`weights` are those of another network; expected the names and shapes of this "
            f"agent's: {', '.join(sorted(parts)[:4])}, …"
        )
    for name, part in parts.items():
        part.copy_(weights[name])
    if agent.observation_scale is not None:
        agent.observation_scale.refresh()


def write_weights(
    path: str | os.PathLike[str], agent: Agent, weights: Sequence[Weights], notes: object
) -> None:
    """Write the weights of all replicas, and what made the agent, to a folder.

    Args:
        path: the folder; one that this function wrote is replaced.
        agent: where the settings come from.
        weights: those of each replica.
        notes: plain values that say where they are from.

    Example:
        >>> import tempfile
        >>> from hunch.rl import DQN
        >>> agent, path = DQN("CartPole-v1"), tempfile.mkdtemp() + "/best"
        >>> write_weights(path, agent, [weights_of(agent, 0)], notes={"steps": 0})
        >>> read_weights(path).steps
        0
    """
    stacked = {f"{r}.{name}": w for r, own in enumerate(weights) for name, w in own.items()}
    with new_folder(path, KIND) as folder:
        write_json(
            folder / SETTINGS_FILE,
            {
                **origin_of(type(agent)),
                "settings": agent.settings,
                "versions": versions(),
                "notes": notes,
            },
        )
        write_tensors(folder / WEIGHTS_FILE, stacked)


def read_weights(path: str | os.PathLike[str], *, trust: bool = False, **given: Any) -> Agent:
    """An agent that acts with the weights in a folder; it has not learned a step.

    See `write_weights` for an example.

    Args:
        path: the folder.
        trust: as for `Agent.load`.
        given: as for `Agent.load`.

    Raises:
        ConfigurationError: if an argument that is no plain value is missing.
        FolderError: if there is no such folder, a file in it is not as it was written, or it names
            a module that would be imported.
    """
    found = agent_values(path, KIND)
    plain = {**found["settings"], **dict.fromkeys(given)}
    check_trusted(path, plain, trust=trust)
    check_nothing_missing(path, plain, "read_weights")
    folder = recovered(expanded(path))
    tensors = read_tensors(folder / WEIGHTS_FILE)
    # What is given may raise errors of its own.
    with nullcontext() if given else as_written(folder):
        settings = {name: from_json(value) for name, value in plain.items()}
        agent: Agent = class_of(found)(**settings | given)
    with as_written(folder):
        for r in range(agent.replicas):
            own = {k.removeprefix(f"{r}."): v for k, v in tensors.items() if k.startswith(f"{r}.")}
            set_weights(agent, r, own)
    return agent


def agent_class(name: str, module: str | None = None) -> Any:
    """The class of an agent by its name: one of hunch's, or one that was defined in this process.

    Nothing is imported: what a folder names is no reason to run code.

    Args:
        name: the class's name.
        module: the module that defined it, if it is not hunch's; of several classes of one name
            the one of this module is taken, and of those the one defined last.

    Raises:
        ConfigurationError: if there is none.

    Example:
        >>> agent_class("DQN").__name__
        'DQN'
    """
    if module is None and name in _OURS:
        return _OURS[name]
    defined = [cls for cls in _subclasses(Agent) if origin_of(cls).get("module") is not None]
    named = [cls for cls in defined if cls.__name__ == name]
    if not named:
        where = "your own class" if module is None else f"the class in your module {module!r}"
        raise ConfigurationError(
            f"hunch.rl has no agent called {name!r}, and nothing imported so far defines one; "
            f"import {where} first (`hunch … --import MODULE`), or call {name}.load(path)."
        )
    return [*named, *(cls for cls in named if cls.__module__ == module)][-1]


def class_of(found: Mapping[str, Any]) -> Any:
    """The class that a folder's JSON says its agent is of.

    Raises:
        ConfigurationError: as `agent_class`.

    Example:
        >>> class_of({"agent": "DQN", "settings": {}}).__name__
        'DQN'
    """
    return agent_class(found["agent"], found.get("module"))


def _subclasses(cls: type) -> list[type]:
    below: list[type] = cls.__subclasses__()
    return [each for own in below for each in (own, *_subclasses(own))]


def _network_of(agent: Agent) -> Any:
    network = getattr(agent, "network", None)
    if not isinstance(network, torch.nn.Module):
        raise ConfigurationError(
            f"`agent` {type(agent).__name__} has no `network` whose weights could be kept."
        )
    return network


def _acting(agent: Agent) -> dict[str, Tensor]:
    """All tensors that decide how an agent acts, its own and not copies."""
    state: dict[str, Tensor] = dict(_network_of(agent).state_dict())
    if (scale := agent.observation_scale) is not None:
        state |= state_of({"observation scale": Arrays(scale)})
    return state


def _part(value: Tensor, replicas: int, replica: int) -> Tensor:
    """A replica's share of a tensor: replicas, or their members, are stacked on axis 0."""
    if replicas == 1:
        return value
    size = value.shape[0] // replicas
    return value[replica * size : (replica + 1) * size]
