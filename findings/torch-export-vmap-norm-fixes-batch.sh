#!/usr/bin/env bash
# torch 2.13.0: exported over stacked modules, a norm layer fixes the batch size, other layers do not.
#
# torch.func's way to run an ensemble is vmap over stacked parameters, the inputs shared. torch.export takes
# that with the batch as a dynamic dimension for linear layers and activations. With one LayerNorm, GroupNorm or
# BatchNorm in eval mode among them it ends in "you marked batch as dynamic but your code specialized it to be a
# constant", although nothing of the sort stands in the code, and each module alone exports with any batch.
#
# Seen: with ReLU any batch; with LayerNorm, GroupNorm and BatchNorm1d a UserError; alone all of them.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q --disable-pip-version-check torch==2.13.0 numpy==2.4.6
"$place/venv/bin/python" - <<'PYTHON'
import torch
from torch import nn
from torch.func import functional_call, stack_module_state, vmap

print("torch", torch.__version__)
KINDS = {
    "ReLU": nn.ReLU,
    "LayerNorm": lambda: nn.LayerNorm(4),
    "GroupNorm": lambda: nn.GroupNorm(2, 4),
    "BatchNorm1d": lambda: nn.BatchNorm1d(4),
}


class Stacked(nn.Module):
    def __init__(self, nets):
        super().__init__()
        self.one = [nets[0]]  # in a list, so that its own parameters are not these
        self.state = stack_module_state(nets)

    def forward(self, x):
        def call(parameters, buffers):
            return functional_call(self.one[0], (parameters, buffers), (x,))

        return vmap(call)(*self.state)


def exported(module):
    try:
        shapes = ({0: torch.export.Dim("batch")},)
        program = torch.export.export(module, (torch.randn(5, 3),), dynamic_shapes=shapes)
    except Exception as error:
        return f"{type(error).__name__}: {str(error).splitlines()[1].strip()[:80]}"
    return f"any batch: {tuple(program.module()(torch.randn(7, 3)).shape)}"


for name, kind in KINDS.items():
    nets = [nn.Sequential(nn.Linear(3, 4), kind(), nn.Linear(4, 1)).eval() for _ in range(3)]
    alone, stacked = exported(nets[0]), exported(Stacked(nets))
    print(f"{name}: alone {alone}; stacked {stacked}")
    assert alone.startswith("any batch")
    assert stacked.startswith("any batch") == (name == "ReLU"), "this has changed"
PYTHON
