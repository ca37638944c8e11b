"""A model's folder: whose it replaces, and who may read it."""

import shutil

import pytest

from hunch.cli.main import run
from hunch.storage import open_folder, read_json, write_json
from hunch.tables import TableModel
from hunch.tables.model import KIND

FIT = ["--members=2", "--out=model"]


def table(name, head, rows=40):
    with open(name, "w") as file:
        file.write(f"{head}\n" + "".join(f"{i},{i % 7},{2 * i}\n" for i in range(rows)))


@pytest.fixture(scope="module")
def fitted_once(tmp_path_factory):
    place = tmp_path_factory.mktemp("fitted")
    table(place / "houses.csv", "size,day,price")
    out = str(place / "model")
    assert run(["fit", f"{place}/houses.csv", "--target=price", "--members=2", "--out", out]) == 0
    return place


@pytest.fixture
def fitted(fitted_once, tmp_path, monkeypatch, capsys):
    shutil.copytree(fitted_once, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    capsys.readouterr()
    return tmp_path / "here"


def test_a_model_of_another_table_is_not_replaced(fitted, capsys):
    before = {p.name: p.read_bytes() for p in (fitted / "model").iterdir()}
    table("cars.csv", "power,day,price")
    for words, said in [
        (["houses.csv", "--target=size"], "predicts 'price';"),
        (["cars.csv", "--target=price"], "predicts 'price' by other columns;"),
    ]:
        assert run(["fit", *words, *FIT]) == 2
        lines = [s for s in capsys.readouterr().err.splitlines() if "loading torch" not in s]
        assert len(lines) == 1
        assert f"'model' holds a model of another table, which {said}" in lines[0]
    assert {p.name: p.read_bytes() for p in (fitted / "model").iterdir()} == before


def test_a_model_of_the_same_table_is_replaced_and_a_line_says_so(fitted, capsys):
    table("newer houses.csv", "size,day,price", rows=60)
    assert run(["fit", "newer houses.csv", "--target=price", *FIT]) == 0
    assert "hunch: the model of 'price' in 'model' will be replaced" in capsys.readouterr().err
    assert read_json(fitted / "model" / "summary.json")["rows"]["file"] == 60


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("columns", []),
        ("columns", {"used": 3, "dropped": []}),
        ("target", "price"),
        ("format", "two"),
        ("estimator", None),
        ("estimator", {"parameters": {"hidden_layer_sizes": 5.5}}),
    ],
)
def test_values_of_a_wrong_type_are_one_line_also_with_a_right_checksum(
    fitted, name, value, capsys
):
    from hunch.storage import checksum, sealed, unsealed

    place = open_folder("model", KIND) / "model.json"
    write_json(place, {**read_json(place), name: value})
    manifest = unsealed(read_json(place.with_name("hunch.json")), place)
    manifest["files"]["model.json"] = checksum(place)
    write_json(place.with_name("hunch.json"), sealed(manifest))
    assert run(["predict", "model", "houses.csv", "--out=p.csv"]) == 2
    lines = [s for s in capsys.readouterr().err.splitlines() if "loading torch" not in s]
    assert len(lines) == 1
    assert "is not as hunch writes it" in lines[0]


def test_a_model_of_before_seals_still_opens(fitted):
    """Its list of checksums is unsealed, and the checksums are looked at as ever."""
    place = fitted / "model" / "hunch.json"
    listed = read_json(place)
    del listed["format"], listed["seal"]
    write_json(place, listed)
    assert TableModel.load("model").target.name == "price"
    listed["files"]["model.json"] = "sha256:" + 64 * "0"
    write_json(place, listed)
    assert run(["predict", "model", "houses.csv", "--out=p.csv"]) == 2
