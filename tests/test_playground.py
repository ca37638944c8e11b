"""The playground's numbers and manners, in a headless Chromium; without one only its size is seen."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

from browser import Browser, installed

FOLDER = Path(__file__).parents[1] / "docs" / "playground"
PAGE = (FOLDER / "index.html").as_uri()
WIDE, NARROW = (1280, 900), (390, 844)
READY = """
new Promise((answer) => {
  const look = () => playground.ensemble.frame === 0
    ? answer(document.getElementById("ensemble-words").textContent) : setTimeout(look, 10);
  look();
})
"""
PICTURE = "playground.ensemble.canvas.toDataURL()"
PLACE = """
(() => {
  playground.ensemble.canvas.scrollIntoView({ block: "center" });
  const box = playground.ensemble.canvas.getBoundingClientRect();
  const scale = playground.ensemble.scale();
  return [box.left + scale.toX(X), box.top + scale.toY(Y)];
})()
"""


@pytest.fixture(scope="module")
def browser():
    program = installed()
    if program is None:
        pytest.skip("no Chromium is installed")
    with Browser(program) as started:
        yield started


def opened(browser, size=WIDE, query="", members=4, width=6):
    """The page with an ensemble that is trained in no time."""
    browser.open(PAGE + query, *size)
    move(browser, "members", members)
    move(browser, "width", width)
    return browser.evaluate(READY)


def move(browser, name, value):
    browser.evaluate(
        f"""(() => {{
          const input = document.querySelector('[name="{name}"]');
          input.value = {value};
          input.dispatchEvent(new Event("input", {{ bubbles: true }}));
        }})()"""
    )


def points(browser):
    return browser.evaluate("playground.ensemble.points")


def place_of(browser, x, y):
    return browser.evaluate(PLACE.replace("X)", f"{x})").replace("Y)", f"{y})"))


def test_the_page_is_small_and_asks_for_nothing_from_elsewhere():
    files = list(FOLDER.iterdir())
    assert sum(file.stat().st_size for file in files) <= 200_000
    for file in files:
        text = file.read_text("utf-8")
        assert not re.search(r"https?://|//cdn|import\(|fetch\(", text), file
        for target in re.findall(r"(?:href|src)=\"([^\"]+)\"", text):
            assert target == "data:," or (FOLDER / target).exists(), target


def test_every_check_of_the_page_itself_holds(browser):
    opened(browser, query="?test")
    report = json.loads(browser.evaluate("document.getElementById('self-test').textContent"))
    assert len(report) >= 8
    assert {name: said for name, said in report.items() if said != "holds"} == {}
    assert browser.complaints == []


def test_a_member_trains_as_autograd_and_adam_train_it(browser):
    opened(browser)
    width, steps = 6, 25
    told = browser.evaluate(
        f"""(() => {{
          const settings = {{ seed: 4, members: 1, width: {width}, priorScale: 1.5, noise: 0.2,
                              bootstrap: true }};
          const ensemble = new Ensemble(settings, presetPoints("gap", 0.2));
          const [member] = ensemble.members;
          const start = [...member.weights];
          for (let i = 0; i < {steps}; i++) ensemble.step();
          ensemble.refreshOne();
          return {{ start, end: [...member.weights], counts: [...member.counts],
                    targets: [...member.targets], x: ensemble.points.map((p) => p.x),
                    curve: [...member.curve], prior: [...member.priorCurve] }};
        }})()"""
    )
    told = {name: torch.tensor(value, dtype=torch.float64) for name, value in told.items()}
    sizes = [width, width, width * width, width, width, 1]
    weights = told["start"].clone().requires_grad_()

    def network(x):
        w1, b1, w2, b2, w3, b3 = weights.split(sizes)
        first = torch.tanh(x[:, None] * w1 + b1)
        return torch.tanh(first @ w2.view(width, width).T + b2) @ w3 + b3

    mean, square = torch.zeros_like(weights), torch.zeros_like(weights)
    for step in range(1, steps + 1):
        error = network(told["x"]) - told["targets"]
        ridge = 0.2**2 * weights.square().sum()
        loss = ((told["counts"] * error**2).sum() + ridge) / (2 * len(error))
        (gradient,) = torch.autograd.grad(loss, weights)
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.999 * square + 0.001 * gradient**2
        with torch.no_grad():  # Adam by hand: importing torch's takes longer than all of this file
            weights -= (
                0.01 * (mean / (1 - 0.9**step)) / ((square / (1 - 0.999**step)).sqrt() + 1e-8)
            )
    np.testing.assert_allclose(told["end"], weights.detach(), rtol=0, atol=1e-9)
    grid = torch.from_numpy(np.linspace(-2, 2, 101))
    expected = network(grid).detach() + 1.5 * told["prior"]
    np.testing.assert_allclose(told["curve"], expected, rtol=0, atol=1e-9)


def test_all_controls_work_without_complaint(browser):
    opened(browser)
    said = set()
    for preset in ("few", "gap", "line"):
        browser.evaluate(f"document.querySelector('[data-preset={preset}]').click()")
        said.add(browser.evaluate(READY))
    browser.evaluate("document.querySelector('[name=bootstrap]').click()")
    said.add(browser.evaluate(READY))
    browser.evaluate("document.querySelector('[data-part=clear]').click()")
    said.add(browser.evaluate(READY))
    assert len(said) == 5  # the words tell the pictures apart
    for name, value in {"members": 2, "width": 8, "noise": 0.3, "priorScale": 0}.items():
        move(browser, name, value)
        assert browser.evaluate(f"playground.ensemble.settings.{name}") == value
    assert "No priors" in browser.evaluate(READY)
    for button in ("go", "one", "reset"):
        browser.evaluate(f"document.querySelector('[data-sea={button}]').click()")
    assert browser.complaints == []


def test_a_phone_shows_all_of_it_and_keeps_the_picture_beside_the_sliders(browser):
    opened(browser, NARROW)
    assert browser.evaluate("document.documentElement.scrollWidth") == NARROW[0]
    browser.evaluate("document.querySelector('[name=width]').scrollIntoView({ block: 'center' })")
    top, bottom, slider = browser.evaluate(
        """(() => {
          const box = playground.ensemble.canvas.getBoundingClientRect();
          const slider = document.querySelector("[name=width]").getBoundingClientRect();
          return [box.top, box.bottom, slider.top];
        })()"""
    )
    assert 0 <= top < bottom < slider
    assert browser.complaints == []


def test_priors_are_seen_in_the_words(browser):
    def far(said):
        return float(re.search(r"far from them ±([\d.]+)", said)[1])

    opened(browser, members=8, width=10)
    move(browser, "priorScale", 4)
    with_priors = far(browser.evaluate(READY))
    move(browser, "priorScale", 0)
    without = far(browser.evaluate(READY))
    assert without < 0.8 < 1.2 < with_priors  # the page's own test has narrower bounds


def test_the_picture_depends_on_where_one_is_and_not_on_the_way(browser):
    opened(browser)
    first = browser.evaluate(PICTURE)
    move(browser, "priorScale", 4)
    assert browser.evaluate(READY)
    wider = browser.evaluate(PICTURE)
    move(browser, "priorScale", 2)
    browser.evaluate(READY)
    assert browser.evaluate(PICTURE) == first != wider
    move(browser, "seed", 2)
    browser.evaluate(READY)
    assert browser.evaluate(PICTURE) != first


def test_the_keyboard_moves_a_cursor_and_sets_points(browser):
    opened(browser)
    before = points(browser)
    browser.evaluate("playground.ensemble.canvas.focus()")
    for key in ("ArrowRight", "ArrowRight", "ArrowDown", "ArrowLeft"):
        browser.press(key)
    told = "document.querySelector('[data-part=cursor]').textContent"
    assert browser.evaluate(told).startswith("Cursor at x 0.1, y -0.1")
    browser.press(" ", text=" ")
    assert points(browser) == [*before, {"x": 0.1, "y": -0.1}]
    browser.press(" ", text=" ")
    assert points(browser) == before
    assert browser.evaluate("scrollY") == 0
    browser.press("Tab")
    assert browser.evaluate("document.activeElement.name") == "priorScale"


@pytest.mark.parametrize(("size", "by", "off"), [(WIDE, "click", 8), (NARROW, "tap", 15)])
def test_points_come_and_go_by_mouse_and_by_touch(browser, size, by, off):
    opened(browser, size)
    before = len(points(browser))
    touch = getattr(browser, by)
    x, y = place_of(browser, 1.5, 1.0)
    touch(x, y)
    assert len(points(browser)) == before + 1
    assert points(browser)[-1] == pytest.approx({"x": 1.5, "y": 1.0}, abs=0.02)
    touch(x, y - 30)  # another one
    assert len(points(browser)) == before + 2
    touch(x, y + off)  # a finger is broader than an arrow
    assert len(points(browser)) == before + 1


def test_every_control_has_a_name(browser):
    opened(browser)
    nameless = """
    [...document.querySelectorAll("input, button, canvas, progress, fieldset")].filter((e) => !(
      (e.labels && [...e.labels].some((l) => l.innerText.trim())) || e.innerText?.trim() ||
      e.ariaLabel || e.querySelector?.("legend"))).map((e) => e.outerHTML)
    """
    assert browser.evaluate(nameless) == []


def test_colours_follow_the_system_and_calm_is_kept(browser):
    opened(browser)
    light = browser.evaluate(PICTURE)
    browser.prefer(color_scheme="dark", reduced_motion="reduce")
    try:
        browser.evaluate("new Promise((answer) => setTimeout(answer, 50))")
        browser.evaluate(READY)
        assert browser.evaluate(PICTURE) != light
        opened(browser)
        browser.evaluate(
            """window.drawn = 0;
               playground.ensemble.draw = function () { drawn += 1; EnsemblePart.prototype.draw.call(this); };
               playground.ensemble.start()"""
        )
        browser.evaluate(READY)
        assert browser.evaluate("drawn") == 1  # the end alone, not the way there
    finally:
        browser.prefer()


def test_what_the_page_says_of_luck_in_deep_sea(browser):
    opened(browser)
    found = browser.evaluate(
        """Object.keys(AGENTS).map((kind) => {
          const lucky = [];
          for (let seed = 1; seed <= 50; seed++) {
            const agent = new Agent(kind, 10, seed);
            while (agent.episodes < LAST_EPISODE && agent.solvedAt === 0) agent.play();
            if (agent.solvedAt > 0) lucky.push(seed);
          }
          return lucky;
        })"""
    )
    greedy, plain, prior = found
    assert (greedy, plain, len(prior)) == ([13], [1], 50)
    said = browser.evaluate("document.getElementById('sea').innerText.replaceAll('\\n', ' ')")
    assert "priors solves all, the one without priors seed 1 alone, ε-greedy seed 13 alone." in said


def test_the_deep_sea_runs_pauses_and_starts_again_the_same(browser):
    opened(browser)
    move(browser, "speed", 200)
    move(browser, "size", 5)
    visits = "playground.sea.agents.map(([, agent]) => [...agent.visits])"
    go = "document.querySelector('[data-sea=go]').click()"
    wait = "new Promise((answer) => setTimeout(answer, 150))"
    browser.evaluate(f"{go}; {wait}")
    browser.evaluate(go)
    paused = browser.evaluate("playground.sea.episodes")
    seen = browser.evaluate(visits)
    assert paused > 2
    browser.evaluate(wait)
    assert browser.evaluate("playground.sea.episodes") == paused
    browser.evaluate("document.querySelector('[data-sea=reset]').click()")
    assert browser.evaluate("playground.sea.episodes") == 0
    browser.evaluate(
        f"for (let i = 0; i < {paused}; i++) document.querySelector('[data-sea=one]').click()"
    )
    assert browser.evaluate(visits) == seen
    assert browser.complaints == []
    browser.evaluate("while (playground.sea.episodes < LAST_EPISODE) playground.sea.play()")
    browser.evaluate(go)  # at the end, one starts anew
    assert browser.evaluate("playground.sea.running && playground.sea.episodes < 10")
