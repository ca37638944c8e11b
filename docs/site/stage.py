"""Lay out what Sphinx reads: pages where they link to each other, and those that are generated.

The README, `docs/` and `results/` keep their places relative to each other, so that links that
lead somewhere on a code host lead there on the site.

    python docs/site/stage.py build/site/source
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE))

PLAYGROUND = ROOT / "docs" / "playground" / "index.html"  # goes onto the site as it is
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")
TREES = (
    ("docs", (".md", ".svg", ".png")),
    ("docs/gallery", (".py", ".csv", ".rst")),
    ("results", (".md", ".svg")),
)


def stage(target: Path) -> None:
    """Write all sources below `target`, an empty folder."""
    made: dict[Path, str | bytes] = {}
    for name in PAGES:
        made[Path(name)] = _relinked(ROOT / name)
    for folder, endings in TREES:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in endings and HERE not in path.parents:
                text = path.suffix == ".md"
                made[path.relative_to(ROOT)] = _relinked(path) if text else path.read_bytes()
    for path in sorted((HERE / "pages").rglob("*.md")):
        made[path.relative_to(HERE / "pages")] = path.read_text("utf-8")
    for path in sorted(PLAYGROUND.parent.iterdir()):
        # Sphinx copies these as they are, and the README is a page of the site there.
        text = path.read_text("utf-8").replace("../../README.md", "../../README.html")
        made[Path("extra") / path.relative_to(ROOT)] = text
    made.update(_reference())
    made[Path("results/index.md")] = _results_index()
    decisions = Path("docs/decisions/README.md")
    made[decisions] = f"{made[decisions]}\n```{{toctree}}\n:hidden:\n:glob:\n\n0*\n```\n"
    _write(target, made)


def _relinked(path: Path) -> str:
    """The text of a page, with links to what is no page of the site made into plain code."""
    text = path.read_text("utf-8")
    text = text.replace("](docs/decisions/)", "](docs/decisions/README.md)")
    text = text.replace("](results/)", "](results/index.md)")

    def checked(found: re.Match[str]) -> str:
        label, link = found[1], found[2]
        target = (path.parent / link.partition("#")[0]).resolve()
        if target == PLAYGROUND:
            return f'<a href="{link}">{label}</a>'
        known = target.suffix in (".md", ".svg", ".png") and (
            target.parent == ROOT
            or ROOT / "docs" in target.parents
            or ROOT / "results" in target.parents
        )
        generated = target == ROOT / "results" / "index.md"
        if (
            known
            and (target.exists() or generated)
            and (target.parent != ROOT or target.name in PAGES)
        ):
            return found[0]
        if not target.exists() and not generated:
            raise SystemExit(f"{path.relative_to(ROOT)} links to {link}, which is not there")
        inside = str(target.relative_to(ROOT))
        return f"{label}" if inside in label else f"{label} (`{inside}` of the repository)"

    return re.sub(
        r"(?<!!)\[((?:[^\[\]]|\[[^\]]*\])*)\]\((?!https?:|#|mailto:)([^)\s]+)\)", checked, text
    )


def _results_index() -> str:
    """One page that leads to all tables and figures of `results/`."""
    benches, claims = [], []
    for path in sorted((ROOT / "results").glob("*.md")):
        (benches if path.stem.startswith("bench-") else claims).append(path.stem)
    return "\n".join(
        [
            "# Results",
            "",
            "What was measured, as the commands wrote it.",
            "",
            "```{toctree}",
            ":caption: Claims",
            ":maxdepth: 1",
            *claims,
            "```",
            "",
            "```{toctree}",
            ":caption: Benchmarks",
            ":maxdepth: 1",
            *benches,
            "```",
            "",
        ]
    )


def _reference() -> dict[Path, str]:
    """A page for each package, with a row and a page for each of its names; the command line's."""
    import commands
    import public

    made: dict[Path, str] = {Path("reference/command-line.md"): commands.page()}
    for package in public.PACKAGES:
        lines = [
            package.module,
            "=" * len(package.module),
            "",
            f".. automodule:: {package.module}",
            "   :no-members:",
            "   :no-inherited-members:",
            "",
            f".. currentmodule:: {package.module}",
            "",
            ".. autosummary::",
            "   :toctree: names",
            "   :nosignatures:",
            "",
            *(f"   {name}" for name in public.names_of(package)),
            "",
        ]
        made[Path("reference", f"{package.module}.rst")] = "\n".join(lines)
    listing = [f"{package.module}" for package in public.PACKAGES]
    table = [f"| [`{p.module}`]({p.module}.rst) | {p.purpose} |" for p in public.PACKAGES]
    made[Path("reference/index.md")] = "\n".join(
        [
            "# Reference",
            "",
            "Every public name, from its docstring. `hunch` itself holds the packages and the four",
            "estimators of `hunch.sklearn`; importing it imports no torch.",
            "",
            "| package | what for |",
            "|---|---|",
            *table,
            "| [`hunch`, the program](command-line.md) | every command and option |",
            "| [Equations](equations.md) | what the names compute, in one place |",
            "",
            "```{toctree}",
            ":hidden:",
            "",
            *listing,
            "command-line",
            "equations",
            "```",
            "",
        ]
    )
    return made


def _write(target: Path, made: dict[Path, str | bytes]) -> None:
    for name, content in made.items():
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("stage: expected one folder to write the sources to; `make docs` names it.")
    stage(Path(sys.argv[1]))
