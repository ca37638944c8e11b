import contextlib
import json
import os
import stat
import time

import numpy as np
import pytest
import torch

from hunch.errors import FolderError
from hunch.storage import (
    check_replaceable,
    dump_json,
    new_folder,
    open_folder,
    read_json,
    read_manifest,
    read_tensors,
    replacing,
    sealed,
    sweep,
    unsealed,
    versions,
    write_tensors,
    write_text,
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
    assert torch.__version__.split("+")[0] == versions()["torch"].split("+")[0]
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


# Seals: what stands alone in a file is seen to be as it was written, and older files still open


def test_a_seal_notices_every_change_of_a_value(tmp_path):
    values = {"a": [1, 2.5, "x"], "b": {"c": None}, "d": True}
    text = dump_json(sealed(values))
    assert unsealed(json.loads(text), tmp_path) == values
    changed = 0
    for at in range(len(text)):
        for bit in range(7):
            damaged = text[:at] + chr(ord(text[at]) ^ 1 << bit) + text[at + 1 :]
            try:
                found = unsealed(json.loads(damaged), tmp_path)
            except (ValueError, FolderError):
                changed += 1
            else:
                assert found == values  # white space
    assert changed > 6 * len(text.replace(" ", ""))


def test_what_has_no_seal_is_older_and_half_a_seal_is_damage(tmp_path):
    whole = sealed({"a": 1})
    assert unsealed({"a": 1}, tmp_path) == {"a": 1}
    for found in (
        {"format": whole["format"], "a": 1},
        {"a": 1, "seal": whole["seal"]},
        {**whole, "seal": None},
        {**whole, "format": "2"},
        {**whole, "a": float("nan")},
    ):
        with pytest.raises(FolderError, match="not as hunch w"):
            unsealed(found, tmp_path)
    with pytest.raises(FolderError, match="was not written by hunch"):
        unsealed([1], tmp_path)


def test_a_newer_format_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr("hunch.storage.formats.FORMAT", 3)
    newer = sealed({"a": 1})
    monkeypatch.undo()
    with pytest.raises(FolderError, match="of format 3, and this hunch reads up to 2; bring it up"):
        unsealed(newer, tmp_path)


@pytest.mark.parametrize(
    "listed", [3, [], {"../b.txt": "sha256:0"}, {"": "x"}, {"page.html": None}, None]
)
def test_a_forged_list_of_files_is_one_line(listed, tmp_path):
    write(tmp_path / "out")
    (tmp_path / "b.txt").write_text("x")
    forged = {"written_by": "hunch", "kind": "demo", "files": listed}
    (tmp_path / "out" / "hunch.json").write_text(dump_json(sealed(forged)))
    for use in (open_folder, check_replaceable):
        with pytest.raises(FolderError) as error:
            use(tmp_path / "out", "demo")
        assert "\n" not in str(error.value)


# Replacing, and what kills leave


@pytest.mark.parametrize("at_once", [True, False])
def test_there_is_a_folder_at_every_moment_or_it_comes_back(at_once, tmp_path, monkeypatch):
    place = tmp_path / "out"
    write(place)
    if not at_once:
        monkeypatch.setattr(replacing, "_exchange_call", lambda: None)

    class Killed(BaseException):
        pass

    def killed(number):
        """A process that dies before its n-th renaming, so that nothing after that is done."""
        calls = []

        def rename(a, b):
            calls.append(a)
            if len(calls) == number:
                monkeypatch.setattr(replacing.shutil, "rmtree", lambda *a, **k: None)
                raise Killed
            usual(a, b)

        usual = os.rename
        monkeypatch.setattr(replacing.os, "rename", rename)
        monkeypatch.setattr("hunch.storage.asides._delete_folder", lambda aside: None)
        with pytest.raises(Killed) if not at_once else contextlib.nullcontext():
            write(place, "two")
        monkeypatch.undo()

    for number in (1, 2):
        killed(number)
        if not at_once:
            monkeypatch.setattr(replacing, "_exchange_call", lambda: None)
        assert (open_folder(place, "demo") / "page.html").read_text() in ("one", "two")
        write(place)
        assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_folder_set_aside_on_a_disk_that_cannot_be_written_is_read_where_it_is(
    tmp_path, monkeypatch
):
    write(tmp_path / "out")
    os.rename(tmp_path / "out", tmp_path / ".out.hunch-old")

    def refused(a, b):
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(replacing.os, "rename", refused)
        assert (open_folder(tmp_path / "out", "demo") / "page.html").read_text() == "one"
    assert open_folder(tmp_path / "out", "demo") == tmp_path / "out"


def test_litter_is_swept_and_work_in_progress_is_not(tmp_path):
    fcntl = pytest.importorskip("fcntl")
    (tmp_path / ".a.hunch-0123abcd").mkdir()
    (tmp_path / ".b.hunch-0123abcd").write_text("half")
    (tmp_path / ".c.hunch-mine").write_text("mine")
    (tmp_path / "d.hunch-0123abcd").write_text("mine")
    (tmp_path / ".e.hunch-0123abcd").symlink_to(tmp_path / "d.hunch-0123abcd")
    held = tmp_path / ".f.hunch-0123abcd"
    held.write_text("of another process")
    with held.open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with new_folder(tmp_path / "out", "demo") as folder:
            sweep(tmp_path)
            (folder / "page.html").write_text("one")
        kept = {".c.hunch-mine", "d.hunch-0123abcd", ".e.hunch-0123abcd", held.name, "out"}
        assert {p.name for p in tmp_path.iterdir()} == kept
    sweep(tmp_path)
    assert not held.exists()


def test_without_locks_a_day_decides(tmp_path, monkeypatch):
    monkeypatch.setattr("hunch.storage.asides._lock", lambda aside: None)
    young, old = tmp_path / ".a.hunch-0123abcd", tmp_path / ".b.hunch-0123abcd"
    young.touch()
    old.touch()
    os.utime(old, (time.time() - 90_000,) * 2)
    sweep(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == [young.name]


def test_contents_reach_the_disk_before_their_name_does(tmp_path, monkeypatch):
    done = []
    fsync, rename = os.fsync, os.rename
    monkeypatch.setattr(
        os, "fsync", lambda f: (done.append(os.readlink(f"/proc/self/fd/{f}")), fsync(f))
    )
    monkeypatch.setattr(os, "rename", lambda a, b: (done.append("renamed"), rename(a, b)))
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("what a descriptor stands for is not to be seen here")
    write(tmp_path / "out")
    names = [os.path.basename(name) for name in done]
    at = names.index("renamed")
    assert {"page.html", "hunch.json"} < set(names[:at])
    assert names[at + 1 :] == [tmp_path.name]


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_the_umask_decides_who_reads_what_is_written(umask, tmp_path):
    before = os.umask(umask)
    try:
        with new_folder(tmp_path / "out", "demo") as folder:
            (folder / "page.html").write_text("one")
            write_tensors(folder / "a.safetensors", {"a": torch.ones(2)})
        write_text(tmp_path / "note.md", "a note")
    finally:
        os.umask(before)
    for file in [tmp_path / "note.md", *(tmp_path / "out").iterdir()]:
        assert stat.S_IMODE(file.stat().st_mode) == 0o666 & ~umask, file
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o777 & ~umask


def test_names_as_long_as_can_be_are_written(tmp_path):
    write(tmp_path / ("x" * 255))
    write_text(tmp_path / ("y" * 255), "a note")
    with pytest.raises(FolderError, match="File name too long") as error:
        write_text(tmp_path / ("z" * 256), "a note")
    assert "\n" not in str(error.value)
    for name in ("a\0b", "~nosuchuser/a"):
        with pytest.raises(FolderError):
            write_text(name, "a note")
