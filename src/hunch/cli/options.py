"""Options, and a little else, that several commands share."""

from __future__ import annotations

import difflib
import importlib
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from hunch.errors import ConfigurationError

_NAMED: Final = "hunch: the user named a module"
F = TypeVar("F", bound=Callable[..., Any])


class WholeNumber(click.IntRange):
    """A whole number, at least `least`; what is beyond `most` is refused and not in the help.

    Example:
        >>> WholeNumber(1).convert("7", None, None)
        7
    """

    name = "whole number"

    def __init__(self, least: int, most: int = 2**63 - 1) -> None:
        super().__init__(min=least)
        self.most = most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number, or a message on what is wrong with it."""
        number = super().convert(value, param, ctx)
        if number > self.most:
            self.fail(f"{number} is too large; expected at most {self.most}.", param, ctx)
        return number


class OneOf(click.Choice[str]):
    """One of some names; what is refused is told the name that is nearest to it.

    Example:
        >>> OneOf(["dqn", "a2c"]).convert("dqqn", None, None)
        Traceback (most recent call last):
        click.exceptions.BadParameter: 'dqqn' is not one of 'dqn', 'a2c'; did you mean 'dqn'?
    """

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The name, or a message on what is wrong with it."""
        known = [str(choice) for choice in self.choices]
        if value not in known and (near := difflib.get_close_matches(str(value), known, n=1)):
            listed = ", ".join(map(repr, known))
            self.fail(f"{value!r} is not one of {listed}; did you mean {near[0]!r}?", param, ctx)
        return super().convert(value, param, ctx)


def seed_option(command: F) -> F:
    """`--seed N`, at least 0."""
    return click.option(
        "--seed",
        type=WholeNumber(0),
        default=0,
        show_default=True,
        help="Decides every draw: the same seed gives the same results.",
    )(command)


def json_option(command: F) -> F:
    """`--json`: the result on standard output as JSON."""
    return click.option(
        "--json", "as_json", is_flag=True, help="Print the results as JSON on standard output."
    )(command)


class Share(click.FloatRange):
    """A number between 0 and 1, which some write as a percentage."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """As `FloatRange`, with the share that was meant where it looks like a percentage."""
        try:
            found: float = super().convert(value, param, ctx)
        except click.BadParameter as error:
            number = str(value).strip().removesuffix("%").strip()
            if not re.fullmatch(r"\d{1,2}(\.\d+)?", number) or float(number) < 1:
                raise
            self.fail(f"{error.message.rstrip('.')}; for {number} % write {float(number) / 100:g}.")
        return found


def coverage_option(command: F) -> F:
    """`--coverage SHARE`, between 0 and 1, ends excluded."""
    return click.option(
        "--coverage",
        type=Share(0, 1, min_open=True, max_open=True),
        default=0.9,
        show_default=True,
        help="Of the intervals.",
    )(command)


def check_model(model: str, data: str) -> None:
    """Refuse a file where a model's folder is asked for, and the other way round; and no folder.

    Raises:
        ConfigurationError: with the order that is expected.
        FolderError: if there is no such folder.
    """
    from hunch.storage import existing_folder

    if Path(model).is_file() and Path(data).is_dir():
        raise ConfigurationError(
            f"{model!r} is a file and {data!r} a folder; expected the model's folder first: "
            f"{data} {model}."
        )
    existing_folder(model)


def sheet_option(command: F) -> F:
    """`--sheet NAME`: of a spreadsheet."""
    return click.option(
        "--sheet", metavar="NAME", help="Of a spreadsheet with several that hold something."
    )(command)


def debug_option(command: F) -> F:
    """`--debug`: the traceback of an error too."""
    return click.option(
        "--debug",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_debugged,
        help="Show the traceback of an error, as HUNCH_DEBUG=1 does.",
    )(command)


def _debugged(context: click.Context, parameter: click.Parameter, asked: bool) -> None:
    if asked and isinstance(context.obj, set):
        context.obj.add("--debug")


def env_option(command: F) -> F:
    """`--env KEY=VALUE`: of the environment."""
    return click.option(
        "--env",
        "env_words",
        multiple=True,
        metavar="KEY=VALUE",
        help="Argument of the environment; may be repeated.",
    )(command)


def wrap_option(command: F) -> F:
    """`--wrap WRAPPER`: around the environment."""
    return click.option(
        "--wrap",
        multiple=True,
        metavar="WRAPPER",
        help="Put the environment into this wrapper, file.py:NAME, module:NAME or one of "
        "gymnasium.wrappers, with arguments as in 'TimeLimit(200)'; may be repeated, and the last "
        "one is outermost.",
    )(command)


def import_option(command: F) -> F:
    """`--import MODULE`: agents and environments of the user's own."""
    return click.option(
        "--import",
        multiple=True,
        metavar="MODULE",
        callback=imported,
        expose_value=False,
        help="Import this module of yours first, which defines an agent or registers an "
        "environment; may be repeated.",
    )(command)


