"""What an agent is called: its name on the command line says what it is, whatever was changed.

`dqn` with `double=true` and nothing else is `double-dqn`, and is called so in its folder, its
report and its figures; `rainbow` without priorities is called `rainbow (prioritized=false)`; and
`noisy-dqn` with `noisy=false` is refused.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Final

from hunch.cli.recipes import RECIPES, Recipe
from hunch.errors import ConfigurationError

# By class: the arguments by which one algorithm differs from another of the same class. All others
# say how well it does, not what it is.
_KINDS: Final[Mapping[str, tuple[str, ...]]] = {
    "DQN": ("noisy", "double", "dueling", "prioritized", "n_step", "distributional"),
    "A2C": ("noisy",),
    "PQN": ("noisy",),
}
# What a part of a name promises.
_WORDS: Final = {"noisy": "noisy", "double": "double", "dueling": "dueling"}


def kind_settings(recipe: Recipe) -> tuple[str, ...]:
    """The arguments that make the recipe's algorithm what it is.

    Example:
        >>> kind_settings(RECIPES["noisy-a2c"])
        ('noisy',)
    """
    return _KINDS.get(recipe.agent, ())


def called(
    name: str, make: Callable[..., Any], settings: Mapping[str, Any]
) -> tuple[str, dict[str, Any]]:
    """The name of an agent with these settings, and those of them that it does not say.

    Args:
        name: the recipe that was asked for.
        make: the class.
        settings: arguments that differ from the class's defaults.

    Raises:
        ConfigurationError: if a word of the name is not true.

    Example:
        >>> from hunch.rl import DQN
        >>> called("dqn", DQN, {"double": True}), called("dqn", DQN, {"prioritized": True})
        (('double-dqn', {}), ('dqn', {'prioritized': True}))
    """
    recipe, kind = RECIPES[name], _kind_of(make, RECIPES[name], settings)
    own = _kind_of(make, recipe, recipe.settings)
    same = [
        other
        for other, known in RECIPES.items()
        if known.agent == recipe.agent and _alike(kind, _kind_of(make, known, known.settings))
    ]
    for word, key in _WORDS.items():
        if word in name.split("-") and not kind[key]:
            use = f"that agent is {same[0]!r}" if same else "choose another agent"
            raise ConfigurationError(
                f"{name!r} got {key}=false, so it would not be what its name says; expected "
                f"{key}=true: {use}, or leave {key} away."
            )
    if not kind or _alike(kind, own):
        return name, {}
    if same:
        return same[0], {}
    # How many steps are summed follows from the rest, and is no news then.
    rest = {key: value for key, value in kind.items() if key != "n_step"}
    usual = {**own, "n_step": _kind_of(make, recipe, rest).get("n_step")}
    return name, {key: value for key, value in kind.items() if value != usual[key]}


def _kind_of(
    make: Callable[..., Any], recipe: Recipe, settings: Mapping[str, Any]
) -> dict[str, Any]:
    from hunch.rl.agents.dqn import default_n_step

    parameters = inspect.signature(make).parameters
    kind = {key: settings.get(key, parameters[key].default) for key in kind_settings(recipe)}
    if kind.get("n_step", 0) is None:
        kind["n_step"] = default_n_step(bool(kind["noisy"]), bool(kind["distributional"]))
    return kind


def _alike(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two are one algorithm; by which kind of distribution is no matter of the name."""
    names = one.keys() - {"distributional"}
    return all(one[key] == other[key] for key in names) and bool(one.get("distributional")) == bool(
        other.get("distributional")
    )


def from_file_of(
    name: str, file_agent: str, in_file: Mapping[str, Any], make: Callable[..., Any]
) -> tuple[dict[str, Any], list[str]]:
    """The settings of a file that was made for another agent, and the names of those left out.

    What makes the agent another one is left out, since the name was typed; the rest stays, so that
    two agents are compared with all else equal.

    Args:
        name: the agent that was typed.
        file_agent: the one of the file.
        in_file: the file's settings.
        make: the class of the typed one.

    Raises:
        ConfigurationError: if the file is of an agent of another class.

    Example:
        >>> from hunch.rl import DQN
        >>> from_file_of("dqn", "noisy-dqn", {"noisy": True, "batch_size": 64}, DQN)
        ({'batch_size': 64}, ['noisy=true'])
    """
    recipe, other = RECIPES[name], RECIPES.get(file_agent)
    if in_file and other is not None and other.agent != recipe.agent:
        raise ConfigurationError(
            f"--config: its [set] is of {file_agent!r}, which {name!r} has other settings than; "
            f"expected a file of {name!r}: `hunch train {name} ENV --dump-config` prints one."
        )
    own = _kind_of(make, recipe, recipe.settings)
    left_out = [k for k in own if k in in_file and _plain(in_file[k]) != own[k]]
    kept = {key: value for key, value in in_file.items() if key not in left_out}
    return kept, [f"{key}={said(in_file[key])}" for key in left_out]


def _plain(value: Any) -> Any:
    return {"true": True, "false": False}.get(value, value) if isinstance(value, str) else value


def said(value: Any) -> str:
    """A value as it is typed.

    Example:
        >>> said(True), said("quantile")
        ('true', 'quantile')
    """
    return str(value).lower() if isinstance(value, bool) else str(value)
