"""An agent, and what its callbacks remember, kept while it learns and resumed."""

from __future__ import annotations

import os
import re
import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

from torch import Tensor

from hunch.errors import FolderError
from hunch.rl.agents.agent import Agent
from hunch.rl.agents.loop import Callback
from hunch.rl.agents.saving import KIND, agent_values, origin_of, put_agent
from hunch.rl.runs.weights import class_of
from hunch.storage import (
    as_written,
    is_of_the_system,
    new_folder,
    read_json,
    read_tensors,
    sweep,
    write_json,
    write_tensors,
)
from hunch.validation import whole_number

CALLBACKS_JSON: Final = "callbacks.json"
CALLBACKS_TENSORS: Final = "callbacks.safetensors"
# Settings that agents of older folders did not have, and how those agents were.
_SINCE: Final = {"fast": True}
_NAME: Final = re.compile(r"step-(\d{12})")


_Whole = tuple[Path, dict[str, Any], dict[str, dict[str, Any]]]


class _ForeignError(FolderError):
    """A checkpoint is whole, and of another run."""


@runtime_checkable
class Remembering(Protocol):
    """A callback with a memory, which a checkpoint keeps."""

    def state_dict(self) -> dict[str, Any]:
        """What it remembers: tensors, and values that JSON can hold."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Remember what `state_dict` gave, and nothing else."""


