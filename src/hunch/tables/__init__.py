"""From a CSV or Parquet file to predictions with error bars (extra `tabular`)."""

from hunch.tables.packages import check_packages

check_packages()

from hunch.tables.column import Column, Dropped  # noqa: E402
from hunch.tables.columns import Columns  # noqa: E402
from hunch.tables.fitting import fit_table  # noqa: E402
from hunch.tables.model import TableModel  # noqa: E402
from hunch.tables.monitoring import monitor_table  # noqa: E402
from hunch.tables.streaming import Predicted, predict_table  # noqa: E402

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
