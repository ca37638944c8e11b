"""The page of `hunch fit`, and the figures that it explains in words."""

import re
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

from hunch.plots import Figures
from hunch.tables import Columns, pictures
from hunch.tables.assessment import Split, assess
from hunch.tables.losses import LEVELS
from hunch.tables.model import train
from hunch.tables.overview import overview
from hunch.tables.report import table_report
from hunch.tables.target import learn_target
from hunch.tables.verdict import rounded

LONG = "a_name_that_is_long_and_has_no_space_to_break_it"


def summary_of(goal_name, n=150):
    rng = np.random.default_rng(0)
    x, kind = rng.normal(size=n), rng.choice(["a", "b"], n).astype(object)
    kind[::9] = None
    day = (np.datetime64("2019-01-01") + rng.integers(0, 900, n)).astype(str)
    table = pa.table(
        {
            LONG: pa.array(x, mask=np.arange(n) % 7 == 0),
            "kind": pa.array(kind, pa.string()),
            "day": day.tolist(),
            "y": x + 0.3 * rng.normal(size=n),
            "class": ["up" if v > 0 else "down" for v in x],
        }
    )
    goal, y = learn_target(goal_name, table[goal_name], "auto")
    columns, features = Columns.learn_and_encode(table.select(table.column_names[:3]))
    model = train(columns, goal, features, y, members=4, progress=False)
    y, cut = y.copy(), 100
    return {
        "data": "a.csv",
        "target": goal.to_json(),
        "rows": {"file": n, "used": n, "train": cut, "test": n - cut},
        "seed": 0,
        "features": len(columns.features),
        "columns": columns.to_json(),
        "overview": overview(columns, goal, features[:cut], y[:cut]),
        "test": assess(model, Split(features[:cut], y[:cut], features[cut:], y[cut:]), 0),
    }


@pytest.fixture(scope="module")
def regression():
    return summary_of("y")


@pytest.fixture(scope="module")
def classification():
    return summary_of("class")


@pytest.fixture(scope="module")
def page_of(regression, classification, drawn):
    """The page of each task as it is, drawn once."""
    tasks = {"regression": regression, "classification": classification}
    return {task: table_report(summary) for task, summary in tasks.items()}


def rows_of_scores(page):
    page = page[page.index('<section id="scores">') :]
    table = page[page.index("<table>") : page.index("</table>")]
    rows = [re.findall("<t[hd]>(.*?)</t[hd]>", row) for row in table.split("<tr>")]
    return rows[1:]


@pytest.mark.parametrize("task", ["regression", "classification"])
def test_a_score_is_a_row_and_a_model_a_column(task, page_of, request):
    scores = request.getfixturevalue(task)["test"]["scores"]
    head, *rows = rows_of_scores(page_of[task])
    assert head == ["", *scores]
    assert len(rows) == len(scores["hunch"])
    last = [own["calibration_error"] for own in scores.values()]
    assert rows[-1] == ["calibration error", *map(rounded, last)]


@pytest.mark.parametrize("task", ["regression", "classification"])
def test_no_score_goes_without_an_explanation(task, page_of):
    page = page_of[task]
    _, *rows = rows_of_scores(page)
    page = page[page.index('<section id="scores">') :]
    explained = page[page.index("</table>") :].lower()
    for name, *_ in rows:
        assert name.lower().replace("width of 90 %", "width:") in explained


def test_the_calibration_error_is_the_gap_of_the_curve_beside_it(regression):
    figures = regression["test"]
    for name, observed in figures["curve"]["observed"].items():
        gaps = [abs(a - b) for a, b in zip(observed, LEVELS, strict=True)]
        assert figures["scores"][name]["calibration_error"] == pytest.approx(np.mean(gaps))


def test_few_rows_make_few_groups(regression, classification, page_of):
    assert len(regression["test"]["error_by_std"]["error"]) == 2  # of 50 rows
    assert len(classification["test"]["curve"]["hunch"]["accuracy"]) == 2
    assert "Test rows in 2 groups of equal size" in page_of["regression"]


def test_values_of_a_category_are_named_as_they_are(regression, page_of):
    along = regression["test"]["unsure"]["along"]
    assert set(along) == {c["name"] for c in regression["columns"]["used"]}
    assert sorted(along["kind"]["at"]) == ["a", "b", "missing"]
    assert along["kind"]["missing"] == along["kind"]["epistemic"][-1]
    # Dates beside the axis, not numbers of days.
    assert re.search(r"<text[^>]*>20(19|20|21)-\d\d-\d\d</text>", page_of["regression"])


def test_rows_without_a_value_are_no_rows_of_the_median(regression, page_of):
    drawn = regression["test"]["unsure"]["along"][LONG]
    assert drawn["missing"] > 1.5 * np.median(drawn["epistemic"])
    said = "The broken line: rows without a value."
    assert said in page_of["regression"]
    assert said not in table_report(regression | {"test": whole(regression["test"])})


def whole(test):
    along = {name: own | {"missing": None} for name, own in test["unsure"]["along"].items()}
    return test | {"unsure": test["unsure"] | {"along": along}}


def retold(summary, **far):
    """The page of the same summary, had other values been measured away from the data."""
    test = summary["test"]
    told = {key: own | {"median": far.get(key, own["median"])} for key, own in far_of(test).items()}
    return table_report(summary | {"test": test | {"far": test["far"] | told}})


def far_of(test):
    return {key: own for key, own in test["far"].items() if key != "shift"}


