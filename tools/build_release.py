"""Build what a release consists of, and look into it: `python tools/build_release.py [OUT]`.

OUT (`dist`) gets the source distribution and the wheel, with the compiled kernel if there is a
compiler; OUT/plain the wheel that a machine without one builds. All come from a copy of the files
that git tracks. A Linux wheel is named after the oldest C library that serves it. Needs the extra
`release`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
KERNEL = "hunch/_kernel.so"
# Where the wheel keeps what lies in these folders of the tree.
PLACES = {"src/hunch/": "hunch/", "benchmarks/": "hunch/benchmarks/"}
METADATA = {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE"}
NO_COMPILER = {"CC": "false"}


def main() -> None:
    """Build, compare and put in place."""
    out = Path(sys.argv[1] if len(sys.argv) > 1 else "dist").resolve()
    _clear(out)
    tracked = subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).splitlines()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        _copy(tracked, place / "tree")
        source = _build("--sdist", place / "tree", out)
        wheel = _build("--wheel", place / "tree", place / "wheel")
        plain = _build("--wheel", place / "tree", out / "plain", **NO_COMPILER)
        with tarfile.open(source) as archive:
            # Python 3.11.3 and before have no filters, where the system has not added them.
            how: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
            archive.extractall(place / "unpacked", **how)
        (unpacked,) = (place / "unpacked").iterdir()
        again = _build("--wheel", unpacked, place / "again")

        _check_source(source, tracked)
        _check_wheel(wheel, tracked)
        _check_wheel(plain, tracked)
        _refuse(
            wheel.name != again.name or wheel.read_bytes() != again.read_bytes(),
            "the wheel from the source distribution is another one than that from the tree",
        )
        _refuse(not plain.name.endswith("-py3-none-any.whl"), f"{plain.name} is of one platform")
        _publish(wheel, out)
    files = sorted(path for path in out.rglob("*") if path.is_file())
    _run("-m", "twine", "check", "--strict", *map(str, files))
    for path in files:
        print(f"{path.stat().st_size / 1e6:6.2f} MB  {path.relative_to(out)}")


def _clear(out: Path) -> None:
    """Take an earlier release away, and nothing that is not of one."""
    files = [path for path in out.rglob("*") if not path.is_dir()]
    others = [path for path in files if not path.name.endswith((".whl", ".tar.gz"))]
    _refuse(out.is_file(), f"{out} is a file; expected a folder, or a name for a new one")
    _refuse(bool(others), f"{out} holds {', '.join(map(str, others[:3]))}; expected a release")
    for path in files:
        path.unlink()


def _copy(tracked: list[str], tree: Path) -> None:
    for name in tracked:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, tree / name)


def _build(what: str, tree: Path, out: Path, **env: str) -> Path:
    """Build; the file that it gave."""
    before = set(out.glob("*"))
    _run("-m", "build", what, "--outdir", str(out), str(tree), **env)
    (made,) = {path for path in out.glob("*") if path.is_file()} - before
    return made


def _run(*command: str, **env: str) -> None:
    # auditwheel looks for a program that is beside Python.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        [sys.executable, *command],
        env=os.environ | {"PATH": path} | env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    _refuse(done.returncode != 0, f"{' '.join(command)} failed:\n{done.stdout}")


def _check_source(source: Path, tracked: list[str]) -> None:
    """All that git tracks, and nothing else: no kernel, no caches."""
    with tarfile.open(source) as archive:
        files = [member.name.partition("/")[2] for member in archive if member.isfile()]
    _compare(source, set(files), {*tracked, "PKG-INFO"})


def _check_wheel(wheel: Path, tracked: list[str]) -> None:
    """All of the package but its C, the benchmarks, and the kernel in a wheel of one platform."""
    with zipfile.ZipFile(wheel) as archive:
        files = {name for name in archive.namelist() if not name.endswith("/")}
    package, version = wheel.name.split("-")[:2]
    expected = {f"{package}-{version}.dist-info/{name}" for name in METADATA}
    for folder, place in PLACES.items():
        inside = [name for name in tracked if name.startswith(folder)]
        expected |= {place + name.removeprefix(folder) for name in inside if name[-2:] != ".c"}
    if not wheel.name.endswith("-any.whl"):
        expected.add(KERNEL)
    _compare(wheel, files, expected)


def _compare(path: Path, files: set[str], expected: set[str]) -> None:
    lacks, besides = sorted(expected - files), sorted(files - expected)
    _refuse(bool(lacks or besides), f"{path.name} lacks {lacks} and has {besides} besides")


def _publish(wheel: Path, out: Path) -> None:
    """Put the wheel where it belongs, on Linux under the name that an index takes."""
    if "-linux_" not in wheel.name:
        if not wheel.name.endswith("-any.whl"):
            shutil.copy2(wheel, out)
        return
    _run("-m", "auditwheel", "repair", "--wheel-dir", str(out), str(wheel))


def _refuse(wrong: bool, why: str) -> None:
    if wrong:
        raise SystemExit(why)


if __name__ == "__main__":
    main()
