import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("library", "adapter"), [("stable_baselines3", "sb3"), ("botorch", "botorch")]
)
def test_a_missing_library_is_named_with_its_extra(library, adapter):
    code = f"import sys; sys.modules['{library}'] = None; import hunch.adapters.{adapter}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("hunch.errors.MissingDependencyError: ")
    assert f'pip install "torch-hunch[{adapter}]"' in last


def test_the_package_itself_needs_nothing():
    code = (
        "import sys; sys.modules['stable_baselines3'] = sys.modules['botorch'] = None; "
        "import hunch.adapters"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
