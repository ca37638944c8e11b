"""What one part of the demo hands to the page, to `results.json` and to the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hunch.experiments.claims import Check
from hunch.plots import Block, Claim


@dataclass(frozen=True)
class Outcome:
    """A finished part.

    Args:
        summary: one line for the terminal.
        blocks: what the page shows.
        checks: the figures of the part's claims.
        results: plain values for `results.json`; nothing that depends on the clock.
    """

    summary: str
    blocks: Sequence[Block]
    checks: Sequence[Check]
    results: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """The part's entry in `results.json`."""
        return {"checks": [c.to_json() for c in self.checks], **self.results}


def claim_block(claim: str, checks: Sequence[Check], *, quick: bool) -> Claim:
    """A claim for the page; a quick run is too small to judge it, and says so."""
    note = " (measured with smaller budgets than the claim asks for)" if quick else ""
    return Claim(claim + note, [(str(c), c.holds) for c in checks])
