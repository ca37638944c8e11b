"""Whether two environments are one and the same object, and whether they are set alike.

Settings are what stays: every attribute of an environment and its wrappers that neither `reset` nor
`step` assigns. What those do assign is the state of an episode, in which equal environments differ.
"""

from __future__ import annotations

import contextlib
import enum
import types
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import gymnasium
import numpy as np
from gymnasium import wrappers
from gymnasium.vector import VectorEnv, VectorWrapper

Settings = dict[str, Hashable]

# They hand on observations, rewards and ends as they are, whatever they count and keep.
HARMLESS: Final = (
    wrappers.HumanRendering,
    wrappers.OrderEnforcing,
    wrappers.PassiveEnvChecker,
    wrappers.RecordEpisodeStatistics,
    wrappers.RecordVideo,
    wrappers.RenderCollection,
    wrappers.vector.DictInfoToList,
    wrappers.vector.HumanRendering,
    wrappers.vector.RecordEpisodeStatistics,
    *([wrappers.vector.RecordVideo] if hasattr(wrappers.vector, "RecordVideo") else []),  # 1.2.1
)
# No settings of the problem: chance, images, and what Gymnasium remembers for itself.
_NOT_SET: Final = {"_np_random", "_np_random_seed", "_cached_spec", "spec", "render_mode"}
_PROBING_STEPS: Final = 3


def layers(env: Any) -> list[Any]:
    """An environment's wrappers, outermost first, and what they wrap.

    Example:
        >>> [type(layer).__name__ for layer in layers(gymnasium.make("CartPole-v1"))]
        ['TimeLimit', 'OrderEnforcing', 'PassiveEnvChecker', 'CartPoleEnv']
    """
    found = [env]
    while isinstance(found[-1], gymnasium.Wrapper | VectorWrapper):
        found.append(found[-1].env)
    return found


def parts(env: Any) -> list[Any]:
    """An environment and all those that it holds: what it wraps, or its list of them.

    Example:
        >>> envs = gymnasium.make_vec("CartPole-v1", 2, vectorization_mode="sync")
        >>> len(parts(envs)), len(parts(envs.envs[0]))
        (9, 4)
    """
    found: dict[int, Any] = {}
    waiting = [env]
    while waiting:
        one = waiting.pop(0)
        if id(one) not in found:
            found[id(one)] = one
            held = (v for value in _attributes(one).values() for v in _each(value))
            waiting = [*(v for v in held if isinstance(v, gymnasium.Env | VectorEnv)), *waiting]
    return list(found.values())


