#!/usr/bin/env bash
# rliable 1.2.0: `random_state` does not make its bootstrap repeatable.
#
# `get_interval_estimates(..., random_state=RandomState(1))`, and the two stratified bootstraps behind
# it, promise reproducible intervals. Their `update_indices` draws from numpy's global generator all
# the same, so two calls with the same state differ, and only `numpy.random.seed` before a call, which
# changes every other draw of the program, repeats one. `create_performance_profile` takes no state at
# all.
#
# Seen: other intervals from the same `random_state`, the same ones after `numpy.random.seed`.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q --disable-pip-version-check \
  rliable==1.2.0 arch==7.2.0 numpy==2.4.6 scipy==1.17.1 pandas==2.3.3
"$place/venv/bin/python" - <<'PYTHON'
import numpy as np
from numpy.random import RandomState
from rliable import library, metrics

scores = np.random.default_rng(0).normal(size=(8, 3))


def interval(state):
    _, found = library.get_interval_estimates(
        {"a": scores}, lambda x: np.array([metrics.aggregate_iqm(x)]), reps=200, random_state=state
    )
    return found["a"].ravel().round(4).tolist()


first, second = interval(RandomState(1)), interval(RandomState(1))
print("RandomState(1), twice:", first, second)
assert first != second, "random_state is used now"
np.random.seed(1)
third = interval(None)
np.random.seed(1)
print("numpy.random.seed(1), twice:", third, interval(None))
np.random.seed(1)
assert third == interval(None)
PYTHON
