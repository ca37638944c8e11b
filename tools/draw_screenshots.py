"""Picture the report of the sample table, as a wide and as a narrow window shows it.

    python tools/draw_screenshots.py

It types what the README says, `hunch sample` and `hunch fit`, opens the report in a headless
Chromium, which must be installed, and writes `docs/figures/report-1280.png` and `report-390.png`.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from browser import NAMES, installed
from PIL import Image

HERE: Final = Path(__file__).parents[1] / "docs" / "figures"
SIZES: Final = ((1280, 1720), (390, 1560))
COLORS: Final = 96  # of a picture, which are enough for text and few curves


def hunch(*words: str, cwd: Path) -> None:
    """Run the program."""
    subprocess.run([sys.executable, "-m", "hunch", *words], cwd=cwd, check=True)


def picture(browser: str, page: Path, width: int, height: int, place: Path) -> None:
    """The top of a page in a window of this size."""
    with TemporaryDirectory() as folder:
        shot = Path(folder) / "shot.png"
        words = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        words += ["--blink-settings=preferredColorScheme=1", f"--window-size={width},{height}"]
        words += [f"--user-data-dir={folder}/profile", f"--screenshot={shot}", page.as_uri()]
        subprocess.run([browser, *words], check=True, capture_output=True, timeout=120)
        with Image.open(shot) as image:
            image.convert("RGB").quantize(COLORS).save(place, optimize=True)


def main() -> None:
    """Fit the sample and write both pictures."""
    browser = installed()
    if browser is None:
        raise SystemExit(f"none of {', '.join(NAMES)} is installed.")
    with TemporaryDirectory() as folder:
        place = Path(folder)
        hunch("sample", cwd=place)
        hunch("fit", "flats.csv", "--target", "price", "--ids", "flat", cwd=place)
        for width, height in SIZES:
            target = HERE / f"report-{width}.png"
            picture(browser, place / "model" / "report.html", width, height, target)
            print(f"{target.name}: {target.stat().st_size // 1024} kB")


if __name__ == "__main__":
    main()
