#!/usr/bin/env bash
# torch 2.13.0: the first call of torch.broadcast_shapes, on two plain tuples, imports sympy.
#
# It asks for the rules of symbolic shapes even where all sizes are numbers, and so imports some 480
# modules, sympy among them: two thirds of a second of CPU in a process that takes a second to import
# torch. torch.distributions.MultivariateNormal calls it, so the first one made pays for it as well.
# numpy.broadcast_shapes gives the same answer at once.
#
# Seen: 486 modules, 0.7 s of CPU at the first call, below 0.1 ms at the second; none for a Normal.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q --disable-pip-version-check torch==2.13.0 numpy==2.4.6
"$place/venv/bin/python" - <<'PYTHON'
import sys
import time

import numpy as np
import torch
from torch.distributions import MultivariateNormal, Normal

print("torch", torch.__version__)


def imported_by(call):
    before, start = len(sys.modules), time.process_time()
    found = call()
    took = time.process_time() - start
    print(f"{len(sys.modules) - before} modules, {took * 1e3:.2f} ms of CPU")
    return len(sys.modules) - before, found


assert imported_by(lambda: Normal(torch.zeros(3), torch.ones(3)))[0] == 0
assert "sympy" not in sys.modules
more, found = imported_by(lambda: MultivariateNormal(torch.zeros(3), torch.eye(3)))
assert "sympy" in sys.modules and more > 100, "no longer so"
assert imported_by(lambda: torch.broadcast_shapes((3, 1), (1, 4)))[1] == (3, 4)
assert np.broadcast_shapes((3, 1), (1, 4)) == (3, 4)
PYTHON
