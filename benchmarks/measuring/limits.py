"""The machine's rates, from which the least time of a piece of work follows.

They are measured beside the work, in the same turns: a clock that changes changes both.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from hunch.adam import Adam
from measuring.turns import Way

_SIDE, _PARAMETERS, _MANY = 512, 2**16, 2**19
_PRODUCTS, _STEPS, _COPIES = 10, 20, 20
# A polynomial of degree 6 and what brings its argument near 0: a dozen multiply-adds. Torch's own
# exponential takes several times as long and would be no limit.
_EXPONENTIAL = 24


@dataclass(frozen=True)
class Rates:
    """Seconds for one of each, on one thread.

    Args:
        operation: a multiplication or an addition within a large product of matrices.
        adam: a step of one parameter, fused.
        byte: read or written beyond the second cache, by a copy of 2 MB.
    """

    operation: float
    adam: float
    byte: float

    @classmethod
    def of(cls, times: Mapping[str, Sequence[float]]) -> Rates:
        """From what `turns` found for `rate_ways`."""
        product, adam, copy = (statistics.median(times[name]) for name in rate_ways())
        return cls(
            product / (_PRODUCTS * 2 * _SIDE**3),
            adam / (_STEPS * _PARAMETERS),
            copy / (_COPIES * 8 * _MANY),
        )

    @property
    def exponential(self) -> float:
        """An exponential, as the operations that it is made of."""
        return _EXPONENTIAL * self.operation

    def __str__(self) -> str:
        """Said in a sentence's part."""
        return (
            f"{1e-9 / self.operation:.0f} GFLOP/s in products, "
            f"{1e9 * self.adam:.2f} ns a parameter in Adam, "
            f"{1e-9 / self.byte:.0f} GB/s beyond the second cache"
        )


def rate_ways() -> dict[str, Way]:
    """Pieces of work of known size, to be timed among others."""
    square, out = torch.ones(_SIDE, _SIDE), torch.empty(_SIDE, _SIDE)
    parameters, gradients = [torch.zeros(_PARAMETERS)], [torch.ones(_PARAMETERS)]
    adam = Adam(parameters)
    source, target = torch.zeros(_MANY), torch.empty(_MANY)

    def products() -> None:
        for _ in range(_PRODUCTS):
            torch.mm(square, square, out=out)

    def steps() -> None:
        for _ in range(_STEPS):
            adam.step(parameters, gradients, 1e-3, [0])

    def copies() -> None:
        for _ in range(_COPIES):
            target.copy_(source)

    return {
        "rate of products": products,
        "rate of Adam": steps,
        "rate of copies": copies,
    }
