"""Ctrl-C between two steps of a long work, so that it can be resumed; ends of processes."""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
import time
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
    before = signal.getsignal(signal.SIGINT)
    usual = before in (signal.default_int_handler, _program.ask)
    if usual:
        signal.signal(signal.SIGINT, guard.press)
    try:
        yield lambda: guard.pressed
    finally:
        _guard = None
        if usual:
            signal.signal(signal.SIGINT, before)


def end(signum: int, frame: FrameType | None) -> None:
    """What a program may do at another signal that asks it to end: the same as at Ctrl-C.

    Also where Ctrl-C itself is ignored, as in what a shell starts in the background.
    """
    if _guard is not None:
        _guard.press(signum, frame)
    else:
        signal.default_int_handler(signum, frame)


class _Program:
    """Whether somebody asked this program to end, which is not forgotten on the way.

    A module that catches everything while it is imported swallows a `KeyboardInterrupt`, and the
    program goes on. Here it is raised again, unless it is on its way already.
    """

    asked = False  # to end, by a signal
    heard = False  # somebody deals with it
    _looks = False  # whether the next signal is that of the thread below

    def ask(self, signum: int, frame: FrameType | None) -> None:
        """A handler of signals."""
        if self._looks:
            self._looks = False
            if not (self.heard or _guard is not None or _on_its_way(sys.exception())):
                raise KeyboardInterrupt
            return
        if not self.asked:
            self.asked = True
            threading.Thread(target=self._insist, args=(signum,), daemon=True).start()
        end(signum, frame)

    def _insist(self, signum: int) -> None:
        while not self.heard:
            time.sleep(_PATIENCE)
            if _guard is None and not self.heard:
                self._looks = True
                _interrupt_main_thread(signum)


def _interrupt_main_thread(signum: int) -> None:
    main = threading.main_thread().ident
    if main is not None and hasattr(signal, "pthread_kill"):
        signal.pthread_kill(main, signum)  # ends a wait of the system too
    else:
        _thread.interrupt_main(signal.Signals(signum))


_PATIENCE = 0.7  # seconds for an interrupt to come through
_program = _Program()


def end_as_asked() -> None:
    """Let Ctrl-C, and SIGTERM as `timeout`, schedulers and containers send it, end this program.

    For a program, not for a library: it sets handlers of signals. After this `asked_to_end` knows.
    """
    own = os.getpid()

    def ask(signum: int, frame: FrameType | None) -> None:
        if os.getpid() != own:
            # A process of ours that inherited this handler, such as a parallel environment.
            signal.signal(signum, signal.SIG_DFL)
            signal.raise_signal(signum)
        _program.ask(signum, frame)

    signal.signal(signal.SIGTERM, ask)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _program.ask)


def asked_to_end() -> bool:
    """Whether a signal has asked this program to end; see `end_as_asked`.

    Example:
        >>> asked_to_end()
        False
    """
    return _program.asked


def heard() -> None:
    """Say that an interrupt was caught on purpose, so that it is not raised again.

    Example:
        >>> heard()
    """
    _program.heard = _program.asked


def _on_its_way(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, KeyboardInterrupt | GeneratorExit | SystemExit):
            return True
        error = error.__context__
    return False


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
