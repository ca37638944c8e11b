"""Install the wheels of `dist/` in empty environments and try them: `python tools/try_release.py`.

For each Python, once with the lowest and once with the highest versions that the ranges of
`pyproject.toml` admit and that Python has a wheel of. Nothing of the checkout and no compiler is
within reach, and the home folder is empty. What came out goes to `results/release.json` and
`release.md`; what was tried before of other Pythons and the same version stays there. The standard
library and `uv` are enough, so that it runs in a container, too.
"""

from __future__ import annotations

import argparse
import email
import json
import os
import re
import resource
import shutil
import subprocess
import tempfile
import xml.etree.ElementTree as ET
import zipfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
# The rest (agents of other libraries, Atari, MuJoCo, peers) is large and nothing here calls it.
EXTRAS = ("plot", "video", "sklearn", "tabular", "excel", "test")
# The fast part of the tests: two to four minutes of a processor.
FAST = (
    "inference/test_bootstrap.py",
    "inference/test_compiled.py",
    "inference/test_metrics.py",
    "inference/test_predictive.py",
    "nn/test_ensemble.py",
    "nn/test_noisy_layers.py",
    "gradients/test_expectation.py",
    "envs",
    "rl/fast",
    "rl/replay",
    "sklearn/test_columns.py",
    "tables/test_arrow_types.py",
    "cli/test_lines.py",
    "test_storage.py",
)
JOBS = (
    ("python", "-c", "import hunch"),
    ("hunch", "--help"),
    ("hunch", "sample"),
    ("hunch", "fit", "flats.csv", "--target", "price", "--ids", "flat"),
    ("hunch", "predict", "model", "flats-new.csv", "--out", "predictions.csv"),
)
COMPILERS = ("cc", "gcc", "clang", "c++", "g++", "cl", "tcc")
COLUMNS = (
    *("Python", "versions", "wheel", "kernel", "threads", "doctor"),
    *("tests passed", "failed", "skipped", "CPU s"),
)
RESOLUTIONS = {"lowest": "lowest-direct", "highest": "highest"}


