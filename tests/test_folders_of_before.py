"""Run and model folders of an earlier version open, and go on as they would have gone on there.

`make_folders_of_before.py` made them. Sums may round otherwise on another processor, so values are
compared closely here, and bit for bit by the proof, which is for the machine that made them.
"""

import shutil
import tarfile

import numpy as np
import pyarrow.csv
import pytest
from safetensors.numpy import load_file

from hunch.cli.main import run
from make_folders_of_before import ARCHIVE, RUNS, WHOLE, weights

pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    place = tmp_path_factory.mktemp("archive")
    with tarfile.open(ARCHIVE) as archive:
        # Python has filters since 3.11.4, and warns without one from 3.12 on.
        how = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        archive.extractall(place, **how)
    return place / "before"


def resumed(before, name, tmp_path):
    """The state of a run that is gone on with, and what it was in the version that began it."""
    place = tmp_path / name
    shutil.copytree(before / name, place)
    assert run(["train", f"--resume={place}"]) == 0
    last = sorted((place / "checkpoints").iterdir())[-1]
    assert last.name == f"step-{WHOLE:012}"
    return weights(last), load_file(before / f"{name}.safetensors")


def predicted(before, task, tmp_path):
    out = tmp_path / "now.csv"
    assert run(["predict", str(before / task), str(before / "queries.csv"), f"--out={out}"]) == 0
    found, then = pyarrow.csv.read_csv(out), pyarrow.csv.read_csv(before / f"{task}.csv")
    assert found.column_names == [*then.column_names, "outside_because"]  # which is newer
    return found.select(then.column_names), then


@pytest.mark.parametrize("name", RUNS)
def test_a_run_goes_on(name, before, tmp_path):
    now, then = resumed(before, name, tmp_path)
    assert now.keys() == then.keys()
    for key, value in then.items():
        np.testing.assert_allclose(now[key], value, rtol=1e-3, atol=1e-4, err_msg=key)


@pytest.mark.parametrize("task", ["regression", "classification"])
def test_a_model_predicts(task, before, tmp_path):
    now, then = predicted(before, task, tmp_path)
    assert now.column_names == then.column_names
    for name in then.column_names:
        if pyarrow.types.is_floating(then[name].type):
            np.testing.assert_allclose(now[name], then[name], rtol=1e-5, atol=1e-7, err_msg=name)
        else:
            assert now[name] == then[name]


@pytest.mark.proof
@pytest.mark.parametrize("name", RUNS)
def test_a_run_goes_on_bit_for_bit(name, before, tmp_path):
    now, then = resumed(before, name, tmp_path)
    differing = [key for key, value in then.items() if not np.array_equal(now[key], value)]
    assert not differing


@pytest.mark.proof
@pytest.mark.parametrize("task", ["regression", "classification"])
def test_a_model_predicts_bit_for_bit(task, before, tmp_path):
    now, then = predicted(before, task, tmp_path)
    assert now == then
