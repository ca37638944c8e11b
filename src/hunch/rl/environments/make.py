"""Environments: opened, checked and reset, each from a seed of its own.

Training episodes start from odd reset seeds and evaluation episodes from even ones, so no agent is
ever evaluated on a start that it was trained on, whatever the seeds of the two.
"""

from __future__ import annotations

import difflib
import importlib
import warnings
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final, TypeAlias

import gymnasium
import numpy as np

from hunch.errors import ConfigurationError, HunchError, MissingDependencyError, sentence
from hunch.rl.environments.copies import copy_of, drawing_copy_of
from hunch.rl.environments.flattening import flat_actions, flat_observations, said
from hunch.rl.environments.registration import register
from hunch.seeding import derive_each

Env: TypeAlias = gymnasium.Env[Any, Any]
EnvLike: TypeAlias = str | Env | Callable[..., Env]

_IMAGES: Final = "rgb_array"
_SEEDS_AT_ONCE: Final = 64  # of resets; one alone would take as long


def make_env(env: EnvLike, env_kwargs: Mapping[str, Any] | None = None) -> Env:
    """Open an environment.

    Args:
        env: a Gymnasium id such as `"CartPole-v1"`, a function that returns an environment, or an
            environment, which is used as it is.
        env_kwargs: keyword arguments for `gymnasium.make` or for the function, such as
            `dict(max_episode_steps=200)`.

    Raises:
        ConfigurationError: if there is no such environment, or it refuses `env_kwargs`.
        MissingDependencyError: if a package that the environment needs is not installed.

    Example:
        >>> make_env("CartPole-v1", dict(max_episode_steps=200)).action_space
        Discrete(2)
    """
    kwargs = dict(env_kwargs or {})
    if isinstance(env, gymnasium.Env):
        if kwargs:
            raise ConfigurationError(
                f"`env_kwargs` got {kwargs!r} for an environment that is already made; "
                "give them where you make it, or pass its id as `env`."
            )
        return env
    if not isinstance(env, str) and not callable(env):
        raise ConfigurationError(
            f"`env` got {env!r}; expected a Gymnasium id, an environment, or a function that "
            "makes one."
        )
    if isinstance(env, str) and ".py:" in env:
        raise ConfigurationError(
            f"`env` got {env!r}, which the `hunch` program takes; expected a Gymnasium id or the "
            f"function itself: import {env.rpartition(':')[2]} from the file and give that."
        )
    try:
        if isinstance(env, str):
            register(env)
            made = gymnasium.make(env, **kwargs)
        else:
            made = env(**kwargs)
    except gymnasium.error.UnregisteredEnv as error:
        raise ConfigurationError(
            f"`env` got {env!r}, which Gymnasium does not know; {_nearest(env)} "
            "`gymnasium.pprint_registry()` lists all ids."
        ) from error
    except gymnasium.error.DependencyNotInstalled as error:
        raise MissingDependencyError(f"`env` {env!r} needs a package: {error}") from error
    except HunchError:
        raise
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"`env` {env!r} cannot be made: {sentence(error)} A module is found if it is "
            "installed, or beside the script that runs; by the `hunch` program also in the folder "
            "that it is started in."
        ) from error
    except Exception as error:  # whatever foreign code says of its arguments, or lacks here
        raise ConfigurationError(
            f"`env` {env!r} cannot be made with env_kwargs={kwargs!r}: {sentence(error)}"
        ) from error
    if not isinstance(made, gymnasium.Env):
        raise ConfigurationError(
            f"`env` made {made!r}; expected a gymnasium.Env, from which its class has to derive."
        )
    return made


