"""A study and its folder, which is all that is known of it.

    study.json                 what is done: cells, seeds, limits; sealed, and written once
    jobs/CELL/SEED/            a job's folder: who does it (`claims`), what it made, what it printed
      attempt-000001/          what is in the making, under the number of the claim
      run/                     what is made: of `hunch train`; of others `model/` or `claim/`
      failed-000001.json       why an attempt failed
      output-000001.txt        what was printed in it
    results/CELL/SEED.json     the job is done, and its figures

Nothing else is kept anywhere: no server, no database, no memory of a process.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from hunch.errors import ConfigurationError, FolderError
from hunch.storage import (
    as_written,
    check_own_file,
    check_own_folder,
    dump_json,
    expanded,
    first_folder,
    folder_place,
    read_json,
    sealed,
    unsealed,
    versions,
    write_own_text,
)
from hunch.studies.cells import Cell, Job, jobs_of, with_names_of_their_own
from hunch.studies.claims import is_stopped, newest
from hunch.studies.limits import Limits
from hunch.studies.records import Finished, read_record

STUDY_FILE: Final = "study.json"
DONE, RUNNING, FAILED, LEFT = "done", "running", "failed", "left"
STOPPED: Final = "stopped"  # a worker's claim is on it, and the worker is no more


@dataclass(frozen=True)
class Status:
    """Where a study stands: how many jobs are in which state.

    Args:
        done: jobs that are.
        running: jobs that a worker is on now.
        failed: jobs that failed as often as they are tried.
        left: all others, begun before or not.
        stopped: jobs whose worker died and did not let go of them; the next one takes them up.
    """

    done: int = 0
    running: int = 0
    failed: int = 0
    left: int = 0
    stopped: int = 0

    @classmethod
    def of_states(cls, states: Sequence[str]) -> Status:
        """Counted.

        Example:
            >>> str(Status.of_states(["left", "stopped"]))
            '0 done, 0 running, 0 failed, 1 left, 1 stopped, will be taken up'
        """
        known = (DONE, RUNNING, FAILED, LEFT, STOPPED)
        return cls(**{state: states.count(state) for state in known})

    @property
    def total(self) -> int:
        """All jobs."""
        return self.done + self.running + self.failed + self.left + self.stopped

    def __str__(self) -> str:
        """In a line."""
        stopped = f", {self.stopped:,} stopped, will be taken up" if self.stopped else ""
        return (
            f"{self.done:,} done, {self.running:,} running, {self.failed:,} failed, "
            f"{self.left:,} left{stopped}"
        )


class Study:
    """Many runs in one folder.

    Made by `Study.begin` and `Study.open`.

    Args:
        folder: of the study.
        cells: what is done.
        limits: what each job may take.
        versions: of the packages that it was begun with.
    """

    def __init__(
        self,
        folder: Path,
        cells: Sequence[Cell],
        limits: Limits,
        versions: dict[str, str],
    ) -> None:
        self.folder, self.cells, self.limits = folder, tuple(cells), limits
        self.versions = versions
        self.jobs: list[Job] = jobs_of(self.cells)

    @classmethod
    def begin(
        cls,
        folder: str | os.PathLike[str],
        cells: Iterable[Cell],
        limits: Limits | None = None,
    ) -> Study:
        """A new study, or the one of the same cells that is there.

        Args:
            folder: where; it may not exist yet, be empty, or hold this study.
            cells: what is done.
            limits: what each job may take.

        Raises:
            ConfigurationError: if there are no cells.
            FolderError: if the folder cannot be made, or holds anything else.

        Example:
            >>> import tempfile
            >>> study = Study.begin(tempfile.mkdtemp(), [Cell.reproducing("chain", range(3))])
            >>> len(study.jobs), str(study.status())
            (3, '0 done, 0 running, 0 failed, 3 left')
        """
        own, limits = with_names_of_their_own(cells), limits or Limits()
        if not own:
            raise ConfigurationError("`cells` got nothing; expected at least one cell.")
        place = expanded(folder)
        if (place / STUDY_FILE).is_file():
            found = cls.open(folder)
            if _plain(found.cells) != _plain(own) or found.limits != limits:
                raise FolderError(
                    f"{str(folder)!r} is a study of other cells, seeds or limits, and goes on with "
                    f"those by `hunch study work {folder}`; choose another folder for this one."
                )
            return found
        study = cls(place, own, limits, versions())
        text = dump_json(sealed(study._values()))
        with first_folder(folder, partial(_check_new, folder)) as aside:
            (aside / STUDY_FILE).write_text(text, encoding="utf-8")
        return study

    def _values(self) -> dict[str, Any]:
        return {
            "written_by": "hunch",
            "kind": "study",
            "versions": self.versions,
            "limits": asdict(self.limits),
            "cells": _plain(self.cells),
        }

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> Study:
        """A study that was begun before.

        Raises:
            FolderError: if the folder is none of a study, or its file is not as hunch wrote it.
        """
        place = expanded(folder) / STUDY_FILE
        if not place.is_file():
            raise FolderError(
                f"{str(folder)!r} is no study: there is no {STUDY_FILE} in it; expected a folder "
                "that `hunch study` wrote."
            )
        found = unsealed(read_json(place), place)
        if found.get("written_by") != "hunch" or found.get("kind") != "study":
            raise FolderError(f"{str(place)!r} was not written by hunch.")
        try:
            with as_written(place):
                cells = [Cell.from_json(values) for values in found["cells"]]
                own, limits = with_names_of_their_own(cells), Limits(**found["limits"])
                if [c.name for c in own] != [c.name for c in cells]:
                    raise ValueError("two cells of one name")
                return cls(place.parent, own, limits, dict(found["versions"]))
        except ConfigurationError as error:
            raise FolderError(f"{str(place)!r} is not as hunch writes it: {error}") from error

    def job_folder(self, job: Job) -> Path:
        """Where a job is done."""
        return self.folder / "jobs" / job.cell.name / str(job.seed)

    def output_folder(self, job: Job) -> Path:
        """What a job makes, once it is made."""
        return self.job_folder(job) / job.output

    def record_file(self, job: Job) -> Path:
        """Where a job's record is, once it is done."""
        return self.folder / "results" / job.cell.name / f"{job.seed}.json"

    def check_own(self, job: Job) -> None:
        """No part of a job's place may be a link: it would lead out of the study.

        Raises:
            FolderError: naming the part.
        """
        folder, record = self.job_folder(job), self.record_file(job)
        for place in (*folder.parents[:2], folder, *record.parents[:2], folder / job.output):
            check_own_folder(place)
        check_own_file(record)

    def finished(self) -> list[Finished]:
        """The jobs that are done, in the order of jobs.

        Raises:
            FolderError: if a record is not as hunch wrote it.
        """
        seeds = {cell.name: self._recorded(cell) for cell in self.cells}
        return [
            read_record(self.record_file(job), job, self.output_folder(job))
            for job in self.jobs
            if job.seed in seeds[job.cell.name]
        ]

    def _recorded(self, cell: Cell) -> set[int]:
        """Seeds of a cell that are done: one look into a folder."""
        names = _names(self.folder / "results" / cell.name)
        return {seed for seed in cell.seeds if f"{seed}.json" in names}

    def failures(self, job: Job) -> list[str]:
        """Why attempts at a job failed, the oldest first."""
        return [reason for reason, _ in self._failures(job)]

    def _failures(self, job: Job) -> list[tuple[str, bool]]:
        folder = self.job_folder(job)
        files = sorted(n for n in _names(folder) if n.startswith("failed-") and n.endswith(".json"))
        return [_failure(folder / name) for name in files]

    def has_failed(self, job: Job) -> bool:
        """Whether a job has failed as often as it is tried, or in a way that stays."""
        found = self._failures(job)
        return len(found) > self.limits.retries or any(final for _, final in found)

    def forget_failures(self) -> int:
        """Let jobs that failed be tried anew, as often as at first; how many there are."""
        failed = [job for job in self.jobs if self.state(job) == FAILED]
        for job in failed:
            for file in self.job_folder(job).glob("failed-*.json"):
                file.unlink(missing_ok=True)
        return len(failed)

    def state(self, job: Job) -> str:
        """`"done"`, `"running"`, `"failed"`, `"left"`; `"stopped"` if its worker died at it.

        Whether a worker of another machine lives is judged by its last sign of life, and by this
        machine's clock.
        """
        if self.record_file(job).is_file():
            return DONE
        return self._state_of_open(job)

    def _state_of_open(self, job: Job) -> str:
        folder = self.job_folder(job)
        number, free = newest(folder)
        stopped = not free and is_stopped(folder / f"claim-{number:06d}", self.limits.lease)
        if not free and not stopped:
            return RUNNING
        if number and self.has_failed(job):
            return FAILED
        return STOPPED if stopped else LEFT

    def states(self) -> list[str]:
        """The states of all jobs, in their order, by few looks at the disk."""
        done = {cell.name: self._recorded(cell) for cell in self.cells}
        begun = {cell.name: _names(self.folder / "jobs" / cell.name) for cell in self.cells}
        found = []
        for job in self.jobs:
            if job.seed in done[job.cell.name]:
                found.append(DONE)
            elif str(job.seed) in begun[job.cell.name]:
                found.append(self._state_of_open(job))
            else:
                found.append(LEFT)
        return found

    def status(self) -> Status:
        """How many jobs are in which state."""
        return Status.of_states(self.states())

    def rows(self) -> list[dict[str, Any]]:
        """A row for each job: what it is, its state, its figures, why it failed."""
        done = {one.job.name: one for one in self.finished()}
        rows = []
        for job, state in zip(self.jobs, self.states(), strict=True):
            row = {"job": job.name, "kind": job.cell.kind, **job.cell.labels, "seed": job.seed}
            reasons = self.failures(job) if state != LEFT or self.job_folder(job).is_dir() else []
            one = done.get(job.name)
            if one is not None:
                row |= {"state": DONE, "failures": len(reasons), "seconds": one.seconds}
                row |= {name: value for name, value in one.figures.items() if name not in row}
            else:
                row |= {"state": state, "failures": len(reasons)}
            rows.append(row | ({"reason": reasons[-1]} if reasons else {}))
        return rows


