"""Tables of other libraries in memory, in and out: pandas, polars, Arrow, and columns by name."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from hunch.errors import DataError


def is_frame(data: object) -> bool:
    """Whether `data` is a table in memory, rather than the path of one.

    Example:
        >>> is_frame({"a": [1]}), is_frame(pa.table({"a": [1]})), is_frame("a.csv")
        (True, True, False)
    """
    return isinstance(data, Mapping) or hasattr(data, "__arrow_c_stream__") or _is_pandas(data)


def as_arrow(data: Any) -> pa.Table:
    """The table as Arrow's; the index of a pandas one is left out.

    Args:
        data: a DataFrame of pandas or polars, anything else with Arrow's interface, or columns of
            equal length by name.

    Raises:
        DataError: if columns are of several lengths, or hold cells of several types.

    Example:
        >>> as_arrow({"a": [1, 2], "b": ["x", None]}).num_rows
        2
    """
    if isinstance(data, pa.Table):
        return _without_views(data)
    try:
        if _is_pandas(data):
            if not all(isinstance(name, str) for name in data.columns):
                raise DataError(
                    f"the columns of the table are called {list(data.columns)[:3]} and so on; "
                    "expected names that are text."
                )
            data = _with_moments(data)
            return pa.Table.from_pandas(data, preserve_index=False).replace_schema_metadata()
        return _without_views(pa.table(dict(data) if isinstance(data, Mapping) else data))
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        what = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise DataError(
            f"the table cannot be read: {what}; expected columns of equal length, whose cells are "
            "of one type each."
        ) from error


def like(found: pa.Table, data: Any) -> Any:
    """A table of as many rows in the form that `data` has, with its index if it has one.

    Example:
        >>> like(pa.table({"mean": [1.5]}), {"size": [3]})
        {'mean': array([1.5])}
    """
    if isinstance(data, Mapping):
        return {name: found[name].to_numpy() for name in found.column_names}
    if _is_pandas(data):
        frame = found.to_pandas()
        frame.index = data.index
        return frame
    library = type(data).__module__.partition(".")[0]
    if library == "polars":
        return importlib.import_module("polars").from_arrow(found)
    return found


def _without_views(table: pa.Table) -> pa.Table:
    """Text as polars holds it, of which Arrow cannot take rows, as text that it can."""
    for i, field in enumerate(table.schema):
        if pa.types.is_string_view(field.type):
            table = table.set_column(i, field.name, table[i].cast(pa.large_string()))
    return table


def _with_moments(frame: Any) -> Any:
    """Periods of pandas as their first moments: Arrow would have numbers that count periods."""
    periods = [name for name, kind in frame.dtypes.items() if str(kind).startswith("period[")]
    return frame.assign(**{name: frame[name].dt.to_timestamp() for name in periods})


def _is_pandas(data: object) -> bool:
    kind = type(data)
    return kind.__module__.partition(".")[0] == "pandas" and kind.__name__ == "DataFrame"
