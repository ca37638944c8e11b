"""What docs/your-environment.md shows of the command line is what the command line does.

Its Python is run by tests/test_docs.py, its tables of spaces are held against the agents in
test_check_env.py.
"""

import os
import re
import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from hunch.cli.main import DONE, FAILED, run

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "your-environment.md").read_text("utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
SHELL = "\n".join(re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)).splitlines()
COMMANDS = [line for line in SHELL if line.startswith("hunch ")]
FEWER = {
    "--steps 5000": "--steps 120",
    "--steps 6000": "--steps 150",
    "--steps 50000": "--steps 160",
}


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (gentle,) = (block for block in PYTHON if block.startswith("def gentle"))
    (tmp_path / "parking.py").write_text(PYTHON[0] + "\n\n" + gentle)
    yield tmp_path
    sys.modules.pop("parking", None)


def test_every_command_of_the_page_works(here, capsys):
    assert len(COMMANDS) >= 9
    for line in COMMANDS:
        for many, few in FEWER.items():
            line = line.replace(f"{many} ", f"{few} ").replace(f"{many}\n", few)
            line = line.removesuffix(many) + few if line.endswith(many) else line
        command, _, file = line.partition(" > ")
        words = shlex.split(command)[1:]
        if "--tensorboard" in words and find_spec("tensorboard") is None:
            continue
        if "--video" in words and find_spec("imageio_ffmpeg") is None:
            del words[words.index("--video") : words.index("--video") + 2]
        capsys.readouterr()
        assert run(words) == DONE, line
        if file:
            (here / file).write_text(capsys.readouterr().out)
    assert sorted(p.name for p in (here / "runs").iterdir())[:2] == ["a2c-parking-Parking-0", "dqn-parking-make_env-0"]  # fmt: skip


def test_the_table_of_the_page_is_what_is_printed(here, capsys):
    assert run(["check-env", "parking.py:make_env"]) == DONE
    printed = capsys.readouterr().out.splitlines()
    shown = re.search(r"```text\n(ok .*?)```", PAGE, re.DOTALL)[1].splitlines()
    speed = [i for i, line in enumerate(printed) if "steps a second" in line]
    assert len(speed) == 1
    assert [line for line in printed if "a second" not in line] == [
        line for line in shown if "a second" not in line
    ]


def test_the_mistake_of_the_page_is_named_as_there(here, capsys):
    text = (here / "parking.py").read_text()
    text = text.replace("return self.seen(), {}", "return self.seen().astype(float), {}")
    (here / "parking.py").write_text(text)
    assert run(["check-env", "parking.py:make_env"]) == FAILED
    (line,) = (s for s in capsys.readouterr().out.splitlines() if s.startswith("FAIL"))
    assert f"```text\n{line}\n```" in PAGE


def test_the_shell_completes_commands_and_options(here):
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "COMP_CWORD": "2"}
    env |= {"_HUNCH_COMPLETE": "bash_complete", "COMP_WORDS": "hunch train --dump"}
    program = "import sys; from hunch.cli import main; sys.argv[0] = 'hunch'; main()"
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True)
    assert done.stdout == "plain,--dump-config\n", done
    for shell in ("bash", "zsh", "fish"):
        assert f"_HUNCH_COMPLETE={shell}_source hunch" in PAGE
    env["_HUNCH_COMPLETE"] = "zsh_source"
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True)
    assert done.stdout.startswith("#compdef hunch")
