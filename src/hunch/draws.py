"""Random tensors from a generator of one's own or from torch's default one.

Torch's `randn`, `rand` and `randint` have a form with the keyword `generator` and one without it;
only the latter knows sizes that are symbols, which `torch.compile` and `torch.export` make of a
batch that changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from torch._compile import _disable_dynamo

from hunch.recomputation import may_repeat, recalled


def drawn(
    make: Callable[..., Tensor],
    size: Sequence[int],
    generator: torch.Generator | None,
    dtype: torch.dtype | None = None,
    device: torch.device | None = None,
) -> Tensor:
    """What `make(*size, ...)` draws; the same again where gradient checkpointing repeats the draw.

    Args:
        make: `torch.randn`, `torch.rand`, or what takes the same arguments.
        size: the shape.
        generator: source of the draw; None for torch's default one.
        dtype: of the result.
        device: where the draw is made; a generator lives there.

    Example:
        >>> g = torch.Generator().manual_seed(0)
        >>> a = drawn(torch.randn, (3,), g)
        >>> bool((a == torch.randn(3, generator=g.manual_seed(0))).all())
        True
    """
    if generator is not None and torch.compiler.is_dynamo_compiling():
        return _untraced(make, size, generator, dtype, device)
    if not may_repeat():
        return drawn_once(make, size, generator, dtype, device)
    with drawing_again(generator, device):
        return drawn_once(make, size, generator, dtype, device)


def drawn_once(
    make: Callable[..., Tensor],
    size: Sequence[int],
    generator: torch.Generator | None,
    dtype: torch.dtype | None = None,
    device: torch.device | None = None,
) -> Tensor:
    """`drawn` where it is known that nothing is repeated.

    Example:
        >>> drawn_once(torch.rand, (2, 3), None).shape
        torch.Size([2, 3])
    """
    # The size goes in number by number: reading a tuple takes torch longer than a small draw.
    sizes = size or ((),)  # no number at all is read as no size given
    if generator is None:
        return make(*sizes, dtype=dtype, device=device)
    return make(*sizes, dtype=dtype, device=device, generator=generator)


# A draw from a generator of one's own cannot be traced. It must then run outside of the tracer with
# all that it calls: traced piece by piece it would not see whether it is being repeated. Unlike
# `torch.compiler.disable`, `untraced` does not import the compiler where nobody compiles.
untraced = _disable_dynamo
_untraced = untraced(drawn)


@contextmanager
def drawing_again(
    generator: torch.Generator | None, device: torch.device | None = None
) -> Iterator[None]:
    """Where gradient checkpointing repeats this block, it draws the same numbers again.

    Args:
        generator: what the block draws from; None for the default one of `device`.
        device: None for the CPU.

    Raises:
        ConfigurationError: if the checkpointed function drew otherwise the first time.

    Example:
        >>> g, w = torch.Generator().manual_seed(0), torch.ones(1, requires_grad=True)
        >>> def region(w):
        ...     with drawing_again(g):
        ...         return (w * torch.randn(1, generator=g)).square()
        >>> loss = torch.utils.checkpoint.checkpoint(region, w, use_reentrant=False)
        >>> loss.backward()
        >>> bool(w.grad == 2 * loss)
        True
    """
    source = (generator or _default(device)) if may_repeat() else None
    if source is None:
        yield
        return
    first, again = recalled(source, source.get_state)
    if not again:
        yield
        return
    now = source.get_state()
    source.set_state(first)
    try:
        yield
    finally:
        # Torch puts its default generator back itself, for the whole function that it repeats.
        if generator is not None or not torch.equal(first, now):
            source.set_state(now)


def _default(device: torch.device | None) -> torch.Generator | None:
    """The default generator of a device, where torch shows it."""
    if device is None or device.type == "cpu":
        return torch.default_generator
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        return torch.cuda.default_generators[index]
    return None
