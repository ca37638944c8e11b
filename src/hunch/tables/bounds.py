"""What the user knows of rows and the target: weights, and bounds that a number cannot pass."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa

from hunch.errors import ConfigurationError, DataError
from hunch.tables.cells import Floats, NotThatKindError, clean
from hunch.tables.target import Target
from hunch.tables.ways import Decimal, learn_ways
from hunch.validation import real_number


def with_bounds(target: Target, y: Floats, lower: float | None, upper: float | None) -> Target:
    """The target with bounds, which its values are seen to be within.

    Args:
        target: a number.
        y: its values; NaN where missing.
        lower: the least possible value; None: there is none.
        upper: the largest.

    Raises:
        ConfigurationError: if the bounds are no numbers in order, or the target is of classes.
        DataError: naming the first value beyond.

    Example:
        >>> with_bounds(Target("y", "regression"), np.array([0.5]), 0.0, None).lower
        0.0
    """
    both = {"lower": lower, "upper": upper}
    given = {name: value for name, value in both.items() if value is not None}
    for name, value in given.items():
        real_number(name, value)
    if not given:
        return target
    if target.task == "classification":
        raise ConfigurationError(
            f"`{next(iter(given))}` is a bound of a number, and target {target.name!r} is of "
            "classes; leave it out, or say --task regression."
        )
    low, high = given.get("lower", -np.inf), given.get("upper", np.inf)
    if not low < high:
        raise ConfigurationError(
            f"`lower` got {low:g} and `upper` {high:g}; expected the lower one to be below."
        )
    beyond = (y < low) | (y > high)
    if beyond.any():
        row = int(beyond.argmax())
        raise DataError(
            f"target {target.name!r} holds {y[row]:g} in row {row + 1}, which is beyond the bounds "
            f"{low:g} to {high:g}; correct the row, or the bounds."
        )
    return replace(target, lower=lower, upper=upper)


def read_weights(
    name: str, column: pa.ChunkedArray, decimal: Decimal, delimiter: str | None
) -> Floats:
    """How much each row counts in training, `(rows,)`.

    Raises:
        DataError: if a cell is no number from 0 on.

    Example:
        >>> read_weights("w", pa.chunked_array([["1", "2.5"]]), "auto", ",")
        array([1. , 2.5])
    """
    try:
        way = learn_ways(
            pa.table({name: column}), decimal=decimal, delimiter=delimiter, kinds={name: "weight"}
        )[name]
        values = way.read(clean(column))
    except NotThatKindError as error:
        raise DataError(
            f"weights {name!r} hold {error.value!r} in row {error.row + 1}; expected numbers."
        ) from error
    odd = ~(np.isfinite(values) & (values >= 0))
    if odd.any():
        row = int(odd.argmax())
        said = "nothing" if np.isnan(values[row]) else f"{values[row]:g}"
        raise DataError(
            f"weights {name!r} hold {said} in row {row + 1}; expected a number from 0 on in each "
            "row: 0 leaves a row out of training."
        )
    if not values.any():
        raise DataError(f"weights {name!r} are 0 in every row; expected some above 0.")
    return values
