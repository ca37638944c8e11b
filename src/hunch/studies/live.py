"""Where a study stands, said while it goes on: one line that changes, or one every ten seconds."""

from __future__ import annotations

import sys
import time
from typing import Final

from hunch.studies.study import Status, Study

_EVERY: Final = 10.0  # seconds, where lines stay
_REFRESH: Final = 1.0  # seconds, on a terminal


class Live:
    """Says on standard error how many jobs are done, running, failed and left.

    Args:
        study: which.
        enabled: with False nothing is ever printed.
    """

    def __init__(self, study: Study, enabled: bool = True) -> None:
        self._study, self._enabled = study, enabled
        self._terminal = sys.stderr.isatty()
        self._begun = time.monotonic()
        self._due = self._begun + (_REFRESH if self._terminal else _EVERY)
        self._shown = False

    def show(self) -> None:
        """Say it, if it is time to."""
        now = time.monotonic()
        if not self._enabled or now < self._due:
            return
        status = self._study.status()
        spent = time.monotonic() - now
        self._due = now + max(_REFRESH if self._terminal else _EVERY, 10 * spent)
        line = f"hunch: {status} ({clock(now - self._begun)})"
        print(f"\r\x1b[K{line}" if self._terminal else line, end="", file=sys.stderr, flush=True)
        self._shown = self._terminal
        if not self._terminal:
            print(file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Make room for another line."""
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
            self._shown = False

    def last(self) -> Status:
        """Where the study stands now."""
        self.clear()
        return self._study.status()


def clock(seconds: float) -> str:
    """Seconds as hours, minutes and seconds.

    Example:
        >>> clock(75), clock(3675)
        ('1:15', '1:01:15')
    """
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
