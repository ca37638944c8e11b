"""The checker of the import layers must be able to fail."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def lint(folder):
    environment = os.environ | {"PYTHONPATH": str(folder / "src")}
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports())"
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True
    )


@pytest.fixture
def copy(tmp_path):
    pytest.importorskip("importlinter")
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("file", "line"),
    [
        (None, ""),
        ("nn/mlp.py", "from hunch.inference import fit\n"),
        ("inference/data.py", "import hunch.rl\n"),
        ("gradients/advantages.py", "from hunch import nn\n"),
        ("errors.py", "import hunch.seeding\n"),
        ("nn/mlp.py", "import matplotlib\n"),
    ],
)
def test_one_upward_import_is_found(copy, file, line):
    if file is not None:
        place = copy / "src" / "hunch" / file
        place.write_text(place.read_text() + line)
    result = lint(copy)
    assert (result.returncode == 0) == (file is None), result.stdout + result.stderr
