"""One of a worker's hands: a runner's process, and the job that it is at."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Final

from hunch.errors import HunchError
from hunch.studies.cells import Job
from hunch.studies.claims import Claim

# The program that the command line makes of `runner`, which hands in what stands above it.
# `-P`: no file of the working folder stands in for a module.
_COMMAND: Final = (sys.executable, "-P", "-m", "hunch.cli.study_runner")


@dataclass(frozen=True)
class Assignment:
    """A job that a hand is at.

    Args:
        job: which.
        claim: by which it is ours.
        out: where it is done.
        since: when it began, by the clock that only goes forward.
    """

    job: Job
    claim: Claim
    out: Path
    since: float

    @property
    def seconds(self) -> float:
        """How long it has lasted."""
        return time.monotonic() - self.since


class Hand:
    """A runner, started when it is needed and again when it died.

    Args:
        greeting: what each runner is told first.
        heard: gets `(hand, answer)` for each answer, and `(hand, None)` when a runner ended.
    """

    def __init__(
        self,
        greeting: dict[str, Any],
        heard: queue.SimpleQueue[tuple[Hand, int, dict[str, Any] | None]],
    ) -> None:
        self._greeting, self._heard = greeting, heard
        self._process: subprocess.Popen[str] | None = None
        self._errors: IO[bytes] | None = None
        self._said = ""
        self.number = 0  # of the runner, since answers of one that was killed may still come
        self.ready = False
        self.at: Assignment | None = None

    @property
    def pid(self) -> int | None:
        """Of the runner, if there is one."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start a runner, if there is none."""
        if self._process is not None:
            return
        self.number, self.ready = self.number + 1, False
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  closed in `end`
        self._process = subprocess.Popen(
            _COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            encoding="utf-8",
            env={"OMP_NUM_THREADS": "1", **os.environ},
            start_new_session=True,  # a terminal's Ctrl-C is for the worker, who passes it on
        )
        listener = threading.Thread(
            target=self._listen, args=(self._process, self.number), daemon=True
        )
        listener.start()
        self._tell(self._greeting)

    def _listen(self, process: subprocess.Popen[str], number: int) -> None:
        if process.stdout is not None:
            with process.stdout as answers:
                for line in answers:
                    with contextlib.suppress(ValueError):  # cut off by a kill
                        self._heard.put((self, number, json.loads(line)))
        self._heard.put((self, number, None))

    def _tell(self, values: dict[str, Any] | None) -> None:
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):  # it died, which its listener says
                self._process.stdin.write(json.dumps(values) + "\n")
                self._process.stdin.flush()

    def give(self, at: Assignment, task: dict[str, Any], output: Path) -> None:
        """Let the runner do a job."""
        self.start()
        self.at = at
        self._tell({**task, "out": str(at.out), "output": str(output)})

    def begin_to_count(self) -> None:
        """The runner is ready: what it was given meanwhile begins now."""
        self.ready = True
        if self.at is not None:
            self.at = replace(self.at, since=time.monotonic())

    def interrupt(self) -> None:
        """Ask the runner to stop between two steps."""
        if self._process is not None and self.at is not None:
            with contextlib.suppress(OSError):
                self._process.send_signal(signal.SIGINT)

    def end(self, *, kindly: bool = False) -> int | None:
        """End the runner, and whatever it started; its exit code, negative for a signal."""
        process, self._process = self._process, None
        if process is None:
            return None
        if kindly and process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.write("null\n")
                process.stdin.flush()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)
        _kill(process)
        code = process.wait()
        if process.stdin is not None:  # the listener closes the other one
            with contextlib.suppress(OSError, ValueError):
                process.stdin.close()
        if self._errors is not None:
            with self._errors as errors:
                self._said = _last_line(errors)
        return code

    def check_began(self) -> None:
        """A runner that ended before it was ready will not do better the next time.

        Raises:
            HunchError: with what it said.
        """
        if not self.ready:
            raise HunchError(
                f"the process that does jobs cannot begin: {self._said or 'it was killed.'}"
            )

    def memory(self) -> float:
        """MiB that the runner and what it started hold; memory that they share counts for each."""
        return 0.0 if self._process is None else sum(map(_resident, family(self._process.pid)))


def _last_line(errors: IO[bytes]) -> str:
    end = errors.seek(0, os.SEEK_END)
    errors.seek(max(0, end - 10_000))
    return (errors.read().decode(errors="replace").strip().splitlines() or [""])[-1]


def _kill(process: subprocess.Popen[str]) -> None:
    if hasattr(os, "killpg"):
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)  # its session's, environments' processes too
    with contextlib.suppress(OSError):
        process.kill()


def family(pid: int) -> list[int]:
    """A process and all that it started and that are still there, as far as the system tells.

    Example:
        >>> family(os.getpid())[0] == os.getpid()
        True
    """
    found = [pid]
    for one in found:
        for file in Path(f"/proc/{one}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += map(int, file.read_text().split())
    return found


def _resident(pid: int) -> float:
    """MiB of memory of a process."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
    except OSError:
        pass
    if Path("/proc/self/statm").exists() or not hasattr(os, "killpg"):
        return 0.0  # it is gone
    words = ["ps", "-o", "rss=", "-p", str(pid)]
    said = subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip()
    return int(said) / 1024 if said.isdigit() else 0.0
