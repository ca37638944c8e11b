"""Charts: where marks lie, what stands beside the axes, and that the SVG is whole."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from hunch.charts import BLUE, ORANGE, Chart, plain_number
from hunch.charts.chart import WIDTH
from hunch.charts.lettering import fitted, width_of, wrapped
from hunch.charts.scales import Scale, limits_of, ticks


def parsed(chart):
    return ElementTree.fromstring(chart.to_svg())


def texts(chart):
    return [node.text for node in parsed(chart).iter("text")]


def paths(chart, color):
    return [
        [float(v) for v in re.findall(r"-?\d+\.?\d*(?:e-?\d+)?", node.get("d"))]
        for node in parsed(chart).iter("path")
        if color in (node.get("stroke"), node.get("fill"))
    ]


def full():
    chart = Chart('A "title" <of> two & more', "x / m", "y")
    chart.line([0, 1, np.nan, 3], [0, 1, 2, 9], BLUE, label="a <line>")
    chart.dots([0, 1], [2, 3], ORANGE, cross=True)
    chart.band([0, 1, 2], [0, np.nan, 1], [2, 3, 4], BLUE)
    chart.sticks([1, 2], [0, 1], [3, 4], BLUE)
    chart.rule(x=1.0).rule(y=2.0)
    return chart.text(1, 1, "<here>")


def test_a_chart_is_whole_xml_with_text_as_text_and_no_identifiers():
    chart = full()
    found = texts(chart)
    assert 'A "title" <of> two & more' in found
    assert {"a <line>", "<here>", "x / m", "y"} <= set(found)
    svg = chart.to_svg()
    assert "nan" not in svg
    assert "inf" not in svg
    assert ' id="' not in svg
    assert svg == chart.to_svg() == full().to_svg()


def test_points_lie_where_the_scales_put_them():
    chart = Chart("t").line([0, 5, 10], [0, 50, 100], BLUE).limits(x=(0, 10), y=(0, 100))
    ((x0, y0, x1, y1, x2, y2),) = paths(chart, BLUE)
    assert x1 == pytest.approx((x0 + x2) / 2, abs=0.11)
    assert y1 == pytest.approx((y0 + y2) / 2, abs=0.11)
    assert y0 > y2  # up is more
    assert x2 - x0 > 0.8 * WIDTH


def test_a_line_is_broken_where_a_value_is_missing():
    svg = Chart("t").line([0, 1, 2, 3], [1, 2, np.nan, 4], BLUE).to_svg()
    line = re.search(rf'stroke="{re.escape(BLUE)}"[^>]* d="([^"]*)"', svg)[1]
    assert (line.count("M"), line.count("L")) == (2, 1)


def test_bars_stand_on_zero_and_are_as_long_as_their_values():
    chart = Chart("t").bars([1.0, 2.0, 4.0], BLUE).down(["a", "b", "c"])
    (values,) = paths(chart, BLUE)
    boxes = np.array(values).reshape(3, 5)  # M left bottom H right V top H left
    lengths = boxes[:, 2] - boxes[:, 0]
    np.testing.assert_allclose(lengths / lengths[0], [1, 2, 4], rtol=0.01)
    assert len(set(boxes[:, 0])) == 1
    assert (np.diff(boxes[:, 1]) > 0).all()  # the first on top
    found = texts(chart)
    assert [t for t in found if t in "abc"] == ["a", "b", "c"]
    assert "0" in found


def test_a_logarithmic_axis_has_equal_steps_for_equal_factors():
    chart = Chart("t", log_x=True).dots([1, 10, 100], [0, 0, 0], BLUE)
    svg = chart.to_svg()
    x = [float(v) for v in re.findall(r"M([\d.]+) [\d.]+h0", svg)]
    assert x[1] - x[0] == pytest.approx(x[2] - x[1], abs=0.11)
    assert {"1", "10", "100"} <= set(texts(chart))


def test_what_has_no_place_on_a_logarithmic_axis_does_not_stretch_it():
    assert limits_of([np.array([0.0, -1.0, 1.0, 10.0])], True, firm_at_zero=False)[0] > 0.8


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("seed", range(30))
def test_ticks_are_round_few_and_inside(seed, log):
    rng = np.random.default_rng(seed)
    low = 10 ** rng.uniform(-6, 6)
    high = low * (1 + 10 ** rng.uniform(-3, 5))
    most = int(rng.integers(2, 8))
    found = ticks(low, high, most, log=log)
    assert 1 <= len(found) <= max(most + 1, 6 if log else 0)
    assert all(low * (1 - 1e-9) <= v <= high * (1 + 1e-9) for v in found)
    assert found == sorted(set(found))


def test_an_axis_of_bars_begins_at_zero_and_one_of_dots_before_its_values():
    values = [np.array([0.0, 10.0])]
    assert limits_of(values, False, firm_at_zero=True) == (0.0, 10.5)
    assert limits_of(values, False, firm_at_zero=False) == (-0.5, 10.5)
    assert limits_of([-values[0]], False, firm_at_zero=True) == (-10.5, 0.0)


def test_a_single_value_has_an_axis_around_it():
    for value in (0.0, 5.0, -3.0, 1e12):
        low, high = limits_of([np.array([value, value])], False, firm_at_zero=False)
        assert low < value < high
    assert "<svg" in Chart("t").dots([5, 5], [1, 1], BLUE).to_svg()
    assert "<svg" in Chart("empty").line([], [], BLUE).to_svg()


def test_the_scale_is_its_own_arithmetic():
    scale = Scale(2.0, 4.0, 10.0, 0.0)
    np.testing.assert_allclose(scale([2.0, 3.0, 4.0]), [10.0, 5.0, 0.0])


def test_long_titles_wrap_and_long_names_are_cut():
    chart = Chart("word " * 30).bars([1, 2], BLUE).down(["n" * 200, "m"])
    found = texts(chart)
    assert sum("word" in t for t in found) > 1
    assert any(t.endswith("…") and len(t) < 40 for t in found)
    assert all(width_of(line, 10.0) <= 100 for line in wrapped("aa bb " * 20, 100.0, 10.0))
    assert fitted("short", 500.0, 10.0) == "short"


def test_names_that_have_no_room_side_by_side_stand_upright():
    few = Chart("t").boxes(0, 1, 0, 1, BLUE).across(["a", "b"]).down(["a", "b"]).to_svg()
    many = [f"name {i}" for i in range(12)]
    much = Chart("t").boxes(0, 1, 0, 1, BLUE).across(many).down(many).to_svg()
    assert "rotate(-90)" in much
    assert "rotate(-90)" not in few


@pytest.mark.parametrize(
    ("value", "said"), [(0.0, "0"), (1e-7, "1e-7"), (12345.6, "12,346"), (0.25, "0.25")]
)
def test_numbers_beside_an_axis(value, said):
    assert plain_number(value) == said
