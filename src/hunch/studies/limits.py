"""What a job may take, and how often it is tried."""

from __future__ import annotations

from dataclasses import dataclass

from hunch.validation import real_number, whole_number


@dataclass(frozen=True)
class Limits:
    """What a job of a study may take; the same for all of them.

    Args:
        retries: how often a job is tried again after it failed. That its worker died is no failure.
        time_limit: seconds that an attempt may last; None for no limit. The next attempt goes on
            from the last checkpoint.
        memory_limit: MiB of memory that the job's process, and those it starts, may hold; None for
            no limit.
        lease: seconds without a sign of life after which a worker on another machine counts as
            dead. One of the same machine is known to be dead as soon as it is.

    Example:
        >>> Limits(retries=1, time_limit=3600).lease
        60.0
    """

    retries: int = 2
    time_limit: float | None = None
    memory_limit: float | None = None
    lease: float = 60.0

    def __post_init__(self) -> None:
        whole_number("retries", self.retries, at_least=0)
        real_number("lease", self.lease, at_least=1.0)
        for name in ("time_limit", "memory_limit"):
            if getattr(self, name) is not None:
                real_number(name, getattr(self, name), above=0.0)