class Checkpoint:
    """Write the agent, and what other callbacks remember, to a folder from which both go on.

    Each checkpoint is a folder `step-…` that `DQN.load` reads as well. It takes its name when it is
    whole, and only then are older ones deleted.

    Args:
        folder: where the checkpoints go.
        every: environment steps from one to the next.
        keep: how many are kept, at least 1.
        callbacks: others whose memory is kept; give them to `learn` before this one.

    Example:
        >>> import tempfile
        >>> from hunch.rl import DQN
        >>> checkpoint = Checkpoint(tempfile.mkdtemp(), every=100)
        >>> agent = DQN("CartPole-v1").learn(250, callbacks=[checkpoint], progress=False)
        >>> checkpoint.resume().steps  # or None if there is no checkpoint yet
        200
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        every: int = 10_000,
        keep: int = 2,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        self.folder = Path(folder).expanduser().absolute()
        self.every = whole_number("every", every, at_least=1)
        self.keep = whole_number("keep", keep, at_least=1)
        self.others = list(callbacks)

    def __call__(self, agent: Agent) -> None:
        """Write a checkpoint now.

        Raises:
            FolderError: if it cannot be written.
        """
        with new_folder(self.folder / f"step-{agent.steps:012d}", KIND) as folder:
            put_agent(folder, origin_of(type(agent)), agent.settings, agent._state())
            states = {name: c.state_dict() for name, c in self._remembering().items()}
            values, tensors = _split(states)
            write_json(folder / CALLBACKS_JSON, values)
            write_tensors(folder / CALLBACKS_TENSORS, tensors)
        for old in self.all()[: -self.keep]:
            shutil.rmtree(old, ignore_errors=True)

    def all(self) -> list[Path]:
        """The checkpoints there are, oldest first, whole or damaged."""
        if not self.folder.is_dir():
            return []
        return sorted(p for p in self.folder.iterdir() if _NAME.fullmatch(p.name))

    def resume(
        self,
        *,
        settings: Mapping[str, Any] | None = None,
        tell: Callable[[str], None] = warnings.warn,
        **given: Any,
    ) -> Any:
        """The agent of the newest checkpoint that is whole; the callbacks remember what they did.

        A damaged one, or one of another run among this run's, is told of, renamed so that it is in
        nobody's way, and the one before it is taken.

        Args:
            settings: what the agent must have been made with; None takes any.
            tell: called with one sentence for each checkpoint that was not taken.
            given: as for the agent's `load`, `trust` among them.

        Returns:
            The agent, or None if there is no checkpoint.

        Raises:
            FolderError: if checkpoints are whole but none is of these settings, or one may not be
                read. They are left as they are: what is wrong is on the other side.
            DataError: if the environment does not repeat the episode that the agent was in.
        """
        self._sweep()
        taken, refused = self._newest_whole(settings)
        foreign = [error for _, error in refused if isinstance(error, _ForeignError)]
        if taken is None and foreign:
            raise FolderError(
                f"{foreign[0]} No checkpoint in {str(self.folder)!r} fits, so the settings of the "
                "run were changed or damaged, and nothing was touched: put back what they were."
            )
        for place, error in refused:
            aside = _set_aside(place)
            then = "training begins anew" if taken is None else "the checkpoint before it is taken"
            tell(f"{error} Renamed to {aside.name!r}; {then}.")
        if taken is None:
            return None
        place, found, memory = taken
        agent = class_of(found).load(place, **given)
        with as_written(place):
            for name, callback in self._remembering().items():
                callback.load_state_dict(memory[name])
        return agent

    def _newest_whole(
        self, settings: Mapping[str, Any] | None
    ) -> tuple[_Whole | None, list[tuple[Path, FolderError]]]:
        """The newest checkpoint that may be taken, and why those after it may not."""
        refused: list[tuple[Path, FolderError]] = []
        for place in reversed(self.all()):
            try:
                return (place, check_checkpoint(place, settings), self.memory(place)), refused
            except FolderError as error:
                if is_of_the_system(error):
                    raise
                refused.append((place, error))
        return None, refused

    def _sweep(self) -> None:
        """Delete what a kill left of checkpoints that never became whole."""
        sweep(self.folder)
        if self.folder.is_dir():
            for left in self.folder.glob(".step-*"):  # as older versions called them
                shutil.rmtree(left, ignore_errors=True)

    def memory(self, place: Path) -> dict[str, dict[str, Any]]:
        """What the callbacks remember in one checkpoint, by their names.

        Raises:
            FolderError: if it was written with other callbacks, or not by hunch.
        """
        tensors = read_tensors(place / CALLBACKS_TENSORS)
        found = read_json(place / CALLBACKS_JSON)
        with as_written(place / CALLBACKS_JSON):
            values = {name: dict(state) for name, state in found.items()}
            names = self._remembering().keys()
            if names != values.keys():
                raise _ForeignError(
                    f"{str(place)!r} was written with the callbacks {', '.join(values) or 'none'}; "
                    f"expected {', '.join(names) or 'none'}."
                )
            for key, tensor in tensors.items():
                name, _, rest = key.partition(".")
                values[name][rest] = tensor
        return values

    def _remembering(self) -> dict[str, Remembering]:
        return {
            f"{i}-{type(callback).__name__}": callback
            for i, callback in enumerate(self.others)
            if isinstance(callback, Remembering)
        }


def check_checkpoint(place: Path, settings: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What a checkpoint says of its agent, once it is seen to be whole and of this run.

    Args:
        place: the checkpoint's folder.
        settings: what the agent must have been made with; None takes any.

    Raises:
        FolderError: if it is damaged, or another run's.

    Example:
        >>> import tempfile
        >>> from hunch.rl import DQN
        >>> checkpoint = Checkpoint(tempfile.mkdtemp())
        >>> checkpoint(DQN("CartPole-v1"))
        >>> check_checkpoint(checkpoint.all()[0])["agent"]
        'DQN'
    """
    found = agent_values(place)
    if settings is not None and {**_SINCE, **found["settings"]} != {**_SINCE, **settings}:
        raise _ForeignError(f"{str(place)!r} is a checkpoint of another run.")
    return found


def steps_of(place: Path) -> int:
    """The environment steps that a checkpoint was written after, by its name.

    Example:
        >>> steps_of(Path("checkpoints/step-000000001000"))
        1000
    """
    return int(place.name.rpartition("-")[2])


def _split(states: Mapping[str, Mapping[str, Any]]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    values: dict[str, Any] = {name: {} for name in states}
    tensors: dict[str, Tensor] = {}
    for name, state in states.items():
        for key, value in state.items():
            if isinstance(value, Tensor):
                tensors[f"{name}.{key}"] = value
            else:
                values[name][key] = value
    return values, tensors


def _set_aside(place: Path) -> Path:
    aside = place.with_name(f"refused-{place.name}")
    number = 2
    while aside.exists():
        aside = place.with_name(f"refused-{place.name}-{number}")
        number += 1
    place.rename(aside)
    return aside
