"""The environments of an agent and of its replicas, opened and checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from gymnasium.vector import VectorEnv

from hunch.errors import ConfigurationError
from hunch.rl.environments.classic_control import ClassicEnvs, motion_of
from hunch.rl.environments.make import EnvLike, another_env, check_spaces, make_env
from hunch.rl.environments.origins import check_distinct
from hunch.rl.environments.vector import ParallelEnvs, SingleEnvs, VectorEnvs

# From here on a batch of classic control takes less time than its environments one by one.
_MANY: Final = 8
_MOST_ENVS: Final = 2**16  # more would take minutes to open and as long for each round of steps


def open_envs(
    env: EnvLike | VectorEnv[Any, Any, Any],
    env_kwargs: Mapping[str, Any],
    *,
    num_envs: int,
    replicas: int,
    seed: int,
    continuous: bool,
) -> tuple[ParallelEnvs, Any]:
    """All environments, and what has the spaces of one of them.

    Args:
        env: what the user gave.
        env_kwargs: keyword arguments for it.
        num_envs: environments of each replica.
        replicas: agents that live side by side.
        seed: of the first replica.
        continuous: whether actions may be a `Box`.

    Raises:
        ConfigurationError: if they cannot be opened, are the same object, or have spaces that an
            agent cannot handle.

    Example:
        >>> envs, first = open_envs(
        ...     "CartPole-v1", {}, num_envs=2, replicas=3, seed=0, continuous=False
        ... )
        >>> envs.num_envs, first.action_space
        (6, Discrete(2))
    """
    if isinstance(env, VectorEnv):
        if replicas > 1 or num_envs not in (1, env.num_envs) or env_kwargs:
            raise ConfigurationError(
                "`env` is a vector environment that is already made; expected neither "
                "`replicas`, `num_envs` nor `env_kwargs` beside it. Give its id to have "
                "several environments made."
            )
        check_distinct(getattr(env.unwrapped, "envs", ()))
        return VectorEnvs(env, seed), _Spaces(env)
    count = num_envs * replicas
    if count > _MOST_ENVS:
        raise ConfigurationError(
            f"`num_envs` got {num_envs} for `replicas`={replicas}; expected at most "
            f"{_MOST_ENVS:,} environments in all: each one is opened and stepped by itself."
        )
    first = make_env(env, env_kwargs)
    check_spaces(first, continuous=continuous)  # before more of them are opened
    made = [first, *(another_env(env, env_kwargs) for _ in range(count - 1))]
    check_distinct(made)
    seeds = [seed + r for r in range(replicas) for _ in range(num_envs)]
    offsets = np.tile(np.arange(num_envs), replicas).tolist()
    if count >= _MANY and isinstance(env, str) and (motion := motion_of(first)) is not None:
        return ClassicEnvs(*motion, made, seeds, offsets, stride=num_envs), first
    return SingleEnvs(made, seeds, offsets, stride=num_envs), first


class _Spaces:
    """The spaces of one of the environments of a vector environment."""

    def __init__(self, envs: VectorEnv[Any, Any, Any]) -> None:
        self.observation_space = envs.single_observation_space
        self.action_space = envs.single_action_space

    @property
    def unwrapped(self) -> _Spaces:
        """As an environment has it; nothing is known of what is inside."""
        return self
