"""Rows of a long run are taken up by the next, whatever ended the first."""

import pytest

from hunch.errors import FolderError
from hunch.experiments.claims.kept import Kept
from hunch.experiments.claims.parallel import collect


def test_rows_come_back_and_one_that_was_cut_off_does_not(tmp_path):
    kept = Kept(tmp_path / "new" / "folder", "claim")
    kept.add({"a": 1})
    kept.place.write_bytes(kept.place.read_bytes() + b'{"a": 2, "b')
    kept.add({"a": 3})
    assert list(Kept(tmp_path / "new" / "folder", "claim")) == [{"a": 1}, {"a": 3}]
    assert list(Kept(tmp_path / "new" / "folder", "other")) == []


def test_nothing_is_kept_without_a_folder():
    kept = Kept("", "claim")
    kept.add({"a": 1})
    assert list(kept) == []


def test_a_place_that_cannot_be_written_is_told_in_one_sentence(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FolderError, match=r"cannot keep rows .* \(--keep\)"):
        Kept(tmp_path / "file", "claim")


def test_what_each_task_brought_is_kept_as_it_comes():
    kept = []
    collect(range, [1, 2], 1, label="a", unit="b", progress=False, keep=kept.append)
    assert list(map(list, kept)) == [[0], [0, 1]]
