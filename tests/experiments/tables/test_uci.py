"""UCI's folders: read as they are laid out, refused otherwise; the scores and the claim."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("sklearn")

from hunch.cli.main import run as run_command
from hunch.errors import ConfigurationError, DataError
from hunch.experiments.claims.drawing import figures
from hunch.experiments.tables import uci
from hunch.experiments.tables.uci import AIRFOIL, PUBLISHED, Result, Settings, Trial, gaussian_nll
from hunch.experiments.tables.uci_tables import UciTable


def write(folder, name="yacht", splits=2, rows=40):
    place = folder / name
    place.mkdir()
    x = np.linspace(0, 1, rows)
    np.savetxt(place / "data.txt", np.stack([x, 2 * x + 1, x**2], axis=1))
    (place / "index_features.txt").write_text("0\n2\n")
    (place / "index_target.txt").write_text("1\n")
    for number in range(splits):
        (place / f"index_test_{number}.txt").write_text(f"{number}\n{number + 10}\n")
    return folder


def test_a_split_is_the_rows_that_its_file_names_and_all_others(tmp_path):
    table = UciTable(write(tmp_path), "yacht")
    assert table.splits == 2
    train, test = table.split(1)
    assert train.x.shape == (38, 2)
    np.testing.assert_allclose(test.y, 2 * np.array([1, 11]) / 39 + 1)
    np.testing.assert_allclose(test.x[:, 1], test.x[:, 0] ** 2)


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("index_test_0.txt", "40\n", "whole numbers from 0 to 39"),
        ("index_test_0.txt", "1.5\n", "whole numbers"),
        ("index_features.txt", "3\n", "from 0 to 2"),
        ("data.txt", "a b c\n", "cannot be read as numbers"),
    ],
)
def test_files_that_hold_something_else_are_refused_by_name(file, content, said, tmp_path):
    write(tmp_path)
    (tmp_path / "yacht" / file).write_text(content)
    with pytest.raises(DataError, match=said) as refused:
        UciTable(tmp_path, "yacht").split(0)
    assert file in str(refused.value)


def test_a_folder_that_is_no_such_one_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"has no data.txt; expected a folder of UCI tables"):
        UciTable(tmp_path, "yacht")
    with pytest.raises(ConfigurationError, match="--data FOLDER"):
        uci.run(Settings(), progress=False)


def test_the_likelihood_is_a_gaussians():
    y, mean, std = np.array([1.0, 2.0]), np.array([0.0, 2.5]), np.array([2.0, 0.5])
    by_hand = np.log(std) + 0.5 * np.log(2 * np.pi) + np.array([0.25, 1.0]) / 2
    assert gaussian_nll(mean, std, y) == pytest.approx(by_hand.mean())


def trial(table, split, nll, rmse=0.1):
    return Trial(table, split, rmse, nll, nll, 0.9, 5.0)


def results(worse=0, rmse=0.1, nll=-0.9):
    found = []
    for i, (name, other) in enumerate(PUBLISHED.items()):
        found += [trial(name, s, other.ensemble[1] + (0.1 if i < worse else -0.1)) for s in (0, 1)]
    return Result(Settings(), (*found, trial(AIRFOIL, 0, nll, rmse)))


@pytest.mark.parametrize(
    ("result", "holds"),
    [
        (results(worse=2), [True] * 4),
        (results(worse=3), [False, True, True, True]),
        (results(rmse=0.2), [True, False, True, True]),
        (results(nll=-0.6), [True, True, False, True]),
    ],
)
def test_the_claim_can_fail(result, holds):
    assert [check.holds for check in uci.check(result)] == holds


def test_a_result_reads_back_but_for_the_clock_and_is_drawn():
    result = results()
    values = json.loads(json.dumps(result.to_json(), allow_nan=False))
    again = Result.from_json(values, Settings())
    assert again.to_json() == values
    assert np.isnan(again.trials[0].seconds)
    assert "deep ensembles" in again.to_markdown()
    pytest.importorskip("matplotlib")
    (axes,) = figures("uci", again)["nll"][0].axes
    assert [label.get_text() for label in axes.get_yticklabels()] == list(PUBLISHED)


def test_a_run_learns_and_is_taken_up(tmp_path):
    data = write(tmp_path)
    settings = Settings(
        ("yacht",), splits=2, members=4, data=str(data), keep=str(tmp_path / "kept")
    )
    result = uci.run(settings, progress=False)
    rmse, _, count = result.mean("yacht", "rmse")
    assert count == 2
    assert rmse < 0.5  # the targets' deviation is 0.6
    assert len((tmp_path / "kept" / "uci.jsonl").read_text().splitlines()) == 2
    assert uci.run(settings, progress=False) == result
    large = Settings(("yacht",), large=10, large_splits=1, members=4, data=str(data))
    assert len(uci._wanted(large)) == 1


def test_the_command_asks_for_the_folder_and_refuses_one_without_use(tmp_path, monkeypatch, capsys):
    assert run_command(["reproduce", "uci"]) == 2
    assert "hunch reproduce uci --data FOLDER" in capsys.readouterr().err
    assert run_command(["reproduce", "linear-posterior", "--data", str(tmp_path)]) == 2
    assert "--data has no use here" in capsys.readouterr().err
    assert run_command(["reproduce", "linear-posterior", "--keep", str(tmp_path)]) == 2
    assert "--keep has no use here" in capsys.readouterr().err
    assert run_command(["reproduce", "uci", "--data", str(tmp_path / "none")]) == 2
    assert "does not exist" in capsys.readouterr().err
    given = {}

    def run(settings, **how):
        given.update(vars(settings))
        return SimpleNamespace(to_json=dict)

    monkeypatch.setattr(uci, "run", run)
    monkeypatch.setattr(uci, "check", lambda result: [])
    words = ["--data", str(tmp_path), "--keep", str(tmp_path / "k"), "--jobs", "2", "--json"]
    assert run_command(["reproduce", "uci", *words]) == 0
    assert (given["data"], given["keep"], given["jobs"]) == (
        str(tmp_path),
        str(tmp_path / "k"),
        2,
    )
    told = capsys.readouterr()
    assert str(tmp_path) not in told.out + told.err  # nothing of the machine in what is kept
    assert "--data FOLDER" in told.err
