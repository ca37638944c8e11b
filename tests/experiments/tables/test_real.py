"""Which real tables there are, how they are read and split."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("pandas")
pytest.importorskip("sklearn")

from hunch.errors import MissingDependencyError
from hunch.experiments.tables.real import NAMED, TABLES, RealTable, split


def test_shown_tables_are_those_of_the_claim_and_none_was_tuned_on():
    shown = [t for t in TABLES if t.role == "shown"]
    tuned = [t for t in TABLES if t.role == "tuning"]
    assert len({t.name for t in TABLES}) == len(TABLES) == len(NAMED)
    assert not {(t.package, t.source) for t in shown} & {(t.package, t.source) for t in tuned}
    for tables, least in ((shown, (12, 8)), (tuned, (9, 5))):
        tasks = [t.task for t in tables]
        assert tasks.count("regression") >= least[0]
        assert tasks.count("classification") >= least[1]
    assert len({t.package for t in shown}) >= 6


def test_a_table_of_an_installed_package_is_read_and_others_say_how_to_get_them():
    frame = NAMED["diabetes"].load()
    assert frame.shape == (442, 11)
    absent = RealTable("a", "a-package-that-is-not-there", "a.csv", "y")
    assert absent.version == ""
    with pytest.raises(MissingDependencyError, match="pip install a-package-that-is-not-there"):
        absent.load()


def test_rows_without_a_target_and_columns_that_tell_it_are_left_out(monkeypatch, tmp_path):
    (tmp_path / "a.csv").write_text("x,log,y\n1,2,3\n4,5,\n" + "6,7,8\n" * 20)
    found = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr("hunch.experiments.tables.real.find_spec", lambda name: found)
    monkeypatch.setattr("hunch.experiments.tables.real.version", lambda name: "1.0")
    table = RealTable("a", "somebodys", "a.csv", "y", without=("log",), most_rows=10)
    frame = table.load()
    assert list(frame.columns) == ["x", "y"]
    assert len(frame) == 10
    assert frame.equals(table.load())  # the same sample each time
    monkeypatch.setitem(sys.modules, "somebodys", None)  # it is not imported
    table.load()


def test_splits_are_a_fifth_differ_and_leave_every_class_to_train_on():
    table, y = NAMED["oj"], np.repeat(["a", "b", "rare"], [60, 39, 1])
    tests = []
    for number in range(5):
        train, test = split(table, y, number)
        assert len(test) in (19, 20)
        assert set(train) | set(test) == set(range(100))
        assert not set(train) & set(test)
        assert set(y[train]) == {"a", "b", "rare"}
        tests.append(tuple(test))
    assert len(set().union(*tests)) == sum(map(len, tests)) == 97  # one of each class is not tested


def test_by_time_every_test_row_comes_after_all_training_rows():
    for number in range(5):
        train, test = split(NAMED["economics"], np.arange(574.0), number)
        assert train.max() < test.min()
        assert len(test) == 115
        assert len(train) > 150
    assert split(NAMED["economics"], np.arange(574.0), 0)[1].max() == 573
