"""Whatever is wrong with a file, a folder or an option: one line, exit code 2, nothing left."""

import errno
import gzip
import io
import json
import os
import resource
import shutil
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hunch.cli.main import WRONG_USE, run
from hunch.tables import TableModel

ROWS = [f"{i},{'abc'[i % 3]},{2 * i + 0.5}" for i in range(40)]
GOOD = "\n".join(["size,kind,price", *ROWS]) + "\n"
SMALL = ["--members=2"]
STEPS = (
    "hunch: loading",
    "hunch: regression",
    "hunch: classification",
    "hunch: taken for",
    "hunch: column 'size' numbers the rows",
    "hunch: training on",
    "hunch: judging",
)


@pytest.fixture(scope="module")
def model_once(tmp_path_factory):
    place = tmp_path_factory.mktemp("model")
    (place / "good.csv").write_text(GOOD)
    fit = ["fit", str(place / "good.csv"), "--target=price", "--out", str(place / "model")]
    assert run([*fit, *SMALL]) == 0
    return place / "model"


@pytest.fixture
def trained_before(model_once, monkeypatch):
    """`hunch fit` comes to the point where it writes without the time it takes to train."""
    model = TableModel.load(model_once)
    figures = json.loads((model_once / "summary.json").read_text())["test"]
    monkeypatch.setattr("hunch.tables.fitting.train", lambda *args, **kwargs: model)
    monkeypatch.setattr("hunch.tables.fitting.assess", lambda *args, **kwargs: figures)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def everything(folder):
    return {p: p.read_bytes() if p.is_file() else None for p in sorted(folder.rglob("*"))}


@contextmanager
def one_clear_line(here, capsys, *words):
    """The program must say one line with these words and leave the folder as it was."""
    before = everything(here)
    capsys.readouterr()
    yield
    said = capsys.readouterr()
    assert said.out == ""
    # A bar draws over itself; what stays is behind the last return of the carriage.
    lines = [line.rpartition("\r")[2].strip() for line in said.err.split("\n")]
    told = [line for line in lines if line and not line.startswith(STEPS)]
    assert len(told) == 1, said.err
    assert told[0].startswith("hunch: ")
    for word in words:
        assert word in told[0]
    assert "Traceback" not in said.err
    assert everything(here) == before


def table(*rows, header="size,kind,price"):
    return "\n".join([header, *rows]) + "\n"


def changed(row, text):
    return table(*[text if i == row else line for i, line in enumerate(ROWS)])


def parquet(**columns):
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


FIT = {
    "empty": ("", "is empty"),
    "only blank lines": ("\n\n\n", "is empty"),
    "header only": ("size,kind,price\n", "no rows"),
    "header without a line end": ("size,kind,price", "no rows"),
    "one row": (table(ROWS[0]), "has 1 row; expected at least 20"),
    "few rows": (table(*ROWS[:19]), "has 19 rows"),
    "a short row": (changed(5, "5,a"), "has 2 cells in line 7, but 3 columns"),
    "a long row": (changed(5, "5,a,3,4"), "has 4 cells in line 7, but 3 columns"),
    "binary": (bytes(range(256)) * 10, "not"),
    "NUL bytes": (GOOD.replace("abc", "a\0c") + "\0\0", "not text"),
    "latin-1": (GOOD.replace(",a,", ",ä,").encode("latin-1"), "not UTF-8"),
    "latin-1 header": (GOOD.replace("kind", "größe").encode("latin-1"), "not UTF-8"),
    "UTF-16": (GOOD.encode("utf-16"), "is UTF-16 text; save it as UTF-8"),
    "a spreadsheet": (b"PK\x03\x04" + GOOD.encode(), "spreadsheet"),
    "another delimiter": (GOOD.replace(",", ":"), "separated by"),
    "target not there": (GOOD.replace("price", "cost"), "no column 'price'", "'cost'"),
    "target in other case": (
        GOOD.replace("price", "Price"),
        "no column 'price'",
        "Did you mean 'Price'?",
    ),
    "header twice": (GOOD.replace("kind", "size"), "2 columns named 'size'"),
    "target missing in a row": (changed(3, "3,a,"), "1 of 40 rows without a value", "row 4"),
    "target NaN": (changed(3, "3,a,NaN"), "without a value", "row 4"),
    "target infinite": (changed(3, "3,a,inf"), "inf in row 4"),
    "target minus infinite": (changed(3, "3,a,-Infinity"), "-inf in row 4"),
    "target constant": (table(*[f"{i},a,7.5" for i in range(40)]), "7.5 in every row"),
    "one class": (table(*[f"{i},a,yes" for i in range(40)]), "'yes' in every row"),
    "every row a class": (table(*[f"{i},a,n{i}" for i in range(140)]), "140 different values"),
    "as many classes as rows": (table(*[f"{i},a,n{i}" for i in range(40)]), "several rows a class"),
    "no usable column": (table(*[f"1,z,{i}.5" for i in range(40)]), "no column can be used"),
    "only the target": (
        "price\n" + "\n".join(f"{i}.5" for i in range(40)),
        "no column can be used",
    ),
    "unclosed quotation mark": (changed(5, '5,"a,3'), "line 7"),
    "unclosed in the last column": (changed(5, '5,a,"3'), "quotation mark that is never closed"),
    "cut-off gzip": (gzip.compress(GOOD.encode())[:-12], "gzip"),
    "damaged gzip": (b"\x1f\x8b" + b"\x00" * 40, "gzip"),
}


