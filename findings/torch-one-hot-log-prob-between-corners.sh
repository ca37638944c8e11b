#!/usr/bin/env bash
# torch 2.13.0: without validation OneHotCategorical.log_prob takes the largest component, and says nothing.
#
# Between the corners of the simplex a one-hot variable has no log-probability. With validate_args=False,
# which is what lets a Bernoulli be asked between 0 and 1, torch answers with that of the nearest corner: it
# jumps, and carries no gradient to the sample. Estimators that ask there (REBAR, Gumbel-softmax) are then
# biased without a word.
#
# Seen: the same number at (0.6, 0.4) and (0.9, 0.1), another one at (0.4, 0.6); no grad_fn; a Bernoulli is a line.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q --disable-pip-version-check torch==2.13.0 numpy==2.4.6
"$place/venv/bin/python" - <<'PYTHON'
import torch
from torch.distributions import Bernoulli, OneHotCategorical

print("torch", torch.__version__)
classes = OneHotCategorical(logits=torch.tensor([0.3, -0.4]), validate_args=False)
coin = Bernoulli(logits=torch.tensor(0.3), validate_args=False)
near, nearer, far = (
    classes.log_prob(torch.tensor(z)).item() for z in ([0.6, 0.4], [0.9, 0.1], [0.4, 0.6])
)
z = torch.tensor([0.6, 0.4], requires_grad=True)
print(f"at (0.6, 0.4) {near:.4f}, at (0.9, 0.1) {nearer:.4f}, at (0.4, 0.6) {far:.4f}")
assert near == nearer != far, "it is continuous now"
assert classes.log_prob(z).grad_fn is None, "it carries a gradient now"
half = torch.tensor(0.5, requires_grad=True)
(slope,) = torch.autograd.grad(coin.log_prob(half), half)
assert abs(slope.item() - 0.3) < 1e-6
PYTHON
