"""One progress bar for everything that lasts: on standard error, not before two seconds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

DELAY = 2.0  # seconds before a bar appears; shorter work needs none


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


@contextmanager
def progress_bar(total: int, description: str, unit: str, *, enabled: bool = True) -> Iterator[Bar]:
    """A bar over `total` units, shown on standard error once the work has lasted two seconds.

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
    if not enabled:
        yield _Silent()
        return
    from tqdm.auto import tqdm

    with tqdm(
        total=total, desc=description, unit=unit, delay=DELAY, dynamic_ncols=True, leave=False
    ) as bar:
        yield bar
