"""The sentence of the report is held against the figures that --json prints."""

import contextlib
import datetime
import html
import io
import json
import re

import numpy as np
import pandas as pd
import pytest

from hunch.cli.main import run
from hunch.tables.report import table_report
from hunch.tables.suspects import cautions
from hunch.tables.verdict import TONES, verdict

WORDS = {
    "useful": "Useful: ",
    "weak": "A weak guide, a little better than always saying ",
    "beaten": "Useful, but ",
    "no better": "No better than always saying ",
    "worse": "Worse than always saying ",
}


def table(n, noise, seed=0):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, n)).round(4)
    kind = rng.choice(["x", "y"], n)
    y = (3 * a + 2 * (kind == "x") + noise * rng.normal(size=n)).round(4)
    grade = np.where(y > np.median(y), "high", "low")
    return pd.DataFrame({"a": a, "b": b, "kind": kind, "y": y, "grade": grade})


def fitted(folder, frame, target, *more):
    """The summary as the program prints it, and the page that it leaves."""
    frame.to_csv(folder / "table.csv", index=False)
    words = ["fit", str(folder / "table.csv"), f"--target={target}", "--members=3", "--json"]
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        assert run([*words, f"--out={folder / 'model'}", *more]) == 0
    return json.loads(out.getvalue()), (folder / "model" / "report.html").read_text("utf-8")


def sentence_of(page):
    found = re.search(r'<div class="notice (good|fair|bad)"><p>(.*?)</p></div>', page)
    return found[1], html.unescape(re.sub("<.*?>", "", found[2]))


def numbers(text):
    return [float(n.replace(",", "")) for n in re.findall(r"-?\d[\d,]*(?:\.\d+)?", text)]


def expected(summary):
    """The numbers of the sentence in their order, from the figures."""
    test = summary["test"]
    ours, ranges, scores = test["scores"]["hunch"], test["ranges"]["hunch"], test["scores"]
    key = "rmse" if summary["target"]["task"] == "regression" else "log_loss"
    best = min(own[key] for name, own in scores.items() if name not in ("hunch", "constant"))
    beside = [ours[key], *ranges[key], scores["constant"][key], best, len(scores) - 2]
    shares = "coverage_90" if key == "rmse" else "accuracy"
    percents = [100 * share for share in (ours[shares], *ranges[shares])]
    if key == "rmse":
        return [summary["rows"]["test"], *beside, 90, *percents]
    constant = 100 * scores["constant"]["accuracy"]
    return [summary["rows"]["test"], *percents, constant, *beside]


def check(summary, page):
    tone, said = sentence_of(page)
    assert numbers(said.split(": on ", 1)[1]) == pytest.approx(
        expected(summary), rel=6e-3, abs=0.06
    )
    assert html.unescape(said) == verdict(summary).replace("`", "")
    test = summary["test"]
    grade = test["grade"]
    if not summary["suspects"]:
        assert said.startswith(WORDS[grade])
        assert tone == {"useful": "good", "weak": "fair", "beaten": "fair"}.get(grade, "bad")
    low, high = test["ahead"]["constant"]["range"]  # how much more the constant is off
    assert (grade == "worse") == (high < 0)
    assert (grade == "no better") == (low <= 0 <= high)
    return said


def test_of_a_number(tmp_path):
    summary, page = fitted(tmp_path, table(200, 0.5), "y")
    said = check(summary, page)
    assert summary["test"]["grade"] in ("useful", "beaten")
    assert "its typical error (root mean square) is" in said
    assert "hunch" in page


def test_of_classes_and_with_ids_that_name_ten_rows(tmp_path):
    frame = table(200, 0.5).drop(columns="y")
    frame["who"] = [f"person {i}" for i in range(200)]
    summary, page = fitted(tmp_path, frame, "grade", "--ids=who")
    said = check(summary, page)
    assert "it names the right class in" in said
    rows = summary["test"]["examples"]
    assert len(rows) == 10
    for row in rows:
        own = frame.iloc[row["row"] - 1]
        assert row["ids"] == {"who": own["who"]}
        assert row["actual"] == own["grade"]
        assert f"<td>{own['who']}<small>" in page
    assert np.sum(summary["test"]["confusion"]) == summary["rows"]["test"]


def test_of_a_target_that_no_column_tells(tmp_path):
    frame = table(150, 0.5).drop(columns="y")
    frame["y"] = np.random.default_rng(7).normal(size=150).round(4)
    summary, page = fitted(tmp_path, frame, "y")
    said = check(summary, page)
    assert summary["test"]["grade"] in ("no better", "worse")
    assert said.startswith(("No better than always saying", "Worse than always saying"))


