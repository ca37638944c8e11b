"""Options that several commands share."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


class WholeNumber(click.IntRange):
    """A whole number, at least `least`; what is beyond `most` is refused and not in the help.

    Example:
        >>> WholeNumber(1).convert("7", None, None)
        7
    """

    def __init__(self, least: int, most: int = 2**63 - 1) -> None:
        super().__init__(min=least)
        self.most = most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number, or a message on what is wrong with it."""
        number = super().convert(value, param, ctx)
        if number > self.most:
            self.fail(f"{number} is too large; expected at most {self.most}.", param, ctx)
        return number


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


def import_option(command: F) -> F:
    """`--import MODULE`: agents and environments of the user's own."""
    return click.option(
        "--import",
        multiple=True,
        metavar="MODULE",
        callback=_imported,
        expose_value=False,
        help="Import this module of yours first, which defines an agent or registers an "
        "environment; may be repeated.",
    )(command)


def _imported(context: click.Context, parameter: click.Parameter, modules: Sequence[str]) -> None:
    if modules and "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))  # as `python -m` has it
    for module in modules:
        try:
            importlib.import_module(module)
        except Exception as error:  # whatever a foreign module raises
            raise click.BadParameter(
                f"cannot import {module!r}: {type(error).__name__}: {error}", context, parameter
            ) from error


def one_thread() -> None:
    """Use one thread: the networks here are so small that a second one only waits."""
    import torch

    torch.set_num_threads(1)
