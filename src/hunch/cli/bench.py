"""`hunch bench`: the speed tables, measured on this machine."""

from __future__ import annotations

import difflib
import json
import os
import queue
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

import click

from hunch.cli.options import json_option, seed_option
from hunch.errors import HunchError
from hunch.progress import PERIOD, duration

_MARK: Final = "hunch bench"
_PACKAGE = Path(__file__).parents[1]
# Beside the package in a wheel, beside `src` in a checkout.
_PLACES = (_PACKAGE / "benchmarks", _PACKAGE.parents[1] / "benchmarks")


@click.command(epilog="Example: hunch bench ensemble")
@click.argument("words", metavar="[NAME]... [-- OPTION...]", nargs=-1)
@click.option(
    "--out",
    type=click.Path(file_okay=False),
    help="Folder that gets bench-NAME.md; none if left out.",
)
@click.option(
    "--against",
    type=click.Path(),
    help="What `hunch bench NAME --json` wrote before: show old, new and their ratio.",
)
@seed_option
@json_option
@click.pass_context
def bench(
    context: click.Context,
    words: tuple[str, ...],
    out: str | None,
    against: str | None,
    seed: int,
    as_json: bool,
) -> int:
    """Measure hunch beside its peers and the limit, in turns, on one thread.

    Without a NAME, list the tables. NAME may be "all". Each takes some minutes; peers that are not
    installed are left out. Columns that are ratios can be compared with another run's; times only
    where the machine was as busy and its clock as fast.

    Some tables have options of their own, which stand behind `--`; `hunch bench NAME -- --help`
    lists them.
    """
    scripts = _scripts()
    count = next((i for i, word in enumerate(words) if word.startswith("-")), len(words))
    names, own = words[:count], words[count:]
    if own and (len(names) != 1 or names[0] == "all"):
        raise click.UsageError(
            f"options behind -- are a table's own; expected one NAME before them, such as "
            f"`hunch bench bsuite_sweep -- {own[0]}`.",
            context,
        )
    if not names:
        for name, script in scripts.items():
            click.echo(f"{name}\n    {_purpose(script)}")
        return 0
    chosen = list(scripts) if "all" in names else list(names)
    unknown = [name for name in chosen if name not in scripts]
    if unknown:
        near = difflib.get_close_matches(unknown[0], scripts, n=1)
        known = f"did you mean {near[0]}?" if near else f"there are: {', '.join(scripts)}"
        raise click.UsageError(f"no table is called {unknown[0]!r}; {known}", context)
    if {"-h", "--help"}.intersection(own):
        click.echo(_run(scripts[chosen[0]], seed, own).stdout, nl=False)
        return 0
    before = {} if against is None else _earlier(Path(against), chosen)
    from hunch.storage import check_writable, dump_json, folder_place, write_text, written_with

    folder = None if out is None else folder_place(out)
    places = {} if folder is None else {name: folder / f"bench-{name}.md" for name in chosen}
    for place in places.values():
        check_writable(place, written_with(_MARK), _MARK)
    tables: dict[str, dict[str, Any]] = {}
    for name in chosen:
        click.echo(f"hunch: measuring {name}", err=True)
        done = _run(scripts[name], seed, own)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            click.echo(f"hunch: measuring {name} failed: {last}", err=True)
            return 2 if own and done.returncode == 2 else 1
        asked = " ".join([_MARK, name, *(["--", *own] if own else [])])
        marked = f"{done.stdout}\n<!-- {asked} -->\n"
        tables[name] = {"markdown": marked, "rows": rows(marked)}
        click.echo(done.stdout, err=as_json)
        if name in places:
            write_text(places[name], marked, written_with(_MARK), _MARK)
        if name in before:
            tables[name]["against"] = compared(before[name], tables[name]["rows"])
            click.echo(_beside(tables[name]["against"]), err=as_json)
    if as_json:
        click.echo(dump_json(tables), nl=False)
    return 0


Cell = str | float | list[float]


def rows(markdown: str) -> list[dict[str, Cell]]:
    r"""The rows of the tables in a text, by the names of their columns.

    The first cell of a row is its name. Another is a number, or a list of them if it holds several,
    such as a median and its spread; a text if it holds none.

    Example:
        >>> rows("| way | ms | ratio |\n|---|---|---|\n| loop, 20 | 1,007 | **2** (1.8–2.3) |")
        [{'way': 'loop, 20', 'ms': 1007.0, 'ratio': [2.0, 1.8, 2.3]}]
    """
    found: list[dict[str, Cell]] = []
    head = None
    for line in markdown.splitlines():
        if not line.startswith("|"):
            head = None
        elif head is None:
            head = _cells(line)
        elif not re.fullmatch(r"[|\-: ]+", line):
            name, *others = _cells(line)
            found.append({head[0]: name, **dict(zip(head[1:], map(_value, others), strict=False))})
    return found


