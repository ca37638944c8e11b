"""What is known of a gradient from here: whether a tensor carries one, also where torch hides it.

`requires_grad` speaks of the innermost transform alone. Inside `torch.func.vmap`, or where forward
mode is on the way, a parameter says False and is differentiated all the same.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor
from torch._functorch.pyfunctorch import temporarily_pop_interpreter_stack
from torch.autograd import forward_ad

_FUNCTORCH: Any = torch._C._functorch  # torch says nowhere else which transforms are active


def in_forward_mode() -> bool:
    """Whether a `jvp`, a `jacfwd` or a dual level is active.

    Example:
        >>> with forward_ad.dual_level():
        ...     in_forward_mode()
        True
    """
    return forward_ad._current_level >= 0


def in_transform() -> bool:
    """Whether forward mode or any transform of `torch.func` is active; not while compiling.

    Example:
        >>> in_transform(), torch.func.vmap(lambda x: x * in_transform())(torch.ones(2))
        (False, tensor([1., 1.]))
    """
    if torch.compiler.is_compiling():  # where torch traces through them
        return False
    return _FUNCTORCH.maybe_current_level() is not None or in_forward_mode()


def carries_gradient(tensor: Tensor) -> bool:
    """Whether a gradient flows through the tensor at any level, in reverse or forward mode.

    While `torch.compile` traces, only what `requires_grad` says.

    Example:
        >>> x = torch.ones(2, requires_grad=True)
        >>> seen = []
        >>> def look(row):
        ...     seen.append((row.requires_grad, carries_gradient(row)))
        ...     return row
        >>> _ = torch.func.vmap(look)(x)
        >>> seen
        [(False, True)]
    """
    if tensor.requires_grad:
        return True
    if not in_transform():
        return False
    with ExitStack() as popped:
        while True:
            # Each layer must be asked at its own level: from others it looks like a constant.
            level = _FUNCTORCH.maybe_get_level(tensor)
            while (_FUNCTORCH.maybe_current_level() or 0) > max(level, 0):
                popped.enter_context(temporarily_pop_interpreter_stack())
            if tensor.requires_grad or _has_tangent(tensor):
                return True
            if level < 1:
                return False
            popped.enter_context(temporarily_pop_interpreter_stack())
            tensor = _FUNCTORCH.get_unwrapped(tensor)


def _has_tangent(tensor: Tensor) -> bool:
    if _FUNCTORCH.is_batchedtensor(tensor):  # a layer of vmap, which has none of its own
        return False
    return forward_ad.unpack_dual(tensor).tangent is not None


def hides_gradient(tensor: Tensor) -> bool:
    """Whether a gradient may flow through the tensor that its graph, seen from here, does not show.

    Example:
        >>> hides_gradient(torch.ones(2, requires_grad=True))
        False
    """
    return in_transform() and not tensor.requires_grad and carries_gradient(tensor)


def underlying(tensor: Tensor) -> Tensor:
    """The numbers themselves, of all rows of `vmap` together.

    Example:
        >>> torch.func.vmap(lambda x: x * underlying(x).sum().item())(torch.ones(3))
        tensor([3., 3., 3.])
    """
    return tensor if not in_transform() else torch.func.debug_unwrap(tensor.detach())
