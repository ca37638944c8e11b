"""Tables to learn from that need no download: scikit-learn's own, and drawn ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hunch.seeding import derive, numpy_generator

Array = npt.NDArray[Any]
Table = tuple[Array, Array]

_ROWS: Final = 400


def regression_table(name: str, seed: int) -> Table:
    """Features `(rows, features)` and targets `(rows,)` or `(rows, outputs)`.

    Args:
        name: a key of `REGRESSION`.
        seed: of the draw, for tables that are drawn.

    Example:
        >>> X, y = regression_table("heteroscedastic", seed=0)
        >>> X.shape, y.shape
        ((400, 2), (400,))
    """
    return REGRESSION[name](seed)


def classification_table(name: str) -> Table:
    """Features `(rows, features)` and class numbers `(rows,)`.

    Args:
        name: a name in `CLASSIFICATION`.
    """
    return _shipped(name)


def _shipped(name: str) -> Table:
    from sklearn import datasets

    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    return X, y


def _friedman(seed: int) -> Table:
    from sklearn.datasets import make_friedman1

    drawn = make_friedman1(_ROWS, noise=1.0, random_state=derive(seed, "friedman1") % 2**32)
    return drawn[0], drawn[1]


def _heteroscedastic(seed: int) -> Table:
    """A wave and a slope; the noise grows from 0.1 to 1 away from the middle."""
    rng = numpy_generator(seed, "heteroscedastic")
    X = rng.uniform(-3, 3, (_ROWS, 2))
    noise = 0.1 + 0.3 * np.abs(X[:, 0])
    return X, np.sin(2 * X[:, 0]) + 0.5 * X[:, 1] + noise * rng.normal(size=_ROWS)


def _heavy_tailed(seed: int) -> Table:
    """A product and a slope; Student's t with 3 degrees of freedom."""
    rng = numpy_generator(seed, "heavy-tailed")
    X = rng.normal(size=(_ROWS, 5))
    return X, X[:, 0] * X[:, 1] + X[:, 2] + 0.5 * rng.standard_t(3, size=_ROWS)


def _both(seed: int) -> Table:
    """A wave and a bowl; Student's t, and a third feature that only scales it."""
    rng = numpy_generator(seed, "both")
    X = rng.uniform(-2, 2, (_ROWS, 3))
    noise = 0.1 + 0.15 * (X[:, 2] + 2)
    mean = np.sin(2 * X[:, 0]) + 0.5 * X[:, 1] ** 2
    return X, mean + noise * rng.standard_t(3, size=_ROWS)


REGRESSION: Final[dict[str, Callable[[int], Table]]] = {
    "diabetes": lambda seed: _shipped("diabetes"),
    "linnerud": lambda seed: _shipped("linnerud"),
    "friedman1": _friedman,
    "heteroscedastic": _heteroscedastic,
    "heavy-tailed": _heavy_tailed,
    "heteroscedastic, heavy-tailed": _both,
}
CLASSIFICATION: Final = ("iris", "wine", "breast_cancer", "digits")
