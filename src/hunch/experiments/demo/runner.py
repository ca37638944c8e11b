"""Run the parts, write the page."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hunch import interrupts
from hunch.errors import ConfigurationError
from hunch.experiments.demo.outcome import Outcome
from hunch.plots import Section, Text, render_page
from hunch.seeding import check_seed
from hunch.storage import new_folder, write_json


@dataclass(frozen=True)
class Part:
    """One part of the demo: its name at the command line, its heading, where it comes from."""

    key: str
    title: str
    source: str

    def run(self, *, quick: bool, seed: int, progress: bool) -> Outcome:
        """Run it."""
        module = importlib.import_module(f"hunch.experiments.demo.{self.key.replace('-', '_')}")
        outcome: Outcome = module.run(quick=quick, seed=seed, progress=progress)
        return outcome


PARTS: Final = {
    part.key: part
    for part in (
        Part(
            "priors",
            "Randomised priors: a random function for each member",
            "After C. S. Perone, “Randomized prior functions in PyTorch” (2019), on Osband, "
            "Aslanides & Cassirer (2018).",
        ),
        Part(
            "noisy-layers",
            "Noisy layers: noise on the weights, learnt",
            "After T. Hirtz's noisy-networks, on Fortunato et al. (2018), “Noisy networks for "
            "exploration”.",
        ),
        Part(
            "noisynet-dqn",
            "NoisyNet-DQN: exploration by noise of learnt size",
            "After the fifth notebook of “Rainbow is all you need”, on Fortunato et al. (2018).",
        ),
        Part(
            "reinforce",
            "REINFORCE for continuous distributions",
            "After a question on the PyTorch forum, “Vanilla REINFORCE for continuous "
            "distributions” (2018).",
        ),
    )
}


def run_demo(
    out: str | Path,
    *,
    only: Sequence[str] = (),
    quick: bool = False,
    seed: int = 0,
    progress: bool = True,
    announce: Callable[[Part, Outcome], object] | None = None,
) -> dict[str, Any]:
    """Run parts of the demo and write `index.html` and `results.json` into a folder.

    Args:
        out: the folder; it may not hold anything that hunch's demo did not write.
        only: names of the parts to run, all if empty.
        quick: smaller budgets, at most half a minute in all; the page says so.
        seed: decides every draw; the same seed gives the same `results.json`.
        progress: show bars on standard error.
        announce: called with each part and its outcome when it is done.

    Returns:
        What `results.json` holds.

    Raises:
        ConfigurationError: for an unknown part or a negative seed.
        FolderError: if `out` cannot be written or is somebody else's; before anything is run.

    Note:
        Interrupted (Ctrl-C), the parts that were finished are still written, then the interrupt
        goes on.
    """
    check_seed(seed)
    unknown = [key for key in only if key not in PARTS]
    if unknown:
        raise ConfigurationError(f"`only` got {unknown[0]!r}; the parts are: {', '.join(PARTS)}.")
    chosen = [part for key, part in PARTS.items() if not only or key in only]
    done: list[tuple[Part, Outcome]] = []
    interrupt: KeyboardInterrupt | None = None
    results: dict[str, Any] = {}
    with new_folder(out, "demo") as folder:
        try:
            for part in chosen:
                outcome = part.run(quick=quick, seed=seed, progress=progress)
                done.append((part, outcome))
                if announce is not None:
                    announce(part, outcome)
        except KeyboardInterrupt as error:
            if not done:
                raise
            interrupt = error
            interrupts.heard()  # what is done is still written
        results = {
            "seed": seed,
            "quick": quick,
            "parts": {part.key: outcome.to_json() for part, outcome in done},
        }
        write_json(folder / "results.json", results)
        complete = interrupt is None and len(chosen) == len(PARTS)
        page = _page(done, quick=quick, complete=complete, seed=seed)
        (folder / "index.html").write_text(page, encoding="utf-8")
    if interrupt is not None:
        raise interrupt
    return results


def _page(done: Sequence[tuple[Part, Outcome]], *, quick: bool, complete: bool, seed: int) -> str:
    warnings = []
    if quick:
        warnings.append(
            "This is a quick run: all figures are of smaller settings, which are named beside "
            "them, and it checks no claim that is about larger ones. Run `hunch demo` for those."
        )
    if not complete:
        warnings.append("Only some of the parts were run.")
    introduction = Text(
        "A hunch is one guess drawn from what a network does not know. Five sources on networks "
        "whose randomness means something, each run here on its own inputs.\n\n"
        f"Made by `hunch demo{' --quick' if quick else ''} --seed {seed}`; the figures behind the "
        "images are in `results.json` beside this page."
    )
    sections = [
        Section(part.key, f"{i}. {part.title}", part.source, outcome.blocks)
        for i, (part, outcome) in enumerate(done, 1)
    ]
    return render_page(
        "hunch: the five sources, running", [introduction], sections, warning=" ".join(warnings)
    )
