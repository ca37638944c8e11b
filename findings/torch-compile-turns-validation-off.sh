#!/usr/bin/env bash
# torch 2.13.0: the first torch.compile of a process turns the checks of all distributions off.
#
# torch.distributions refuse a value outside of their support. After any function, even one without a
# distribution, was compiled and called, eager code of the whole process no longer does: the
# log-probability of 0.3 under a Bernoulli is a number. The setting stays off.
#
# Seen: a ValueError before, a number after.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q --disable-pip-version-check torch==2.13.0 numpy==2.4.6
"$place/venv/bin/python" -W ignore - <<'PYTHON'
import torch
from torch.distributions import Bernoulli


def outside():
    try:
        return float(Bernoulli(0.4).log_prob(torch.tensor(0.3)))
    except ValueError as error:
        return f"ValueError: {str(error).splitlines()[0]}"


print("torch", torch.__version__)
before = outside()
double = torch.compile(lambda x: 2 * x, backend="eager")
double(torch.ones(3))
after = outside()
print(f"before: {before}")
print(f"after a torch.compile of something else: {after}")
assert isinstance(before, str), "the value was accepted before already"
assert isinstance(after, float), "the checks stay on now"
PYTHON