def test_titles_about_distance_are_what_was_measured(regression, classification):
    steps = len(regression["test"]["far"]["shift"])
    rises, falls = list(np.linspace(1, 9, steps)), list(np.linspace(0.9, 0.4, steps))
    dips = [*rises[:3], 0.5, *rises[4:]]
    always, at_last, not_so = "Further away, less sure", "Far away, less sure", "no less sure"
    for summary in (regression, classification):
        for told, title in (
            (rises, always),
            (dips, at_last),
            (falls, not_so),
            ([0.0] * steps, not_so),
        ):
            page = retold(summary, epistemic=told)
            shown = [t for t in (always, at_last, not_so) if t in page]
            assert shown == [title]
    for told, title in ((falls, "Far away, less certain"), (rises, "Far away, no less certain")):
        page = retold(classification, probability=told)
        assert title in page
        assert f"{told[0]:.2f} at the data and {told[-1]:.2f} at 50 standard" in page


def test_a_classifier_moved_far_away_is_less_certain_and_the_page_says_so(classification, page_of):
    far = classification["test"]["far"]
    assert max(far["probability"]["median"][-3:]) <= 0.8 < far["probability"]["median"][0]
    assert "Far away, less certain" in page_of["classification"]


def test_the_pages_are_drawn_without_matplotlib():
    code = (
        "import sys; sys.modules['matplotlib'] = None;"
        "import hunch.tables.report, hunch.plots.run_report, hunch.plots.diagnosis_page;"
        "from hunch.plots import Figures; from hunch.tables import pictures;"
        "drawn = pictures.driving({'a': 0.9, 'b': 0.1}); print(Figures({'a': drawn}).to_html())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "a drives the prediction most" in done.stdout


def test_bars_that_are_all_alike_are_a_sentence():
    many = {f"c{i}": 0.5 + 1e-3 * i for i in range(40)}
    said = pictures.driving(many)
    assert said == (
        "The prediction depends on all columns alike: their shares lie between 0.5 and 0.539."
    )
    assert "each of their shares is below 0.001" in pictures.doubting(
        dict.fromkeys(many, 1e-5), dict.fromkeys(many, 0.0)
    )
    words = {"kind": "category", "at": list(many), "epistemic": [2.0] * 40, "missing": None}
    said = pictures.along("city", words, "epistemic std of y")
    assert said == (
        "Along `city` the epistemic std of y is about the same, 2 to 2, for all 40 values."
    )
    html = Figures({"a": said}).to_html()
    assert "<figure" not in html
    assert "<code>city</code>" in html


def test_of_the_values_of_a_column_the_least_sure_are_drawn_and_the_rest_told():
    values = [float(i) for i in range(1, 101)]
    words = {"kind": "category", "at": [f"v{i}" for i in values], "epistemic": values}
    chart, caption = pictures.along("city", words | {"missing": None}, "std")
    assert chart.title == "Least sure where city is v100.0"
    assert "85 more values lie below these, from 1 to 85" in caption
    assert chart.to_svg().count(">v") == 15


@pytest.mark.parametrize(
    ("ours", "span", "title"),
    [
        (1.0, [0.1, 0.9], "hunch's RMSE is 50.0 % smaller than linear's"),
        (3.0, [-0.9, -0.1], "hunch's RMSE is 50.0 % larger than linear's"),
        (1.9, [-0.1, 0.2], "hunch's RMSE cannot be told apart from linear's"),
    ],
)
def test_the_title_of_scores_says_no_more_than_was_found(ours, span, title):
    scores = {"hunch": {"rmse": ours}, "linear": {"rmse": 2.0}, "constant": {"rmse": 4.0}}
    found = {
        "deciding": "rmse",
        "scores": scores,
        "ranges": {name: {"rmse": [0.5, 5.0]} for name in scores},
        "ahead": {"linear": {"range": span}},
    }
    assert pictures.comparison(found, "RMSE")[0].title == title


@pytest.mark.parametrize(
    ("shift", "title"),
    [(0.0, "about as many rows as"), (0.2, "more rows than"), (-0.2, "fewer rows than")],
)
def test_the_title_of_coverage_says_what_was_counted(shift, title):
    levels = [0.3, 0.5, 0.7]
    curve = {"levels": levels, "observed": {"hunch": [level + shift for level in levels]}}
    assert title in pictures.coverage(curve)[0].title


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:X holds:UserWarning")
def test_of_very_many_columns_those_that_matter_most_are_tried_and_the_page_says_so():
    rng = np.random.default_rng(0)
    n, width = 90, 230
    x = rng.normal(size=(n, width))
    x[:, 1:] = x[:, 1:].round() + 5 * rng.integers(0, 2, (n, width - 1))
    x[::9, 0] = 40.0  # rows of which little is known
    table = pa.table({f"c{j}": x[:, j] for j in range(width)} | {"y": x[:, 0]})
    goal, y = learn_target("y", table["y"], "auto")
    columns, features = Columns.learn_and_encode(table.drop_columns(["y"]))
    model = train(columns, goal, features, y, members=3, progress=False)
    test = assess(model, Split(features[:60], y[:60], features[60:], y[60:]), 0)
    drivers = test["unsure"]["drivers"]
    assert len(drivers) == 200  # each takes a prediction of all probed rows
    assert "c0" in drivers
    page = table_report(
        {
            "data": "a.csv",
            "target": goal.to_json(),
            "rows": {"file": n, "used": n, "train": 60, "test": n - 60},
            "seed": 0,
            "features": len(columns.features),
            "columns": columns.to_json(),
            "overview": overview(columns, goal, features[:60], y[:60]),
            "test": test,
        }
    )
    assert "foremost of 200 columns tried" in page
