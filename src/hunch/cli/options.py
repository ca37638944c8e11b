"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def seed_option(command: F) -> F:
    """`--seed N`, at least 0."""
    return click.option(
        "--seed",
        type=click.IntRange(min=0),
        default=0,
        show_default=True,
        help="Decides every draw: the same seed gives the same results.",
    )(command)


def json_option(command: F) -> F:
    """`--json`: the result on standard output as JSON."""
    return click.option(
        "--json", "as_json", is_flag=True, help="Print the results as JSON on standard output."
    )(command)


def one_thread() -> None:
    """Use one thread: the networks here are so small that a second one only waits."""
    import torch

    torch.set_num_threads(1)
