#!/usr/bin/env bash
# pytest 9.2.0 with pytest-xdist 3.8.0: tests of one xdist_group are spread over the workers.
#
# `--dist loadgroup` promises that all tests marked with one `xdist_group` run in one worker, which suites
# use for tests that share a costly module fixture or a port. With pytest 9.2.0 the mark is accepted, nothing
# is said, and the tests are handed out one by one; with pytest 8.4.2 and the same pytest-xdist they stay
# together.
#
# Seen: twelve tests of one group ran in one worker under pytest 8.4.2, and in two under pytest 9.2.0.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cat > "$place/test_group.py" <<'PYTHON'
import pathlib
import time

import pytest


@pytest.mark.xdist_group("one")
@pytest.mark.parametrize("i", range(12))
def test_in_a_group(i, worker_id):
    time.sleep(0.2)
    with open(pathlib.Path(__file__).with_name("workers"), "a") as file:
        file.write(f"{worker_id}\n")
PYTHON
seen=""
for version in 8.4.2 9.2.0; do
  python3 -m venv "$place/$version"
  "$place/$version/bin/pip" install -q --disable-pip-version-check \
    "pytest==$version" pytest-xdist==3.8.0 execnet==2.1.2
  rm -f "$place/workers"
  (cd "$place" && "$place/$version/bin/python" -m pytest -q -p no:cacheprovider -n 2 \
    --dist loadgroup test_group.py > /dev/null)
  count=$(sort -u "$place/workers" | wc -l)
  echo "pytest $version, pytest-xdist 3.8.0: one group ran in $count worker(s)"
  seen="$seen $count"
done
[ "$seen" = " 1 2" ] || { echo "this is no longer so" >&2; exit 1; }
