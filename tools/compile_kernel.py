"""Compile the kernel's C files while the package is built, if there is a compiler.

Hatchling calls `CustomBuildHook` for a wheel and for an editable install. The library is plain C
without Python in it, so one wheel of a platform serves every Python. Without a compiler, or one
that knows vectors, the package is built without it and runs on torch alone.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_SOURCES = "src/hunch/_*.c"
_LIBRARY = "src/hunch/_kernel.so"
# No -march: wider vectors are chosen when it runs. No -ffast-math: it would lose NaN. Nobody
# looks at the processor's flags of exceptions, for whose sake GCC makes no vectors of comparisons.
_FLAGS = (
    *("-O3", "-fno-math-errno", "-fno-trapping-math"),
    *("-fPIC", "-shared", "-Wno-psabi"),
)


class CustomBuildHook(BuildHookInterface[Any]):
    """Compiles the kernel and puts it into the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called before the files of the package are collected."""
        root = Path(self.root)
        (root / _LIBRARY).unlink(missing_ok=True)
        failure = compiled(sorted(root.glob(_SOURCES)), root / _LIBRARY)
        if failure is not None:
            self.app.display_warning(f"hunch is built without its compiled kernel: {failure}")
            return
        build_data["artifacts"].append(_LIBRARY)
        build_data["pure_python"] = False
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["tag"] = f"py3-none-{platform}"


def compiled(sources: list[Path], library: Path) -> str | None:
    """Compile; what went wrong, or None.

    Args:
        sources: the C files.
        library: where the library goes.
    """
    if sys.platform == "win32":
        return "on Windows it has not been tried"
    failure = "no compiler"
    own = os.environ.get("CC")
    for compiler in [own] if own else ["cc", "gcc", "clang"]:
        command = [*shlex.split(compiler), *_FLAGS, "-o", str(library), *map(str, sources), "-lm"]
        try:
            result = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError as error:
            failure = str(error)
            continue
        if result.returncode == 0:
            return None
        library.unlink(missing_ok=True)
        failure = f"{compiler}: {result.stderr.strip()[-400:] or 'failed'}"
    return failure
