import json

import pytest

from hunch.errors import FolderError
from hunch.storage import dump_json, new_folder, read_manifest


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
