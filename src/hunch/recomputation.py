"""What must come out the same when gradient checkpointing runs a computation a second time.

`torch.utils.checkpoint` forgets what a region of the network computed, and runs its function again
in the backward pass. It puts torch's default generators back for that; what else decides a result,
such as a generator of one's own, a noise mode or a moving average, has gone on meanwhile. What is
asked of `recalled` is in the second run what it was in the first.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.utils import checkpoint as checkpointing
from torch.utils._pytree import tree_leaves

from hunch.errors import ConfigurationError

T = TypeVar("T")

_tracing = torch.compiler.is_dynamo_compiling
_running_backward = torch._C._current_graph_task_id
# torch 2.6 cannot say: there every call is worth a look.
_saving_hooks = getattr(torch._C._autograd, "_top_saved_tensors_default_hooks", lambda _: True)
_forward_mode = torch._C._is_fwd_grad_enabled
_inference = torch.is_inference_mode_enabled
_AGAIN = object()  # in place of a value that is made again


class _Record:
    """What one region asked for in its first run, in order, and how far the present run has got."""

    def __init__(self) -> None:
        self.entries: list[tuple[int, Any]] = []
        self.run, self.next = -1, 0

    def replay(self, key: int) -> Any:
        # Within one backward pass a region runs once; the next pass starts from the beginning.
        run = _running_backward()
        if run != self.run:
            self.run, self.next = run, 0
        at, self.next = self.next, self.next + 1
        if at >= len(self.entries) or self.entries[at][0] != key:
            raise ConfigurationError(
                "`torch.utils.checkpoint` ran its function again, and that drew other noise or "
                "samples than the first time; expected the same calls in the same order; let "
                "nothing that the function reads change before the backward pass is over."
            )
        return self.entries[at][1]


# By torch's own object for a region, so that a record lives as long as the graph.
_RECORDS: WeakKeyDictionary[Any, _Record] = WeakKeyDictionary()


def may_repeat() -> bool:
    """Whether this could be inside a checkpointed region; false alarms cost a look at the stack.

    Example:
        >>> may_repeat()
        False
    """
    if _tracing():
        return False
    # The first kind of region saves tensors by hooks; the second runs inside an autograd function,
    # where forward-mode derivatives are off, and again inside a backward pass.
    return (
        _saving_hooks(True) is not None
        or _running_backward() != -1
        or not (_forward_mode() or _inference())
    )


def recalled(owner: object, make: Callable[..., T], *arguments: Any) -> tuple[T, bool]:
    """What `make(*arguments)` gives, or gave when `torch.utils.checkpoint` ran this the first time.

    Args:
        owner: whose value it is; every run must ask for those of the same owners in the same order.
        make: gives the value. What it recalls itself is part of the value.
        arguments: for `make`.

    Returns:
        The value, and whether this is a second run.

    Raises:
        ConfigurationError: if the second run asks for other values than the first.

    Example:
        >>> weight, counts = torch.ones(1, requires_grad=True), iter([1.0, 2.0])
        >>> def region(w):
        ...     value, again = recalled(counts, next, counts)
        ...     return (w * value).square()
        >>> loss = torch.utils.checkpoint.checkpoint(region, weight, use_reentrant=False)
        >>> loss.backward()
        >>> loss.item(), weight.grad.item()
        (1.0, 2.0)
    """
    if not may_repeat():
        return make(*arguments), False
    firsts: list[_Record] = []
    for region, again in _regions():
        if again:
            value = _RECORDS.get(region, _Record()).replay(id(owner))
            value = make(*arguments) if value is _AGAIN else value
            break
        firsts.append(_RECORDS.setdefault(region, _Record()))
    else:
        again = False
        before = [len(first.entries) for first in firsts]
        value = make(*arguments)
        for first, length in zip(firsts, before, strict=True):
            del first.entries[length:]
    entry = (id(owner), _AGAIN if _fleeting(value) else value)
    for first in firsts:
        first.entries.append(entry)
    return value, again


def _fleeting(value: Any) -> bool:
    """Whether a value cannot outlive the `torch.func` transform that it was made in."""
    return any(
        isinstance(leaf, Tensor) and torch._C._functorch.is_functorch_wrapped_tensor(leaf)
        for leaf in tree_leaves(value)
    )


def _regions() -> Iterator[tuple[Any, bool]]:
    """The checkpointed regions around this call, from the inside, and whether each runs again."""
    module, engine = vars(checkpointing), vars(torch.autograd)
    inner: FrameType | None = None
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_globals is module:
            function, local = frame.f_code.co_name, frame.f_locals
            if function == "forward":  # of an autograd function: use_reentrant=True
                yield local["ctx"], False
            elif function == "backward":
                # Once it has run the region again, it calls the engine; that is no part of the run.
                if inner is None or inner.f_globals is not engine:
                    yield local["ctx"], True
            elif function == "checkpoint" and "gen" in local:
                yield local["gen"].gi_frame.f_locals["new_frame"], False
            elif function == "unpack_hook":
                yield local["frame"], True
        inner, frame = frame, frame.f_back
