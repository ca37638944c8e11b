"""The command line's page, from what click knows of each command."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import click

from hunch.cli.main import program


def page() -> str:
    """Markdown: a section for each command, with its options and examples."""
    parts = ["# Command line", ""]
    parts += [
        "`hunch COMMAND --help` says the same in a terminal; `python -m hunch` is the same.",
        "Results go to standard output, progress to standard error. Exit code 0: done; 1: failed,",
        "or a claim not met; 2: wrong use.",
        "",
    ]
    context = click.Context(program, info_name="hunch")
    for name in sorted(program.list_commands(context)):
        command = program.get_command(context, name)
        if command is not None and not command.hidden:
            own = click.Context(command, info_name=name, parent=context)
            parts += _section(command, own)
            for below in command.commands if isinstance(command, click.Group) else ():
                found = command.commands[below]
                parts += _section(found, click.Context(found, info_name=below, parent=own))
    return "\n".join(parts)


def _section(command: click.Command, context: click.Context) -> Iterator[str]:
    yield f"## {context.command_path}"
    yield ""
    usage = " ".join(command.collect_usage_pieces(context))
    yield f"```text\n{context.command_path} {usage}\n```"
    yield ""
    yield from _paragraphs(command.help or "")
    options = [p for p in command.get_params(context) if isinstance(p, click.Option)]
    for option in options:
        record = option.get_help_record(context)
        if record is not None:
            names, help_text = record
            yield f"`{' '.join(names.split())}`"
            yield f": {_plain(' '.join(help_text.split()))}"
            yield ""
    epilog = inspect.cleandoc(command.epilog or "").replace("\b\n", "").replace("\b", "")
    if epilog:
        yield f"```text\n{epilog.strip()}\n```"
        yield ""


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in inspect.cleandoc(text).replace("\f", "").split("\n\n"):
        if paragraph.startswith("\b"):
            yield "```text\n" + paragraph.removeprefix("\b\n") + "\n```"
        else:
            yield _plain(" ".join(paragraph.split()))
        yield ""


def _plain(text: str) -> str:
    """Text in which nothing is markup but code in backticks; words in capitals stay."""
    pieces = text.split("`")
    pieces[::2] = [re.sub(r"([\\<>*_\[\]|#{}])", r"\\\1", piece) for piece in pieces[::2]]
    return "`".join(pieces)
