import subprocess
import sys


def test_a_missing_library_is_named_with_its_extra():
    code = "import sys; sys.modules['stable_baselines3'] = None; import hunch.adapters.sb3"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("hunch.errors.MissingDependencyError: ")
    assert 'pip install "torch-hunch[sb3]"' in last


def test_the_package_itself_needs_nothing():
    code = "import sys; sys.modules['stable_baselines3'] = None; import hunch.adapters"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
