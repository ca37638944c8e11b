"""One progress bar for everything that lasts: on standard error, not before two seconds.

Where standard error is a terminal or a notebook it is a bar; where it is a file or a pipe, a line
every ten seconds, so that the log of a night's job can be read.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Protocol, Self

DELAY = 2.0  # seconds before a bar appears; shorter work needs none
PERIOD = 10.0  # seconds from one line to the next where there is no terminal


class Bar(Protocol):
    """What a loop may do with its bar."""

    def update(self, n: float = 1) -> bool | None:
        """Advance by `n` units."""

    def set_postfix_str(self, s: str = "", refresh: bool = True) -> None:
        """Show `s` behind the bar."""


class _Silent:
    def update(self, n: float = 1) -> bool | None:
        return None

    def set_postfix_str(self, s: str = "", refresh: bool = True) -> None:
        return None


class Lines:
    """A line on standard error every ten seconds: how far, how fast, how long still.

    A thread of its own says it, so that it comes however long a unit of work takes.

    Args:
        total: number of units of work; 0 if that is unknown.
        description: what is being done, in a few words.
        unit: name of one unit.
        period: seconds from one line to the next; None for ten.

    Example:
        >>> with Lines(4, "counting", "step") as bar:
        ...     _ = bar.update(3)
        ...     bar.line().partition(", ")[0]
        'counting: 3 of 4 steps (75 %)'
    """

    def __init__(
        self, total: int, description: str, unit: str, *, period: float | None = None
    ) -> None:
        self._total, self._description, self._unit = total, description, unit
        self._period = PERIOD if period is None else period
        self._done, self._said = 0.0, ""
        self._begun = time.monotonic()
        self._ended = threading.Event()
        self._speaker = threading.Thread(target=self._speak, daemon=True)
        self._shown = False

    def __enter__(self) -> Self:
        with suppress(RuntimeError):  # where no further thread may be, nothing is said
            self._speaker.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._speaker.is_alive():
            self._speaker.join()
        if self._shown or time.monotonic() - self._begun >= self._period:
            self._say()

    def update(self, n: float = 1) -> bool | None:
        """As `Bar.update`."""
        self._done += n
        return None

    def set_postfix_str(self, s: str = "", refresh: bool = True) -> None:
        """As `Bar.set_postfix_str`; it stands in the next line."""
        self._said = s

    def line(self) -> str:
        """How it stands now."""
        done, seconds = self._done, time.monotonic() - self._begun
        units = self._unit if self._unit == "%" else f"{self._unit}s"
        parts = [f"{done:,.0f} {units}"]
        if self._total:
            share = 100 * done / self._total
            parts = [f"{done:,.0f} of {self._total:,} {units} ({share:.0f} %)"]
        parts.append(f"{duration(seconds)} so far")
        if 0 < done < self._total:
            parts.append(f"about {duration(seconds * (self._total / done - 1))} left")
        if seconds > 0 and done and self._unit != "%":
            parts.append(f"{done / seconds:,.3g} {units}/s")
        return f"{self._description}: {', '.join([*parts, *([self._said] if self._said else [])])}"

    def _speak(self) -> None:
        while not self._ended.wait(self._period):
            self._say()

    def _say(self) -> None:
        self._shown = True
        with suppress(OSError, ValueError, AttributeError):  # whoever reads it may have gone away
            print(self.line(), file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """A time in digits.

    Example:
        >>> duration(7.2), duration(75), duration(7500)
        ('7 s', '1:15', '2:05:00')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, left = divmod(whole, 60)
    return (
        f"{minutes}:{left:02}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02}:{left:02}"
    )


@contextmanager
def progress_bar(total: int, description: str, unit: str, *, enabled: bool = True) -> Iterator[Bar]:
    """A bar over `total` units, shown on standard error once the work has lasted two seconds.

    Where standard error is neither a terminal nor a notebook's, it is a line every ten seconds
    instead.

    Args:
        total: number of units of work.
        description: what is being done, in a few words.
        unit: name of one unit, such as `"step"`.
        enabled: with False nothing is ever printed.

    Yields:
        An object with `update(n)` and `set_postfix_str(text)`.

    Example:
        >>> with progress_bar(10, "counting", "step", enabled=False) as bar:
        ...     for _ in range(10):
        ...         _ = bar.update()
    """
    if not enabled or sys.stderr is None:
        yield _Silent()
        return
    if not _is_watched():
        with Lines(total, description, unit) as lines:
            yield lines
        return
    from tqdm.auto import tqdm

    with tqdm(
        total=total, desc=description, unit=unit, delay=DELAY, dynamic_ncols=True, leave=False
    ) as bar:
        yield bar


def _is_watched() -> bool:
    """Whether what is drawn over itself can be seen: on a terminal, or in a notebook's cell."""
    if "ipykernel" in sys.modules:
        return True
    try:
        return sys.stderr.isatty()
    except (AttributeError, ValueError):  # nobody's, or closed
        return False