def finished(folder: str | os.PathLike[str]) -> list[Finished]:
    """The jobs of a study that are done: folders, labels, seeds and figures.

    Args:
        folder: of the study.

    Raises:
        FolderError: if it is none, or a file in it is not as hunch wrote it.

    Example:
        >>> import tempfile
        >>> study = Study.begin(tempfile.mkdtemp(), [Cell.reproducing("chain", [0])])
        >>> finished(study.folder)
        []
    """
    return Study.open(folder).finished()


def say_failure(place: Path, reason: str, *, final: bool = False) -> None:
    """Write down why an attempt failed, and whether another one would too.

    Raises:
        FolderError: if it cannot be written.
    """
    values = {"written_by": "hunch", "reason": reason, "final": final}
    write_own_text(place, dump_json(sealed(values)))


def _failure(place: Path) -> tuple[str, bool]:
    try:
        found = unsealed(read_json(place), place)
        return str(found["reason"]), bool(found["final"])
    except (FolderError, KeyError):
        return f"why is not known: {place.name} is not as hunch wrote it", False


def _names(folder: Path) -> set[str]:
    try:
        return set(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return set()


def _plain(cells: Iterable[Cell]) -> list[dict[str, Any]]:
    """Cells as a file has them, whatever they were made of."""
    import json

    found: list[dict[str, Any]] = json.loads(json.dumps([asdict(cell) for cell in cells]))
    return found


def _check_new(folder: str | os.PathLike[str]) -> None:
    place = folder_place(folder)
    try:
        names = [p.name for p in place.iterdir()] if place.exists() else []
    except OSError as error:
        raise FolderError(f"cannot read {str(folder)!r}: {error.strerror}.") from error
    if names:
        raise FolderError(f"{str(folder)!r} is not empty; choose another folder for the study.")
