"""From a CSV or Parquet file to predictions with error bars (extra `tabular`).

Each name is imported when it is first used: who asks a model does not wait for what trains one.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

from hunch.tables.packages import check_packages

check_packages()

_FILES: Final = {
    "Column": "column",
    "Columns": "columns",
    "Dropped": "column",
    "Predicted": "streaming",
    "TableModel": "model",
    "fit_table": "fitting",
    "monitor_table": "monitoring",
    "predict_table": "streaming",
}

__all__ = [
    "Column",
    "Columns",
    "Dropped",
    "Predicted",
    "TableModel",
    "fit_table",
    "monitor_table",
    "predict_table",
]

if TYPE_CHECKING:
    from hunch.tables.column import Column as Column
    from hunch.tables.column import Dropped as Dropped
    from hunch.tables.columns import Columns as Columns
    from hunch.tables.fitting import fit_table as fit_table
    from hunch.tables.model import TableModel as TableModel
    from hunch.tables.monitoring import monitor_table as monitor_table
    from hunch.tables.streaming import Predicted as Predicted
    from hunch.tables.streaming import predict_table as predict_table


def __getattr__(name: str) -> Any:
    if name not in _FILES:
        raise AttributeError(f"module 'hunch.tables' has no attribute {name!r}")
    return getattr(importlib.import_module(f"hunch.tables.{_FILES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