def _value(cell: str) -> Cell:
    numbers = [float(n.replace(",", "")) for n in re.findall(r"-?\d[\d,]*(?:\.\d+)?", cell)]
    if not numbers:
        return cell
    return numbers[0] if len(numbers) == 1 else numbers


def compared(
    before: list[dict[str, Cell]], now: list[dict[str, Cell]]
) -> list[dict[str, str | float]]:
    """The first number of each cell that two runs have in common, and new / old.

    Example:
        >>> compared([{"way": "loop", "ms": 2.0}], [{"way": "loop", "ms": [3.0, 2.5, 3.5]}])
        [{'row': 'loop', 'column': 'ms', 'old': 2.0, 'new': 3.0, 'ratio': 1.5}]
    """
    old = _first_numbers(before)
    return [
        {
            "row": place[0],
            "column": place[1],
            "old": old[place],
            "new": new,
            "ratio": new / old[place],
        }
        for place, new in _first_numbers(now).items()
        if old.get(place)
    ]


def _first_numbers(table: list[dict[str, Cell]]) -> dict[tuple[str, str, int], float]:
    """By row and column, and which of several of these names."""
    found: dict[tuple[str, str, int], float] = {}
    times: Counter[tuple[str, str]] = Counter()
    for row in table:
        name, *others = row.items()
        for column, cell in others:
            number = cell[0] if isinstance(cell, list) else cell
            place = str(name[1]), column
            times[place] += 1
            if not isinstance(number, str):
                found[*place, times[place]] = number
    return found


def _beside(found: list[dict[str, str | float]]) -> str:
    lines = ["| row | column | old | new | new / old |", "|---|---|---|---|---|"]
    lines += [
        f"| {r['row']} | {r['column']} | {r['old']:,g} | {r['new']:,g} | {r['ratio']:.2f} |"
        for r in found
    ]
    return "\n".join(lines) + "\n"


def _earlier(file: Path, chosen: list[str]) -> dict[str, list[dict[str, Cell]]]:
    """The rows of an earlier run; only tables that are asked for now."""
    try:
        tables = json.loads(file.read_text(encoding="utf-8"))
        found = {name: tables[name]["rows"] for name in chosen if name in tables}
        for table in found.values():
            _first_numbers(table)
    except OSError as error:
        raise click.UsageError(f"cannot read {file}: {error.strerror or error}") from error
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise click.UsageError(
            f"{file} is not what `hunch bench NAME --json` writes; expected that run's output."
        ) from error
    if not found:
        raise click.UsageError(f"{file} has none of these tables: {', '.join(chosen)}.")
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


def _run(script: Path, seed: int, own: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    arguments = ["--seed", str(seed)] if '"--seed"' in script.read_text(encoding="utf-8") else []
    command = [sys.executable, "-c", _LINKED, str(script), *arguments, *own]
    reading, writing = os.pipe()
    try:
        with (
            tempfile.TemporaryFile("w+", encoding="utf-8") as table,
            subprocess.Popen(
                command,
                stdin=reading,
                stdout=table,
                stderr=subprocess.PIPE,
                text=True,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            ) as process,
        ):
            try:
                said = _heard(process, script.stem)
            except BaseException:
                process.kill()
                raise
            table.seek(0)
            return subprocess.CompletedProcess(command, process.returncode, table.read(), said)
    finally:
        os.close(reading)
        os.close(writing)


def _heard(process: subprocess.Popen[str], name: str) -> str:
    """What a script says on standard error until it ends; what it says of its progress is shown.

    A line of its progress begins with the script's name. After ten seconds without one, how long it
    has taken is shown instead.
    """
    lines: queue.Queue[str | None] = queue.Queue()

    def listen() -> None:
        for line in process.stderr or ():
            lines.put(line)
        lines.put(None)

    threading.Thread(target=listen, daemon=True).start()
    began = shown = time.monotonic()
    said = ""
    while True:
        now = time.monotonic()
        if now >= shown + PERIOD:
            click.echo(f"hunch: measuring {name}, {duration(now - began)} so far", err=True)
            shown = now
        try:
            line = lines.get(timeout=shown + PERIOD - now)
        except queue.Empty:
            continue
        if line is None:
            process.wait()
            return said
        said += line
        if line.startswith(f"{name}: "):
            click.echo(line, nl=False, err=True)
            shown = time.monotonic()
