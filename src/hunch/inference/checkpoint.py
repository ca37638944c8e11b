"""What a training goes on from after its process was killed: how far each part of it was.

A folder holds some members at one step, and bears both in its name, so ranks write without waiting
for each other. A step counts once all members are there, by however many ranks.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from hunch.errors import ConfigurationError
from hunch.inference.together import Together
from hunch.nn.ranks import Share
from hunch.storage import (
    check_writable,
    expanded,
    new_folder,
    open_folder,
    read_json,
    read_tensors,
    sweep,
    write_tensors,
)
from hunch.storage.parts import under

_NAME: Final = re.compile(r"step-(\d{12})\.members-(\d+)-(\d+)")
_KIND: Final = "fit"
_TENSORS, _VALUES = "state.safetensors", "state.json"
_SHOWN = 3  # settings that a message names


class Checkpoint:
    """The folders of one training.

    Args:
        folder: where they are.
        settings: what the training was asked for, in values that JSON can hold.
        together: its parts.
        total: members of the whole ensemble.
        share: this process's part of them, or None for all.

    Raises:
        FolderError: if the folder cannot be written.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        settings: Mapping[str, Any],
        together: Together,
        total: int,
        share: Share | None,
    ) -> None:
        self.folder, self.settings = expanded(folder), json.loads(json.dumps(settings))
        self.together, self.total, self.share = together, total, share
        self.members = range(total) if share is None else share.members
        self.began = {str(p.numbers.start): _digest(p.tensors) for p in together.parts}
        check_writable(self.folder / "step")

    def resume(self) -> tuple[int, bool]:
        """Put all parts where they stood last.

        Returns:
            How many steps are done, 0 if nothing was kept, and whether training had ended early.

        Raises:
            ConfigurationError: if what is kept is of another training.
            FolderError: if one is damaged.
        """
        step = self._newest()
        if step < 0:
            return 0, False
        kept, values = self._read(step)
        self._check(values, step)
        steps = self.together.steps
        if step > steps:
            raise ConfigurationError(
                f"`steps` got {steps}, but {str(self.folder)!r} holds {step} of this training; "
                "expected at least as many, or another folder."
            )
        over = bool(values["over"])
        if over or step == steps:
            self._check_beginning(values)
        stopping = self.together.stopping
        for part in self.together.parts:
            tensors, own = kept[part.numbers.start]
            part.recall((tensors, own), step)
            if stopping is not None and (number := sum(n.startswith("best.") for n in tensors)):
                stopping.best += [tensors[f"best.{i}"] for i in range(number)]
        if stopping is not None:
            stopping.losses = list(values["losses"])
        return step, over

    def write(self, done: int, *, over: bool) -> None:
        """Write this process's members as they are now, and remove what nobody needs any more.

        Args:
            done: steps that are done.
            over: whether no more are to be made.

        Raises:
            FolderError: if the disk is full.
        """
        tensors: dict[str, Tensor] = {}
        own: dict[str, Any] = {}
        stopping, first = self.together.stopping, 0
        for part in self.together.parts:
            begin = part.numbers.start
            found, own[str(begin)] = part.memory(done)
            if stopping is not None and stopping.best:
                last = first + len(part.changing)
                found |= {f"best.{i}": t for i, t in enumerate(stopping.best[first:last])}
                first = last
            tensors |= {f"{begin}.{name}": tensor for name, tensor in found.items()}
        values = {
            "settings": self.settings,
            "began": self.began,
            "over": over,
            "losses": [] if stopping is None else stopping.losses,
            "parts": own,
        }
        name = f"step-{done:012d}.members-{self.members.start}-{self.members.stop}"
        with new_folder(self.folder / name, _KIND) as place:
            write_tensors(place / _TENSORS, tensors)
            (place / _VALUES).write_text(json.dumps(values))  # with infinities, as losses may be
        newest = self._newest_whole()
        for step, _, old in self._kept():
            if step < newest:
                shutil.rmtree(old, ignore_errors=True)

    def _kept(self) -> Iterator[tuple[int, range, Path]]:
        names = sorted(self.folder.iterdir()) if self.folder.is_dir() else []
        for place in names:
            if found := _NAME.fullmatch(place.name):
                step, first, last = map(int, found.groups())
                yield step, range(first, last), place

    def _newest_whole(self) -> int:
        """The last step of which all members are kept; -1 if there is none."""
        known: dict[int, set[int]] = {}
        for step, members, _ in self._kept():
            known.setdefault(step, set()).update(members)
        whole = [step for step, members in known.items() if members >= set(range(self.total))]
        return max(whole, default=-1)

    def _newest(self) -> int:
        """The step from which all processes go on."""
        sweep(self.folder)
        newest = torch.tensor([self._newest_whole()])
        if self.share is not None:
            newest = self.share.reduced(newest, "min")
        return int(newest)

    def _read(self, step: int) -> tuple[dict[int, tuple[dict[str, Tensor], Any]], dict[str, Any]]:
        """What is known of each part at a step, by its first member, and of all of them."""
        kept: dict[int, tuple[dict[str, Tensor], Any]] = {}
        wanted = {part.numbers.start for part in self.together.parts}
        values: dict[str, Any] = {}
        began: dict[str, str] = {}
        for number, members, place in self._kept():
            if number != step or not wanted.intersection(members):
                continue
            whole = open_folder(place, _KIND)
            tensors, values = read_tensors(whole / _TENSORS), read_json(whole / _VALUES)
            began |= values["began"]
            for first, own in values["parts"].items():
                kept[int(first)] = under(f"{first}.", tensors), own
        if not wanted <= kept.keys():
            raise ConfigurationError(
                f"{str(self.folder)!r} holds members in other blocks than these; expected the "
                "same `Ranks(block=…)`, or another folder."
            )
        return kept, values | {"began": began}

    def _check(self, values: Mapping[str, Any], step: int) -> None:
        """Refuse what is kept of another training."""
        before = values["settings"]
        names = [n for n, value in self.settings.items() if before.get(n, value) != value]
        if names:
            each = [f"{n} was {before[n]!r} and is {self.settings[n]!r}" for n in names[:_SHOWN]]
            raise ConfigurationError(
                f"`checkpoint` {str(self.folder)!r} holds {step} steps of another training: "
                f"{', '.join(each)}; expected another folder, or what it was."
            )

    def _check_beginning(self, values: Mapping[str, Any]) -> None:
        """Refuse to take a training that has ended for one of another network."""
        if any(values["began"].get(first) not in (None, d) for first, d in self.began.items()):
            raise ConfigurationError(
                f"`checkpoint` {str(self.folder)!r} holds a training that has ended, of a network "
                "that began with other values; expected another folder for another training, or "
                "an ensemble made with a `seed`."
            )