def main() -> None:
    """Try each Python with each set of versions; write what came out."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--dist", type=Path, default=Path("dist"), help="where the wheels are")
    parser.add_argument(
        "--python", action="append", help="a Python; without it every python3.X of the path"
    )
    parser.add_argument("--versions", action="append", choices=[*RESOLUTIONS])
    parser.add_argument(
        "--modes",
        action="store_true",
        help="the first Python also with 2 threads, and without the kernel in both ways",
    )
    parser.add_argument("--out", type=Path, default=ROOT / "results")
    asked = parser.parse_args()
    plain = next(asked.dist.glob("plain/*.whl"), None)
    if plain is None:
        parser.error(f"no release is in {asked.dist}; make one by tools/build_release.py")
    wheel = next(asked.dist.glob("*.whl"), plain)
    rows = []
    pythons = asked.python or _pythons()
    for python in pythons:
        for versions in asked.versions or RESOLUTIONS:
            modes = asked.modes and python == pythons[0] and versions == "highest"
            with tempfile.TemporaryDirectory() as folder:
                place = Place(Path(folder), python, versions)
                rows += place.tried(wheel, plain if modes else None)
            _write(rows, wheel.name.split("-")[1], asked.out)
    if not all(row["passed"] for row in rows):
        raise SystemExit("not all of it passed")


class Place:
    """A folder with an environment of its own, outside the checkout."""

    def __init__(self, folder: Path, python: str, versions: str) -> None:
        self.folder, self.versions = folder, versions
        self.env = folder / "env"
        for name in ("home", "empty", "work"):
            (folder / name).mkdir()
        shutil.copytree(ROOT / "tests", folder / "checks" / "tests")
        shutil.copy(ROOT / "pyproject.toml", folder / "checks")
        _uv("venv", "--python", python, str(self.env))
        self.python = self.env / "bin" / "python"
        self.number = self._out("python", "-c", "import platform; print(platform.python_version())")

    def tried(self, wheel: Path, plain: Path | None) -> list[dict[str, Any]]:
        """A row for each way to run the tests."""
        installed = self._install(wheel)
        rows = [self._row(wheel, installed, threads=1)]
        if plain is not None:
            rows.append(self._row(wheel, installed, threads=2))
            rows += [self._row(wheel, installed, threads=n, HUNCH_KERNEL="0") for n in (1, 2)]
            _uv("pip", "install", *self._here(), "--no-deps", "--reinstall", str(plain))
            rows.append(self._row(plain, installed, threads=1))
        return rows

    def _here(self) -> list[str]:
        return ["--python", str(self.python)]

    def _install(self, wheel: Path) -> dict[str, str]:
        """Install the wheel and what it asks for; versions of what it names."""
        wanted, pins = self.folder / "wanted.txt", self.folder / "pins.txt"
        asked = _requirements(wheel)
        wanted.write_text("\n".join(asked), "utf-8")
        only = ["--only-binary", ":all:"]
        resolution = ["--resolution", RESOLUTIONS[self.versions]]
        _uv("pip", "compile", *self._here(), *only, *resolution, "-o", str(pins), str(wanted))
        _uv("pip", "install", *self._here(), *only, "-r", str(pins), str(wheel))
        _uv("pip", "check", *self._here())
        listed = json.loads(_uv("pip", "list", *self._here(), "--format", "json"))
        version = {package["name"]: package["version"] for package in listed}
        names = sorted({re.split(r"[\[><=;]", one)[0] for one in asked})
        return {name: version[name] for name in names}

    def _row(
        self, wheel: Path, installed: dict[str, str], threads: int, **env: str
    ) -> dict[str, Any]:
        """What this way to run gives; `env` is of all its processes."""
        compiled = not wheel.name.endswith("-any.whl")
        env |= {"OMP_NUM_THREADS": str(threads), "HUNCH_TEST_THREADS": str(threads)}
        env["OMP_WAIT_POLICY"] = "passive"  # tests side by side have more threads than processors
        doctor = json.loads(self._run("hunch", "doctor", "--json", **env).stdout)
        for job in JOBS:
            self._out(*job, **env)
        shutil.rmtree(self.folder / "work" / "model")
        start = _seconds()
        tests = self._tests(env)
        row = {
            "python": self.number,
            "versions": self.versions,
            "wheel": wheel.name.split("-", 2)[2].removesuffix(".whl"),
            "kernel": doctor["kernel"]["there"],
            "threads": threads,
            "doctor": [test["name"] for test in doctor["tests"] if not test["passed"]],
            **tests,
            "cpu_seconds": round(_seconds() - start),
            "installed": installed,
        }
        right = row["kernel"] == (compiled and "HUNCH_KERNEL" not in env)
        row["passed"] = right and not row["doctor"] and not row["wrong"] and row["right"] > 0
        print(json.dumps({key: row[key] for key in row if key != "installed"}), flush=True)
        return row

    def _tests(self, env: dict[str, str]) -> dict[str, Any]:
        report = self.folder / "report.xml"
        done = self._run(
            *("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "2"),
            *("--dist", "loadfile", f"--junitxml={report}"),
            # Packages of other years warn of each other; only what is new is to be heard.
            *(["-W", "default"] if self.versions == "lowest" else []),
            *(f"tests/{name}" for name in FAST),
            place="checks",
            **env,
        )
        (suite,) = ET.parse(report).getroot()
        number = {name: int(suite.get(name, 0)) for name in ("tests", "skipped")}
        wrong = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        if done.returncode:
            print(done.stdout[-20_000:], flush=True)
        right = number["tests"] - number["skipped"] - wrong
        return {"right": right, "wrong": wrong, "skipped": number["skipped"]}

    def _out(self, *command: str, **env: str) -> str:
        done = self._run(*command, **env)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}\n{done.stderr}")
        return done.stdout.strip()

    def _run(
        self, *command: str, place: str = "work", **env: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment, with none but those within reach."""
        path = os.pathsep.join([str(self.env / "bin"), str(self.folder / "empty")])
        if found := [name for name in COMPILERS if shutil.which(name, path=path)]:
            raise SystemExit(f"{', '.join(found)} is within reach")
        kept = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "TMPDIR")
        clean = {name: os.environ[name] for name in kept if name in os.environ}
        clean |= {"PATH": path, "HOME": str(self.folder / "home"), "LANG": "C.UTF-8"}
        program = str(self.env / "bin" / command[0])
        return subprocess.run(
            [program, *command[1:]],
            cwd=self.folder / place,
            env=clean | env,
            capture_output=True,
            text=True,
            check=False,
        )


