"""Ctrl-C between two steps of a long work, so that it may be taken up again; ends of processes."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class _Guard:
    """Remembers the first signal; the second one interrupts at once."""

    pressed = False

    def press(self, signum: int, frame: FrameType | None) -> None:
        if self.pressed:
            signal.default_int_handler(signum, frame)
        self.pressed = True


# Signals reach a process and not one of its parts: the guard of the outermost block that is open.
_guard: _Guard | None = None


@contextmanager
def between_steps() -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C within the block into a flag; a second one interrupts at once.

    A block within another one shares its flag: an evaluation that is part of a training sees that
    it is to end, and so does the training after it.

    Left alone: threads other than the main one, where signals do not arrive, and programs that
    handle Ctrl-C in their own way.

    Yields:
        A function that says whether the work is to end; raise `KeyboardInterrupt` then.

    Example:
        >>> with between_steps() as interrupted:
        ...     interrupted()
        False
    """
    global _guard
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    if (outer := _guard) is not None:
        yield lambda: outer.pressed
        return
    guard = _guard = _Guard()
    usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if usual:
        signal.signal(signal.SIGINT, guard.press)
    try:
        yield lambda: guard.pressed
    finally:
        _guard = None
        if usual:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def end(signum: int, frame: FrameType | None) -> None:
    """What a program may do at another signal that asks it to end: the same as at Ctrl-C.

    Also where Ctrl-C itself is ignored, as in what a shell starts in the background.
    """
    on_ctrl_c = signal.getsignal(signal.SIGINT)
    if _guard is not None:
        _guard.press(signum, frame)
    else:
        (on_ctrl_c if callable(on_ctrl_c) else signal.default_int_handler)(signum, frame)


def end_when(returns: Callable[[], object]) -> None:
    """Let this process end at once when a function returns, which waits for the parent's end.

    A process that works for another one would otherwise go on after that one was killed.

    Args:
        returns: a function that waits, such as reading a pipe of which the parent holds the end.

    Example:
        >>> end_when(threading.Event().wait)  # this event never comes
    """

    def watch() -> None:
        returns()
        os._exit(1)

    threading.Thread(target=watch, name="hunch-parent", daemon=True).start()
