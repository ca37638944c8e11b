import json

import numpy as np
import pytest
import torch

from hunch.errors import FolderError
from hunch.storage import (
    dump_json,
    new_folder,
    open_folder,
    read_json,
    read_manifest,
    read_tensors,
    versions,
    write_tensors,
)


def write(place, text="one", kind="demo"):
    with new_folder(place, kind) as folder:
        (folder / "page.html").write_text(text)


def test_a_folder_is_written_and_its_own_is_replaced(tmp_path):
    place = tmp_path / "a b" / "out"
    write(place)
    write(place, "two")
    assert (place / "page.html").read_text() == "two"
    assert read_manifest(place)["kind"] == "demo"
    assert [p.name for p in place.parent.iterdir()] == ["out"]


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "out").mkdir()
    write(tmp_path / "out")
    assert (tmp_path / "out" / "page.html").exists()


def test_an_error_inside_leaves_the_old_folder_and_nothing_else(tmp_path):
    place = tmp_path / "out"
    write(place)

    def fail():
        with new_folder(place, "demo") as folder:
            (folder / "page.html").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert (place / "page.html").read_text() == "one"
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_what_is_somebody_elses_is_never_touched(tmp_path):
    place = tmp_path / "mine"
    place.mkdir()
    (place / "thesis.tex").write_text("years")
    with pytest.raises(FolderError, match="is not empty and hunch's demo did not write it"):
        write(place)
    assert [p.name for p in place.iterdir()] == ["thesis.tex"]

    place = tmp_path / "added"
    write(place)
    (place / "notes.txt").write_text("mine")
    with pytest.raises(FolderError, match=r"holds 'notes.txt', which hunch did not write"):
        write(place)

    place = tmp_path / "edited"
    write(place)
    (place / "page.html").write_text("my edits")
    with pytest.raises(FolderError, match="was changed since hunch wrote it"):
        write(place)

    place = tmp_path / "model"
    write(place, kind="model")
    with pytest.raises(FolderError, match="hunch's demo did not write it"):
        write(place)

    place = tmp_path / "broken"
    place.mkdir()
    (place / "hunch.json").write_text("{not json")
    with pytest.raises(FolderError, match="did not write it"):
        write(place)

    (tmp_path / "file").write_text("x")
    with pytest.raises(FolderError, match="is a file"):
        write(tmp_path / "file")
    with pytest.raises(FolderError, match="cannot write to"):
        write(tmp_path / "file" / "below")


def test_files_that_appear_while_writing_are_kept(tmp_path):
    place = tmp_path / "out"

    def race():
        with new_folder(place, "demo") as folder:
            (folder / "page.html").write_text("one")
            place.mkdir()
            (place / "mine.txt").write_text("x")

    with pytest.raises(FolderError, match="is not empty"):
        race()
    assert [p.name for p in place.iterdir()] == ["mine.txt"]


def test_json_refuses_nan_and_is_stable():
    assert json.loads(dump_json({"a": [1, 2.5]})) == {"a": [1, 2.5]}
    with pytest.raises(ValueError, match="not JSON compliant"):
        dump_json({"a": float("nan")})


def test_tensors_come_back_whatever_memory_they_share(tmp_path):
    vector = torch.arange(6.0)
    tensors = {
        "part": vector[2:4],
        "whole": vector,
        "same": vector,
        "turned": vector.view(2, 3).T,
        "repeated": torch.ones(1).expand(4),
        "empty": torch.zeros(0, 3),
        "scalar": torch.tensor(3),
        "bytes": torch.arange(3, dtype=torch.uint8),
        "flags": torch.tensor([True, False]),
        "exact": torch.tensor([0.1, float("nan"), float("-inf")], dtype=torch.float64),
        "learnt": torch.nn.Parameter(torch.ones(2)),
        "with a space": torch.from_numpy(np.ones((2, 3))[:1]),
    }
    write_tensors(tmp_path / "a.safetensors", tensors)
    again = read_tensors(tmp_path / "a.safetensors")
    assert again.keys() == tensors.keys()
    for name, value in tensors.items():
        assert again[name].dtype == value.dtype
        assert np.array_equal(again[name], value.detach(), equal_nan=value.is_floating_point())


def test_files_that_cannot_be_read_are_named_in_one_line(tmp_path):
    (tmp_path / "a").write_bytes(b"\x00\xff{")
    for read in (read_json, read_tensors):
        for name in ("a", "nothing"):
            with pytest.raises(FolderError, match=f"{name}' cannot be read as") as error:
                read(tmp_path / name)
            assert "\n" not in str(error.value)


def test_a_folder_is_opened_when_all_is_as_it_was_written(tmp_path):
    write(tmp_path / "out")
    assert open_folder(tmp_path / "out", "demo") == tmp_path / "out"
    (tmp_path / "out" / "mine.txt").write_text("beside it")  # does no harm to what was written
    assert open_folder(tmp_path / "out", "demo")
    with pytest.raises(FolderError, match="of kind 'demo'; expected 'agent'"):
        open_folder(tmp_path / "out", "agent")
    for spoil, message in [
        (lambda file: file.write_text("onf"), "truncated or changed"),
        (lambda file: file.unlink(), "is missing"),
    ]:
        write(tmp_path / "again")
        spoil(tmp_path / "again" / "page.html")
        with pytest.raises(FolderError, match=message):
            open_folder(tmp_path / "again", "demo")
        (tmp_path / "again" / "page.html").unlink(missing_ok=True)
        (tmp_path / "again" / "hunch.json").unlink()
    with pytest.raises(FolderError, match="there is no folder"):
        open_folder(tmp_path / "nowhere", "demo")
    for text in ("", "[]", '{"written_by": "somebody"}', '{"written_by": "hunch", "kind": "de'):
        (tmp_path / "again" / "hunch.json").write_text(text)
        with pytest.raises(FolderError, match=r"no readable hunch\.json"):
            open_folder(tmp_path / "again", "demo")


def test_versions_are_text():
    assert versions()["torch"] == str(torch.__version__)
    assert all(isinstance(value, str) for value in versions().values())


def test_lazy_conjugates_and_negatives_are_written_as_what_they_are(tmp_path):
    z = torch.complex(torch.tensor([1.0, 2.0]), torch.tensor([3.0, -4.0]))
    lazy = {"conj": z.conj(), "neg": z.conj().imag, "plain": z, "mh": z.view(1, 2).mH}
    assert lazy["conj"].is_conj()
    assert lazy["neg"].is_neg()
    wanted = {name: value.clone().tolist() for name, value in lazy.items()}
    write_tensors(tmp_path / "a.safetensors", lazy)
    found = {name: x.tolist() for name, x in read_tensors(tmp_path / "a.safetensors").items()}
    assert found == wanted