def fingerprint(*values: Any) -> str:
    """What tells data apart: of tensors and arrays by all their bits, of others by their type.

    Example:
        >>> fingerprint(torch.zeros(3)) == fingerprint(torch.zeros(3).numpy())
        True
        >>> fingerprint(torch.zeros(3)) == fingerprint(torch.ones(3))
        False
    """
    found = hashlib.blake2b(digest_size=8)
    for value in values:
        if isinstance(value, tuple | list) and value:
            found.update(fingerprint(*value).encode())
        elif isinstance(value, Tensor) or hasattr(value, "__array__"):
            array = torch.as_tensor(value).detach().cpu().contiguous().numpy()
            found.update(f"{array.dtype} {array.shape}".encode())
            found.update(np.ascontiguousarray(array).tobytes())
        else:
            found.update(type(value).__name__.encode())
    return found.hexdigest()


def _digest(tensors: Mapping[str, Tensor]) -> str:
    found = hashlib.blake2b(digest_size=16)
    for name in sorted(tensors):
        own = tensors[name].detach().cpu().contiguous()
        found.update(f"{name} {own.dtype} {tuple(own.shape)}".encode())
        found.update(own.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def named(value: Any) -> Any:
    """A setting as JSON can hold it; a function by its name.

    Example:
        >>> named(0.5), named(named), named([0.1, 0.2])
        (0.5, 'named', [0.1, 0.2])
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Tensor | np.ndarray):
        return value.tolist()
    if isinstance(value, Sequence):
        return [named(each) for each in value]
    return getattr(value, "__qualname__", type(value).__name__)
