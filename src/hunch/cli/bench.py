"""`hunch bench`: the speed tables, measured on this machine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import click

from hunch.cli.options import json_option, seed_option
from hunch.errors import HunchError

_MARK: Final = "hunch bench"
_PACKAGE = Path(__file__).parents[1]
# Beside the package in a wheel, beside `src` in a checkout.
_PLACES = (_PACKAGE / "benchmarks", _PACKAGE.parents[1] / "benchmarks")


@click.command(epilog="Example: hunch bench ensemble")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option(
    "--out",
    type=click.Path(file_okay=False),
    help="Folder that gets bench-NAME.md; none if left out.",
)
@seed_option
@json_option
@click.pass_context
def bench(
    context: click.Context, names: tuple[str, ...], out: str | None, seed: int, as_json: bool
) -> int:
    """Measure hunch beside its peers and the limit, in turns, on one thread.

    Without a NAME, list the tables. NAME may be "all". Each takes a minute or a few; peers that are
    not installed are left out.
    """
    scripts = _scripts()
    if not names:
        for name, script in scripts.items():
            click.echo(f"{name}\n    {_purpose(script)}")
        return 0
    chosen = list(scripts) if "all" in names else list(names)
    unknown = [name for name in chosen if name not in scripts]
    if unknown:
        raise click.UsageError(
            f"no table is called {unknown[0]!r}; there are: {', '.join(scripts)}", context
        )
    from hunch.storage import check_writable, dump_json, write_text, written_with

    places = {name: Path(out) / f"bench-{name}.md" for name in chosen} if out is not None else {}
    for place in places.values():
        check_writable(place, written_with(_MARK), _MARK)
    tables = {}
    for name in chosen:
        click.echo(f"hunch: measuring {name}", err=True)
        done = _run(scripts[name], seed)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            click.echo(f"hunch: measuring {name} failed: {last}", err=True)
            return 1
        marked = f"{done.stdout}\n<!-- {_MARK} {name} -->\n"
        tables[name] = {"markdown": marked, "rows": rows(marked)}
        click.echo(done.stdout, err=as_json)
        if name in places:
            write_text(places[name], marked, written_with(_MARK), _MARK)
    if as_json:
        click.echo(dump_json(tables), nl=False)
    return 0


def rows(markdown: str) -> list[dict[str, str]]:
    r"""The rows of the tables in a text, by the names of their columns.

    Example:
        >>> rows("| way | ms |\n|---|---|\n| loop | 7 |")
        [{'way': 'loop', 'ms': '7'}]
    """
    found, head = [], None
    for line in markdown.splitlines():
        if not line.startswith("|"):
            head = None
        elif head is None:
            head = _cells(line)
        elif not re.fullmatch(r"[|\-: ]+", line):
            found.append(dict(zip(head, _cells(line), strict=False)))
    return found


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def _scripts() -> dict[str, Path]:
    folder = next((place for place in _PLACES if place.is_dir()), None)
    if folder is None:
        raise HunchError("the benchmarks are not beside the package; install hunch again.")
    return {script.stem: script for script in sorted(folder.glob("*.py"))}


def _purpose(script: Path) -> str:
    first = script.read_text(encoding="utf-8").split('"""')[1].strip()
    return " ".join(first.split("\n\n")[0].split())


# A script that ends with this program, also where that is killed: the pipe on its input closes.
_LINKED = (
    # Not through sys.stdin, whose lock a reader in another thread would hold at the end.
    "import os, runpy, sys; from hunch.interrupts import end_when; end_when(lambda: os.read(0, 1));"
    "sys.argv[:] = sys.argv[1:]; sys.path[0] = os.path.dirname(sys.argv[0]);"
    "runpy.run_path(sys.argv[0], run_name='__main__')"
)


def _run(script: Path, seed: int) -> subprocess.CompletedProcess[str]:
    arguments = ["--seed", str(seed)] if '"--seed"' in script.read_text(encoding="utf-8") else []
    reading, writing = os.pipe()
    try:
        return subprocess.run(
            [sys.executable, "-c", _LINKED, str(script), *arguments],
            stdin=reading,
            capture_output=True,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            check=False,
        )
    finally:
        os.close(reading)
        os.close(writing)
