"""`hunch compare`: agents over seeds and environments, from the folders of their trainings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click

from hunch.cli.options import (
    WholeNumber,
    json_option,
    load_torch,
    quiet_option,
    seed_option,
    speaker,
)

_MARK: Final = "hunch compare"
_SCORES: Final = ("last", "best", "evaluations", "training")
_EPILOG = """\b
Scores:
  last         greedy episodes of the weights at the end
  best         greedy episodes of the weights that did best in evaluations
  evaluations  the last five evaluations during training
  training     the last twenty training episodes, exploration and all

\b
Example: hunch compare runs/
         hunch compare runs/ --out compare.html
         hunch compare noisy=runs/new noisy=runs/more plain=runs/old --score best
         hunch compare runs/ --scale CartPole-v1=0,500 --scale Acrobot-v1=-500,-62
         hunch compare ours=runs/ sb3=logs/dqn/
"""


@click.command(epilog=_EPILOG)
@click.argument("runs", nargs=-1, required=True, metavar="[NAME=]RUN...")
@click.option(
    "--score",
    type=click.Choice(_SCORES),
    help="What is compared.  [default: last; training where there are logs of Stable-Baselines3]",
)
@click.option(
    "--scale",
    "scale_words",
    multiple=True,
    metavar="ENV=LOW,HIGH",
    help="The returns that are to be 0 and 1; may be repeated.  [default: for several "
    "environments, random play and the reward threshold or else the highest score]",
)
@click.option(
    "--confidence",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.95,
    show_default=True,
    help="Of the intervals.",
)
@click.option(
    "--resamples",
    type=WholeNumber(1),
    default=10_000,
    show_default=True,
    help="Of the bootstrap that makes them.",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False),
    help="File for a page with profiles and curves (.html); replaces one that it wrote.",
)
@seed_option
@json_option
@quiet_option
@click.pass_context
def compare(
    context: click.Context,
    runs: Sequence[str],
    score: Any,
    scale_words: Sequence[str],
    confidence: float,
    resamples: int,
    out: str | None,
    seed: int,
    as_json: bool,
    quiet: bool,
) -> None:
    """Hold agents beside each other, over seeds and environments: who is ahead, how surely.

    RUN is a folder of `hunch train`, a folder that holds such at any depth, or logs of
    Stable-Baselines3 (monitor.csv). Runs of one agent with the same settings are a group, of
    which each seed counts once; those under NAME= are a group of that name. Interquartile means,
    means, medians, optimality gaps and probabilities of improvement come with intervals by the
    stratified bootstrap, as Agarwal et al. (2021) have them.
    """
    if out is not None:
        from hunch.storage import check_writable, written_with

        if Path(out).suffix != ".html":
            raise click.UsageError(
                f"--out got {out!r}; expected a name that ends in .html", context
            )
        check_writable(out, written_with(_MARK), _MARK)
    scales = _scales(scale_words)
    places = [_named(word) for word in runs]
    _check_there(places)
    say = speaker(quiet)
    load_torch(say)
    from hunch.comparison.comparing import compare_places
    from hunch.storage import dump_json

    found = compare_places(
        places,
        score=score,
        scales=scales,
        confidence=confidence,
        resamples=resamples,
        seed=seed,
        progress=not quiet,
    )
    for line in [] if as_json and quiet else found.lines():
        click.echo(line, err=as_json)
    if as_json:
        click.echo(dump_json(found.to_json()), nl=False)
    if out is not None:
        _write_page(found, out)
        if not (as_json and quiet):
            click.echo(f"Page: {out}", err=as_json)


def _named(word: str) -> tuple[str | None, str]:
    """A name and a place; what exists as it stands is a place, whatever is in its name."""
    name, equals, place = word.partition("=")
    return (None, word) if not equals or not name or Path(word).exists() else (name, place)


def _check_there(places: Sequence[tuple[str | None, str]]) -> None:
    """Refuse names of nothing before torch is loaded."""
    from hunch.errors import ConfigurationError, FolderError
    from hunch.storage import expanded

    for name, place in places:
        if not place:  # it would be the working folder
            raise ConfigurationError(f"RUN got '{name or ''}='; expected NAME=RUN.")
        if not expanded(place).exists():
            raise FolderError(f"{place!r}: there is no such folder.")


def _scales(words: Sequence[str]) -> dict[str, tuple[float, float]]:
    from hunch.errors import ConfigurationError

    found = {}
    for word in words:
        # An environment may have arguments in its name, as in `hunch/DeepSea-v0 size=20`.
        name, _, bounds = word.rpartition("=")
        try:
            low, high = (float(bound) for bound in bounds.split(","))
        except ValueError:
            raise ConfigurationError(
                f"--scale got {word!r}; expected ENV=LOW,HIGH, such as CartPole-v1=0,500."
            ) from None
        if not name or name in found:
            raise ConfigurationError(
                f"--scale got {word!r}; expected each environment once, as ENV=LOW,HIGH."
            )
        found[name] = (low, high)
    return found


def _write_page(found: Any, place: str) -> None:
    from hunch.plots.comparison_page import comparison_page
    from hunch.storage import new_file, written_with

    with new_file(place, written_with(_MARK), _MARK) as file:
        file.write_text(f"{comparison_page(found)}<!-- {_MARK} -->\n", encoding="utf-8")
