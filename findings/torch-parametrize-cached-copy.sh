#!/usr/bin/env bash
# torch 2.13.0: within parametrize.cached() a parametrised module and its deep copy share one weight.
#
# The cache remembers a weight by the identity of the module that was parametrised first, and
# copy.deepcopy keeps that identity. So inside of `torch.nn.utils.parametrize.cached()` whichever of
# the two is called first decides what the other computes with, in an online and a target network for
# instance, without an error.
#
# Seen: the copy's weight is doubled; copy over original is 2 outside of cached() and 1 inside.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q --disable-pip-version-check torch==2.13.0 numpy==2.4.6
"$place/venv/bin/python" - <<'PYTHON'
import copy

import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize

print("torch", torch.__version__)
torch.manual_seed(0)
original = parametrizations.weight_norm(nn.Linear(3, 2, bias=False))
second = copy.deepcopy(original)
with torch.no_grad():
    second.parametrizations.weight.original0.mul_(2.0)
x = torch.ones(1, 3)


def ratio():
    with torch.no_grad():
        return float((second(x) / original(x)).mean())


outside = ratio()
with parametrize.cached():
    inside = ratio()
print(f"copy over original: {outside:.3f} outside of cached(), {inside:.3f} inside")
assert abs(outside - 2.0) < 1e-5
assert abs(inside - 1.0) < 1e-5, "each has its own weight now"
PYTHON
