import json

import pytest

from hunch.cli.demo import PART_NAMES
from hunch.cli.main import run
from hunch.errors import ConfigurationError, FolderError
from hunch.experiments.demo import PARTS, run_demo
from hunch.experiments.demo.outcome import Outcome
from hunch.experiments.demo.runner import Part


def test_the_command_knows_the_parts():
    assert tuple(PARTS) == PART_NAMES


def quick_part(part, place, seed=3):
    arguments = ["demo", "--quick", "--only", part, "--seed", str(seed), "--out", str(place)]
    assert run(arguments) == 0
    return (place / "results.json").read_bytes()


SLOW = ("priors", "noisynet-dqn", "reinforce")


@pytest.mark.parametrize(
    "part", [pytest.param(p, marks=[pytest.mark.slow] * (p in SLOW)) for p in PART_NAMES]
)
def test_a_quick_part_writes_page_and_results(part, tmp_path, capsys):
    results = json.loads(quick_part(part, tmp_path / "out"))
    assert (results["seed"], results["quick"], list(results["parts"])) == (3, True, [part])
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith(f"{part}: ")
    assert printed[-1].endswith(str(tmp_path / "out" / "index.html"))
    page = (tmp_path / "out" / "index.html").read_text("utf-8")
    assert "This is a quick run" in page
    assert f'<section id="{part}">' in page


@pytest.mark.slow
def test_the_seed_decides_the_results(tmp_path):
    """Here of the shortest part; the tests of the other experiments say it of theirs."""
    part = "noisy-layers"
    first, again, other = (
        quick_part(part, tmp_path / name, seed) for name, seed in (("a", 3), ("b", 3), ("c", 4))
    )
    assert first == again
    assert first != other


def test_json_goes_to_standard_output_alone(tmp_path, capsys):
    place = tmp_path / "out"
    arguments = ["demo", "--quick", "--only", "noisy-layers", "--json", "--out", str(place)]
    assert run(arguments) == 0
    output = capsys.readouterr()
    assert json.loads(output.out) == json.loads((place / "results.json").read_text())
    assert str(place / "index.html") in output.err


def fake(monkeypatch, behavior):
    monkeypatch.setattr(Part, "run", lambda self, **settings: behavior(self.key))


def outcome(key):
    return Outcome(summary=key, blocks=[], checks=[], results={"value": key})


def test_an_interrupt_keeps_the_finished_parts(tmp_path, monkeypatch):
    def behavior(key):
        if key == "noisynet-dqn":
            raise KeyboardInterrupt
        return outcome(key)

    fake(monkeypatch, behavior)
    with pytest.raises(KeyboardInterrupt):
        run_demo(tmp_path / "out", progress=False)
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert list(results["parts"]) == ["priors", "noisy-layers"]
    assert "Only some of the parts were run." in (tmp_path / "out" / "index.html").read_text()


def test_an_interrupt_before_the_first_part_leaves_what_was_there(tmp_path, monkeypatch, capsys):
    fake(monkeypatch, outcome)
    run_demo(tmp_path / "out", progress=False)
    before = (tmp_path / "out" / "index.html").read_text()

    def behavior(key):
        raise KeyboardInterrupt

    fake(monkeypatch, behavior)
    assert run(["demo", "--out", str(tmp_path / "out")]) == 1
    assert "hunch: interrupted" in capsys.readouterr().err
    assert (tmp_path / "out" / "index.html").read_text() == before
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_wrong_use_is_refused_before_anything_is_run(tmp_path, monkeypatch):
    def behavior(key):
        raise AssertionError("must not run")

    fake(monkeypatch, behavior)
    with pytest.raises(ConfigurationError, match="the parts are: priors"):
        run_demo(tmp_path / "out", only=["all"])
    with pytest.raises(ConfigurationError, match="`seed` got -1"):
        run_demo(tmp_path / "out", seed=-1)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.txt").write_text("x")
    with pytest.raises(FolderError, match="is not empty"):
        run_demo(tmp_path / "mine")
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]
