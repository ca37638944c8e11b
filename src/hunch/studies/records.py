"""What became of a job: a small sealed file, made once, from what lies in its folder."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hunch.errors import FolderError
from hunch.storage import as_written, checksum, dump_json, read_json, sealed, unsealed
from hunch.storage.asides import aside_file, sweep
from hunch.storage.replacing import flush
from hunch.studies.cells import Job


@dataclass(frozen=True)
class Finished:
    """A job that is done.

    Args:
        job: cell and seed.
        folder: what it made: a run of `hunch train`, a model of `hunch fit`, or a folder with what
            `hunch reproduce` writes.
        figures: what tables show: of a run `last`, `best` and `random`, the mean returns over
            replicas and evaluation episodes by the last weights, by the best ones and by chance;
            of a model its scores on rows held out; of a claim whether it holds.
        seconds: wall time of the attempt that ended it; earlier ones do not count.
    """

    job: Job
    folder: Path
    figures: Mapping[str, float | str | bool | None]
    seconds: float

    @property
    def labels(self) -> Mapping[str, str]:
        """Agent, environment and settings, as tables call them."""
        return self.job.cell.labels

    @property
    def seed(self) -> int:
        """The job's seed."""
        return self.job.seed


def figures_of(job: Job, folder: Path) -> dict[str, float | str | bool | None]:
    """What tables show of a folder that a job made.

    Raises:
        FolderError: if it is not as hunch wrote it.
    """
    read = {"train": _of_run, "fit": _of_model, "reproduce": _of_claim}[job.cell.kind]
    return read(job, folder)


def _of_run(job: Job, folder: Path) -> dict[str, float | str | bool | None]:
    place = folder / "summary.json"
    about = unsealed(read_json(folder / "run.json"), folder / "run.json")
    summary = read_json(place)
    if checksum(place) != about.get("summary"):
        raise FolderError(f"{str(place)!r} is not as hunch wrote it.")
    with as_written(place):
        replicas = summary["replicas"]
        return {
            "last": _mean([r["last"]["mean_return"] for r in replicas]),
            "best": _mean([r["best"]["mean_return"] for r in replicas if r["best"] is not None]),
            "random": summary["random"]["mean_return"],
            "steps": summary["steps"],
            "episodes": summary["episodes"],
            "finished": summary["finished"],
            **{f"set.{name}": value for name, value in about.get("trial", {}).items()},
        }


def _of_model(job: Job, folder: Path) -> dict[str, float | str | bool | None]:
    place = folder / "summary.json"
    with as_written(place):
        scores = read_json(place)["test"]["scores"]
        return dict(next(iter(scores.values())))


def _of_claim(job: Job, folder: Path) -> dict[str, float | str | bool | None]:
    place = folder / f"{job.cell.work['claim']}.json"
    with as_written(place):
        found = read_json(place)
        return {"holds": found["holds"], **{c["what"]: c["value"] for c in found["checks"]}}


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def write_record(place: Path, job: Job, folder: Path, seconds: float) -> None:
    """Say that a job is done; nothing, if that was said before.

    Raises:
        FolderError: if what the job made is not as hunch wrote it, or the disk is full.
    """
    values = {
        "written_by": "hunch",
        "kind": "result",
        "job": job.name,
        "figures": figures_of(job, folder),
        "seconds": round(seconds, 3),
    }
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        sweep(place.parent)
        with aside_file(place) as aside:
            aside.write_text(dump_json(sealed(values)), encoding="utf-8")
            flush(aside)
            _put_once(aside, place)
            flush(place.parent)
    except OSError as error:
        if isinstance(error, FolderError):
            raise
        raise FolderError(f"cannot write {str(place)!r}: {error.strerror or error}.") from error


def _put_once(aside: Path, place: Path) -> None:
    with suppress(FileExistsError):
        try:
            os.link(aside, place)
        except (PermissionError, NotImplementedError) as error:
            if os.path.lexists(place):
                raise FileExistsError from error
            aside.replace(place)  # a disk without links; the record says the same, whoever wrote it


def read_record(place: Path, job: Job, folder: Path) -> Finished:
    """A job's record.

    Raises:
        FolderError: if it is not as hunch wrote it.
    """
    found = unsealed(read_json(place), place)
    with as_written(place):
        if found.get("written_by") != "hunch" or found["job"] != job.name:
            raise FolderError(f"{str(place)!r} is no record of {job.name}.")
        return Finished(job, folder, dict(found["figures"]), float(found["seconds"]))


_FIRST: Final = ("job", "kind", "agent", "env", "settings", "seed", "state", "attempts", "seconds")


def as_csv(rows: Iterable[Mapping[str, Any]]) -> str:
    r"""Rows as CSV, a column for every name that any of them has.

    Example:
        >>> as_csv([{"job": "a/0", "last": 1.5}, {"job": "b/0", "why": None}])
        'job,last,why\r\na/0,1.5,\r\nb/0,,\r\n'
    """
    kept = list(rows)
    names = list(dict.fromkeys(name for row in kept for name in row))
    names.sort(key=lambda n: _FIRST.index(n) if n in _FIRST else len(_FIRST))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, restval="")
    writer.writeheader()
    writer.writerows(kept)
    return text.getvalue()
