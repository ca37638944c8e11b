"""Draw the table that `hunch sample` writes: flats that were sold, and new ones without a price.

    python tools/draw_flats.py

It writes `flats.csv` and `flats-new.csv` into `src/hunch/samples`, the same bytes each time. No
flat is real. What is in the prices, so that a report can be held against it:

- a rate for the square metre in each district; what is beyond 70 square metres costs six tenths
  of it;
- 4 % a year with the day of sale;
- the year it was built: dear before 1915, cheap in 1950 to 1989, dear again after 2005;
- 9,000 for a balcony, and nothing for the floor and the heating;
- noise whose standard deviation is a thousandth of the price for each square metre (4 % at 40):
  of large flats less is certain;
- the year of one flat in twelve and the heating of one in nine are unknown.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any, Final

import numpy as np

PLACE: Final = Path(__file__).parents[1] / "src" / "hunch" / "samples"
ROWS: Final = 480
NEW: Final = 8
RATES: Final = {
    "Old Town": 5_200,
    "Harbour": 4_700,
    "Riverside": 4_300,
    "Hill": 3_900,
    "Station": 3_300,
    "Northgate": 2_900,
}
SHARES: Final = (0.14, 0.10, 0.20, 0.16, 0.22, 0.18)
HEATING: Final = ("gas", "district", "heat pump", "electric")
ERAS: Final = ((1885, 1915, 1.12), (1950, 1990, 0.86), (1990, 2005, 1.0), (2005, 2024, 1.15))
HEAD: Final = (
    *("flat", "sold", "district", "size", "rooms", "floor", "built", "balcony", "heating"),
    "price",
)


def flat(rng: np.random.Generator, number: int) -> dict[str, Any]:
    """A flat with its price, cells as they are written."""
    first, last, worth = ERAS[rng.choice(len(ERAS), p=(0.25, 0.35, 0.15, 0.25))]
    district = str(rng.choice(list(RATES), p=SHARES))
    size = int(np.clip(np.exp(rng.normal(4.2, 0.38)), 22, 180))
    balcony = bool(rng.random() < 0.35 + 0.3 * (first >= 1990))
    days = int(rng.integers(0, 6 * 365))
    price = RATES[district] * (min(size, 70) + 0.6 * max(size - 70, 0)) * worth
    price = (price + 9_000 * balcony) * 1.04 ** (days / 365)
    price *= 1 + np.clip(0.001 * size, 0.02, 0.16) * rng.normal()
    return {
        "flat": f"F{number:04d}",
        "sold": np.datetime64("2019-01-07") + days,
        "district": district,
        "size": size,
        "rooms": max(1, round(size / 27 + 0.5 * rng.normal())),
        "floor": int(rng.integers(0, 6)),
        "built": "" if rng.random() < 1 / 12 else int(rng.integers(first, last)),
        "balcony": "yes" if balcony else "no",
        "heating": "" if rng.random() < 1 / 9 else str(rng.choice(HEATING, p=(0.5, 0.3, 0.1, 0.1))),
        "price": round(price),
    }


def write(name: str, head: tuple[str, ...], flats: list[dict[str, Any]]) -> None:
    """A table of flats, with the columns of the head."""
    with (PLACE / name).open("w", encoding="utf-8", newline="") as file:
        rows = csv.DictWriter(file, head, extrasaction="ignore", lineterminator="\n")
        rows.writeheader()
        rows.writerows(flats)


def main() -> None:
    """Write both tables."""
    rng = np.random.default_rng(14)
    flats = [flat(rng, number) for number in range(1, ROWS + NEW + 1)]
    known, new = flats[:ROWS], flats[ROWS:]
    new[-1]["size"] = 410  # of this size nobody has sold one
    write("flats.csv", HEAD, known)
    write("flats-new.csv", HEAD[:-1], new)


if __name__ == "__main__":
    main()
