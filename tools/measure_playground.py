"""Frames a second of the playground, each part at work, in a wide and in a narrow window.

    python tools/measure_playground.py [FOLDER]

With a folder, it also gets pictures of the page: 1,280 and 390 pixels wide, light and dark.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from browser import Browser, installed

PAGE: Final = Path(__file__).parents[1] / "docs" / "playground" / "index.html"
WINDOWS: Final = ((1280, 900), (390, 844))
SECONDS: Final = 4

# Frames in a time, and the longest of them, while `stir` keeps the part at work.
COUNT: Final = """
new Promise((answer) => {
  const begin = performance.now();
  let frames = 0, last = begin, longest = 0;
  function frame() {
    const now = performance.now();
    longest = Math.max(longest, now - last);
    last = now;
    STIR;
    if (now - begin < 1000 * SECONDS) { frames += 1; requestAnimationFrame(frame); }
    else answer([frames / SECONDS, longest]);
  }
  requestAnimationFrame(frame);
})
"""
SET: Final = """
for (const [name, value] of Object.entries(VALUES)) {
  const input = document.querySelector(`[name="${name}"]`);
  input.value = value;
  input.dispatchEvent(new Event("input", { bubbles: true }));
}
"""
RETRAIN: Final = "if (playground.ensemble.frame === 0) playground.ensemble.start()"
DIVE: Final = "if (!playground.sea.running) { playground.sea.reset(); playground.sea.run(true); }"
LOADS: Final = {
    "ensemble, as the page opens": ("{}", RETRAIN),
    "ensemble, 30 members of width 40": ("{ members: 30, width: 40 }", RETRAIN),
    "deep sea, as the page opens": ("{}", DIVE),
    "deep sea, N = 20, 200 episodes a second": ("{ size: 20, speed: 200 }", DIVE),
    "both at once": ("{}", f"{RETRAIN}; {DIVE}"),
}


def frames(browser: Browser, values: str, stir: str) -> tuple[float, float]:
    """Frames a second and the longest frame in milliseconds."""
    browser.evaluate(SET.replace("VALUES", values))
    counted = COUNT.replace("STIR", stir).replace("SECONDS", str(SECONDS))
    rate, longest = browser.evaluate(counted)
    return rate, longest


def main() -> None:
    """Measure, and take pictures."""
    program = installed()
    if program is None:
        raise SystemExit("no Chromium is installed.")
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    if folder and not folder.is_dir():
        raise SystemExit(f"{folder} is no folder; expected one for the pictures.")
    with Browser(program) as browser:
        for width, height in WINDOWS:
            for load, (values, stir) in LOADS.items():
                browser.open(PAGE.as_uri(), width, height)
                rate, longest = frames(browser, values, stir)
                print(f"{width:5} px  {load:40} {rate:5.1f} a second, longest {longest:4.0f} ms")
        if folder:
            take_pictures(browser, folder)


def take_pictures(browser: Browser, folder: Path) -> None:
    """The page after its training and with the agents at work, in both windows and colours."""
    for width, height in WINDOWS:
        for scheme in ("light", "dark"):
            browser.prefer(color_scheme=scheme)
            browser.open(PAGE.as_uri(), width, height)
            frames(
                browser, "{ speed: 60 }", "if (!playground.sea.running) playground.sea.run(true)"
            )
            browser.picture(folder / f"playground-{width}-{scheme}.png")


if __name__ == "__main__":
    main()
