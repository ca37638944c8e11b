"""A folder is no reason to run code: what it names is imported only if the user named it too."""

import json
import shutil
import sys

import gymnasium
import pytest

from hunch.cli.main import run as program
from hunch.errors import FolderError
from hunch.rl import DQN, Plan, Run
from hunch.rl.runs.checkpoints import Checkpoint
from hunch.rl.runs.weights import read_weights
from hunch.storage import checksum, read_json, sealed, unsealed, write_json

SMALL = dict(hidden_sizes=(4,), batch_size=8, num_envs=1)
# Harmless: it leaves a mark that it was run, and is CartPole.
MARKER = """
import pathlib

import gymnasium

pathlib.Path({mark!r}).touch()
gymnasium.register("evil/Pole-v0", "gymnasium.envs.classic_control.cartpole:CartPoleEnv", None, 500)
gymnasium.register("ALE/evil-v0", "gymnasium.envs.classic_control.cartpole:CartPoleEnv")
"""


@pytest.fixture
def mark(tmp_path, monkeypatch):
    """What is there once the stranger's module has run; the module lies in the working folder."""
    mark = tmp_path / "the module ran"
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    for name in ("evil_poles", "ale_py", "imageio_ffmpeg"):
        (theirs / f"{name}.py").write_text(MARKER.format(mark=str(mark)))
    monkeypatch.chdir(theirs)
    monkeypatch.setattr(
        sys, "path", [place for place in sys.path if place not in ("", str(theirs))]
    )
    yield mark
    forget()


def forget():
    for name in ("evil_poles", "ale_py", "imageio_ffmpeg"):
        if (module := sys.modules.get(name)) is not None and "theirs" in str(module.__file__):
            del sys.modules[name]
    for env_id in ("evil/Pole-v0", "ALE/evil-v0"):
        gymnasium.registry.pop(env_id, None)


def forged_values(values, **changes):
    return {**values, "settings": {**values["settings"], **changes}}


def forge_agent(folder, **changes):
    """Change settings in an agent's folder, and its checksums with them, as a forger would."""
    values = read_json(folder / "agent.json")
    write_json(folder / "agent.json", forged_values(values, **changes))
    manifest = unsealed(read_json(folder / "hunch.json"), folder)
    manifest["files"]["agent.json"] = checksum(folder / "agent.json")
    write_json(folder / "hunch.json", sealed(manifest))


def forge_run(folder, evaluation=None, **changes):
    values = unsealed(read_json(folder / "run.json"), folder)
    values["plan"] = forged_values(values["plan"], **changes)
    if evaluation is not None:
        values["plan"]["evaluation_env_kwargs"] = evaluation
    write_json(folder / "run.json", sealed(values))
    for place in [*(folder / "checkpoints").iterdir(), folder / "best"]:
        forge_agent(place, **changes)


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    plan = Plan("DQN", DQN("CartPole-v1", **SMALL).settings, steps=60, evaluate_every=30)
    run = Run.begin(tmp_path_factory.mktemp("runs") / "run", plan)
    run.train(progress=False)
    return run.folder


# The environment itself, one that an environment makes from an argument, one of evaluations only.
EVIL = {
    "environment": dict(env="evil_poles:evil/Pole-v0"),
    "argument": dict(env_kwargs={"inner": [{"id": "evil_poles:evil/Pole-v0"}]}),
    "atari": dict(
        env="hunch.rl.atari:hunch/Atari-v0", env_kwargs={"game": "evil_poles:ALE/Pong-v5"}
    ),
    "evaluation": dict(evaluation={"inner": "evil_poles:evil/Pole-v0"}),
    "a program of ours": dict(env="hunch.__main__:evil/Pole-v0"),
    "no identifier": dict(env="evil poles:evil/Pole-v0"),
}


