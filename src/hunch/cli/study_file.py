"""STUDY.toml: agents, environments, settings and seeds, and what `hunch train` makes of them."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from hunch.cli.config import as_words, toml_of
from hunch.cli.environments import is_code, wraps_code
from hunch.cli.options import import_named
from hunch.errors import ConfigurationError

if TYPE_CHECKING:
    from hunch.rl import Plan
    from hunch.studies import Cell, Limits

_TABLES: Final = {"set": "--set", "env_kwargs": "--env"}
# Options of `hunch train` that a study leaves to each cell.
_OF_TRAIN: Final = (
    "steps", "replicas", "num_envs", "size", "wrap", "eval_every", "checkpoint_every", "stop_at",
    "tensorboard",
)  # fmt: skip
_LIMITS: Final = ("retries", "time_limit", "memory_limit", "lease")
_OF_STUDY: Final = (
    "agents", "envs", "seeds", "settings", "search", "fit", "reproduce", "report", "import",
    *_LIMITS,
)  # fmt: skip
_OF_SEARCH: Final = ("trials", "prune", "set")
_OF_RANGE: Final = ("low", "high", "log")
_NOT_OF_FIT: Final = ("out", "seed", "config", "json", "quiet", "debug", "help")


@dataclass(frozen=True)
class StudyFile:
    """What a file says.

    Args:
        cells: what is done.
        limits: what each job may take.
        own: environments and wrappers that are code of the user's, who named them there.
        imports: modules to import first.
    """

    cells: list[Cell]
    limits: Limits
    own: list[str] = field(default_factory=list)
    imports: list[str] = field(default_factory=list)


def read_study(context: click.Context, path: str) -> StudyFile:
    """Read a study's file, and see that each cell can be begun.

    Args:
        context: of the command.
        path: the file.

    Raises:
        ConfigurationError: if the file cannot be read, or anything in it cannot work.
    """
    from hunch.studies import Limits

    values = {key.replace("-", "_"): value for key, value in toml_of(path).items()}
    _check_keys(path, "", values, [*_OF_STUDY, *_OF_TRAIN, *_TABLES])
    imports = _list(path, "import", values.get("import", []))
    for module in imports:
        import_named(context, module)
    seeds = _seeds(path, values.get("seeds", 1))
    own: list[str] = []
    search = _search(path, values)
    trials = seeds if search is None else list(range(search["trials"]))
    cells = [*_trainings(context, path, values, trials, own, imports, search)]
    cells += [*_fits(context, path, values, seeds)]
    cells += [*_claims(path, values, seeds)]
    if not cells:
        raise ConfigurationError(
            f'{path!r} asks for nothing; expected agents = ["dqn"] and envs = ["CartPole-v1"], or '
            "[[fit]] tables, or reproduce = [a claim's name]."
        )
    limits = Limits(**{name: values[name] for name in _LIMITS if name in values})
    return StudyFile(cells, limits, list(dict.fromkeys(own)), list(dict.fromkeys(imports)))


def _trainings(
    context: click.Context,
    path: str,
    values: Mapping[str, Any],
    seeds: Sequence[int],
    own: list[str],
    imports: list[str],
    search: Mapping[str, Any] | None,
) -> Iterator[Cell]:
    agents = _entries(path, "agents", "agent", values)
    envs = _entries(path, "envs", "env", values)
    settings = _entries(path, "settings", None, values) or [{}]
    if search is not None and not agents:
        raise ConfigurationError(f"{path!r} has search and no agents; trials train agents.")
    if bool(agents) != bool(envs):
        there, missing = ("agents", "envs") if agents else ("envs", "agents")
        raise ConfigurationError(
            f"{path!r} has {there} and no {missing}; a study trains each in each."
        )
    for agent in agents:
        for env in envs:
            for setting in settings:
                merged = _merged(path, values, env, agent, setting)
                words = [env["env"], *merged.get("wrap", [])]
                own += [w for w in words if (is_code(w) if w == env["env"] else wraps_code(w))]
                imports += _module_of_id(env["env"])
                yield _training(context, path, agent, env, setting, merged, seeds, search)


def _training(
    context: click.Context,
    path: str,
    agent: Mapping[str, Any],
    env: Mapping[str, Any],
    setting: Mapping[str, Any],
    merged: Mapping[str, Any],
    seeds: Sequence[int],
    search: Mapping[str, Any] | None,
) -> Cell:
    """A cell, as the line of `hunch train` has it that does the same."""
    from hunch.studies import Cell

    def made(tried: Mapping[str, Any]) -> tuple[Plan, dict[str, Any]]:
        own = {**merged, "set": {**merged["set"], **tried}}
        with _of_file(path):
            return _planned(context, [agent["agent"], env["env"], *_typed(own)])

    plan, about = made({})
    return Cell.training(
        agent.get("label", agent["agent"]),
        env.get("label", env["env"]),
        plan,
        seeds,
        settings=setting.get("label", ""),
        about=about,
        report=bool(merged.get("report", False)),
        search=None if search is None else _searched(path, search, merged["set"], plan, made),
    )


@contextmanager
def _of_file(path: str) -> Iterator[None]:
    """Say which file has what a command refuses, where nobody typed that command."""
    try:
        yield
    except click.UsageError as error:
        raise ConfigurationError(f"{path!r}: {error.format_message()}") from error


def _planned(context: click.Context, words: Sequence[str]) -> tuple[Plan, dict[str, Any]]:
    from hunch.cli.train import planned, train

    typed = train.make_context("train", [*words], parent=context)
    options = {k: v for k, v in typed.params.items() if k not in ("agent", "env", "as_json")}
    plan, about, _ = planned(typed, words[0], words[1], options)
    about["command"] = shlex.join(["hunch", "train", *words])
    return plan, about


def _search(path: str, values: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the table `search` says, if there is one."""
    if "search" not in values:
        return None
    from hunch.studies.executors import needed

    needed("optuna", "optuna")
    table = values["search"]
    if not isinstance(table, dict) or not isinstance(table.get("set"), dict) or not table["set"]:
        raise ConfigurationError(
            f"{path!r} has search = {table!r}; expected [search] with trials, and [search.set] "
            "with settings."
        )
    _check_keys(path, "search", table, _OF_SEARCH)
    if "seeds" in values:
        raise ConfigurationError(
            f"{path!r} has seeds beside search; each trial is trained with its number as its seed, "
            "or several from there on with replicas."
        )
    trials, prune = table.get("trials"), table.get("prune", False)
    if not isinstance(trials, int) or isinstance(trials, bool) or trials < 1:
        raise ConfigurationError(
            f"{path!r} has trials = {trials!r} in search; expected a whole number from 1 on."
        )
    if not isinstance(prune, bool):
        raise ConfigurationError(f"{path!r} has prune = {prune!r}; expected true or false.")
    return {"trials": trials, "prune": prune, "set": table["set"]}


