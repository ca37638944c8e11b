"""What one part of the demo hands to the page, to `results.json` and to the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from hunch.experiments.claims.checks import Check, claim_settings, settings_in_words
from hunch.plots import Block, Claim


@dataclass(frozen=True)
class Outcome:
    """A finished part."""

    summary: str  # one line for the terminal
    blocks: Sequence[Block]  # what the page shows
    checks: Sequence[Check]  # the figures of the part's claims
    results: dict[str, Any]  # plain values for `results.json`; nothing that depends on the clock

    def to_json(self) -> dict[str, Any]:
        """The part's entry in `results.json`."""
        return {"checks": [c.to_json() for c in self.checks], **self.results}


def claim_block(module: ModuleType, result: Any, settings: Any, *, seed: int) -> Claim:
    """What a run found, with what it was run with, and its figures against their bounds.

    The experiment's claim is checked only by a run at the settings that it speaks of.

    Args:
        module: the experiment, with `CLAIM`, `Settings`, `check` and `found`.
        result: what its `run` returned.
        settings: what it was run with.
        seed: likewise.
    """
    checks = module.check(result)
    said = [module.found(result), f"Run with {settings_in_words(settings, seed)}."]
    if settings == claim_settings(module):
        verdict = "holds" if all(c.holds for c in checks) else "does not hold"
        said.append(f"The claim {verdict}: {module.CLAIM}")
    else:
        name = module.__name__.rpartition(".")[2].replace("_", "-")
        said.append(
            f"`hunch reproduce {name}` checks the claim, which is about "
            f"{settings_in_words(claim_settings(module), seed)}."
        )
    return Claim(" ".join(said), [(str(c), c.holds) for c in checks])
