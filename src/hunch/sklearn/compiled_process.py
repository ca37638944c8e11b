"""The mean of a Gaussian process by the compiled kernel."""

from __future__ import annotations

import math
from ctypes import byref
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hunch.kernel import Process, kernel
from hunch.sklearn.rows import Floats

_AT_ONCE: Final = 32  # knots that the kernel takes together
_ROOT: Final = math.sqrt(3)
# In single precision a bump is off by some 2⁻²⁶, more where rows are many lengths apart, and a mean
# by as much times the root of the sum of squared shares: 10⁻⁴ of the targets' size here.
_MOST_SINGLE: Final = 1e-4 * 2.0**26
_FEW: Final = 1_000  # knots, which double precision makes quick work of


@dataclass(frozen=True)
class Knots:
    """The rows that a process knows as the kernel takes them.

    Args:
        knot: `(features, knots)`, float32 or float64.
        square: their squared lengths, `(knots,)`, likewise.
        share: what each one's bump adds, `(knots,)`.
    """

    knot: npt.NDArray[Any]
    square: npt.NDArray[Any]
    share: Floats


def laid_out(knot: Floats, share: Floats) -> Knots | None:
    """A process for the kernel; None if what was kept is damaged.

    Args:
        knot: rows that the process knows, `(knots, features)`.
        share: what each one's bump adds, `(knots,)`.
    """
    if len(knot) != len(share):
        return None
    spare = -len(share) % _AT_ONCE
    knots = _ROOT * np.pad(knot, ((0, spare), (0, 0))).T
    square, shares = np.square(knots).sum(axis=0), np.pad(share, (0, spare))
    off = float(np.linalg.norm(shares * (1 + square)))
    kind = np.float32 if off < _MOST_SINGLE and len(share) > _FEW else np.float64
    return Knots(np.ascontiguousarray(knots, kind), square.astype(kind), shares.astype(np.float64))


def mean_compiled(knots: Knots | None, x: Floats) -> Floats | None:
    """As `GaussianProcess.at`; None without a kernel.

    Args:
        knots: the process.
        x: rows in units of the features' lengths, `(rows, features)`.

    Example:
        >>> knots = laid_out(np.zeros((1, 1)), np.ones(1))
        >>> found = mean_compiled(knots, np.array([[0.0], [1.0]]))
        >>> found is None or bool(np.allclose(found, [1.0, (1 + 3**0.5) * np.exp(-(3**0.5))]))
        True
    """
    library = kernel()
    if library is None or knots is None or len(knots.knot) != x.shape[1]:
        return None
    kind = knots.knot.dtype
    x, found = np.ascontiguousarray(_ROOT * x, kind), np.empty(len(x))
    process = Process(
        knots.knot.ctypes.data,
        knots.square.ctypes.data,
        knots.share.ctypes.data,
        len(knots.share),
        x.shape[1],
        kind == np.float32,
    )
    lanes = library.hunch_lanes()
    library.hunch_process(byref(process), x.ctypes.data, len(x), lanes, found.ctypes.data)
    return found