def _searched(
    path: str,
    search: Mapping[str, Any],
    settled: Mapping[str, Any],
    plan: Plan,
    made: Callable[[Mapping[str, Any]], tuple[Plan, dict[str, Any]]],
) -> dict[str, Any]:
    """A search of a cell's, whose every choice and every end of a range makes an agent."""
    from hunch.studies.search import Choice, Range, Search

    if search["prune"] and not plan.evaluate_every:
        raise ConfigurationError(
            f"{path!r} has prune = true in search and eval-every = 0; trials are pruned by "
            "evaluations."
        )
    space: dict[str, Choice | Range] = {}
    for name, options in search["set"].items():
        if name in settled:
            raise ConfigurationError(
                f"{path!r} has {name} in set and in search.set; expected it in one of them."
            )
        if isinstance(options, list) and options:
            values = [made({name: option})[0].settings[name] for option in options]
            words = [
                word.partition("=")[2] for option in options for word in as_words({name: option})
            ]
            space[name] = Choice(words, values)
        elif isinstance(options, dict) and {"low", "high"} <= options.keys():
            _check_keys(path, f"search.set.{name}", options, _OF_RANGE)
            try:
                space[name] = Range(**options)
            except ConfigurationError as error:
                raise ConfigurationError(f"{path!r} has {name} in search.set: {error}") from error
            for end in ("low", "high"):
                made({name: options[end]})
        else:
            raise ConfigurationError(
                f"{path!r} has {name} = {options!r} in search.set; expected a list of values, or "
                "{low = 1e-4, high = 1e-2, log = true}."
            )
    return Search(space, search["prune"]).to_json()


def _merged(path: str, *tables: Mapping[str, Any]) -> dict[str, Any]:
    """Options of the whole study, before which go those of what comes behind it."""
    found: dict[str, Any] = {"set": {}, "env_kwargs": {}}
    for one in tables:
        for name in (*_OF_TRAIN, "report"):
            if name in one:
                found[name] = one[name]
        for name in _TABLES:
            table = one.get(name, {})
            if not isinstance(table, dict):
                raise ConfigurationError(
                    f"{path!r} has {name} = {table!r}; expected a table, as [{name}] or "
                    f"{name} = {{name = value}}."
                )
            found[name] |= table
    for name in ("report", "tensorboard"):
        if not isinstance(found.get(name, False), bool):
            raise ConfigurationError(
                f"{path!r} has {name} = {found[name]!r}; expected true or false."
            )
    found["wrap"] = _list(path, "wrap", found.get("wrap", []))
    return found


def _typed(merged: Mapping[str, Any]) -> list[str]:
    """Options as they are typed behind `hunch train AGENT ENV`."""
    words = []
    for name in _OF_TRAIN:
        value = merged.get(name)
        option = f"--{name.replace('_', '-')}"
        if name == "wrap":
            words += [word for wrapper in value or [] for word in (option, wrapper)]
        elif name == "tensorboard":
            words += [option] if value is True else []
        elif value is not None:
            words += [option, str(value)]
    for name, option in _TABLES.items():
        words += [word for pair in as_words(merged[name]) for word in (option, pair)]
    return words


