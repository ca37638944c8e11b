"""What went wrong, in one line, and the exit code that goes with it."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Final

import click

from hunch.errors import HunchError
from hunch.named_code import is_ours, place_of

DONE, FAILED, WRONG_USE = 0, 1, 2

_LONGEST: Final = 1200  # characters of a message; of a longer one the middle is left out

# What the machine refuses, whatever the user had asked for.
_MACHINE: Final = {
    errno.ENOSPC: "the disk is full; make room and try again",
    errno.EDQUOT: "your quota of the disk is used up; make room and try again",
    errno.EFBIG: "the file would be larger than is allowed here; see `ulimit -f`",
    errno.EIO: "the disk could not be read or written; look at its state",
    errno.EMFILE: "too many files are open; see `ulimit -n`",
    errno.ENFILE: "too many files are open on this machine",
    errno.ENOMEM: "there is not enough memory; choose smaller sizes",
    errno.EAGAIN: "the machine allows no further process or thread; see `ulimit -u`",
}
# What is wrong with a name that the user gave.
_NAMES: Final = {
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
    errno.ELOOP: "its symbolic links lead in a circle; give the file or folder itself",
    errno.ENOENT: "there is no such file or folder",
    errno.ENOTDIR: "a part of it is a file; expected a folder",
    errno.EISDIR: "it is a folder; expected a file",
    errno.EACCES: "you may not use it; change its permissions or choose another place",
    errno.EPERM: "you may not use it; change its permissions or choose another place",
    errno.EROFS: "it can only be read; choose another place",
}
_NO_MEMORY: Final = ("can't allocate memory", "not enough memory", "out of memory")


def explain(error: BaseException) -> tuple[str, int]:
    """One line on an error, and whether it is what the user gave (2) or what failed (1).

    Example:
        >>> explain(HunchError("no such thing"))
        ('no such thing', 2)
        >>> explain(OSError(28, "No space left on device", "page.html"))
        ("'page.html': the disk is full; make room and try again.", 1)
    """
    message, code = _explained(error)
    return one_line(message), code


def one_line(message: str) -> str:
    r"""A message as one line that changes nothing on a terminal, and is not endless.

    Example:
        >>> one_line("two\nlines and an \x1b[31mescape")
        'two lines and an \\x1b[31mescape'
    """
    line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in " ".join(message.split()))
    if len(line) <= _LONGEST:
        return line
    half = _LONGEST // 2
    return f"{line[:half]} … {line[-half:]}"


def _explained(error: BaseException) -> tuple[str, int]:
    if isinstance(error, click.ClickException):
        context = error.ctx if isinstance(error, click.UsageError) else None
        command = context.command_path if context else "hunch"
        return f"{error.format_message()} (see {command} --help)", WRONG_USE
    if isinstance(error, HunchError):
        from concurrent.futures import BrokenExecutor

        killed = isinstance(error.__cause__, BrokenExecutor)
        return str(error), FAILED if killed else WRONG_USE
    if isinstance(error, OSError) and error.errno in _MACHINE | _NAMES:
        return _of_the_system(error)
    if isinstance(error, RuntimeError) and "home directory" in str(error):  # pathlib's
        return (
            "a name begins with ~ and a user whom this machine does not know; write the whole "
            "path, or ./~… for a name that begins so.",
            WRONG_USE,
        )
    if isinstance(error, EOFError) and (cut := _cut_module(error)):
        return (
            f"{shown(cut)}: Python's compiled module is cut off, as a full disk leaves it; delete "
            "that file and try again.",
            FAILED,
        )
    if _is_out_of_memory(error):
        return (
            "there is not enough memory for this; choose smaller sizes (rows, members, replicas, "
            f"environments, networks or batches). {_said(error)}.",
            FAILED,
        )
    return _unexpected(error)


def _cut_module(error: EOFError) -> str | None:
    """The compiled module that could not be imported, where this is the end of one.

    CPython up to 3.13.0 keeps what it could write of one (python/cpython#126606), and fails on it
    from then on.
    """
    step = error.__traceback__
    while step is not None:
        frame = step.tb_frame
        if frame.f_code.co_name == "_compile_bytecode":
            return str(frame.f_locals.get("bytecode_path") or "") or None
        step = step.tb_next
    return None


def _of_the_system(error: OSError) -> tuple[str, int]:
    known = _MACHINE.get(error.errno or 0)
    code, says = (FAILED, known) if known else (WRONG_USE, _NAMES[error.errno or 0])
    name = f"{shown(str(error.filename))}: " if error.filename is not None else ""
    return f"{name}{says}.", code


def shown(name: str) -> str:
    """A file's name as messages have it; of a very long one the middle is left out.

    Example:
        >>> shown("a.csv"), len(shown("a" * 500))
        ("'a.csv'", 125)
    """
    return repr(name if len(name) <= 120 else f"{name[:60]} … {name[-60:]}")


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in text for words in _NO_MEMORY)


def _said(error: BaseException) -> str:
    text, kind = str(error).strip().rstrip("."), type(error).__name__
    if isinstance(error, SyntaxError):
        text = str(error.msg)  # without the place, which is said
    return f"{kind}: {text}" if text else kind


def _unexpected(error: BaseException) -> tuple[str, int]:
    """What nobody foresaw: whose code it was in, and what to do."""
    if place := place_of(error):
        return f"{_said(error)} (in {place}; --debug shows how it came to that).", WRONG_USE
    from traceback import extract_tb

    own = [f for f in extract_tb(error.__traceback__) if is_ours(f.filename)]
    where = f" in {Path(own[-1].filename).name}, line {own[-1].lineno}" if own else ""
    return (
        f"{_said(error)}. This is an error of hunch's own{where}: run it again with --debug, and "
        "report what that prints to hunch's authors.",
        FAILED,
    )
