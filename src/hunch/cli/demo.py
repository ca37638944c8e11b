"""`hunch demo`: the five sources on one page."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from hunch.cli.options import json_option, load_torch, seed_option

if TYPE_CHECKING:
    from hunch.experiments.demo.outcome import Outcome
    from hunch.experiments.demo.runner import Part

# Repeated here because the demo itself is slow to import; a test holds both lists together.
PART_NAMES = ("priors", "noisy-layers", "noisynet-dqn", "reinforce")


@click.command(epilog="Example: hunch demo --only priors --only reinforce --out my-page")
@click.option(
    "--out",
    type=click.Path(),
    default="hunch-demo",
    show_default=True,
    help="Folder to write; never one that holds files of somebody else's.",
)
@click.option(
    "--only",
    type=click.Choice(PART_NAMES),
    multiple=True,
    metavar="PART",
    help=f"Run this part only; may be repeated. Parts: {', '.join(PART_NAMES)}.",
)
@click.option("--quick", is_flag=True, help="Smaller budgets: at most 30 seconds.")
@seed_option
@json_option
def demo(out: str, only: tuple[str, ...], quick: bool, seed: int, as_json: bool) -> None:
    """Run the five sources on their own inputs and write one page with all figures.

    The folder gets index.html, which opens from disk with no network, and results.json. It takes
    some two minutes on one core; progress is shown on standard error.
    """
    from hunch.storage import check_replaceable, dump_json, expanded

    check_replaceable(out, "demo")  # before torch is imported, so that a wrong folder shows at once
    load_torch()
    from hunch.experiments.demo import run_demo

    started = last = time.monotonic()

    def announce(part: Part, outcome: Outcome) -> None:
        nonlocal last
        now = time.monotonic()
        held = sum(check.holds for check in outcome.checks)
        figures = f"{held} of {len(outcome.checks)} figures keep their bounds"
        click.echo(f"{part.key}: {outcome.summary} ({figures}, {now - last:.0f} s)", err=as_json)
        last = now

    results = run_demo(out, only=only, quick=quick, seed=seed, announce=announce)
    if as_json:
        click.echo(dump_json(results), nl=False)
    page = expanded(out) / "index.html"
    click.echo(f"The page, after {time.monotonic() - started:.0f} s: {page}", err=as_json)
