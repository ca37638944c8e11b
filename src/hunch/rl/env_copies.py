"""Environments in copies and pickles of an agent.

Most environments are plain Python objects, whose copy stands where they stand. Those that wrap a
simulator say how they are made anew instead (`gymnasium.utils.EzPickle`): MuJoCo's, Box2D's and
Atari's do. Such a copy stands nowhere, so it has to be brought to where the original was.
"""

from __future__ import annotations

import copy
from typing import Any, TypeVar

import gymnasium
from gymnasium.utils import EzPickle
from gymnasium.vector import VectorEnv

from hunch.errors import ConfigurationError

AnyEnv = TypeVar("AnyEnv", bound="gymnasium.Env[Any, Any] | VectorEnv[Any, Any, Any]")


def copied_env(env: AnyEnv, memo: dict[int, Any]) -> AnyEnv:
    """The copy of an environment within a larger copy.

    Args:
        env: the environment, or a vector of them.
        memo: as `copy.deepcopy` hands it on.

    Raises:
        ConfigurationError: if there can be none.

    Example:
        >>> first = gymnasium.make("CartPole-v1")
        >>> copied_env(first, {}) is first
        False
    """
    try:
        copied = copy.deepcopy(env, memo)
    except Exception as error:  # whatever a foreign environment holds
        raise ConfigurationError(
            f"`env` {env} cannot be copied with its agent ({_line(error)}); save the agent and "
            "load it from the folder instead, or give it an environment that can be copied."
        ) from error
    if copied is env:
        raise ConfigurationError(
            f"`env` {env} is its own copy, so that two agents would step it in turns; save the "
            "agent and load it from the folder instead."
        )
    return copied


def is_made_anew(env: object) -> bool:
    """Whether a copy of the environment, or of one inside it, is a new one that stands nowhere.

    Example:
        >>> is_made_anew(gymnasium.make("CartPole-v1"))
        False
    """
    if isinstance(env, EzPickle):
        return True
    inside = [getattr(env, "env", None), *(getattr(env, "envs", None) or ())]
    return any(is_made_anew(one) for one in inside if isinstance(one, gymnasium.Env | VectorEnv))


def _line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