@pytest.mark.parametrize("case", FIT)
def test_fit_refuses_a_file(case, here, capsys):
    content, *words = FIT[case]
    (here / "a.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    with one_clear_line(here, capsys, *words):
        assert run(["fit", "a.csv", "--target=price", *SMALL]) == WRONG_USE


PARQUET = {
    "not Parquet": (GOOD.encode(), "is not a Parquet file"),
    "cut-off Parquet": (parquet(size=list(range(40)), price=[0.5] * 40)[:-20], "cannot be read"),
    "no rows": (
        parquet(size=pa.array([], pa.int64()), price=pa.array([], pa.float64())),
        "no rows",
    ),
    "nested target": (parquet(size=list(range(40)), price=[[1.0]] * 40), "expected numbers"),
    "null target": (parquet(size=list(range(40)), price=[None] * 40), "40 of 40 rows without"),
}


@pytest.mark.parametrize("case", PARQUET)
def test_fit_refuses_a_parquet_file(case, here, capsys):
    content, *words = PARQUET[case]
    (here / "a.parquet").write_bytes(content)
    with one_clear_line(here, capsys, *words):
        assert run(["fit", "a.parquet", "--target=price", *SMALL]) == WRONG_USE


OPTIONS = {
    "no such file": (["nothing.csv", "--target=price"], "there is no file"),
    "a folder as file": (["folder", "--target=price"], "is a folder"),
    "no target": (["good.csv"], "--target"),
    "text as a number": (["good.csv", "--target=kind", "--task=regression"], "'a' in row 1"),
    "numbers as classes": (["many.csv", "--target=price", "--task=classification"], "at most 100"),
    "unknown task": (["good.csv", "--target=price", "--task=rank"], "--task"),
    "negative seed": (["good.csv", "--target=price", "--seed=-1"], "--seed"),
    "one member": (["good.csv", "--target=price", "--members=1"], "--members"),
    "out is a file": (["good.csv", "--target=price", "--out=good.csv"], "is a file"),
    "out below a file": (["good.csv", "--target=price", "--out=good.csv/model"], "cannot"),
    "out is foreign": (["good.csv", "--target=price", "--out=folder"], "did not write it"),
}


@pytest.mark.parametrize("case", OPTIONS)
def test_fit_refuses_options(case, here, capsys):
    words, *said = OPTIONS[case]
    (here / "good.csv").write_text(GOOD)
    (here / "many.csv").write_text(table(*[f"{i},a,{i}.5" for i in range(140)]))
    (here / "folder").mkdir()
    (here / "folder" / "thesis.txt").write_text("mine")
    with one_clear_line(here, capsys, *said):
        assert run(["fit", *words]) == WRONG_USE


PREDICT = {
    "empty": ("", "is empty"),
    "header only": ("size,kind\n", "no rows"),
    "missing column": ("size\n1\n", "column 'kind' is missing"),
    "all columns missing": ("a\n1\n", "columns 'size', 'kind' are missing"),
    "text in a number column": ("size,kind\n1,a\nbig,b\n", "'big' in row 2; expected a number"),
    "a decimal comma": ('size,kind\n"1,5",a\n', "'1,5' in row 1; expected a number"),
    "a date in a number column": ("size,kind\n2024-01-01,a\n", "expected a number"),
    "a short row": ("size,kind\n1,a\n2\n", "has 1 cells in line 3, but 2 columns"),
    "header twice": ("size,kind,size\n1,a,1\n", "2 columns named 'size'"),
    "UTF-16": ("size,kind\n1,a\n".encode("utf-16"), "is UTF-16"),
    "unclosed quotation mark": ('size,kind\n1,"a\n2,b\n', "quotation mark"),
    "cut-off gzip": (gzip.compress(GOOD.encode())[:-12], "gzip"),
}


@pytest.mark.parametrize("case", PREDICT)
def test_predict_refuses_a_file(case, model_once, here, capsys):
    content, *words = PREDICT[case]
    (here / "a.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    with one_clear_line(here, capsys, *words):
        assert run(["predict", str(model_once), "a.csv", "--out=p.csv"]) == WRONG_USE


def test_predict_refuses_a_retyped_parquet_column(model_once, here, capsys):
    (here / "a.parquet").write_bytes(parquet(size=[True, False], kind=["a", "b"]))
    with one_clear_line(here, capsys, "column 'size'", "expected a number"):
        assert run(["predict", str(model_once), "a.parquet", "--out=p.csv"]) == WRONG_USE


PREDICT_OPTIONS = {
    "no such file": (["model", "nothing.csv", "--out=p.csv"], "there is no file"),
    "no such model": (["nothing", "good.csv", "--out=p.csv"], "there is no folder"),
    "no output": (["model", "good.csv"], "--out"),
    "coverage 0": (["model", "good.csv", "--out=p.csv", "--coverage=0"], "--coverage"),
    "coverage 1": (["model", "good.csv", "--out=p.csv", "--coverage=1"], "--coverage"),
    "coverage in percent": (["model", "good.csv", "--out=p.csv", "--coverage=90"], "--coverage"),
    "coverage NaN": (["model", "good.csv", "--out=p.csv", "--coverage=nan"], "coverage"),
    "out is a folder": (["model", "good.csv", "--out=model"], "is a folder"),
    "out is foreign": (["model", "good.csv", "--out=notes.txt"], "does not hold predictions"),
    "out is the input": (["model", "good.csv", "--out=good.csv"], "is the file to predict"),
    "out below a file": (["model", "good.csv", "--out=good.csv/p.csv"], "cannot write"),
    "out is called Parquet": (["model", "good.csv", "--out=p.parquet"], "would hold CSV"),
    "out is called packed": (["model", "good.csv", "--out=p.csv.gz"], "would hold CSV"),
}


@pytest.mark.parametrize("case", PREDICT_OPTIONS)
def test_predict_refuses_options(case, model_once, here, capsys):
    words, *said = PREDICT_OPTIONS[case]
    shutil.copytree(model_once, here / "model")
    (here / "good.csv").write_text(GOOD)
    (here / "notes.txt").write_text("mine\n")
    with one_clear_line(here, capsys, *said):
        assert run(["predict", *words]) == WRONG_USE


def rewrite(folder, **changes):
    """Change what model.json says, and the checksum with it."""
    from hunch.storage import checksum, sealed, unsealed

    file = folder / "model.json"
    values = json.loads(file.read_text())
    values.update(changes)
    file.write_text(json.dumps({k: v for k, v in values.items() if v is not None}))
    place = folder / "hunch.json"
    manifest = unsealed(json.loads(place.read_text()), place)
    manifest["files"]["model.json"] = checksum(file)
    place.write_text(json.dumps(sealed(manifest)))


def cut(file):
    file.write_bytes(file.read_bytes()[:100])


def of_another_kind(folder):
    from hunch.storage import sealed, unsealed

    place = folder / "hunch.json"
    manifest = unsealed(json.loads(place.read_text()), place)
    place.write_text(json.dumps(sealed({**manifest, "kind": "agent"})))


MODELS = {
    "a file is missing": (lambda m: (m / "model.safetensors").unlink(), "is missing"),
    "the manifest is missing": (lambda m: (m / "hunch.json").unlink(), "no readable hunch.json"),
    "the manifest is cut off": (lambda m: cut(m / "hunch.json"), "no readable hunch.json"),
    "half copied": (lambda m: cut(m / "model.safetensors"), "not as hunch wrote it"),
    "of a newer format": (lambda m: rewrite(m, format=4), "format 4", "pip install --upgrade"),
    "without its columns": (lambda m: rewrite(m, columns=None), "fit the model anew"),
    "with other columns": (lambda m: rewrite(m, columns={"used": 1}), "fit the model anew"),
    "an agent": (of_another_kind, "a folder of kind 'agent'"),
}


@pytest.mark.parametrize("case", MODELS)
def test_predict_refuses_a_model(case, model_once, here, capsys):
    spoil, *words = MODELS[case]
    shutil.copytree(model_once, here / "model")
    (here / "good.csv").write_text(GOOD)
    spoil(here / "model")
    with one_clear_line(here, capsys, *words):
        assert run(["predict", "model", "good.csv", "--out=p.csv"]) == WRONG_USE


@contextmanager
def full_disk(limit):
    """No file can grow beyond `limit` bytes: writes fail as on a full disk, wherever they are."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("limit", [0, 1_000, 10_000])
def test_fit_on_a_full_disk(limit, trained_before, here, capsys):
    (here / "good.csv").write_text(GOOD)
    with one_clear_line(here, capsys, "cannot write"), full_disk(limit):
        assert run(["fit", "good.csv", "--target=price", *SMALL]) == WRONG_USE


@pytest.mark.parametrize("limit", [0, 1_000])
def test_predict_on_a_full_disk(limit, model_once, here, capsys):
    (here / "good.csv").write_text(GOOD)
    with one_clear_line(here, capsys, "cannot write"), full_disk(limit):
        assert run(["predict", str(model_once), "good.csv", "--out=p.csv"]) == WRONG_USE


@pytest.mark.parametrize("command", ["fit", "predict"])
def test_a_folder_that_may_not_be_written(
    command, trained_before, model_once, here, capsys, monkeypatch
):
    (here / "good.csv").write_text(GOOD)

    opened = os.open

    def refuse(*args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied")

    def refuse_new(path, flags, *args, **kwargs):
        return refuse() if flags & os.O_EXCL else opened(path, flags, *args, **kwargs)

    monkeypatch.setattr(os, "mkdir", refuse)
    monkeypatch.setattr(os, "open", refuse_new)
    words = ["good.csv", "--target=price", *SMALL]
    if command == "predict":
        words = [str(model_once), "good.csv", "--out=p.csv"]
    with one_clear_line(here, capsys, "Permission denied"):
        assert run([command, *words]) == WRONG_USE


@pytest.mark.parametrize("command", ["fit", "predict"])
def test_ctrl_c_leaves_nothing(command, trained_before, model_once, here, capsys, monkeypatch):
    (here / "good.csv").write_text(GOOD)

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("hunch.tables.model.TableModel.put", interrupt)
    monkeypatch.setattr("hunch.tables.model.TableModel.predict", interrupt)
    words = ["good.csv", "--target=price", *SMALL]
    if command == "predict":
        words = [str(model_once), "good.csv", "--out=p.csv"]
    before = everything(here)
    assert run([command, *words]) == 1
    assert "hunch: interrupted" in capsys.readouterr().err
    assert everything(here) == before
