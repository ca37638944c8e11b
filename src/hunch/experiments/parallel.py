"""Runs of an experiment in several processes, one thread each."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import TypeVar

from hunch.progress import progress_bar

Task = TypeVar("Task")
Done = TypeVar("Done")


def in_processes(work: Callable[[Task], Done], tasks: Sequence[Task], jobs: int) -> Iterator[Done]:
    """Yield `work(task)` for each task, in the order in which they are done.

    Args:
        work: a function of a module, so that another process can find it.
        tasks: its arguments.
        jobs: processes at a time; with 1 all work is done here, in order.

    Example:
        >>> list(in_processes(abs, [-1, 2], jobs=1))
        [1, 2]
    """
    if jobs <= 1:
        yield from map(work, tasks)
        return
    # A forked process would inherit the locks of torch's threads.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_one_thread) as pool:
        futures = [pool.submit(work, task) for task in tasks]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            for future in futures:
                future.cancel()


def collect(
    work: Callable[[Task], Sequence[Done]],
    tasks: Sequence[Task],
    jobs: int,
    *,
    label: str,
    unit: str,
    progress: bool,
) -> list[Done]:
    """All that `work` returns for all tasks, with a bar over the tasks.

    Args:
        work: a function of a module, from a task to what it brings.
        tasks: its arguments.
        jobs: processes at a time.
        label: what the bar calls the whole.
        unit: what it calls a task.
        progress: whether to show it.

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
            bar.update()
    return found


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)
