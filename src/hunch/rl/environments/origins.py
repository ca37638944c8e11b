"""Where an agent's environments come from, and others that are equal to them.

An environment to be evaluated or recorded in is either equal to the one trained in, as far as can
be told, or it is refused, and the user gives one.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Final

import gymnasium
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv, VectorEnv

from hunch.errors import ConfigurationError
from hunch.rl.environments.equality import (
    any_shared,
    differences,
    differences_by_name,
    hold_statistics,
    moving_statistics_in,
    shown,
    statistics_in,
)
from hunch.rl.environments.flattening import flat_observations, said
from hunch.rl.environments.make import (
    Env,
    EnvLike,
    another_env,
    make_env,
    rendering_env,
    stored_dtype,
)

GIVE_ONE: Final = (
    "give an equal environment: `evaluate(agent, env=…)`, `Evaluate(…, env=…)`, "
    "`record(agent, env=…)`."
)
# What `gymnasium.make_vec` is told about the batch, not about one environment.
_OF_THE_BATCH: Final = (
    "num_envs",
    "vectorization_mode",
    "vector_kwargs",
    "wrappers",
    "autoreset_mode",
)


class Origin:
    """Where the environments of an agent, or of one of its replicas, come from.

    Args:
        source: what the agent was given as `env`.
        kwargs: keyword arguments for it.
        trained: the environments that are trained in; a vector environment is one.
        all_trained: those of the other replicas as well.
    """

    def __init__(
        self,
        source: EnvLike | VectorEnv[Any, Any, Any],
        kwargs: Mapping[str, Any],
        trained: Sequence[Any],
        all_trained: Sequence[Any],
    ) -> None:
        self._source, self._kwargs = source, dict(kwargs)
        self._trained, self._all_trained = list(trained), list(all_trained)

    def another(self, different: Mapping[str, Any] | None = None) -> Env:
        """A new environment equal to those trained in, but for keyword arguments that differ.

        Raises:
            ConfigurationError: if none can be made, or it is not equal.
        """
        return self._made(dict(different or {}), draws=False)

    def rendering(self, different: Mapping[str, Any] | None = None) -> Env:
        """The same, which draws images.

        Raises:
            ConfigurationError: as `another`, and if it cannot draw.
        """
        return self._made(dict(different or {}), draws=True)

    def _made(self, different: dict[str, Any], draws: bool) -> Env:
        open_it, source = rendering_env if draws else another_env, self._source
        if isinstance(source, gymnasium.Env):
            source = self._trained[0]  # its copy, of another replica
        self._check_statistics(self._trained[0])
        if isinstance(source, VectorEnv):
            made = open_it(_one_of(source), {**self._kwargs, **different})
        else:
            made = open_it(source, {**self._kwargs, **different})
        self._check_statistics(made)  # which other processes have and do not show
        hold_statistics(made)
        if any_shared([made, *self._all_trained]):
            raise ConfigurationError(
                "`env` is a function that returned the environment that the agent is trained in, "
                "whose episode another one would disturb; return a new one at each call, or "
                f"{GIVE_ONE}"
            )
        if (found := self._other_spaces(made)) is None and not different:
            found = self._other_settings(made)
        if found is not None:
            made.close()
            raise ConfigurationError(
                f"`env` cannot be made a second time as it is trained in: another one differs in "
                f"{found}; {GIVE_ONE}"
            )
        return made

    def _check_statistics(self, env: Any) -> None:
        """Running means are in an environment and nowhere else: only a copy has them."""
        kept = statistics_in(env)
        single = isinstance(self._source, gymnasium.Env) and len(self._trained) == 1
        if kept and not single:
            raise ConfigurationError(
                f"`env` has {_names(kept)}, with running means that another environment would not "
                f"have; {GIVE_ONE} Give it the same means and `update_running_mean = False`."
            )

    def _other_spaces(self, made: Env) -> str | None:
        observations, actions = _spaces(self._trained[0])
        if made.observation_space != observations:
            return f"its observations, {said(made.observation_space)} for {said(observations)}"
        if made.action_space != actions:
            return f"its actions, {said(made.action_space)} for {said(actions)}"
        return None

    def _other_settings(self, made: Env) -> str | None:
        trained, own = self._trained[0], shown(made)
        if isinstance(self._source, VectorEnv):
            return ", ".join(_other_batch(self._source)) or None
        if own != (expected := shown(trained)):
            return f"its wrappers, {_kinds(own)} for {_kinds(expected)}"
        return None

    def check(self, env: Any) -> None:
        """Refuse an environment in which the agent cannot be evaluated or recorded.

        Args:
            env: one that the user gave, single or a vector.

        Raises:
            ConfigurationError: naming what is in the way.
        """
        (seen, kind), actions = _seen(self._trained[0])
        (own, own_kind), own_actions = _seen(env)
        if kind != own_kind:
            raise ConfigurationError(
                f"`env` has observations {own}; expected those that the agent was trained on, "
                f"{seen}."
            )
        if actions != own_actions:
            raise ConfigurationError(
                f"`env` has actions {said(own_actions)}; expected {said(actions)}, as the agent "
                "was trained on."
            )
        if any_shared([env, *self._all_trained]):
            raise ConfigurationError(
                "`env` is the environment that the agent is trained in, whose episode another one "
                "would disturb; expected an environment of its own."
            )


def check_given(env: Any) -> None:
    """Refuse an environment that changes while an agent is evaluated in it.

    Raises:
        ConfigurationError: if it keeps running means that go on.
    """
    if moving := moving_statistics_in(env):
        raise ConfigurationError(
            f"`env` has {_names(moving)} with running means that go on changing while it is "
            "played; give it the means of training and set `update_running_mean = False`."
        )


def check_distinct(envs: Sequence[Any]) -> None:
    """Refuse several environments that are one.

    Raises:
        ConfigurationError: if two of them have an object in common.

    Example:
        >>> from hunch.rl.environments.make import make_env
        >>> check_distinct([make_env("CartPole-v1"), make_env("CartPole-v1")])
    """
    if any_shared(envs):
        raise ConfigurationError(
            "`env` returned one environment several times, perhaps in other wrappers; expected a "
            "new environment at each call, since each plays an episode of its own."
        )


def _one_of(batch: VectorEnv[Any, Any, Any]) -> EnvLike:
    """What makes one of the environments of a batch that `gymnasium.make_vec` made."""
    if kinds := shown(batch):
        raise ConfigurationError(
            f"`env` is a vector environment in the wrapper {_kinds(kinds)}, which a single "
            f"environment cannot be given; {GIVE_ONE}"
        )
    spec = batch.spec
    if spec is None:
        raise ConfigurationError(
            "`env` is a vector environment of unknown origin; give the agent a Gymnasium id and "
            f"`num_envs` instead, or {GIVE_ONE}"
        )
    own = {name: value for name, value in spec.kwargs.items() if name not in _OF_THE_BATCH}
    single = copy.copy(spec)  # which may be none that is registered, or no longer like it
    single.kwargs = {}

    def one(**kwargs: Any) -> Env:
        made = gymnasium.make(single, **{**own, **kwargs})
        for wrapper in spec.kwargs.get("wrappers", ()):
            made = wrapper(made)
        return made

    return one


def _other_batch(batch: VectorEnv[Any, Any, Any]) -> list[str]:
    """The settings in which the environments of a batch differ from what its spec makes."""
    base: Any = batch.unwrapped
    of_single_envs = isinstance(base, SyncVectorEnv | AsyncVectorEnv)
    fresh: Any = make_env(_one_of(batch)) if of_single_envs else gymnasium.make_vec(base.spec)
    try:
        if isinstance(base, SyncVectorEnv):
            return differences(base.envs, fresh)
        if isinstance(base, AsyncVectorEnv):
            return differences_by_name(base.get_attr, fresh)
        return differences([base], fresh)
    finally:
        fresh.close()


def _spaces(env: Any) -> tuple[Any, Any]:
    if isinstance(env, VectorEnv):
        return env.single_observation_space, env.single_action_space
    return env.observation_space, env.action_space


def _seen(env: Any) -> tuple[tuple[str, Any], Any]:
    """What an agent notices of the spaces: of observations in words and as a key, and actions."""
    observations, actions = _spaces(env)
    if (flat := flat_observations(observations)) is not None:
        return (said(observations), flat.layout), actions
    kind = stored_dtype(observations).__name__
    words = f"of shape {observations.shape} and type {kind}"
    return (words, (observations.shape, kind)), actions


def _names(layers: Sequence[Any]) -> str:
    return _kinds([type(layer) for layer in layers])


def _kinds(kinds: Sequence[type]) -> str:
    return ", ".join(dict.fromkeys(kind.__name__ for kind in kinds)) or "none"
