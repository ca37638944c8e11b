"""A worker: claims jobs of a study, has them done, and writes down what became of them.

A worker has one hand or several (`hand`), each with a process that does jobs one after the other;
the worker itself only watches. It gives signs of life for the jobs that it has claimed, ends those
that go beyond a limit, and, when all that is open is being done by others, waits to take up what
a dead one leaves.

What is made takes its place by one renaming, which fails where something is: a result is made
once, whoever comes second. What a dead worker left in the making is renamed to the number of the
new claim, so that one who only seemed to be dead writes to a place that is no more.
"""

from __future__ import annotations

import contextlib
import errno
import os
import queue
import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from hunch.errors import ConfigurationError, FolderError
from hunch.interrupts import between_steps
from hunch.storage import sweep, versions
from hunch.storage.replacing import flush
from hunch.studies.cells import Job
from hunch.studies.claims import Claim, Watch, claim, clear, newest
from hunch.studies.hand import Assignment, Hand
from hunch.studies.live import Live
from hunch.studies.records import figures_of, write_record
from hunch.studies.study import Status, Study, say_failure
from hunch.validation import whole_number

_LOOK: Final = 0.2  # seconds from one look at limits and signs of life to the next
_REST: Final = 1.0  # seconds until jobs that others are at are looked at again
_GRACE: Final = 60.0  # seconds that a checkpoint may take after Ctrl-C
_THERE_ALREADY: Final = (errno.ENOTEMPTY, errno.EEXIST)


def work(
    study: Study,
    workers: int = 1,
    *,
    own: Sequence[str] = (),
    imports: Sequence[str] = (),
    trust: bool = False,
    progress: bool = True,
    tell: Callable[[str], None] = lambda line: print(line, file=sys.stderr),
) -> Status:
    """Do a study's jobs until none is open. Any number of processes may do this at a time.

    Args:
        study: the study.
        workers: jobs at a time, each in a process of its own on one thread.
        own: environments and wrappers of yours that the study names, as `lake.py:make_env`.
        imports: modules of yours that define agents or register environments.
        trust: whether to run whatever code the study's folder names.
        progress: whether to say on standard error where the study stands.
        tell: called with a sentence for each attempt that failed.

    Returns:
        Where the study stands.

    Raises:
        FolderError: if the study names code that was not named here, the folder cannot be
            written, or a job found the disk full; what was begun goes on the next time.
        KeyboardInterrupt: after Ctrl-C; jobs have written checkpoints then, and are let go of.

    Example:
        >>> import tempfile
        >>> from hunch.rl import DQN, Plan
        >>> from hunch.studies import Cell, Study, work
        >>> plan = Plan("DQN", DQN("CartPole-v1").settings, steps=200)
        >>> cells = [Cell.training("dqn", "CartPole-v1", plan, seeds=[0, 1])]
        >>> study = Study.begin(tempfile.mkdtemp(), cells)
        >>> str(work(study, workers=2, progress=False))
        '2 done, 0 running, 0 failed, 0 left'
        >>> [run.figures["steps"] for run in study.finished()]
        [200, 200]
    """
    whole_number("workers", workers, at_least=1, at_most=1024)
    if study.limits.memory_limit is not None and not hasattr(os, "killpg"):
        raise ConfigurationError("`memory_limit` is not known how to be held on this system.")
    _say_other_versions(study, tell)
    greeting = {
        "study": str(study.folder),
        "own": list(own),
        "imports": list(imports),
        "trust": trust,
    }
    return _Worker(study, workers, greeting, tell, Live(study, progress)).work()