def test_of_a_file_of_its_own_and_of_a_column_that_tells_too_much(tmp_path):
    frame = table(160, 0.5)
    frame["answer"] = (2 * frame["y"]).round(3)
    frame[100:].to_csv(tmp_path / "later.csv", index=False)
    summary, page = fitted(tmp_path, frame[:100], "y", f"--test={tmp_path / 'later.csv'}")
    said = check(summary, page)
    assert said.startswith("Not to be trusted before column answer is looked at")
    assert "on the 60 rows of later.csv" in said
    assert sentence_of(page)[0] == "bad"
    assert page.index("tells") < page.index('<section id="data">')
    for row in summary["test"]["examples"]:
        assert row["actual"] == frame["y"].iloc[99 + row["row"]]
        assert row["inside"] == (row["lower"] <= row["actual"] <= row["upper"])


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    return fitted(tmp_path_factory.mktemp("known"), table(120, 0.5), "y")


def retold(summary, **test):
    return summary | {"test": summary["test"] | test}


@pytest.mark.parametrize("grade", WORDS)
def test_each_grade_has_its_words(grade, known):
    assert verdict(retold(known[0], grade=grade)).startswith(WORDS[grade])
    assert TONES[grade] == {"useful": "good", "weak": "fair", "beaten": "fair"}.get(grade, "bad")


@pytest.mark.parametrize(
    ("share", "ends", "words"),
    [
        (0.7, [0.6, 0.85], "which is too few: they are too narrow"),
        (0.91, [0.86, 0.95], "as promised"),
        (0.86, [0.8, 0.91], "which may be chance"),
        (0.97, [0.93, 0.99], "more than promised: they are wider than they need to be"),
    ],
)
def test_intervals_hold_too_few_or_too_many(share, ends, words, known):
    test = known[0]["test"]
    other = {
        key: test[key] | {"hunch": test[key]["hunch"] | {"coverage_90": value}}
        for key, value in (("scores", share), ("ranges", ends))
    }
    assert verdict(retold(known[0], **other)).endswith(f", {words}.")


def test_groups_and_time_are_named_where_rows_were_held_out_by_them(known):
    groups = {"by": "groups", "column": "clinic", "train": 40, "test": 12}
    by_group = [{"value": "north", "rows": 24, "coverage_90": 0.75, "width_90": 3.0, "mae": 0.5}]
    over = {"groups": 12, "coverage_90": 0.8, "width_90": 3, "mae": 0.5, "least_covered": "north"}
    found = retold(known[0], by_group=by_group, group_scores=over) | {"split": groups}
    page = table_report(found)
    assert "on 24 rows of 12 groups of clinic that it had never seen" in sentence_of(page)[1]
    section = page[page.index('<section id="groups">') :]
    assert "<td>north</td><td>24</td><td>75.0 %</td>" in section
    assert "each of the 12 groups counts once: covered by 90 % 80.0 %" in section
    time = {"by": "time", "column": "day", "train": ["2010-01-01", "2018-12-31"]}
    time["test"] = ["2019-01-01", "2020-06-30"]
    part = {"from": "2019-01-01", "to": "2019-03-01", "rows": 5, "coverage_90": 0.8, "mae": 0.5}
    page = table_report(retold(known[0], by_time=[part]) | {"split": time})
    said = "on the last 24 rows by day (2019-01-01 to 2020-06-30)"
    assert said in sentence_of(page)[1]
    assert "<td>2019-01-01 to 2019-03-01</td>" in page
    said = cautions(known[0] | {"dependence": ["rows of one clinic look alike"]})
    assert said == ["Rows of one clinic look alike."]


def test_the_day_is_on_the_page_and_in_no_other_file(known):
    summary, _ = known
    first = table_report(summary, datetime.date(2026, 1, 31))
    other = table_report(summary, datetime.date(2027, 12, 24))
    assert "31 January 2026" in first
    assert first.replace("31 January 2026", "24 December 2027") == other
    assert datetime.date.today().isoformat() not in json.dumps(summary)


def test_the_day_may_be_that_of_the_sources(known, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    assert "2 January 1970" in table_report(known[0])


def test_only_what_is_beyond_chance_is_called_better_or_worse(known):
    ends = {"linear": [1, 2], "gradient boosting": [-2, -1], "Gaussian process": [-1, 1]}
    ends["constant"] = [3, 4]
    ahead = {name: {"by": np.mean(pair), "range": pair} for name, pair in ends.items()}
    assert (
        "By RMSE, row by row on the same test rows, hunch is clearly better than linear and "
        "constant, and clearly worse than gradient boosting, and not to be told apart from "
        "Gaussian process."
    ) in table_report(retold(known[0], ahead=ahead))