def trust_option(command: F) -> F:
    """`--trust`: let a folder name modules to be imported."""
    return click.option(
        "--trust",
        is_flag=True,
        help="Import modules that RUN names, such as that of its environment. Only for folders "
        "whose makers you would let run programs here.",
    )(command)


@contextmanager
def only_named_modules(context: click.Context, trust: bool) -> Iterator[None]:
    """Within this block, which reads a folder, no file of the working folder is imported.

    The program lets the working folder come last among the places of modules, for those that the
    user names; a package that is not installed would be looked for there too, and be a stranger's.
    Where the user named a module, it may need others beside it.
    """
    here = ""
    if trust or _NAMED in context.meta or not sys.path or sys.path[-1] != here:
        yield
        return
    sys.path.pop()
    try:
        yield
    finally:
        sys.path.append(here)


def name_module(context: click.Context, text: str) -> None:
    """Remember that the user typed the name of code, and import the module of a Gymnasium id."""
    place, colon, name = text.partition("(")[0].rpartition(":")
    if not colon:
        return
    context.meta[_NAMED] = True
    if "/" in name or re.search(r"-v\d+$", name):
        import_named(context, place)


def import_named(context: click.Context, module: str) -> None:
    """Import a module that the user typed.

    Raises:
        ConfigurationError: if there is none, or it fails.
    """
    context.meta[_NAMED] = True
    try:
        importlib.import_module(module)
    except Exception as error:  # whatever a foreign module raises
        raise ConfigurationError(
            f"cannot import {module!r}: {type(error).__name__}: {error}"
        ) from error


def imported(context: click.Context, parameter: click.Parameter, modules: Sequence[str]) -> None:
    """Import modules that the user typed, as the callback of an option does."""
    if modules and "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))  # as `python -m` has it
    for module in modules:
        try:
            import_named(context, module)
        except ConfigurationError as error:
            raise click.BadParameter(str(error), context, parameter) from error


def say(sentence: str) -> None:
    """Tell the user something beside the results, on standard error."""
    click.echo(f"hunch: {sentence}", err=True)


def one_thread() -> None:
    """Use one thread: the networks here are so small that a second one only waits."""
    import torch

    torch.set_num_threads(1)


def quiet_option(command: F) -> F:
    """`--quiet`: results and errors only."""
    return click.option(
        "--quiet",
        is_flag=True,
        callback=_quieted,
        help="No progress and no remarks: results and errors only.",
    )(command)


def _quieted(context: click.Context, parameter: click.Parameter, asked: bool) -> bool:
    if asked:
        warnings.simplefilter("ignore")  # until the program ends its command
    return asked


def speaker(quiet: bool) -> Callable[[str], None]:
    """What takes remarks for the user: `say`, or with `quiet` nothing.

    Example:
        >>> speaker(quiet=True)("this is not said")
    """
    return (lambda sentence: None) if quiet else say


def load_torch(say: Callable[[str], None] = say) -> None:
    """Say that it takes a while, do it, and use one thread."""
    say("loading torch")
    one_thread()


def table_of_scores(scores: Mapping[str, Mapping[str, float | None]]) -> list[str]:
    """Scores for a terminal, a line for each of those who are scored.

    Example:
        >>> for line in table_of_scores({"hunch": {"rmse": 0.5, "mae": None}}):
        ...     print(line)
        model                           rmse               mae
        hunch                            0.5                 -
    """
    names = list(next(iter(scores.values())))
    head = f"{'model':<18}" + "".join(f"{name:>18}" for name in names)
    return [
        head,
        *(f"{who:<18}" + "".join(map(_cell, own.values())) for who, own in scores.items()),
    ]


def _cell(score: float | None) -> str:
    return f"{'-':>18}" if score is None else f"{score:>18.4g}"
