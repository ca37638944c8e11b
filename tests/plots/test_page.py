import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from hunch.charts import BLUE as PAGE_BLUE
from hunch.charts import Chart
from hunch.errors import MissingDependencyError
from hunch.plots import (
    BLUE,
    Beside,
    Claim,
    Code,
    Facts,
    Figures,
    Film,
    Films,
    Notice,
    Section,
    Table,
    Text,
    Video,
    panel,
    render_page,
    to_svg,
)

pytestmark = pytest.mark.usefixtures("drawn")


def figure():
    drawn, ax = panel("A title", "x / m", "y / s")
    ax.plot(np.linspace(0, 1, 50), np.linspace(0, 1, 50) ** 2, color=BLUE, label="curve")
    ax.legend()
    return drawn


def page():
    film = Film("film", [0, 1], np.zeros((2, 3, 4), np.float32), (-1, 2), (-4, 4), np.ones((5, 2)))
    blocks = [
        Text("One & two.\n\nThree `x < y`.", heading="Head"),
        Code("net(x) < 1"),
        Claim("It holds.", [("a", True), ("b", False)]),
        Table(["a", "b"], [["1", "<2>"]], "note"),
        Figures({"one": (figure(), 'caption "quoted"'), "two": (figure(), "other")}),
        Films([film], "films"),
        Video(b"\x00\x00", "video"),
        Notice("Look `here`.\n\nAnd < there.", "bad"),
        Facts([("rows", "96", "<held out>")]),
        Beside([Text("left")], [Figures({"three": (figure(), "alone")})]),
    ]
    return render_page("Title", [Text("Intro.")], [Section("key", "S", "source", blocks)])


class Balance(HTMLParser):
    VOID = frozenset({"meta", "link", "input", "br", "path", "use", "img"})

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.requests = [], [], []

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if "id" in values:
            self.ids.append(values["id"])
        for name in ("src", "href", "xlink:href"):
            target = values.get(name)
            if target and not target.startswith(("#", "data:")):
                self.requests.append(target)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_the_page_is_well_formed_and_asks_for_nothing():
    text = page()
    checker = Balance()
    checker.feed(text)
    assert checker.open == []
    assert checker.requests == []
    assert len(checker.ids) == len(set(checker.ids))
    outside = re.findall(r'(?:src|href)="(https?:[^"]*)"', text)
    assert outside == []
    assert "default-src 'none'" in text


def test_every_reference_inside_a_figure_has_its_target():
    text = page()
    ids = set(re.findall(r'id="([^"]+)"', text))
    used = set(re.findall(r'xlink:href="#([^"]+)"', text)) | set(
        re.findall(r"url\(#([^)]+)\)", text)
    )
    assert used
    assert used <= ids


def test_text_is_escaped():
    text = page()
    assert "One &amp; two." in text
    assert "<code>x &lt; y</code>" in text
    assert "&lt;2&gt;" in text
    assert 'aria-label="caption &quot;quoted&quot;"' in text


def test_of_a_claim_what_fails_is_shown_and_what_holds_is_folded_up():
    some = Claim("It.", [("a", True), ("b", False), ("c", True)]).to_html()
    assert '<li><span class="fails">does not hold</span> b</li>' in some
    folded = some[some.index("<details>") : some.index("</details>")]
    assert "2 of 3 figures hold" in folded
    assert "<li>a</li><li>c</li>" in folded
    assert "All 2 figures hold" in Claim("It.", [("a", True), ("b", True)]).to_html()
    assert "<details>" not in Claim("It.", [("a", False)]).to_html()


def test_a_sentence_stands_in_the_place_of_a_figure():
    chart = Chart("t").line([0, 1], [0, 1], PAGE_BLUE)
    html = Figures({"one": (chart, "caption"), "two": "Nothing `here`."}).to_html()
    assert html.count("<figure") == 1
    assert 'class="alone"' in html
    assert html.endswith("<p>Nothing <code>here</code>.</p>")
    assert 'aria-label="caption"' in html


def test_what_follows_the_first_line_of_a_cell_is_small():
    assert (
        "<td>a &lt;<small>b</small></td><td>c</td>" in Table(["x"], [["a <\nb", "c\n"]]).to_html()
    )


@pytest.mark.every(4)
@pytest.mark.parametrize("count", range(1, 12))
def test_rows_of_figures_are_full(count):
    drawn = dict.fromkeys(map(str, range(count)), (figure(), ""))
    widths = re.findall(r'<figure id="\d+" class="(\w+)">', Figures(drawn).to_html())
    sixths = [{"third": 2, "half": 3, "alone": 6}[width] for width in widths]
    assert len(sixths) == count
    ends = np.cumsum(sixths)
    assert ends[-1] % 6 == 0
    assert set(range(6, ends[-1] + 1, 6)) <= set(ends)  # no figure goes over the end of a row


def test_figures_are_drawn_in_colors_of_the_page():
    drawn = Figures({"one": (figure(), "")}).to_html()
    assert "currentColor" in drawn
    assert "var(--blue)" in drawn
    for color in ("#ffffff", "stroke: #000000", "#0072b2"):
        assert color in to_svg(figure())
        assert color not in drawn


def test_a_film_is_two_bytes_a_point():
    frames = np.array([[[-4.0, 0.0, 4.0, 99.0]]], np.float32)
    html = Films([Film("f", [0], frames, (0, 1), (-4, 4), np.zeros((0, 2)))], "c").to_html()
    import base64

    data = base64.b64decode(re.search(r'data-frames="([^"]+)"', html)[1])
    assert np.frombuffer(data, "<i2").tolist() == [-32000, 0, 32000, 32000]
    meta = json.loads(re.search(r"data-meta='([^']+)'", html)[1])
    assert (meta["members"], meta["points"]) == (1, 4)


def test_the_same_figure_gives_the_same_bytes():
    assert to_svg(figure()) == to_svg(figure())
    assert page() == page()


def test_global_settings_of_matplotlib_stay_as_they_were():
    import matplotlib

    before = dict(matplotlib.rcParams)
    to_svg(figure())
    assert dict(matplotlib.rcParams) == before


def test_without_matplotlib_the_error_names_the_remedy(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "torch-hunch\[plot\]"'):
        panel("a", "b", "c")
