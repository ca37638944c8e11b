"""Runs of an experiment in several processes, one thread each."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TypeVar

from hunch.errors import HunchError
from hunch.interrupts import end_when
from hunch.progress import progress_bar

Task = TypeVar("Task")
Done = TypeVar("Done")


def in_processes(work: Callable[[Task], Done], tasks: Sequence[Task], jobs: int) -> Iterator[Done]:
    """Yield `work(task)` for each task, in the order in which they are done.

    The processes end with the loop over the results, also where it is left early or by Ctrl-C, and
    with this process, also where it is killed.

    Args:
        work: a function of a module, so that another process can find it.
        tasks: its arguments.
        jobs: processes at a time; with 1 all work is done here, in order.

    Raises:
        HunchError: if a process was killed.

    Example:
        >>> list(in_processes(abs, [-1, 2], jobs=1))
        [1, 2]
    """
    if jobs <= 1:
        yield from map(work, tasks)
        return
    # A forked process would inherit the locks of torch's threads.
    context = multiprocessing.get_context("spawn")
    others = set(multiprocessing.active_children())
    jobs = min(jobs, max(1, len(tasks)))
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_begin) as pool:
        try:
            with _ctrl_c_for_the_parent():
                futures = [pool.submit(work, task) for task in tasks]
            for future in as_completed(futures):
                yield future.result()
        except BaseException as error:
            # What is being done would go on to its end, and the program would wait for it.
            for process in set(multiprocessing.active_children()) - others:
                process.kill()
            if isinstance(error, BrokenProcessPool):
                raise HunchError(
                    f"one of {jobs} processes was killed, as happens without enough memory; use "
                    "fewer --jobs."
                ) from error
            raise


@contextmanager
def _ctrl_c_for_the_parent() -> Iterator[None]:
    """Let processes begun here not see Ctrl-C, which a terminal sends to all at once."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def collect(
    work: Callable[[Task], Sequence[Done]],
    tasks: Sequence[Task],
    jobs: int,
    *,
    label: str,
    unit: str,
    progress: bool,
    told: Callable[[Sequence[Done]], str] | None = None,
    keep: Callable[[Sequence[Done]], object] | None = None,
) -> list[Done]:
    """All that `work` returns for all tasks, with a bar over the tasks.

    Args:
        work: a function of a module, from a task to what it brings.
        tasks: its arguments.
        jobs: processes at a time.
        label: what the bar calls the whole.
        unit: what it calls a task.
        progress: whether to show it.
        told: what the bar says of a task that is done.
        keep: given what each task brought, as soon as it has.

    Returns:
        What was brought, in the order in which the tasks were done.

    Example:
        >>> collect(range, [1, 2], 1, label="counting", unit="number", progress=False)
        [0, 0, 1]
    """
    found: list[Done] = []
    with progress_bar(len(tasks), label, unit, enabled=progress) as bar:
        for done in in_processes(work, tasks, jobs):
            found += done
            if keep is not None:
                keep(done)
            bar.update()
            if told is not None:
                bar.set_postfix_str(told(done))
    return found


def _begin() -> None:
    """What a process does first."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        end_when(parent.join)
    import torch

    torch.set_num_threads(1)