def _uv(*command: str) -> str:
    done = subprocess.run(["uv", *command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"uv {' '.join(command)} failed:\n{done.stderr}")
    return done.stdout


def _seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _pythons() -> list[str]:
    """Every python3.X of the path, from 3.11 on, that answers."""
    found = []
    for minor in range(11, 20):
        name = f"python3.{minor}"
        if shutil.which(name):
            done = subprocess.run([name, "-c", ""], capture_output=True, check=False)
            found += [name] if done.returncode == 0 else []
    return found


def _requirements(wheel: Path) -> list[str]:
    """What a wheel asks for, by itself and by `EXTRAS`."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (each for each in archive.namelist() if each.endswith(".dist-info/METADATA"))
        metadata = email.message_from_bytes(archive.read(name))
    found = []
    for line in metadata.get_all("Requires-Dist", []):
        requirement, _, marker = line.partition(";")
        extra = re.search(r"extra == '([^']+)'", marker)
        if (extra is None or extra[1] in EXTRAS) and not requirement.startswith("torch-hunch"):
            found.append(requirement.strip())
    return found


def _write(rows: list[dict[str, Any]], version: str, out: Path) -> None:
    """Put the rows with those of other Pythons and the same version of hunch."""
    path = out / "release.json"
    before = json.loads(path.read_text("utf-8")) if path.exists() else {}
    now = {(row["python"], row["versions"]) for row in rows}
    kept = before.get("rows", []) if before.get("hunch") == version else []
    rows = [row for row in kept if (row["python"], row["versions"]) not in now] + rows
    rows.sort(key=lambda row: ([int(part) for part in row["python"].split(".")], row["versions"]))
    path.write_text(json.dumps({"hunch": version, "rows": rows}, indent=1) + "\n", "utf-8")
    path.with_suffix(".md").write_text(_page(rows, version), "utf-8")


def _page(rows: list[dict[str, Any]], version: str) -> str:
    passed = sum(row["passed"] for row in rows)
    lines = [
        f"# Wheels of hunch {version} in empty environments",
        "",
        "`tools/try_release.py` made it. No compiler and nothing of the checkout was within reach. "
        "In each row `hunch doctor`, `hunch --help`, `import hunch`, a fit of the sample and "
        "predictions by it ran, and the fast part of the tests. "
        f"**{passed} of {len(rows)} rows passed.**",
        "",
        f"| {' | '.join(COLUMNS)} |",
        "|---" * len(COLUMNS) + "|",
    ]
    for row in rows:
        cells = (
            *(row["python"], row["versions"], row["wheel"], "yes" if row["kernel"] else "no"),
            *(row["threads"], ", ".join(row["doctor"]) or "passed"),
            *(row["right"], row["wrong"], row["skipped"], row["cpu_seconds"]),
        )
        lines.append(f"| {' | '.join(map(str, cells))} |")
    lines += ["", f"The fast part: {', '.join(f'`tests/{name}`' for name in FAST)}.", ""]
    lines += [
        "## Versions",
        "",
        f"Of the extras {', '.join(EXTRAS)}, where it is not hunch's own.",
        "",
    ]
    sets = {(row["python"], row["versions"]): row["installed"] for row in rows}
    lines += [
        f"| package | {' | '.join(' '.join(key) for key in sets)} |",
        "|---" * (len(sets) + 1) + "|",
    ]
    for name in sorted({name for installed in sets.values() for name in installed}):
        lines.append(f"| {name} | {' | '.join(i.get(name, '') for i in sets.values())} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
