"""Whether a cost is a smooth function of a sample, read off the autograd graph.

The pathwise gradient is right only where the cost is continuous in the sample. A rounding or a
sign leaves a node in the graph that says so. A comparison leaves none: `(z > 0).float()` alone is
seen to be cut off from `z`, but `z + (z > 0).float()` looks smooth and cannot be told apart.
"""

from __future__ import annotations

import functools
import re
from typing import Literal

from torch import Tensor
from torch.autograd.graph import Node

# Node names are the operations' names. "NotImplemented" stands for floor_divide and heaviside.
_JUMP = re.compile(
    r"(Sign|Sgn|Round|Floor|Ceil|Trunc|Frac|Fmod|Remainder|Copysign|Hardshrink|Threshold)"
    r"Backward\d*$|FakeQuantize|torch::autograd::NotImplemented"
)


def dependence(cost: Tensor, sample: Tensor) -> Literal["none", "smooth", "jump"]:
    """How `cost` depends on `sample`: not at all, smoothly, or with jumps, as far as autograd sees.

    Args:
        cost: any tensor.
        sample: a tensor with a graph node of its own (not a leaf).

    Returns:
        `"none"` if no gradient can flow, `"jump"` if one of the ways passes a rounding or a sign.

    Example:
        >>> import torch
        >>> z = torch.ones(2, requires_grad=True) * 2
        >>> dependence(z**2, z), dependence((z**2).round() + z, z), dependence((z > 0) * 1.0, z)
        ('smooth', 'jump', 'none')
    """
    end = sample.grad_fn
    if cost.grad_fn is None or end is None:
        return "none"
    nodes = _down_to(cost.grad_fn, end)
    if end not in nodes:
        return "none"
    jumps = [node for node in nodes if node is not end and _jumps(node)]
    return "jump" if any(end in _down_to(node, end) for node in jumps) else "smooth"


def _down_to(start: Node, end: Node) -> set[Node]:
    """The nodes at or below `start`, and not below `end`."""
    found, stack = {start}, [start]
    while stack:
        node = stack.pop()
        if node is end:
            continue
        for child, _ in node.next_functions:
            if child is not None and child not in found:
                found.add(child)
                stack.append(child)
    return found


def _jumps(node: Node) -> bool:
    name = node.name()
    # A division has no node of its own when it rounds; it only remembers that it did.
    return _named_jump(name) or (
        name.startswith("Div") and getattr(node, "_saved_rounding_mode", None) is not None
    )


@functools.cache
def _named_jump(name: str) -> bool:
    return _JUMP.match(name) is not None
