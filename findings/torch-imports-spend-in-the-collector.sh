#!/usr/bin/env bash
# CPython 3.11.7 with torch 2.13.0, scikit-learn 1.9.1 and pandas 3.1.1: a quarter of a program that only imports them
# is Python's search for unreachable cycles.
#
# Loading makes some hundred thousand objects that all stay. The collector walks through them again and again
# meanwhile, and once more, through all, when the interpreter ends. A program that is all one's own can raise the
# threshold before it loads, and call gc.freeze() before it ends.
#
# Seen, processor seconds, medians of five in turns on one machine: torch alone 1.23 and 0.87; with scikit-learn and
# pandas 2.44 and 1.74. The threshold and the freezing each save a part; the freezing more.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q --disable-pip-version-check \
    torch==2.13.0 scikit-learn==1.9.1 pandas==3.1.1 numpy==2.4.6
cat > "$place/turns.py" <<'PYTHON'
import os
import resource
import statistics
import subprocess
import sys

LOAD = "import gc, torch, sklearn.ensemble, pandas"
WAYS = {"as it is": LOAD, "rarely": f"import gc; gc.set_threshold(100_000); {LOAD}; gc.freeze()"}
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
os.environ["OMP_NUM_THREADS"] = "1"


def seconds(program: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", program], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


found = {name: [] for name in WAYS}
for turn in range(6):
    for name, program in WAYS.items():
        found[name].append(seconds(program))
medians = {name: statistics.median(times[1:]) for name, times in found.items()}  # the first compiles
print(sys.version.split()[0], {name: round(value, 2) for name, value in medians.items()})
share = 1 - medians["rarely"] / medians["as it is"]
print(f"{share:.0%} of the time was the collector's")
assert share > 0.1, "it hardly costs anything now"
PYTHON
"$place/venv/bin/python" "$place/turns.py"
