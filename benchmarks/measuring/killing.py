"""Processes that are killed at a moment of their own processor time.

A busy machine does not shift it. Linux tells of other processes what this needs.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Protocol

from hunch.studies.hand import family

_LOOK, _SOONEST, _LATEST = 0.005, 0.001, 0.2  # seconds from one look at a process to the next
_LONGEST = 3600.0  # seconds on the wall for one command
_AT_PARENTS_DEATH = 1  # PR_SET_PDEATHSIG of Linux
# Calls that change names or what is in a file, as Python tells audit hooks of them.
_CHANGES = tuple(
    f"os.{call}" for call in ("link", "mkdir", "remove", "rename", "rmdir", "symlink", "truncate")
)


def is_there(pid: int) -> bool:
    """Whether a process lives; one that is dead and that nobody asked about does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def is_stopped(pid: int) -> bool:
    """Whether a process is there and was stopped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    except OSError:
        return False


class Changes:
    """Notes the calls by which a process changes its working folder, and stops it behind one.

    So it can be killed where a moment by chance is too rare: between two renamings, or before a
    file that was opened is filled. Calls of processes that it starts are not seen.

    Args:
        number: of the call behind which it stops, from 1 on; 0 for none.
    """

    def __init__(self, number: int = 0) -> None:
        self._number = number
        # Which a copy of this process shares.
        self._noted = tempfile.TemporaryFile()  # noqa: SIM115  lives as this does
        self._made = 0
        self._own: tuple[CodeType, ...] = (Changes._heard.__code__, Changes._stop.__code__)

    def made(self) -> list[str]:
        """The calls there were so far, each with what it changed first."""
        size = os.fstat(self._noted.fileno()).st_size
        return os.pread(self._noted.fileno(), size, 0).decode().splitlines()

    def begin(self) -> None:
        """Begin, in the process that is to be stopped."""
        # One that is stopped would be left over for ever if whoever is to kill it is killed.
        ctypes.CDLL(None).prctl(_AT_PARENTS_DEATH, signal.SIGKILL)
        self._folder = f"{os.getcwd()}{os.sep}"
        sys.addaudithook(self._heard)

    def _heard(self, event: str, values: tuple[Any, ...]) -> None:
        if event != "open" and event not in _CHANGES:
            return
        if event == "open" and not (values[2] or 0) & (os.O_WRONLY | os.O_RDWR):
            return
        if not isinstance(values[0], str | bytes | os.PathLike):
            return  # of a file that is open
        name = os.fsdecode(values[0])
        name = name.removeprefix(self._folder)
        if os.path.isabs(name):
            return
        os.write(self._noted.fileno(), f"{event} {name!r}\n".encode())
        self._made += 1
        if self._made == self._number:
            sys.setprofile(self._stop)  # the next thing that it is told of comes after the call

    def _stop(self, frame: FrameType, event: str, value: object) -> None:
        if frame.f_code not in self._own:
            sys.setprofile(None)
            os.kill(os.getpid(), signal.SIGSTOP)


def kinds(calls: Sequence[str]) -> dict[str, list[int]]:
    """Numbers of calls, from 1 on, those together that differ in numbers within their names alone.

    So a checkpoint that is written ten times counts once.
    """
    found: dict[str, list[int]] = {}
    for number, call in enumerate(calls, 1):
        found.setdefault(re.sub(r"hunch-[0-9a-f]{8}|\d+", "#", call), []).append(number)
    return found


class Process(Protocol):
    """What is asked of a process, as of `subprocess.Popen`."""

    pid: int

    def poll(self) -> int | None:
        """Its exit code, negative for a signal; None while it lives."""

    def wait(self) -> int:
        """The same, once it has ended."""


class Forked:
    """A copy of this process, which has imported everything already, that does one thing.

    Args:
        work: what it does; returns its exit code.
        folder: where.
        said: gets its standard error.
    """

    def __init__(self, work: Callable[[], int], folder: Path, said: int) -> None:
        self._code: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            code = 70
            try:
                os.setsid()
                nothing = os.open(os.devnull, os.O_RDWR)
                for one, other in ((nothing, 0), (nothing, 1), (said, 2)):
                    os.dup2(one, other)
                os.chdir(folder)
                code = work()
                sys.stdout.flush()
                sys.stderr.flush()
            finally:
                os._exit(code)

    def _heard(self, options: int) -> int | None:
        if self._code is None:
            pid, status = os.waitpid(self.pid, options)
            if pid:
                self._code = os.waitstatus_to_exitcode(status)
        return self._code

    def poll(self) -> int | None:
        """As of `Process`."""
        return self._heard(os.WNOHANG)

    def wait(self) -> int:
        """As of `Process`."""
        code = self._heard(0)
        return -1 if code is None else code


class Watched:
    """A process whose processor time is counted, with that of all that it starts.

    Made by `begin` and `fork`.

    Args:
        process: the process.
        said: file that gets its standard error.
    """

    def __init__(self, process: Process, said: Path) -> None:
        self.process, self._said = process, said
        self._seconds: dict[int, float] = {}

    @classmethod
    def begin(cls, words: Sequence[str], folder: Path, environment: dict[str, str]) -> Watched:
        """Begin a command in a folder."""
        handle, name = tempfile.mkstemp()
        process = subprocess.Popen(
            words,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=handle,
            start_new_session=True,
        )
        os.close(handle)
        return cls(process, Path(name))

    @classmethod
    def fork(cls, work: Callable[[], int], folder: Path) -> Watched:
        """Let a copy of this process do something in a folder, and return its exit code."""
        handle, name = tempfile.mkstemp()
        process = Forked(work, folder, handle)
        os.close(handle)
        return cls(process, Path(name))

    def seconds(self) -> float:
        """Of processors, so far; those of children that are gone as they were last seen."""
        for pid in family(self.process.pid):
            with contextlib.suppress(OSError):
                # The clock of another process's time, as clock_getcpuclockid(3) makes its name.
                self._seconds[pid] = time.clock_gettime(~pid << 3 | 2)
        return sum(self._seconds.values())

    def wait_until(self, due: Callable[[], bool]) -> bool:
        """Look for a moment; False if the process ended before it."""
        deadline = time.monotonic() + _LONGEST
        while self.process.poll() is None:
            if due():
                return True
            if time.monotonic() > deadline:
                self.kill()
                raise SystemExit("a command did not end")
            time.sleep(_LOOK)
        return False

    def wait_for(self, seconds: float) -> bool:
        """Wait until it has used so many seconds of processors; False if it ended before."""
        while self.process.poll() is None and (left := seconds - self.seconds()) > 0:
            # Looking costs the processor too: a few processes cannot use up what is left meanwhile.
            time.sleep(min(max(_SOONEST, left / 4), _LATEST))
        return self.process.poll() is None

    def kill(self, *, alone: bool = False) -> list[int]:
        """End it by SIGKILL, with all that it started or alone; the processes that there were."""
        pids = family(self.process.pid)
        for pid in pids[:1] if alone else pids:
            if pid != self.process.pid or self.process.poll() is None:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
        self.process.wait()
        return pids

    def end(self) -> tuple[int, str]:
        """Its exit code, when it has ended, and what it said on standard error."""
        code = self.process.wait()
        said = self._said.read_text(errors="replace")
        self._said.unlink()
        return code, said