def _nearest(env: object) -> str:
    """The registered ids that look most like one that is none."""
    wanted = str(env).rpartition(":")[2]
    importlib.import_module("hunch.envs")  # so that ours are among them
    ids = {env_id.lower(): env_id for env_id in gymnasium.registry if ":" not in env_id}
    close = difflib.get_close_matches(wanted.lower(), ids, n=3, cutoff=0.5)
    if not close:  # `deepsea` is no close match of `hunch/deepsea-v0`
        bare = {name.rpartition("/")[2].partition("-v")[0]: name for name in ids}
        near = difflib.get_close_matches(wanted.rpartition("/")[2].lower(), bare, n=3, cutoff=0.5)
        close = [bare[name] for name in near]
    names = ", ".join(repr(ids[name]) for name in close)
    says = f"the nearest names are {names}." if names else "there is no name like it."
    if "-v" in wanted or "/" in wanted:
        return says
    # It looks like a function of the user's, which has no id.
    return (
        f"{says} A function or class of yours is given itself in Python, as DQN(make_env), and "
        "named file.py:make_env or module:make_env by the `hunch` program."
    )


def another_env(env: EnvLike, env_kwargs: Mapping[str, Any] | None = None) -> Env:
    """Open a second environment like the first, so that the first one's episode is not disturbed.

    Args:
        env: as in `make_env`; an environment is copied, with all that was changed in it.
        env_kwargs: as in `make_env`.

    Raises:
        ConfigurationError: as in `make_env`, and if an environment cannot be copied as it is.

    Example:
        >>> first = make_env("CartPole-v1")
        >>> another_env(first) is first
        False
    """
    made = make_env(env, env_kwargs)
    return copy_of(made) if made is env else made


def rendering_env(env: EnvLike, env_kwargs: Mapping[str, Any] | None = None) -> Env:
    """Open an environment like `env` whose `render()` returns images.

    Args:
        env: as in `make_env`; an environment is copied.
        env_kwargs: as in `make_env`.

    Raises:
        ConfigurationError: as in `make_env`, and if the environment cannot draw.

    Example:
        >>> rendering_env("CartPole-v1").render_mode
        'rgb_array'
    """
    if isinstance(env, gymnasium.Env):
        made = drawing_copy_of(make_env(env, env_kwargs))
    else:
        with warnings.catch_warnings():  # that it does not know the mode is said below
            warnings.simplefilter("ignore", UserWarning)
            try:
                made = make_env(env, {**(env_kwargs or {}), "render_mode": _IMAGES})
            except ConfigurationError as error:
                cause = error.__cause__
                if not isinstance(cause, TypeError) or "'render_mode'" not in str(cause):
                    raise
                raise ConfigurationError(
                    f"`env` {env!r} takes no `render_mode`, so that it cannot be told to draw; "
                    "expected a constructor or function with the argument render_mode=None, which "
                    "the environment keeps as self.render_mode."
                ) from error
    if made.render_mode != _IMAGES:
        raise ConfigurationError(
            f"`env` {made} has render_mode={made.render_mode!r}; expected {_IMAGES!r}: "
            "let its constructor keep the render_mode that it is given, or give its id."
        )
    return made


def spaces_of(env: Env) -> tuple[gymnasium.Space[Any], gymnasium.Space[Any]]:
    """The spaces of observations and actions.

    Raises:
        ConfigurationError: if one is missing, or is none of Gymnasium's.

    Example:
        >>> spaces_of(make_env("CartPole-v1"))[1]
        Discrete(2)
    """
    found = []
    for name in ("observation_space", "action_space"):
        space = getattr(env, name, None)
        if not isinstance(space, gymnasium.Space):
            has = "no" if space is None else f"{space!r} of {type(space).__module__} as"
            raise ConfigurationError(
                f"`env` has {has} {name}; expected one of gymnasium.spaces, set in its __init__."
            )
        found.append(space)
    return found[0], found[1]


