"""An agent is called what it is, wherever its settings came from."""

import json
import re

import pytest

from hunch.cli.main import DONE, WRONG_USE, run
from hunch.cli.recipes import RECIPES
from hunch.rl.runs.plan import read_run_file

TINY = ["--steps=60", "--eval-every=0", "--set=hidden_sizes=4", "--set=batch_size=4"]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def told(capsys):
    lines = capsys.readouterr().err.splitlines()
    return [line for line in lines if line.startswith("hunch: ") and "loading" not in line]


def dumped(capsys, *words):
    capsys.readouterr()
    assert run(["train", *words, "--dump-config"]) == DONE, words
    return capsys.readouterr().out


def setting(text, name):
    return re.search(rf"^{name} = (.*)$", text, re.MULTILINE)[1]


def test_a_typed_agent_is_itself_whatever_file_its_settings_are_from(here, capsys):
    noisy = dumped(capsys, "noisy-dqn", "CartPole-v1", *TINY, "--set=learning_rate=0.003")
    (here / "run.toml").write_text(noisy)
    assert run(["train", "dqn", "--config=run.toml"]) == DONE
    (line,) = (line for line in told(capsys) if "file of options" in line)
    assert "is of noisy-dqn; for dqn its noisy=true, double=true, n_step=3 is left out" in line
    (folder,) = (here / "runs").iterdir()
    plan, about = read_run_file(folder)
    assert (folder.name, about["recipe"]) == ("dqn-CartPole-v1-0", "dqn")
    assert (plan.settings["noisy"], plan.settings["double"]) == (False, False)
    assert plan.settings["learning_rate"] == 0.003  # the rest is as in the file, to be compared
    assert json.loads((folder / "summary.json").read_text())["name"] == "dqn on CartPole-v1"


def test_a_file_for_another_agent_gives_it_no_other_name(here, capsys):
    (here / "run.toml").write_text(dumped(capsys, "noisy-dqn", "CartPole-v1", *TINY))
    text = dumped(capsys, "rainbow", "--config=run.toml")
    assert (setting(text, "agent"), setting(text, "prioritized")) == ('"rainbow"', "true")
    assert (setting(text, "n_step"), setting(text, "hidden_sizes")) == ("3", "[4]")
    assert run(["train", "a2c", "--config=run.toml", "--dump-config"]) == WRONG_USE
    assert "its [set] is of 'noisy-dqn'" in told(capsys)[-1]
    # What is typed goes before all of it.
    text = dumped(capsys, "dqn", "--config=run.toml", "--set=double=true")
    assert (setting(text, "agent"), setting(text, "noisy")) == ('"double-dqn"', "false")


@pytest.mark.parametrize(
    ("words", "called"),
    [
        (["dqn", "--set=double=true"], "double-dqn"),
        (["a2c", "--set=noisy=true"], "noisy-a2c"),
        (["rainbow", "--set=prioritized=false"], "rainbow (prioritized=false)"),
        (["dqn", "--set=noisy=true"], "dqn (noisy=true)"),
        (["dqn", "--set=n_step=3"], "dqn (n_step=3)"),
        (["noisy-dqn", "--set=n_step=3"], "noisy-dqn"),
        (["dqn", "--set=learning_rate=0.1"], "dqn"),
        (["boot-dqn", "--set=prior_scale=3"], "boot-dqn"),
    ],
)
def test_what_is_set_decides_the_name(words, called, here, capsys):
    # A name read from the file that was written for it is the same one.
    (here / "run.toml").write_text(dumped(capsys, *words[:1], "CartPole-v1", *words[1:]))
    for again in (["--config=run.toml"], [*words[:1], "CartPole-v1", *words[1:]]):
        small = ["--steps=8", "--eval-every=0", "--set=hidden_sizes=4"]
        small += ["--num-envs=1"] if "a2c" in words[0] else []
        assert run(["train", *again, *small]) == DONE
        assert f"{called} on CartPole-v1: 8 steps" in capsys.readouterr().out
    stem = called.replace(" (", "-").replace("=", "-").rstrip(")")
    assert (here / "runs" / f"{stem}-CartPole-v1-0-2").is_dir()


@pytest.mark.parametrize(
    ("name", "key", "use"),
    [
        ("noisy-dqn", "noisy", "'double-dqn'"),
        ("double-dqn", "double", "'dqn'"),
        ("noisy-a2c", "noisy", "'a2c'"),
        ("dueling-dqn", "dueling", "'double-dqn'"),
    ],
)
def test_a_name_that_would_not_be_true_is_refused(name, key, use, here, capsys):
    assert run(["train", name, "CartPole-v1", f"--set={key}=false"]) == WRONG_USE
    assert f"that agent is {use}" in told(capsys)[-1]
    text = dumped(capsys, name, "CartPole-v1").replace(f"{key} = true", f"{key} = false")
    (here / "run.toml").write_text(text)
    assert run(["train", "--config=run.toml"]) == WRONG_USE
    assert not (here / "runs").exists()


@pytest.mark.parametrize("name", RECIPES)
def test_every_agent_has_its_own_name(name, here, capsys):
    for env in ("CartPole-v1", "hunch/DeepSea-v0"):
        (here / "run.toml").write_text(dumped(capsys, name, env))
        assert setting(dumped(capsys, "--config=run.toml"), "agent") == f'"{name}"'


def test_a_target_network_that_is_moved_rarely_is_copied_whole():
    """A default that follows softly at each update would leave it where it began."""
    for name, recipe in RECIPES.items():
        for env in ("ALE/Pong-v5", "MinAtar/Breakout"):
            settings = recipe.settings_for(env)
            if settings.get("target_update_period", 1) > 1:
                assert settings["target_update_rate"] == 1.0, (name, env)
