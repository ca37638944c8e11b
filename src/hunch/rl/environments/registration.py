"""Ids that Gymnasium does not know by itself: ours, Atari's and MinAtar's, which are extras."""

from __future__ import annotations

import importlib
from typing import Final

import gymnasium

from hunch.errors import ConfigurationError, MissingDependencyError

INSTALL_ATARI: Final = 'Atari games need ale-py and OpenCV: pip install "torch-hunch[atari]".'
INSTALL_MINATAR: Final = 'MinAtar games need MinAtar: pip install "torch-hunch[minatar]".'


def register(env_id: str) -> None:
    """Import what registers an id, if it is ours, one of Atari's or one of MinAtar's.

    Raises:
        ConfigurationError: if the id has several colons.
        MissingDependencyError: if Atari's or MinAtar's games are not installed.

    Example:
        >>> register("hunch/DeepSea-v0")
        >>> "hunch/DeepSea-v0" in gymnasium.registry
        True
    """
    if env_id.count(":") > 1:
        raise ConfigurationError(
            f"`env` got {env_id!r}; expected a Gymnasium id, or module:id with one colon."
        )
    if env_id.startswith("hunch/"):
        importlib.import_module("hunch.envs")
    elif env_id.startswith("ALE/"):
        register_atari()
    elif env_id.startswith("MinAtar/"):
        register_minatar()


def register_atari() -> None:
    """Make Gymnasium know the ids `ALE/…`.

    Raises:
        MissingDependencyError: if ale-py is not installed.
    """
    try:
        ale_py = importlib.import_module("ale_py")
    except ImportError as error:
        raise MissingDependencyError(INSTALL_ATARI) from error
    if not any(name.startswith("ALE/") for name in gymnasium.registry):
        gymnasium.register_envs(ale_py)


def register_minatar() -> None:
    """Make Gymnasium know the ids `MinAtar/…`.

    Raises:
        MissingDependencyError: if MinAtar is not installed.
    """
    try:
        games = importlib.import_module("minatar.gym")
    except ImportError as error:
        raise MissingDependencyError(INSTALL_MINATAR) from error
    if not any(name.startswith("MinAtar/") for name in gymnasium.registry):
        games.register_envs()
