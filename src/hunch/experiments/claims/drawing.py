"""Figures of claims from what `hunch reproduce --out` wrote, without a run."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hunch.errors import FolderError
from hunch.experiments.claims.checks import claim_settings
from hunch.experiments.claims.registry import EXPERIMENTS, MARK, OURS, load
from hunch.storage import expanded, read_json, write_text

if TYPE_CHECKING:
    from hunch.experiments.figures.shared import Figures


def read_result(name: str, folder: str | os.PathLike[str]) -> Any:
    """The result of a claim from its `NAME.json`.

    Args:
        name: a key of `EXPERIMENTS`.
        folder: what `hunch reproduce NAME --out` was given.

    Raises:
        FolderError: if the file is not there, or is none of that claim.
    """
    file = expanded(folder) / f"{name}.json"
    if not file.is_file():
        raise FolderError(
            f"there is no {str(file)!r} to draw from; name the folder that has it with --from, or "
            f"write it: hunch reproduce {name} --out {folder}"
        )
    report, module = read_json(file), load(name)
    with _as_this_version_writes(name, file):
        return module.Result.from_json(
            report["result"], claim_settings(module), seed=report["seed"]
        )


@contextmanager
def _as_this_version_writes(name: str, file: Path) -> Iterator[None]:
    """Say of whatever fails on a file that it is not what this version writes."""
    try:
        yield
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise FolderError(
            f"{str(file)!r} does not hold what this version's `hunch reproduce {name}` writes "
            f"({type(error).__name__}: {error}); write it again with --out."
        ) from error


def figures(name: str, result: Any) -> Figures:
    """The figures of a result with their captions, the claim's own first.

    Args:
        name: a key of `EXPERIMENTS`.
        result: what the experiment's `run` returned, or `read_result`.

    Raises:
        MissingDependencyError: if matplotlib is not installed.
    """
    subject, _, module = EXPERIMENTS[name].partition(".")
    drawn: Figures = getattr(
        importlib.import_module(f"hunch.experiments.figures.{subject}"), module
    )(result)
    return drawn


def draw_claim(
    name: str, folder: str | os.PathLike[str], out: str | os.PathLike[str]
) -> dict[str, str]:
    """Write a claim's figures as SVG: the first as `NAME.svg`, others with their own name behind.

    Args:
        name: a key of `EXPERIMENTS`.
        folder: where `NAME.json` is.
        out: where figures go.

    Returns:
        The files' names with their captions.

    Raises:
        FolderError: as `read_result`; or if a file of that name is there which this function did
            not write, or cannot be written.
        MissingDependencyError: if matplotlib is not installed.
    """
    from hunch.plots import to_svg

    result = read_result(name, folder)
    with _as_this_version_writes(name, expanded(folder) / f"{name}.json"):
        drawn = figures(name, result)
    captions: dict[str, str] = {}
    for key, (figure, caption) in drawn.items():
        own = key.removeprefix(name).removeprefix("-") if captions else ""
        file = f"{name}-{own}.svg" if own else f"{name}.svg"
        content = f"<!-- {MARK} {name} -->\n{to_svg(figure)}"
        write_text(Path(out) / file, content, OURS, MARK)
        captions[file] = caption
    return captions
