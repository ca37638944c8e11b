"""What a folder may not do: have a module imported that nobody named.

A Gymnasium id `module:Name` imports its module, and so would an environment that is handed such an
id. Where it stands in a folder, whoever made the folder chose it; a checksum does not help, since
it is his as well.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final

from hunch.errors import FolderError

# Those of hunch that register environments. Others of its modules are programs.
_OURS: Final = ("hunch.envs", "hunch.rl.atari", "hunch.rl.minatar")
_NO_ENVIRONMENT: Final = ("device",)  # of an agent's settings, "cuda:0"


def check_trusted(
    path: str | os.PathLike[str], settings: Mapping[str, Any], *, trust: bool = False
) -> None:
    """Refuse settings read from a folder that would have a module imported.

    A module that this process has imported already is no danger: the user named it.

    Args:
        path: the folder, for the message.
        settings: of an agent, or keyword arguments of its environment, as JSON holds them.
        trust: whether the user said that the folder is to be trusted.

    Raises:
        FolderError: naming the module.

    Example:
        >>> check_trusted("run", {"env": "CartPole-v1", "device": "cuda:0"})
        >>> check_trusted("run", {"env": "theirs:Env-v0"})  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        hunch.errors.FolderError: 'run' names 'theirs:Env-v0', for which the module 'theirs' ...
    """
    if trust:
        return
    for name, value in settings.items():
        for text in _texts(value) if name not in _NO_ENVIRONMENT else ():
            module, colon, _ = text.partition(":")
            if colon and module not in _OURS and module not in sys.modules:
                raise FolderError(
                    f"{str(path)!r} names {text!r}, for which the module {module!r} would be "
                    "imported, and a folder is no reason to run code. If it is yours, import it "
                    f"first (`hunch … --import {module}`); if you trust whoever made the folder, "
                    "say so (`--trust`, or `trust=True` in Python)."
                )


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)
