"""`key=value` on the command line: what the words mean, and what to say if they mean nothing."""

from __future__ import annotations

import ast
import difflib
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from hunch.errors import ConfigurationError

# Options of their own, or nothing that a line of text can name.
_NOT_SET: Final = {
    "env": "ENV",
    "env_kwargs": "--env",
    "num_envs": "--num-envs",
    "replicas": "--replicas",
    "seed": "--seed",
    "network": "hunch.rl in Python",
    "prior": "hunch.rl in Python",
}


def pairs(option: str, words: Sequence[str]) -> dict[str, str]:
    """Split `key=value` words.

    Raises:
        ConfigurationError: if one has no `=`, or a key stands twice.

    Example:
        >>> pairs("--env", ["size=20"])
        {'size': '20'}
    """
    found: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise ConfigurationError(f"{option} got {word!r}; expected key=value.")
        if key in found:
            raise ConfigurationError(f"{option} got {key!r} twice; give it once.")
        found[key] = value
    return found


def literal(text: str) -> Any:
    """A number, `true`, `false`, `none`, numbers with commas between, or the text itself.

    Example:
        >>> [literal(t) for t in ("3", "1e-3", "true", "none", "8,8", "rgb", "inf")]
        [3, 0.001, True, None, [8, 8], 'rgb', inf]
    """
    word = text.strip()
    simple = {"true": True, "false": False, "none": None, "inf": float("inf")}
    if word.lower() in simple:
        return simple[word.lower()]
    try:
        value = ast.literal_eval(word)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return text  # also what is nested too deeply, or too long, to be one
    return list(value) if isinstance(value, tuple) else value


def agent_settings(agent: Callable[..., Any], words: Sequence[str]) -> dict[str, Any]:
    """The arguments that `--set` names, each of the type that the agent asks for.

    A schedule in a straight line is written `start:end:steps`.

    Args:
        agent: the agent's class.
        words: `key=value`.

    Raises:
        ConfigurationError: for a name that the agent does not have, or a value of another type.

    Example:
        >>> from hunch.rl import DQN
        >>> agent_settings(DQN, ["n_step=3", "epsilon=1:0.05:5000", "hidden_sizes=64"])
        {'n_step': 3, 'epsilon': Linear(start=1.0, end=0.05, steps=5000), 'hidden_sizes': [64]}
    """
    parameters = inspect.signature(agent.__init__).parameters
    known = {name: str(p.annotation) for name, p in parameters.items() if name != "self"}
    found = {}
    for name, text in pairs("--set", words).items():
        if name in _NOT_SET and name in known:
            raise ConfigurationError(f"--set got {name!r}; use {_NOT_SET[name]} for that.")
        if name not in known:
            raise ConfigurationError(_unknown(name, [n for n in known if n not in _NOT_SET]))
        found[name] = _typed(name, text, known[name])
    return found


def _unknown(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
    names = ", ".join(near or sorted(known))
    return f"--set got {name!r}, which this agent does not have; the nearest names are {names}."


def _typed(name: str, text: str, annotation: str) -> Any:
    """The value of one of the types in an annotation such as `float | Linear`."""
    value = literal(text)
    expected = []
    for wanted in annotation.split(" | "):
        accepts, says = _TYPES.get(wanted.partition("[")[0], (None, ""))
        if wanted == "Linear" and isinstance(value, str) and value.count(":") == 2:
            return _schedule(name, text)
        if accepts is not None and accepts(value, wanted):
            return [value] if wanted == "Sequence[int]" and not isinstance(value, list) else value
        expected.append(says or wanted.removeprefix("Literal[").removesuffix("]"))
    raise ConfigurationError(f"--set {name} got {text!r}; expected {' or '.join(expected)}.")


def _schedule(name: str, text: str) -> Any:
    from hunch.rl import Linear

    start, end, steps = (literal(part) for part in text.split(":"))
    if not (_is_number(start) and _is_number(end) and isinstance(steps, int)):
        raise ConfigurationError(f"--set {name} got {text!r}; expected start:end:steps.")
    return Linear(float(start), float(end), steps=steps)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_whole(value: Any, wanted: str) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _are_whole(value: Any, wanted: str) -> bool:
    return all(_is_whole(item, "") for item in (value if isinstance(value, list) else [value]))


def _are_two(value: Any, wanted: str) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))


# The types that annotations name: which values do, and how to say so.
_TYPES: Final[Mapping[str, tuple[Callable[[Any, str], bool], str]]] = {
    "bool": (lambda value, wanted: isinstance(value, bool), "true or false"),
    "int": (_is_whole, "a whole number"),
    "float": (lambda value, wanted: _is_number(value), "a number"),
    "str": (lambda value, wanted: isinstance(value, str), "a name"),
    "None": (lambda value, wanted: value is None, "none"),
    "Literal": (lambda value, wanted: isinstance(value, str) and repr(value) in wanted, ""),
    "Sequence": (_are_whole, "whole numbers with commas"),
    "tuple": (_are_two, "two numbers with a comma"),
    "Linear": (lambda value, wanted: False, "start:end:steps"),
}
