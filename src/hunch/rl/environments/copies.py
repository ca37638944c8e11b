"""Copies of environments that hold all that was changed in the original.

`copy.deepcopy` builds what inherits Gymnasium's `EzPickle` anew from the arguments of its
constructor, so a gravity that was set afterwards is lost. Here its attributes are copied, as those
of all others. What cannot be copied so, such as a simulator's handle, is built anew and compared
with the original. Such a copy stands nowhere: within a copied or pickled agent it has to be brought
to where the original was.
"""

from __future__ import annotations

import copy
from typing import Any, Final

import gymnasium
from gymnasium import wrappers
from gymnasium.utils import EzPickle
from gymnasium.vector import VectorEnv

from hunch.errors import ConfigurationError, sentence
from hunch.rl.environments.equality import differences, equal_now, parts

Env = gymnasium.Env[Any, Any]

# They open windows, write files or keep images, and are outside of all that an agent sees.
_SHOWING: Final = (wrappers.HumanRendering, wrappers.RecordVideo, wrappers.RenderCollection)


def copy_of(env: Env) -> Env:
    """A copy of an environment, in the same state and set alike.

    Raises:
        ConfigurationError: if it cannot be copied, or not with all that was changed in it.

    Example:
        >>> env = gymnasium.make("CartPole-v1")
        >>> env.unwrapped.gravity = 20.0
        >>> copy_of(env).unwrapped.gravity
        20.0
    """
    made = _copied(env)
    if not equal_now(env, made):
        _check_settings(env, _copied(env))
    return made


def drawing_copy_of(env: Env, mode: str = "rgb_array") -> Env:
    """A copy whose `render()` returns images, if the environment knows how to draw them.

    Args:
        env: the environment, in whatever render mode.
        mode: the render mode of the copy.

    Raises:
        ConfigurationError: as `copy_of`.

    Example:
        >>> drawing_copy_of(gymnasium.make("CartPole-v1")).render_mode
        'rgb_array'
    """
    while isinstance(env, _SHOWING):
        env = env.env
    try:
        made = copy_of(env)
    except ConfigurationError as error:  # an open window, which one made anew has not
        made = _made_anew(env, mode, error)
    base = made.unwrapped
    if base.render_mode != mode and mode in (base.metadata.get("render_modes") or ()):
        base.render_mode = mode
    return made


def copy_into(memo: dict[int, Any], env: Env | VectorEnv[Any, Any, Any]) -> None:
    """Copy an environment as a part of a larger copy.

    Args:
        memo: as `copy.deepcopy` hands it on; it has the copy afterwards.
        env: the environment, or a vector of them.

    Raises:
        ConfigurationError: if it cannot be copied, or not with all that was changed in it.

    Example:
        >>> env, memo = gymnasium.make("CartPole-v1"), {}
        >>> copy_into(memo, env)
        >>> memo[id(env)] is env
        False
    """
    scratch = dict(memo)
    try:
        copied = _attribute_by_attribute(env, scratch)
    except Exception:  # whatever a foreign environment holds
        check_made_anew(env)
        scratch = dict(memo)
        try:
            copied = copy.deepcopy(env, scratch)
        except Exception as error:
            raise ConfigurationError(
                f"`env` {env} cannot be copied with its agent ({sentence(error)}); save the agent "
                "and load it from the folder instead, or give it an environment that can be copied."
            ) from error
    if copied is env:
        raise ConfigurationError(
            f"`env` {env} is its own copy, so that two agents would step it in turns; save the "
            "agent and load it from the folder instead."
        )
    memo.update(scratch)
    memo.setdefault(id(memo), []).append(scratch)  # kept alive, so that nothing else gets its id


def check_made_anew(env: Env | VectorEnv[Any, Any, Any]) -> None:
    """Refuse an environment that a pickle would make anew without all that was changed in it.

    Raises:
        ConfigurationError: naming what was changed.

    Example:
        >>> check_made_anew(gymnasium.make("CartPole-v1"))
    """
    if not is_made_anew(env):
        return
    try:
        made = copy.deepcopy(env)
    except Exception:  # what cannot be copied at all is refused by who copies it
        return
    if not equal_now(env, made):
        _check_settings(env, made)


def is_made_anew(env: object) -> bool:
    """Whether a pickle of the environment, or of one inside it, is a new one that stands nowhere.

    Example:
        >>> is_made_anew(gymnasium.make("CartPole-v1"))
        False
    """
    return any(isinstance(part, EzPickle) for part in parts(env))


def _copied(env: Env) -> Env:
    try:
        made: Env = _attribute_by_attribute(env, {})
        return made
    except Exception:  # whatever a foreign environment holds
        pass
    try:
        return copy.deepcopy(env)
    except Exception as error:
        raise ConfigurationError(
            f"`env` {env} cannot be copied ({sentence(error)}); give the agent its id or a "
            "function that makes it."
        ) from error


def _attribute_by_attribute(env: Any, memo: dict[int, Any]) -> Any:
    for part in reversed(parts(env)):
        if isinstance(part, EzPickle) and not hasattr(part, "__deepcopy__"):
            memo[id(part)] = empty = object.__new__(type(part))
            vars(empty).update(copy.deepcopy(vars(part), memo))
    return copy.deepcopy(env, memo)


def _made_anew(env: Env, mode: str, error: ConfigurationError) -> Env:
    try:
        made, second = (gymnasium.make(env.spec or "", render_mode=mode) for _ in range(2))
    except Exception:  # whatever its registration lacks
        raise error from None
    _check_settings(env, second)
    return made


def _check_settings(env: Any, made: Any) -> None:
    """Refuse an environment that was changed since, in the light of one that is thrown away."""
    names = differences([env], made)
    made.close()
    if names:
        raise ConfigurationError(
            f"`env` {env} can only be copied as its constructor made it, and "
            f"{', '.join(names)} was changed since; give the agent a function that makes it so, "
            "or `evaluate`, `Evaluate` and `record` an environment of their own, `env=…`."
        )