@pytest.mark.parametrize("kind", EVIL)
@pytest.mark.parametrize(
    "command",
    [["play", "run"], ["play", "run", "--last"], ["train", "--resume", "run", "--steps=90"]],
    ids=" ".join,
)
def test_no_command_imports_what_a_run_names(kind, command, honest, mark, tmp_path, capsys):
    shutil.copytree(honest, tmp_path / "theirs" / "run")
    forge_run(tmp_path / "theirs" / "run", **EVIL[kind])
    assert program(command) == 2
    said = [line for line in capsys.readouterr().err.splitlines() if "loading torch" not in line]
    assert len(said) == 1
    assert "would be imported, and a folder is no reason to run code" in said[0]
    assert not mark.exists()


def test_no_function_imports_what_a_folder_names(honest, mark, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path / "theirs"))
    run = tmp_path / "run"
    shutil.copytree(honest, run)
    forge_run(run, **EVIL["environment"])
    newest = sorted((run / "checkpoints").iterdir())[-1]
    alone = Checkpoint(tmp_path / "alone")
    alone(DQN("CartPole-v1", **SMALL))
    forge_agent(alone.all()[0], **EVIL["environment"])
    for read in (
        lambda: Run.open(run),
        lambda: DQN.load(newest),
        lambda: read_weights(run / "best"),
        lambda: alone.resume(),
        lambda: alone.resume(device="cpu"),
    ):
        with pytest.raises(FolderError, match="the module 'evil_poles' would be imported"):
            read()
    # A run whose plan is honest, and whose weights are not.
    shutil.copy(honest / "run.json", run / "run.json")
    with pytest.raises(FolderError, match="the module 'evil_poles' would be imported"):
        Run.open(run).best_agent()
    assert not mark.exists()


def test_who_trusts_a_folder_says_so(honest, mark, tmp_path, monkeypatch, capsys):
    run = tmp_path / "theirs" / "run"
    shutil.copytree(honest, run)
    forge_run(run, **EVIL["environment"])
    assert program(["play", "run", "--episodes=1", "--trust"]) == 0
    assert mark.exists()
    mark.unlink()
    forget()
    monkeypatch.syspath_prepend(str(tmp_path / "theirs"))
    opened = Run.open(run, trust=True)
    assert not mark.exists()  # opened, and not yet run
    assert opened.last_agent().steps == 60
    assert opened.best_agent().settings["env"] == "evil_poles:evil/Pole-v0"
    assert opened.train(progress=False).steps == 60
    assert mark.exists()


@pytest.mark.parametrize("way", ["imported", "given"])
def test_what_the_user_names_is_no_stranger(way, honest, mark, tmp_path, monkeypatch):
    agent = tmp_path / "agent"
    shutil.copytree(sorted((honest / "checkpoints").iterdir())[-1], agent)
    forge_agent(agent, **EVIL["environment"])
    monkeypatch.syspath_prepend(str(tmp_path / "theirs"))
    if way == "imported":
        __import__("evil_poles")
        assert DQN.load(agent).steps == 60
    else:
        assert DQN.load(agent, env="evil_poles:evil/Pole-v0").steps == 60


def test_a_package_that_is_missing_is_not_taken_from_the_folder_where_one_stands(
    honest, mark, tmp_path, capsys, monkeypatch
):
    """Atari's ids have no module in them, and hunch imports `ale_py` for them."""
    for name in ("ale_py", "imageio_ffmpeg"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(
        sys, "path", [p for p in sys.path if "site-packages" not in p] + [sys.path[-1]]
    )
    shutil.copytree(honest, tmp_path / "theirs" / "run")
    forge_run(tmp_path / "theirs" / "run", env="ALE/evil-v0")
    for command in (["play", "run"], ["train", "--resume", "run", "--steps=90"]):
        program(command)
        assert not mark.exists()


def test_settings_without_modules_need_no_trust(tmp_path):
    DQN("hunch.envs:hunch/DeepSea-v0", env_kwargs={"size": 4}, device="cpu:0", **SMALL).save(
        tmp_path / "a"
    )
    assert json.loads((tmp_path / "a" / "agent.json").read_text())["settings"]["device"] == "cpu:0"
    assert DQN.load(tmp_path / "a").steps == 0
