"""Figures of claims from what `hunch reproduce --out` wrote, without a run."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hunch.errors import FolderError
from hunch.experiments.claims.checks import claim_settings
from hunch.experiments.claims.registry import EXPERIMENTS, load
from hunch.storage import expanded, read_json, write_text, written_with

if TYPE_CHECKING:
    from hunch.experiments.figures.shared import Figures

_MARK: Final = "hunch reproduce"


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
    try:
        return module.Result.from_json(
            report["result"], claim_settings(module), seed=report["seed"]
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
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

    captions: dict[str, str] = {}
    for key, (figure, caption) in figures(name, read_result(name, folder)).items():
        own = key.removeprefix(name).removeprefix("-") if captions else ""
        file = f"{name}-{own}.svg" if own else f"{name}.svg"
        content = f"<!-- {_MARK} {name} -->\n{to_svg(figure)}"
        write_text(Path(out) / file, content, written_with(_MARK), _MARK)
        captions[file] = caption
    return captions
