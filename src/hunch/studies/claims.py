"""Who does a job: numbered claims in the job's folder, so that it is done by one worker at a time.

    claim-000001        who claimed the job first; the file's time is its last sign of life
    claim-000001.free   put there when that worker let go of it
    claim-000002        who claimed it next

A claim is a new file of the next number, which the disk lets exactly one worker make, and no number
is used twice while the job is open. The newest claim holds; whoever has an older one has lost the
job, and finds out by looking. So nobody has to delete what somebody else may still believe in.

A claim may be followed by the next when it was let go of; when its process is seen to be dead, on
the same machine; or when its file has had the same time for as long as a lease lasts, by the clock
of the one who waits. Clocks of two machines are never compared.
"""

from __future__ import annotations

import json
import os
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

_CLAIM: Final = re.compile(r"claim-(\d{6,})")


def this_process() -> dict[str, Any]:
    """Who this worker is: what others on the same machine need to see that it died."""
    import platform

    own = {"host": platform.node(), "pid": os.getpid(), "machine": machine()}
    return {**own, "started": started(os.getpid())}


def machine() -> str | None:
    """What process ids are valid within: a kernel's life and a namespace; None if unknown.

    Containers of one machine share a kernel and count their processes for themselves.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return None


def started(pid: int) -> int | None:
    """When a process of this machine began, in ticks since boot; None if there is none now."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    fields = stat.rpartition(b")")[2].split()  # a program's name may hold anything
    # One that died and that nobody asked about yet works no more.
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


@dataclass
class Watch:
    """What an observer has seen of others' claims, by its own clock.

    Args:
        lease: seconds without a sign of life after which a claim is void.
    """

    lease: float
    _seen: dict[Path, tuple[int, float]] = field(default_factory=dict)

    def is_void(self, file: Path) -> bool:
        """Whether whoever made this claim is dead, as far as can be told."""
        try:
            # A disk of the network says what it remembers, unless a file is opened.
            with file.open("rb") as content:
                changed = os.fstat(content.fileno()).st_mtime_ns
                who = _parsed(content.read(4096))
        except FileNotFoundError:
            return True
        if _is_seen_dead(who):
            return True
        before, since = self._seen.get(file, (None, 0.0))
        if before != changed:
            self._seen[file] = (changed, time.monotonic())
            return False
        return time.monotonic() - since >= self.lease


def is_stopped(file: Path, lease: float) -> bool:
    """Whether whoever made a claim is dead, told at one look.

    On another machine that is so if there was no sign of life for a lease's time, by this machine's
    clock; good enough to say so, and `Watch` to act on it.

    Args:
        file: the claim's.
        lease: seconds.

    Example:
        >>> import tempfile
        >>> mine = claim(Path(tempfile.mkdtemp()), Watch(lease=60))
        >>> is_stopped(mine.file, lease=60)
        False
    """
    try:
        age = time.time() - file.stat().st_mtime
        return age >= lease or _is_seen_dead(_parsed(file.read_bytes()[:4096]))
    except OSError:
        return False


def _is_seen_dead(who: dict[str, Any]) -> bool:
    """Whether this is a process of this machine that is no more."""
    here = machine()
    if here is None or who.get("machine") != here:
        return False
    now = started(who["pid"]) if isinstance(who.get("pid"), int) else None
    return now is None or now != who.get("started")


def _parsed(content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except ValueError:  # killed between making the file and filling it
        return {}
    return found if isinstance(found, dict) else {}


@dataclass(frozen=True)
class Claim:
    """A job's claim that this process made.

    Args:
        folder: the job's.
        number: of the claim.
    """

    folder: Path
    number: int

    @property
    def file(self) -> Path:
        """The claim's file."""
        return self.folder / f"claim-{self.number:06d}"

    def sign(self) -> None:
        """Give a sign of life."""
        os.utime(self.file)

    def holds(self) -> bool:
        """Whether nobody else has claimed the job since."""
        return newest(self.folder)[0] == self.number

    def let_go(self) -> None:
        """Let others claim the job at once."""
        self.file.with_suffix(".free").touch()


def newest(folder: Path) -> tuple[int, bool]:
    """Number of the newest claim, 0 if there is none; and whether it was let go of."""
    try:
        names = set(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return 0, True
    number = max((int(m[1]) for n in names if (m := _CLAIM.fullmatch(n))), default=0)
    return number, not number or f"claim-{number:06d}.free" in names


def clear(folder: Path) -> None:
    """Delete all claims of a job that is done: there is nothing left to hold."""
    for file in folder.glob("claim-*"):
        file.unlink(missing_ok=True)


def claim(folder: Path, watch: Watch) -> Claim | None:
    """Claim a job; None if another worker has it.

    Example:
        >>> import tempfile
        >>> folder, watch = Path(tempfile.mkdtemp()), Watch(lease=60)
        >>> mine = claim(folder, watch)
        >>> claim(folder, watch) is None  # it is held, by this very process
        True
        >>> mine.let_go()
        >>> claim(folder, watch).number, mine.holds()
        (2, False)
    """
    number, free = newest(folder)
    if not free and not watch.is_void(folder / f"claim-{number:06d}"):
        return None
    folder.mkdir(parents=True, exist_ok=True)
    own = Claim(folder, number + 1)
    try:
        handle = os.open(own.file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:  # somebody was quicker
        return None
    with os.fdopen(handle, "wb") as file:
        file.write(json.dumps(this_process()).encode())
    return own
