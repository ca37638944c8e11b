"""Runs of an experiment in several processes, one thread each."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import TypeVar

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


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)