def _fits(
    context: click.Context, path: str, values: Mapping[str, Any], seeds: Sequence[int]
) -> Iterator[Cell]:
    from hunch.cli.fit import fit
    from hunch.studies import Cell

    for table in _entries(path, "fit", None, values):
        if "data" not in table or "target" not in table:
            raise ConfigurationError(f"{path!r} has a [[fit]] without data or without a target.")
        files = _list(path, "data", table["data"])
        words = [*files, "--target", str(table["target"]), *_fit_words(table)]
        with _of_file(path):
            params = dict(fit.make_context("fit", words, parent=context).params)
        for name in ("data", "target", "out", "seed", "as_json", "quiet"):
            params.pop(name, None)
        # As `hunch fit` takes them, but without what is left at its default.
        typed = {k: list(v) if isinstance(v, tuple) else v for k, v in params.items()}
        own: dict[str, Any] = {
            k: v for k, v in typed.items() if k in {name.replace("-", "_") for name in table}
        }
        label = str(table.get("label", Path(files[0]).stem))
        yield Cell.fitting(label, files, str(table["target"]), seeds, **own)


def _fit_words(table: Mapping[str, Any]) -> list[str]:
    words = []
    for name, value in table.items():
        if name in ("data", "target", "label"):
            continue
        option = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            words += [option] if value else []
        else:
            for one in value if isinstance(value, list) else [value]:
                words += [option, str(one)]
    return words


def _claims(path: str, values: Mapping[str, Any], seeds: Sequence[int]) -> Iterator[Cell]:
    from hunch.experiments.claims.registry import EXPERIMENTS, takes
    from hunch.studies import Cell

    for name in _list(path, "reproduce", values.get("reproduce", [])):
        if name not in EXPERIMENTS:
            raise ConfigurationError(
                f"{path!r} has the claim {name!r}; {_hint(name, list(EXPERIMENTS))}"
            )
        if takes(name, "data"):
            raise ConfigurationError(
                f"{path!r} has the claim {name!r}, which reads tables from a folder; run it by "
                f"hunch reproduce {name} --data FOLDER."
            )
        yield Cell.reproducing(name, seeds)


def _entries(
    path: str, key: str, name: str | None, values: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """A list of words or tables, as tables."""
    found = values.get(key, [])
    if not isinstance(found, list):
        raise ConfigurationError(f"{path!r} has {key} = {found!r}; expected a list.")
    tables = []
    for one in found:
        if isinstance(one, str) and name is not None:
            one = {name: one}
        if not isinstance(one, dict) or (name is not None and not isinstance(one.get(name), str)):
            expected = "tables" if name is None else f"words, or tables with {name} = a word"
            raise ConfigurationError(f"{path!r} has {one!r} in {key}; expected {expected}.")
        one = {k.replace("-", "_"): v for k, v in one.items()}
        if key == "fit":
            _check_keys(path, "fit", one, ["data", "target", "label", *_options_of_fit()])
        else:
            others = [name] if name else []
            _check_keys(path, key, one, [*others, "label", *_OF_TRAIN, *_TABLES])
        if not isinstance(one.get("label", ""), str):
            raise ConfigurationError(f"{path!r} has label = {one['label']!r}; expected a word.")
        tables.append(one)
    return tables


def _options_of_fit() -> list[str]:
    from hunch.cli.fit import fit

    names = [p.opts[-1].lstrip("-") for p in fit.params if isinstance(p, click.Option)]
    return [name.replace("-", "_") for name in names if name not in _NOT_OF_FIT]


def _module_of_id(env: str) -> list[str]:
    """The module that an id `module:Name-v0` has imported, unless it is one of hunch's."""
    module, colon, _ = env.rpartition(":")
    ours = not is_code(env)
    return [module] if colon and not ours and not module.endswith(".py") else []


def _seeds(path: str, value: Any) -> list[int]:
    whole = [value] if isinstance(value, int) else value
    if (
        not isinstance(whole, list)
        or not whole
        or any(not isinstance(s, int) or isinstance(s, bool) or s < 0 for s in whole)
        or (isinstance(value, int) and value < 1)
    ):
        raise ConfigurationError(
            f"{path!r} has seeds = {value!r}; expected a number of seeds, as 10 for 0 to 9, or a "
            "list of them."
        )
    return list(range(value)) if isinstance(value, int) else whole


def _list(path: str, key: str, value: Any) -> list[str]:
    found = [value] if isinstance(value, str) else value
    if not isinstance(found, list) or any(not isinstance(word, str) for word in found):
        raise ConfigurationError(f"{path!r} has {key} = {value!r}; expected words.")
    return found


def _check_keys(path: str, where: str, values: Mapping[str, Any], known: Sequence[str]) -> None:
    for key in values:
        if key not in known:
            inside = f" in {where}" if where else ""
            raise ConfigurationError(f"{path!r} has {key!r}{inside}; {_hint(key, known)}")


def _hint(word: str, known: Sequence[str]) -> str:
    close = get_close_matches(word, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"expected {', '.join(known)}."
