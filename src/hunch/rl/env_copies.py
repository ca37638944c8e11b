"""Copies of environments that hold all that was changed in the original.

`copy.deepcopy` builds what inherits Gymnasium's `EzPickle` anew from the arguments of its
constructor, so a gravity that was set afterwards is lost. Here its attributes are copied, as those
of all others. What cannot be copied so, such as a simulator's handle, is built anew and compared
with the original.
"""

from __future__ import annotations

import copy
from typing import Any, Final

import gymnasium
from gymnasium import wrappers
from gymnasium.utils import EzPickle

from hunch.errors import ConfigurationError
from hunch.rl.arguments import sentence
from hunch.rl.likeness import differences, equal_now, parts

Env = gymnasium.Env[Any, Any]

# They open windows, write files or keep pictures, and are outside of all that an agent sees.
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
    """A copy whose `render()` returns pictures, if the environment knows how to draw them.

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


def _copied(env: Env) -> Env:
    try:
        return _attribute_by_attribute(env)
    except Exception:  # whatever a foreign environment holds
        pass
    try:
        return copy.deepcopy(env)
    except Exception as error:
        raise ConfigurationError(
            f"`env` {env} cannot be copied ({sentence(error)}); give the agent its id or a "
            "function that makes it."
        ) from error


def _attribute_by_attribute(env: Env) -> Env:
    memo: dict[int, Any] = {}
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


def _check_settings(env: Env, made: Env) -> None:
    """Refuse an environment that was changed since, in the light of one that is thrown away."""
    names = differences([env], made)
    made.close()
    if names:
        raise ConfigurationError(
            f"`env` {env} can only be copied as its constructor made it, and "
            f"{', '.join(names)} was changed since; give the agent a function that makes it so, "
            "or `evaluate`, `Evaluate` and `record` an environment of their own, `env=…`."
        )
