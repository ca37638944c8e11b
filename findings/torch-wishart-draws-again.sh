#!/usr/bin/env bash
# torch 2.13.0: Wishart.rsample takes its good draws for singular ones.
#
# The test for a singular matrix asks whether the draw lies in the support and reads the answer the
# wrong way round. So every proper draw is said to be singular, with a warning, and drawn again.
#
# Seen: "Singular sample detected." for positive-definite draws.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q --disable-pip-version-check torch==2.13.0 numpy==2.4.6
"$place/venv/bin/python" - <<'PYTHON'
import warnings

import torch
from torch.distributions import Wishart

print("torch", torch.__version__)
torch.manual_seed(0)
scale = torch.eye(2, requires_grad=True)
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    draw = Wishart(torch.tensor(5.0), covariance_matrix=scale).rsample()
said = [str(warning.message) for warning in seen]
smallest = float(torch.linalg.eigvalsh(draw.detach())[0])
print(f"smallest eigenvalue of the draw: {smallest:.3f}; warnings: {said}")
assert smallest > 1e-3
assert "Singular sample detected." in said, "proper draws are not taken for singular now"
PYTHON