def _each(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else (value,)


def any_shared(envs: Iterable[Any]) -> bool:
    """Whether two of the environments have an object in common, however they are wrapped.

    Example:
        >>> one = gymnasium.make("CartPole-v1")
        >>> any_shared([one, gymnasium.wrappers.TimeLimit(one, 5)])
        True
    """
    seen: set[int] = set()
    for env in envs:
        own = {id(part) for part in parts(env)}
        if seen & own:
            return True
        seen |= own
    return False


def shown(env: Any) -> list[type]:
    """The kinds of wrappers around an environment that an agent can notice, outermost first."""
    return [type(layer) for layer in layers(env)[:-1] if not isinstance(layer, HARMLESS)]


def statistics_in(env: Any) -> list[Any]:
    """The wrappers that keep running means, which decide what an agent sees.

    Example:
        >>> env = gymnasium.wrappers.NormalizeObservation(gymnasium.make("CartPole-v1"))
        >>> [type(layer).__name__ for layer in statistics_in(env)]
        ['NormalizeObservation']
    """
    return [
        layer
        for layer in parts(env)
        if any(type(value).__name__ == "RunningMeanStd" for value in _attributes(layer).values())
    ]


def moving_statistics_in(env: Any) -> list[Any]:
    """Those of them that go on changing their means."""
    return [layer for layer in statistics_in(env) if getattr(layer, "update_running_mean", False)]


def hold_statistics(env: Any) -> None:
    """Let the running means of an environment stay as they are."""
    for layer in moving_statistics_in(env):
        layer.update_running_mean = False


def differences(originals: Sequence[Any], fresh: Any) -> list[str]:
    """Settings in which environments differ from one that was made anew.

    Only values are compared: numbers, words, arrays, spaces, functions, and collections of these.

    Args:
        originals: environments in any state; they are only looked at.
        fresh: one that was just made; it is reset and makes a few steps.

    Returns:
        For each of them its name, with its class in front.

    Example:
        >>> env = gymnasium.make("CartPole-v1")
        >>> env.unwrapped.gravity = 20.0
        >>> differences([env], gymnasium.make("CartPole-v1"))
        ['CartPoleEnv.gravity']
    """
    found: dict[str, None] = {}  # each one once, in their order
    settled, passing = _settled(fresh)
    kinds = [type(part) for part in parts(fresh)]
    for original in originals:
        own = parts(original)
        if [type(layer) for layer in own] != kinds:
            return ["its wrappers"]
        for layer, known, left_out in zip(own, settled, passing, strict=True):
            if isinstance(layer, HARMLESS):
                continue
            forms = _forms(layer)
            for name in sorted(forms.keys() - left_out):
                if forms[name] != known.get(name):
                    found[f"{type(layer).__name__}.{name}"] = None
    return list(found)


def equal_now(one: Any, other: Any) -> bool:
    """Whether all attributes that can be compared are equal, those of the episode as well.

    Example:
        >>> equal_now(gymnasium.make("CartPole-v1"), gymnasium.make("CartPole-v1"))
        True
    """
    own, others = parts(one), parts(other)
    alike = [type(part) for part in own] == [type(part) for part in others]
    return alike and all(_forms(a) == _forms(b) for a, b in zip(own, others, strict=True))


def differences_by_name(ask: Callable[[str], Iterable[Any]], fresh: Any) -> list[str]:
    """The same for environments that only answer questions, such as those of other processes.

    Args:
        ask: gives the values that they have under a name.
        fresh: as in `differences`.

    Returns:
        Names of the innermost layer's settings.
    """
    settled, passing = _settled(fresh)
    last = len(layers(fresh)) - 1
    kind, known = type(parts(fresh)[last]).__name__, settled[last]
    return [
        f"{kind}.{name}"
        for name in sorted(known.keys() - passing[last])
        if any(_comparable(value) != known[name] for value in ask(name))
    ]


def _settled(env: Any) -> tuple[list[Settings], list[set[str]]]:
    """For each layer its settings, and the names of what is none because it changes."""
    own = parts(env)
    before = [_forms(layer) for layer in own]
    with contextlib.ExitStack() as stack:
        passing = [stack.enter_context(_assigned_to(layer)) for layer in own]
        _probe(env)
    for layer, forms, names in zip(own, before, passing, strict=True):
        after = _forms(layer)
        names |= {name for name in forms if after.get(name) != forms[name]}
    return before, passing


def _probe(env: Any) -> None:
    """Begin an episode and play a little of it."""
    space = env.action_space
    space.seed(0)
    env.reset(seed=0)
    for _ in range(_PROBING_STEPS):
        _, _, terminated, truncated, _ = env.step(space.sample())
        if not isinstance(env, VectorEnv) and (terminated or truncated):
            return


@contextmanager
def _assigned_to(layer: Any) -> Iterator[set[str]]:
    """The names of the attributes that are assigned to within the block."""
    names: set[str] = set()
    kind: Any = type(layer)

    def note(self: Any, name: str, value: Any) -> None:
        names.add(name)
        kind.__setattr__(self, name, value)

    with contextlib.suppress(TypeError):  # of a class that has no room: all of it counts as set
        layer.__class__ = type(kind.__name__, (kind,), {"__setattr__": note})
    try:
        yield names
    finally:
        if type(layer) is not kind:
            layer.__class__ = kind


def _attributes(layer: Any) -> dict[str, Any]:
    return getattr(layer, "__dict__", {})


def _forms(layer: Any) -> Settings:
    """The attributes of one layer that can be compared, in a form that can."""
    forms = {name: _comparable(v) for name, v in _attributes(layer).items() if name not in _NOT_SET}
    return {name: form for name, form in forms.items() if form is not None}


def _comparable(value: Any) -> Hashable | None:
    """A value in a form that can be compared; None if it has none."""
    try:
        return _form(value)
    except _UnknownKindError:
        return None


class _UnknownKindError(Exception):
    """A value that cannot be compared."""


def _form(value: Any) -> Hashable:
    if isinstance(value, str | bytes | enum.Enum | type(None)):
        return (type(value).__name__, value)
    if isinstance(value, bool | int | float | complex | np.generic | np.ndarray):
        array = np.asarray(value)
        if array.dtype.hasobject:
            raise _UnknownKindError
        # NaN is NaN, and 1 is 1.0: bytes of one kind of number.
        if array.dtype.kind in "biuf":
            array = array.astype(np.float64)
        return (array.shape, array.tobytes())
    if isinstance(value, gymnasium.spaces.Box):
        return ("Box", *map(_form, (value.low, value.high, str(value.dtype))))
    if isinstance(value, gymnasium.Space):
        return (type(value).__name__, repr(value))
    if isinstance(value, types.FunctionType):
        return ("function", value.__code__)  # one made anew has the same
    if isinstance(value, Mapping):
        return ("mapping", frozenset((_form(k), _form(v)) for k, v in value.items()))
    if isinstance(value, tuple | list):
        return ("sequence", *map(_form, value))
    raise _UnknownKindError
