"""Options from a TOML file, and a run's settings as one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from hunch.errors import ConfigurationError

if TYPE_CHECKING:
    from hunch.rl import Plan

F = TypeVar("F", bound=Callable[..., Any])

_TABLES: Final = "hunch: tables of --config"
_NOT_IN_A_FILE: Final = ("config", "dump-config", "debug", "help", "trust")
# Of an agent's settings: options of their own, or nothing that a line of text can name.
_NOT_IN_SET: Final = ("env", "env_kwargs", "num_envs", "replicas", "seed", "network", "prior")


def config_option(
    *, arguments: Sequence[str] = (), tables: Mapping[str, str] | None = None
) -> Callable[[F], F]:
    """`--config FILE`: options from a TOML file, before which those of the line go.

    Args:
        arguments: names of arguments that may be in the file too.
        tables: names of tables of the file, and the option `--OPTION KEY=VALUE` that each one
            stands for; see `table`.
    """

    def callback(context: click.Context, parameter: click.Parameter, path: str | None) -> None:
        if path is not None:
            _configured(context, path, arguments, tables or {})

    return click.option(
        "--config",
        type=click.Path(),
        metavar="FILE",
        is_eager=True,
        expose_value=False,
        callback=callback,
        help='TOML with options by their names, as drop = ["notes"]; what is typed goes before it.'
        if tables is None
        else "TOML with options by their names and the tables [set] and [env_kwargs], as "
        "--dump-config prints it; what is typed goes before it.",
    )


def table(context: click.Context, name: str) -> dict[str, Any]:
    """A table of the file of options, by its entries; empty if there is none."""
    return dict(context.meta.get(_TABLES, {}).get(name, {}))


def _configured(
    context: click.Context, path: str, arguments: Sequence[str], tables: Mapping[str, str]
) -> None:
    known: dict[str, click.Parameter] = {}
    for parameter in context.command.params:
        name = parameter.opts[-1]
        if isinstance(parameter, click.Option) and name not in tables.values():
            known[name.lstrip("-")] = parameter
        elif parameter.name in arguments:
            known[str(parameter.name)] = parameter
    known = {name: known[name] for name in known if name not in _NOT_IN_A_FILE}
    found: dict[str, Any] = {}
    for key, value in toml_of(path, "--config: ").items():
        if key.replace("-", "_") in tables:
            context.meta.setdefault(_TABLES, {})[key.replace("-", "_")] = _table(path, key, value)
            continue
        option = known.get(key.replace("_", "-"))
        if option is None:
            raise ConfigurationError(
                f"--config: {path!r} has {key!r}, which is no option; "
                f"{_hint(key, [*known, *tables])}"
            )
        found[str(option.name)] = _value(path, key, value, option)
    context.default_map = {**(context.default_map or {}), **found}


def _hint(key: str, known: Sequence[str]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(key.replace("_", "-"), known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"expected {', '.join(known)}."


def _table(path: str, key: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigurationError(
            f"--config: {path!r} has {key} = {value!r}; expected a table, [{key}] with a line for "
            "each name."
        )
    return value


def _value(path: str, key: str, value: Any, option: click.Parameter) -> Any:
    flag = isinstance(option, click.Option) and option.is_flag
    many = option.multiple and isinstance(value, list)
    plain = value if many else [value]
    fits = [isinstance(v, bool if flag else str | int | float) for v in plain]
    if not all(fits) or (not flag and any(isinstance(v, bool) for v in plain)):
        expected = "true or false" if flag else "a word or a number"
        or_more = ", or a list of them" if option.multiple else ""
        raise ConfigurationError(
            f"--config: {path!r} has {key} = {value!r}; expected {expected}{or_more}."
        )
    return plain if option.multiple else value


def toml_of(path: str, said: str = "") -> dict[str, Any]:
    """What a file of TOML holds.

    Args:
        path: the file.
        said: stands before what is wrong with it.

    Raises:
        ConfigurationError: if it cannot be read.
        FolderError: if no file can be called so.
    """
    import tomllib

    from hunch.storage import expanded

    place = expanded(path)
    try:
        with place.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise ConfigurationError(f"{said}cannot read {path!r}: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        what = (str(error).splitlines() or ["it is none"])[0].rstrip(".")
        raise ConfigurationError(f"{said}{path!r} is no TOML: {what}.") from error


def as_words(values: Mapping[str, Any]) -> list[str]:
    """Entries of a table as `key=value`, in the way in which they are typed.

    Example:
        >>> as_words({"noisy": True, "hidden_sizes": [64], "epsilon": "1:0.05:5000"})
        ['noisy=true', 'hidden_sizes=[64]', 'epsilon=1:0.05:5000']
    """
    return [
        f"{key}={str(value).lower() if isinstance(value, bool) else value}"
        for key, value in values.items()
    ]


def run_config(plan: Plan, about: Mapping[str, Any]) -> str:
    """A run's settings as TOML that `hunch train --config` reads to the same run."""
    settings = plan.settings
    top = {
        "agent": about.get("recipe", plan.agent),
        "env": about.get("env", settings.get("env")),
        "wrap": list(about.get("wrap", [])),
        "steps": plan.steps,
        "replicas": plan.replicas,
        "num-envs": settings.get("num_envs", 1),
        "seed": plan.seed,
        "eval-every": plan.evaluate_every,
        "checkpoint-every": plan.checkpoint_every,
        "stop-at": plan.stop_at,
        "tensorboard": plan.tensorboard,
    }
    lines = [f"{key} = {_as_toml(value)}" for key, value in top.items() if value is not None]
    lines += ["", "[env_kwargs]"]
    lines += [f"{_key(k)} = {_as_toml(v)}" for k, v in (settings.get("env_kwargs") or {}).items()]
    lines += ["", "[set]"]
    lines += [f"{k} = {_as_toml(v)}" for k, v in settings.items() if k not in _NOT_IN_SET]
    return "\n".join(lines) + "\n"


def _key(name: str) -> str:
    import re

    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _as_toml(name)


def _as_toml(value: Any) -> str:
    """A plain value as agents' settings have it; TOML has no word for None, so that is "none"."""
    import json

    if isinstance(value, dict) and set(value) == {"Linear"}:
        return _as_toml(":".join(str(part) for part in value["Linear"]))
    if isinstance(value, dict) and set(value) == {"float"}:
        return str(value["float"])
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(k)} = {_as_toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_as_toml, value)) + "]"
    if value is None:
        return '"none"'
    # JSON's strings, numbers and truth values are TOML's too, but for the character DEL.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
