"""The `hunch` program and its way with errors: one line, exit code 1 or 2, no traceback.

`--debug`, or `HUNCH_DEBUG=1` in the environment, shows the traceback too.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import io
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any, Final, NoReturn

import click

from hunch import __version__, interrupts
from hunch.cli.failures import DONE, FAILED, WRONG_USE, explain
from hunch.cli.options import debug_option
from hunch.errors import HunchWarning

# What each command is for, as its page begins. Its module is imported when it is called.
_COMMANDS: Final = {
    "bench": "Measure hunch beside its peers and the limit, in turns, on one thread.",
    "check-env": "Whether ENV, an environment of yours, does what agents need of it, and which can "
    "play it.",
    "compare": "Hold agents beside each other, over seeds and environments: who is ahead, "
    "how surely.",
    "demo": "Run the five sources on their own inputs and write one page with all figures.",
    "diagnose": "Bias, variance, cost and time of every gradient estimator on PROBLEM, and what to "
    "use.",
    "doctor": "What this installation has, and whether it computes what it should.",
    "fit": "Learn to predict a column of DATA, and how far off it may be.",
    "monitor": "Hold DATA, rows of a later time, against what MODEL's folder promised.",
    "play": "Play episodes with the agent of RUN, a folder of `hunch train` or of an agent's "
    "`save`.",
    "predict": "Predict each row of DATA with MODEL's folder.",
    "reproduce": "Run published claims at their full settings; exit with 1 if one does not hold.",
    "sample": "Write a table to try `hunch fit` on: flats.csv, and flats-new.csv to predict.",
    "study": "Do many runs as one study: agents, environments, settings and seeds of STUDY.",
    "train": "Train AGENT in ENV; the run's folder gets logs, checkpoints and a report.",
}


class _Program(click.Group):
    """Commands that are imported one by one, when they are called.

    Until then a name and a purpose stand for each, of which help and corrections are made.
    """

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a name; None if there is none."""
        if type(self.commands.get(cmd_name)) is _Purpose:
            name = cmd_name.replace("-", "_")
            module = import_module(f"hunch.cli.{name}")
            self.add_command(debug_option(getattr(module, name)), cmd_name)
        return super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write what each is for."""
        room = formatter.width - 6 - max(map(len, _COMMANDS))
        known = [(name, _Purpose(name, help=text)) for name, text in sorted(_COMMANDS.items())]
        with formatter.section("Commands"):
            formatter.write_dl([(name, own.get_short_help_str(room)) for name, own in known])


class _Purpose(click.Command):
    """What stands for a command that is not imported."""


@click.group(
    cls=_Program,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Example: hunch demo --quick",
)
@click.version_option(__version__, prog_name="hunch")
def program() -> None:
    """Networks whose randomness means something: see the ideas run, check the claims."""


for name, text in _COMMANDS.items():
    program.add_command(_Purpose(name, help=text))
debug_option(program)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the program and exit: 0 done, 1 failed or a claim not met, 2 wrong use.

    Args:
        arguments: the words after `hunch`; those of the process if None.
    """
    code = FAILED

    def leave() -> None:
        if interrupts.asked_to_end():
            # Taking torch apart in memory would take seconds on a busy machine.
            for output in (sys.stdout, sys.stderr):
                with contextlib.suppress(OSError, ValueError):
                    output.flush()
            os._exit(code)

    atexit.register(leave)  # the first one registered is the last one called
    _look_for_cycles_rarely()
    interrupts.end_as_asked()
    code = run(arguments)
    sys.exit(code)


def _look_for_cycles_rarely() -> None:
    """Spare a process that is all ours most of Python's searches for unreachable cycles.

    Libraries make some hundred thousand objects while they load, all of which stay: the searches
    meanwhile find nothing and take a tenth of a short command's time, and the one at its end,
    through all that the system is about to take back anyway, a fifth.
    """
    gc.set_threshold(10_000, *gc.get_threshold()[1:])
    atexit.register(gc.freeze)


def run(arguments: list[str] | None = None) -> int:
    """Run the program; return its exit code."""
    for output in (sys.stdout, sys.stderr):
        if isinstance(output, io.TextIOWrapper) and output.errors == "strict":
            output.reconfigure(errors="backslashreplace")  # names of files may be no text at all
    with warnings.catch_warnings():
        warnings.simplefilter("default", HunchWarning)
        warnings.showwarning = _in_one_line(warnings.showwarning)
        return _run(arguments)


def _in_one_line(usual: Callable[..., None]) -> Callable[..., None]:
    """How warnings are shown: ours as our errors are, others as ever."""

    def show(message: Any, category: type[Warning], *where: Any, **more: Any) -> None:
        if issubclass(category, HunchWarning):
            print(f"hunch: {message}", file=sys.stderr)
        else:
            usual(message, category, *where, **more)

    return show


def _run(arguments: list[str] | None) -> int:
    seen: set[str] = {"--debug"} if os.environ.get("HUNCH_DEBUG") else set()
    try:
        with _modules_from_here():
            code = program.main(arguments, prog_name="hunch", standalone_mode=False, obj=seen)
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message(), file=sys.stderr)
        return WRONG_USE
    except (KeyboardInterrupt, click.Abort) as error:
        if isinstance(error.__cause__, EOFError):  # for click the same as Ctrl-C
            if "--debug" in seen:
                _show(error.__cause__)
            return _fail(*explain(error.__cause__))
        interrupts.heard()
        return _fail("interrupted", FAILED)
    except BrokenPipeError:
        # The reader of our output went away, as `| head` does: nothing is left to say.
        sys.stderr.close()
        return FAILED
    except (SystemExit, GeneratorExit):
        raise
    except BaseException as error:  # compiled code has panics that are no Exception
        if "--debug" in seen:
            _show(error)
        if interrupts.asked_to_end():  # an import that is interrupted may fail in any way
            interrupts.heard()
            return _fail("interrupted", FAILED)
        return _fail(*explain(error))
    return code if isinstance(code, int) else DONE


def _show(error: BaseException) -> None:
    import traceback

    traceback.print_exception(error)


@contextlib.contextmanager
def _modules_from_here() -> Iterator[None]:
    """Let `mymodule:Env-v0` name a module in the working folder, as `python -m hunch` does.

    It comes last, so that no file of the user's stands in for an installed module.
    """
    here, before = "", list(sys.path)  # the first is, for the import system, the present folder
    if not sys.flags.safe_path and here not in sys.path:
        sys.path.append(here)
    try:
        yield
    finally:
        sys.path[:] = before


def _fail(message: str, code: int) -> int:
    print(f"hunch: {message}", file=sys.stderr)
    return code
