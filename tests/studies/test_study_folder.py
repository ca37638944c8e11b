"""A study's file: written once, sealed, and data from whoever wrote it."""

import json
import os
import subprocess
import sys

import pytest

from hunch.cli.main import run
from hunch.errors import ConfigurationError, FolderError
from hunch.storage import dump_json, sealed
from hunch.studies import Cell, Limits, Study, finished, work
from hunch.studies.claims import Watch, claim, this_process
from hunch.studies.records import as_csv
from hunch.studies.study import say_failure

CHAIN = Cell.reproducing("chain", range(3))


def test_jobs_come_seed_by_seed_and_are_the_same_each_time(tmp_path):
    cells = [CHAIN, Cell.reproducing("bsuite", [7])]
    study = Study.begin(tmp_path / "study", cells)
    names = [job.name for job in study.jobs]
    assert names == [f"reproduce-{n}" for n in ("chain/0", "bsuite/7", "chain/1", "chain/2")]
    before = (tmp_path / "study" / "study.json").read_bytes()
    assert [job.name for job in Study.begin(tmp_path / "study", cells).jobs] == names
    assert (tmp_path / "study" / "study.json").read_bytes() == before
    assert finished(tmp_path / "study") == []


@pytest.mark.parametrize(
    ("cells", "limits"),
    [([Cell.reproducing("chain", range(4))], None), ([CHAIN], Limits(retries=5)), ([], None)],
)
def test_a_folder_is_of_one_study(tmp_path, cells, limits):
    Study.begin(tmp_path, [CHAIN])
    with pytest.raises((FolderError, ConfigurationError), match=r"other cells|at least one"):
        Study.begin(tmp_path, cells, limits)


def test_a_folder_of_somebody_elses_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years")
    with pytest.raises(FolderError, match="not empty"):
        Study.begin(tmp_path, [CHAIN])
    with pytest.raises(FolderError, match="no study"):
        Study.open(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_damaged_file_is_refused(tmp_path):
    Study.begin(tmp_path, [CHAIN])
    place = tmp_path / "study.json"
    place.write_text(place.read_text().replace("chain", "chair"))
    with pytest.raises(FolderError, match="damaged or changed"):
        Study.open(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "../../away"},
        {"name": "/away"},
        {"name": ".."},
        {"name": 3},
        {"kind": "shell"},
        {"labels": {"agent": "a"}},
        {"seeds": []},
        {"seeds": [0, 0]},
        {"seeds": [-1]},
        {"seeds": ["0/../../.."]},
        {"more": 1},
    ],
)
def test_what_a_stranger_wrote_does_not_lead_out_of_the_folder(tmp_path, change):
    study = Study.begin(tmp_path, [CHAIN])
    values = json.loads((tmp_path / "study.json").read_text())
    del values["format"], values["seal"]
    values["cells"][0] |= change
    (tmp_path / "study.json").write_text(dump_json(sealed(values)))
    with pytest.raises(FolderError, match="not as hunch writes it"):
        Study.open(study.folder)


@pytest.mark.parametrize(
    "part", ["jobs", "jobs/reproduce-chain", "results", "jobs/reproduce-chain/0"]
)
def test_a_link_in_the_folder_is_refused(tmp_path, part):
    study = Study.begin(tmp_path / "study", [CHAIN])
    away = tmp_path / "away"
    away.mkdir()
    place = study.folder / part
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(away)
    with pytest.raises(FolderError, match="is a link"):
        work(study, 1, progress=False)
    assert list(away.iterdir()) == []


def test_cells_whose_names_would_be_the_same_get_numbers(tmp_path):
    cells = [CHAIN, Cell.reproducing("Chain", [0]), Cell.reproducing("chain", [1])]
    study = Study.begin(tmp_path, cells)
    names = [cell.name for cell in study.cells]
    assert names == ["reproduce-chain", "reproduce-Chain-2", "reproduce-chain-3"]
    assert [cell.name for cell in Study.open(tmp_path).cells] == names


def test_rows_of_jobs_that_are_not_begun(tmp_path):
    rows = Study.begin(tmp_path, [CHAIN]).rows()
    assert [row["state"] for row in rows] == ["left"] * 3
    assert as_csv(rows).splitlines()[1] == "reproduce-chain/0,reproduce,reproduce,chain,,0,left,0"


@pytest.mark.parametrize(
    ("limit", "says"),
    [
        ({"retries": -1}, "retries"),
        ({"time_limit": 0}, "time_limit"),
        ({"memory_limit": -5.0}, "memory_limit"),
        ({"lease": 0.1}, "lease"),
    ],
)
def test_limits_that_cannot_be(limit, says):
    with pytest.raises(ConfigurationError, match=says):
        Limits(**limit)


def test_a_job_whose_worker_died_is_not_called_running(tmp_path, capsys):
    study = Study.begin(tmp_path / "study", [Cell.reproducing("chain", range(5))])
    folders = [study.job_folder(job) for job in study.jobs]
    mine, _, elsewhere, old, freed = (claim(folder, Watch(60)) for folder in folders)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    gone = json.dumps(this_process() | {"pid": dead.pid})
    (folders[1] / "claim-000001").write_text(gone)
    for other in (elsewhere, old):  # a process of that number lives here too
        other.file.write_text(json.dumps(this_process() | {"machine": "another", "started": 1}))
    os.utime(old.file, (0, 0))
    freed.let_go()
    states = ["running", "stopped", "running", "stopped", "left"]
    assert study.states() == states == [study.state(job) for job in study.jobs]
    assert (study.status().stopped, study.status().total) == (2, 5)
    assert run(["study", "status", str(study.folder)]) == 0
    said = capsys.readouterr().out
    assert "0 done, 2 running, 0 failed, 1 left, 2 stopped, will be taken up" in said
    assert run(["study", "status", str(study.folder), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["stopped"], found["running"], found["left"]) == (2, 2, 1)
    assert [job["state"] for job in found["jobs"]] == states
    say_failure(folders[1] / "failed-000001.json", "no", final=True)  # and then it was killed
    assert study.state(study.jobs[1]) == "failed"
    assert mine.holds()
