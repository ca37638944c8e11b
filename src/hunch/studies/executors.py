"""Workers that others start: Slurm, Ray, Dask. Each of them runs `hunch study work FOLDER`."""

from __future__ import annotations

import contextlib
import ctypes
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from hunch.errors import HunchError, MissingDependencyError
from hunch.interrupts import between_steps
from hunch.studies.live import Live
from hunch.studies.study import LEFT, RUNNING, STOPPED, Status, Study

_LOOK: Final = 1.0  # seconds from one look at what the executor does to the next
Vouched = Mapping[str, Any]


def command_of(study: Study, vouched: Vouched) -> list[str]:
    """What a worker is: a command that may run anywhere where the folder is seen."""
    words = [sys.executable, "-m", "hunch", "study", "work", str(study.folder), "--workers", "1"]
    words += [w for own in vouched.get("own", ()) for w in ("--own", own)]
    words += [w for module in vouched.get("imports", ()) for w in ("--import", module)]
    return [*words, *(["--trust"] if vouched.get("trust") else []), "--quiet"]


def on_slurm(
    study: Study,
    workers: int | None,
    vouched: Vouched,
    options: Mapping[str, Any],
    *,
    progress: bool = True,
    tell: Callable[[str], None] = print,
    cluster: str | None = None,
) -> Status:
    """Let Slurm run the workers, through submitit.

    Args:
        study: the study.
        workers: how many; None: one for each job, at most 16.
        vouched: `own`, `imports` and `trust` of `hunch.studies.work`.
        options: of submitit's `update_parameters`.
        progress: whether to say where the study stands.
        tell: called with what the user should know.
        cluster: of submitit, if not Slurm: `"local"` runs the workers here.

    Raises:
        MissingDependencyError: if submitit is not installed.
        HunchError: if Slurm is not there, or all workers ended before the study.
    """
    submitit = needed("submitit", "slurm")
    count = workers or min(16, len(study.jobs))
    try:
        executor = submitit.AutoExecutor(study.folder / "slurm", cluster=cluster or "slurm")
        executor.update_parameters(name="hunch-study", **options)
        run = submitit.helpers.CommandFunction(command_of(study, vouched), verbose=False)
        with executor.batch():
            jobs = [executor.submit(run) for _ in range(count)]
    except Exception as error:  # whatever submitit makes of a machine without Slurm
        raise HunchError(f"Slurm takes no workers: {error}") from error
    tell(f"{count} workers are Slurm's jobs {', '.join(str(job.job_id) for job in jobs)}")

    def cancel() -> None:
        for job in jobs:
            job.cancel()

    return _wait(study, lambda: any(not job.done() for job in jobs), cancel, progress)


def on_ray(
    study: Study,
    workers: int | None,
    vouched: Vouched,
    options: Mapping[str, Any],
    *,
    progress: bool = True,
    tell: Callable[[str], None] = print,
) -> Status:
    """Let a Ray cluster run the workers, each on one of its CPUs.

    Args:
        study: as for `on_slurm`, and so are the others.
        workers: how many; None: as many as the cluster has CPUs.
        vouched: see there.
        options: `address` of the cluster.
        progress: see there.
        tell: see there.
    """
    ray = needed("ray", "ray")
    with contextlib.redirect_stdout(sys.stderr):
        ray.init(address=options["address"], log_to_driver=False, ignore_reinit_error=True)
    count = workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
    # A node that is lost takes its workers with it; Ray begins others in their place.
    remote = ray.remote(num_cpus=1, max_retries=-1)(_work_here)
    words, here = command_of(study, vouched), str(Path.cwd())
    tasks = [remote.remote(words, here) for _ in range(count)]
    tell(f"{count} workers are tasks of the Ray cluster at {options['address']}")

    def working() -> bool:
        _, left = ray.wait(tasks, num_returns=len(tasks), timeout=0)
        return bool(left)

    def cancel() -> None:
        for task in tasks:
            ray.cancel(task, force=True)

    try:
        return _wait(study, working, cancel, progress)
    finally:
        ray.shutdown()


def on_dask(
    study: Study,
    workers: int | None,
    vouched: Vouched,
    options: Mapping[str, Any],
    *,
    progress: bool = True,
    tell: Callable[[str], None] = print,
) -> Status:
    """Let a Dask cluster run the workers.

    Args:
        study: as for `on_slurm`, and so are the others.
        workers: how many; None: as many as the cluster has threads.
        vouched: see there.
        options: `address` of the scheduler.
        progress: see there.
        tell: see there.
    """
    distributed = needed("distributed", "dask")
    with distributed.Client(options["address"]) as client:
        count = workers or max(1, sum(client.nthreads().values()))
        words, here = command_of(study, vouched), str(Path.cwd())
        tasks = [client.submit(_work_here, words, here, pure=False) for _ in range(count)]
        tell(f"{count} workers are tasks of the Dask cluster at {options['address']}")
        return _wait(
            study, lambda: any(not t.done() for t in tasks), lambda: client.cancel(tasks), progress
        )


EXECUTORS: Final = {"slurm": on_slurm, "ray": on_ray, "dask": on_dask}


def _work_here(words: Sequence[str], folder: str) -> int:
    """Run a worker, and end it with whoever runs this."""
    process = subprocess.Popen([sys.executable, *words[1:]], cwd=folder, preexec_fn=die_with_parent)
    try:
        return process.wait()
    except BaseException:  # cancelled
        process.send_signal(signal.SIGTERM)
        raise


def die_with_parent() -> None:
    """Let Linux end this process when the one that started it dies, however; no harm elsewhere."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def _wait(
    study: Study, working: Callable[[], bool], cancel: Callable[[], None], progress: bool
) -> Status:
    """Say where the study stands until all is done.

    Raises:
        HunchError: if no worker is left and jobs are.
    """
    live = Live(study, progress)
    with between_steps() as interrupted:
        while working():
            if interrupted():
                live.clear()
                cancel()
                raise KeyboardInterrupt
            live.show()
            time.sleep(_LOOK)
    status = live.last()
    if {LEFT, RUNNING, STOPPED} & set(study.states()):
        raise HunchError(
            f"all workers ended, and the study is not done ({status}); go on with: hunch study "
            f"work {study.folder}"
        )
    return status


def needed(module: str, extra: str) -> Any:
    """A module of an extra.

    Raises:
        MissingDependencyError: if it is not installed, with what to type.
    """
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingDependencyError(
            f"this needs {module}: pip install 'torch-hunch[{extra}]'"
        ) from error
