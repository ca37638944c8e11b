"""The process that does jobs, one after the other, so that torch is imported once for all of them.

A worker starts it and speaks to it in lines of JSON, on pipes that nothing else writes to. What
code prints meanwhile goes to a file of the job's. It ends with the worker, however that one ends.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import json
import os
import queue
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import Any, Final, TextIO

from hunch.errors import HunchError
from hunch.studies.kinds import KINDS, Above, Vouched, check_vouched
from hunch.studies.study import Study

_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def serve(above: Above) -> None:
    """Do what the worker says until it says no more; the process ends then.

    Args:
        above: what stands above this package.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also where a shell ignores it
    commands, answers = _streams_of_our_own()
    asked: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(commands, asked), daemon=True).start()
    with contextlib.suppress(KeyboardInterrupt):
        _serve(asked, answers, above)
    _leave(0)


def _serve(asked: queue.SimpleQueue[dict[str, Any] | None], answers: TextIO, above: Above) -> None:
    begin = asked.get() or {}
    refused = _prepare(begin, above)
    _say(answers, {"ready": True} if refused is None else {"refused": refused})
    while refused is None and (task := asked.get()) is not None:
        _print_into(Path(task["output"]))
        answer = _done(task, begin, above)
        _print_into(None)
        _say(answers, answer)
        if "interrupted" in answer:
            return


def _streams_of_our_own() -> tuple[TextIO, TextIO]:
    """The worker's pipes, where no code that a job runs finds them; for that one there is nothing.

    Standard output is what standard error is.
    """
    commands = os.fdopen(os.dup(0), "r", encoding="utf-8")
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return commands, answers


def _listen(commands: TextIO, asked: queue.SimpleQueue[dict[str, Any] | None]) -> None:
    for line in commands:
        asked.put(json.loads(line))
        if line.strip() == "null":
            return
    _leave(1)  # the worker is gone, and so is whoever asked for what is being done


def _leave(code: int) -> None:
    # Taking torch apart in memory would take a while, and nothing is left to be written.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _say(answers: TextIO, values: dict[str, Any]) -> None:
    answers.write(json.dumps(values) + "\n")
    answers.flush()


def _prepare(begin: dict[str, Any], above: Above) -> str | None:
    """Import what jobs need, and see that nobody has to be trusted who is not; what is wrong."""
    vouched = _vouched(begin)
    if vouched.own or vouched.imports or vouched.trust:
        sys.path.append("")  # last, as the program has it; see `hunch.cli.main`
    try:
        import torch

        import hunch.rl.runs.summary  # noqa: F401  so that the first job is no slower

        torch.set_num_threads(1)
        for module in vouched.imports:
            importlib.import_module(module)
        cells = Study.open(begin["study"]).cells
        works = [cell.work for cell in cells if cell.kind == "train"]
        check_vouched(begin["study"], works, vouched, above)
    except HunchError as error:
        return str(error)
    except Exception as error:  # whatever a module of the user's raises
        traceback.print_exc()
        return above.explain(error)
    return None


def _vouched(begin: dict[str, Any]) -> Vouched:
    return Vouched(begin["own"], begin["imports"], begin["trust"])


def _done(task: dict[str, Any], begin: dict[str, Any], above: Above) -> dict[str, Any]:
    try:
        KINDS[task["kind"]](task, Path(task["out"]), begin["study"], _vouched(begin), above)
    except KeyboardInterrupt:
        return {"interrupted": True}
    except BaseException as error:  # whatever a job raises, the next one is done
        traceback.print_exc()
        if has_no_room(error):
            return {"no_room": above.explain(error)}
        # A job that cannot work will not the next time either.
        return {"failed": above.explain(error), "final": _is_final(error)}
    return {"done": True}


def has_no_room(error: BaseException | None) -> bool:
    """Whether what went wrong is the disk, on which other jobs would find no room either.

    Example:
        >>> has_no_room(OSError(errno.ENOSPC, "No space left on device"))
        True
        >>> has_no_room(OSError(errno.ENOENT, "No such file or directory"))
        False
    """
    while error is not None:
        # What compiled code makes of it is an error of its own kind, which says the number.
        if getattr(error, "errno", None) in _NO_ROOM or any(
            f"(os error {number})" in str(error) for number in _NO_ROOM
        ):
            return True
        error = error.__cause__ or error.__context__
    return False


def _is_final(error: BaseException) -> bool:
    return isinstance(error, HunchError) and isinstance(error, ValueError | ImportError)


def _print_into(file: Path | None) -> None:
    """Let all that is printed go into a file, also by compiled code and other processes."""
    sys.stdout.flush()
    sys.stderr.flush()
    place = os.devnull if file is None else file
    handle = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.close(handle)
