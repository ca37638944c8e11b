"""Results as files: what is committed reads back whole, and is drawn without a run."""

import dataclasses
import json
import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from hunch.cli.main import run
from hunch.errors import FolderError
from hunch.experiments.claims.checks import claim_settings
from hunch.experiments.claims.drawing import draw_claim, figures, read_result
from hunch.experiments.claims.registry import EXPERIMENTS, load
from hunch.experiments.claims.saved import NOT_WRITTEN, SavedResult, written

ROOT = Path(__file__).parents[3]
CONSTRAINTS = (ROOT / "constraints.txt").read_text("utf-8")
RESULTS = ROOT / "results"
# What a figure of a check stands on besides the file: the clock, or single rows and seeds.
NOT_IN_THE_FILE = (
    "CPU seconds",
    "training time",
    "correlation of rows",
    "median of the seeds",
    "0.9",
)
NEEDS = {"uci-style": "sklearn", "far-from-data": "sklearn"}


def close(a, b):
    """Equal but for the last digits of numbers in single precision."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(close(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(close, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-6)
    return a == b


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_committed_result_reads_back_whole(name):
    report = json.loads((RESULTS / f"{name}.json").read_text("utf-8"))
    result = read_result(name, RESULTS)
    assert report["claim"] == load(name).CLAIM
    assert close(report["result"], json.loads(json.dumps(result.to_json(), allow_nan=False)))
    again = load(name).Result.from_json(result.to_json(), result.settings)
    assert close(result.to_json(), again.to_json())


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_committed_result_passes_the_checks_it_was_written_with(name):
    report = json.loads((RESULTS / f"{name}.json").read_text("utf-8"))
    result = read_result(name, RESULTS)
    for check, committed in zip(load(name).check(result), report["checks"], strict=True):
        assert check.what == committed["what"]
        if not math.isnan(check.value) and not any(w in check.what for w in NOT_IN_THE_FILE):
            assert check.value == pytest.approx(committed["value"], rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_claim_is_drawn_from_its_file_and_its_figure_is_committed(name, tmp_path):
    matplotlib = pytest.importorskip("matplotlib")
    captions = draw_claim(name, RESULTS, tmp_path)
    assert next(iter(captions)) == f"{name}.svg"
    for file, caption in captions.items():
        drawn = (tmp_path / file).read_bytes()
        assert drawn.startswith(f"<!-- hunch reproduce {name} -->".encode())
        assert len(drawn) < 64_000
        assert caption.endswith(".")
        assert "nan" not in caption
    committed = RESULTS / f"{name}.svg"
    assert committed.is_file(), "make figures"
    # Another matplotlib draws it otherwise; this one says whether the figure is of the file.
    if f"matplotlib=={matplotlib.__version__}\n" in CONSTRAINTS:
        assert committed.read_bytes() == (tmp_path / f"{name}.svg").read_bytes(), "make figures"


def test_a_claim_is_drawn_again_over_its_own_files(tmp_path):
    pytest.importorskip("matplotlib")
    first, again = (draw_claim("chain", RESULTS, tmp_path) for _ in range(2))
    assert first == again
    assert [path.name for path in tmp_path.iterdir()] == list(first)


@dataclass(frozen=True)
class Part:
    kl: float = field(metadata=written(none=math.inf))
    seconds: float = field(default=math.nan, metadata=NOT_WRITTEN)


@dataclass(frozen=True)
class Result(SavedResult):
    settings: object
    parts: tuple[Part, ...]
    named: dict[str, np.ndarray] = field(metadata=written(digits=2))
    seed: int | None = None

    def derived(self):
        return {"count": len(self.parts)}


def test_a_result_is_what_its_fields_say():
    result = Result("any", (Part(math.inf, 3.0), Part(0.5)), {"a": np.array([1.234, math.nan])})
    values = result.to_json()
    assert values == {
        "count": 2,
        "parts": [{"kl": None}, {"kl": 0.5}],
        "named": {"a": [1.2, None]},
        "seed": None,
    }
    again = Result.from_json(json.loads(json.dumps(values)), "any")
    assert again.parts[0].kl == math.inf
    assert math.isnan(again.parts[0].seconds)
    assert again.named["a"][0] == 1.2
    assert np.isnan(again.named["a"][1])
    assert again.settings == "any"


def test_every_result_is_a_saved_one_with_its_settings_first():
    for name in EXPERIMENTS:
        kind = load(name).Result
        assert issubclass(kind, SavedResult)
        assert dataclasses.fields(kind)[0].name == "settings"
        assert claim_settings(load(name)) is not None


def test_a_missing_or_foreign_file_is_refused_in_one_sentence(tmp_path):
    with pytest.raises(FolderError, match=r"there is no .*chain\.json.*name the folder"):
        figures("chain", read_result("chain", tmp_path))
    (tmp_path / "chain.json").write_text(json.dumps({"seed": 0, "result": {"trials": [{"a": 1}]}}))
    with pytest.raises(FolderError, match="does not hold what this version"):
        read_result("chain", tmp_path)
    (tmp_path / "chain.json").write_text("{")
    with pytest.raises(FolderError, match="cannot be read as JSON"):
        read_result("chain", tmp_path)


def test_the_command_draws_without_a_run(tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(load("chain"), "run", lambda *a, **k: pytest.fail("it was run"))
    out = tmp_path / "figures"
    assert run(["reproduce", "chain", "--figures", str(out)]) == 0
    assert "chain.svg" in capsys.readouterr().out
    assert (out / "chain.svg").is_file()
    monkeypatch.chdir(tmp_path)
    assert run(["reproduce", "chain", "--figures", str(out), "--json"]) == 2
    assert "--from" in capsys.readouterr().err
    assert run(["reproduce", "chain", "--figures", "f", "--from", str(RESULTS), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["chain"].keys() == {"chain.svg"}


@pytest.mark.parametrize(
    "words",
    [
        ["--figures", "f", "--out", "o"],
        ["--figures", "f", "--seed", "1"],
        ["--figures", "f", "--jobs", "2"],
        ["--from", "results"],
    ],
)
def test_options_without_use_are_refused(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(load("chain"), "run", lambda *a, **k: pytest.fail("it was run"))
    assert run(["reproduce", "chain", *words]) == 2
    assert f"{words[-2]} has no use here" in capsys.readouterr().err


def test_what_is_missing_further_down_is_told_in_one_sentence(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    report = json.loads((RESULTS / "uci-style.json").read_text())
    del report["result"]["tables"]["diabetes"]
    (tmp_path / "uci-style.json").write_text(json.dumps(report))
    arguments = ["reproduce", "uci-style", "--from", str(tmp_path), "--figures", str(tmp_path)]
    assert run(arguments) == 2
    assert "does not hold what this version" in capsys.readouterr().err


def test_figures_that_are_somebody_elses_stay(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    (tmp_path / "chain.svg").write_text("<svg/>")
    arguments = ["reproduce", "chain", "--from", str(RESULTS), "--figures", str(tmp_path)]
    assert run(arguments) == 2
    assert (tmp_path / "chain.svg").read_text() == "<svg/>"
    assert "chain.svg" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "near"), [("cartpole-sead", "cartpole-seeds"), ("deepsea", "deep-sea")]
)
def test_a_misspelt_claim_is_answered_with_the_nearest(name, near, capsys):
    assert run(["reproduce", name]) == 2
    assert f"no claim is called {name!r}; did you mean {near}?" in capsys.readouterr().err