def check_spaces(
    env: Env, *, continuous: bool = False
) -> tuple[gymnasium.spaces.Box, gymnasium.spaces.Discrete | gymnasium.spaces.Box]:
    """The spaces of an environment as an agent sees them, if it can handle them.

    Args:
        env: the environment.
        continuous: whether the agent handles actions of a `Box` as well as a finite set of them.

    Returns:
        A `Box` of observations, of one axis where the environment's own are anything else than a
        `Box` with axes; and the actions, a `Discrete` of all combinations where the environment's
        own are `MultiDiscrete` or `MultiBinary`. See `hunch.rl.environments.flattening`.

    Raises:
        ConfigurationError: if no vector can be made of observations or they hold no number, or
            actions are none that the agent handles.

    Example:
        >>> observations, actions = check_spaces(make_env("CartPole-v1"))
        >>> observations.shape, int(actions.n)
        ((4,), 2)
        >>> check_spaces(make_env("FrozenLake-v1"))[0]
        Box(0, 1, (16,), int8)
    """
    observations: Any
    actions: Any
    observations, actions = spaces_of(env)
    if (flat := flat_observations(observations)) is not None:
        observations = flat.space
    if 0 in observations.shape:
        raise ConfigurationError(
            f"`env` has observations {observations} of shape {observations.shape}; expected at "
            "least one number: let it observe a constant."
        )
    if (combined := flat_actions(actions)) is not None:
        actions = combined.space
    if isinstance(actions, gymnasium.spaces.Discrete):
        return observations, actions
    if not continuous:
        raise ConfigurationError(
            f"`env` has actions {said(actions)}; expected Discrete, MultiDiscrete or MultiBinary, "
            "a finite set: this agent compares the values of all actions; A2C and Reinforce "
            "(`a2c`, `reinforce`) take a Box."
        )
    if not isinstance(actions, gymnasium.spaces.Box) or 0 in actions.shape:
        raise ConfigurationError(
            f"`env` has actions {said(actions)}; expected Discrete, MultiDiscrete or MultiBinary, "
            "a finite set, or a Box of one axis."
        )
    return observations, actions


def training_reset_seed(seed: int, episode: int) -> int:
    """The seed, always odd, that resets training episode `episode`.

    Example:
        >>> training_reset_seed(0, 1) % 2
        1
    """
    return _reset_seed(seed, "training episode", episode) + 1


def evaluation_reset_seed(seed: int, episode: int) -> int:
    """The seed, always even, that resets evaluation episode `episode`.

    Example:
        >>> evaluation_reset_seed(0, 1) % 2
        0
    """
    return _reset_seed(seed, "evaluation episode", episode)


def _reset_seed(seed: int, purpose: str, episode: int) -> int:
    block, place = divmod(episode, _SEEDS_AT_ONCE)
    return _reset_seeds(seed, purpose, block)[place]


@lru_cache(maxsize=1024)
def _reset_seeds(seed: int, purpose: str, block: int) -> list[int]:
    last = range(block * _SEEDS_AT_ONCE, (block + 1) * _SEEDS_AT_ONCE)
    # Some environments take no more than 31 bits.
    return [2 * (each % 2**30) for each in derive_each(seed, purpose, last=last).tolist()]


def stored_dtype(space: gymnasium.spaces.Box) -> type[np.generic]:
    """The type in which observations are kept: floating ones in single precision, others as given.

    Example:
        >>> stored_dtype(gymnasium.spaces.Box(0, 255, (2,), np.uint8)).__name__
        'uint8'
    """
    return np.float32 if np.issubdtype(space.dtype, np.floating) else space.dtype.type


def frame_stack_of(env: object) -> int:
    """How many images an environment stacks into one observation, 1 if it is not known to.

    Only `gymnasium.wrappers.FrameStackObservation` that begins with repeats of the first image is
    known, and only outside all wrappers that change observations.

    Example:
        >>> frame_stack_of(make_env("CartPole-v1"))
        1
    """
    from gymnasium.wrappers import FrameStackObservation, TransformObservation

    while isinstance(env, gymnasium.Wrapper):
        if isinstance(env, FrameStackObservation):
            return int(env.stack_size) if env.padding_type == "reset" else 1
        if isinstance(env, TransformObservation | gymnasium.ObservationWrapper):
            return 1
        env = env.env
    return 1