def cores() -> int:
    """Cores that this process may use: as many workers as do not wait for each other.

    Example:
        >>> cores() >= 1
        True
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _say_other_versions(study: Study, tell: Callable[[str], None]) -> None:
    here = versions()
    differ = [
        f"{name} {here.get(name)} in place of {version}"
        for name, version in study.versions.items()
        if here.get(name) != version
    ]
    if differ:
        tell(
            f"this is {', '.join(differ)}, with which the study was begun: results need not be the "
            "same bits"
        )


class _Worker:
    """See `work`."""

    def __init__(
        self,
        study: Study,
        workers: int,
        greeting: dict[str, Any],
        tell: Callable[[str], None],
        live: Live,
    ) -> None:
        self.study, self.tell, self.live = study, tell, live
        self.heard: queue.SimpleQueue[tuple[Hand, int, dict[str, Any] | None]] = queue.SimpleQueue()
        self.watch = Watch(study.limits.lease)
        self.open = list(study.jobs)  # neither done nor failed for good, as far as is known
        self.next = 0  # where among them the next look begins
        self.rest_until = 0.0
        self.signed = 0.0
        self.looked = 0.0
        self.hands = [Hand(greeting, self.heard) for _ in range(min(workers, len(self.open)))]

    def work(self) -> Status:
        with between_steps() as interrupted:
            try:
                while not interrupted():
                    if not self._assign() and not self.open:
                        return self.live.last()
                    self._hear(_LOOK)
                    self._look()
                    self.live.show()
                self._stop()
                raise KeyboardInterrupt
            finally:
                self.live.clear()
                for hand in self.hands:
                    # One that does nothing may be asked; others are at what nobody waits for.
                    hand.end(kindly=hand.at is None and hand.ready)

    def _assign(self) -> int:
        """Give jobs to hands that have none; how many have one then."""
        for hand in self.hands:
            if hand.at is None and (found := self._next()) is not None:
                self._begin(hand, *found)
        return sum(hand.at is not None for hand in self.hands)

    def _next(self) -> tuple[Job, Claim] | None:
        """A job that is ours from now on, if there is one."""
        if time.monotonic() < self.rest_until:
            return None
        begun, looked = time.monotonic(), 0
        while looked < len(self.open):
            self.next %= len(self.open)
            job = self.open[self.next]
            settled, own = self._tried(job)
            if settled:
                del self.open[self.next]
                continue
            self.next, looked = self.next + 1, looked + 1
            if own is not None:
                return job, own
        # Many workers that look at many jobs are not to be all that a shared disk does.
        self.rest_until = time.monotonic() + max(_REST, 10 * (time.monotonic() - begun))
        return None

    def _tried(self, job: Job) -> tuple[bool, Claim | None]:
        """Whether there is nothing left to do for a job; and a claim, if it could be made."""
        if any(hand.at is not None and hand.at.job == job for hand in self.hands):
            return False, None
        if self._is_settled(job):
            return True, None
        self.study.check_own(job)
        own = claim(self.study.job_folder(job), self.watch)
        if own is None:
            return False, None
        # Somebody may have ended it between the look and the claim.
        if self.study.record_file(job).is_file():
            clear(own.folder)
            return True, None
        if self.study.has_failed(job):
            own.let_go()
            return True, None
        if self.study.output_folder(job).exists() and self._recorded(job, own):
            return True, None
        return False, own

    def _is_settled(self, job: Job) -> bool:
        if self.study.record_file(job).is_file():
            folder = self.study.job_folder(job)
            if newest(folder)[0]:  # its worker is about to tidy up, or died before it could
                self.study.check_own(job)
                with contextlib.suppress(OSError):  # a folder that can only be read is done too
                    sweep(self.study.record_file(job).parent)  # the record in the making
                    _tidy(folder)
            return True
        return self.study.job_folder(job).is_dir() and self.study.has_failed(job)

    def _recorded(self, job: Job, own: Claim) -> bool:
        """Say that a job is done whose worker died before it could say so."""
        folder = self.study.output_folder(job)
        try:
            write_record(self.study.record_file(job), job, folder, 0.0)
        except FolderError as error:
            folder.rename(folder.with_name(f"damaged-{own.number:06d}"))
            self.tell(f"{job.name} is done anew: {error}")
            return False
        _tidy(own.folder)
        return True

    def _begin(self, hand: Hand, job: Job, own: Claim) -> None:
        out = own.folder / f"attempt-{own.number:06d}"
        _take_up(own, out)
        at = Assignment(job, own, out, time.monotonic())
        hand.give(at, job.task(), own.folder / f"output-{own.number:06d}.txt")

    def _hear(self, seconds: float) -> None:
        """Wait for an answer, and deal with all that there are."""
        try:
            self._take(*self.heard.get(timeout=seconds))
            while True:
                self._take(*self.heard.get_nowait())
        except queue.Empty:
            pass

    def _take(self, hand: Hand, number: int, answer: dict[str, Any] | None) -> None:
        if number != hand.number or hand.pid is None:
            return  # of a runner that is no more
        if answer is None:
            self._died(hand)
        elif "refused" in answer:
            raise FolderError(answer["refused"])
        elif "ready" in answer:
            hand.begin_to_count()
        elif hand.at is not None:
            at, hand.at = hand.at, None
            self._answered(at, answer)
            self._make_room(hand)

    def _answered(self, at: Assignment, answer: dict[str, Any]) -> None:
        if "done" in answer:
            self._put(at)
        elif "failed" in answer:
            self._failed(at, answer["failed"], final=bool(answer.get("final")))
        elif "no_room" in answer:
            # No fault of the job's: it would be tried as often as it may, and so would all others.
            raise FolderError(
                f"{at.job.name} stopped: {answer['no_room']} The study goes on where it was, once "
                f"there is room: hunch study work {self.study.folder}"
            )
        else:
            at.claim.let_go()

    def _make_room(self, hand: Hand) -> None:
        """What earlier jobs left in a runner's memory is not to bring the next one to its limit."""
        limit = self.study.limits.memory_limit
        if limit is not None and hand.memory() > limit / 2:
            hand.end(kindly=True)

    def _died(self, hand: Hand) -> None:
        code = hand.end()
        hand.check_began()
        at, hand.at = hand.at, None
        if at is not None:
            self._failed(at, _why_it_died(code))

    def _put(self, at: Assignment) -> None:
        """Put what a job made in its place, once."""
        if not at.claim.holds():
            return
        place = self.study.output_folder(at.job)
        try:
            figures_of(at.job, at.out)
        except FolderError as error:
            shutil.rmtree(at.out, ignore_errors=True)
            self._failed(at, str(error))
            return
        try:
            os.rename(at.out, place)
        except FileNotFoundError:
            return  # somebody took it up while this process slept
        except OSError as error:
            if error.errno not in _THERE_ALREADY:
                raise
            shutil.rmtree(at.out, ignore_errors=True)
        flush(place.parent)
        write_record(self.study.record_file(at.job), at.job, place, at.seconds)
        _tidy(at.claim.folder)

    def _failed(self, at: Assignment, reason: str, *, final: bool = False) -> None:
        if not at.claim.holds():
            return
        place = at.claim.folder / f"failed-{at.claim.number:06d}.json"
        say_failure(place, reason, final=final)
        at.claim.let_go()
        times, tries = len(self.study.failures(at.job)), self.study.limits.retries + 1
        self.live.clear()
        again = "" if final else f", {times} of {tries} times"
        self.tell(f"{at.job.name} failed{again}: {reason}")

    def _look(self) -> None:
        """Hold jobs to their limits, and say that this worker lives."""
        now = time.monotonic()
        if now - self.looked < _LOOK:
            return
        self.looked = now
        for hand in self.hands:
            if hand.at is not None and (why := self._beyond(hand)) is not None:
                at, hand.at = hand.at, None
                hand.end()
                self._failed(at, why)
        if now - self.signed >= min(10.0, self.study.limits.lease / 6):
            self.signed = now
            self._sign()

    def _beyond(self, hand: Hand) -> str | None:
        """Which limit a hand's job is beyond."""
        limits, at = self.study.limits, hand.at
        if at is None or not hand.ready:
            return None
        if limits.time_limit is not None and at.seconds > limits.time_limit:
            return f"it took longer than the time limit of {limits.time_limit:g} s"
        if limits.memory_limit is not None and (held := hand.memory()) > limits.memory_limit:
            return f"it held {held:,.0f} MiB, and the memory limit is {limits.memory_limit:g} MiB"
        return None

    def _sign(self) -> None:
        for hand in self.hands:
            if hand.at is None:
                continue
            try:
                hand.at.claim.sign()
                held = hand.at.claim.holds()
            except FileNotFoundError:
                held = False
            except OSError:
                continue  # a disk of the network that is away for a moment; the lease is longer
            if not held:  # this machine slept, or did not reach the disk, for a lease's time
                self.tell(f"{hand.at.job.name} was taken up by another worker")
                hand.at = None
                hand.end()

    def _stop(self) -> None:
        """Let jobs write checkpoints, and let go of them."""
        self.live.clear()
        for hand in self.hands:
            if hand.ready:
                hand.interrupt()
        deadline = time.monotonic() + _GRACE
        while any(hand.at is not None and hand.ready for hand in self.hands):
            if time.monotonic() > deadline:
                break
            self._hear(_LOOK)
            self._look()
        for hand in self.hands:
            if hand.at is not None:
                at, hand.at = hand.at, None
                hand.end()
                at.claim.let_go()


def _take_up(own: Claim, out: Path) -> None:
    """Let what an earlier attempt left be this one's, under a name that the other does not know."""
    left = [p for p in own.folder.glob("attempt-*") if p.name < out.name]
    for place in sorted(left, reverse=True):
        if out.exists():
            shutil.rmtree(place, ignore_errors=True)
            continue
        try:
            os.rename(place, out)
        except FileNotFoundError:
            continue
        # Whoever is at it still, stopped and not dead, holds the lock of the old file.
        (out / ".lock").unlink(missing_ok=True)


def _tidy(folder: Path) -> None:
    """Delete what nobody needs of a job that is done; the claims last, which tell of the rest."""
    for place in folder.glob("attempt-*"):
        shutil.rmtree(place, ignore_errors=True)
    for file in folder.glob("output-*.txt"):
        with contextlib.suppress(FileNotFoundError):  # another worker does the same
            if not file.stat().st_size:
                file.unlink()
    clear(folder)


def _why_it_died(code: int | None) -> str:
    if code is not None and code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        often = ", as happens without enough memory" if -code == signal.SIGKILL else ""
        return f"its process was ended by {name}{often}"
    return f"its process ended with exit code {code}"
