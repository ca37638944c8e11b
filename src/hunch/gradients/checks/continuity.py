"""Whether a cost is a smooth function of a sample, read off the autograd graph.

The pathwise gradient is right only where the cost is continuous in the sample. A rounding, a sign
or a draw whose probabilities depend on the sample leaves a node in the graph that says so. A
comparison, an index or `torch.multinomial` leaves none: `(z > 0).float()` alone is seen to be cut
off from `z`, but `z + (z > 0).float()` looks smooth and cannot be told apart.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.autograd.graph import Node

from hunch.draws import untraced
from hunch.gradients.checks.gradient_flow import in_transform

Dependence = Literal["none", "smooth", "jump", "opaque"]

# Node names are the operations' names. "NotImplemented" stands for floor_divide, heaviside and
# binomial draws. For other draws torch has a gradient by their probability, which is zero.
_JUMP = re.compile(
    r"(Sign|Sgn|Round|Floor|Ceil|Trunc|Frac|Frexp|Fmod|Remainder|Copysign|Hardshrink|Threshold"
    r"|Angle|Atan2|Mode|Unique2?|Bernoulli|Poisson)Backward\d*$"
    r"|NormalBackward[1-3]$|FakeQuantize|torch::autograd::NotImplemented"
)
# One node for many operations, which may be any.
_OPAQUE = re.compile(r"(Compiled|Checkpoint)FunctionBackward|DifferentiableGraph|\w+AutogradOp")


def dependence(cost: Tensor, sample: Tensor) -> Dependence:
    """How `cost` depends on `sample`: not at all, smoothly, or with jumps, as far as autograd sees.

    Args:
        cost: any tensor.
        sample: a tensor with a graph node of its own (not a leaf).

    Returns:
        `"none"` if no gradient can flow, `"jump"` if one of the ways passes a rounding, a sign or
        a draw, `"opaque"` if one passes a compiled or checkpointed function, which shows nothing of
        what it does.

    Example:
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
    # Most are smooth by their names alone.
    special = [node for node in nodes if _named(node.name()) != "smooth"]
    if not special:
        return "smooth"
    found = {
        nature
        for node in special
        # What the sample's own node did belongs to the draw, unless it hides the cost as well.
        if (nature := _nature(node)) == "opaque" or (nature == "jump" and node is not end)
        if end in _down_to(node, end)
    }
    return "jump" if "jump" in found else "opaque" if found else "smooth"


@untraced
def looked_into(f: Callable[[Tensor], Tensor], samples: Tensor) -> Dependence:
    """`dependence` of a cost that is compiled, found by one more call of it, uncompiled.

    Example:
        >>> looked_into(lambda z: z.round(), torch.ones(2))
        'jump'
    """
    if in_transform():  # where no graph of one's own can be started
        return "opaque"
    with torch.enable_grad(), torch.compiler.set_stance("force_eager"):
        start = samples.detach().requires_grad_().view_as(samples)
        cost = f(start)
        return dependence(cost, start) if isinstance(cost, Tensor) else "none"


def jumps_on_the_way(sample: Tensor) -> bool:
    """Whether the sample itself was rounded on its way from the parameters, as autograd sees it.

    Example:
        >>> jumps_on_the_way(torch.ones(2, requires_grad=True).round())
        True
    """
    start = sample.grad_fn
    return start is not None and any(_nature(node) == "jump" for node in _down_to(start, None))


def _down_to(start: Node, end: Node | None) -> set[Node]:
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


def _nature(node: Node) -> Dependence:
    named = _named(node.name())
    return named if isinstance(named, str) else named(node)


@functools.cache
def _named(name: str) -> Dependence | Callable[[Node], Dependence]:
    if _JUMP.match(name):
        return "jump"
    if _OPAQUE.match(name):
        return "opaque"
    # Some have no node of their own when they round, and only remember that they did.
    if name.startswith("Div"):
        return functools.partial(_remembers, "_saved_rounding_mode", None)
    if name.startswith("GridSampler"):
        return functools.partial(_remembers, "_saved_interpolation_mode", 0)
    return "smooth"


def _remembers(setting: str, smooth: object, node: Node) -> Dependence:
    return "smooth" if getattr(node, setting, smooth) == smooth else "jump"
